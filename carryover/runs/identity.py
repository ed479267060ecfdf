"""What a run's checkpoints belong to: the run, its settings, its data, the model that it starts from."""

import hashlib
import json
import uuid
from pathlib import Path

from carryover import checksums
from carryover.runs import run_folder


def of(folder: str | Path, values: dict, data: dict, weights: dict[str, str]) -> dict[str, str]:
    """What the checkpoints of a run that is about to train belong to; gives the run an ID where it has none.

    Parameters
    ----------
    values : dict
        Plain values of the YAML.
    data : dict
        `run_folder.data_digests`.
    weights : dict
        `same_run.starting_weights`.
    """
    if not of_run(folder):
        # run.json may have been lost; a run's checkpoints know whose they are
        run_folder.write_info(folder, _of_checkpoints(Path(folder)) or {"id": uuid.uuid4().hex})
    return of_run(folder) | {"settings": _digest(values), "data": _digest(data), "starting model": _digest(weights)}


def of_run(folder: str | Path) -> dict[str, str]:
    """{"run": the ID in run.json}, {} where it says none."""
    try:
        ID = json.loads((Path(folder) / "run.json").read_text(encoding="utf-8")).get("id")
    except (OSError, ValueError, AttributeError):
        return {}
    return {"run": ID} if ID else {}


def _of_checkpoints(folder: Path) -> dict[str, str]:
    found = [c for c in sorted((folder / "save").glob("CKPT*")) if not checksums.faults(c)]
    IDs = {checksums.belongs_to(c).get("run") for c in found} - {None}
    return {"id": IDs.pop()} if len(IDs) == 1 else {}


def _digest(values) -> str:
    text = json.dumps(values, sort_keys=True, default=str)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
