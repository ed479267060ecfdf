"""A run's method is called by what ran, not by its folder."""

import csv

import pytest

from carryover.report import find_runs
from carryover.report.build import report
from carryover.report.grouping import method_names
from carryover.report.what_ran import by_method, methods_of, said_by, word
from tests.unit import made_runs

EWC = "[!new:carryover.forgetting.EWC {lambda_: 10}]"
REPLAY = "[!new:carryover.forgetting.Replay {share: 0.1}]"
JOINT = "[!new:carryover.forgetting.Replay {share: 1.0}]"
AVERAGING = "[!new:carryover.forgetting.Averaging {shares: [0.5]}]"
BOTH = "[!new:carryover.forgetting.Replay {share: 0.1}, !new:carryover.forgetting.OnlineEWC {lambda_: 1}]"


def run(folder, forgetting, **own):
    made_runs.make(folder, forgetting=forgetting, **own)
    [found] = find_runs.load([folder])
    return found


@pytest.mark.parametrize(
    "forgetting, own, methods",
    [
        ("[]", {}, set()),
        (AVERAGING, {}, set()),
        (EWC, {}, {"ewc"}),
        (JOINT, {}, {"joint"}),
        (BOTH, {}, {"replay", "online_ewc"}),
        ("[]", {"from_scratch": True}, {"new_only"}),
    ],
)
def test_what_ran_is_told_by_the_settings(tmp_path, forgetting, own, methods):
    assert methods_of(run(tmp_path / "x" / "1", forgetting, **own)) == methods


@pytest.mark.parametrize(
    "name, said",
    [
        ("preset=ewc,lambda=10", {"ewc"}),
        ("preset=online_ewc", {"online_ewc"}),
        ("L2-SP", {"l2sp"}),
        ("replay_ewc", {"replay", "ewc"}),
        ("german_adaptation", set()),
        ("simple", set()),
    ],
)
def test_what_a_folder_says(name, said):
    assert said_by(name) == said


def test_a_classs_word():
    assert [word(n) for n in ("EWC", "OnlineEWC", "L2SP", "LwF", "PseudoReplay", "SI")] == [
        "ewc", "online_ewc", "l2sp", "lwf", "pseudo_replay", "si",
    ]  # fmt: skip


def test_a_run_with_another_method_than_its_folder_is_called_by_what_ran(tmp_path):
    """The planted run: it lies in replay/, and EWC's penalty was left in its YAML."""
    for name, forgetting in (("plain", AVERAGING), ("replay", EWC), ("preset=mas", JOINT), ("lwf", "[]")):
        for seed in (1, 2):
            made_runs.make(tmp_path / "runs" / name / str(seed), seed=seed, forgetting=forgetting)
    names = method_names(find_runs.load([tmp_path / "runs"]))
    assert list(names) == ["ewc", "joint", "plain", "plain (lwf)"]
    report([tmp_path / "runs"], tmp_path / "out")
    with open(tmp_path / "out" / "tables" / "methods.csv", newline="") as file:
        assert {row["method"] for row in csv.DictReader(file)} == {"ewc", "joint", "plain", "plain (lwf)"}


def test_a_folder_that_names_no_method_is_told_with_what_ran(tmp_path):
    for name, forgetting in (("a", EWC), ("b", EWC), ("c", "[]")):
        made_runs.make(tmp_path / name / "1", forgetting=forgetting)
    assert list(method_names(find_runs.load([tmp_path]))) == ["c", "ewc (a)", "ewc (b)"]


def test_a_method_of_ones_own_and_a_students_teacher(tmp_path):
    made_runs.make(tmp_path / "my_method" / "1", forgetting="[!new:mine.MyMethod {x: 1}]")
    made_runs.make(tmp_path / "student" / "1", forgetting="[]", distillation="!new:carryover.losses.Distillation {}")
    assert list(method_names(find_runs.load([tmp_path]))) == ["my_method", "student"]


def test_runs_whose_settings_do_not_say_keep_their_folders_name(tmp_path):
    made_runs.make(tmp_path / "ewc" / "1")
    found = find_runs.load([tmp_path])
    assert list(by_method({"ewc": found})) == ["ewc"]
