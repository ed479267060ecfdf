"""Two processes (gloo) learn what one learns with the doubled batch; killed and started again, what two unbroken do."""

import shutil
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from carryover import experiment
from carryover import processes as ranks
from tests.tiny_language_model import make

from .helpers import ROOT, command, events, random_teacher
from .processes import Process, as_torchrun
from .test_resume import checkpoints, require_equal

ASKED = {
    "eval_batch_size": "4", "grad_accumulation_factor": "2", "log_every": "1", "valid_every": "3", "save_every": "1",
    "save_limit": "null", "epochs": "4", "max_updates": "6", "early_stopping_patience": "0", "warmup": "2",
    "test_before": "False", "augment_prob": "0.0", "dropout": "0.0",
}  # fmt: skip


@pytest.fixture(scope="module")
def small_runs(tiny_whisper, tiny_ctc, two_languages, tmp_path_factory):
    """{YAML: overrides with which it carries a tiny model over, with EWC and replay}."""
    folder = tmp_path_factory.mktemp("distributed")
    speech = {
        "corpus": "!name:local.table.utterances", "language": "de", "data_folder": str(two_languages / "de"),
        "old_language": "nl", "old_data_folder": str(two_languages / "nl"),
    }  # fmt: skip
    first = {"corpus": speech["corpus"], "data_folder": str(two_languages / "nl"), "model": str(tiny_ctc)}
    one_process("dutch_pretrain", first | {"output_folder": str(folder / "ctc"), "max_updates": "1"})
    llm = speech | {"encoder": str(tiny_whisper), "language_model": make(folder / "lm"), "hidden": "16"}
    llm |= {"tokens_per_second": "40", "old_splits": "[test]"}
    one_process("speech_llm_whisper", llm | {"output_folder": str(folder / "llm"), "max_updates": "1"})
    signs = {"corpus": "!name:local.synthetic_sign.utterances {train: 28, valid: 4, test: 4}"}
    signs |= {"data_folder": str(folder / "signs"), "old_language": "old", "old_data_folder": str(folder / "signs")}
    signs |= {"old_splits": "[test]", "d_model": "16", "layers": "1", "heads": "2", "d_ffn": "32"}
    return {
        "whisper_ft": speech | {"model": str(tiny_whisper), "generation_length": "12"},
        "german_adaptation": speech | {"model": str(folder / "ctc" / "model"), "valid_every": "4"},
        "sign_teacher": signs | {"model": random_teacher(folder / "teacher")},
        "speech_llm_whisper": llm | {"start_from": str(folder / "llm" / "model")},
    }


def wanted(yaml: str, overrides: dict[str, str]) -> dict[str, str]:
    """Overrides that this YAML has keys for."""
    text = (ROOT / "hparams" / f"{yaml}.yaml").read_text(encoding="utf-8")
    return {key: value for key, value in overrides.items() if f"\n{key}:" in text or key == "grad_accumulation_factor"}


def one_process(yaml: str, overrides: dict[str, str]) -> None:
    """train.py in this process."""
    size = {} if "batch_seconds" in overrides else {"batch_size": "6"}
    words = command(wanted(yaml, ASKED | size | overrides), f"hparams/{yaml}.yaml")[2:]
    assert experiment.train(words) == 0


def processes(yaml: str, overrides: dict[str, str], n: int = 2, alter=lambda rank, words: words) -> list[Process]:
    """Start train.py as torchrun does."""
    size = {} if "batch_seconds" in overrides else {"batch_size": "3"}
    words = command(wanted(yaml, ASKED | size | overrides), f"hparams/{yaml}.yaml")[1:]
    return as_torchrun([alter(rank, words) for rank in range(n)], ROOT)


def finished(started: list[Process]) -> list:
    found = [process.completed(timeout=200) for process in started]
    assert [done.returncode for done in found] == [0, 0], [done.stderr[-2000:] for done in found]
    return found


def with_methods(overrides: dict[str, str], folder: Path) -> dict[str, str]:
    ewc = f"!new:carryover.forgetting.EWC {{lambda_: 100, samples: 9, folder: {folder}/importance}}"
    replay = "!new:carryover.forgetting.Replay {share: 0.12}"  # 28 + 3 clips: of the last one a process has nothing
    return overrides | {"output_folder": str(folder / "run"), "forgetting": f"[{ewc}, {replay}]"}


