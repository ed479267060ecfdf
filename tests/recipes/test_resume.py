"""A run that is stopped and started again ends as the unbroken one, from each of its checkpoints."""

import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file

from carryover.training import stopping

from .four_recipes import small_runs
from .helpers import ROOT, command, events, make_brain, start, train, train_log


@pytest.fixture(scope="module")
def four(tmp_path_factory):
    return small_runs(tmp_path_factory.mktemp("four"))


@pytest.fixture
def small_run(request, four):
    """(YAML, overrides) of a small run of the recipe named by the parameter, which keeps all its checkpoints."""
    return request.param, four[request.param] | {"save_limit": "null"}


RECIPES = ["whisper_ft", "dutch_pretrain", "sign_teacher", "speech_llm_whisper"]


def fit(overrides, name: str, workers: int = 0):
    brain, _, manifests = make_brain(overrides, yaml=name, saves=True)
    loader = {"num_workers": workers}
    brain.fit(
        range(1, 3), brain.read(manifests / "train.csv"), brain.read(manifests / "valid.csv"),
        train_loader_kwargs=loader | {"batch_size": 4, "shuffle": True}, valid_loader_kwargs={"batch_size": 4},
    )  # fmt: skip
    return brain


def checkpoints(folder: Path) -> dict[int, Path]:
    """Checkpoints of a run folder by their updates."""
    found = (folder / "save").glob("CKPT+*")
    return dict(sorted((yaml.safe_load((c / "CKPT.yaml").read_text())["update"], c) for c in found))


def require_equal(one: Path, other: Path) -> None:
    """Two run folders ended with the same logs, weights and random state."""
    assert events(one) == events(other) and train_log(one) == train_log(other)
    last = [list(checkpoints(folder).values())[-1] for folder in (one, other)]
    for file in last[0].glob("*.safetensors"):
        a, b = load_file(file), load_file(last[1] / file.name)
        assert a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a), file.name
    states = [json.loads((c / "brain.json").read_text()) for c in last]
    assert states[0]["random"] == states[1]["random"]


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("small_run", RECIPES, indirect=True)
def test_a_resume_from_every_checkpoint_is_bit_equal(small_run, tmp_path, workers):
    name, overrides = small_run
    whole = tmp_path / "whole"
    fit(overrides | {"output_folder": str(whole)}, name, workers)
    updates = list(checkpoints(whole))
    assert updates == list(range(1, 8)), updates
    for update in [2, 4] if workers else updates:  # the first epoch ends at 4
        part = tmp_path / f"from_{update}"
        shutil.copytree(whole, part)
        for later, path in checkpoints(part).items():
            if later > update:
                shutil.rmtree(path)
        (part / "save" / "kept.json").unlink()  # as it was then; else the log has a line about those that are gone
        fit(overrides | {"output_folder": str(part)}, name, workers)
        require_equal(part, whole)
        shutil.rmtree(part)


@pytest.mark.parametrize("where", ["_fit_group", "validate"])
@pytest.mark.parametrize("small_run", ["sign_teacher"], indirect=True)
def test_a_signal_saves_and_the_rest_is_bit_equal(small_run, tmp_path, where):
    """Also one that comes during a validation: it is left, and made at the resume."""
    name, overrides = small_run
    overrides |= {"save_every": "100"}
    fit(overrides | {"output_folder": str(tmp_path / "whole")}, name)
    broken = overrides | {"output_folder": str(tmp_path / "broken")}
    brain, _, manifests = make_brain(broken, yaml=name, saves=True)
    owner = brain if where == "_fit_group" else brain.evaluation
    do = getattr(owner, where)

    def with_a_signal(*args, **kwargs):
        if brain.update >= 3:
            os.kill(os.getpid(), signal.SIGTERM)
        return do(*args, **kwargs)

    setattr(owner, where, with_a_signal)
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(stopping.Stopped, match="stopped by SIGTERM: update . is saved; the same command") as stop:
        brain.fit(
            range(1, 3), brain.read(manifests / "train.csv"), brain.read(manifests / "valid.csv"),
            train_loader_kwargs={"batch_size": 4, "shuffle": True}, valid_loader_kwargs={"batch_size": 4},
        )  # fmt: skip
    assert stop.value.status == 143 and signal.getsignal(signal.SIGTERM) == before
    assert list(checkpoints(tmp_path / "broken"))[-1] == (4 if where == "_fit_group" else 3)
    fit(broken, name)
    for folder in (tmp_path / "broken", tmp_path / "whole"):  # the signal's own checkpoint is one more event
        log = (folder / "metrics.jsonl").read_text().splitlines(True)
        (folder / "metrics.jsonl").write_text("".join(line for line in log if '"checkpoint"' not in line))
    require_equal(tmp_path / "broken", tmp_path / "whole")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGUSR1])
