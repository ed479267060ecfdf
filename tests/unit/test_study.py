"""The plan of a study: equal budgets, no change after it has begun; and how windows with one clip are drawn."""

import json
import math
from pathlib import Path

import pytest

from carryover.commands.study import choice, study
from carryover.commands.study.plan import PLAN, Plan
from carryover.config.settings import SettingsError

ROOT = Path(__file__).parents[2]
PLAN_TEXT = """experiment: x.yaml
common: {max_updates: 4, language: de, old_splits: [valid, test], lora: null, flag: True}
budget: 2
seeds: [1, 2]
methods:
    plain: {lr: [1.0e-3, 1.0e-4]}
    ewc: [{lr: 1.0e-3, preset: ewc, lambda: 10}, {lr: 1.0e-4, preset: ewc, lambda: 1.0e+3}]
"""


@pytest.fixture
def plan_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x.yaml").write_text("lr: 1\n")
    path = tmp_path / "plan.yaml"
    path.write_text(PLAN_TEXT)
    return path


def test_a_plan_has_each_trial_as_command_line_values(plan_file):
    plan = Plan.read(plan_file)
    assert plan.methods["plain"] == ({"lr": "0.001"}, {"lr": "0.0001"})
    assert plan.methods["ewc"][1] == {"lr": "0.0001", "preset": "ewc", "lambda": "1000.0"}
    assert plan.common == {
        "max_updates": "4", "language": "de", "old_splits": '["valid", "test"]', "lora": "null", "flag": "true",
    }  # fmt: skip


@pytest.mark.parametrize(
    "old, new, message",
    [
        ("[1.0e-3, 1.0e-4]", "[1.0e-3]", "plain has 1 trials, but the budget is 2"),
        ("[1.0e-3, 1.0e-4]", "[1.0e-3, 0.001]", "plain has one trial twice"),
        ("{lr: [1.0e-3, 1.0e-4]}", "{lr: 1.0e-3}", "plain: expected the keys that are tried"),
        ("[1, 2]", "[1, 1]", "seeds: .1, 1.; expected a list of different"),
        ("budget: 2\n", "", "budget; expected the keys"),
        ("budget: 2\n", "budget: 2\njobs: 3\n", "jobs; expected the keys"),
        ("methods:", "methods: [", "expected the YAML file of a plan"),
    ],
)
def test_a_broken_plan_is_refused_by_name(plan_file, old, new, message):
    plan_file.write_text(PLAN_TEXT.replace(old, new, 1))
    with pytest.raises(SettingsError, match=message):
        Plan.read(plan_file)


def test_a_plan_that_is_not_there_is_named(tmp_path):
    with pytest.raises(SettingsError, match="gone.yaml"):
        Plan.read(tmp_path / "gone.yaml")


@pytest.mark.parametrize(
    "change, differs",
    [(("plan.yaml", "1.0e-4", "2.0e-4"), "methods"), (("x.yaml", "lr: 1", "lr: 2"), "experiment_sha256")],
)
def test_a_plan_is_not_changed_once_it_has_begun(plan_file, tmp_path, change, differs):
    Plan.read(plan_file).keep(tmp_path / "out")
    Plan.read(plan_file).keep(tmp_path / "out")
    assert json.loads((tmp_path / "out" / PLAN).read_text())["budget"] == 2
    name, old, new = change
    (tmp_path / name).write_text((tmp_path / name).read_text().replace(old, new))
    with pytest.raises(SettingsError, match=f"begun with another plan .{differs} differ"):
        Plan.read(plan_file).keep(tmp_path / "out")


def test_no_run_at_a_time_is_refused(plan_file, tmp_path):
    with pytest.raises(SettingsError, match="--jobs 0: at least 1"):
        study.study(plan_file, tmp_path / "out", jobs=0, command=["true"])


RANGES = """experiment: x.yaml
common: {}
budget: 6
seeds: [1, 2, 3]
points: 3
orders: {nl_to_de: {language: de, start: {experiment: x.yaml, lr: 2}}, de_to_nl: {language: nl}}
methods:
    plain: {lr: {low: 1.0e-4, high: 1.0e-2}, max_updates: [300, 600, 900]}
    ewc: {preset: [ewc], lambda: {low: 1, high: 1.0e+4}, dropout: {low: 0, high: 0.3, scale: linear}}
"""


