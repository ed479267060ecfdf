"""Which trials of a method are chosen, on validation alone."""

import math
from collections.abc import Sequence
from pathlib import Path

from carryover.config.settings import SettingsError
from carryover.report.study import validated
from carryover.stats.fronts import Point, dominated_area


def choose(folders: Sequence[Path], points: int = 1) -> list[int]:
    """Places of the chosen trials.

    First the one with the lowest mean validation WER of its languages (the earlier of equal ones), by the best of its
    weights; then, up to `points`, the one that adds most to the area that the chosen ones dominate, while any adds.

    Raises
    ------
    SettingsError
        For a trial without a validation.
    """
    found: list[list[Point]] = [validated(folder) for folder in folders]
    for folder, of_trial in zip(folders, found, strict=True):
        if not of_trial or any(math.isnan(WER) for point in of_trial for WER in point):
            raise SettingsError(
                f"{folder}: no validation of its languages to choose by; give valid in old_splits, and valid_every"
            )
    means = [min(sum(point) / len(point) for point in of_trial) for of_trial in found]
    chosen = [means.index(min(means))]
    while len(chosen) < points and all(len(point) == 2 for point in found[0]):
        had = [point for i in chosen for point in found[i]]
        areas = [dominated_area([*had, *of_trial]) for of_trial in found]
        best = areas.index(max(areas))
        if areas[best] <= dominated_area(had):
            break
        chosen.append(best)
    return chosen
