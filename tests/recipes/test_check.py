"""carryover check: planted mistakes are found by their rule, and nothing of a run is left behind."""

import os

import pytest
from typer.testing import CliRunner

from carryover.checks import rules
from carryover.commands.app import app
from carryover.commands.check import checklist, measured, trial

from .helpers import EMBEDDED, ROOT, small, train

CTC, ADAPTATION, WHISPER = (f"hparams/{name}.yaml" for name in ("dutch_pretrain", "german_adaptation", "whisper_ft"))
SOUND = {"epochs": "5", "max_updates": "35", "batch_size": "4", "warmup": "3", "valid_every": "7", "save_every": "7"}


def argv(yaml: str, overrides: dict[str, str]) -> list[str]:
    return [yaml, "--device=cpu", *(f"--{key}={value}" for key, value in overrides.items())]


def found(yaml: str, overrides: dict[str, str]) -> dict[str, str]:
    """Verdict of each finding."""
    return {name: one.verdict for name, one in checklist.findings(argv(yaml, overrides), say=lambda line: None)}


PLANTED = [  # overrides of a sound run, the rule that finds it, its verdict
    ({"max_updates": "6"}, "optimisation: epochs", "warn"),
    ({"max_updates": "1000"}, "optimisation: epochs", "warn"),
    ({"lr": "1.0e-2", "from_scratch": "False"}, "settings|data and model", "FAIL"),  # no weights are there
    ({"warmup": "40"}, "optimisation: warmup", "FAIL"),
    ({"warmup": "0.5"}, "optimisation: warmup", "warn"),
    ({"batch_size": "2"}, "optimisation: batch", "warn"),
    ({"batch_size": "20", "grad_accumulation_factor": "2"}, "data: batch larger than set", "FAIL"),
    ({"weight_decay": "0.5"}, "optimisation: weight decay", "warn"),
    ({"dropout": "0.6"}, "optimisation: dropout", "warn"),
    ({"max_grad_norm": "0"}, "optimisation: clipping", "warn"),
    ({"valid_every": "36"}, "evaluation: validated once", "warn"),
    ({"early_stopping_patience": "5"}, "evaluation: patience", "warn"),
    ({"valid_every": "99", "save_every": "99"}, "checkpoints and logs: no checkpoint", "warn"),
    ({"log_every": "99"}, "checkpoints and logs: nothing logged", "warn"),
    ({"data_folder": "/nowhere"}, "data and model", "FAIL"),
    ({"lrr": "1"}, "settings", "FAIL"),
    ({"language": "null"}, "settings", "FAIL"),
    ({"max_seconds": "0.6"}, "data: rejected", "warn"),
]


@pytest.mark.parametrize(
    "change, rule, verdict", PLANTED, ids=lambda value: str(value) if isinstance(value, dict) else ""
)
def test_a_planted_mistake_is_found(ctc_run, monkeypatch, change, rule, verdict):
    monkeypatch.chdir(ROOT)
    sound = ctc_run | SOUND | {"log_every": "5", "max_grad_norm": "5.0"}
    was = found(CTC, sound) if change == PLANTED[0][0] else {}
    assert "FAIL" not in was.values() and not {r for _, r, _ in PLANTED} - {"data and model", "settings"} & was.keys()
    verdicts = found(CTC, sound | change)
    assert any(verdicts.get(name) == verdict for name in rule.split("|")), verdicts
    assert not os.path.exists(ctc_run["output_root"]), "nothing of the run is made"


def test_mistakes_of_an_adaptation_and_of_whisper(adaptation_run, whisper_run, tiny_ctc, monkeypatch):
    monkeypatch.chdir(ROOT)
    own = {"model": str(tiny_ctc), "from_scratch": "True", "old_splits": "[test]", "test_before": "False"}
    verdicts = found(ADAPTATION, adaptation_run | SOUND | own)
    for rule in ("evaluation: old language unseen", "evaluation: untested before", "data: speakers in training"):
        assert verdicts[rule] == "warn", verdicts
    assert "data: texts in training" in verdicts or "data: small sets" in verdicts
    assert found(ADAPTATION, adaptation_run | SOUND) == {"settings": "FAIL"}, "the Dutch model is not there"
    verdicts = found(WHISPER, whisper_run | SOUND | {"generation_length": "2", "lr": "5.0"})
    for rule in ("evaluation: hypotheses cut", "optimisation: rate", "optimisation: random parts"):
        assert verdicts[rule] == "warn", verdicts


