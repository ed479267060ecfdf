"""From a command line to a YAML's values: overrides are checked against the YAML, unknown keys name the nearest."""

import copy
import difflib
import io
import re
import traceback
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

import yaml
from hyperpyyaml import load_hyperpyyaml, resolve_references
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import YAMLError

from carryover.config import given, keys, run_options, trust

FLAGS = ("deterministic", "run_first_only", "train_only")  # train.py's own
# These would start a second way of doing what RecipeBrain does, or what a key of the YAML says.
REFUSED = {
    "ckpt_interval_minutes": "save_every",
    "ckpt_interval_steps": "save_every",
    "optimizer_step_limit": "max_updates",
    "auto_mix_prec": "precision",
    "bfloat16_mix_prec": "precision",
    "remove_vector_weight_decay": "no_decay_for_vectors",
    "skip_nonfinite_grads": "nonfinite_patience",
    "debug": "max_updates",
    "debug_batches": "max_updates",
    "debug_epochs": "max_updates",
    "debug_persistently": "max_updates",
}
PLAIN = (str, float, int, type(None), list, dict)  # a YAML's values that are no objects
# Keys of earlier versions, and what to write instead.
GONE = {
    "penalty": "forgetting: [!new:carryover.forgetting.EWC {lambda_: !ref <lambda>}] (or --preset ewc, mas, l2sp)",
    "replay": "forgetting: [!new:carryover.forgetting.Replay {share: 0.1}] (or --preset replay)",
    "averaging": "forgetting: [!new:carryover.forgetting.Averaging {shares: [0.5]}] (or --preset averaging)",
    "needs": "run_first",
    "prepare": "corpus: !name:local.X.utterances, with the same options; sample, sample_seed and metadata_check of it "
    "are the keys sample, sample_seed and metadata_limits",
    "check": "limits",
    "freeze": "train (all, encoder, decoder, ...; docs/TUNING.md)",
    "freeze_feature_encoder": "train",
}


# HyperPyYAML takes "(a)" for a tuple in the first YAML of a process and for text in all others: none is the first here
load_hyperpyyaml("a: 1")


LESS = "\ue000"  # of Unicode's private use; stands for < while references are resolved


class SettingsError(ValueError):
    """A command line or YAML that cannot be meant as it stands."""


def parse(argv: list[str], flags: tuple[str, ...] = ()) -> tuple[str, dict[str, str], dict, set[str]]:
    """Split `FILE.yaml --key value --key=value --flag` into what each part is for.

    Parameters
    ----------
    argv : list of str
        Arguments without the program's name.
    flags : tuple of str
        Names that stand alone, without a value (train.py's own).

    Returns
    -------
    (path, overrides, run_options, flags_given)
        Overrides as YAML text by key, for keys that the file has (see `given.as_yaml`); run options (device,
        noprogressbar, ...) for SpeechBrain's; flags found.

    Raises
    ------
    SettingsError
        For a missing file, a key that neither the YAML nor SpeechBrain has (naming the nearest), a key without value.
    """
    if not argv or argv[0].startswith("-"):
        raise SettingsError("usage: python train.py hparams/NAME.yaml [--key value ...]")
    path, rest = argv[0], list(argv[1:])
    known = top_level_keys(path)
    overrides, options, flags_given = {}, {}, set()
    while rest:
        word = rest.pop(0)
        if not word.startswith("--"):
            raise SettingsError(f"'{word}': expected --key value; quote a value that holds spaces")
        key, equals, value = word[2:].partition("=")
        if key in flags:
            if equals:
                raise SettingsError(f"--{key} stands alone and takes no value; found '{value}'")
            flags_given.add(key)
            continue
        if key in REFUSED:
            raise SettingsError(f"--{key} is not used here; set the YAML's {REFUSED[key]}")
        if key in GONE and key not in known:
            raise SettingsError(f"--{key} is gone; write {GONE[key]}")
        if key not in known and key not in run_options.NAMES:
            near = difflib.get_close_matches(key, [*known, *run_options.NAMES, *flags], n=1, cutoff=0.0)
            raise SettingsError(f"--{key}: {path} has no such key; did you mean --{near[0]}?")
        if not equals:
            if rest and not rest[0].startswith("--"):
                value = rest.pop(0)
            elif key in run_options.SWITCHES and key not in known:
                value = "True"
        if not value.strip():
            raise SettingsError(f"--{key}: a value is missing (null for none)")
        try:
            if key in known:
                overrides[key] = given.as_yaml(key, value)
            else:
                options[key] = run_options.value_of(key, value)
        except ValueError as error:
            raise SettingsError(f"--{error}") from None
    return path, overrides, options, flags_given


