"""carryover/stats/fronts.py against closed forms, brute force and scipy."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from carryover.stats import fronts

POINTS = st.lists(st.tuples(st.integers(0, 120), st.integers(0, 120)), min_size=1, max_size=8)


def test_the_area_of_a_few_points_by_hand():
    assert fronts.dominated_area([(0.0, 0.0)]) == 100
    assert fronts.dominated_area([(20.0, 50.0)]) == pytest.approx(40)
    assert fronts.dominated_area([(20.0, 50.0), (60.0, 10.0)]) == pytest.approx(40 + 16)
    assert fronts.dominated_area([(20.0, 50.0), (60.0, 10.0), (70.0, 60.0)]) == pytest.approx(56)
    assert fronts.dominated_area([(130.0, 5.0), (5.0, 100.0)]) == 0


@given(POINTS)
def test_the_area_is_the_share_of_cells_that_a_point_dominates(points):
    cells = sum(
        any(new <= x and old <= y for new, old in points) for x, y in itertools.product(range(0, 100), range(0, 100))
    )
    assert fronts.dominated_area(points) == pytest.approx(cells / 100, abs=1e-9)


@given(POINTS)
def test_a_front_holds_what_nothing_dominates(points):
    def dominated(point):
        return any(o != point and o[0] <= point[0] and o[1] <= point[1] for o in points)

    assert fronts.front(points) == sorted({point for point in points if not dominated(point)})


def test_old_at_new():
    points = [(10.0, 80.0), (20.0, 40.0), (25.0, 60.0)]
    assert math.isnan(fronts.old_at(points, 9.9)), "never that good"
    assert fronts.old_at(points, 10.0) == 80 and fronts.old_at(points, 15.0) == 60
    assert fronts.old_at(points, 99.0) == 40, "better in the new language, too"


def test_over_seeds_is_scipys_t():
    values = [1.0, 4.0, 2.5, 3.0]
    found = fronts.over_seeds(values, p=True)
    test = stats.ttest_1samp(values, 0)
    assert found.p == pytest.approx(test.pvalue, rel=1e-12)
    assert (found.low, found.high) == pytest.approx(tuple(test.confidence_interval()), rel=1e-12)
    assert math.isnan(fronts.over_seeds(values).p)
    assert math.isnan(fronts.over_seeds([1.0, 2.0], p=True).p) and math.isnan(fronts.over_seeds([1.0, 2.0]).low)
    assert fronts.over_seeds([0.0] * 3, p=True).p == 1 and math.isnan(fronts.over_seeds([2.0] * 3, p=True).p)


def test_the_expected_best_is_that_of_all_subsets():
    values = list(np.random.default_rng(1).normal(size=7))
    for k in range(1, 8):
        wanted = np.mean([min(part) for part in itertools.combinations(values, k)])
        assert fronts.expected_best(values, k) == pytest.approx(wanted)
    with pytest.raises(ValueError, match="trials: 8; expected 1 to 7"):
        fronts.expected_best(values, 8)
