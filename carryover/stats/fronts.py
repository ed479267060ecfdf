"""New against old error of several models of one method: Pareto fronts, the area they dominate, one at the other.

A point is (WER of the new language, WER of the old one), both in percent; lower is better in both. The area is taken to
the corner (100, 100), in percent of the square: 100 for a model without an error, 0 where every WER is 100 or more.
"""

import math
from collections.abc import Sequence

import numpy as np
from scipy import stats

from carryover.stats.jackknife import LEVEL, MIN_SEEDS
from carryover.stats.systems import Estimate

Point = tuple[float, float]
CORNER = 100.0


def front(points: Sequence[Point]) -> list[Point]:
    """Points that no other one is better than in one and as good as in the other language, by falling old WER."""
    found = []
    for new, old in sorted(set(points)):
        if not found or old < found[-1][1]:
            found.append((new, old))
    return found


def dominated_area(points: Sequence[Point]) -> float:
    """Hypervolume indicator in two dimensions (Zitzler and Thiele 1999), in percent of the square below the corner."""
    area, height = 0.0, CORNER
    for new, old in front(points):
        if new < CORNER and old < height:
            area += (CORNER - new) * (height - old)
            height = old
    return 100 * area / CORNER**2


def old_at(points: Sequence[Point], new: float) -> float:
    """Old WER of a front where its new WER is `new`; linear between two points.

    nan where no point has a new WER that low. Where all have a lower one, that of the last point: it is better in the
    new language, too.
    """
    line = front(points)
    if not line or new < line[0][0]:
        return math.nan
    return float(np.interp(new, *zip(*line, strict=True)))


def over_seeds(values: Sequence[float], p: bool = False) -> Estimate:
    """Mean of one number a seed with its 95 % interval, and the p-value of its being 0, by Student's t over seeds.

    Only with `MIN_SEEDS` seeds; it is conditional on the test set. A difference that is paired by seed is one number.
    """
    values = np.asarray(values, dtype=float)
    n = len(values)
    if not n:
        return Estimate()
    mean = float(values.mean())
    if n < MIN_SEEDS:
        return Estimate(mean)
    error = float(values.std(ddof=1) / math.sqrt(n))
    half = float(stats.t.ppf((1 + LEVEL) / 2, n - 1)) * error
    found = Estimate(mean, mean - half, mean + half)
    if not p or (error == 0 and mean != 0):
        return found
    return found._replace(p=1.0 if error == 0 else float(2 * stats.t.sf(abs(mean) / error, n - 1)))


def expected_best(values: Sequence[float], trials: int) -> float:
    """Mean of the lowest of `trials` values drawn without replacement (Dodge et al. 2019, for a finite set)."""
    ordered = sorted(values)
    n = len(ordered)
    if not 1 <= trials <= n:
        raise ValueError(f"trials: {trials}; expected 1 to {n}, the number of values")
    ways = math.comb(n, trials)
    return sum(value * math.comb(n - 1 - i, trials - 1) for i, value in enumerate(ordered)) / ways