def top_level_keys(path: str) -> list[str]:
    """Keys of a YAML's top level, without making its objects."""
    if not Path(path).is_file():
        what = "a folder" if Path(path).is_dir() else "no such file"
        have = (
            ", ".join(sorted(str(p) for p in Path("hparams").rglob("*.yaml"))) or "none: is this the checkout's root?"
        )
        raise SettingsError(f"{path}: {what}; experiments here: {have}")
    return [key for key in tree(read(path)) if not key.startswith("__")]


def read(path: str | Path) -> str:
    """A YAML's text, which has been parsed once: its keys and values are there.

    Raises
    ------
    SettingsError
        Naming the file, and the line where it is no YAML.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
        found = tree(text)
    except UnicodeDecodeError as error:
        raise SettingsError(f"{path}: not UTF-8 (byte 0x{error.object[error.start]:02x} at {error.start})") from None
    except (YAMLError, ValueError) as error:
        said = " ".join(str(error).split())
        raise SettingsError(f"{path}: no YAML: {said[:300]}; correct that line") from None
    if not isinstance(found, (dict, type(None))) or any(not isinstance(key, str) for key in found or ()):
        raise SettingsError(f"{path}: expected lines of 'key: value', found {type(found).__name__}")
    return text


def require_present_keys(text: str) -> None:
    """Raise SettingsError where a YAML has a key of an earlier version."""
    if gone := [key for key in tree(text) if key in GONE]:
        raise SettingsError("; ".join(f"{key}: this key is gone, write {GONE[key]}" for key in gone))


@lru_cache(maxsize=16)
def tree(text: str):
    """A YAML's text parsed, with comments and tags; each text is parsed once, so the result is not to be changed."""
    found = YAML().load(text)
    return CommentedMap() if found is None else found


def override_text(overrides: dict[str, str]) -> str:
    """Overrides as the YAML text that HyperPyYAML takes."""
    return "\n".join(f"{key}: {value}" for key, value in overrides.items())


def override(text: str, overrides: dict[str, str]) -> str:
    """A YAML's text with top-level values replaced.

    HyperPyYAML would merge mappings and keep the old tag: `--optimizer '!name:torch.optim.Adafactor {lr: 1.0e-3}'`
    would silently stay AdamW. Here a value is replaced as a whole.
    """
    return _override(text, override_text(overrides))


@lru_cache(maxsize=16)
def _override(text: str, asked: str) -> str:
    found = copy.deepcopy(tree(text))
    found.update(YAML().load(asked) or {})
    for key, value in found.items():
        found[key] = keys.understood(key, value)
    return _dumped(found)


def _without_comments(value) -> None:
    if isinstance(value, (CommentedMap, CommentedSeq)):
        value.ca.items.clear()
        value.ca.comment = value.ca.end = None
        for part in value.values() if isinstance(value, CommentedMap) else value:
            _without_comments(part)


def _dumped(found) -> str:
    """A tree as text; lists of objects one a line, without comments.

    ruamel writes [!new:A {x: 1}] as [!new:A x: 1], and with a comment behind the key a block of A's the same way:
    another thing.
    """
    for key, value in found.items():
        if isinstance(value, CommentedSeq) and any(keys.tag_of(item) is not None for item in value):
            value.fa.set_block_style()
            _without_comments(value)
            if isinstance(found, CommentedMap):
                found.ca.items.pop(key, None)
    out = io.StringIO()
    YAML().dump(found, out)
    return out.getvalue()


@lru_cache(maxsize=16)
def _resolved(written: str) -> str:
    try:
        return resolve_references(_protected(written)).getvalue().replace(LESS, "<")
    except RecursionError:
        refers = {key: re.findall(r"<(\w+)", str(getattr(value, "value", ""))) for key, value in tree(written).items()}
        circle = [key for key in refers if any(key == other or key in refers.get(other, ()) for other in refers[key])]
        raise SettingsError(f"{', '.join(circle) or 'the YAML'}: !ref leads back to itself; give a value") from None
    except AttributeError:  # HyperPyYAML asks for the text of a reference
        raise SettingsError("!ref or !copy stands before a mapping or a list; give it a text, e.g. !ref <lr>") from None


def _protected(written: str) -> str:
    """The YAML with `<` of its texts replaced: HyperPyYAML takes "<|im_end|>" for a reference where one leads to it."""
    found, changed = copy.deepcopy(tree(written)), False

    def walk(value):
        nonlocal changed
        if isinstance(value, (CommentedMap, CommentedSeq)):
            for at in list(value) if isinstance(value, CommentedMap) else range(len(value)):
                value[at] = walk(value[at])
        elif isinstance(value, str) and re.search("<[^>]*>", value):  # what has a tag, as !ref, is no str
            value, changed = value.replace("<", LESS), True
        return value

    walk(found)
    return _dumped(found) if changed else written