@pytest.fixture(scope="module")
def small_corpora(tmp_path_factory):
    return tmp_path_factory.mktemp("corpora")


@pytest.mark.parametrize("path", EMBEDDED, ids=lambda path: path.stem)
def test_nothing_fails_in_a_yaml_as_it_is_shipped(path, small_corpora, tmp_path, monkeypatch):
    """On a small corpus: most have a remark, that the updates are many epochs of it, for one."""
    monkeypatch.chdir(ROOT)
    verdicts = found(str(path.relative_to(ROOT)), small(path.stem, small_corpora) | {"output_root": str(tmp_path)})
    assert "FAIL" not in verdicts.values() and len(verdicts) > 5, verdicts


def test_the_disk_is_asked(ctc_run, monkeypatch):
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(rules.shutil, "disk_usage", lambda path: type("Usage", (), {"free": 1000}))
    assert found(CTC, ctc_run | SOUND)["checkpoints and logs: disk"] == "FAIL"


def test_the_command_ends_with_a_status_that_says_so(ctc_run, monkeypatch):
    monkeypatch.chdir(ROOT)
    done = CliRunner().invoke(app, ["check", *argv(CTC, ctc_run | SOUND)])
    assert "memory: weights " in done.stdout and " + optimizer " in done.stdout
    assert done.exit_code == 0 and "0 failed" in done.stdout and "28 utterances" in done.stdout, done.output
    done = CliRunner().invoke(app, ["check", *argv(CTC, ctc_run | {"max_updates": "3"})])
    assert done.exit_code == 1 and "FAIL  optimisation: warmup: warm-up 3 of 3 updates" in done.stdout, done.output


def test_a_trial_is_measured(ctc_run, monkeypatch):
    monkeypatch.chdir(ROOT)
    said = []
    assert checklist.check(argv(CTC, ctc_run | SOUND | {"warmup": "0.1"}), measure=True, say=said.append) == 0
    (line,) = [line for line in said if "trial" in line]
    assert line.startswith("pass  trial: 0.") and "peak memory" in line and " in all with validations" in line


def test_the_whole_is_all_that_was_timed_scaled_to_its_size():
    class Facts:
        updates, batch, train = 100, 2, [1] * 50
        rows = {"de": {"valid": [1] * 10, "test": [1] * 30}, "nl": {"test": [1] * 20}}

        @staticmethod
        def every(key):
            return 40

    def score(where, language, n, seconds):
        return {"where": where, "language": language, "n": n, "seconds": seconds}

    found = measured.Measured(
        updates=[(9.0, 1.0)] * measured.WARM + [(2.0, 1.0)] * 8 + [(3.0, 1.0), (50.0, 7.0)],  # the longest clips
        scores=[score("test", "de", 3, 1.0), score("test", "nl", 4, 2.0), score("valid", "de", 5, 4.0),
                score("valid", "de", 5, 1.0), score("test", "de", 3, 0.5), score("test", "nl", 4, 1.5)],
        saves=[0.5], fill=4.0, clips=25, begin=1.5, peak_memory_bytes=0,
    )  # fmt: skip
    assert found.seconds_per_update == pytest.approx(19 / 9)
    tests = (1.0 + 0.5) * 10 + (2.0 + 1.5) * 5
    validations = 4.0 * 2 + 2 * 1.0 * 2  # the first computes what later ones read
    assert found.whole(Facts) == pytest.approx(100 * 19 / 9 + 1.5 + 4.0 * 2 + tests + validations + 3 * 0.5)
    assert measured._without(["x.yaml", "--a", "1", "--b=2", "--preset", "c"], {"a", "b"}) == [
        "x.yaml",
        "--preset",
        "c",
    ]


