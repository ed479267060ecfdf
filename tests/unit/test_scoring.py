"""error_rates.py against jiwer over the corpus and kaldialign's bootstrap; the interval by simulation."""

import csv

import jiwer
import kaldialign
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import stats

from carryover.commands import test_sets
from carryover.stats import error_rates
from carryover.text import Normaliser, Verbatim

WORDS = st.sampled_from(["ja", "nee", "één", "een", "hätte", "hatte", "'s", "Straße", "x"])
TEXTS = st.lists(WORDS, max_size=7).map(" ".join)
PAIRS = st.lists(st.tuples(TEXTS, TEXTS), min_size=1, max_size=12)


def row(text, number=0, **values):
    given = {"id": f"u{number}", "audio": f"clips/{number}.wav", "language": "de", "speaker": "anna", "duration": 1.5}
    return given | {"text": text} | values


def scored(pairs, normaliser):
    return [error_rates.score(row(ref, i), hyp, normaliser) for i, (ref, hyp) in enumerate(pairs)]


@given(PAIRS)
def test_rates_are_jiwers_over_the_corpus(pairs):
    refs, hyps = map(list, zip(*pairs, strict=True))
    assume(any(refs))
    found = error_rates.totals(scored(pairs, Verbatim()))
    assert found["WER"] == found["WER_raw"] == pytest.approx(100 * jiwer.wer(refs, hyps), rel=1e-12)
    assert found["CER"] == found["CER_raw"] == pytest.approx(100 * jiwer.cer(refs, hyps), rel=1e-12)
    assert found["words"] == sum(len(ref.split()) for ref in refs)
    assert found["utterances"] == len(pairs)


@given(PAIRS)
def test_normalised_and_raw_side_by_side(pairs):
    refs, hyps = map(list, zip(*pairs, strict=True))
    hyps = [hyp.upper() + "!" if hyp else hyp for hyp in hyps]
    assume(any(refs))
    normalise = Normaliser()
    found = error_rates.totals(scored(list(zip(refs, hyps, strict=True)), normalise))
    expected = jiwer.wer([normalise(r) for r in refs], [normalise(h) for h in hyps])
    assert found["WER"] == pytest.approx(100 * expected, rel=1e-12)
    assert found["WER_raw"] == pytest.approx(100 * jiwer.wer(refs, hyps), rel=1e-12)


def test_errors_by_hand():
    assert error_rates.errors("een twee drie", "een vier drie vijf") == (3, 2, 13, 8)  # t>v w>i e>r, 5 inserted
    assert error_rates.errors("hätte", "hatte") == (1, 1, 5, 1)
    assert error_rates.errors("ja nee", "") == (2, 2, 6, 6)


def test_an_empty_reference_counts_insertions_only():
    assert error_rates.errors("", "") == (0, 0, 0, 0)
    assert error_rates.errors(" \t", "a  bc") == (0, 2, 0, 4)  # "a bc"
    found = error_rates.totals(scored([("", "twee woorden"), ("een twee drie vier", "een twee drie vier")], Verbatim()))
    assert (found["WER"], found["words"], found["errors"]) == (50.0, 4, 2)


def test_a_rate_is_not_the_mean_of_rates():
    """1 error in 1 word and 0 in 9: 10 %, not 50 %."""
    found = error_rates.totals(scored([("a", "b"), ("a b c d e f g h i", "a b c d e f g h i")], Verbatim()))
    assert found["WER"] == pytest.approx(10.0)


def test_normalising_moves_case_and_punctuation_only():
    rows = scored([("’s Ochtends hätte er 3,5 kg.", "'s ochtends hatte er 3,5 kg")], Normaliser())
    found = error_rates.totals(rows)
    assert found["WER"] == pytest.approx(100 / 6)  # hatte
    assert found["WER_raw"] == pytest.approx(400 / 6)  # ’s, Ochtends, hätte, kg.
    assert rows[0]["reference_normalised"] == "'s ochtends hätte er 3,5 kg"
    assert rows[0]["reference"] == "’s Ochtends hätte er 3,5 kg."


def test_nothing_to_score_is_an_error():
    with pytest.raises(ValueError, match="2 utterances without a single reference word"):
        error_rates.totals(scored([("?", "ja"), ("...", "")], Normaliser()))


# ---- the interval ----


def corpus(rng, utterances):
    """Utterances of 4 to 14 words whose error rates scatter around 20 %; its true WER is 20 % by construction."""
    words = rng.integers(4, 15, utterances)
    errors = rng.binomial(words, rng.beta(2, 8, utterances))
    return numbered(zip(words.tolist(), errors.tolist(), strict=True))


