"""Intervals of rates: the one rule of which interval a WER or CER gets, in every table.

Three seeds or more: Student's t over seeds and units together. Fewer: of the trained models as they are, over speakers
(Student's t) where there are enough of them, else over utterances (BCa bootstrap). A rate is never below 0.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from carryover.stats import bootstrap, jackknife
from carryover.stats.jackknife import Measured
from carryover.stats.units import Units


class Counts(NamedTuple):
    """A system's errors on a test set.

    Attributes
    ----------
    errors : array, shape (utterances, seeds)
    totals : array, shape (utterances,)
        Reference words, or characters.
    units : Units
    seeds : tuple of str
        Names.
    """

    errors: np.ndarray
    totals: np.ndarray
    units: Units
    seeds: tuple[str, ...]

    def measured(self) -> Measured:
        return jackknife.rate(self.units.sums(self.errors), self.units.sums(self.totals), self.seeds)


def intervals(
    name: str, counts: Sequence[Counts], resamples: int = bootstrap.RESAMPLES, seed: int = bootstrap.SEED
) -> list[tuple[float, float]]:
    """95 % interval of each rate in percent, (nan, nan) for less than two utterances.

    Parameters
    ----------
    name : str
        Language of the test sets. It names the generator, and rows stand in the order of their ids: so the resamples
        are the same in training's results.md, in `carryover evaluate` and in every table.
    counts : list of Counts
        All with as many utterances: they share their resamples, which take most of the time.
    """
    found, resampled = [(math.nan, math.nan)] * len(counts), []
    for i, one in enumerate(counts):
        if len(one.totals) < 2:
            continue
        if one.units.by_speaker or len(one.seeds) >= jackknife.MIN_SEEDS:
            low, high = one.measured().interval()
            found[i] = max(0.0, float(low)), float(high)
        else:
            resampled.append(i)
    if resampled:
        columns = [column for i in resampled for column in (counts[i].errors.mean(axis=1), counts[i].totals)]
        table = np.array(columns, dtype=float).T
        sums = bootstrap.resampled_sums(table, resamples, bootstrap.generator(seed, name))
        for place, i in enumerate(resampled):
            measured = counts[i].measured()
            change = next(iter(measured.parts.values())).change.mean(-1)
            samples = 100 * sums[:, 2 * place] / sums[:, 2 * place + 1]
            found[i] = bootstrap.bca(float(measured.value), samples, change)
    return found
