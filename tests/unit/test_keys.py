"""carryover/config/keys.py: every key of every YAML has a type and a range, and what does not fit is said at once."""

import re
from pathlib import Path

import pytest

from carryover.config import keys, run_options, settings
from carryover.config.presets import apply, read, scalars
from carryover.experiment import READ, Experiment, train
from carryover.training import schedule
from recipes import ctc, sign_ctc, speech_llm, whisper

ROOT = Path(__file__).parents[2]
YAMLS = sorted((ROOT / "hparams").glob("*.yaml"))
ONLY_WITH_AUGMENTATION = {sign_ctc.SignBrain: {"augment_prob"}}  # which sign_overfit does without
BRAINS = [ctc.CTCBrain, sign_ctc.SignBrain, speech_llm.SpeechLLMBrain, whisper.WhisperBrain]
WHISPER = (ROOT / "hparams" / "whisper_ft.yaml").read_text(encoding="utf-8")


@pytest.mark.parametrize("path", YAMLS, ids=lambda path: path.stem)
def test_every_key_of_a_shipped_yaml_is_in_the_table_and_its_value_fits(path):
    text = path.read_text(encoding="utf-8")
    assert {key for key in settings.tree(text) if not key.startswith("__")} <= keys.KEYS.keys()
    brain = settings.make("brain", text, {})
    settings.require_values(text, {}, READ | set(brain.reads))


def test_the_table_has_no_key_that_no_yaml_has():
    assert keys.KEYS.keys() == {key for path in YAMLS for key in settings.tree(path.read_text()) if key[0] != "_"}


@pytest.mark.parametrize("name", read())
def test_every_preset_fits(name):
    for path in YAMLS:
        written = scalars(path.read_text(encoding="utf-8"))
        if read()[name].keys() <= written.keys():
            settings.require_values(path.read_text(encoding="utf-8"), apply([name], written))


def test_names_of_schedules_are_those_that_there_are():
    assert keys.SCHEDULES == ("noam", *schedule.TRANSFORMERS)


@pytest.mark.parametrize("brain", BRAINS)
def test_a_brain_says_which_keys_it_reads(brain):
    """Its file and those of the loop, by their text: hparams.X, and h.X in `describe`."""
    files = {Path(__import__(kind.__module__, fromlist=["x"]).__file__) for kind in brain.mro()[:-1]}
    files = [path for path in files if ROOT in path.parents]
    files += [path for path in (ROOT / "carryover" / "training").glob("*.py") if path.name != "ctc_brain.py"]
    found = {name for path in files for name in re.findall(r"\b(?:hparams|h)\.([a-z]\w*)", path.read_text())}
    assert found - {"pop", "get", "update", "items", "modules"} <= {
        *brain.reads,
        *ONLY_WITH_AUGMENTATION.get(brain, ()),
    }


def test_the_experiment_says_which_keys_it_reads():
    text = (ROOT / "carryover" / "experiment.py").read_text()
    found = set(re.findall(r'(?:hparams|self\.values)\["(\w+)"\]', text))
    assert found <= READ


def faults(key, value):
    return settings.require_values(WHISPER, {key: value}, path="x.yaml")


@pytest.mark.parametrize("word, meant", [("no", False), ("off", False), ("'False'", False), ("FALSE", False),
                                         ("yes", True), ("On", True), ("true", True), ("True", True)])  # fmt: skip
@pytest.mark.parametrize("where", ["override", "yaml"])
def test_yaml_1_1s_booleans_are_understood(word, meant, where):
    text, overrides = WHISPER, {"from_scratch": word}
    if where == "yaml":
        text, overrides = re.sub("(?m)^from_scratch: False", f"from_scratch: {word}", WHISPER), {"seed": "3"}
    assert settings.resolved(text, overrides)["from_scratch"] is meant
    plain = "from_scratch: True\nx: !new:collections.Counter {a: !ref <from_scratch>}\n"
    assert settings.load(plain, {"from_scratch": word})["x"]["a"] is meant


@pytest.mark.parametrize(
    "key, value, expected",
    [
        ("from_scratch", "maybe", "True or False"),
        ("from_scratch", "1", "True or False"),
        ("from_scratch", "null", "True or False"),
        ("max_updates", "2.5", "an integer, 1 or more or null"),
        ("max_updates", "800.0", "write 800"),
        ("max_updates", "none", "an integer, 1 or more or null"),
        ("max_updates", "True", "an integer, 1 or more or null"),
        ("seed", "abc", "an integer, 0 to"),
        ("num_workers", "many", "an integer, 0 or more"),
        ("valid_every", "0", "an integer, 1 or more or epoch"),
        ("valid_every", "epochs", "an integer, 1 or more or epoch"),
        ("log_every", "0", "1 or more"),
        ("test_beams", "0", "1 or more"),
        ("valid_beams", "greedy", "an integer"),
        ("early_stopping_patience", "none", "an integer, 0 or more"),
        ("grad_accumulation_factor", "0", "1 or more"),
        ("label_smoothing", "2", "a number, 0 to below 1"),
        ("augment_prob", "2", "a number, 0 to 1"),
        ("dropout", "-0.1", "a number, 0 to below 1"),
        ("lr", "-1", "a number, 0 or more"),
        ("lr", ".nan", "a number"),
        ("lr", "1e-5x", "a number"),
        ("lr", "1" + 400 * "0", "a number"),  # more than a float can hold
        ("batch_size", "1" + 400 * "0", "1 or more"),
        ("generation_length", "0", "1 or more"),
        ("precision", "bf32", "fp32, bf16 or fp16"),
        ("lr_schedule", "cosin", "noam, linear, cosine"),
        ("train", "top_2", "encoder_top_N"),
        ("task", "transcription", "transcribe or translate"),
        ("old_splits", "[tests]", "train, valid or test"),
        ("old_splits", "test", "a list (train, valid or test)"),
        ("lr_of", "{head: fast}", "a mapping (a number, 0 or more)"),
        ("optimizer", "adam", "an object"),
        ("target_text", "Normaliser", "an object"),
        ("output_folder", "2024-01-01", "put it in quotes"),
        ("sample", "{train: many}", "an integer, 1 or more"),
    ],
)
def test_what_does_not_fit_is_said_with_what_is_expected(key, value, expected):
    with pytest.raises(settings.SettingsError, match=f"(?s)x.yaml: {key}: .*{re.escape(expected)}"):
        faults(key, value)


