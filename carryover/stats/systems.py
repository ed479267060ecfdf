"""Several systems on one test set: their rates, differences and shares of forgetting, each with its interval."""

import math
from collections.abc import Hashable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from carryover.stats import bootstrap, rates
from carryover.stats.jackknife import Measured
from carryover.stats.significance import over_seeds
from carryover.stats.units import Units


class Estimate(NamedTuple):
    """A number with its 95 % interval, and the p-values of a difference.

    p is that of the interval, p_seeds one over seeds alone; p_holm is corrected for the table's comparisons, from the
    larger of the two.
    """

    value: float = math.nan
    low: float = math.nan
    high: float = math.nan
    p: float = math.nan
    p_holm: float = math.nan
    p_seeds: float = math.nan


NONE = Estimate()


class Systems:
    """Error rates of several systems on one test set.

    Of a system with one seed, the interval is digit for digit that of `error_rates.intervals`.

    Parameters
    ----------
    language : str
        Of the test set; it names the generator.
    totals : array, shape (utterances,)
        Reference words or characters, utterances in the order of their ids.
    errors : dict of array, shape (utterances, seeds)
        Errors by system.
    seeds : dict of list of str
        Names of a system's seeds: systems with the same ones are compared seed by seed.
    units : Units
        What of the set is independent.
    resamples, seed : int
        Of the bootstrap.
    """

    def __init__(
        self,
        language: str,
        totals: Sequence[int],
        errors: Mapping[Hashable, np.ndarray],
        seeds: Mapping[Hashable, Sequence[str]],
        units: Units,
        resamples: int = bootstrap.RESAMPLES,
        seed: int = bootstrap.SEED,
    ):
        self.units, totals = units, np.asarray(totals)
        counts = {key: rates.Counts(found, totals, units, tuple(seeds[key])) for key, found in errors.items()}
        self.measured = {key: one.measured() for key, one in counts.items()}
        self.intervals = dict(
            zip(counts, rates.intervals(language, list(counts.values()), resamples, seed), strict=True)
        )
        self.seeds = {key: over_seeds(100 * one.errors.sum(axis=0) / totals.sum()) for key, one in counts.items()}

    def rate(self, key: Hashable) -> Estimate:
        """In percent; without a system of that key all nan."""
        if key not in self.measured:
            return NONE
        return Estimate(float(self.measured[key].value), *self.intervals[key])

    def difference(self, a: Hashable, b: Hashable, p: bool = False) -> Estimate:
        """Rate of a minus rate of b in points; with a p-value if wished, and if both have enough seeds."""
        if a not in self.measured or b not in self.measured:
            return NONE
        return _estimate(self.measured[a] - self.measured[b], p)

    def avoided(self, after: Hashable, baseline: Hashable, before: Hashable) -> Estimate:
        """Percentage of the baseline's forgetting that a system avoids: (baseline - after) / (baseline - before).

        nan where it is not sure that the baseline forgot anything: the interval of its forgetting is not above 0.
        """
        if not all(key in self.measured for key in (after, baseline, before)):
            return NONE
        whole = self.measured[baseline] - self.measured[before]
        low = whole.interval()[0]
        if not low > 0:
            return NONE
        return _estimate((self.measured[baseline] - self.measured[after]).over(whole).times(100.0))


def _estimate(measured: Measured, p: bool = False) -> Estimate:
    """Of a test set with one unit no interval can be taken."""
    value = float(measured.value)
    if not np.all(measured.df_units > 0):
        return Estimate(value)
    found = Estimate(value, *map(float, measured.interval()))
    return found._replace(p=float(measured.p()), p_seeds=float(measured.p_of_seeds())) if p else found
