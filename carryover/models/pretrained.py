"""Checks of pretrained weights: pinned to a commit, complete, of a type that can hold them."""

import re
from pathlib import Path

import torch

from carryover.data.source import require_source


def require_pinned(source: str, revision: str | None, key: str) -> None:
    """Raise where `source` is nothing that can be loaded, or a hub name whose weights may change from day to day."""
    require_source(source)
    if not Path(source).is_dir() and not re.fullmatch(r"[0-9a-f]{40}", revision or ""):
        raise ValueError(
            f"{key}_revision: {revision!r} for {source}; give the commit's 40 hexadecimal digits (on the hub: Files "
            "and versions, History), for a branch's or tag's name may mean other weights tomorrow"
        )


def require_complete(source: str, missing) -> None:
    """Raise ValueError where transformers gave random weights to what a checkpoint lacks: frozen, they stay random."""
    if missing:
        raise ValueError(
            f"{source}: its weights lack {', '.join(sorted(missing)[:4])} ({len(missing)} tensors), which would stay "
            "random; give the checkpoint of a whole model"
        )


def dtype_of(name: str) -> torch.dtype:
    """Type of frozen weights by its name in a YAML."""
    known = {"float32": torch.float32, "bfloat16": torch.bfloat16}
    if name not in known:  # float16 ends at 65 504, which single channels of large language models exceed: nan
        raise ValueError(f"dtype: {name!r}; expected {' or '.join(known)}")
    return known[name]
