"""stats/jackknife.py, units.py, rates.py and systems.py against scipy, an analysis of variance and simulation."""

import math

import numpy as np
import pytest
from scipy import stats

from benchmarks import interval_coverage as simulation
from carryover.stats import conditions, jackknife
from carryover.stats.systems import Systems
from carryover.stats.units import units

ONE = ("1",)


def scattered(seed, *shape):
    return np.random.default_rng(seed).integers(0, 9, shape)


# ---- closed forms and references ----


def test_with_equal_words_it_is_a_t_interval():
    """A rate of utterances of 10 words is a mean: the jackknife's variance is s^2 / n, so all is scipy's t-test."""
    errors = scattered(1, 12, 1)
    found, theirs = jackknife.rate(errors, np.full(12, 10), ONE), stats.ttest_1samp(10 * errors[:, 0], 0)
    assert tuple(map(float, found.interval())) == pytest.approx(tuple(theirs.confidence_interval(0.95)))
    assert found.df_units == pytest.approx(11)


def test_leaving_one_out_by_hand():
    """1 of 2, 3 of 4 and 0 of 6 words wrong: 4 / 12; without one of them 3 / 10, 1 / 8 and 4 / 6."""
    found = jackknife.rate(np.array([[1], [3], [0]]), np.array([2, 4, 6]), ONE)
    without = 100 * np.array([3 / 10, 1 / 8, 4 / 6])
    assert found.parts[ONE].change[:, 0] == pytest.approx(100 / 3 - without)
    variance, df = found.variance()
    assert variance == pytest.approx(2 / 3 * ((without - without.mean()) ** 2).sum())
    assert df == pytest.approx(144 / 56 - 1)  # 12^2 / (4 + 16 + 36)
    assert math.isnan(found.p()) and found.seeds == 1


@pytest.mark.parametrize("seeds", [3, 5])
def test_seeds_alone_are_the_t_tests(seeds):
    """Where utterances do not scatter: same seeds give the paired t-test, other ones Welch's."""
    words = np.full(20, 100)
    a, b = (np.tile(scattered(s, seeds), (20, 1)) for s in (2, 3))
    names = tuple(map(str, range(seeds)))
    other = tuple(f"other {s}" for s in names)
    one = jackknife.rate(a, words, names)
    paired, theirs = one - jackknife.rate(b, words, names), stats.ttest_rel(a[0], b[0])
    assert paired.p() == pytest.approx(theirs.pvalue) and paired.variance()[1] == pytest.approx(seeds - 1)
    assert tuple(map(float, paired.interval())) == pytest.approx(tuple(theirs.confidence_interval(0.95)))
    apart, theirs = one - jackknife.rate(b, words, other), stats.ttest_ind(a[0], b[0], equal_var=False)
    assert paired.p_of_seeds() == pytest.approx(paired.p()) and apart.p_of_seeds() == pytest.approx(theirs.pvalue)
    assert apart.p() == pytest.approx(theirs.pvalue) and apart.variance()[1] == pytest.approx(theirs.df)
    assert tuple(map(float, apart.interval())) == pytest.approx(tuple(theirs.confidence_interval(0.95)))


def test_units_and_seeds_are_an_analysis_of_variance():
    """Two crossed random factors without replicates: (MS_u + MS_s - MS_e) / (U S), Satterthwaite's df (Searle 1992)."""
    rng, n, seeds = np.random.default_rng(4), 15, 4
    errors = rng.normal(40, 8, (n, 1)) + rng.normal(0, 4, (1, seeds)) + rng.normal(0, 3, (n, seeds))
    y = errors.astype(float)  # percent: of 100 words
    ms_u = seeds * ((y.mean(1) - y.mean()) ** 2).sum() / (n - 1)
    ms_s = n * ((y.mean(0) - y.mean()) ** 2).sum() / (seeds - 1)
    rest = y - y.mean(1, keepdims=True) - y.mean(0) + y.mean()
    ms_e = (rest**2).sum() / ((n - 1) * (seeds - 1))
    assert ms_s > ms_e  # else the seeds' share of the variance is 0
    squares = ms_u**2 / (n - 1) + ms_s**2 / (seeds - 1) + ms_e**2 / ((n - 1) * (seeds - 1))
    variance, df = jackknife.rate(errors, np.full(n, 100), tuple("abcd")).variance()
    assert variance == pytest.approx((ms_u + ms_s - ms_e) / (n * seeds))
    assert df == pytest.approx((ms_u + ms_s - ms_e) ** 2 / squares)


