"""SpeechBrain's run options (--device, --noprogressbar, ...): their names, and their values by type."""

from dataclasses import fields
from typing import Literal, get_args, get_origin

import torch
import yaml
from speechbrain.utils.run_opts import RunOptions

from carryover.config import keys

NAMES = {field.name for field in fields(RunOptions)} - {"param_file", "overridden_args"}
SWITCHES = {field.name for field in fields(RunOptions) if field.type is bool}  # they can stand alone


def value_of(key: str, value: str):
    """The value of one of SpeechBrain's run options, as its type wants it.

    Raises
    ------
    ValueError
        For a switch that is neither on nor off, a number that is none, a word that is no choice.
    """
    kind = next(field.type for field in fields(RunOptions) if field.name == key)
    if kind is bool and value.lower() in keys.BOOLEANS:
        return keys.BOOLEANS[value.lower()]
    if kind in (bool, int, float):
        try:
            return {int: int, float: float}[kind](value)
        except (KeyError, ValueError):
            words = {bool: "True or False", int: "an integer", float: "a number"}
            raise ValueError(f"{key}: '{value}'; expected {words[kind]}") from None
    if choices := get_args(kind) if get_origin(kind) is Literal else ():
        if value not in choices:
            raise ValueError(f"{key}: '{value}'; expected {', '.join(choices)}")
    return value if kind == (str | None) or choices else yaml.safe_load(value)


def require_device(name: str) -> None:
    """Raise ValueError for a device that torch cannot use here, saying which it can."""
    here = ["cpu", *(f"cuda:{n}" for n in range(torch.cuda.device_count()))]
    here += ["mps"] if torch.backends.mps.is_available() else []
    if name not in here and not (name == "cuda" and len(here) > 1 and here[1] == "cuda:0"):
        raise ValueError(f"--device: '{name}' cannot be used here; this torch finds {', '.join(here)}")