def numbered(counts):
    """Predictions in German with these (words, errors), 5 characters a word."""
    return [
        {"id": f"u{i:03}", "language": "de", "speaker": "kerstin", "words": n, "word_errors": k}
        | {"characters": 5 * n, "character_errors": k}
        for i, (n, k) in enumerate(counts)
    ]


def wer(rows):
    return 100 * sum(r["word_errors"] for r in rows) / sum(r["words"] for r in rows)


def test_interval_is_kaldialigns():
    """Theirs is 1.96 standard deviations of the resampled WER, ours BCa: at most 0.2 points apart."""
    rng = np.random.default_rng(11)
    rows, refs, hyps = corpus(rng, 400), [], []
    for r in rows:
        refs.append([f"w{i}" for i in range(r["words"])])
        hyps.append(["?"] * r["word_errors"] + refs[-1][r["word_errors"] :])
    theirs = kaldialign.bootstrap_wer_ci(refs, hyps, replications=10000, seed=1)
    low, high = error_rates.interval(rows).WER
    assert 100 * theirs["wer"] == pytest.approx(wer(rows), abs=0.05)  # the mean of resamples, not the WER itself
    assert low == pytest.approx(100 * theirs["ci95min"], abs=0.2)
    assert high == pytest.approx(100 * theirs["ci95max"], abs=0.2)
    assert 1.5 < high - low < 4.5  # 0.2 is small beside the width: a 90 % or 99 % interval would be seen
    assert low < wer(rows) < high


def test_interval_covers_the_true_rate():
    """Of 200 simulated corpora's intervals 95 % should hold the true 20 %; binomial scatter allows 0.90 to 0.99."""
    rng = np.random.default_rng(5)
    hits = 0
    for _ in range(200):
        low, high = error_rates.interval(corpus(rng, 80), resamples=600).WER
        hits += low <= 20.0 <= high
    assert 0.90 <= hits / 200 <= 0.99


def test_interval_is_decided_by_the_seed():
    rows = corpus(np.random.default_rng(2), 50)
    assert error_rates.interval(rows, resamples=500) == error_rates.interval(rows, resamples=500)
    assert error_rates.interval(rows, resamples=500, seed=1) != error_rates.interval(rows, resamples=500, seed=2)


def test_an_interval_is_the_same_beside_others_and_in_any_order():
    """Sets of one language and size share their resamples; the ids give the order."""
    rng = np.random.default_rng(4)
    sets = [corpus(rng, 40), corpus(rng, 40), corpus(rng, 30), []]
    found = error_rates.intervals([rows[::-1] for rows in sets], resamples=500)
    alone = [error_rates.interval(rows, resamples=500) for rows in sets[:3]]
    assert found[:3] == alone and np.isnan(found[3].WER).all()
    assert found[0] != error_rates.interval([row | {"language": "nl"} for row in sets[0]], resamples=500)


def test_interval_keeps_errors_and_words_of_an_utterance_together():
    """Paired: where every utterance has the same rate, every resample has it, whatever the utterances' lengths."""
    rows = numbered((10 * n, 2 * n) for n in range(1, 30))
    found = error_rates.interval(rows, resamples=500)
    assert (found.WER, found.CER) == (pytest.approx((20.0, 20.0)), pytest.approx((4.0, 4.0)))


def test_interval_is_over_speakers_where_there_are_five():
    """Of equal size: a t interval of their rates, whatever their utterances."""
    rows = numbered([(10, k) for k in (1, 5, 0, 2, 8, 3, 1, 4, 6, 2)])
    for i, row in enumerate(rows):
        row["speaker"] = f"s{i % 5}"
    rates = [100 * sum(r["word_errors"] for r in rows[i::5]) / 20 for i in range(5)]
    found = error_rates.interval(rows)
    ends = stats.t.interval(0.95, 4, np.mean(rates), stats.sem(rates))
    assert found.WER == pytest.approx((max(0, ends[0]), ends[1])) and found.over == "5 speakers"
    assert found.logged() == {"interval": [*found.WER], "interval_CER": [*found.CER], "interval_over": "5 speakers"}


def test_interval_of_too_little():
    assert error_rates.interval(numbered([(9, 0)] * 5)).WER == (0.0, 0.0)
    assert all(np.isnan(error_rates.interval(numbered([(9, 1)])).WER))


# ---- what is written ----


def result(language, weights, WER, interval=(1.0, 2.0)):
    ends = {"interval": interval, "interval_CER": [x / 4 for x in map(float, interval)], "interval_over": "6 speakers"}
    return {"language": language, "weights": weights, "WER": WER, "CER": WER / 4, "words": 120} | ends


