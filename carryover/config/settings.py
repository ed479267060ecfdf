"""From a command line to a YAML's values: overrides are checked against the YAML, unknown keys name the nearest."""

import difflib
import io
from dataclasses import fields
from pathlib import Path

import yaml
from hyperpyyaml import load_hyperpyyaml, resolve_references
from ruamel.yaml import YAML
from speechbrain.utils.run_opts import RunOptions

RUN_OPTIONS = {field.name for field in fields(RunOptions)} - {"param_file", "overridden_args"}
SWITCHES = {field.name for field in fields(RunOptions) if field.type is bool}  # they can stand alone
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
        Overrides as YAML text by key, for keys that the file has; run options (device, noprogressbar, ...) for
        SpeechBrain's; flags found.

    Raises
    ------
    SettingsError
        For a missing file, a key that neither the YAML nor SpeechBrain has (naming the nearest), a key without value.
    """
    if not argv or argv[0].startswith("-"):
        raise SettingsError("usage: python train.py hparams/NAME.yaml [--key value ...]")
    path, rest = argv[0], list(argv[1:])
    keys = top_level_keys(path)
    overrides, run_options, given = {}, {}, set()
    while rest:
        word = rest.pop(0)
        if not word.startswith("--"):
            raise SettingsError(f"'{word}': expected --key value; quote a value that holds spaces")
        key, equals, value = word[2:].partition("=")
        if key in flags:
            if equals:
                raise SettingsError(f"--{key} stands alone and takes no value; found '{value}'")
            given.add(key)
            continue
        if key in REFUSED:
            raise SettingsError(f"--{key} is not used here; set the YAML's {REFUSED[key]}")
        if key not in keys and key not in RUN_OPTIONS:
            near = difflib.get_close_matches(key, [*keys, *RUN_OPTIONS, *flags], n=1, cutoff=0.0)
            raise SettingsError(f"--{key}: {path} has no such key; did you mean --{near[0]}?")
        if not equals:
            if rest and not rest[0].startswith("--"):
                value = rest.pop(0)
            elif key in SWITCHES and key not in keys:
                value = "True"
        if not value.strip():
            raise SettingsError(f"--{key}: a value is missing (null for none)")
        if key in keys:
            overrides[key] = value
        else:
            run_options[key] = yaml.safe_load(value)
    return path, overrides, run_options, given


def top_level_keys(path: str) -> list[str]:
    """Keys of a YAML's top level, without making its objects."""
    if not Path(path).is_file():
        have = (
            ", ".join(sorted(str(p) for p in Path("hparams").rglob("*.yaml"))) or "none: is this the checkout's root?"
        )
        raise SettingsError(f"{path}: no such file; experiments here: {have}")
    return [key for key in YAML().load(Path(path).read_text(encoding="utf-8")) if not key.startswith("__")]


def override_text(overrides: dict[str, str]) -> str:
    """Overrides as the YAML text that HyperPyYAML takes."""
    return "\n".join(f"{key}: {value}" for key, value in overrides.items())


def override(text: str, overrides: dict[str, str]) -> str:
    """A YAML's text with top-level values replaced.

    HyperPyYAML would merge mappings and keep the old tag: `--optimizer '!name:torch.optim.Adafactor {lr: 1.0e-3}'`
    would silently stay AdamW. Here a value is replaced as a whole.
    """
    tree = YAML().load(text)
    tree.update(YAML().load(override_text(overrides)) or {})
    out = io.StringIO()
    YAML().dump(tree, out)
    return out.getvalue()


def _resolved_tree(text: str, overrides: dict[str, str]):
    return YAML().load(resolve_references(override(text, overrides)).getvalue())


def resolved(text: str, overrides: dict[str, str]) -> dict[str, str | float | int | bool | None]:
    """The plain values of a YAML's top level under overrides, references resolved; no object is made."""
    tree = _resolved_tree(text, overrides)
    return {key: value for key, value in tree.items() if isinstance(value, (str, float, int, type(None)))}


def load_only(text: str, overrides: dict[str, str], keys: tuple[str, ...]) -> dict:
    """Make the values and objects of some keys alone, which refer to plain values only; a missing key is left out."""
    tree, out = _resolved_tree(text, overrides), io.StringIO()
    YAML().dump({key: tree[key] for key in keys if key in tree}, out)
    return load_hyperpyyaml(out.getvalue())


def is_read(key: str, text: str, overrides: dict[str, str]) -> bool:
    """Whether a value of the YAML under overrides refers to a key; comments do not count."""
    events = yaml.parse(override(text, overrides))
    return any(isinstance(e, yaml.ScalarEvent) and e.tag == "!ref" and f"<{key}>" in e.value for e in events)


def is_made(name: str, key: str, text: str, overrides: dict[str, str]) -> bool:
    """Whether a key's value under overrides is an object of the class `name`; it is not made."""
    mapping = yaml.compose(override(text, overrides)).value
    return any(k.value == key and value.tag == f"!new:{name}" for k, value in mapping)


def load(text: str, overrides: dict[str, str]) -> dict:
    """Make the objects of a YAML's text under overrides."""
    return load_hyperpyyaml(override(text, overrides))
