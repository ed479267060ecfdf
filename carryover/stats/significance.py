"""Is one trained model better than another: each answer names its method; and Holm's correction of several answers.

Both tests are two-sided, of the hypothesis that two models that were scored on the same utterances make equally many
word errors; a difference is a's errors minus b's. They differ in what they take as independent: segments between words
that both have right (MAPSSWE), or utterances or speakers (approximate randomisation). They are of these two models: of
the methods that trained them only several seeds can tell (jackknife.py).
"""

import itertools
import math
from collections.abc import Sequence
from typing import NamedTuple

import jiwer
import numpy as np
from scipy import stats

from carryover.stats import bootstrap

GOOD_WORDS = 2  # that bound a segment: sc_stats' default
FEW_SEGMENTS = 30  # below, the mean difference of a segment is no normal variable yet
EXACT = 12  # units that differ, up to which all 2^n ways to take sides are tried


class Test(NamedTuple):
    """A two-sided test. `method` can stand beneath a table; `warning` is empty where there is nothing to warn of.

    `n` counts what the test takes as independent (segments, utterances or speakers). `resolution` is the p-value below
    which the method cannot tell one from another; 0 where there is none.
    """

    method: str
    statistic: float
    p: float
    n: int
    warning: str = ""
    resolution: float = 0.0


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
    a: np.ndarray,
    b: np.ndarray,
    rng: np.random.Generator,
    resamples: int = bootstrap.RESAMPLES,
    unit: str = "utterances",
) -> Test:
    """Approximate randomisation over utterances or speakers (Noreen 1989; Riezler and Maxwell 2005).

    If the systems are alike, each unit's two outputs may change sides. p = (1 + c) / (1 + resamples), where c
    resamples with random sides differ by at least as much as was observed; of at most `EXACT` units that differ, the
    share of all ways to take sides. Reference words are the same on both sides, so a difference of errors is a
    difference of WER.

    Parameters
    ----------
    a, b : array, shape (units,)
        Word errors.
    unit : str
        What they are of.
    """
    differences = np.asarray(a) - np.asarray(b)
    observed, differing = float(differences.sum()), differences[differences != 0]
    if len(differing) <= EXACT:
        sides = np.array(list(itertools.product((-1, 1), repeat=len(differing)))).reshape(
            2 ** len(differing), len(differing)
        )
        share = float(np.mean(np.abs(sides @ differing) >= abs(observed)))
        method = f"randomisation over {unit}, all {len(sides)} ways to take sides"
        return Test(method, observed, share, len(differences))
    # of m units that differ by d, Binomial(m, 1/2) keep their side: as good as one coin a unit, and 60 ms instead of
    # 9 s for 16 000 utterances
    size, count = np.unique(np.abs(differing), return_counts=True)
    sums = (2 * rng.binomial(count, 0.5, (resamples, len(count))) - count) @ size
    extreme = int(np.count_nonzero(np.abs(sums) >= abs(observed)))
    method = f"approximate randomisation over {unit}, {resamples} resamples"
    p = (1 + extreme) / (1 + resamples)
    return Test(method, observed, p, len(differences), resolution=2 / (1 + resamples))


def holm(p: Sequence[float]) -> list[float]:
    """p-values corrected for their number: the i-th smallest of m times m - i + 1, never falling (Holm 1979)."""
    corrected, running = [0.0] * len(p), 0.0
    for rank, index in enumerate(np.argsort(p, kind="stable")):
        running = max(running, min(1.0, (len(p) - rank) * p[index]))
        corrected[index] = running
    return corrected


def over_seeds(values: Sequence[float]) -> Spread:
    """Mean and standard deviation (n - 1) of one number over the seeds of a method.

    It tells how much seeds scatter; intervals of methods have this scatter and that of the test set (jackknife.py).
    """
    if not len(values):
        raise ValueError("no value: expected one a seed")
    sd = float(np.std(values, ddof=1)) if len(values) > 1 else math.nan
    return Spread("mean and standard deviation over seeds (n - 1)", float(np.mean(values)), sd, len(values))