def test_seeds_that_scatter_less_than_chance_add_nothing():
    """Seeds with the same total: V_s = 0, so the interval is that of the units."""
    errors = np.array([[1, 5, 3], [5, 3, 1], [3, 1, 5], [9, 9, 9], [0, 0, 0], [2, 2, 2]])
    found = jackknife.rate(errors, np.full(6, 10), tuple("abc"))
    one = jackknife.rate(errors.mean(1, keepdims=True), np.full(6, 10), ONE)
    assert found.interval() == pytest.approx(one.interval())
    assert math.isnan(found.p_of_seeds()) and found.seeds == 3 and not math.isnan(found.p())


def test_fewer_than_three_seeds_give_no_p():
    words = np.full(30, 10)
    for seeds in (1, 2):
        found = jackknife.rate(scattered(5, 30, seeds), words, tuple("ab"[:seeds]))
        assert not found.over_seeds and math.isnan(found.p())
        mean = jackknife.rate(scattered(5, 30, seeds).mean(1, keepdims=True), words, ONE)
        assert found.interval() == pytest.approx(mean.interval())  # of the models as they are
    three = jackknife.rate(scattered(6, 30, 3), words, tuple("abc"))
    assert math.isnan((three - found).p()) and not math.isnan(three.p())


def test_nothing_is_certain_without_a_variance():
    words, names = np.full(5, 10), tuple("abc")
    a, b = (jackknife.rate(np.full((5, 3), n), words, names) for n in (1, 2))
    assert (a - a).p() == 1 and math.isnan((a - b).p())
    assert tuple(map(float, (a - b).interval())) == pytest.approx((-10, -10))


def test_a_ratio_is_a_jackknife_of_the_ratio():
    """Linear and by leaving out whole: as good as the same with 200 utterances, 2 % of the width."""
    rng = np.random.default_rng(7)
    words, hard = rng.integers(4, 12, 200), rng.beta(2, 5, 200)
    before, method, plain = (rng.binomial(words, np.minimum(1, k * hard))[:, None] for k in (0.3, 1.0, 1.8))
    a, b, c = (jackknife.rate(errors, words, ONE) for errors in (before, method, plain))
    share = (c - b).over(c - a)

    def whole(rows):
        x, y, z = (errors[rows].sum() for errors in (before, method, plain))
        return (z - y) / (z - x)

    without = np.array([whole(np.arange(200) != i) for i in range(200)])
    half = stats.t.ppf(0.975, share.df_units) * math.sqrt(199 / 200 * ((without - without.mean()) ** 2).sum())
    assert share.value == pytest.approx(whole(np.arange(200)))
    low, high = share.interval()
    assert (high - low) / 2 == pytest.approx(half, rel=0.02) and 0.03 < half < 0.2


def test_a_rate_is_never_below_nothing():
    errors, speakers = np.array([9, 0, 0, 0, 0, 0]), list("abcdef")
    words = np.full(6, 10)
    system = Systems("nl", words, {"a": errors[:, None]}, {"a": ONE}, units(speakers, words))
    assert system.rate("a").low == 0 < system.rate("a").high


# ---- what is independent ----


def test_speakers_from_five_on():
    words = np.full(10, 7)
    for speakers, why in (
        (["anna"] * 10, "1 speaker"),
        ([f"s{i % 4}" for i in range(10)], "4 speakers"),
        ([""] * 10, "no speaker known of 10 of 10 utterances"),
        ([f"s{i}" for i in range(9)] + [""], "no speaker known of 1 of 10 utterances"),
        (["much"] * 6 + list("abcd"), "one of 5 speakers says more than half of the words"),
    ):
        found = units(speakers, words)
        assert (found.by_speaker, found.n, found.why) == (False, 10, why)
        assert found.over == f"10 utterances ({why})" and conditions.mark(found.over) == " †"
        assert found.sums(words).tolist() == words.tolist()
    found = units(list("abcdeabcde"), words)
    assert found.by_speaker and found.over == "5 speakers" and conditions.mark(found.over) == ""
    assert found.sums(np.arange(10)[:, None]).tolist() == [[5], [7], [9], [11], [13]]


def test_speakers_who_are_left_out_whole():
    """Six speakers of several utterances are six units of their sums."""
    errors, words = scattered(8, 30, 3), np.full(30, 10)
    speakers = [f"s{i % 6}" for i in range(30)]
    systems = Systems("nl", words, {"a": errors}, {"a": "123"}, units(speakers, words))
    sums = errors.reshape(5, 6, 3).sum(0)
    whole = jackknife.rate(sums, np.full(6, 50), tuple("123"))
    assert systems.rate("a")[1:3] == pytest.approx(tuple(map(float, whole.interval())))


