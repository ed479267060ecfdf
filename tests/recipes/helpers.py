"""Making a Brain from a YAML inside a test, and running train.py as a person does."""

import json
import os
import re
import sys
import time
from pathlib import Path
from subprocess import CompletedProcess

import torch
from speechbrain import Stage

from carryover.config import given, settings
from carryover.data.preparation import prepare
from carryover.training.checkpoint import Checkpointer

from .processes import Process

ROOT = Path(__file__).parents[2]
YAMLS = sorted((ROOT / "hparams").rglob("*.yaml"))
EMBEDDED = [path for path in YAMLS if "_real" not in path.stem]  # those that run on what the repository holds
TIMES = {"time", "data_wait_seconds", "peak_memory_bytes", "energy_joules"}


def make_brain(overrides, yaml: str = "whisper_ft", saves: bool = False, splits=("train", "valid", "test")):
    """(brain, hparams, manifest folder) of hparams/<yaml>.yaml under overrides, from the checkout's root."""
    os.chdir(ROOT)
    text = (ROOT / "hparams" / f"{yaml}.yaml").read_text(encoding="utf-8")
    hparams = settings.load(text, overrides)
    hparams["forgetting"] = hparams["forgetting"] or []
    folder = Path(hparams["output_folder"])
    manifests = prepare_new(hparams, splits)
    checkpointer = Checkpointer(folder / "save") if saves else None
    run_options = {"device": "cpu", "noprogressbar": True}
    brain = hparams["brain"](hparams["modules"], hparams["optimizer"], hparams, run_options, checkpointer)
    return brain, hparams, manifests


def prepare_new(hparams, splits) -> Path:
    """Make manifests of the new language in the run's folder; -> theirs."""
    folder = Path(hparams["output_folder"]) / "manifests" / hparams["language"]
    prepare(hparams["corpus"], hparams["data_folder"], folder, folder.name, splits, hparams["limits"])
    return folder


def prepare_old(hparams, splits=("train",)) -> Path:
    """The same of the old language."""
    folder = Path(hparams["output_folder"]) / "manifests" / hparams["old_language"]
    prepare(hparams["corpus"], hparams["old_data_folder"], folder, folder.name, splits, hparams["limits"])
    return folder


def small(yaml: str, folder: Path) -> dict[str, str]:
    """Overrides that run a YAML on 0.05 h of its corpus; one that needs another's result gets the embedded model's
    shape with random weights instead."""
    text = (ROOT / "hparams" / f"{yaml}.yaml").read_text(encoding="utf-8")
    corpus = {"corpus": "!name:local.synthetic.utterances {hours: 0.05}", "data_folder": str(folder / "synthetic")}
    if "local.synthetic_sign" in text:
        signs = "!name:local.synthetic_sign.utterances {train: 160, valid: 4, test: 4}"
        corpus = {"corpus": signs, "data_folder": str(folder / "signs")}
    overrides = {}
    if "\nteacher: " in text:
        overrides |= {"teacher": random_teacher(folder / "teacher")}
    elif "\nrun_first: " in text:
        kind = "encoder" if "\nencoder: " in text else "model"
        overrides |= {kind: "assets/ctc_small", "from_scratch" if kind == "model" else "encoder_from_scratch": "True"}
    if "\nold_data_folder: data" in text:
        overrides |= {"old_data_folder": str(folder / "synthetic")}
    return overrides | corpus | {"output_root": str(folder)}


def first_ten_losses(yaml: str, folder: Path) -> list[float]:
    """Training losses of a YAML as it stands, but for what `small` changes."""
    overrides = small(yaml, folder) | {"max_updates": "10", "log_every": "1"}
    brain, hparams, manifests = make_brain(overrides, yaml=yaml, splits=("train",))
    kwargs = {"batch_size": hparams["batch_size"], "shuffle": True}
    old = None
    if "train" in hparams["old_splits"] or any(method.reads for method in hparams["forgetting"]):
        old = brain.read(prepare_old(hparams) / "train.csv")
    brain.fit(
        range(1, 2), brain.read(manifests / "train.csv"), None, train_loader_kwargs=kwargs, old_sets={"train": old}
    )
    return [e["loss"] for e in brain.run_log.metrics.events() if e["event"] == "train"]


def random_teacher(folder: Path) -> str:
    """Folder of a small teacher with the embedded corpus's glosses and random weights."""
    from carryover.data.landmarks import Landmarks
    from carryover.models.sequence_model import SequenceCTC
    from carryover.text import Glosses
    from local import synthetic_sign

    tokenizer = Glosses(synthetic_sign.glosses("", ""))
    torch.manual_seed(3)
    width = Landmarks(synthetic_sign.LAYOUT).width
    SequenceCTC(width, len(tokenizer), d_model=16, layers=1, heads=2, d_ffn=32).save(folder)
    tokenizer.save(folder)
    return str(folder)


def batches(brain, manifest, size, stage=Stage.VALID, **kwargs):
    """All batches of a manifest in its order."""
    return list(brain.make_dataloader(brain.read(manifest), stage, ckpt_prefix=None, batch_size=size, **kwargs))


def command(overrides: dict[str, str], yaml: str = "hparams/whisper_ft.yaml") -> list[str]:
    """The command line that makes a run with these overrides."""
    words = [f"--{key}={given.as_argument(value)}" for key, value in overrides.items()]
    return [sys.executable, "train.py", yaml, "--noprogressbar", "--device=cpu", *words]


def train(overrides: dict[str, str], yaml: str = "hparams/whisper_ft.yaml") -> CompletedProcess:
    """Run train.py to its end."""
    return start(overrides, yaml).completed(timeout=600)


def start(overrides: dict[str, str], yaml: str = "hparams/whisper_ft.yaml") -> Process:
    """Start train.py."""
    return Process(command(overrides, yaml)[1:], ROOT)


def kill_at(update: int, last: int, overrides: dict[str, str], yaml: str = "hparams/whisper_ft.yaml") -> None:
    """Start a run of `last` updates and kill it (SIGKILL) once it has logged `update` of them, before its end."""
    folder = Path(overrides["output_folder"])
    log, words = folder / "metrics.jsonl", f'"train", "update": {update}'
    process = start(overrides, yaml)
    try:
        deadline = time.time() + 300
        while time.time() < deadline and words not in (log.read_text() if log.exists() else ""):
            assert process.poll() is None, "finished before it could be killed"
            time.sleep(0.005)
    finally:
        process.kill()
        process.wait()
    reached = [e["update"] for e in events(folder) if e["event"] == "train"][-1]
    assert update <= reached < last, reached


def events(folder) -> list[dict]:
    """Events of metrics.jsonl without what a clock or another process decides, and without resume events."""
    lines = (Path(folder) / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    found = [json.loads(line) for line in lines]
    found = [e for e in found if e["event"] != "resume" and e.get("kind") != "waiting for data"]
    return [{k: v for k, v in e.items() if k not in TIMES} for e in found]


def train_log(folder) -> list[str]:
    """Lines of train_log.txt without the time, and without what another process decides."""
    lines = (Path(folder) / "train_log.txt").read_text(encoding="utf-8").splitlines()
    return [re.sub(r"time: [^, ]+", "", line) for line in lines if "(waiting for data)" not in line]
