"""Whether what a run stands on is still what it was: data, starting weights, code and machine."""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from carryover.runs import run_folder
from carryover.runs.privacy import clean

NEW_RUN = "or start a new run with --output_folder or --seed"


def require_same_data(folder: Path, was: Mapping, data: Mapping[str, Mapping]) -> None:
    """Raise ValueError where a run that has begun learned from other manifests than are there now.

    Parameters
    ----------
    was : dict
        run.json as it was before this start.
    data : dict
        `run_folder.data_digests` of now.
    """
    if not run_folder.begun(folder):
        return
    for name, then in was.get("data", {}).items():
        now = data.get(name)
        if now is None or now["digest"] != then["digest"]:
            counts = now["counts"] if now else "no manifests"
            raise ValueError(
                f"{folder / 'manifests' / name}: the corpus has changed since this run began; usable utterances were "
                f"{then['counts']}, now {counts}. Bring back what was there to go on, {NEW_RUN}"
            )


def require_checkpoints(folder: Path, events: Sequence[Mapping]) -> None:
    """Raise ValueError where the log of a run without checkpoints (`events`) says that there were some.

    One at the log's end does not count, flags aside: the process may have ended between this line and the checkpoint.
    """
    told = [e for e in events if e["event"] != "flag"]
    saved = [e["update"] for e in told[:-1] if e["event"] == "checkpoint"]
    if saved:
        raise ValueError(
            f"{folder / 'save'} holds no checkpoint, but {folder / 'metrics.jsonl'} tells of {len(saved)}, the last "
            f"at update {saved[-1]}; bring the folder back to go on, delete {folder} to train anew, {NEW_RUN}"
        )


def starting_weights(folder: Path, was: Mapping, modules: Mapping[str, torch.nn.Module]) -> dict[str, str]:
    """Digests of a Brain's modules as they were made, before any checkpoint is loaded: what EWC and others keep to.

    Raises
    ------
    ValueError
        When the run has begun with others, naming the modules.
    """
    found = {name: _digest(module) for name, module in modules.items()}
    then = was.get("starting_weights", {})
    other = sorted(name for name, sha in found.items() if name in then and then[name] != sha)
    if other and run_folder.begun(folder):
        raise ValueError(
            f"{folder}: the weights that the training starts from have changed since this run began ({', '.join(other)}"
            f"): the model that the YAML names holds others now. Bring back the old ones to go on, {NEW_RUN}"
        )
    return found


def _digest(module: torch.nn.Module) -> str:
    sha = hashlib.sha256()
    for name, tensor in module.state_dict().items():
        sha.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        sha.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return sha.hexdigest()


def say_changes(folder: Path, was: Mapping) -> None:
    """Say, and keep in run.json, what is different of code and machine where a run goes on: last digits may differ."""
    info = run_folder.read_info(folder)
    if run_folder.begun(folder) and (lines := run_folder.changed(was, info)):
        lines = [clean(line) for line in lines]
        print("Since this run was last started, these have changed; last digits may differ: " + "; ".join(lines))
        run_folder.write_info(folder, {"changes": [*info.get("changes", []), lines]})
