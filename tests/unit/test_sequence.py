"""A sequence of languages: its plan, its runs, and its table by stage against numbers by hand."""

import csv
import io
import math
from pathlib import Path

import pytest

from carryover.commands.sequence.plan import Plan
from carryover.commands.sequence.sequence import _Runs, sequence
from carryover.config.settings import SettingsError
from carryover.report.tables import stages
from carryover.stats import transfer

ROOT = Path(__file__).parents[2]
PLAN = """experiment: hparams/german_adaptation.yaml
first: {experiment: hparams/dutch_pretrain.yaml, max_updates: 9}
sequence: [nl, de, en]
data: {nl: a, de: b, en: c}
common: {max_updates: 4, old_splits: [valid, test]}
alone: True
seeds: [1, 2]
methods:
    plain: {forgetting: []}
    si: {preset: si, lambda: 2, first: {preset: si}}
"""


@pytest.fixture
def plan_file(tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    path = tmp_path / "plan.yaml"
    path.write_text(PLAN)
    return path


def test_each_stage_starts_from_the_one_before_and_tests_all_before_it(plan_file, tmp_path):
    runs = _Runs(Plan.read(plan_file), tmp_path / "out", [])
    first, second, third = (runs.of_stage(k) for k in (1, 2, 3))
    assert [str(job.folder.relative_to(tmp_path / "out")) for job in first] == [
        "first/1_nl/1", "first/1_nl/2", "si/1_nl/1", "si/1_nl/2",
    ]  # fmt: skip
    assert len(second) == len(third) == 6, "two methods and each language alone, two seeds"

    def given(job):
        words = job.words[1:]
        return dict(zip(words[::2], words[1::2], strict=False))

    asked = {str(job.folder.relative_to(tmp_path / "out")): given(job) for job in first + second + third}
    assert asked["si/1_nl/1"]["--preset"] == "si" and asked["first/1_nl/1"]["--max_updates"] == "9"
    de, en, alone = asked["si/2_de/2"], asked["plain/3_en/1"], asked["alone/3_en/1"]
    assert de["--model"] == str(tmp_path / "out/si/1_nl/2/model") and de["--lambda"] == "2"
    assert (de["--language"], de["--data_folder"], de["--old_language"], de["--other_tests"]) == ("de", "b", "nl", "{}")
    assert en["--model"] == str(tmp_path / "out/plain/2_de/1/model") and en["--run_first"] == "null"
    assert (en["--old_language"], en["--old_data_folder"], en["--other_tests"]) == ("de", "b", '{"nl": "a"}')
    assert alone["--model"] == str(tmp_path / "out/first/1_nl/1/model") and alone["--forgetting"] == "[]"
    assert (alone["--language"], alone["--old_language"]) == ("en", "nl")


@pytest.mark.parametrize(
    "old, new, message",
    [
        ("[nl, de, en]", "[nl, de, nl]", "sequence: nl is there twice; each stage learns a language that no other one"),
        ("[nl, de, en]", "[nl]", "expected two languages or more"),
        ("[nl, de, en]", "nl", "sequence: nl; expected a list"),
        ("en: c}", "fr: c}", "data: en, fr; expected a folder, or one for each language"),
        ("{experiment: hparams/dutch_pretrain.yaml, max_updates: 9}", "model", "si has a first stage of its own"),
        ("{experiment: hparams/dutch_pretrain.yaml, max_updates: 9}", "{max_updates: 9}", "first: .* expected a model"),
        ("[1, 2]", "[1, 1]", "seeds: .1, 1.; expected a list of different"),
        ("alone: True\n", "", "alone; expected the keys"),
        ("    plain:", "    alone:", "alone is the folder of other runs"),
        ("methods:", "methods: [", "expected the YAML file of a sequence's plan"),
    ],
)
def test_a_broken_plan_is_refused_by_name(plan_file, old, new, message):
    plan_file.write_text(PLAN.replace(old, new, 1))
    with pytest.raises(SettingsError, match=message):
        Plan.read(plan_file)


def test_keys_are_checked_before_the_first_run(plan_file, tmp_path):
    plan_file.write_text(PLAN.replace("max_updates: 4", "max_update: 4"))
    with pytest.raises(SettingsError, match="max_update"):
        sequence(plan_file, tmp_path / "out", command=["false"])
    assert not (tmp_path / "out" / "first").exists()


def test_a_model_can_be_the_first_stage(plan_file, tmp_path):
    text = PLAN.replace("{experiment: hparams/dutch_pretrain.yaml, max_updates: 9}", "some/model")
    plan_file.write_text(text.replace(", first: {preset: si}", ""))
    runs = _Runs(Plan.read(plan_file), tmp_path, [])
    assert runs.of_stage(1) == [] and runs.model("plain", 1, 1) == "some/model"
    assert runs.folders("plain", 1)[0] is None


# W[k][i] of two seeds, by hand
ONE = [[10.0], [40.0, 20.0], [70.0, 50.0, 30.0]]


def test_definitions_of_cl_masr_by_hand():
    assert [transfer.average(ONE, k) for k in range(3)] == [10.0, 30.0, 50.0]
    assert math.isnan(transfer.backward(ONE, 0))
    assert [transfer.backward(ONE, k) for k in (1, 2)] == [-30.0, ((10 - 70) + (20 - 50)) / 2]
    assert math.isnan(transfer.forward(ONE, 0, 99.0)) and transfer.forward(ONE, 2, 36.0) == 6.0


def test_definitions_are_cl_masrs_code():
    """Their analyze_logs.py (speechbrain/benchmarks), written out: AWER, BWT of row k, FWT."""
    np = pytest.importorskip("numpy")
    W = np.random.default_rng(2).uniform(0, 100, (4, 4))
    rows = [list(W[k, : k + 1]) for k in range(4)]
    refs = [1.0, 2.0, 3.0]
    for k in range(4):
        assert transfer.average(rows, k) == pytest.approx(W[k, : k + 1].sum() / (k + 1))
        if k:
            assert transfer.backward(rows, k) == pytest.approx(np.diag(W[:k, :k] - W[k, :k]).mean())
            assert transfer.forward(rows, k, refs[k - 1]) == pytest.approx(refs[k - 1] - np.diag(W)[k])


def made(folder, tests, exported="best"):
    """The run folder of a stage; tests: {(language, weights): WER}."""
    import json

    folder.mkdir(parents=True)
    (folder / "as_written.yaml").write_text("seed: 1\nlanguage: de\nold_language: nl\n")
    (folder / "run.json").write_text(json.dumps({"exported": exported}))
    events = [{"event": "test", "language": la, "weights": w, "WER": WER} for (la, w), WER in tests.items()]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(e) + "\n" for e in events))
    return folder


