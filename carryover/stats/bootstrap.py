"""Resampling of test utterances and of seeds: intervals, p-values, and their correction where several are looked at.

Percentile bootstrap over utterances (Bisani and Ney 2004); paired where two systems are compared: both are scored on
the same resample. Where a system has several seeds, seeds are resampled as well (two levels: S seeds out of S, U
utterances out of U, the same utterances for all seeds). With two or three seeds the seeds' share of the variance is
still too small, by (S - 1) / S.
"""

import zlib
from collections.abc import Sequence

import numpy as np

RESAMPLES, SEED = 10_000, 1234
CHUNK = 4_000_000  # weights held at once: 32 MB, whatever the size of the test set


def generator(seed: int, *names) -> np.random.Generator:
    """A generator of its own for every set of names: what else stands in a table does not move a row's digits."""
    return np.random.default_rng([seed, *(zlib.crc32(str(name).encode()) for name in names)])


def weights(n: int, resamples: int, rng: np.random.Generator) -> np.ndarray:
    """How often each of n items is in each resample of n draws with replacement, (resamples, n)."""
    drawn = rng.integers(n, size=(resamples, n)) + n * np.arange(resamples)[:, None]
    return np.bincount(drawn.ravel(), minlength=resamples * n).reshape(resamples, n).astype(float)


def resampled_sums(counts: np.ndarray, resamples: int, rng: np.random.Generator) -> np.ndarray:
    """Sums over resampled utterances, the same ones in all columns.

    Parameters
    ----------
    counts : array, shape (utterances, columns)
        Errors of a system, words, ... of each utterance.

    Returns
    -------
    sums : array, shape (resamples, columns)
    """
    utterances = len(counts)
    sums, rows = np.empty((resamples, counts.shape[1])), max(1, CHUNK // utterances)
    for start in range(0, resamples, rows):
        part = sums[start : start + rows]
        part[:] = weights(utterances, len(part), rng) @ counts
    return sums


def test_set_sums(language: str, counts: np.ndarray, resamples: int = RESAMPLES, seed: int = SEED) -> np.ndarray:
    """`resampled_sums` of a test set, by the one generator of all its rates.

    The generator is named by the set's language, and rows stand in the order of their ids: so the resamples are the
    same in training's results.md, in `carryover evaluate` and in every table, whatever else is computed there.
    """
    return resampled_sums(counts, resamples, generator(seed, language))


def interval(samples: np.ndarray) -> tuple[float, float]:
    """95 % percentile interval of resampled values."""
    low, high = np.percentile(samples, [2.5, 97.5])
    return float(low), float(high)


def two_sided_p(differences: np.ndarray) -> float:
    """Two-sided bootstrap p-value of a difference: below 0.05 where its 95 % interval leaves out 0.

    Twice the smaller share of resamples on one side of 0 (0 itself on both), with 1 added to both counts, so that it
    is never 0 (Davison and Hinkley 1997, section 4.2.3).
    """
    side = min(np.count_nonzero(differences <= 0), np.count_nonzero(differences >= 0))
    return min(1.0, 2 * (1 + side) / (1 + len(differences)))


def holm(p: Sequence[float]) -> list[float]:
    """p-values corrected for their number: the i-th smallest of m times m - i + 1, never falling (Holm 1979)."""
    corrected, running = [0.0] * len(p), 0.0
    for rank, index in enumerate(np.argsort(p, kind="stable")):
        running = max(running, min(1.0, (len(p) - rank) * p[index]))
        corrected[index] = running
    return corrected
