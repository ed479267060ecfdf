"""Several systems on one test set: their WER and its differences, all under the same resamples."""

import math
from collections.abc import Hashable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from carryover.stats import bootstrap
from carryover.stats.significance import over_seeds


class Estimate(NamedTuple):
    """A number with its 95 % interval; p-value of a difference, and the p-value corrected for the table's rows."""

    value: float = math.nan
    low: float = math.nan
    high: float = math.nan
    p: float = math.nan
    p_holm: float = math.nan


NONE = Estimate()


class Systems:
    """WER of several systems on one test set: as observed, and under the same resamples for all of them.

    Of a system with one seed, the interval is digit for digit that of `error_rates.interval`.

    Parameters
    ----------
    language : str
        Of the test set; it names the generator.
    words : array, shape (utterances,)
        Reference words, utterances in the order of their ids.
    errors : dict of array, shape (utterances, seeds)
        Word errors by system.
    seeds : dict of list of str
        Names of a system's seeds: systems with the same ones share their draws, so differences are paired in both.
    resamples, seed : int
        Of the bootstrap.
    """

    def __init__(
        self,
        language: str,
        words: Sequence[int],
        errors: Mapping[Hashable, np.ndarray],
        seeds: Mapping[Hashable, Sequence[str]],
        resamples: int = bootstrap.RESAMPLES,
        seed: int = bootstrap.SEED,
    ):
        self.utterances = len(words)
        counts = np.column_stack([words, *errors.values()]).astype(float)  # (U, 1 + seeds of all systems)
        sums = bootstrap.test_set_sums(language, counts, resamples, seed)
        self.observed, self.samples, self.seeds, start = {}, {}, {}, 1
        for key in errors:
            n, stop = len(seeds[key]), start + len(seeds[key])
            draws = bootstrap.weights(n, resamples, bootstrap.generator(seed, *seeds[key]))
            self.observed[key] = 100 * counts[:, start:stop].sum() / (n * counts[:, 0].sum())
            self.seeds[key] = over_seeds(100 * counts[:, start:stop].sum(axis=0) / counts[:, 0].sum())
            self.samples[key] = 100 * (draws * sums[:, start:stop]).sum(axis=1) / (n * sums[:, 0])
            start = stop

    def wer(self, key: Hashable) -> Estimate:
        """WER in percent; without a system of that key all nan."""
        return self._estimate(self.observed[key], self.samples[key]) if key in self.observed else NONE

    def difference(self, a: Hashable, b: Hashable, p: bool = False) -> Estimate:
        """WER of a minus WER of b in points; with a p-value if wished."""
        if a not in self.observed or b not in self.observed:
            return NONE
        samples = self.samples[a] - self.samples[b]
        found = self._estimate(self.observed[a] - self.observed[b], samples)
        return found._replace(p=bootstrap.two_sided_p(samples)) if p and self.utterances > 1 else found

    def _estimate(self, value: float, samples: np.ndarray) -> Estimate:
        return Estimate(value, *bootstrap.interval(samples)) if self.utterances > 1 else Estimate(value)
