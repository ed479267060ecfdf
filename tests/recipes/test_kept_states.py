"""Runs with kept states learn and write what runs without them do: shared, resumed, damaged, beside one another."""

import csv
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file

from carryover.commands.sweep.sweep import sweep
from carryover.models.state_store import kinds, shards
from carryover.runs import lock
from carryover.training import kept_states
from carryover.training.stopping import Request

from .helpers import ROOT, command, events, make_brain, start, train
from .test_whisper_training import stop_at

UPDATES = 20  # 28 clips in batches of 4: almost 3 epochs


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("CARRYOVER_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def run(whisper_run, tmp_path, cache):
    """(name, stop, **changed) -> losses, hypotheses of the test, the Brain; stop: the update that a Ctrl-C ends."""

    def made(name, stop=None, **changed):
        given = {"train": "decoder", "max_updates": str(UPDATES), "valid_every": "7", "lr": "1.0e-3"} | changed
        overrides = whisper_run | given | {"output_folder": str(tmp_path / name)}
        brain, hparams, manifests = make_brain(overrides, saves=True)
        valid = {"batch_size": 4}
        train = {"batch_size": int(hparams["batch_size"]), "shuffle": True}
        sets = [brain.read(manifests / f"{split}.csv") for split in ("train", "valid", "test")]
        if stop:
            stop_at(brain, stop)
        brain.fit(range(1, 9), *sets[:2], train_loader_kwargs=train, valid_loader_kwargs=valid)
        brain.evaluate(sets[2], test_loader_kwargs=valid)
        with open(tmp_path / name / "predictions_test_best.csv", encoding="utf-8") as file:
            said = [row["hypothesis"] for row in csv.DictReader(file)]
        return [e["loss"] for e in events(tmp_path / name) if e["event"] in ("train", "valid")], said, brain

    return made


def computed(brain) -> int:
    return sum(part.computed for part in brain.hparams.kept.parts)


@pytest.mark.parametrize("train", ["decoder", "encoder_top_1"])
def test_losses_and_hypotheses_are_those_of_the_run_that_keeps_nothing(run, train):
    wanted, said, _ = run("without", train=train, keep_states="null")
    assert len(wanted) >= UPDATES + 2 and len(set(said)) > 1
    full, same, brain = run("full", train=train)
    assert full == pytest.approx(wanted, rel=1e-4) and same == said
    assert computed(brain) == 40, "each clip of training, validation and test once"
    half, same, brain = run("half", train=train, keep_states="float16")
    assert half == pytest.approx(wanted, rel=1e-2) and same == said and half != full
    assert computed(brain) == 40 and "half precision" in " ".join(brain.hparams.kept.describe())


def test_a_second_run_computes_nothing_and_another_precision_all(run, capsys, cache):
    first, _, _ = run("first", seed="1")
    assert "Frozen states: 28 clips, about" in capsys.readouterr().out
    _, _, brain = run("second", seed="2", dropout="0.1", lr="1.0e-4")
    assert computed(brain) == 0 and "Frozen states" not in capsys.readouterr().out
    again, _, brain = run("third", seed="1")
    assert again == first and computed(brain) == 0
    _, _, brain = run("half", keep_states="float16")
    assert computed(brain) == 40 and len(kinds(cache)) == 2


def test_the_size_is_said_beforehand_and_right(run, capsys, cache):
    run("first")
    said = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("Frozen states: 28 clips"))
    size = 28 * 200 * 32 * 4  # positions, width, bytes
    assert f"about {size / 1e6:.1f} MB" in said and "20.0 GB for all runs" in said
    assert sum(path.stat().st_size for path in shards(cache)) == pytest.approx(40 * size / 28, rel=0.05)


def test_augmented_clips_and_filled_windows_are_not_kept_and_that_is_said(run, capsys):
    _, _, brain = run("augmented", augment_prob="0.5")
    told = capsys.readouterr().out
    assert "not kept in training, augmentation changes the clips (augment_prob: 0.5)" in told
    assert computed(brain) == 12, "of validation and test"
    packed = "!apply:recipes.whisper.packing [!ref <tokenizer>, !ref <whisper>]"
    _, _, brain = run("packed", collate=packed)  # of validation and test there are all by now
    assert "not kept in training, clips share windows" in capsys.readouterr().out and computed(brain) == 0
    _, _, brain = run("all", train="all")
    assert "Frozen states" not in capsys.readouterr().out and computed(brain) == 0


