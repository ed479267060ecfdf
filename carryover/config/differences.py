"""In what two settings differ, key by key: comments, the order of keys and the form of a number are no difference."""

import difflib
import hashlib
import json
from collections.abc import Mapping

from ruamel.yaml.comments import CommentedMap, CommentedSeq

from carryover.config import settings
from carryover.config.keys import tag_of

MISSING = "missing"
PLACE = {"output_folder"}  # where the run lies, however it is written
# Of no influence on what is learned or found: how fast, how often saved, where else it is shown.
ANY_TIME = {"eval_batch_size", "workers", "save_every", "save_limit", "tracker"}
# Read by the test alone: free to change while no test stands that was made with the old value.
OF_THE_TEST = {"test_beams"}
LENGTH = {"max_updates", "epochs"}  # may grow


def plain(text: str, overrides: Mapping[str, str]) -> dict[str, str]:
    """Each top-level key of a YAML under overrides as JSON, its tags included."""
    found = settings.tree(settings.override(text, dict(overrides)))
    return {key: json.dumps(_plain(value), ensure_ascii=False) for key, value in found.items() if key not in PLACE}


def _plain(node):
    tag = tag_of(node)
    if isinstance(node, CommentedMap):
        value = {str(key): _plain(node[key]) for key in sorted(node, key=str)}
    elif isinstance(node, CommentedSeq):
        value = [_plain(part) for part in node]
    elif tag is not None:  # a tagged scalar
        value = str(node.value)
    elif isinstance(node, bool) or node is None:
        value = node
    elif isinstance(node, (int, float)):
        value = int(node) if float(node).is_integer() else float(node)  # 1e-3 is 0.001, and 1.0 is 1
    else:
        value = str(node)
    return value if tag is None else [tag, value]


def digest(text: str, overrides: Mapping[str, str]) -> str:
    """Says which settings these are."""
    return hashlib.sha256(json.dumps(plain(text, overrides), sort_keys=True).encode()).hexdigest()


def differences(was: dict[str, str], now: dict[str, str]) -> dict[str, tuple[str, str]]:
    """{key: (value there, value here)} of `plain`'s results, in the order of the keys' names."""
    keys = sorted(key for key in was.keys() | now.keys() if was.get(key) != now.get(key))
    return {key: (was.get(key, MISSING), now.get(key, MISSING)) for key in keys}


def harmless(found: dict[str, tuple[str, str]], tested: bool) -> set[str]:
    """Those of `differences` that cannot influence what was computed.

    A key that is gone is the misspelt form of one that came, where their names are alike: a YAML whose misspelt
    `test_beam` ended a run after its training may be corrected.

    Parameters
    ----------
    tested : bool
        Whether a test was made before the training, which the later ones are compared with.
    """
    free = ANY_TIME if tested else ANY_TIME | OF_THE_TEST
    came = [key for key, (was, _) in found.items() if key in free and was == MISSING]
    gone = {key for key, (_, now) in found.items() if now == MISSING}
    return {key for key in found if key in free or key in gone and difflib.get_close_matches(key, came, 1, 0.8)}


def longer(found: dict[str, tuple[str, str]]) -> dict[str, tuple[str, str]]:
    """Those of `differences` that only train a run on: more updates, or more epochs where these decide."""
    return {
        key: (was, now)
        for key, (was, now) in found.items()
        if key in LENGTH and was.isdigit() and now.isdigit() and int(now) > int(was)
    }


def said(found: dict[str, tuple[str, str]]) -> str:
    """One line: each key with both values."""
    return "; ".join(f"{key}: {_short(was)} there, {_short(now)} here" for key, (was, now) in found.items())


def _short(value: str) -> str:
    return value if len(value) <= 120 else f"{value[:117]}..."
