"""Odd command lines: each ends with status 2 and a line that names what is wrong, never in a traceback."""

import errno
import json
import os
import subprocess
import sys

import made_runs
import pytest
import torch

from carryover import exits, experiment
from carryover.commands.app import app

YAML = "hparams/whisper_ft.yaml"
FILES = {
    "tabs.yaml": b"language: nl\n\tseed: 1\n",
    "open.yaml": b"language: [nl\n",
    "quote.yaml": b"language: 'nl\n",
    "twice.yaml": b"language: nl\nlanguage: de\n",
    "list.yaml": b"- a\n- b\n",
    "text.yaml": b"just words\n",
    "number.yaml": b"1: 2\n",
    "empty.yaml": b"",
    "binary.yaml": bytes(range(256)),
    "latin.yaml": "language: français\n".encode("latin-1"),
    "alias.yaml": b"a: *nothing\n",
    "two.yaml": b"a: 1\n---\nb: 2\n",
    "old.yaml": b"penalty: 1\nlanguage: nl\n",
    "few.yaml": b"seed: 1\n",
    "list.csv": b"ID,audio,duration,language,speaker,text\n",
}
TRAIN = [  # arguments of train.py, and words that the message holds
    ([], "usage"),
    (["--lr", "1"], "usage"),
    (["no.yaml"], "no.yaml"),
    (["hparams"], "hparams: a folder"),
    (["{d}/tabs.yaml"], "tabs.yaml"),
    (["{d}/open.yaml"], "open.yaml"),
    (["{d}/quote.yaml"], "quote.yaml"),
    (["{d}/twice.yaml"], "twice.yaml"),
    (["{d}/list.yaml"], "list.yaml"),
    (["{d}/text.yaml"], "text.yaml"),
    (["{d}/number.yaml"], "number.yaml"),
    (["{d}/binary.yaml"], "binary.yaml"),
    (["{d}/latin.yaml"], "latin.yaml"),
    (["{d}/alias.yaml"], "alias.yaml"),
    (["{d}/two.yaml"], "two.yaml"),
    ([YAML, "--language", "!ref <model>", "--model", "!ref <language>"], "language"),
    ([YAML, "--language", "!copy <nothing>"], "nothing"),
    (["{d}/old.yaml"], "penalty"),
    (["{d}/few.yaml"], "few.yaml"),
    (["{d}/empty.yaml"], "empty.yaml"),
    ([YAML, "lr"], "'lr'"),
    ([YAML, "--lrr", "1"], "--lr?"),
    ([YAML, "--lr"], "--lr"),
    ([YAML, "--lr="], "--lr"),
    ([YAML, "--lr", "--seed", "1"], "--lr"),
    ([YAML, "-lr", "1"], "-lr"),
    ([YAML, "--"], "--"),
    ([YAML, "--seed", "1", "2"], "'2'"),
    ([YAML, "--forgetting", "[!new:carryover.forgetting.EWCC {}]"], "EWCC"),
    ([YAML, "--forgetting", "[!new:carryover.forgetting.EWC {lambada: 1}]"], "EWC"),
    ([YAML, "--forgetting", "[!new:nowhere.EWC {}]"], "nowhere.EWC"),
    ([YAML, "--max_updates", "!ref <nokey>"], "nokey"),
    ([YAML, "--seed", "!ref <seed>"], "seed"),
    ([YAML, "--deterministic=yes"], "deterministic"),
    ([YAML, "--debug"], "max_updates"),
    ([YAML, "--auto_mix_prec", "True"], "precision"),
    ([YAML, "--preset"], "preset"),
    ([YAML, "--preset", "ewcc"], "ewc"),
    ([YAML, "--profile", "25GB"], "24GB"),
    ([YAML, "--penalty", "1"], "penalty"),
    ([YAML, "--lambda", "1"], "lambda"),
    ([YAML, "--old_language", "de"], "old_language"),
    (["hparams/whisper_real.yaml"], "data_folder"),
    (["hparams/whisper_real.yaml", "--data_folder", "x"], "language"),
]
APP = [
    (["nothing"], "nothing"),
    (["evaluate"], "MODEL"),
    (["evaluate", "{d}/none"], "none"),
    (["evaluate", "{d}"], "as_written.yaml"),
    (["evaluate", "{d}/list.csv"], "list.csv"),
    (["evaluate", "{run}", "--test", "{d}/none.csv"], "none.csv"),
    (["evaluate", "{run}", "--test", "{d}"], "--test"),
    (["evaluate", "{run}", "--test", "/dev/null"], "/dev/null"),
    (["evaluate", "{run}", "--beams", "x"], "--beams"),
    (["evaluate", "{bad}", "--test", "{d}/list.csv"], "as_written.yaml"),
    (["evaluate", "{evil}", "--test", "{d}/list.csv"], "!apply:os.system"),
    (["transcribe", "{evil}", "{d}"], "--trust"),
    (["export", "{evil}", "--out", "{d}/x"], "as_written.yaml"),
    (["export", "{run}"], "--out"),
    (["export", "{run}", "--to", "gguf", "--out", "{d}/x"], "gguf"),
    (["export", "{run}", "--to", "tflite", "--out", "{d}/x"], "tflite"),
    (["export", "{run}", "--quantization", "int8", "--out", "{d}/x"], "ctranslate2"),
    (["export", "{run}", "--dry-run", "--out", "{d}/x"], "--push"),
    (["export", "{run}", "--push", "a b", "--out", "{d}/x"], "--push"),
    (["export", "{run}", "--out", "{d}"], "--out"),
    (["transcribe", "{d}/none", "x.wav"], "none"),
    (["transcribe", "{run}"], "AUDIO"),
    (["compare", "{run}"], "RUN_B"),
    (["compare", "{run}", "{d}/none"], "none"),
    (["compare", "{run}", "{run}", "--utterances", "-1"], "--utterances"),
    (["compare", "{run}", "{run}"], "one folder"),
    (["curve", "{d}/none"], "none"),
    (["watch", "{run}", "--every", "0"], "--every"),
    (["report", "{d}/none"], "none"),
    (["report", "{d}/list.csv"], "list.csv"),
    (["report", "{run}", "--grid", "lr"], "--grid"),
    (["report", "{run}", "--grid", "lr,nokey,test WER"], "nokey"),
    (["report", "{run}", "--grid", "seed,language,Test Wer"], "'test WER'"),
    (["report", "{run}", "--workers", "0"], "--workers"),
    (["report", "{run}", "--rate", "x"], "--rate"),
    (["report", "{run}", "--baseline", "nothing"], "nothing"),
    (["report", "{run}", "--out", "{d}/list.csv"], "list.csv"),
    (["sweep"], "YAML"),
    (["sweep", "no.yaml", "--set", "lr=1", "--seeds", "1"], "no.yaml"),
    (["sweep", "{d}/open.yaml", "--set", "lr=1", "--seeds", "1"], "open.yaml"),
    (["sweep", YAML, "--set", "lr", "--seeds", "1"], "--set lr"),
    (["sweep", YAML, "--set", "lrr=1", "--seeds", "1"], "--lr?"),
    (["sweep", YAML, "--set", "lr=1,1", "--seeds", "1"], "twice"),
    (["sweep", YAML, "--set", "lr=1", "--seeds", "a"], "'a'"),
    (["sweep", YAML, "--set", "lr=[1", "--seeds", "1"], "]"),
    (["sweep", YAML, "--set", "preset=ewcc", "--seeds", "1"], "ewc"),
    (["sweep", YAML, "--set", "lr=1", "--seeds", "1", "--jobs", "x"], "--jobs"),
]


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    folder = tmp_path_factory.mktemp("odd")
    for name, content in FILES.items():
        (folder / name).write_bytes(content)
    made_runs.make(folder / "results" / "run" / "1")
    (folder / "results" / "run" / "1" / "save").mkdir()
    for name, text in (("bad", "a: [\n"), ("evil", f"a: !apply:os.system ['touch {folder}/RAN']\n")):
        (folder / name / "save").mkdir(parents=True)
        (folder / name / "as_written.yaml").write_text(text)
        (folder / name / "overrides.yaml").write_text("")
    yield {"d": folder, "run": folder / "results" / "run" / "1", "bad": folder / "bad", "evil": folder / "evil"}
    assert not (folder / "RAN").exists()


