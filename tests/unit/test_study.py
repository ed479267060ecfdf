"""The plan of a study: equal budgets, no change after it has begun; and how windows with one clip are drawn."""

import json

import pytest
import torch

from carryover.commands.study import study
from carryover.commands.study.plan import PLAN, Plan
from carryover.config.settings import SettingsError
from carryover.data.packing import Packing

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


def windows(single: float, n: int = 400) -> list[int]:
    """Clips in each window of n clips of 1 s, windows of 10 s."""
    example = {
        "language": "nl",
        "row": {"duration": 1.0},
        "target": "a",
        "wav": torch.zeros(10),
        "tokens": torch.ones(3),
    }
    packing = Packing(lambda text, language: [1] * len(text.split()), 100, 1000, single)
    batch = packing([example | {"id": f"clip{i}"} for i in range(n)])
    return [len(ID.split("+")) for ID in batch.id]


def test_a_share_of_the_windows_has_one_clip():
    assert set(windows(1.0)) == {1}
    few, many = windows(0.0), windows(0.5)
    assert sum(few) == sum(many) == 400
    assert many.count(1) / len(many) == pytest.approx(0.5 + 0.5 * few.count(1) / len(few), abs=0.12)
    with pytest.raises(ValueError, match="single: 1.5"):
        windows(1.5)