def test_kept_states_of_the_whole_sets_are_in_the_peak():
    class Facts:
        brain, language, train = type("Brain", (), {"device_type": "cpu"}), "de", [1] * 2000
        updates, batch = 100, 4  # less than an epoch: states of training are not read again
        rows = {"de": {"valid": [1] * 100, "test": [1] * 400}}
        values = {"test_before": True}

    scores = [
        {"where": where, "language": "de", "n": 32, "seconds": 1.0} for where in ("test", "valid", "valid", "test")
    ]
    found = measured.Measured(
        updates=[], scores=scores, saves=[], fill=1e-4, clips=100, begin=0.0, peak_memory_bytes=10**9,
        states={"a": (164, 164 * 50_000), "b": (10, 10 * 50_000)},
    )  # fmt: skip
    more = 100_000 * (100 - 32 + 400 - 32) + 2 * (100_000 * 400 - 100_000 * 32)
    assert found.peak(Facts) == 10**9 + more
    Facts.values = {"test_before": False}  # then test states are written, and not read again
    assert found.peak(Facts) == 10**9 + more - 100_000 * (400 - 32)
    Facts.updates, Facts.values = 500, {"test_before": True}
    most = 2 * (64_000_000 - 100_000 * 100)  # of a file of states, in memory twice
    assert found.peak(Facts) == 10**9 + 100_000 * (100 - 32 + 400 - 32 + 2000 - 100) + most
    Facts.brain.device_type = "cuda"
    assert found.peak(Facts) == 10**9


def test_energy_and_money_are_those_of_the_whole_run():
    log = [{"event": "train", "time": t, "energy_joules": j} for t, j in ((1.0, 900.0), (3.0, 100.0), (5.0, 140.0))]
    assert measured._watts(log) == pytest.approx(60.0)
    assert measured._watts([{"event": "train", "time": 1.0}] * 5) is None, "a machine that reports nothing"
    assert checklist.cost(7200, 60.0, 1.5) == "; 0.12 kWh at 60 W; 3.00 in money at 1.5 an hour"
    assert checklist.cost(7200, None, None) == ""


def test_a_card_that_is_too_full():
    assert rules.left_free(16 * 2**30, 24 * 2**30) is None
    found = rules.left_free(19 * 2**30, 24 * 2**30)
    assert found.verdict == rules.WARN and found.evidence.startswith("5.0 of 24 GiB") and "batch_size" in found.advice


def test_the_longest_are_on_trial():
    rows = [{"id": str(n), "duration": float(n % 37)} for n in range(100)]
    for longest in (1, 8):
        found = trial.chosen(rows, 20, longest)
        assert len(found) == 20 and found == sorted(found, key=lambda row: int(row["id"]))
        assert sum(row["duration"] >= 33 for row in found) >= longest > 0
    assert trial.chosen(rows, 20, 1) == trial.chosen(rows, 20, 1) and trial.chosen(rows, 200, 1) == rows


def test_a_run_says_the_short_form_before_its_first_update_and_learns_the_same(whisper_run, tmp_path):
    """Of a run that is gone on with nothing is said."""
    own = {"max_updates": "4", "warmup": "1", "lr": "5.0", "test_before": "False"}
    done = train(whisper_run | own)
    assert done.returncode == 0, done.stderr
    block = done.stdout[done.stdout.index("Check: ") :].splitlines()
    assert block[0].startswith("Check: 4 updates of 4 are 0.6 epochs of 28 utterances (0.0"), block[0]
    assert block[1].startswith("  memory: weights ") and "optimizer" in block[1] and "activations" in block[1]
    assert any(line.startswith("  warn  optimisation: epochs: ") for line in block), block
    assert any(line.startswith("  warn  optimisation: rate: ") for line in block), block
    assert done.stdout.index("Check: ") < done.stdout.index("Training on 28")
    again = train(whisper_run | own)
    assert again.returncode == 0 and "Check: " not in again.stdout