def table_rows(table):
    lines = [line for line in table.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_before_after_table():
    table = error_rates.before_after(
        [
            result("de", "before", 98.764, (97.111, 99.999)),
            result("nl", "before", 12.0, [10, 14]),
            result("de", "best", 20.0, (18.0, 22.5)),
            result("nl", "best", 55.5, (50.0, 60.0)),
        ]
    )
    header, german, dutch = table_rows(table)
    heads = [f"{rate} {when} [95 %]" for when in ("before", "after") for rate in ("WER", "CER")]
    assert header == ["test set", "words", *heads]
    before = ["98.76 [97.11, 100.00]", "24.69 [24.28, 25.00]"]
    assert german == ["de", "120", *before, "20.00 [18.00, 22.50]", "5.00 [4.50, 5.62]"]
    before = ["12.00 [10.00, 14.00]", "3.00 [2.50, 3.50]"]
    assert dutch == ["nl", "120", *before, "55.50 [50.00, 60.00]", "13.88 [12.50, 15.00]"]
    assert "of these trained models as they are" in table.splitlines()[-1] and "6 speakers of de" in table


def test_before_after_without_one_of_the_two_and_without_an_interval():
    header, german, dutch = table_rows(
        error_rates.before_after([result("de", "best", 20.0, ["nan", "nan"]), result("nl", "before", 12.0)])
    )  # as metrics.jsonl gives a nan back
    assert german == ["de", "120", "-", "-", "20.00 [nan, nan]", "5.00 [nan, nan]"]
    assert dutch == ["nl", "120", "12.00 [1.00, 2.00]", "3.00 [0.25, 0.50]", "-", "-"]
    assert len(header) == len(german) == len(dutch)


def test_a_language_with_few_speakers_is_marked():
    """The words beneath say what the mark means: it has to be there."""
    results = [result("de", weights, 20.0) | {"interval_over": "120 utterances (1 speaker)"} for weights in
               ("before", "best", "average_0.50")]  # fmt: skip
    table = error_rates.before_after([*results, result("nl", "best", 12.0) | {"interval_over": "6 speakers"}])
    assert [row[0] for row in table_rows(table)] == ["test set", "de †", "de †, average_0.50", "nl"]
    found = {"set": "test_de", "out_of_domain": True, "real_time_factor": 0.1, "utterances": 120}
    found |= {"substitutions": 1, "deletions": 1, "insertions": 1}
    assert "| test_de † (out of domain) | de | 120 |" in test_sets.table([results[1] | found], "x", {})
    alone = result("de", "best", 20.0, ["nan", "nan"]) | found | {"interval": [np.nan] * 2, "interval_over": ""}
    assert "taken over" not in test_sets.table([alone | {"interval_CER": [np.nan] * 2}], "x", {})


def test_predictions_come_back_as_they_were_written(tmp_path):
    pairs = [('Er sagte: "Hätte, wäre",\nund „ging“.', "er sagte hätte, wäre"), ("’s Avonds; één", "s avonds een")]
    rows = scored(pairs, Normaliser())
    error_rates.write_predictions(tmp_path / "predictions_test_de.csv", rows)
    with open(tmp_path / "predictions_test_de.csv", newline="", encoding="utf-8") as file:
        back = list(csv.DictReader(file))
    assert [tuple(r) for r in back] == [error_rates.COLUMNS] * 2
    assert back == [{key: str(value) for key, value in r.items()} for r in rows]
    numbers = [{key: int(r[key]) for key in error_rates.COLUMNS[9:]} for r in back]
    assert error_rates.totals(numbers) == error_rates.totals(rows)


SENTENCE = "the weather in the north will be cold and wet again for the whole of the week. "  # beyond 60 letters


@pytest.mark.parametrize(
    "text, loop",
    [
        ("de de de de de", True), ("ja ja ja ja", True), ("op en neer op en neer op en neer op en neer", True),
        ("hahahahaha", True), ("ja ja ja", False), ("", False), ("het is een mooie dag", False), ("nee nee", False),
        ("een en een is twee", False), ("ja\n" * 5, True), (SENTENCE * 6, True), (SENTENCE * 3, False),
    ],
)  # fmt: skip
def test_loops(text, loop):
    assert error_rates.is_loop(text) is loop


def test_loops_of_a_set_are_the_systems_own():
    pairs = [("ja ja ja ja", "ja ja ja ja ja"), ("goedemorgen", "de de de de de"), ("een dag", "een dag"), ("op", "")]
    assert error_rates.loops(scored(pairs, Normaliser())) == 1