def test_a_run_of_less_than_an_epoch_keeps_what_it_hears(run):
    _, _, brain = run("short", max_updates="3", valid_every="3")
    assert computed(brain) == 3 * 4 + 12


@pytest.mark.parametrize("fault", ["gone", "truncated", "no room"])
def test_a_resume_without_its_states_is_bit_equal(run, cache, monkeypatch, fault):
    wanted, _, _ = run("unbroken", dropout="0.2")
    shutil.rmtree(cache)
    if fault == "no room":
        monkeypatch.setattr("carryover.models.state_store.Store.free", lambda self: 0)
    with pytest.raises(KeyboardInterrupt):
        run("broken", stop=9, dropout="0.2")
    if fault == "gone":
        shutil.rmtree(cache)
    elif fault == "truncated":
        for path in shards(cache):
            path.write_bytes(path.read_bytes()[: path.stat().st_size // 3])
    found, _, brain = run("broken", dropout="0.2")
    assert found == wanted and computed(brain) > 0
    weights, others = (newest(cache.parent / name) for name in ("unbroken", "broken"))
    assert all(torch.equal(weights[name], tensor) for name, tensor in others.items())


def newest(folder: Path) -> dict[str, torch.Tensor]:
    """Weights of the newest checkpoint."""
    paths = sorted((folder / "save").glob("CKPT*"), key=lambda path: path.stat().st_mtime)
    return load_file(paths[-1] / "whisper.safetensors")


def test_two_runs_that_start_at_once_find_what_each_finds_alone(whisper_run, tmp_path, cache):
    given = whisper_run | {"train": "decoder", "dropout": "0.2"}
    alone = given | {"output_folder": str(tmp_path / "alone"), "keep_states": "float32"}
    assert train(alone).returncode == 0
    shutil.rmtree(cache)
    started = [start(given | {"output_folder": str(tmp_path / name)}) for name in ("one", "other")]
    assert [process.wait(600) for process in started] == [0, 0]
    for name in ("one", "other"):
        assert events(tmp_path / name) == events(tmp_path / "alone")
    assert not [path for path in cache.rglob("*") if "partial" in path.name]


COUNTED = """
import runpy, sys
from carryover.models.frozen import Frozen

compute = Frozen._compute

def counted(part, *given):
    with open({list!r}, "a") as file:
        file.write("one\\n")
    return compute(part, *given)

Frozen._compute = counted
runpy.run_path("train.py", run_name="__main__")
"""


def test_a_sweep_of_runs_two_at_a_time_computes_each_state_once(whisper_run, tmp_path, cache, monkeypatch):
    monkeypatch.chdir(ROOT)
    listed, launch = tmp_path / "computed", tmp_path / "counted.py"
    launch.write_text(COUNTED.format(list=str(listed)))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    given = whisper_run | {"train": "decoder", "max_updates": "8", "valid_every": "4", "test_before": "True"}
    extra = command({key: value for key, value in given.items() if key != "output_folder"})[3:]
    status = sweep(
        "hparams/whisper_ft.yaml", ["lr=1.0e-3,2.0e-3"], "1,2", 2, tmp_path / "sweep", extra,
        [sys.executable, str(launch)], baseline="lr=1.0e-3",
    )  # fmt: skip
    logs = {path: path.read_text()[-2000:] for path in (tmp_path / "sweep").rglob("*.log")}
    assert status == 0 and len(logs) == 4, logs
    assert len(listed.read_text().split()) == 40, "28 clips of training, 6 of validation, 6 of test"


def test_a_run_waits_for_another_that_makes_its_states(run, monkeypatch):
    asked, claim = [], lock.claim

    def busy(path):
        asked.append(path)
        return None if len(asked) <= 3 else claim(path)

    monkeypatch.setattr(lock, "claim", busy)
    _, _, brain = run("waits")
    assert computed(brain) == 40 and len(asked) == 3 + 3, "three looks for the first set, one for each"


def test_it_waits_no_longer_than_to_a_signal_and_not_where_nothing_can_be_locked(tmp_path):
    brain = SimpleNamespace(stop=Request())
    (tmp_path / "file").write_text("")
    with kept_states.claimed(tmp_path / "file" / "set.claim", brain):
        pass
    claim, brain.stop.number = lock.claim(tmp_path / "set.claim"), 15
    with kept_states.claimed(tmp_path / "set.claim", brain):
        assert claim.is_locked
    claim.release()