@pytest.mark.parametrize("yaml", ["whisper_ft", "german_adaptation", "sign_teacher", "speech_llm_whisper"])
def test_two_processes_are_one_with_the_doubled_batch(yaml, small_runs, tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    one, two = (tmp_path / name for name in ("one", "two"))
    started = processes(yaml, with_methods(small_runs[yaml], two))
    one_process(yaml, with_methods(small_runs[yaml], one))
    said = finished(started)
    assert "x 2 processes" in said[0].stdout and said[1].stdout == said[1].stderr == ""
    logs = [events(folder / "run") for folder in (one, two)]
    assert [e["event"] for e in logs[0]] == [e["event"] for e in logs[1]]
    for mine, theirs in zip(*logs, strict=True):
        for key, value in mine.items():
            if isinstance(value, float) and key not in ("padding", "seconds"):
                limit = 1e-4 if key == "grad_norm" else 1e-5
                assert theirs[key] == pytest.approx(value, rel=limit, abs=limit), (mine["event"], key)
    updates = [e for e in logs[1] if e["event"] == "train"]
    assert len(updates) == 6 and updates[-1]["ewc"] > 0, "31 clips: 3 updates an epoch, the last one is short"
    weights = [list(checkpoints(folder / "run").values())[-1] for folder in (one, two)]
    for file in weights[0].glob("*.safetensors"):
        ours, theirs = load_file(file), load_file(weights[1] / file.name)
        for name, value in ours.items():
            torch.testing.assert_close(theirs[name], value, rtol=1e-5, atol=1e-5, msg=name)
    predictions = sorted(path.name for path in (one / "run").glob("predictions_*.csv"))
    assert predictions == sorted(path.name for path in (two / "run").glob("predictions_*.csv"))
    for name in predictions:
        assert (one / "run" / name).read_text() == (two / "run" / name).read_text()
    assert (two / "run" / "model").is_dir() and (two / "run" / "results.md").is_file()


def test_batches_filled_by_seconds_are_cut_among_processes(small_runs, tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    run = small_runs["german_adaptation"] | {"max_updates": "3"}
    one, two = (tmp_path / name for name in ("one", "two"))
    started = processes("german_adaptation", run | {"output_folder": str(two), "batch_seconds": "1.75"})
    one_process("german_adaptation", run | {"output_folder": str(one), "batch_seconds": "3.5"})
    assert "effective batch 7 s (1.75 s x 2 x 2 processes)" in finished(started)[0].stdout
    losses = [[event["loss"] for event in events(folder) if event["event"] == "train"] for folder in (one, two)]
    assert len(losses[0]) == 3 and losses[1] == pytest.approx(losses[0], rel=1e-5)


def test_a_killed_process_ends_the_run_which_goes_on_bit_by_bit(small_runs, tmp_path, monkeypatch):
    """SIGKILL to one of two, both started again as torchrun does; another number of processes is refused."""
    overrides = small_runs["sign_teacher"] | {"dropout": "0.3", "augment_prob": "0.8", "max_updates": "12"}
    unbroken = processes("sign_teacher", overrides | {"output_folder": str(tmp_path / "unbroken")})
    folder = tmp_path / "broken"
    broken = overrides | {"output_folder": str(folder)}
    first, second = processes("sign_teacher", broken)
    deadline = time.time() + 100
    while time.time() < deadline and len(list((folder / "save").glob("CKPT+*"))) < 3:
        assert first.poll() is None, first.completed(1).stderr
        time.sleep(0.002)
    second.kill()
    died = first.completed(60)
    assert died.returncode == 1 and "another process of this run has ended" in died.stderr, died
    assert 3 <= len(checkpoints(folder)) < 12
    shutil.copytree(folder, tmp_path / "alone")
    finished(processes("sign_teacher", broken))
    finished(unbroken)
    require_equal(folder, tmp_path / "unbroken")
    states = (list(checkpoints(folder).values())[-1] / "brain.json").read_text()
    assert '"others": [{' in states

    monkeypatch.chdir(ROOT)
    alone = wanted("sign_teacher", ASKED | broken | {"batch_size": "3", "output_folder": str(tmp_path / "alone")})
    with pytest.raises(ValueError, match=r"trained by 2 process\(es\), now there are 1"):
        experiment.train(command(alone, "hparams/sign_teacher.yaml")[2:])


def test_processes_of_different_settings_are_refused(small_runs, tmp_path):
    def alter(rank, words):
        return [*words, "--lr", "0.5"] if rank else words

    overrides = small_runs["sign_teacher"] | {"output_folder": str(tmp_path / "run")}
    found = [process.completed(60) for process in processes("sign_teacher", overrides, alter=alter)]
    assert [done.returncode for done in found] == [2, 2]
    assert "settings: process 1 on" in found[0].stderr and not (tmp_path / "run").exists()


OTHER = """
import importlib.metadata, runpy, sys
from pathlib import Path
from carryover import processes

version = importlib.metadata.version
what = sys.argv[1]
importlib.metadata.version = lambda name: "1.0" if name == what else version(name)
if what == "code":
    processes.__file__ = str(Path(sys.argv[2]) / "carryover" / "processes.py")
sys.argv = sys.argv[3:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@pytest.mark.parametrize("what", ["code", "torch", "transformers", "speechbrain"])
def test_processes_of_other_code_or_packages_are_refused(what, small_runs, tmp_path, monkeypatch):
    """The second process finds a checkout in which one line of a recipe differs, or another version."""
    for name in ("carryover", "recipes", "local"):
        shutil.copytree(ROOT / name, tmp_path / "other" / name, ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "other.py").write_text(OTHER)

    def alter(rank, words):
        return [str(tmp_path / "other.py"), what, str(tmp_path / "other"), *words] if rank else words

    overrides = small_runs["sign_teacher"] | {"output_folder": str(tmp_path / "run")}
    if what == "code":
        own = ranks.code()
        monkeypatch.setattr(ranks, "__file__", str(tmp_path / "other" / "carryover" / "processes.py"))
        assert ranks.code() == own, "a copy is the same code"
        with open(tmp_path / "other" / "recipes" / "sign_ctc.py", "a", encoding="utf-8") as file:
            file.write("# another line\n")
    found = [process.completed(60) for process in processes("sign_teacher", overrides, alter=alter)]
    assert [done.returncode for done in found] == [2, 2], [done.stderr[-500:] for done in found]
    key = "code" if what == "code" else f"version of {what}"
    assert f"{key}: process 1 on" in found[0].stderr and "code and packages" in found[0].stderr
    assert not (tmp_path / "run").exists()