@pytest.mark.parametrize("small_run", ["sign_teacher"], indirect=True)
def test_a_process_says_what_stopped_it_and_goes_on(small_run, tmp_path, number):
    """The signal reaches the whole group, readers of clips too, as from a terminal or a scheduler."""
    name, overrides = small_run
    overrides |= {
        "output_folder": str(tmp_path / "run"), "max_updates": "400", "valid_every": "1000", "save_every": "1000",
        "num_workers": "1", "stop_signals": "[SIGTERM, SIGHUP, SIGINT, SIGUSR1]",
    }  # fmt: skip
    process, log = start(overrides, f"hparams/{name}.yaml"), tmp_path / "run" / "metrics.jsonl"
    deadline = time.time() + 120
    while time.time() < deadline and '"train", "update": 3' not in (log.read_text() if log.exists() else ""):
        time.sleep(0.02)
    os.killpg(process.pid, number)
    done = process.completed(timeout=120)
    assert done.returncode == 128 + number, done.stderr[-2000:]
    saved = list(checkpoints(tmp_path / "run"))
    assert len(saved) == 1 and f"update {saved[0]} is saved; the same command goes on" in done.stderr
    assert f"stopped by {number.name}" in done.stderr


@pytest.mark.parametrize("small_run", ["sign_teacher"], indirect=True)
def test_a_run_that_ends_within_an_epoch_ends_with_its_readers(small_run, tmp_path):
    """Processes that read clips ignore SIGTERM, which Python would wait for at its exit for ever."""
    name, overrides = small_run
    overrides |= {"output_folder": str(tmp_path / "run"), "max_updates": "2", "num_workers": "2", "valid_every": "1000"}
    words = command(overrides, f"hparams/{name}.yaml")
    done = subprocess.run(words, cwd=ROOT, capture_output=True, timeout=240)
    assert done.returncode == 0 and b"Traceback" not in done.stderr, done.stderr[-2000:]


def test_a_second_signal_stops_at_once_and_a_copy_of_the_first_does_not(monkeypatch):
    with stopping.after_the_update(["SIGUSR2", "SIGUSR1"]) as request:
        for number in (signal.SIGUSR2, signal.SIGUSR2, signal.SIGUSR1):  # torchrun passes on another one
            os.kill(os.getpid(), number)
        assert request.number == signal.SIGUSR2
        monkeypatch.setattr(stopping, "COPIES", 0.0)
        with pytest.raises(stopping.Stopped):
            os.kill(os.getpid(), signal.SIGUSR2)
            time.sleep(1)
    assert signal.getsignal(signal.SIGUSR2) == signal.SIG_DFL


def test_while_a_checkpoint_is_written_it_takes_one_signal_more(monkeypatch):
    monkeypatch.setattr(stopping, "COPIES", 0.0)
    with stopping.after_the_update(["SIGUSR2"]) as request, request.while_saving():
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGUSR2)
        with pytest.raises(stopping.Stopped):
            os.kill(os.getpid(), signal.SIGUSR2)
            time.sleep(1)
    assert not request.saving


def test_nohup_is_left_alone():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with stopping.at_once(["SIGHUP"]):
            os.kill(os.getpid(), signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize("names", ["[SIGFOO]", "[SIGKILL]", "SIGTERM", "[15]"])
def test_what_is_no_signal_is_an_error(names):
    done = train({"stop_signals": names}, "hparams/sign_teacher.yaml")
    assert done.returncode == 2 and "stop_signals" in done.stderr, done.stderr[-500:]
