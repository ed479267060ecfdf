"""What `--overfit N` changes, and what the gate says."""

import csv

import pytest

from carryover.config import overfit

WRITTEN = {"dropout": 0.3, "augment_prob": 0.8, "lr": 1e-3, "overfit": None, "max_updates": 300, "valid_every": "epoch"}
RESOLVED = WRITTEN | {"output_folder": "results/whisper_ft/7"}


def test_what_keeps_from_learning_by_heart_is_off_where_the_yaml_has_it():
    found = overfit.overrides("5", WRITTEN, RESOLVED)
    assert found == {
        "dropout": "0.0", "augment_prob": "0.0", "valid_every": "25", "log_every": "25", "save_every": "300",
        "output_folder": "results/whisper_ft_overfit5/7",
    }  # fmt: skip


def test_a_run_that_counts_in_epochs_gets_a_budget_of_updates():
    resolved = RESOLVED | {"max_updates": None}
    found = overfit.overrides("5", WRITTEN | {"max_updates": None}, resolved)
    assert (found["max_updates"], found["save_every"]) == ("1000", "1000")


def test_a_yaml_made_for_it_keeps_its_values():
    assert overfit.overrides("3", WRITTEN | {"overfit": 5}, RESOLVED) == {}
    assert overfit.overrides(None, WRITTEN, RESOLVED) == overfit.overrides("null", WRITTEN, RESOLVED) == {}


@pytest.mark.parametrize("n", ["0", "-1", "five", "2.5"])
def test_a_number_that_cannot_be_meant(n):
    with pytest.raises(ValueError, match=f"--overfit {n}: expected the number of utterances"):
        overfit.overrides(n, WRITTEN, RESOLVED)


def test_the_same_utterances_for_all_splits(tmp_path):
    train = tmp_path / "train.csv"
    train.write_text("ID,text\n" + "".join(f'u{i},"a, {i}"\n' for i in range(4)))
    found = overfit.subset(train, 3)
    assert set(found) == {"train", "valid", "test"} and len(set(found.values())) == 1
    with open(found["test"], newline="") as file:
        assert [row["ID"] for row in csv.DictReader(file)] == ["u0", "u1", "u2"]
    with pytest.raises(ValueError, match="5 utterances asked for, but .*train.csv has 4"):
        overfit.subset(train, 5)


def log(first: float, last: float, **values) -> list[dict]:
    event = {"event": "train", "update": 50, "lr": 1e-3, "grad_norm": 1.0} | values
    return [event | {"loss": first, "update": 25}, event | {"loss": last}]


@pytest.mark.parametrize(
    ("WER", "events", "words"),
    [
        (0.0, log(9.0, 0.009), "passed: WER 0 and loss 0.009 after 50 updates"),
        (80.0, log(9.0, 9.0, lr=0.0), "The rate was 0 in every update"),
        (80.0, log(9.0, 9.0, grad_norm=0.0), "No gradient reached"),
        (80.0, log(9.0, 8.0), "The loss hardly fell"),
        (80.0, log(9.0, "nan"), "The loss hardly fell"),
        (100.0, log(9.0, 3.0, blank_ratio=1.0), "blanks alone"),
        (20.0, log(9.0, 0.01), "lost on its way out"),
        (20.0, log(9.0, 1.0), "raise max_updates"),
        (20.0, [], "No update was made"),
    ],
)
def test_what_to_suspect(WER, events, words):
    said = overfit.verdict({"WER": WER, "loss": 0.009}, events)
    assert words in said and said.startswith(f"Overfit gate {'passed' if WER == 0 else 'FAILED'}")
