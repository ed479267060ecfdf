"""`--profile`: how an effective batch of 16 is cut into micro-batches for the memory of a graphics card."""

import difflib
import re

import torch

from carryover.config import command_words
from carryover.config.settings import SettingsError

EFFECTIVE_BATCH = 16
# Memory that is sold under the name, in GB (10^9 bytes): micro-batch; the rest of the 16 is accumulation.
MICRO_BATCHES = {16: 2, 24: 4, 40: 8, 80: 16}
PROFILES = {f"{size}GB": (micro, EFFECTIVE_BATCH // micro) for size, micro in MICRO_BATCHES.items()}
# A "16 GB" T4 has 15.8e9 bytes and a "24 GB" L4 23.7e9, and CUDA's own context takes some 0.5e9 of them.
SHARE = 0.9
KEYS = ("batch_size", "grad_accumulation_factor")
USAGE = f"one of: {', '.join(PROFILES)}, auto"


def take(argv: list[str]) -> tuple[str | None, list[str]]:
    """Take `--profile NAME` or `--profile=NAME` out of a command line.

    Returns
    -------
    (profile, rest)
        The name, None where there is none; the other arguments.

    Raises
    ------
    SettingsError
        When no name follows, two are given, or the command line also sets what a profile sets.
    """
    names, rest = command_words.take("--profile", argv)
    if not all(names):
        raise SettingsError(f"--profile: a name is missing; {USAGE}")
    if len(names) > 1:
        raise SettingsError(f"--profile is given {len(names)} times ({', '.join(names)}); give one")
    for key in KEYS:
        if names and any(word == f"--{key}" or word.startswith(f"--{key}=") for word in rest):
            raise SettingsError(
                f"--profile {names[0]} and --{key} contradict each other: a profile sets {' and '.join(KEYS)}, whose "
                f"product is always {EFFECTIVE_BATCH}; leave out one of the two"
            )
    return (names[0] if names else None), rest


def overrides(name: str | None, free_bytes: int | None = None) -> dict[str, str]:
    """The overrides of a profile, as `presets.apply` gives them.

    Parameters
    ----------
    name : str or None
        One of `PROFILES`, or "auto": the largest that fits. A profile fits where at least 90 % of the memory that it
        is named after is free. None gives no overrides.
    free_bytes : int, optional
        Free memory of the device, for "auto"; asked of the CUDA device where it is not given.

    Returns
    -------
    overrides : dict
        {"batch_size": micro-batch, "grad_accumulation_factor": 16 / micro-batch} as YAML text; {} for None.

    Raises
    ------
    SettingsError
        For an unknown name (naming the nearest), "auto" without CUDA, or with less memory than any profile needs.
    """
    if name is None:
        return {}
    if name == "auto":
        name = largest(free_memory() if free_bytes is None else free_bytes)
    if name not in PROFILES:
        raise SettingsError(f"--profile {name}: unknown; did you mean {_nearest(name)}? Expected {USAGE}")
    return dict(zip(KEYS, map(str, PROFILES[name]), strict=True))


def require_one_size(values: dict, overrides: dict) -> None:
    """Raise SettingsError where batches are filled by seconds and an override says how many utterances they have."""
    if values.get("batch_seconds") and "batch_size" in overrides:
        raise SettingsError(
            f"batch_seconds: {values['batch_seconds']:g} and batch_size: {values['batch_size']} (of the command line, "
            "a preset, a profile or --batch auto) both say how large a batch is; leave out one, or give batch_seconds: "
            "null"
        )


def _nearest(name: str) -> str:
    """Of a card of another size the profile below it, of another word the one that is spelt most alike."""
    if size := re.search(r"\d+", name):
        return f"{max((s for s in MICRO_BATCHES if s <= int(size[0])), default=min(MICRO_BATCHES))}GB"
    return difflib.get_close_matches(name.lower(), ["auto", *PROFILES], n=1, cutoff=0.0)[0]


def free_memory() -> int:
    """Bytes that are free on the current CUDA device, now: what other processes hold is not."""
    if not torch.cuda.is_available():
        raise SettingsError(
            "--profile auto: this torch finds no CUDA device, so there is no memory to measure; leave --profile out to "
            f"train with the YAML's batch_size, name one of {', '.join(PROFILES)}, or install a torch built for CUDA"
        )
    free, _ = torch.cuda.mem_get_info()
    return free


def largest(free_bytes: int) -> str:
    """Name of the largest profile that fits into so many bytes."""
    fitting = [size for size in MICRO_BATCHES if free_bytes >= SHARE * size * 1e9]
    if not fitting:
        smallest = min(MICRO_BATCHES)
        raise SettingsError(
            f"--profile auto: {free_bytes / 1e9:.1f} GB are free on the device, the smallest profile {smallest}GB "
            f"needs {SHARE * smallest:.1f}; end what else holds its memory (nvidia-smi shows it), or say --profile "
            f"{smallest}GB: where it does not fit, micro-batches are halved"
        )
    return f"{max(fitting)}GB"
