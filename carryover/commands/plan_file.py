"""What the plans of a study and of a sequence have in common: a YAML file with given keys, an experiment and seeds."""

from collections.abc import Set
from pathlib import Path

from ruamel.yaml import YAML, YAMLError

from carryover.config.settings import SettingsError


def read(path: str | Path, what: str, needed: Set[str], more: Set[str] = frozenset()) -> dict:
    """The keys of a plan's YAML file.

    Parameters
    ----------
    what : str
        Whose plan, for the message.
    needed, more : set of str
        Keys that it has to have, and that it may have.

    Raises
    ------
    SettingsError
        For a file that cannot be read, a key that is not there or unknown, an experiment that is no text, and for
        seeds that are not different whole numbers.
    """
    try:
        found = YAML(typ="safe", pure=True).load(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, YAMLError) as error:
        raise SettingsError(f"{path}: {error}; expected the YAML file of {what}") from error
    keys = found.keys() if isinstance(found, dict) else set()
    if wrong := sorted(map(str, (needed - keys) | (keys - needed - more))):
        expected = ", ".join(sorted(needed)) + (f", perhaps {', '.join(sorted(more))}" if more else "")
        said = ", ".join(wrong) if keys else "no keys"
        raise SettingsError(f"{path}: {said}; expected the keys {expected}, and no others")
    require_plain(str(path), found)
    if not isinstance(found["experiment"], str):
        raise SettingsError(f"{path}: experiment: {found['experiment']!r}; expected a YAML's path")
    seeds = found["seeds"]
    numbers = isinstance(seeds, list) and all(isinstance(seed, int) and not isinstance(seed, bool) for seed in seeds)
    if not numbers or not seeds or len(set(seeds)) < len(seeds):
        raise SettingsError(f"{path}: seeds: {seeds}; expected a list of different whole numbers, e.g. [1, 2, 3]")
    return found


def require_plain(where: str, found) -> None:
    """Raise SettingsError for a date, at any depth, and for a key that is no text."""
    if isinstance(found, dict):
        for key, value in found.items():
            if not isinstance(key, str):
                raise SettingsError(f'{where}: the key {key} is no text; put it into quotes: "{key}"')
            require_plain(f"{where}: {key}", value)
    elif isinstance(found, list):
        for value in found:
            require_plain(where, value)
    elif not isinstance(found, (str, int, float, type(None))):
        raise SettingsError(f'{where}: {found} is a {type(found).__name__}; put it into quotes: "{found}"')
