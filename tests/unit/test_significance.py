"""stats/significance.py and bootstrap.py: by hand, against scipy, kaldialign and NIST's sc_stats, and simulated.

Tolerances of resampled numbers are in Monte-Carlo standard errors. The 2.5 % point of R resamples with standard
deviation s is known to sqrt(0.025 * 0.975 / R) / 0.0584 * s, which is 0.027 s for R = 10 000; that of the difference
of two such points is 0.038 s. Four of these are 0.15 s.
"""

import math
import random

import kaldialign
import numpy as np
import pytest
from scipy import stats

from carryover.stats import bootstrap, jackknife, significance


def corpora(rng, utterances, sets, alpha=0.65, beta=4.72, harder=1.0):
    """Words of each utterance and two systems' errors, each (utterances, sets).

    Errors are beta-binomial. The default shape is a maximum-likelihood fit of a run: dutch_pretrain.yaml's test of 430
    utterances at 11.9 % WER. What is hard for one system is hard for the other; the second one's chance of an error
    is `harder` times the first one's. True WERs: 100 alpha / (alpha + beta), and `harder` times that.
    """
    words = rng.integers(3, 20, (utterances, sets))
    chance = rng.beta(alpha, beta, (utterances, sets))
    return words, rng.binomial(words, chance), rng.binomial(words, np.minimum(1, harder * chance))


def noisy(words, rate, chance, mark):
    """Words with substitutions, deletions and insertions; wrong ones are `mark` and a number."""
    out = []
    for word in words:
        u = chance.random()
        out += [] if u < 0.3 * rate else [f"{mark}{len(out)}"] if u < rate else [word]
        if chance.random() < 0.3 * rate:
            out.append(f"{mark}{len(out)}")
    return " ".join(out)


def transcripts(repeated):
    """120 references and two systems' hypotheses: with every word once, or with words that come again."""
    chance = random.Random(1989)  # random() alone gives the same numbers in every version of Python
    texts = []
    for _ in range(120):
        words = [f"w{int(30 * chance.random())}" if repeated else f"w{i}" for i in range(2 + int(12 * chance.random()))]
        a, b = ("w", "w") if repeated else ("a", "b")
        texts.append((" ".join(words), noisy(words, 0.15, chance, a), noisy(words, 0.25, chance, b)))
    return list(map(list, zip(*texts, strict=True)))


# ---- MAPSSWE ----


@pytest.mark.parametrize(
    ("reference", "a", "b", "expected"),
    [
        ("a b c d e f", "a b c d e f", "a b c d e f", []),  # no error, no segment
        ("a b c d e f", "a x c d e f", "a b c d x f", [[1, 0], [0, 1]]),  # c d are right in both
        ("a b c d e f", "a x c d e f", "a b c x e f", [[1, 1]]),  # c alone does not bound
        ("a b c d e f", "x x c d e f", "x b d e f", [[2, 2]]),  # x and b or c: one stretch
        ("a b c d e f", "x b c d e", "x b c d e f", [[1, 1], [1, 0]]),  # at both ends
        ("a b c d e f", "a x c d e f", "a b c y d e f", [[1, 1]]),  # an insertion between c and d parts them
        ("a b c d e f", "a x c d y e f", "a b c d e f", [[1, 0], [1, 0]]),  # one after c d does not
        ("a b", "a b x", "a b", [[1, 0]]),  # an insertion at the end, of one system
        ("a b", "", "a b x y", [[2, 2]]),
        ("", "", "x y", [[0, 2]]),  # a reference without words
        ("", "", "", []),
    ],
)
def test_segments_by_hand(reference, a, b, expected):
    assert significance.segments([reference], [a], [b]).tolist() == expected
    assert significance.segments([reference], [b], [a]).tolist() == [pair[::-1] for pair in expected]


def test_segments_do_not_cross_utterances():
    refs, a, b = ["a b c", "", "d e f"], ["a b x", "z", "d e f"], ["a b c", "", "x e f"]
    assert significance.segments(refs, a, b).tolist() == [[1, 0], [1, 0], [0, 1]]


def test_errors_of_segments_are_those_of_the_wer():
    refs, a, b = transcripts(repeated=True)
    found = significance.segments(refs, a, b).sum(axis=0)
    distances = [
        sum(kaldialign.edit_distance(r.split(), h.split())["total"] for r, h in zip(refs, hyps, strict=True))
        for hyps in (a, b)
    ]
    assert found.tolist() == distances