def ended(main, capsys) -> tuple[int, str]:
    try:
        status = exits.run(main)
    except SystemExit as end:  # click's own
        status = end.code
    return status, capsys.readouterr().err


def odd(argv: list, word: str, main, places, capsys) -> None:
    def filled(part: str) -> str:
        for name, place in places.items():
            part = part.replace(f"{{{name}}}", str(place))
        return part

    status, said = ended(lambda: main([filled(part) for part in argv]), capsys)
    assert status == 2, said
    assert word in said and "Traceback" not in said


@pytest.mark.parametrize("argv, word", TRAIN, ids=lambda v: " ".join(v) if isinstance(v, list) else "")
def test_of_train(argv, word, places, capsys, monkeypatch):
    monkeypatch.setattr(experiment.Experiment, "run", lambda *_: pytest.fail("it was run"))
    odd(argv, word, experiment.train, places, capsys)


@pytest.mark.parametrize("argv, word", APP, ids=lambda v: " ".join(v) if isinstance(v, list) else "")
def test_of_the_commands(argv, word, places, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    odd(argv, word, app, places, capsys)


@pytest.mark.parametrize(
    "error, status, words",
    [
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/r/run.json"), 1, ["/r/run.json", "full", "same command"]),
        (OSError(errno.EROFS, os.strerror(errno.EROFS), "/r/x"), 2, ["/r/x", "--output_root"]),
        (PermissionError(errno.EACCES, "Permission denied", "/r/x"), 2, ["/r/x", "Permission denied"]),
        (NotADirectoryError(errno.ENOTDIR, "Not a directory", "/r/x"), 2, ["/r/x"]),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), 1, ["2 GiB", "batch_size"]),
        (MemoryError(), 1, ["out of memory"]),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried 9 bytes"), 1, ["batch_size"]),
        (RuntimeError("Found no NVIDIA driver on your system."), 2, ["--device cpu"]),
        (ValueError("Caught ValueError in DataLoader worker process 0.\nOriginal Traceback (most recent call last):\n"
                    "  File\nValueError: a.wav: gone"), 2, ["error: a.wav: gone"]),
        (subprocess.CalledProcessError(3, "x"), 1, ["status 3"]),
        (KeyboardInterrupt(), 130, ["stopped"]),
    ],
)  # fmt: skip
def test_what_the_machine_cannot(error, status, words, capsys):
    def main():
        raise error

    found, said = ended(main, capsys)
    assert found == status and all(word in said for word in words), said
    assert len(said.splitlines()) == 1


@pytest.mark.parametrize(
    "bug", [KeyError("a"), TypeError("b"), AttributeError("c"), RuntimeError("d"), AssertionError()]
)
def test_a_bug_keeps_its_traceback(bug):
    def main():
        raise bug

    with pytest.raises(type(bug)):
        exits.run(main)


def test_debug_shows_the_traceback(monkeypatch):
    monkeypatch.setenv(exits.DEBUG, "1")
    with pytest.raises(json.JSONDecodeError):
        exits.run(lambda: json.loads("x"))


def test_train_as_it_is_started():
    done = subprocess.run([sys.executable, "train.py", "no.yaml"], capture_output=True, text=True, timeout=120)
    assert done.returncode == 2 and done.stderr.strip().splitlines()[-1].startswith("error: no.yaml: no such file")
