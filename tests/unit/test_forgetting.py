"""carryover/report against closed forms, error_rates.interval and scipy, on run folders made up here."""

import csv
import io
import json
import math

import numpy as np
import pytest
from scipy import stats
from scipy.stats import bootstrap as scipy_bootstrap
from typer.testing import CliRunner

from carryover.commands import app
from carryover.report.figures import curve
from carryover.report.run_folder import Run
from carryover.report.tables import cells, forgetting
from carryover.stats import bootstrap, error_rates
from carryover.stats.significance import holm

WORDS = np.full(50, 10)


def spread(errors, seed=0):
    """50 utterances of 10 words with this many errors in all, at most 10 in one."""
    places = np.random.default_rng(seed).permutation(500)[:errors]
    return np.bincount(places // 10, minlength=50)


def even(percent):
    """50 utterances of 10 words, each with the same rate: every resample of utterances has it."""
    return np.full(50, percent // 10)


def make_run(folder, tests, valid=(), train=({},), seed=1, words=None, speakers=("anna", "ben"), **settings):
    """A run folder. tests: {(language, weights): errors of each utterance}; valid, train: keys of these events."""
    folder.mkdir(parents=True)
    settings = {"language": "de", "old_language": "nl"} | settings
    (folder / "as_written.yaml").write_text(
        "seed: 1\nlanguage: de\nold_language: fr\nbrain: !name:recipes.ctc.CTCBrain\nmodel: !ref results/<seed>/m\n"
    )
    lines = [f"{key}: {value}\n" for key, value in (settings | {"seed": seed}).items()]
    (folder / "overrides.yaml").write_text("".join(lines))
    events = [{"event": "train", "update": 0, "time": 0.0} | t for t in train]
    events += [{"event": "valid", "set": "valid", "update": 0, "time": 0.0} | v for v in valid]
    words = WORDS if words is None else words
    for (language, weights), errors in tests.items():
        total = {"words": int(words.sum()), "errors": int(errors.sum()), "WER": 100 * errors.sum() / words.sum()}
        events.append({"event": "test", "set": f"test_{language}", "language": language, "weights": weights} | total)
        rows = [
            dict.fromkeys(error_rates.COLUMNS, 0)
            | {"id": f"{language}{i}", "speaker": speakers[i % len(speakers)], "words": n, "word_errors": e}
            | {"characters": 5 * n, "character_errors": e}
            for i, (n, e) in enumerate(zip(words, errors, strict=True))
        ]
        error_rates.write_predictions(folder / f"predictions_test_{language}_{weights}.csv", rows)
    (folder / "metrics.jsonl").write_text("".join(json.dumps(e) + "\n" for e in events) + '{"event": "half a li')
    (folder / "results.md").write_text("| |\n")
    return folder


def method(folder, new, old, before=20, **more):
    """A run whose WERs are these, in percent, with the same rate in every utterance."""
    tests = {("de", "best"): even(new), ("nl", "best"): even(old)}
    return make_run(folder, tests | ({("nl", "before"): even(before)} if before is not None else {}), **more)


def scipy_t_interval(values):
    return stats.t.interval(0.95, len(values) - 1, np.mean(values), stats.sem(values))


def by_name(table):
    return {row.method: row for row in table.rows}


# ---- closed forms ----


def test_forgetting_differences_and_transfer_by_hand(tmp_path):
    methods = {
        "plain": [method(tmp_path / "p", new=20, old=90)],
        "ewc": [method(tmp_path / "e", new=30, old=50)],
        "new_only": [method(tmp_path / "n", new=60, old=100)],
    }
    rows = by_name(forgetting.table(methods, resamples=200))
    found = rows["ewc"]
    assert found.new[:3] == (30.0, 30.0, 30.0)
    assert found.old_before[:3] == (20.0, 20.0, 20.0)
    assert found.old[:3] == (50.0, 50.0, 50.0)
    assert found.forgetting[:3] == (30.0, 30.0, 30.0)
    assert rows["plain"].forgetting[:3] == (70.0, 70.0, 70.0)
    assert found.new_to_baseline[:3] == (10.0, 10.0, 10.0)
    assert found.old_to_baseline[:3] == (-40.0, -40.0, -40.0)
    assert found.forward_transfer[:3] == (30.0, 30.0, 30.0)
    assert rows["plain"].forward_transfer[:3] == (40.0, 40.0, 40.0)
    assert found.avoided[:3] == pytest.approx((400 / 7,) * 3)  # 40 of plain's 70 points
    assert found.new_CER[:3] == pytest.approx((6, 6, 6)) and found.new_CER_to_baseline[:3] == pytest.approx((2, 2, 2))
    assert found.forgetting_CER[:3] == pytest.approx((6, 6, 6)) and found.avoided_CER.value == pytest.approx(400 / 7)
    assert math.isnan(found.new_to_baseline.p) and math.isnan(rows["plain"].new_to_baseline.value)


def test_what_was_never_known_is_not_forgotten(tmp_path):
    """new_only has a test before, of random weights; and a comparison needs plain and new_only."""
    rows = by_name(forgetting.table({"new_only": [method(tmp_path / "n", new=60, old=100)]}, resamples=50))
    assert math.isnan(rows["new_only"].forgetting.value) and math.isnan(rows["new_only"].old_before.value)
    assert math.isnan(rows["new_only"].forward_transfer.value)
    table = forgetting.table({"lwf": [method(tmp_path / "l", new=60, old=100, before=None)]}, resamples=50)
    cells = table.markdown().splitlines()[2].split(" | ")
    rates = ["60.00 [60.00, 60.00]", "100.00 [100.00, 100.00]", "12.00 [12.00, 12.00]", "20.00 [20.00, 20.00] |"]
    assert cells == ["| lwf", "1", *rates]  # no column says nothing


def test_identical_systems_differ_by_nothing(tmp_path):
    tests = {("de", "best"): spread(80), ("nl", "best"): spread(200), ("nl", "before"): spread(200)}
    folders = {n: [make_run(tmp_path / n / str(s), tests, seed=s) for s in (1, 2, 3)] for n in ("plain", "ewc")}
    found = by_name(forgetting.table(folders, resamples=500))["ewc"]
    assert found.new_to_baseline == found.old_to_baseline == (0, 0, 0, 1, 1, 1)
    assert found.forgetting[:3] == (0, 0, 0)
    assert found.new.high - found.new.low > 1
    assert cells.points(found.forgetting) == "+0.00 [+0.00, +0.00]"


def test_without_an_old_language(tmp_path):
    folder = make_run(tmp_path / "a", {("de", "best"): spread(100)}, old_language="null")
    table = forgetting.table({"plain": [folder]}, resamples=50)
    assert table.rows[0].new.value == 20 and math.isnan(table.rows[0].old.value)
    assert "old WER" not in table.markdown() and "forgetting [95 %]" not in table.as_table().columns


# ---- intervals ----


def test_interval_is_scorings(tmp_path):
    """Digit for digit: both are of one function and one generator, whatever the order of the rows."""
    rng = np.random.default_rng(3)
    words = rng.integers(4, 15, 300)
    errors = rng.binomial(words, rng.beta(2, 8, 300))
    folder = make_run(tmp_path / "a", {("de", "best"): errors}, old_language="null", words=words)
    found = forgetting.table({"plain": [folder]}).rows[0].new
    with open(folder / "predictions_test_de_best.csv", newline="") as file:
        rows = [row | {k: int(row[k]) for k in error_rates.COUNTED} for row in csv.DictReader(file)]
    known = error_rates.interval(rows)
    assert (found.low, found.high) == known.WER and known == error_rates.interval(rows[::-1])
    assert forgetting.table({"plain": [folder]}).rows[0].new_CER[1:3] == known.CER
    assert known.over == "300 utterances (2 speakers)"
    theirs = scipy_bootstrap(
        (errors, words), lambda e, n, axis: 100 * e.sum(axis) / n.sum(axis), n_resamples=10000, paired=True,
        vectorized=True, batch=500, method="BCa", rng=np.random.default_rng(1),
    ).confidence_interval  # fmt: skip
    assert (found.low, found.high) == pytest.approx((theirs.low, theirs.high), abs=0.12)
    assert found.value == 100 * errors.sum() / words.sum()
    assert 2 < found.high - found.low < 8


def test_difference_is_scipys_paired_bootstrap(tmp_path):
    rng = np.random.default_rng(4)
    words = rng.integers(4, 15, 200)
    hard = rng.beta(2, 8, 200)  # what is hard for one is hard for the other
    a, b = rng.binomial(words, hard), rng.binomial(words, np.minimum(1, 1.3 * hard))
    tests = {"plain": {("de", "best"): a}, "ewc": {("de", "best"): b}}
    folders = {n: [make_run(tmp_path / n, t, old_language="null", words=words)] for n, t in tests.items()}
    found = by_name(forgetting.table(folders))["ewc"].new_to_baseline

    def difference(a, b, words, axis=-1):
        return 100 * (b.sum(axis) - a.sum(axis)) / words.sum(axis)

    theirs = scipy_bootstrap(
        (a, b, words), difference, n_resamples=10000, paired=True, vectorized=True, batch=1000, method="percentile",
        rng=np.random.default_rng(1),
    ).confidence_interval  # fmt: skip
    assert (found.low, found.high) == pytest.approx((theirs.low, theirs.high), abs=0.15)
    unpaired = math.hypot(*(np.std(e) for e in (a, b)))  # would be wider
    assert found.high - found.low < 2 * 1.96 * 100 * unpaired / math.sqrt(200) / words.mean()


def test_seeds_are_three_not_many(tmp_path):
    """10, 20 and 60 %, the same in every utterance: Student's t of them, 30 +- 4.30 * 26.46 / sqrt(3); with two seeds
    the interval is of the two models as they are.
    """
    folders = [method(tmp_path / str(s), new=w, old=w, seed=s) for s, w in ((1, 10), (2, 20), (3, 60))]
    low, high = scipy_t_interval([10, 20, 60])
    found = forgetting.table({"m": folders}, resamples=50)
    assert found.rows[0].new[:3] == pytest.approx((30, max(0, low), high)) and low < 0
    assert "Student's t over seeds and test set together" in found.caption
    found = forgetting.table({"m": folders[:2]}, resamples=50)
    assert found.rows[0].new[:3] == (15, 15, 15) and "with fewer than 3 seeds each" in found.caption


def test_seeds_have_a_mean_and_a_standard_deviation(tmp_path):
    """WERs of 10, 20 and 60 %: mean 30, squared deviations 400 + 100 + 900 over n - 1 = 2."""
    folders = [method(tmp_path / str(s), new=w, old=90, seed=s) for s, w in ((1, 10), (2, 20), (3, 60))]
    one = [method(tmp_path / "one", new=50, old=50)]
    table = forgetting.table({"m": folders, "one": one}, resamples=50)
    rows = {row["method"]: row for row in csv.DictReader(io.StringIO(table.csv()))}
    assert [float(rows["m"][f"{which}_seeds_{what}"]) for which in ("new", "old") for what in ("mean", "sd")] == (
        pytest.approx([30, math.sqrt(700), 90, 0])
    )
    assert float(rows["m"]["new"]) == pytest.approx(30) and rows["one"]["new_seeds_sd"] == ""
    shown = table.as_table()
    at = [shown.columns.index(head) for head in ("de † WER, mean ± SD", "nl † WER after, mean ± SD")]
    assert [[row[i] for i in at] for row in shown.rows] == [["30.00 ± 26.46", "90.00 ± 0.00"], ["-", "-"]]
    assert "their mean and standard deviation (n - 1)" in table.caption
    alone = forgetting.table({"one": one}, resamples=50)
    assert "±" not in alone.markdown()


def test_equal_seeds_are_no_more_data(tmp_path):
    """The utterances are the same for all seeds: three equal runs have the variance of one, by the jackknife."""
    tests = {("de", "best"): spread(100), ("nl", "best"): spread(100), ("nl", "before"): spread(60, 1)}
    three = [make_run(tmp_path / str(s), tests, seed=s) for s in (1, 2, 3)]
    one, all_three = (forgetting.table({"m": folders}).rows[0] for folders in (three[:1], three))
    assert all_three.forgetting[:3] == pytest.approx(one.forgetting[:3])
    width = one.new.high - one.new.low  # a bootstrap's
    assert all_three.new.high - all_three.new.low == pytest.approx(width, rel=0.1)


def test_differences_are_paired_by_seed(tmp_path):
    """The seed moves both methods by up to 40 points, the method by 10 or 20: with the same seeds a paired t-test, with
    other ones Welch's; both are corrected with the ones of the old language, which here have no variance and no p.
    """
    seeds = {1: 10, 2: 50, 3: 30}
    gained = {1: 10, 2: 10, 3: 20}
    plain = [method(tmp_path / f"p{s}", new=w, old=w, seed=s) for s, w in seeds.items()]
    same = [method(tmp_path / f"e{s}", new=w + gained[s], old=w + 10, seed=s) for s, w in seeds.items()]
    other = [method(tmp_path / f"o{s}", new=w + gained[s], old=w, seed=s + 5) for s, w in seeds.items()]
    table = forgetting.table({"plain": plain, "ewc": same, "mas": other}, resamples=50)
    found = by_name(table)
    low, high = scipy_t_interval([10, 10, 20])
    assert found["ewc"].new_to_baseline[:3] == pytest.approx((40 / 3, low, high))
    p = stats.ttest_rel([20, 60, 50], [10, 50, 30]).pvalue
    welch = stats.ttest_ind([20, 60, 50], [10, 50, 30], equal_var=False)
    old = stats.ttest_ind([10, 50, 30], [10, 50, 30], equal_var=False).pvalue
    assert found["ewc"].new_to_baseline.p == pytest.approx(p)
    assert found["mas"].new_to_baseline.p == pytest.approx(welch.pvalue)
    assert found["mas"].new_to_baseline[1:3] == pytest.approx(tuple(welch.confidence_interval(0.95)))
    assert found["mas"].old_to_baseline.p == pytest.approx(old) and math.isnan(found["ewc"].old_to_baseline.p)
    assert found["ewc"].new_to_baseline.p_holm == pytest.approx(3 * p)
    assert "plain 1, 2, 3; mas 6, 7, 8" in forgetting.table({"plain": plain, "mas": other}, resamples=50).caption
    assert "Holm's correction over the 3 comparisons of this table" in table.caption


def test_few_seeds_have_no_p_and_it_is_said(tmp_path):
    plain = [method(tmp_path / f"p{s}", new=20 + 10 * s, old=50, seed=s) for s in (1, 2, 3)]
    ewc = [method(tmp_path / f"e{s}", new=10 * s, old=50, seed=s) for s in (1, 2)]
    table = forgetting.table({"plain": plain, "ewc": ewc}, resamples=50)
    found = by_name(table)["ewc"].new_to_baseline
    assert found[:3] == (-25, -25, -25) and math.isnan(found.p) and "p = " not in table.markdown()
    assert "ewc: fewer than 3 seeds, so these intervals" in table.caption and "Holm" not in table.caption


def test_a_row_does_not_depend_on_the_other_rows(tmp_path):
    tests = {("de", "best"): spread(80), ("nl", "best"): spread(200), ("nl", "before"): spread(90, 1)}
    a, b = [make_run(tmp_path / "a", tests)], [method(tmp_path / "b", new=50, old=50)]
    alone = forgetting.table({"ewc": a}, resamples=300).rows[0]
    beside = by_name(forgetting.table({"replay": b, "ewc": a}, resamples=300))["ewc"]
    assert (alone.new, alone.old, alone.forgetting) == (beside.new, beside.old, beside.forgetting)
    other = forgetting.table({"ewc": a}, resamples=300, seed=2).rows[0]
    assert other.new != alone.new


def test_resamples_are_of_full_size_and_alike_in_all_columns(monkeypatch):
    monkeypatch.setattr(bootstrap, "CHUNK", 70)  # several chunks
    counts = np.stack([np.ones(20), np.arange(20), 3 * np.arange(20)], axis=1)
    sums = bootstrap.resampled_sums(counts, 1000, np.random.default_rng(0))
    assert np.all(sums[:, 0] == 20)
    assert np.all(sums[:, 2] == 3 * sums[:, 1])
    assert sums[:, 1].mean() == pytest.approx(190, abs=3)
    assert sums[:, 1].std() == pytest.approx(math.sqrt(20 * np.var(np.arange(20))), rel=0.1)


# ---- p-values ----


def test_holm_counts_the_rows_shown_in_both_languages(tmp_path):
    def errors(percent, seed):
        return spread(5 * percent + 7 * seed, seed)

    averages = {(language, f"average_{s}"): even(30) for language in ("de", "nl") for s in ("0.25", "0.50")}
    valid = [
        {"language": language, "WER": wer, "weights": f"average_{share}"}
        for language, share, wer in (("de", "0.25", 50), ("nl", "0.25", 20), ("de", "0.50", 22), ("nl", "0.50", 40))
    ]
    folders = {"plain": [], "ewc": []}
    for s in (1, 2, 3):
        tests = {("de", "best"): errors(20, s), ("nl", "best"): errors(80, s), ("nl", "before"): even(20)}
        folders["plain"].append(make_run(tmp_path / f"p{s}", tests | averages, valid, seed=s))
        tests = {("de", "best"): errors(21, 3 * s), ("nl", "best"): errors(50, 2 * s), ("nl", "before"): even(20)}
        folders["ewc"].append(make_run(tmp_path / f"e{s}", tests, seed=s))
    table = forgetting.table(folders, resamples=99)
    rows = by_name(table)
    assert [row.method for row in table.rows if row.shown] == ["plain", "plain + averaging 0.50", "ewc"]
    assert rows["plain + averaging 0.50"].valid == 31 and rows["plain + averaging 0.25"].valid == 35
    compared = [rows[name] for name in ("plain + averaging 0.50", "ewc")]
    of_table = [e for row in compared for e in (row.new_to_baseline, row.old_to_baseline)]
    assert [e.p_holm for e in of_table] == pytest.approx(holm([max(e.p, e.p_seeds) for e in of_table]))  # four, not six
    assert math.isnan(rows["plain + averaging 0.25"].new_to_baseline.p_holm)
    assert rows["plain + averaging 0.50"].forgetting.value == 10
    assert len(list(csv.DictReader(io.StringIO(table.csv())))) == 4
    assert "Holm's correction over the 4 comparisons of this table" in table.caption
    assert len(table.markdown().split("\n\n")[0].splitlines()) == 5

    for event_file in tmp_path.glob("*/metrics.jsonl"):  # without validations nothing can be chosen
        kept = [line for line in event_file.read_text().splitlines(True) if '"valid"' not in line]
        event_file.write_text("".join(kept))
    table = forgetting.table(folders, resamples=50)
    assert all(row.shown for row in table.rows) and "all for plain: no such validation" in table.caption


# ---- costs ----


def test_time_of_an_update_leaves_out_what_is_no_training(tmp_path):
    folder = method(tmp_path / "a", new=20, old=20)
    events = [("test", 0, 5), ("fisher", 0, 50), ("train", 10, 100), ("train", 20, 120), ("valid", 20, 200)]
    events += [("train", 30, 221), ("checkpoint", 30, 221), ("train", 40, 300), ("resume", 30, 300), ("train", 40, 390)]
    events += [("train", 50, 410), ("train", 60, 1000), ("end", 60, 1000)]  # 59 s an update: the machine slept
    lines = [json.dumps({"event": e, "update": u, "time": t}) + "\n" for e, u, t in events]
    (folder / "metrics.jsonl").write_text("".join(lines))
    assert Run(folder).summary.seconds_per_update == pytest.approx(np.median([2, 2.1, 2, 59]))


def test_costs_relative_to_plain(tmp_path):
    def events(seconds, memory, **more):
        return [
            {"update": 10 * i, "time": 10.0 * i * seconds, "peak_memory_bytes": memory + i} | more for i in range(4)
        ]

    ratios = [{"penalty_ratio": 9.0}, {"penalty_ratio": 0.25}]
    folders = {
        "plain": [method(tmp_path / "p", 20, 20, train=events(2.0, 997))],
        "ewc": [
            method(
                tmp_path / f"e{s}", 20, 20, seed=s, train=[*events(3.0 + s, 1997, **ratios[0])[:-1], last | ratios[1]]
            )
            for s in (1, 2)
            for last in events(3.0 + s, 1997)[-1:]
        ],
        "lwf": [method(tmp_path / "l", 20, 20)],
    }
    rows = by_name(forgetting.table(folders, resamples=50))
    assert rows["ewc"].relative_time == pytest.approx(4.5 / 2)
    assert rows["ewc"].relative_memory == pytest.approx(2)
    assert rows["ewc"].penalty_ratio == 0.25
    assert (rows["plain"].relative_time, rows["plain"].relative_memory) == (1, 1)
    assert math.isnan(rows["plain"].penalty_ratio) and math.isnan(rows["lwf"].relative_time)


# ---- what is said, what is refused ----


def test_few_speakers_are_marked(tmp_path):
    folder = method(tmp_path / "a", 20, 20, speakers=("kerstin",))
    table = forgetting.table({"plain": [folder]}, resamples=50)
    assert "de † WER" in table.markdown() and "50 utterances (1 speaker) of de" in table.caption
    for name, speakers, mark in (("b", ("anna", "ben"), True), ("c", ("",), True), ("d", tuple("abcde"), False)):
        table = forgetting.table({"plain": [method(tmp_path / name, 20, 20, speakers=speakers)]}, resamples=50)
        assert ("†" in table.markdown()) == mark
    assert "5 speakers of de; 5 speakers of nl" in table.caption


def test_speakers_are_what_is_independent(tmp_path):
    """Six speakers with 12 words each: one model's WER is a t interval of the six."""
    errors = np.array([1, 4, 2, 6, 3, 9])
    folder = make_run(
        tmp_path / "a", {("de", "best"): np.tile(errors, 2)}, old_language="null", words=np.full(12, 12),
        speakers=tuple("abcdef"),
    )  # fmt: skip
    found = forgetting.table({"plain": [folder]}, resamples=50).rows[0].new
    assert found[1:3] == pytest.approx(scipy_t_interval(100 * errors / 12))


def test_languages_are_those_of_the_overrides(tmp_path):
    assert Run(method(tmp_path / "a", 20, 20)).languages == ("de", "nl")
    (tmp_path / "a" / "overrides.yaml").write_text("")
    assert Run(tmp_path / "a").languages == ("de", "fr")


def test_validation_is_that_of_the_weights_chosen(tmp_path):
    valid = [
        {"language": language, "update": update, "WER": wer}
        for update, new, old in ((10, 50, 30), (20, 40, 35), (30, 40, 60), (40, 45, 70))
        for language, wer in (("de", new), ("nl", old))
    ] + [{"language": "nl", "update": 20, "WER": 12.5, "weights": "average_0.50"}]
    run = Run(method(tmp_path / "a", 20, 20, valid=valid))
    assert (run.validation_WER("de"), run.validation_WER("nl")) == (40, 35)  # the first of two equal ones
    assert run.validation_WER("nl", "average_0.50") == 12.5
    assert math.isnan(run.validation_WER("de", "average_0.50"))


def test_refusals(tmp_path):
    good = method(tmp_path / "good", 20, 20)
    with pytest.raises(FileNotFoundError, match="empty: no as_written.yaml and no metrics.jsonl"):
        forgetting.table({"plain": [tmp_path / "empty"]})
    with pytest.raises(ValueError, match="both of seed 1"):
        forgetting.table({"plain": [good, method(tmp_path / "again", 20, 20)]})
    with pytest.raises(ValueError, match="one pair of languages; found de after nl in .*; de after en in"):
        forgetting.table({"plain": [good], "ewc": [method(tmp_path / "en", 20, 20, old_language="en")]})
    with pytest.raises(ValueError, match="expected a list of run folders"):
        forgetting.table({"plain": good})
    other = method(tmp_path / "other", 20, 20, words=np.r_[9, WORDS[1:]])
    with pytest.raises(ValueError, match="other: its de test set is not that of .*good: 50 .* 1 of them unknown"):
        forgetting.table({"plain": [good], "ewc": [other]})
    mixed = method(tmp_path / "mixed", 20, 20)
    text = (mixed / "metrics.jsonl").read_text().replace('"errors": 100', '"errors": 99')
    (mixed / "metrics.jsonl").write_text(text)
    with pytest.raises(ValueError, match="100 errors in 500 words, but metrics.jsonl says 99 in 500"):
        forgetting.table({"plain": [mixed]})
    (good / "predictions_test_de_best.csv").unlink()
    with pytest.raises(FileNotFoundError, match="predictions_test_de_best.csv: not there"):
        forgetting.table({"plain": [good]})


# ---- curves ----


@pytest.fixture
def sweep_folder(tmp_path):
    """A sweep over lambda of two methods, with plain; the lambda of ewc that is best on validation is 1000."""
    out = tmp_path / "out"
    cells = {
        "preset=ewc,lambda=1e2": (20, 80, 25, 60), "preset=ewc,lambda=1e3": (30, 60, 30, 50),
        "preset=ewc,lambda=1e4": (40, 40, 50, 45), "preset=l2sp,lambda=0.5": (40, 50, 50, 50),
        "preset=l2sp,lambda=10": (60, 30, 50, 48), "preset=plain": (20, 90, 20, 90), "preset=ewc": (30, 60, 30, 50),
    }  # fmt: skip
    for cell, (new, old, valid_new, valid_old) in cells.items():
        valid = [{"language": "de", "WER": valid_new}, {"language": "nl", "WER": valid_old}]
        method(out / cell / "1", new, old, valid=valid)
    (out / "preset=plain" / "2").mkdir()  # a run that is going on
    (out / "preset=plain" / "1.log").write_text("")
    return out


def test_curve_from_a_sweep(sweep_folder):
    lines, points, key, unfinished = curve.find([sweep_folder])
    assert {name: sorted(line) for name, line in lines.items()} == {"ewc": [100, 1000, 10000], "l2sp": [0.5, 10]}
    assert points == {"plain": [sweep_folder / "preset=plain" / "1"]} and key == "lambda"
    assert unfinished == [sweep_folder / "preset=plain" / "2"]
    found = curve.curves(lines, points, key, resamples=50)
    assert [(p.method, p.value, p.forgetting.value, p.new.value, p.chosen) for p in found.points] == [
        ("ewc", 100, 60, 20, False), ("ewc", 1000, 40, 30, True), ("ewc", 10000, 20, 40, False),
        ("l2sp", 0.5, 30, 40, False), ("l2sp", 10, 10, 60, True), ("plain", None, 70, 20, False),
    ]  # fmt: skip
    assert "| de † WER test [95 %] | nl † WER test [95 %] |" in found.markdown().splitlines()[0], "two speakers"
    row = found.markdown().splitlines()[3]
    assert row.startswith("| ewc | **1000** | 1 | 30.00 | 50.00 | 40.00 | 30.00 [30.00, 30.00] | 60.00 [60.00, 60.00]")


def test_figure(sweep_folder, tmp_path):
    lines, points, key, _ = curve.find([sweep_folder])
    found = curve.curves(lines, points, key, resamples=50)
    svg, pdf, png, numbers = curve.figure(found, tmp_path / "figures" / "curve.svg")
    assert (png.name, svg.name, pdf.name) == ("curve.png", "curve.svg", "curve.pdf") and png.stat().st_size > 5000
    rows = list(csv.DictReader(io.StringIO(numbers.read_text())))
    assert numbers == svg.with_suffix(".csv") and len(rows) == len(found.points)
    assert [(float(r["forgetting"]), float(r["new_WER"])) for r in rows[:2]] == [(60, 20), (40, 30)]
    text = svg.read_text()
    for label in ("100", "1e3", "1e4", "0.5", "10", "EWC", "L2-SP", "plain", "German WER (%)"):
        assert f"<!-- {label} -->" in text, label
    result = CliRunner().invoke(app.app, ["curve", str(sweep_folder), "--figure", str(tmp_path / "again")])
    assert "| ewc | **1000** | 1 | 30.00 | 50.00" in result.output, result.output
    assert "not finished: " in result.output and "again.csv" in result.output
    # the rates are the same in all utterances, so 10 000 resamples draw what 50 do
    assert (tmp_path / "again.svg").read_text() == text


def test_curve_refusals(sweep_folder, tmp_path):
    with pytest.raises(FileNotFoundError, match="no folders like preset=ewc,lambda=1e3"):
        curve.find([tmp_path])
    (tmp_path / "b" / "preset=ewc,share=0.1" / "1").mkdir(parents=True)
    with pytest.raises(ValueError, match="over one number; found .*lambda in .*, share in"):
        curve.find([sweep_folder, tmp_path / "b"])
    (tmp_path / "c" / "preset=ewc,lr=big").mkdir(parents=True)
    with pytest.raises(ValueError, match="preset=ewc,lr=big: expected a cell"):
        curve.find([tmp_path / "c"])
    run = make_run(tmp_path / "d", {("de", "best"): spread(9)}, old_language="null")
    with pytest.raises(ValueError, match="no old_language"):
        curve.curves({"ewc": {1.0: [run]}}, resamples=50)