def test_mapsswe_by_hand():
    """Differences 1, 1, 1, -1: mean 1/2, variance (3 * 1/4 + 9/4) / 3 = 1, z = 1/2 / (1 / sqrt(4)) = 1."""
    found = significance.mapsswe(np.array([[1, 0], [2, 1], [1, 0], [0, 1]]))
    assert found.statistic == pytest.approx(1)
    assert found.p == pytest.approx(math.erfc(1 / math.sqrt(2)))  # 0.3173
    assert found.n == 4 and found.warning == "4 segments; the normal distribution needs 30"
    many = significance.mapsswe(np.tile([[1, 0], [2, 1], [1, 0], [0, 1]], (9, 1)))
    assert many.statistic == pytest.approx(0.5 / (math.sqrt(27 / 35) / 6))  # 9 times: variance 27 / 35
    assert many.n == 36 and not many.warning and many.method.startswith("MAPSSWE")


def test_mapsswe_without_a_variance():
    assert significance.mapsswe(np.zeros((0, 2), int))[1:4] == (0.0, 1.0, 0)
    assert significance.mapsswe(np.ones((40, 2), int))[1:5] == (0.0, 1.0, 40, "")
    for n in (1, 40):
        found = significance.mapsswe(np.tile([[2, 1]], (n, 1)))
        assert math.isnan(found.p) and found.warning == f"all {n} segments differ by 1: no variance"


def test_mapsswe_is_sc_stats():
    """Numbers of Debian's sctk 2.4.10-20151007-1312Z (sclite 2.10, sc_stats 1.3), of `transcripts` as .trn files:

    sclite -r ref.trn trn -h a.trn trn a -i spu_id -o sgml; the same for b;
    cat a.trn.sgml b.trn.sgml | sc_stats -p -t mapsswe -v -n -

    Where every word of a reference comes once, alignments leave no choice for a segment, and all printed digits agree.
    Where words come again, sclite and jiwer choose other alignments with as many errors: 168 segments against 169.
    """
    errors = significance.segments(*transcripts(repeated=False))
    difference = errors[:, 0] - errors[:, 1]
    assert (len(errors), *errors.sum(axis=0)) == (189, 188, 270)
    assert (difference.mean().round(3), difference.std(ddof=1).round(3)) == (-0.434, 1.385)
    assert round(significance.mapsswe(errors).statistic, 3) == -4.308

    errors = significance.segments(*transcripts(repeated=True))
    assert errors.sum(axis=0).tolist() == [129, 252]
    assert abs(len(errors) - 168) <= 1
    assert significance.mapsswe(errors).statistic == pytest.approx(-8.035, abs=0.1)


# ---- over utterances ----


def test_randomisation_by_hand():
    """1, 2 and 3 errors more: of 8 ways to take sides 2 differ by 6, 1/4. With -1, 2, 3: 4 or more in 4 of 8."""
    rng = np.random.default_rng(0)
    found = significance.approximate_randomisation(np.array([1, 2, 3]), np.zeros(3, int), rng, unit="speakers")
    assert found[1:] == (6, 0.25, 3, "", 0) and found.method == "randomisation over speakers, all 8 ways to take sides"
    found = significance.approximate_randomisation(np.array([0, 2, 3]), np.array([1, 0, 0]), rng)
    assert found.p == 0.5
    assert significance.approximate_randomisation(np.ones(9, int), np.ones(9, int), rng).p == 1
    six = significance.approximate_randomisation(np.arange(1, 7), np.zeros(6, int), rng)
    assert six.p == 2 / 64  # the smallest that six speakers can give
    clear = significance.approximate_randomisation(np.ones(99, int), np.zeros(99, int), rng, 999)
    assert clear.p == 1 / 1000 and clear.resolution == 2 / 1000  # never 0


def test_randomisation_is_scipys_permutation_test():
    """All 2^12 ways are the same number; 2^13 and more are drawn at random, known to 4 Monte-Carlo standard errors."""
    rng = np.random.default_rng(2)
    _, some, others = (column[:, 0] for column in corpora(rng, 300, 1, 2, 6, harder=1.1))
    few = np.array([3, 0, 2, 1, 4, 0, 1, 2, 0, 1, 5]), np.array([1, 1, 2, 0, 1, 0, 2, 1, 0, 0, 3])
    for a, b, resamples in ((*few, np.inf), (np.tile(few[0], 2), np.tile(few[1], 2), 20_000), (some, others, 20_000)):
        theirs = stats.permutation_test(
            (a, b), lambda x, y, axis: (x - y).sum(axis), permutation_type="samples", vectorized=True,
            n_resamples=resamples, batch=1000, rng=rng,
        ).pvalue  # fmt: skip
        ours = significance.approximate_randomisation(a, b, rng, 20_000).p
        assert 0.005 < theirs < 0.9
        exact = resamples == np.inf
        assert ours == pytest.approx(theirs, abs=0 if exact else 4 * math.sqrt(2 * theirs * (1 - theirs) / 20_000))


def test_randomisation_agrees_with_a_t_test_where_both_hold():
    """A large test set and a middling difference: p-values of one question, 0.02 apart at most."""
    _, a, b = (column[:, 0] for column in corpora(np.random.default_rng(9), 1500, 1, 2, 8, harder=1.02))
    normal = stats.ttest_1samp(a - b, 0).pvalue
    assert 0.01 < normal < 0.4
    ours = significance.approximate_randomisation(a, b, np.random.default_rng(1)).p
    assert ours == pytest.approx(normal, abs=0.02)


