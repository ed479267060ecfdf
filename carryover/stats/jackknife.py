"""A rate, difference or share with its variance between units (speakers or utterances) and between seeds.

Units are left out one at a time (jackknife; Efron and Stein 1981); seeds are few, so what they scatter is estimated
from themselves, and the two are combined with Satterthwaite's degrees of freedom (1946) for Student's t. How often such
an interval holds the truth is simulated in benchmarks/interval_coverage.py.

All arrays may have axes in front, which the benchmark uses for its corpora.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy import stats

MIN_SEEDS = 3  # for a variance between seeds; with two it has one degree of freedom: t = 12.7
LEVEL = 0.95


class Part(NamedTuple):
    """What systems with the same seeds add to a number.

    Attributes
    ----------
    values : array, shape (..., seeds)
        Its value with each seed.
    change : array, shape (..., units, seeds)
        That value minus the value without the unit.
    """

    values: np.ndarray
    change: np.ndarray


@dataclass(frozen=True)
class Measured:
    """A number that was measured with some seeds on one test set: mean over seeds of `values`, summed over parts.

    Attributes
    ----------
    parts : dict of Part
        By the seeds' names. Systems with the same seeds are one part: so their difference is paired by seed. Parts of
        other seeds are independent of it. Units are always paired: all is of one test set.
    df_units : array, shape (...,)
        Degrees of freedom of the variance between units: their effective number (sum w)^2 / sum w^2 by words w
        (Kish 1965), minus 1. With units of one size that is n - 1.
    constant : array, shape (...,)
        Added to the value.
    """

    parts: Mapping[tuple[str, ...], Part]
    df_units: np.ndarray
    constant: np.ndarray | float = 0.0

    @property
    def value(self) -> np.ndarray:
        return sum(part.values.mean(-1) for part in self.parts.values()) + self.constant

    @property
    def seeds(self) -> int:
        """The lowest number of seeds of a part."""
        return min(part.values.shape[-1] for part in self.parts.values())

    @property
    def over_seeds(self) -> bool:
        """Whether seeds are enough for their variance to be in the interval."""
        return self.seeds >= MIN_SEEDS

    def __add__(self, other: "Measured") -> "Measured":
        parts = dict(self.parts)
        for seeds, part in other.parts.items():
            mine = parts.get(seeds)
            parts[seeds] = Part(*(a + b for a, b in zip(mine, part, strict=True))) if mine else part
        return Measured(parts, self.df_units, self.constant + other.constant)

    def __sub__(self, other: "Measured") -> "Measured":
        return self + other.times(-1.0)

    def times(self, factor: np.ndarray | float) -> "Measured":
        factor = np.asarray(factor)
        parts = {
            seeds: Part(part.values * factor[..., None], part.change * factor[..., None, None])
            for seeds, part in self.parts.items()
        }
        return Measured(parts, self.df_units, self.constant * factor)

    def over(self, other: "Measured") -> "Measured":
        """The ratio of two, linear around their values (delta method): fit for a divisor that is surely not 0."""
        share = self.value / other.value
        linear = (self - other.times(share)).times(1 / other.value)
        return Measured(linear.parts, self.df_units, share)

    def variance(self) -> tuple[np.ndarray, np.ndarray]:
        """Variance of `value` and its degrees of freedom.

        V = V_u + max(0, V_s - V_us): V_u between units (jackknife of the mean over seeds), V_s between seeds, and V_us
        of single units with single seeds, which is in both. Satterthwaite: V^2 / sum of V_i^2 / df_i, at least the
        lowest df_i. With less than `MIN_SEEDS` seeds V = V_u: of the trained models as they are.
        """
        parts = self.parts.values()
        units = _of_units(sum(part.change.mean(-1) for part in parts))
        df_units = np.broadcast_to(self.df_units, units.shape)
        if not self.over_seeds:
            return units, df_units
        between, both, squares = 0.0, 0.0, 0.0
        for part in parts:
            n = part.values.shape[-1]
            own = _of_units(part.change.mean(-1))
            single = _of_units(np.moveaxis(part.change, -1, 0)).mean(0)
            v_seeds = part.values.var(-1, ddof=1) / n
            v_both = np.maximum(0, single - own) / (n - 1)
            between, both = between + v_seeds, both + v_both
            squares = squares + v_seeds**2 / (n - 1) + v_both**2 / ((n - 1) * df_units)
        total = units + np.maximum(0, between - both)
        squares = np.where(between > both, squares, 0) + units**2 / df_units
        with np.errstate(invalid="ignore", divide="ignore"):
            df = np.where(squares > 0, total**2 / squares, df_units)
        return total, np.maximum(df, np.minimum(df_units, self.seeds - 1))

    def interval(self) -> tuple[np.ndarray, np.ndarray]:
        """Lower and upper end of the 95 % interval."""
        variance, df = self.variance()
        half = stats.t.ppf((1 + LEVEL) / 2, df) * np.sqrt(variance)
        return self.value - half, self.value + half

    def p(self) -> np.ndarray:
        """Two-sided p-value of its being 0; nan with less than `MIN_SEEDS` seeds, and without any variance.

        Below 0.05 exactly where the interval leaves out 0. Of what is 0 without any variance it is 1.
        """
        variance, df = self.variance()
        value = np.broadcast_to(self.value, variance.shape)
        if not self.over_seeds:
            return np.full(value.shape, np.nan)
        return _two_sided(value, variance, df)

    def p_of_seeds(self) -> np.ndarray:
        """Two-sided p-value by Student's t over seeds alone, as if the test set were all there is: paired, or Welch's.

        Where a variance has two sources with few degrees of freedom, Satterthwaite's t is right at 0.05 and not at the
        small levels that a correction for several comparisons asks for: the seeds' variance may seem to be next to
        nothing by chance. There the larger of the two p-values holds (benchmarks/interval_coverage.py).
        """
        value = self.value
        if not self.over_seeds:
            return np.full(np.shape(value), np.nan)
        sizes = [(part.values.var(-1, ddof=1), part.values.shape[-1]) for part in self.parts.values()]
        variance = sum(scatter / n for scatter, n in sizes)
        squares = sum((scatter / n) ** 2 / (n - 1) for scatter, n in sizes)
        with np.errstate(invalid="ignore", divide="ignore"):
            return _two_sided(value, variance, variance**2 / squares)


def rate(errors: np.ndarray, words: np.ndarray, seeds: Sequence[str]) -> Measured:
    """100 * sum(errors) / sum(words), percent, the mean of it over seeds.

    Parameters
    ----------
    errors : array, shape (..., units, seeds)
    words : array, shape (..., units)
        Reference words, or characters.
    seeds : list of str
        Names.
    """
    errors, words = np.asarray(errors, dtype=float), np.asarray(words, dtype=float)
    totals, made = words.sum(-1), errors.sum(-2)  # (...,), (..., S)
    rates = 100 * made / totals[..., None]
    left = totals[..., None, None] - words[..., None]
    with np.errstate(invalid="ignore", divide="ignore"):
        without = np.where(left > 0, 100 * (made[..., None, :] - errors) / left, rates[..., None, :])
    df = totals**2 / (words**2).sum(-1) - 1
    return Measured({tuple(seeds): Part(rates, rates[..., None, :] - without)}, df)


def _two_sided(value: np.ndarray, variance: np.ndarray, df: np.ndarray) -> np.ndarray:
    """p-value by Student's t; without any variance 1 of what is 0, and nan of what is not."""
    with np.errstate(invalid="ignore", divide="ignore"):
        found = 2 * stats.t.sf(np.abs(value) / np.sqrt(variance), df)
    return np.where(variance > 0, found, np.where(value == 0, 1.0, np.nan))


def _of_units(change: np.ndarray) -> np.ndarray:
    """Jackknife variance, (...,), from what leaving out each unit changes, (..., units)."""
    n = change.shape[-1]
    return (n - 1) / n * ((change - change.mean(-1, keepdims=True)) ** 2).sum(-1)
