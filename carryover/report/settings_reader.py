"""What was asked for of a run: its YAML as written under the overrides, without private data.

Read without making an object and without torch: a value with a tag (!new, !name, ...) and a list of such values, as
under `forgetting`, are kept as text.
"""

import functools
import re
from pathlib import Path

from ruamel.yaml import YAML
from ruamel.yaml.constructor import SafeConstructor
from ruamel.yaml.error import YAMLError
from ruamel.yaml.nodes import MappingNode, Node, SequenceNode

from carryover.runs import privacy
from carryover.runs.privacy import clean_value


class _Tagged(str):
    """A value with a tag, as text; `within` is what a mapping or a list under the tag holds."""

    within: dict | list | None = None


def read_settings(folder: Path, problems: list[str]) -> tuple[dict, dict[str, str], dict[str, str]]:
    """(settings, objects, asked) of a run, as `Summary` has them."""
    tree, asked = {}, {}
    for name in ("as_written.yaml", "overrides.yaml"):  # overrides win
        path = folder / name
        if not path.is_file():
            if name == "as_written.yaml":
                problems.append(f"{name}: not there; the run's settings are unknown")
            continue
        text = path.read_text(encoding="utf-8")
        try:
            found = _parse(text)
        except (YAMLError, ValueError) as error:
            problems.append(f"{name}: no YAML: {str(error).splitlines()[0]}")
            continue
        if name == "overrides.yaml":
            lines = dict(line.split(": ", 1) for line in text.splitlines() if ": " in line and not line[0].isspace())
            asked = {key: clean_value(key, value) for key, value in lines.items()}
        tree |= found
    tree = {key: _list_as_text(value) for key, value in tree.items()}
    settings = {key: _resolve(value, tree) for key, value in tree.items() if not key.startswith("__")}
    objects = {key: clean_value(key, str(value)) for key, value in settings.items() if isinstance(value, _Tagged)}
    plain = {k: clean_value(k, v) if isinstance(v, str) else v for k, v in settings.items() if k not in objects}
    return plain, objects, asked


def data_roots(folder: Path) -> list[Path]:
    """The data folders that a run's settings name, as they may be read below (`privacy.data_roots`).

    A corpus made of others (local.mixed) has a data_folder for each.
    """
    tree = {}
    for name in ("as_written.yaml", "overrides.yaml"):
        try:
            tree |= _parse((folder / name).read_text(encoding="utf-8"))
        except (OSError, YAMLError, ValueError):
            continue
    others = tree.get("other_tests")
    folders = [tree.get("data_folder"), tree.get("old_data_folder"), *_data_folders(tree.get("corpus"))]
    folders += others.values() if isinstance(others, dict) else []
    return privacy.data_roots([_resolve(folder, tree) for folder in folders])


def _data_folders(value) -> list[str]:
    """Each data_folder somewhere in a value."""
    value = value.within if isinstance(value, _Tagged) else value
    if isinstance(value, dict):
        return [x for key, x in value.items() if key == "data_folder"] + _data_folders(list(value.values()))
    return [folder for part in value for folder in _data_folders(part)] if isinstance(value, list) else []


class _Constructor(SafeConstructor):
    """Takes a value with a tag as text."""


def _as_text(node: Node) -> str:
    """A node as a line of YAML."""
    tag = f"{node.tag} " if str(node.tag or "").startswith("!") else ""
    if isinstance(node, MappingNode):
        return f"{tag}{{{', '.join(f'{_as_text(key)}: {_as_text(value)}' for key, value in node.value)}}}"
    if isinstance(node, SequenceNode):
        return f"{tag}[{', '.join(map(_as_text, node.value))}]"
    return f"{tag}{node.value}".rstrip()


def _list_as_text(value):
    """A list that holds an object as text; any other value as it stands."""
    if isinstance(value, list) and any(isinstance(part, _Tagged) and ":" in part.split()[0] for part in value):
        return _Tagged(f"[{', '.join(map(str, value))}]")
    return value


def _tagged(loader: _Constructor, _, node: Node) -> _Tagged:
    found = _Tagged(_as_text(node))
    if isinstance(node, MappingNode):
        found.within = loader.construct_mapping(node, deep=True)
    elif isinstance(node, SequenceNode):
        found.within = loader.construct_sequence(node, deep=True)
    return found


_Constructor.add_multi_constructor("!", _tagged)


@functools.lru_cache(16)  # the runs of a sweep have one YAML
def _parse(text: str) -> dict:
    """A YAML's top level; YAML 1.2 as HyperPyYAML's reader, so that the language `no` is no truth value."""
    yaml = YAML(typ="safe")
    yaml.Constructor = _Constructor
    found = yaml.load(text)
    if not isinstance(found, (dict, type(None))):
        raise ValueError("expected keys and values")
    return {str(key): value for key, value in (found or {}).items()}


def _resolve(value, tree: dict, depth: int = 0):
    """A value with `!ref <key>` replaced, where it names plain values of the top level; as it stands, elsewhere."""
    if not (isinstance(value, _Tagged) and value.startswith("!ref ")) or depth > 8:
        return value
    text = value.removeprefix("!ref ")
    whole = re.fullmatch(r"<(\w+)>", text)
    parts = {key: _resolve(tree.get(key), tree, depth + 1) for key in re.findall(r"<([\w.]+)>", text)}
    if not parts or any(isinstance(p, (_Tagged, dict, list)) or key not in tree for key, p in parts.items()):
        return value
    return parts[whole[1]] if whole else re.sub(r"<(\w+)>", lambda m: str(parts[m[1]]), text)