def test_the_table_by_stage_by_hand(tmp_path):
    def seed(n, shift):
        second = {("de", "best"): 99.0, ("de", "average_0.50"): 20 + shift}
        second |= {("nl", "before"): 10 + shift, ("nl", "best"): 99.0, ("nl", "average_0.50"): 40 + shift}
        third = {("en", "best"): 30 + shift, ("de", "best"): 50 + shift, ("nl", "best"): 70 + shift}
        return [None, made(tmp_path / f"a{n}", second, "average_0.50"), made(tmp_path / f"b{n}", third)]

    alone = [
        [made(tmp_path / f"c{n}", {("de", "best"): 25.0}), made(tmp_path / f"d{n}", {("en", "best"): 36.0})]
        for n in (1, 2)
    ]
    table = stages.table(["nl", "de", "en"], {"m": [seed(1, 0.0), seed(2, 2.0)]}, alone)
    rows = list(csv.DictReader(io.StringIO(table.csv())))
    assert [row["stage"] for row in rows] == ["1 nl", "2 de", "3 en"]
    values = [[float(row[c] or "nan") for c in ("nl WER", "de WER", "en WER", *stages.SUMS)] for row in rows]
    nan = math.nan
    assert values[0] == pytest.approx([11, nan, nan, 11, nan, nan], nan_ok=True)
    assert values[1] == pytest.approx([41, 21, nan, 31, -30, 4], nan_ok=True)
    assert values[2] == pytest.approx([71, 51, 31, 51, -45, 5], nan_ok=True)
    assert float(rows[2]["nl WER SD"]) == pytest.approx(math.sqrt(2))
    assert "| m | 3 en | 71.00 ± 1.41 | 51.00 ± 1.41 | 31.00 ± 1.41 |" in table.markdown()
    assert "CL-MASR" in table.markdown() and "Means over seeds" in table.markdown()
    single = stages.table(["nl", "de", "en"], {"m": [seed(3, 0.0)]})
    assert "One seed" in single.markdown() and "not run" in single.markdown()


def test_a_stage_that_did_not_test_a_language_is_named(tmp_path):
    second = made(tmp_path / "a", {("de", "best"): 20.0, ("nl", "before"): 10.0})
    with pytest.raises(ValueError, match="no test of nl with weights best"):
        stages.table(["nl", "de"], {"m": [[None, second]]})