def raises_attribute_error(_):
    raise AttributeError("by hand")


def test_a_null_argument_is_the_yamls_fault():
    """Of a reference to what is made later on, too."""
    for value in (
        "!apply:carryover.losses.ctc.CTCHead.of [null]",
        "!apply:carryover.losses.ctc.CTCHead.of [!ref <language>]",
    ):
        with pytest.raises(settings.SettingsError, match="the YAML: CTCHead.of: 'NoneType' .* one of its arguments is"):
            settings.load(f"head: {value}\nlanguage: null\n", {})
    with pytest.raises(AttributeError, match="by hand"):  # one that a function raises is the code's
        settings.load("head: !apply:tests.unit.test_keys.raises_attribute_error [1]\n", {})


def makes_an_error_of_its_own(_):
    return "a text".add


class AsksFurtherDown:
    def __init__(self, one, other):
        self.made = self.add(other)

    def add(self, other):
        return other.add(self)


@pytest.mark.parametrize("value", ["text", "[a]", "5", "{a: 1}"])
def test_a_plain_value_for_an_object_is_the_yamls_fault(value):
    """By place and by name, and where the attribute is asked for further down."""
    head = f"head: !apply:carryover.losses.ctc.CTCHead.of [{value}]\n"
    with pytest.raises(settings.SettingsError, match="the YAML: CTCHead.of: argument 1: .* has no attribute"):
        settings.load(head, {})
    deeper = f"head: !new:tests.unit.test_keys.AsksFurtherDown\n    one: 1\n    other: {value}\n"
    with pytest.raises(settings.SettingsError, match="AsksFurtherDown.__init__: argument other: .* no attribute 'add'"):
        settings.load(deeper, {})
    with pytest.raises(AttributeError):  # of a text that the YAML did not give
        settings.load(f"head: !apply:tests.unit.test_keys.makes_an_error_of_its_own [{value}]\n", {})


def misspelt(key, other):
    return re.sub(f"(?m)^{key}:", f"{other}:", WHISPER)


def test_a_misspelt_key_of_the_yaml_names_what_is_meant():
    text = misspelt("test_beams", "test_beam")
    with pytest.raises(settings.SettingsError, match="test_beam: nothing reads this key; did you mean test_beams"):
        Experiment("x.yaml", text, {}, {}, {}).check()


def test_a_lacking_key_that_only_the_test_reads_is_found():
    text = re.sub("(?m)^test_beams:.*\n", "", WHISPER)
    with pytest.raises(settings.SettingsError, match="test_beams: the YAML lacks this key.*an integer, 1 or more"):
        Experiment("x.yaml", text, {}, {}, {}).check()


def test_a_key_of_ones_own_may_be_referred_to():
    text = re.sub("(?m)^lr: 1.5e-3", "base: 1.0e-3\nlr: !ref <base>", WHISPER)
    experiment = Experiment("x.yaml", text, {}, {}, {})
    experiment.check()
    assert experiment.values["lr"] == 1e-3


def test_a_device_that_is_not_there(monkeypatch):
    monkeypatch.setattr("torch.cuda.device_count", lambda: 1)
    run_options.require_device("cuda")
    run_options.require_device("cuda:0")
    for name in ("cuda:1", "gpu"):
        with pytest.raises(ValueError, match=f"'{name}' cannot be used here; this torch finds cpu, cuda:0"):
            run_options.require_device(name)


@pytest.mark.parametrize("path", YAMLS, ids=lambda path: path.stem)
def test_the_help_of_a_yaml_says_every_key_with_its_value(path, capsys):
    """`python train.py YAML --help` starts nothing and ends with status 0."""
    assert train([str(path), "--help"]) == 0
    said = capsys.readouterr().out
    values = {key: str(value) for key, value in scalars(path.read_text(encoding="utf-8")).items()}
    for key in settings.tree(path.read_text(encoding="utf-8")):
        assert key.startswith("__") or f"\n  --{key} " in said, key
    assert f"\n  --lr_schedule {values['lr_schedule']}\n" in said and "--train_only" in said


def test_help_without_a_yaml_and_of_one_that_is_not_there(capsys):
    assert train(["--help"]) == 0 and "--preset NAME" in capsys.readouterr().out
    assert train(["--version"]) == 0 and capsys.readouterr().out.startswith("carryover ")
    with pytest.raises(FileNotFoundError, match="nope.yaml"):
        train(["nope.yaml", "--help"])
