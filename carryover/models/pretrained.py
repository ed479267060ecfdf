"""Pretrained weights: pinned to a commit, of the kind that is needed, complete, of a type that can hold them."""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

import torch
from transformers.utils import logging as hf_logging

from carryover.data.source import loading, require_source

# What tools leave before the names of a model's tensors: DataParallel, torch.compile, peft, Lightning.
PREFIXES = ("module.", "_orig_mod.", "base_model.model.", "model.")
# Heads of self-supervised training, and what LoRA-free fine-tuning never asks for.
PRETRAINING = ("quantizer.", "project_q.", "project_hid.", "final_proj.", "label_embs_concat")


def require_pinned(source: str, revision: str | None, key: str) -> None:
    """Raise where `source` is nothing that can be loaded, or a hub name whose weights may change from day to day."""
    require_source(source)
    if not Path(source).is_dir() and not re.fullmatch(r"[0-9a-f]{40}", revision or ""):
        raise ValueError(
            f"{key}_revision: {revision!r} for {source}; give the commit's 40 hexadecimal digits (on the hub: Files "
            "and versions, History), for a branch's or tag's name may mean other weights tomorrow"
        )


def load_whole(
    kind,
    source: str,
    may_lack: Iterable[str] = (),
    may_hold: Iterable[str] = (),
    revision: str | None = None,
    **options,
):
    """A model of transformers, every weight of which is the checkpoint's; none stays random in silence.

    Where names differ by a prefix that a tool has left (`PREFIXES`), it is taken off, and that is said.

    Parameters
    ----------
    kind : type
        With `from_pretrained`, e.g. WhisperForConditionalGeneration.
    source : str
    may_lack, may_hold : iterable of str
        Beginnings of the names of tensors that the checkpoint may lack (a new head) or hold in vain (an old one).
    **options
        Of `from_pretrained`.

    Returns
    -------
    (model, info)
        And transformers' own record of the loading: missing_keys, unexpected_keys.

    Raises
    ------
    FileNotFoundError
        For a file that is not there or cannot be read.
    ValueError
        Naming the tensors that are missing, left over, of another shape, or not finite.
    """
    may_lack, may_hold = tuple(may_lack), tuple(may_hold)

    def load(**more):
        before = hf_logging.get_verbosity()
        hf_logging.set_verbosity_error()  # what it would warn of is said or refused below
        try:
            with loading(source, revision):
                return kind.from_pretrained(
                    source, revision=revision, output_loading_info=True, ignore_mismatched_sizes=True, **options, **more
                )  # what is ignored is refused below, by its name
        finally:
            hf_logging.set_verbosity(before)

    def wrong(info):
        missing = sorted(name for name in info["missing_keys"] if not name.startswith(may_lack))
        return missing, sorted(name for name in info["unexpected_keys"] if not name.startswith(may_hold))

    model, info = load()
    missing, left = wrong(info)
    for prefix in PREFIXES if missing and left else ():
        if set(missing) & {name.removeprefix(prefix) for name in left if name.startswith(prefix)}:
            model, info = load(key_mapping={f"^{re.escape(prefix)}": ""})
            missing, left = wrong(info)
            print(f"{source}: the prefix '{prefix}' was taken off the names of its weights")
            break
    if shapes := [f"{name} {tuple(there)} for {tuple(here)}" for name, there, here in sorted(info["mismatched_keys"])]:
        raise ValueError(
            f"{source}: its weights have other shapes than its config.json says: {_some(shapes)}; give the config.json "
            "that they were trained with"
        )
    if missing or left:
        said = [f"lack {_some(missing)}, which would stay random"] if missing else []
        said += [f"hold {_some(left)}, for which this model has no place"] if left else []
        raise ValueError(
            f"{source}: its weights {' and '.join(said)}; give the checkpoint of a whole model with its own "
            "config.json (number of layers and widths as trained; adapters merged into the weights)"
        )
    if broken := [name for name, tensor in model.state_dict().items() if not bool(torch.isfinite(tensor).all())]:
        raise ValueError(f"{source}: weights that are not finite: {_some(broken)}; give a checkpoint that is whole")
    return model, info


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:4]) + (f", ... ({len(names)} tensors)" if len(names) > 4 else "")


def dtype_of(name: str) -> torch.dtype:
    """Type of frozen weights by its name in a YAML."""
    known = {"float32": torch.float32, "bfloat16": torch.bfloat16}
    if name not in known:  # float16 ends at 65 504, which single channels of large language models exceed: nan
        raise ValueError(f"dtype: {name!r}; expected {' or '.join(known)}")
    return known[name]