def resolved_text(text: str, overrides: dict[str, str]) -> str:
    """A YAML's text under overrides, references resolved: to be read, not to be run again."""
    return _resolved(override(text, overrides))


def resolved(text: str, overrides: dict[str, str]) -> dict[str, str | float | int | bool | list | dict | None]:
    """The plain values of a YAML's top level under overrides, references resolved; no object is made."""
    found = tree(resolved_text(text, overrides))
    return {key: value for key, value in found.items() if isinstance(value, PLAIN) and keys.tag_of(value) is None}


def make(key: str, text: str, overrides: dict[str, str], path: str = "the YAML"):
    """The value of one key, which refers to plain values only, with its objects; `path` for the message without it."""
    found = tree(resolved_text(text, overrides))
    if key not in found:
        raise SettingsError(f"{path}: no key {key}; take it from a YAML of hparams/")
    return _made(_dumped({key: found[key]}), {})[key]


def require_values(
    text: str, overrides: dict[str, str], read: Iterable[str] | None = None, path: str = "the YAML"
) -> None:
    """Raise SettingsError where a key is unknown, lacking, or holds what it cannot; see `config.keys`.

    Parameters
    ----------
    read : iterable of str, optional
        Keys that the run reads by name; without them, values alone are looked at.
    path : str
        Of the YAML, for the message.
    """
    found = {key: value for key, value in tree(resolved_text(text, overrides)).items() if not key.startswith("__")}
    lines = keys.faults(found)
    if read is not None:
        events = list(yaml.parse(override(text, overrides)))
        referred = [e.value for e in events if isinstance(e, yaml.ScalarEvent) and e.tag in ("!ref", "!copy")]
        referred = {name for value in referred for name in re.findall(r"<([^<>.\[]+)", value)}
        lines = keys.misspelt(found, read, referred) + lines
    if lines:
        raise SettingsError(f"{path}: " + "; ".join(lines))


def is_read(key: str, text: str, overrides: dict[str, str]) -> bool:
    """Whether a value of the YAML under overrides refers to a key; comments do not count."""
    events = yaml.parse(override(text, overrides))
    return any(isinstance(e, yaml.ScalarEvent) and e.tag == "!ref" and f"<{key}>" in e.value for e in events)


def load(text: str, overrides: dict[str, str], made: dict | None = None, where: str | None = None) -> dict:
    """Make the objects of a YAML's text under overrides; those of the keys in `made` are there already.

    `where` is the file that the text comes from, where it is not to be trusted: see carryover.config.trust.
    """
    made = made or {}
    written = override(text, overrides | dict.fromkeys(made, "null"))
    options = {"loader": trust.require_listed(written, where)} if where else {}
    return _made(_resolved(written), options) | made


def _made(written: str, options: dict) -> dict:
    """The objects of a YAML's text; arguments that a class does not take, or of a wrong kind, are the YAML's fault."""
    try:
        return load_hyperpyyaml(written, **options)
    except AttributeError as error:
        if fault := _wrong_argument(error):
            raise SettingsError(f"the YAML: {fault}") from error
        raise
    except TypeError as error:
        if not str(error.args[:1]).startswith("('Invalid argument to "):
            raise
        raise SettingsError(f"the YAML: {': '.join(map(str, error.args))}; correct the arguments") from error


def _wrong_argument(error: AttributeError) -> str:
    """What the YAML did wrong where an object was made, or "": a text, number, list or null is no object.

    The value that lacks the attribute has to be one that the YAML handed over. A null could be any, so there the
    attribute has to be asked for by what was called itself.
    """
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    made = [frame.f_code.co_filename == load_hyperpyyaml.__code__.co_filename for frame in frames]
    if error.name is None or not any(made) or made[-1]:
        return ""
    at = max(place for place, found in enumerate(made) if found)  # HyperPyYAML's innermost frame
    called = frames[at + 1].f_code.co_qualname
    if error.obj is None:
        its_own = at + 2 == len(frames)
        return f"{called}: {error}; one of its arguments is null, or refers to what is made later on" if its_own else ""
    handed = frames[at].f_locals.get("kwargs", {}) | dict(enumerate(frames[at].f_locals.get("args", []), start=1))
    of = [name for name, value in handed.items() if value is error.obj and isinstance(value, PLAIN)]
    return f"{called}: argument {of[0]}: {error}; give it an object, e.g. !new:..., or leave it out" if of else ""
