"""What a method leaves for the run that starts from this one's model: `carried/` beside `model/` in the run folder."""

from collections.abc import Sequence
from pathlib import Path

import torch

from carryover import files
from carryover.forgetting import fisher
from carryover.forgetting.method import Method

FOLDER = "carried"


def folder_of(values: dict) -> Path | None:
    """`carried/` of the run whose model the YAML's plain values start from; None where that is nobody's run."""
    source = values.get("start_from") or values.get("model")
    if not source or values.get("from_scratch"):
        return None
    found = Path(source).parent / FOLDER
    return found if found.is_dir() else None


def leave(methods: Sequence[Method], folder: Path) -> None:
    """Write what the methods of the run in `folder` leave for the next one."""
    if leaving := [method for method in methods if type(method).carry is not Method.carry]:
        with files.made_folder(folder / FOLDER) as into:
            for method in leaving:
                method.carry(into)


def load(path: Path, parameters: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """An importance of the run before by parameter name, in the shapes of these parameters.

    What that run did not have is worth 0: parameters, and rows of a head that has grown (old units come first).

    Raises
    ------
    ValueError
        Where the file is no importance, or a shape is another model's.
    """
    found, _ = fisher.read(path)
    if not found.keys() & parameters.keys():
        raise ValueError(f"{path}: none of its {len(found)} tensors is of this model; take `carried/` of its own run")
    importance = {}
    for name, p in parameters.items():
        importance[name] = torch.zeros_like(p, dtype=torch.float32)
        if name not in found:
            continue
        value = found[name]
        if value.shape[1:] != p.shape[1:] or len(value) > len(p):
            raise ValueError(f"{path}: {name} has the shape {tuple(value.shape)}, here {tuple(p.shape)}")
        importance[name][: len(value)] = value.to(p.device)
    return importance
