"""Which checkpoints a run has kept: one whose folder was deleted whole leaves no other trace.

`save/kept.json` is written after a checkpoint has its name and before others are deleted, so that all it names were
there whenever the process ended.
"""

import json
from collections.abc import Sequence
from pathlib import Path

from carryover import files
from carryover.checksums import ASIDE

NAME = "kept.json"


def write(save: Path, checkpoints: Sequence) -> None:
    """Write down these checkpoints (SpeechBrain's, with `path` and `meta`) of a run's save/."""
    about = {c.path.name: {key: c.meta[key] for key in ("update", "WER") if key in c.meta} for c in checkpoints}
    files.write_json(save / NAME, about)


def gone(save: Path) -> list[str]:
    """A line for each checkpoint that was kept and is not there, nor set aside, by its update."""
    try:
        lost = _lost(save) and _lost(save)  # again: a run that is training writes down what it is about to delete
    except FileNotFoundError:  # nothing was saved yet, or by an earlier version
        return []
    except (ValueError, AttributeError):
        return [f"{NAME} is damaged: whether a checkpoint was deleted cannot be told"]
    lines = []
    for name, about in sorted(lost.items()):
        what = f"update {about.get('update')}" + (f", validation WER {about['WER']:.2f}" if "WER" in about else "")
        lines.append(f"{name} ({what}) is gone: the run has kept it, and something else has deleted it since")
    return lines


def _lost(save: Path) -> dict[str, dict]:
    found = json.loads((save / NAME).read_bytes())
    there = {path.name for path in save.iterdir()}
    aside = tuple(name.removeprefix(ASIDE) for name in there if name.startswith(ASIDE))
    return {name: about for name, about in found.items() if name not in there and not _any(aside, name)}


def _any(aside: tuple[str, ...], name: str) -> bool:
    """Whether a checkpoint was set aside; checksums.set_aside numbers those of one name."""
    return any(other == name or other.startswith(f"{name}+") for other in aside)
