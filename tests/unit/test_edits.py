"""Counts of substituted, deleted and inserted words against examples one can count by hand, and against the WER's."""

import numpy as np
import pytest

from carryover.models import usual_rates
from carryover.stats import error_rates
from carryover.stats.edits import edits
from carryover.text import Normaliser


def rows(*pairs):
    made = {"id": "", "audio": "", "language": "nl", "speaker": "", "duration": 1.0}
    return [error_rates.score(made | {"text": ref}, hyp, Normaliser()) for ref, hyp in pairs]


@pytest.mark.parametrize("pairs, wanted", [
    ([("een twee drie", "een drie")], (0, 1, 0)),
    ([("een twee drie", "een twee en drie")], (0, 0, 1)),
    ([("een twee drie", "een zes drie"), ("vier", "")], (1, 1, 0)),
    ([("", "wat een ruis"), ("vier", "vier vier")], (0, 0, 4)),
    ([("Een twee!", "een, twee")], (0, 0, 0)),
    ([], (0, 0, 0)),
])  # fmt: skip
def test_counts_by_hand(pairs, wanted):
    assert tuple(edits(rows(*pairs)).values()) == wanted


def test_they_sum_to_the_errors_of_the_wer():
    chance, words = np.random.default_rng(0), "een twee drie vier vijf".split()
    said = [
        (" ".join(chance.choice(words, n + 1)), " ".join(chance.choice(words, n))) for n in chance.integers(0, 9, 200)
    ]
    scored = rows(*said)
    assert sum(edits(scored).values()) == error_rates.totals(scored)["errors"]


@pytest.mark.parametrize(
    "parameters, peak", [(39e6, 1.5e-3), (74e6, 1e-3), (244e6, 5e-4), (769e6, 2.5e-4), (1550e6, 1.75e-4)]
)
def test_whispers_usual_rate_is_a_40th_of_its_pretraining(parameters, peak):
    assert usual_rates.whisper(parameters) == pytest.approx(peak / 40, rel=0.16)
