"""A small run that benchmarks break: its corpus, its starting model, the unbroken outcome, and changes of its files."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import soundfile
from safetensors.torch import load_file, save_file

from benchmarks.kills import outcome
from tests.conftest import ROOT
from tests.recipes.four_recipes import SHORT
from tests.recipes.helpers import command
from tests.recipes.processes import Process
from tests.tiny_speech import corpus, ctc_shape

LAUNCH, YAML, CLIP = "benchmarks/injected.py", "hparams/dutch_pretrain.yaml", "03.wav"
Undo = Callable[[], object]


class Place:
    """A corpus, a starting model and the folder of one run, which begins anew for each fault."""

    def __init__(self, folder: Path):
        self.folder, self.run, self.kept = folder, folder / "run", folder / "unbroken"
        self.data, self.model = corpus(folder / "data"), folder / "model"
        shape = {"model": str(ctc_shape(folder / "shape")), "from_scratch": "True", "max_updates": "1"}
        self.overrides = SHORT | {
            "corpus": "!name:local.table.utterances", "data_folder": str(self.data), "language": "nl",
            "save_limit": "3", "output_folder": str(self.run),
        }  # fmt: skip
        self.finish(shape)
        shutil.copytree(self.run / "model", self.model, ignore=shutil.ignore_patterns("checksums.json"))
        self.overrides |= {"model": str(self.model), "from_scratch": "False"}
        self.whole = self.unbroken()
        self.run.rename(self.kept)
        undo = line_taken_out(self)
        self.without = self.unbroken()
        undo()

    def unbroken(self) -> dict:
        shutil.rmtree(self.run, ignore_errors=True)
        self.finish({})
        return self.outcome()

    def start(self, fault: str, overrides: dict[str, str]) -> Process:
        """Start the run's command with a fault in it."""
        words = command(self.overrides | overrides, YAML)[1:]
        return Process([LAUNCH, fault, str(self.run), *words], ROOT, {"FAULT_CLIP": str(self.data / CLIP)})

    def finish(self, overrides: dict[str, str]) -> None:
        """Run to the end.

        Raises
        ------
        RuntimeError
            With what the run said, where it ends with another status than 0.
        """
        done = self.start("nothing", overrides).completed(timeout=300)
        if done.returncode:
            raise RuntimeError(f"status {done.returncode}: {done.stderr[-2000:]}")

    def outcome(self) -> dict:
        """What is compared of a run that has ended; logs are not: a fault that is told there is a line more."""
        return {key: value for key, value in outcome(self.run).items() if key not in ("events", "train_log", "files")}

    def newest(self, key: str = "update", back: int = 0) -> Path:
        """Folder of a checkpoint."""
        found = sorted(self.run.glob("save/CKPT+*"), key=lambda c: json.loads((c / "brain.json").read_text())[key])
        return found[-1 - back]


# ---- changes of files; each returns what undoes it ----


def rewritten(file: Path, content: bytes) -> Undo:
    """Other content for a file."""
    was = file.read_bytes()
    file.write_bytes(content)
    return lambda: file.write_bytes(was)


def line_taken_out(place: Place) -> Undo:
    listing = place.data / "manifest.tsv"
    lines = listing.read_bytes().splitlines(True)
    return rewritten(listing, b"".join(line for line in lines if not line.startswith(CLIP.encode())))


def clip_taken_away(place: Place) -> Undo:
    was = (place.data / CLIP).read_bytes()
    (place.data / CLIP).unlink()
    return lambda: (place.data / CLIP).write_bytes(was)


def garbage_clip(place: Place) -> Undo:
    return rewritten(place.data / CLIP, b"no audio " * 1000)


def other_sound(place: Place) -> Undo:
    """The same size, other content: the last samples."""
    return rewritten(place.data / CLIP, (place.data / CLIP).read_bytes()[:-200] + bytes(200))


def samples_of(value: float) -> Callable[[Place], Undo]:
    """A clip whose samples hold one that is no number, or infinite."""

    def change(place: Place) -> Undo:
        undo = rewritten(place.data / CLIP, b"")
        wav = np.full(8000, 0.1, dtype=np.float32)
        wav[4000] = value
        soundfile.write(place.data / CLIP, wav, 16000, subtype="FLOAT")
        return undo

    return change


def other_weights(place: Place) -> Undo:
    file = place.model / "model.safetensors"
    was, weights = file.read_bytes(), load_file(file)
    name = sorted(weights)[0]
    save_file(weights | {name: weights[name] + 1e-3}, file, {"format": "pt"})
    return lambda: file.write_bytes(was)


def half_log(place: Place) -> None:
    log = place.run / "metrics.jsonl"
    log.write_bytes(log.read_bytes()[: log.stat().st_size // 2])


def newest_deleted(place: Place) -> None:
    shutil.rmtree(place.newest())


def best_deleted(place: Place) -> None:
    shutil.rmtree(place.newest(back=1))  # update 3, the only one with a validation


def all_deleted(place: Place) -> Undo:
    (place.run / "save").rename(place.folder / "saved")
    return lambda: [
        shutil.rmtree(place.run / "save", ignore_errors=True),
        (place.folder / "saved").rename(place.run / "save"),
    ]
