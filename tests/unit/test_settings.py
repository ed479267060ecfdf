"""carryover/config/settings.py: an override reaches its key, and what cannot be meant stops the run with a way out."""

import pytest

from carryover.config import settings
from carryover.config.settings import SettingsError, parse

YAML = """
seed: 1234
__set_seed: !apply:speechbrain.utils.seed.seed_everything [!ref <seed>, False]
output_folder: !ref results/x/<seed>
lr: 1.0e-3
learning_rate: 0.1
warmup: 30
max_updates: 300
old_language: nl
precision: fp32
linear: !new:torch.nn.Linear
    in_features: 2
    out_features: !ref <max_updates>
"""


@pytest.fixture
def path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "hparams").mkdir()
    (tmp_path / "hparams" / "x.yaml").write_text(YAML)
    return "hparams/x.yaml"


def test_overrides_in_both_forms(path):
    found, overrides, run_options, flags = parse([path, "--lr", "1e-5", "--warmup=0.1", "--old_language", "null"])
    assert (found, run_options, flags) == (path, {}, set())
    assert overrides == {"lr": "1e-5", "warmup": "0.1", "old_language": "null"}
    hparams = settings.load(YAML, overrides)
    assert (hparams["lr"], hparams["warmup"], hparams["old_language"]) == (1e-5, 0.1, None)


def test_an_override_reaches_all_that_refers_to_it(path):
    _, overrides, *_ = parse([path, "--seed", "7", "--max_updates=4"])
    hparams = settings.load(YAML, overrides)
    assert hparams["output_folder"] == "results/x/7"
    assert hparams["linear"].out_features == 4
    assert settings.load(YAML, {})["linear"].out_features == 300


def test_values_may_be_negative_objects_or_hold_an_equals_sign(path):
    _, overrides, *_ = parse([path, "--lr", "-1", "--output_folder=a=b", "--linear", "!new:torch.nn.Identity"])
    assert overrides == {"lr": "-1", "output_folder": "a=b", "linear": "!new:torch.nn.Identity"}
    assert type(settings.load(YAML, overrides)["linear"]).__name__ == "Identity"


def test_the_last_of_two_wins(path):
    assert parse([path, "--lr", "1", "--lr=2"])[1] == {"lr": "2"}


def test_run_options_go_to_speechbrain(path):
    _, overrides, run_options, _ = parse([path, "--device", "cpu", "--noprogressbar", "--warmup", "3", "--jit=False"])
    assert run_options == {"device": "cpu", "noprogressbar": True, "jit": False}
    assert overrides == {"warmup": "3"}
    assert parse([path, "--noprogressbar", "--device=cuda:1"])[2] == {"noprogressbar": True, "device": "cuda:1"}


def test_a_key_of_the_yaml_comes_before_a_run_option_of_that_name(path):
    assert parse([path, "--precision", "bf16"])[1:3] == ({"precision": "bf16"}, {})


def test_flags_stand_alone(path):
    assert parse([path, "--deterministic", "--lr", "1"], flags=("deterministic",))[3] == {"deterministic"}
    with pytest.raises(SettingsError, match="--deterministic stands alone.*'False'"):
        parse([path, "--deterministic=False"], flags=("deterministic",))


@pytest.mark.parametrize(
    "typo, meant",
    [("learning_rat", "learning_rate"), ("warmpu", "warmup"), ("max_update", "max_updates"),
     ("devise", "device"), ("noprogresbar", "noprogressbar"), ("determinstic", "deterministic")],
)  # fmt: skip
def test_an_unknown_key_names_the_nearest(path, typo, meant):
    with pytest.raises(SettingsError, match=f"--{typo}: {path} has no such key; did you mean --{meant}\\?"):
        parse([path, f"--{typo}", "1"], flags=("deterministic",))


def test_private_keys_cannot_be_overridden(path):
    with pytest.raises(SettingsError, match="--__set_seed: .* no such key"):
        parse([path, "--__set_seed", "1"])


@pytest.mark.parametrize(
    "arguments",
    [["--lr"], ["--lr", "--warmup", "3"], ["--lr="], ["--lr", ""], ["--device"], ["--device", "--noprogressbar"],
     ["--precision"]],
)  # fmt: skip
def test_a_missing_value_is_an_error(path, arguments):
    with pytest.raises(SettingsError, match=f"{arguments[0].strip('=')}: a value is missing"):
        parse([path, *arguments])


def test_a_stray_word_is_an_error(path):
    with pytest.raises(SettingsError, match="'zwei': expected --key value"):
        parse([path, "--output_folder", "eins", "zwei"])


@pytest.mark.parametrize("key", settings.REFUSED)
def test_refused_keys_name_the_yamls_own(path, key):
    with pytest.raises(SettingsError, match=f"--{key} is not used here; set the YAML's {settings.REFUSED[key]}"):
        parse([path, f"--{key}", "1"])


def test_a_missing_file_lists_the_experiments(path):
    with pytest.raises(SettingsError, match=r"hparams/y.yaml: no such file; experiments here: hparams/x.yaml$"):
        parse(["hparams/y.yaml"])


def test_a_missing_file_outside_the_checkout(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SettingsError, match="none: is this the checkout's root"):
        parse(["hparams/y.yaml"])


@pytest.mark.parametrize("argv", [[], ["--lr", "1"]])
def test_without_a_file_the_usage_is_shown(argv):
    with pytest.raises(SettingsError, match="usage: python train.py"):
        parse(argv)


def test_reading_keys_makes_no_objects(path):
    assert settings.top_level_keys(path) == [
        "seed", "output_folder", "lr", "learning_rate", "warmup", "max_updates", "old_language", "precision", "linear",
    ]  # fmt: skip


def test_override_text_is_one_key_a_line():
    assert settings.override_text({"lr": "1", "warmup": "0.1"}) == "lr: 1\nwarmup: 0.1"
    assert settings.override_text({}) == ""


@pytest.mark.parametrize(
    "written",
    [
        "things: [!new:pathlib.PurePath {}, !new:collections.Counter {a: !ref <n>}]\nn: 3\n",
        "things:  # so\n  - !new:pathlib.PurePath {}\n  - !new:collections.Counter\n      a: !ref <n>\nn: 3\n",
        "things: []\nn: 3\n",
    ],
)
def test_a_list_of_objects_survives_overrides(written):
    overrides = {"n": "4"}
    if "[]" in written:
        overrides |= {"things": "[!new:pathlib.PurePath {}, !new:collections.Counter {a: !ref <n>}]"}
    for found in (settings.load(written, overrides)["things"], settings.make("things", written, overrides)):
        assert [str(found[0]), found[1]] == [".", {"a": 4}]
