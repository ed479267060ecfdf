"""presets.py and presets.yaml: the exact values of every preset, and what a wrong one says."""

from pathlib import Path

import pytest
from ruamel.yaml import YAML

from carryover.config import presets, settings

WHISPER = Path(__file__).parents[2] / "hparams" / "whisper_ft.yaml"
ABSOLUTE = {
    "conservative": {"epochs": 5, "batch_size": 8, "lr": 1e-5, "warmup": 500, "weight_decay": 0.01},
    "under_20h": {"epochs": 5, "batch_size": 8, "lr": 1e-5, "weight_decay": 0.05, "dropout": 0.2},
    "over_100h": {"epochs": 15, "batch_size": 32, "lr": 5e-5, "weight_decay": 0.01, "warmup": 1000},
    "from_scratch": {"lr": 3e-4, "from_scratch": True},
}
RELATIVE = ["overfitting", "underfitting"]
GERMAN = WHISPER.with_name("german_adaptation.yaml")
METHODS = [
    "plain", "averaging", "ewc", "ewc_thesis", "online_ewc", "mas", "si", "l2sp", "lwf", "lwf_averaging", "agem",
    "replay", "replay_ewc", "replay_averaging", "pseudo_replay", "der", "joint", "new_only",
]  # fmt: skip
SIGN = {  # preset: the YAML it is for
    "sign_baseline": "sign_teacher", "sign_no_augmentation": "sign_teacher", "sign_dropout_02": "sign_teacher",
    "sign_dropout_04": "sign_teacher", "sign_rate_5e4": "sign_teacher", "sign_batch_12": "sign_teacher",
    "sign_continue": "sign_teacher", "sign_alone": "sign_student",
}  # fmt: skip


@pytest.fixture
def values():
    return presets.scalars(WHISPER.read_text(encoding="utf-8"))


def loaded(overrides):
    """The values that a YAML reader makes of the overrides."""
    return YAML(typ="safe").load(settings.override_text(overrides))


def test_the_list_is_closed():
    assert list(presets.read()) == [*ABSOLUTE, *RELATIVE, *METHODS, *SIGN]


@pytest.mark.parametrize("name", SIGN)
def test_every_variation_of_signing_sets_keys_of_its_yaml(name):
    yaml = WHISPER.with_name(f"{SIGN[name]}.yaml")
    overrides = presets.apply([name], presets.scalars(yaml.read_text(encoding="utf-8")))
    assert set(overrides) <= set(settings.top_level_keys(str(yaml)))


@pytest.mark.parametrize("name", METHODS)
def test_every_method_sets_keys_of_the_adaptation_and_objects_stay_objects(name):
    overrides = presets.apply([name], presets.scalars(GERMAN.read_text(encoding="utf-8")))
    assert set(overrides) <= set(settings.top_level_keys(str(GERMAN)))
    methods = overrides.get("forgetting", "[]")
    assert methods.startswith("[!new:carryover.") or (methods == "[]" and name == "new_only")


@pytest.mark.parametrize("name", [*ABSOLUTE, *RELATIVE])
def test_every_key_is_one_of_the_yaml(name):
    assert set(presets.read()[name]) <= set(settings.top_level_keys(str(WHISPER)))


@pytest.mark.parametrize("name", ABSOLUTE)
def test_absolute_values(name, values):
    assert loaded(presets.apply([name], values)) == ABSOLUTE[name] | {"max_updates": None}


def test_overfitting_changes_what_the_yaml_says(values):
    assert loaded(presets.apply(["overfitting"], values)) == {
        "max_updates": None,
        "epochs": values["epochs"] - 2,
        "weight_decay": pytest.approx(values["weight_decay"] + 0.02, rel=1e-12),
        "dropout": pytest.approx(values["dropout"] + 0.1, rel=1e-12),
        "early_stopping_patience": 3,
    }


