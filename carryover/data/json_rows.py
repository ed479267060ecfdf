"""Rows of .jsonl files (an object a line) and .json files (a list of objects, or one object of them by ID)."""

import json
from collections import Counter
from collections.abc import Collection, Iterator
from functools import partial
from pathlib import Path

EXAMPLE = '{"audio": "clips/1.wav", "text": "Goedendag.", "split": "train"}'


def read_jsonl(path: Path, fields: Collection[str] = ()) -> Iterator[tuple[int, dict[str, str]]]:
    """(line, row) of each line that is not blank; values as text, "" for null.

    Parameters
    ----------
    path : Path
        UTF-8.
    fields : collection of str
        Keys, in lower case, that must hold no list or object.

    Raises
    ------
    ValueError
        With file and line.
    """
    for number, line in enumerate(path.read_bytes().removeprefix(b"\xef\xbb\xbf").split(b"\n"), start=1):
        if not line.strip():
            continue
        where = f"{path}:{number}"
        try:
            row = json.loads(line.decode("utf-8"), object_pairs_hook=partial(_once, where))
        except (json.JSONDecodeError, UnicodeDecodeError) as error:
            raise ValueError(
                f"{where}: not JSON in UTF-8 ({error}); expected one object, e.g. {EXAMPLE}; correct that line"
            ) from error
        yield number, _row(where, row, fields)


def read_json(path: Path, fields: Collection[str] = ()) -> Iterator[tuple[int, dict[str, str]]]:
    """(place, row) of each object of a .json file; of an object of objects (SpeechBrain's form) the key is "ID", and
    {data_root} in a path is the file's folder.

    Raises
    ------
    ValueError
        With file and place.
    """
    try:
        found = json.loads(path.read_bytes().decode("utf-8-sig"), object_pairs_hook=partial(_once, str(path)))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: not JSON in UTF-8 ({error}); a file of one object a line is a .jsonl") from error
    if isinstance(found, dict):
        bad = next((ID for ID, row in found.items() if not isinstance(row, dict)), None)
        if bad is not None:
            raise ValueError(
                f"{path}: '{bad}' holds no object; expected a list of objects such as {EXAMPLE}, or such objects by ID"
            )
        found = [{"ID": ID} | row if "ID" not in row and "id" not in row else row for ID, row in found.items()]
    if not isinstance(found, list):
        raise ValueError(f"{path}: a JSON {type(found).__name__}; expected a list of objects such as {EXAMPLE}")
    for number, row in enumerate(found, start=1):
        row = _row(f"{path}: object {number}", row, fields)
        yield number, {key: value.replace("{data_root}", str(path.parent.resolve())) for key, value in row.items()}


def _row(where: str, row, fields: Collection[str]) -> dict[str, str]:
    if not isinstance(row, dict):
        raise ValueError(f"{where}: a JSON {type(row).__name__}; expected one object; correct that line")
    for key, value in row.items():
        if key.lower() in fields and isinstance(value, (dict, list)):
            raise ValueError(f"{where}: '{key}' is a {type(value).__name__}; expected a string; correct that line")
    return {key: "" if value is None else str(value) for key, value in row.items()}


def _once(where: str, pairs: list[tuple[str, object]]) -> dict:
    """A JSON object whose keys are there once: json would take the last one without a word."""
    if twice := [key for key, n in Counter(key for key, _ in pairs).items() if n > 1]:
        raise ValueError(f"{where}: key '{twice[0]}' stands twice; which one is meant cannot be known: remove one")
    return dict(pairs)
