"""Weights: which they are (digests), how two records of them differ, and loading one file of them."""

import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path

import torch
from safetensors.torch import load_model


def digest(tensors: Iterable[tuple[str, torch.Tensor]]) -> str:
    """SHA-256 over names, shapes and values, in order: says which weights these are."""
    h = hashlib.sha256()
    for name, tensor in tensors:
        h.update(f"{name} {tuple(tensor.shape)} ".encode())
        h.update(tensor.detach().to("cpu", torch.float32).contiguous().numpy())
    return h.hexdigest()


def differences(found, wanted, at: str = "") -> Iterator[str]:
    """What differs between two records of what weights were made for, one line a leaf.

    Where a model lies and what its commit is called say nothing (`source`, `revision`): the hashes of its weights do.
    """
    if isinstance(found, dict) and isinstance(wanted, dict):
        for key in sorted((found.keys() | wanted.keys()) - {"source", "revision"}):
            yield from differences(found.get(key), wanted.get(key), f"{at}.{key}".lstrip("."))
    elif found != wanted:
        yield f"{at} is {found} there and {wanted} here"


def load_weights(module: torch.nn.Module, path: str | Path) -> None:
    """Load one safetensors file into a module; every tensor must be there and fit.

    Raises
    ------
    RuntimeError
        Naming the file and the tensors that are missing, unexpected or of another shape.
    """
    try:
        load_model(module, str(path), strict=True)
    except RuntimeError as error:
        raise RuntimeError(f"{path} does not hold the weights of this model: {error}") from error