def test_ranges_are_drawn_once_in_each_part(plan_file):
    plan_file.write_text(RANGES)
    plan = Plan.read(plan_file)
    rates = sorted(float(trial["lr"]) for trial in plan.methods["plain"])
    parts = [1e-4 * 100 ** (i / 6) for i in range(7)]
    assert all(low * 0.99 <= rate <= high * 1.01 for low, rate, high in zip(parts, rates, parts[1:], strict=False))
    assert sorted(trial["max_updates"] for trial in plan.methods["plain"]) == ["300"] * 2 + ["600"] * 2 + ["900"] * 2
    assert {trial["preset"] for trial in plan.methods["ewc"]} == {"ewc"}
    drop = sorted(float(trial["dropout"]) for trial in plan.methods["ewc"])
    assert all(i / 20 - 1e-3 <= x <= (i + 1) / 20 + 1e-3 for i, x in enumerate(drop))
    assert Plan.read(plan_file) == plan
    plan_file.write_text(RANGES.replace("    plain: ", "    other: "))
    assert Plan.read(plan_file).methods["ewc"] == plan.methods["ewc"], "others' draws do not change a method's"
    assert plan.orders["nl_to_de"].start.given == {"lr": "2"} and plan.orders["de_to_nl"].start is None


@pytest.mark.parametrize(
    "old, new, message",
    [
        ("{low: 1.0e-4, high: 1.0e-2}", "{low: 1.0e-2, high: 1.0e-4}", "plain: lr: .*expected .low: A, high: B"),
        ("{low: 1.0e-4, high: 1.0e-2}", "{low: 0, high: 1.0e-4}", "above 0 where the scale is log"),
        ("{low: 1.0e-4, high: 1.0e-2}", "{low: 1, hihg: 2}", "expected .low: A"),
        ("points: 3", "points: 7", "points: 7 cannot be chosen from 6 trials"),
        ("points: 3", "points: 0", "points: 0; expected a whole number"),
        ("nl_to_de:", "nl to de:", "'nl to de'; expected a name of a folder"),
        ("start: {experiment: x.yaml, lr: 2}", "start: {lr: 2}", "nl_to_de: start: no experiment"),
        ("start: {experiment: x.yaml", "start: {experiment: y.yaml", "y.yaml: .*expected the YAML of an experiment"),
    ],
)
def test_a_broken_space_or_order_is_refused(plan_file, tmp_path, old, new, message):
    plan_file.write_text(RANGES.replace(old, new, 1))
    with pytest.raises(SettingsError, match=message):
        Plan.read(plan_file).keep(tmp_path / "out")


def test_chosen_are_the_best_and_what_adds_to_the_front(tmp_path, monkeypatch):
    points = {"a": [(30.0, 60.0)], "b": [(20.0, 65.0)], "c": [(70.0, 20.0)], "d": [(72.0, 22.0)], "e": [(90.0, 10.0)]}
    monkeypatch.setattr(choice, "validated", lambda folder: points[folder])
    assert choice.choose("abcde", 1) == [1], "a mean of 42.5"
    assert choice.choose("abcde", 2) == [1, 2]
    assert choice.choose("abcde", 5) == [1, 2, 0, 4], "d adds nothing"
    points["d"] = [(40.0, math.nan)]
    with pytest.raises(SettingsError, match="no validation of its languages to choose by"):
        choice.choose("abcde")


@pytest.mark.parametrize(
    "change, message",
    [
        (("old_splits: [valid, test]", "old_splits: [test]"), "plain: nl, the old language, is not validated"),
        (("lr: [1.0e-3, 1.0e-4]}", "forgetting: ['!new:carryover.forgetting.EWCC {}'], lr: [1, 2]}"), "plain: .*EWCC"),
        (("lr: [1.0e-3, 1.0e-4]}", "lrr: [1, 2]}"), "lrr"),
    ],
)
def test_what_cannot_be_run_is_refused_before_the_first_run(tmp_path, monkeypatch, change, message):
    monkeypatch.chdir(ROOT)
    text = PLAN_TEXT.replace("x.yaml", "hparams/german_adaptation.yaml").replace("lora: null, flag: True", "warmup: 0")
    text = text.replace("old_splits: [valid, test]", f"old_splits: [valid, test], data_folder: {tmp_path}")
    (tmp_path / "plan.yaml").write_text(text.replace(*change))
    with pytest.raises(SettingsError, match=message):
        study.study(tmp_path / "plan.yaml", tmp_path / "out", command=["false"])
    assert not (tmp_path / "out").exists()
