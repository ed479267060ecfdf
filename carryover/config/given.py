"""A value as it is given on a command line -> the YAML text of an override, and back.

A value is a value: ` #`, `: `, spaces at its ends, braces and quotes stay in a text. Only what its key means makes it
something else: a number, True, null, a list, a mapping; and HyperPyYAML's tags make objects and references.
"""

import io
import json
import re
import unicodedata

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from carryover.config.keys import KEYS, Kind

TAG = re.compile(r"\s*!(new|name|apply|module|ref|copy|tuple):?(?=[\s\w<(])")
NULLS = ("null", "Null", "NULL", "~")


def as_yaml(key: str, value: str) -> str:
    """One line of YAML text that holds a value as its key means it.

    Parameters
    ----------
    key : str
    value : str
        As the shell hands it over.

    Raises
    ------
    ValueError
        For YAML that is not closed, or that holds more than this one value; for control characters.
    """
    kind = KEYS.get(key)
    if TAG.match(value):
        return _one(key, value.strip())
    if kind is None or set(kind.types) != {str}:
        return _yaml(key, value, kind)
    return value if kind.null and value in NULLS else quoted(key, value)


def _yaml(key: str, value: str, kind: Kind | None) -> str:
    """Of a key that is not text alone, or not known."""
    try:
        return _one(key, value.strip())
    except ValueError:
        if kind is None or str in kind.types or not kind.types:
            return quoted(key, value)  # a text after all; where an object belongs, keys.faults says so
        raise


def _one(key: str, text: str) -> str:
    """The text, where it is YAML for this one value on one line, without a comment."""
    why = "its YAML cannot be read: is a bracket or quote open?"
    try:
        found = YAML().load(f"{key}: {text}\n__end: 1")
        if list(found) == [key, "__end"] and "\n" not in text and not _has_comment(found, text):
            return text
        why = "it is more than one value; put it in quotes"
    except (YAMLError, ValueError, TypeError) as error:
        why = " ".join(str(getattr(error, "problem", None) or why).split())
    raise ValueError(f"{key}: '{text}': {why}")


def _has_comment(found, text: str) -> bool:
    """Whether YAML would cut a value at ` #`."""
    if " #" not in text:
        return False
    out = io.StringIO()
    YAML().dump(found, out)
    found.ca.items.clear()
    bare = io.StringIO()
    YAML().dump(found, bare)
    return out.getvalue() != bare.getvalue()


def quoted(key: str, value: str) -> str:
    """A text as YAML: as it is where that means the same, else in double quotes."""
    if any(unicodedata.category(letter) == "Cc" and letter not in "\t\n" for letter in value):
        raise ValueError(f"{key}: {value!r} holds a control character; give a text without")
    try:
        if "\n" not in value and YAML().load(f"{key}: {value}") == {key: value} and not TAG.match(value):
            return value
    except (YAMLError, ValueError, TypeError):
        pass
    return json.dumps(value, ensure_ascii=False).replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def as_argument(text: str) -> str:
    """YAML text of an override as a word that a command line takes for the same."""
    return json.loads(text) if text.startswith('"') else text