def test_underfitting_changes_what_the_yaml_says(values):
    assert loaded(presets.apply(["underfitting"], values)) == {
        "max_updates": None,
        "epochs": values["epochs"] + 5,
        "lr": pytest.approx(values["lr"] * 2, rel=1e-12),
        "weight_decay": pytest.approx(values["weight_decay"] / 2, rel=1e-12),
    }


def test_a_relative_preset_changes_the_absolute_one_before_it(values):
    assert presets.apply(["under_20h", "overfitting"], values) == {
        "max_updates": "null",
        "epochs": "3",
        "batch_size": "8",
        "lr": "1.0e-05",  # with a point: PyYAML reads 1e-05 as a string
        "weight_decay": "0.07",
        "dropout": "0.3",
        "early_stopping_patience": "3",
    }
    assert presets.apply(["over_100h", "underfitting"], values) == {
        "max_updates": "null",
        "epochs": "20",
        "batch_size": "32",
        "lr": "0.0001",
        "weight_decay": "0.005",
        "warmup": "1000",
    }


def test_names_are_taken_out_of_the_command_line_and_explicit_keys_win(values):
    names, rest = presets.take(
        [str(WHISPER), "--preset", "under_20h,overfitting", "--lr", "2.0e-5", "--preset=underfitting"]
    )
    assert names == ["under_20h", "overfitting", "underfitting"]
    assert rest == [str(WHISPER), "--lr", "2.0e-5"]
    _, asked, _, _ = settings.parse(rest)
    overrides = presets.apply(names, values) | asked
    assert (overrides["lr"], overrides["epochs"], overrides["weight_decay"]) == ("2.0e-5", "8", "0.035")


def test_no_preset_changes_nothing(values):
    assert presets.take([str(WHISPER), "--lr", "1"]) == ([], [str(WHISPER), "--lr", "1"])
    assert presets.apply([], values) == {}


@pytest.mark.parametrize("words", [["--preset"], ["--preset="], ["--preset", "--lr", "1"], ["--preset", ","]])
def test_a_missing_name(words):
    with pytest.raises(settings.SettingsError, match="a name is missing; one or more of: conservative, under_20h"):
        presets.take([str(WHISPER), *words])


def test_an_unknown_name_gives_the_nearest(values):
    with pytest.raises(settings.SettingsError, match="--preset overfit: unknown; did you mean overfitting?"):
        presets.apply(["overfit"], values)


def test_a_change_below_its_bound(values):
    with pytest.raises(settings.SettingsError, match="overfitting: epochs 2 would become 0; at least 1 is possible"):
        presets.apply(["overfitting"], values | {"epochs": 2})
    with pytest.raises(settings.SettingsError, match="epochs 1 would become -1"):
        presets.apply(["under_20h", "overfitting", "overfitting", "overfitting"], values)


def test_a_change_above_its_bound(values):
    assert presets.apply(["overfitting"], values | {"dropout": 0.9})["dropout"] == "1.0"
    with pytest.raises(
        settings.SettingsError, match="overfitting: dropout 0.95 would become 1.05; at most 1 is possible"
    ):
        presets.apply(["overfitting"], values | {"dropout": 0.95})


def test_a_key_that_the_yaml_lacks(values):
    del values["dropout"]
    with pytest.raises(settings.SettingsError, match="under_20h: it sets dropout, a key that this YAML does not have"):
        presets.apply(["under_20h"], values)


@pytest.mark.parametrize("value", [None, "many", True])
def test_a_change_to_what_is_no_number(values, value):
    with pytest.raises(
        settings.SettingsError, match=f"epochs cannot be changed by add -2, for it is no number: {value}"
    ):
        presets.apply(["overfitting"], values | {"epochs": value})


def test_scalars_makes_no_objects():
    text = "a: 1\nb: 1.0e-3\nc: none\nd: !new:no.such.Thing\n    x: 1\ne: !ref <a>\nf: null\n__g: !apply:os.abort\n"
    assert presets.scalars(text) == {"a": 1, "b": 0.001, "c": "none", "d": None, "e": None, "f": None}
