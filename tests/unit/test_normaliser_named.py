"""Every table of rates says under which normaliser, of which version, they were scored."""

import json

import pytest

from carryover.commands import fusion
from carryover.report import compare, find_runs
from carryover.report.figures import curve
from carryover.report.normalisers import normalised
from carryover.report.tables import forgetting, main, stages
from tests.unit import made_runs

BY = "normalised by carryover-9"


@pytest.fixture
def runs(tmp_path):
    found = []
    for name in ("plain", "ewc"):
        run = made_runs.make(tmp_path / name / "1", tests={
            ("de", "best"): made_runs.GERMAN, ("nl", "before"): made_runs.DUTCH, ("nl", "best"): made_runs.DUTCH_AFTER,
        })  # fmt: skip
        (run / "run.json").write_text(json.dumps(made_runs.INFO | {"normaliser": "carryover-9"}))
        found.append(run)
    return found


def test_tables_of_methods_over_lambda_and_of_stages(runs):
    table = forgetting.table({"plain": [runs[0]], "ewc": [runs[1]]})
    assert BY in table.markdown() and BY in main.main(table, "2 runs.").markdown()
    assert BY in curve.curves({"ewc": {1.0: [runs[1]]}}, {"plain": [runs[0]]}).markdown()
    assert BY in stages.table(["nl", "de"], {"plain": [[None, runs[0]]]}).markdown()


def test_a_comparison(runs):
    assert BY in compare.compare(*runs).markdown()


def test_decoding_with_a_language_model():
    rates = {"WER": 10.0, "CER": 5.0, "interval": [9.0, 11.0], "interval_CER": [4.0, 6.0], "words": 9}
    found = {"valid": {"ngram": rates, "greedy": rates, "utterances": 3}, "test": {"ngram": rates, "greedy": rates}}
    found |= {"order": 3, "beams": 8, "alpha": 0.5, "beta": 1.0, "grid": [1], "words": 4, "sentences": 2}
    assert BY in fusion.table(found | {"test_words_unknown": 1, "normaliser": "carryover-9"})


def test_several_and_none(runs):
    summaries = find_runs.load([run.parent for run in runs])
    summaries[0].info["normaliser"] = "whisper"
    assert normalised(summaries) == "normalised by carryover-9 and whisper"
    for summary in summaries:
        summary.info.pop("normaliser"), summary.objects.pop("normaliser")
    assert normalised(summaries) == "normalised"