def test_avoided_forgetting_needs_forgetting():
    """(90 - 50) / (90 - 20) of 40 utterances without scatter; nothing where the baseline forgot nothing for sure."""
    words = np.full(40, 10)
    errors = {name: np.full((40, 1), n) for name, n in (("before", 2), ("plain", 9), ("ewc", 5))}
    errors |= {"noise": scattered(9, 40, 1), "other": scattered(10, 40, 1)}
    systems = Systems("nl", words, errors, dict.fromkeys(errors, ONE), units([""] * 40, words), 50)
    assert systems.avoided("ewc", "plain", "before")[:3] == pytest.approx((400 / 7,) * 3)
    assert math.isnan(systems.avoided("ewc", "noise", "other").value)
    assert math.isnan(systems.avoided("ewc", "plain", "missing").value)


# ---- what is said ----


def test_words_of_the_condition():
    alone = " ".join(conditions.said({"de": "6 speakers", "nl": "430 utterances (1 speaker)"}))
    assert "of these trained models as they are: with fewer than 3 seeds each" in alone
    assert "They are taken over 6 speakers of de; 430 utterances (1 speaker) of nl." in alone
    assert "† over utterances (a rate by BCa bootstrap, 10000 resamples;" in alone and "Over speakers:" in alone
    several = " ".join(conditions.said({"de": "6 speakers"}, {"plain": 3, "mas": 2}))
    assert "Student's t over seeds and test set together" in several and "†" not in several
    assert "With 3 seeds they held the truth in 0.92 to 0.97" in several
    assert "mas: fewer than 3 seeds, so these intervals, and those of differences to them, are of the" in several
    assert "de: fewer than 50 utterances" in " ".join(conditions.said({"de": "49 utterances (1 speaker)"}))
    mixed = " ".join(conditions.said({"de": "6 speakers or 430 utterances (1 speaker)"}))
    assert "fewer than 50 utterances" not in mixed, "6 are speakers"
    assert "† over utterances" in mixed and "Over speakers: Student's t" in mixed
    last = conditions.said({"de": "430 utterances (1 speaker) or 20 utterances (no speaker known of 20 utterances)"})
    assert "de: fewer than 50 utterances" in " ".join(last)


# ---- simulated: benchmarks/interval_coverage.py in short ----

MIDDLE, WIDE = simulation.SETTINGS[2], simulation.SETTINGS[3]


@pytest.mark.parametrize(
    ("design", "scatter"),
    [
        (simulation.Design("", (100,), 1, False), MIDDLE),
        (simulation.Design("", (30,) * 6, 1, True), MIDDLE),
        (simulation.Design("", (200,), 3, False), MIDDLE),
        (simulation.Design("", (30,) * 6, 3, True), MIDDLE),
        (simulation.Design("", (10,) * 20, 5, True, paired=False), MIDDLE),
        (simulation.Design("", (200,), 5, False), WIDE),
    ],
    ids=["utterances", "speakers", "3 seeds", "3 seeds, speakers", "5 seeds, not paired", "5 seeds, wide"],
)
def test_intervals_hold_the_truth(design, scatter):
    """Of 600 corpora of a fixed seed; a share near 0.95 is known to 0.009. The page has 1 000 and more settings."""
    found = simulation.simulate(design, scatter, 600, np.random.default_rng(18))
    for kind in ("rate", "difference", "avoided"):
        assert 0.92 <= getattr(found, kind) <= 0.98, (kind, found)
    assert 0.02 <= found.false <= 0.08, found


def test_the_simulation_tells_good_intervals_from_bad_ones():
    """Resampling three seeds as if they were many, or six voices by their utterances, finds what is not there."""
    rng = np.random.default_rng(19)
    assert simulation.once_used(simulation.Design("", (200,), 3, False), WIDE, 200, rng) > 0.12
    voices = simulation.once_used(simulation.Design("", (30,) * 6, 1, False), simulation.SETTINGS[4], 200, rng)
    assert voices > 0.2


def test_the_simulations_truth_is_what_is_drawn():
    """200 000 utterances of one run against the integral: 4 standard errors."""
    design = simulation.Design("", (1000,), 1, False)
    corpora = simulation.drawn(np.random.default_rng(20), 200, design, MIDDLE)
    rates = 100 * corpora.errors["plain"][..., 0].sum(1) / corpora.words.sum(1)
    real = simulation.truth(simulation.MEAN, design, MIDDLE)
    assert rates.mean() == pytest.approx(real, abs=4 * rates.std() / math.sqrt(200))
    assert simulation.expected(0.0, 1.3) == pytest.approx(50)
