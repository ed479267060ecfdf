"""Is one system better than another, beyond the bootstrap over utterances: each answer names its method.

All tests are two-sided, of the hypothesis that two systems that were scored on the same utterances make equally many
word errors; a difference is a's errors minus b's. They differ in what they take as independent: segments between words
that both have right (MAPSSWE), utterances (approximate randomisation), or speakers.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import jiwer
import numpy as np
from scipy import stats

from carryover.stats import bootstrap

GOOD_WORDS = 2  # that bound a segment: sc_stats' default
FEW_SEGMENTS = 30  # below, the mean difference of a segment is no normal variable yet
# Below, a percentile interval over speakers is much too narrow. Simulated, with WERs of 12 % that scatter by 10 points
# between speakers: that of 4, 6, 10, 20, 100 speakers holds the true WER in 76, 85, 88, 91, 94 % of cases; one over
# their utterances in 39, 45, 46, 59, 72 %.
FEW_SPEAKERS = 10


class Test(NamedTuple):
    """A two-sided test. `method` can stand beneath a table; `warning` is empty where there is nothing to warn of.

    `n` counts what the test takes as independent (segments or utterances).
    """

    method: str
    statistic: float
    p: float
    n: int
    warning: str = ""


class Interval(NamedTuple):
    """A value with its 95 % interval, nan where it cannot be taken; `n` counts what was resampled."""

    method: str
    value: float
    low: float
    high: float
    n: int
    warning: str = ""


class Spread(NamedTuple):
    """Mean and standard deviation of n values; the latter is nan for one value."""

    method: str
    mean: float
    sd: float
    n: int


def word_errors(references: Sequence[str], hypotheses: Sequence[str]) -> list[np.ndarray]:
    """Errors of each utterance by their place, from jiwer's alignment: the one that the WER counts.

    Returns
    -------
    places : list of int array, each of shape (2 * words + 1,)
        Insertions before word 1, 1 if word 1 is substituted or deleted, insertions before word 2, ..., insertions at
        the end. An utterance without a reference word is all insertions.
    """
    places = [np.array([len(hypothesis.split())]) for hypothesis in hypotheses]
    spoken = [i for i, reference in enumerate(references) if reference.split()]
    if not spoken:
        return places
    aligned = jiwer.process_words([references[i] for i in spoken], [hypotheses[i] for i in spoken])
    for i, words, chunks in zip(spoken, aligned.references, aligned.alignments, strict=True):
        places[i] = np.zeros(2 * len(words) + 1, dtype=int)
        for chunk in chunks:
            if chunk.type == "insert":
                places[i][2 * chunk.ref_start_idx] += chunk.hyp_end_idx - chunk.hyp_start_idx
            elif chunk.type != "equal":
                places[i][2 * chunk.ref_start_idx + 1 : 2 * chunk.ref_end_idx : 2] = 1
    return places


def segments(references: Sequence[str], a: Sequence[str], b: Sequence[str]) -> np.ndarray:
    """Errors of two systems in each segment between words that both have right.

    A segment begins with the first error of either system and ends where GOOD_WORDS reference words in a row are right
    in both, with no insertion of either between them; or with the utterance. Fewer right words stay within. What holds
    no error is no segment. This is the rule of NIST's sc_stats (mtchprs.c): from sclite's alignments the same segments
    and digits came out in 40 of 40 simulated tests of 150 utterances. sclite's alignment costs 4 for a substitution, 3
    for an insertion or deletion; jiwer's costs 1 each and is taken here, so that the segments' errors add up to those
    of the WER. Of equally good alignments the two choose others now and then: in those 40 tests of some 200 segments
    there were at most 4 segments more or less, and z was off by 0.003 in the median, by 0.05 at most.

    Parameters
    ----------
    references, a, b : list of str
        Words separated by spaces, as they were scored.

    Returns
    -------
    errors : int array, shape (segments, 2)
    """
    found = []
    for pair in zip(word_errors(references, a), word_errors(references, b), strict=True):
        errors, good = np.zeros(2, dtype=int), 0
        for place, here in enumerate(np.stack(pair, axis=1)):
            if here.any():
                errors, good = errors + here, 0
            elif place % 2:  # a word; a gap without insertions says nothing
                good += 1
                if good == GOOD_WORDS and errors.any():
                    found.append(errors)
                    errors = np.zeros(2, dtype=int)
        if errors.any():
            found.append(errors)
    return np.array(found, dtype=int).reshape(-1, 2)


def mapsswe(errors: np.ndarray) -> Test:
    """Matched pairs sentence-segment word error test (Gillick and Cox 1989).

    z = mean(d) / (sd(d) / sqrt(n)) of the differences d of n segments, sd with n - 1; p by the normal distribution.

    Where all segments differ by the same d != 0 there is no variance to hold it against: p is nan and the warning says
    so. (sc_stats then prints z = 0, no difference.)

    Parameters
    ----------
    errors : int array, shape (segments, 2)
        Of `segments`.
    """
    method = "MAPSSWE (matched pairs sentence-segment word error test, two-sided, normal distribution)"
    differences = errors[:, 0] - errors[:, 1]
    n = len(differences)
    warning = f"{n} segments; the normal distribution needs {FEW_SEGMENTS}" if n < FEW_SEGMENTS else ""
    if not differences.any():
        return Test(method, 0.0, 1.0, n, warning)
    if (differences == differences[0]).all():
        return Test(method, math.nan, math.nan, n, f"all {n} segments differ by {differences[0]}: no variance")
    z = float(differences.mean() / (differences.std(ddof=1) / math.sqrt(n)))
    return Test(method, z, float(2 * stats.norm.sf(abs(z))), n, warning)


def approximate_randomisation(
    a: np.ndarray, b: np.ndarray, rng: np.random.Generator, resamples: int = bootstrap.RESAMPLES
) -> Test:
    """Approximate randomisation over utterances (Noreen 1989; Riezler and Maxwell 2005).

    If the systems are alike, each utterance's two outputs may change sides. p = (1 + c) / (1 + resamples), where c
    resamples with random sides differ by at least as much as was observed. Reference words are the same on both sides,
    so a difference of errors is a difference of WER.

    Parameters
    ----------
    a, b : int array, shape (utterances,)
        Word errors.
    """
    method = f"approximate randomisation over utterances, {resamples} resamples"
    differences = np.asarray(a) - np.asarray(b)
    observed = int(differences.sum())
    # of m utterances that differ by d, Binomial(m, 1/2) keep their side: as good as one coin an utterance, and 60 ms
    # instead of 9 s for 16 000 utterances
    size, count = np.unique(np.abs(differences[differences != 0]), return_counts=True)
    sums = (2 * rng.binomial(count, 0.5, (resamples, len(count))) - count) @ size
    extreme = int(np.count_nonzero(np.abs(sums) >= abs(observed)))
    return Test(method, float(observed), (1 + extreme) / (1 + resamples), len(differences))


def speaker_bootstrap(
    errors: np.ndarray,
    words: np.ndarray,
    speakers: Sequence[str],
    rng: np.random.Generator,
    resamples: int = bootstrap.RESAMPLES,
) -> Interval:
    """100 * sum(errors) / sum(words) with a 95 % percentile interval, whole speakers resampled (cluster bootstrap).

    Utterances of a speaker are not independent, so an interval over utterances speaks for these speakers only; this one
    speaks for others as well, if there are enough of them.

    Parameters
    ----------
    errors : array, shape (utterances,)
        Word errors of a system, for a WER in percent; or a difference of two systems' errors, for points.
    words : array, shape (utterances,)
        Reference words.
    speakers : list of str
        Speaker of each utterance, "" where unknown: then, and with a single speaker, the interval is nan and the
        warning says why.
    """
    method = f"percentile bootstrap over speakers, {resamples} resamples"
    value = 100 * float(np.sum(errors)) / float(np.sum(words))
    names, index = np.unique(speakers, return_inverse=True)
    n, unknown = len(names), sum(not name for name in speakers)
    if unknown or n < 2:
        why = f"{unknown} of {len(speakers)} utterances without a speaker" if unknown else "one speaker"
        return Interval(method, value, math.nan, math.nan, n - (unknown > 0), f"{why}: not possible")
    # (S, 2): errors and words of each speaker
    counts = np.stack([np.bincount(index, weights=column, minlength=n) for column in (errors, words)], axis=1)
    sums = bootstrap.resampled_sums(counts, resamples, rng)
    warning = f"{n} speakers are few: the interval is too narrow" if n < FEW_SPEAKERS else ""
    return Interval(method, value, *bootstrap.interval(100 * sums[:, 0] / sums[:, 1]), n, warning)


def over_seeds(values: Sequence[float]) -> Spread:
    """Mean and standard deviation (n - 1) of one number over the seeds of a method.

    It tells how much seeds scatter; an interval for the comparison of methods resamples seeds with utterances
    (bootstrap.py).
    """
    if not len(values):
        raise ValueError("no value: expected one a seed")
    sd = float(np.std(values, ddof=1)) if len(values) > 1 else math.nan
    return Spread("mean and standard deviation over seeds (n - 1)", float(np.mean(values)), sd, len(values))
