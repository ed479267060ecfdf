"""What train.py says to a second process, and to a corpus, a model or settings that have changed since."""

import json
import shutil
import signal
import time
from pathlib import Path

import pytest

from carryover import seals
from carryover.runs import run_folder
from tests.recipes.helpers import events, start, train
from tests.recipes.test_resume import require_equal


@pytest.fixture
def short(whisper_run, tmp_path):
    """A run of two updates on a corpus and a model of its own."""
    data, model = tmp_path / "data", tmp_path / "model"
    shutil.copytree(whisper_run["data_folder"], data)
    shutil.copytree(whisper_run["model"], model)
    return whisper_run | {
        "data_folder": str(data), "model": str(model), "max_updates": "2", "warmup": "1", "valid_every": "2",
    }  # fmt: skip


def test_two_processes_on_one_folder(short):
    short |= {"max_updates": "40", "save_every": "1", "valid_every": "40"}
    log = Path(short["output_folder"]) / "metrics.jsonl"
    first = start(short)
    try:
        until = time.monotonic() + 200
        while time.monotonic() < until and not (log.exists() and '"checkpoint"' in log.read_text()):
            time.sleep(0.05)
        first.send_signal(signal.SIGSTOP)  # else it may be finished before the second one is as far
        second = train(short)
        first.send_signal(signal.SIGCONT)
        assert second.returncode == 2 and f"is in use by process {first.pid} on " in second.stderr
        assert "Traceback" not in second.stderr
        assert first.wait(200) == 0
    finally:
        first.kill()
        first.wait()
    updates = [e["update"] for e in events(log.parent) if e["event"] == "train"]
    assert updates == sorted(set(updates)) and run_folder.finished(log.parent)


def test_a_run_that_ended_after_its_training_is_finished_by_the_same_command(short):
    """Its training is over, and is not done again, also where the test is set otherwise."""
    folder = Path(short["output_folder"])
    in_the_way = folder / "predictions_test_nl_best.csv"
    in_the_way.mkdir(parents=True)
    short |= {"test_before": "False"}
    done = train(short)
    assert done.returncode == 2 and f"{in_the_way}: Is a directory" in done.stderr and "Traceback" not in done.stderr
    log = events(folder)
    assert log[-1]["event"] in ("end", "flag") and not run_folder.finished(folder)
    in_the_way.rmdir()
    done = train(short | {"test_beams": "2"})
    assert done.returncode == 0, done.stderr[-2000:]
    assert "other settings, which its training does not read: test_beams: " in done.stdout
    assert run_folder.finished(folder) and in_the_way.is_file()
    trained = ("train", "valid", "checkpoint")
    assert [e for e in events(folder) if e["event"] in trained] == [e for e in log if e["event"] in trained]


def test_a_finished_run_says_what_has_changed_and_goes_on_where_nothing_has(short):
    done = train(short)
    assert done.returncode == 0, done.stderr[-2000:]
    folder = Path(short["output_folder"])
    wanted, results = events(folder), (folder / "results.md").read_text()
    assert run_folder.finished(folder)

    def refused(says: str, **other):
        again = train(short | other)
        assert again.returncode == 2 and says in again.stderr and "Traceback" not in again.stderr, again.stderr[-1500:]
        assert (folder / "results.md").read_text() == results and events(folder) == wanted

    refused("max_updates: 2 there, 1 here", max_updates="1")
    refused("lr: ", max_updates="3", lr="0.5")

    weights = Path(short["model"]) / "model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-4] + b"\0\0\0\x3f")
    refused("the weights that the training starts from have changed")
    weights.write_bytes(whole)

    listing = next(path for path in Path(short["data_folder"]).iterdir() if path.suffix in (".tsv", ".csv", ".jsonl"))
    lines = listing.read_text().splitlines(keepends=True)
    listing.write_text("".join(lines[:-1]))
    refused("1 gone from the list: ")
    listing.write_text("".join(lines))

    info = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps(seals.sealed(info | {"commit": "0" * 40})))
    again = train(short | {"eval_batch_size": "2"})
    assert again.returncode == 0, again.stderr[-2000:]
    assert "commit: " + "0" * 40 + " then, " in again.stdout and "eval_batch_size: 4 there, 2 here" in again.stdout
    assert (folder / "results.md").read_text() == results and run_folder.finished(folder)
    info = json.loads((folder / "run.json").read_text())
    assert any("0" * 40 in line for line in info["changes"][-1])


def test_a_model_folder_is_whole_when_it_is_there(short):
    """A run that another one starts from is taken as made where its model is there."""
    assert train(short).returncode == 0
    model = Path(short["output_folder"]) / "model"
    assert {"config.json", "model.safetensors"} <= {path.name for path in model.iterdir()}
    assert not [path for path in model.parent.iterdir() if ".partial" in path.name]


def test_a_finished_run_is_trained_on_as_if_it_had_been_longer_from_the_start(short, tmp_path):
    """With a rate that does not depend on the length: bit by bit."""
    short |= {"lr_schedule": "constant_with_warmup", "max_updates": "2", "valid_every": "2", "test_before": "True"}
    folder, whole = Path(short["output_folder"]), tmp_path / "whole"
    assert train(short).returncode == 0
    info = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps(seals.sealed(info | {"commit": "0" * 40})))
    done = train(short | {"max_updates": "5"})
    assert done.returncode == 0, done.stderr[-2000:]
    assert "trained on: max_updates: 2 there, 5 here" in done.stdout
    longer, code = json.loads((folder / "run.json").read_text())["changes"]
    assert run_folder.finished(folder) and longer == ["trained on: max_updates: 2 there, 5 here"]
    assert any("0" * 40 in line for line in code), "of another commit, too"
    assert [e["update"] for e in events(folder) if e["event"] == "end"] == [5]
    assert train(short | {"max_updates": "5", "output_folder": str(whole)}).returncode == 0
    require_equal(folder, whole)
    assert (folder / "results.md").read_text() == (whole / "results.md").read_text()
