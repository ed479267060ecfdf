"""The cells of a grid, from `--set key=a,b,c` and `--seeds 1,2,3`, and their names."""

import itertools
import re
import zlib
from collections.abc import Sequence

from carryover.config.settings import SettingsError

OURS = {"seed": "--seeds", "output_folder": "--out"}


def split(text: str) -> list[str]:
    """Parts of a text between its top-level commas: none within brackets, braces or quotes.

    Raises
    ------
    SettingsError
        For a bracket or quote that is not closed, and for an empty part.
    """
    parts, current, closers, quote = [], "", [], ""
    for letter in text:
        if quote:
            quote = "" if letter == quote else quote
        elif letter in "\"'" and (not current.strip() or current.rstrip()[-1] in "[({:,"):  # else an apostrophe
            quote = letter
        elif letter in "[({":
            closers.append("])}"["[({".index(letter)])
        elif closers and letter == closers[-1]:
            closers.pop()
        elif letter == "," and not closers:
            parts.append(current.strip())
            current = ""
            continue
        current += letter
    parts.append(current.strip())
    if quote or closers:
        raise SettingsError(f"'{text}': {quote or closers[-1]} is missing at the end")
    if not all(parts):
        raise SettingsError(f"'{text}': a value is missing between or beside its commas")
    return parts


def grid(sets: Sequence[str]) -> list[dict[str, str]]:
    """Cells of a grid, {key: value as YAML text}, the last key running fastest.

    Raises
    ------
    SettingsError
        For an empty grid, a word that is not key=a,b,c, and a key or value that is there twice.
    """
    lists = {}
    for word in sets:
        key, equals, values = word.partition("=")
        key = key.strip().removeprefix("--")
        if not equals or not key:
            raise SettingsError(f"--set {word}: expected key=a,b,c")
        if key in lists:
            raise SettingsError(f"--set {word}: {key} is there twice; give all its values in one list")
        if key in OURS:
            raise SettingsError(f"--set {word}: {key} is given by {OURS[key]}")
        lists[key] = split(values)
        _refuse_twice(f"--set {word}", lists[key])
    if not lists:
        raise SettingsError("the grid is empty: give at least one --set key=a,b,c")
    return [dict(zip(lists, values, strict=True)) for values in itertools.product(*lists.values())]


def parse_seeds(text: str) -> list[int]:
    """Seeds of `1,2,3`."""
    parts = split(text)
    for part in parts:
        if not re.fullmatch(r"\d+", part):
            raise SettingsError(f"--seeds {text}: '{part}' is no whole number; expected e.g. --seeds 1,2,3")
    _refuse_twice(f"--seeds {text}", parts)
    return [int(part) for part in parts]


def _refuse_twice(where: str, values: Sequence[str]) -> None:
    """1e-3 and 0.001 are one value."""
    seen = {}
    for value in values:
        try:
            same = float(value)
        except ValueError:
            same = value
        if same in seen:
            raise SettingsError(f"{where}: the value {value} is there twice (as {seen[same]})")
        seen[same] = value


def method_name(values: dict[str, str]) -> str:
    """A cell's name in the table: the preset alone where nothing else is varied."""
    return values["preset"] if values.keys() == {"preset"} else cell_name(values)


def cell_name(values: dict[str, str]) -> str:
    """Folder name of a cell, e.g. `preset=ewc,lambda=1e3`.

    A value with letters that not every file system takes, or a long one, is shortened and gets a checksum.
    """

    def safe(value: str) -> str:
        short = re.sub(r"[^A-Za-z0-9._+-]+", "_", value).strip("_")[:40]
        return short if short == value else f"{short}~{zlib.crc32(value.encode()):08x}"

    return ",".join(f"{key}={safe(value)}" for key, value in values.items())
