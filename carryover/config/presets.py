"""Named starting points for a YAML's values (presets.yaml): absolute ones, and changes to what the YAML says."""

import difflib
from pathlib import Path

import yaml
from ruamel.yaml import YAML

from carryover.config import command_words
from carryover.config.settings import SettingsError, tree

FILE = Path(__file__).with_name("presets.yaml")
# What a relative change must not leave: (lowest, highest), both allowed.
BOUNDS = {"epochs": (1, None), "weight_decay": (0, None), "dropout": (0, 1)}
CHANGES = {"add": lambda value, by: value + by, "times": lambda value, by: value * by}


def take(argv: list[str]) -> tuple[list[str], list[str]]:
    """Take `--preset NAME[,NAME]` and `--preset=NAME[,NAME]` out of a command line.

    Returns
    -------
    (names, rest)
        Names in their order; the other arguments.

    Raises
    ------
    SettingsError
        When no name follows.
    """
    lists, rest = command_words.take("--preset", argv)
    names = [[name.strip() for name in words.split(",") if name.strip()] for words in lists]
    if not all(names):
        raise SettingsError(f"--preset: a name is missing; one or more of: {', '.join(read())}")
    return sum(names, []), rest


def read() -> dict[str, dict]:
    """All presets: {name: {key: value, or {"add": x}, or {"times": x}}}."""
    return YAML(typ="safe").load(FILE.read_text(encoding="utf-8"))


def scalars(text: str) -> dict[str, str | float | int | bool | None]:
    """The plain values on a YAML's top level; no object is made, keys with a tag (!new, !ref, ...) are None."""
    return {
        key: value if isinstance(value, (str, float, int)) else None
        for key, value in tree(text).items()
        if not key.startswith("__")
    }


def apply(names: list[str], values: dict) -> dict[str, str]:
    """Overrides that one or more presets make out of a YAML's values.

    Parameters
    ----------
    names : list of str
        Presets, applied from left to right.
    values : dict
        What the YAML says: `scalars` of its text.

    Returns
    -------
    overrides : dict
        YAML text by key, as `settings.parse` gives it; what the user says goes on top: `apply(...) | overrides`.

    Raises
    ------
    SettingsError
        For an unknown preset (naming the nearest), a key that the YAML does not have, a change to what is no number,
        and a change that leads out of `BOUNDS`.
    """
    presets, found = read(), {}
    for name in names:
        if name not in presets:
            near = difflib.get_close_matches(name, presets, n=1, cutoff=0.0)[0]
            raise SettingsError(f"--preset {name}: unknown; did you mean {near}? There are: {', '.join(presets)}")
        for key, asked in presets[name].items():
            if key not in values:
                raise SettingsError(f"--preset {name}: it sets {key}, a key that this YAML does not have")
            found[key] = _changed(name, key, found.get(key, values[key]), asked) if isinstance(asked, dict) else asked
    return {key: as_yaml(value) for key, value in found.items()}


def as_yaml(value) -> str:
    """A preset's value as the YAML text of an override; text with a tag holds objects."""
    return value if isinstance(value, str) and value.startswith(("!", "[!")) else yaml.safe_dump(value).splitlines()[0]


def _changed(name: str, key: str, value: float, change: dict[str, float]) -> float:
    """`value` under {"add": x} or {"times": x}."""
    [(how, by)] = change.items()
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise SettingsError(f"--preset {name}: {key} cannot be changed by {how} {by:g}, for it is no number: {value}")
    result = CHANGES[how](value, by)
    # 0.05 + 0.02 is 0.07, not 0.07000000000000001: the value is going to be read by people
    result = result if isinstance(result, int) else float(f"{result:.12g}")
    low, high = BOUNDS.get(key, (None, None))
    if low is not None and result < low:
        raise SettingsError(f"--preset {name}: {key} {value:g} would become {result:g}; at least {low} is possible")
    if high is not None and result > high:
        raise SettingsError(f"--preset {name}: {key} {value:g} would become {result:g}; at most {high} is possible")
    return result