def test_holm_by_hand():
    """Sorted 0.005, 0.01, 0.03, 0.04 times 4, 3, 2, 1 is 0.02, 0.03, 0.06, 0.04, and the last may not fall."""
    assert significance.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert significance.holm([0.6, 0.7]) == [1.0, 1.0]
    assert significance.holm([0.2]) == [0.2] and significance.holm([]) == []


# ---- bootstrap.py ----


def bca_of(errors, words, resamples, seed):
    """(interval, resampled rates) of our code."""
    counts = np.stack([errors, words], axis=1).astype(float)
    sums = bootstrap.resampled_sums(counts, resamples, np.random.default_rng(seed))
    rate = jackknife.rate(errors[:, None], words, ("",))
    samples = 100 * sums[:, 0] / sums[:, 1]
    return bootstrap.bca(float(rate.value), samples, rate.parts[("",)].change[:, 0]), samples


@pytest.mark.parametrize(("utterances", "seed"), [(300, 21), (14, 23)])
def test_interval_is_scipys(utterances, seed):
    """BCa with scipy's jackknife; in the small set bias and skewness move an end by more than the tolerance."""
    words, errors, _ = (column[:, 0] for column in corpora(np.random.default_rng(seed), utterances, 1))
    ours, samples = bca_of(errors, words, 40_000, 1)
    theirs = stats.bootstrap(
        (errors, words), lambda e, w, axis: 100 * e.sum(axis) / w.sum(axis), n_resamples=40_000, paired=True,
        vectorized=True, batch=1000, method="BCa", rng=np.random.default_rng(2),
    )  # fmt: skip
    tolerance = 0.15 / 2 * samples.std()
    assert ours == pytest.approx(tuple(theirs.confidence_interval), abs=tolerance)
    assert samples.std() == pytest.approx(theirs.standard_error, rel=4 / math.sqrt(40_000))
    if utterances < 50:
        assert max(abs(np.array(ours) - np.percentile(samples, [2.5, 97.5]))) > 2 * tolerance


def test_interval_of_what_does_not_scatter():
    assert bca_of(np.full(9, 2), np.full(9, 10), 99, 0)[0] == (20, 20)
    assert bca_of(np.zeros(9, int), np.full(9, 10), 99, 0)[0] == (0, 0)


def test_resamples_are_kaldialigns():
    """Its interval is the mean of the resampled WERs and 1.96 of their standard deviations on both sides."""
    refs, a, b = ([text.split() for text in texts] for texts in transcripts(repeated=False))
    chosen = slice(0, 20)
    theirs = kaldialign.bootstrap_wer_ci(refs[chosen], b[chosen], a[chosen], replications=10_000, seed=3)
    counts = [
        (len(r), *(kaldialign.edit_distance(r, h)["total"] for h in hyps))
        for r, *hyps in zip(refs[chosen], a[chosen], b[chosen], strict=True)
    ]
    sums = bootstrap.resampled_sums(np.array(counts, dtype=float), 10_000, np.random.default_rng(4))
    for column, name in ((2, "system1"), (1, "system2")):
        rates = sums[:, column] / sums[:, 0]
        assert rates.mean() == pytest.approx(theirs[name]["wer"], abs=4 * rates.std() * math.sqrt(2 / 10_000))
        assert 1.96 * rates.std() == pytest.approx(theirs[name]["ci95"], rel=4 / math.sqrt(10_000))
    better = np.mean(sums[:, 1] < sums[:, 2])
    assert better == pytest.approx(theirs["p_s2_improv_over_s1"], abs=4 * math.sqrt(2 * better * (1 - better) / 10_000))
    assert 0.7 < better < 0.99


# ---- simulated ----


def test_equal_systems_differ_significantly_in_five_of_a_hundred():
    """Of 1 000 corpora; a share near 0.05 is known to 0.007."""
    rng = np.random.default_rng(1002)
    _, a, b = corpora(rng, 200, 1000)
    p = np.array([significance.approximate_randomisation(a[:, i], b[:, i], rng, 999).p for i in range(1000)])
    assert 0.03 <= np.mean(p <= 0.05) <= 0.07
    assert 0.46 <= p.mean() <= 0.56  # uniform, with a little more for ties


# ---- seeds ----


def test_over_seeds_by_hand():
    assert significance.over_seeds([10, 12, 17])[1:] == pytest.approx((13, math.sqrt((9 + 1 + 16) / 2), 3))
    one = significance.over_seeds([10])
    assert one.mean == 10 and math.isnan(one.sd) and one.n == 1 and "standard deviation" in one.method
    with pytest.raises(ValueError, match="no value"):
        significance.over_seeds([])
