"""carryover/config/given.py: a value of the command line arrives as it is, in the run, its children and its folder."""

import json

import pytest
from hypothesis import given as drawn
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from carryover.config import run_options, settings
from carryover.config.given import as_argument, as_yaml
from carryover.config.settings import SettingsError, parse

YAML = """
data_folder: x
system_prompt: null
prompt: "{audio}transcribe"
language: nl
max_updates: 3
lr: 0.1
from_scratch: False
sample: null
old_splits: []
lr_of: {}
optimizer: !name:torch.optim.AdamW
own: 3
copy: !ref <data_folder>
made: !new:carryover.config.presets.Path
    - !ref <data_folder>
"""
TEXTS = [
    "set #1", "a: b", " lead", "trail ", "{audio}write", "{x", "[y", "[1, 2]", "*z", "&w", "|", "> q", "- d", "? e",
    "%f", "@g", "`h", "'q'", '"q"', 'in "quotes"', "it's", "a\nb", "tab\there", "é語", "!bang", "#", "a:", "-", "--x",
    "---", "...", "\\n", "no", "off", "yes", "null", "~x", "True", "False", "None", "2024-01-01", "1:30", "012", "1e5",
    "0x1F", ".5", "3", ".inf", "(a)", "=", "<<", "a # b: c", "zero\u200bwidth", "a\u2028b", "x" * 300, "a b " * 60, "<",
    "<x>", "<language>", "<|im_end|>", "https://x.y/z?a=1&b=2#c", "C:\\data", "$HOME", "{a: 1}", "a, b", "!new", "!x y",
]  # fmt: skip


def arrives(key, value):
    (overrides,) = [parse([arrives.path, f"--{key}={value}"])[1]]
    found = settings.resolved(YAML, overrides)
    assert found[key] == value and type(found[key]) is str, found[key]
    # through the run folder's file, and through the command line of a run that is needed first
    line = settings.override_text(overrides)
    assert dict([line.split(": ", 1)]) == overrides and "\n" not in line
    assert parse([arrives.path, f"--{key}", as_argument(overrides[key])])[1] == overrides or value.startswith("--")
    return overrides


@pytest.fixture(autouse=True)
def path(tmp_path):
    arrives.path = str(tmp_path / "x.yaml")
    (tmp_path / "x.yaml").write_text(YAML)


@pytest.mark.parametrize("value", [text for text in TEXTS if text != "null"])
def test_a_text_arrives_as_it_is(value):
    if not value.startswith("--"):
        arrives("system_prompt", value)
    found = settings.load(YAML, parse([arrives.path, f"--data_folder={value}"])[1])
    assert found["data_folder"] == found["copy"] == value
    assert str(found["made"]) == str(settings.Path(value))


@hypothesis_settings(max_examples=150, deadline=None)
@drawn(st.text(st.characters(exclude_categories=["Cs", "Cc", "Cn", "Co"]), min_size=1).filter(lambda t: t.strip()))
def test_any_text_arrives_as_it_is(value):
    text = as_yaml("prompt", value)
    assert settings.tree(settings.resolved_text(YAML, {"prompt": text}))["prompt"] == value


@pytest.mark.parametrize(
    "key, value, found",
    [
        ("max_updates", "7", 7), ("max_updates", " 7 ", 7), ("max_updates", "null", None), ("lr", "1e-5", 1e-5),
        ("lr", "-1", -1), ("from_scratch", "no", False), ("from_scratch", "True", True),
        ("old_splits", "[test]", ["test"]), ("sample", "{train: 3}", {"train": 3}),
        ("lr_of", "{head: 1.0e-3}", {"head": 1e-3}),
        ("system_prompt", "null", None), ("system_prompt", "~", None), ("own", "4", 4), ("own", "[4, 5]", [4, 5]),
        ("own", "a # b", "a # b"), ("own", "a: b", "a: b"), ("own", "{a", "{a"), ("language", "no", "no"),
        ("optimizer", "adam", "adam"), ("data_folder", "!ref <language>/x", "nl/x"),
    ],
)  # fmt: skip
def test_other_values_are_what_their_key_means(key, value, found):
    overrides = parse([arrives.path, f"--{key}={value}"])[1]
    assert settings.tree(settings.resolved_text(YAML, overrides))[key] == found


def test_tags_make_objects():
    value = "!name:torch.optim.Adafactor {lr: 1.0e-3, eps: [!ref <lr>, 1.0e-3]}"
    made = settings.load(YAML, parse([arrives.path, "--optimizer", value])[1])["optimizer"]
    assert made.func.__name__ == "Adafactor" and made.keywords["eps"] == [0.1, 1e-3]


@pytest.mark.parametrize(
    "key, value, said",
    [
        ("old_splits", "[test", "--old_splits: '\\[test'"),
        ("optimizer", "!name:torch.optim.AdamW {lr: 1", "--optimizer: "),
        ("lr_of", "{a: 1} b", "--lr_of: "),
        ("max_updates", "3 # three", "--max_updates: '3 # three'"),
        ("max_updates", "3\nlr: 7", "--max_updates: "),
        ("data_folder", "a\x07", "control character"),
    ],
)
def test_what_is_no_value_is_refused_in_words(key, value, said):
    with pytest.raises(SettingsError, match=said):
        parse([arrives.path, f"--{key}={value}"])


def test_only_what_needs_it_is_quoted():
    assert as_yaml("data_folder", "/data/cv 21/nl") == "/data/cv 21/nl"
    assert as_yaml("data_folder", "a # b") == json.dumps("a # b")


@pytest.mark.parametrize(
    "name, value, found",
    [("noprogressbar", "no", False), ("noprogressbar", "On", True), ("profile_steps", "3", 3)],
)  # fmt: skip
def test_run_options_have_types(name, value, found):
    assert run_options.value_of(name, value) == found


@pytest.mark.parametrize("name, value", [("noprogressbar", "maybe"), ("profile_steps", "x"), ("compile_mode", "fast")])
def test_run_options_of_another_type_are_refused(name, value):
    with pytest.raises(ValueError, match=f"{name}: '{value}'; expected"):
        run_options.value_of(name, value)
