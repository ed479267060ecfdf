"""The figure of a study: new against old WER, of all trials on validation and of what was chosen on the test sets."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean

import matplotlib
import numpy as np

from carryover.report import names
from carryover.report.figures.style import RC, Figure, Styles, canvas, save
from carryover.stats.fronts import Point, front


def draw(
    trials: Mapping[str, Sequence[Point]],
    chosen: Mapping[str, Mapping[str, Sequence[Point]]],
    languages: tuple[str, str],
    folder: Path,
) -> Figure:
    """Write fronts.svg, .pdf, .png and .csv.

    Parameters
    ----------
    trials : dict of list of point
        On validation, by method.
    chosen : dict of dict of list of point
        On the test sets, by method and seed; every seed has as many, in the same order.
    languages : tuple
        New, old.
    """
    new, old = languages
    means = {
        name: [tuple(map(fmean, zip(*same, strict=True))) for same in zip(*seeds.values(), strict=True)]
        for name, seeds in chosen.items()
    }
    styles, rows = Styles(trials), []
    with matplotlib.rc_context(RC):
        drawing, (left, right) = canvas(2, high=2.9)
        for axes, title, points in ((left, "validation, all trials", trials), (right, "test, chosen", means)):
            for name, of_method in points.items():
                style = styles.marker(name)
                axes.plot(*np.transpose(of_method), linestyle="none", fillstyle="none", **style)
                line = front(of_method)
                axes.plot(*np.transpose(line), linewidth=1, label=names.method(name), **style)
            axes.set(xlabel=f"{names.language(new)} WER (%)", ylabel=f"{names.language(old)} WER (%)", title=title)
        right.legend(loc="center left", bbox_to_anchor=(1.02, 0.5))
    for name, of_method in trials.items():
        rows += [(name, "validation", "", *point, point in front(of_method)) for point in of_method]
    for name, seeds in chosen.items():
        rows += [(name, "test", seed, *point, "") for seed, points in seeds.items() for point in points]
    caption = (
        f"WER of {old}, known before, against WER of {new}, learned now; lower left is better. Left: all trials on "
        "validation, one seed. Right: what was chosen of them on the test sets, means over seeds. Lines: the points "
        "of a method that no other of its points is better than in both."
    )
    columns = ["method", "set", "seed", f"{new}_WER", f"{old}_WER", "on_front"]
    return save(drawing, folder, "fronts", caption, columns, rows)
