"""Labels beside the points of a figure, placed so that none stands on another."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.transforms import Bbox

# where a label goes, in points from its point, in the order in which places are tried
PLACES = [
    (x * far, y * far, {1: "left", 0: "center", -1: "right"}[x], {1: "bottom", 0: "center", -1: "top"}[y])
    for far in (4, 9, 16)
    for x, y in ((1, 1), (1, -1), (-1, 1), (-1, -1), (1, 0), (-1, 0), (0, 1), (0, -1))
]


def place(axes: Axes, points: Sequence[tuple[float, float]], texts: Sequence[str], colours: Sequence[str]) -> None:
    """Write a text beside each point, where it covers no other text and no point; where all places are taken, in the
    least bad one.

    To be called when all has been drawn and the figure's layout has been made: a place is a matter of pixels.

    Parameters
    ----------
    axes : Axes
    points : list of (x, y)
        In data coordinates; those with an empty text are only kept clear.
    texts, colours : list of str
        Of each point.
    """
    figure = axes.figure
    renderer = FigureCanvasAgg(figure).get_renderer()
    scale = figure.dpi / 72
    pixels = axes.transData.transform(np.array(points, float).reshape(-1, 2))
    taken = [Bbox.from_bounds(x - 3 * scale, y - 3 * scale, 6 * scale, 6 * scale) for x, y in pixels]
    inside = axes.get_window_extent(renderer)
    for point, text, colour in zip(points, texts, colours, strict=True):
        if not text:
            continue
        tried = []
        for x, y, ha, va in PLACES:
            label = axes.annotate(
                text, point, (x, y), textcoords="offset points", ha=ha, va=va, color=colour, fontsize=6.5, zorder=4
            )
            box = label.get_window_extent(renderer)
            covered = sum(_overlap(box, other) for other in taken) + box.width * box.height - _overlap(box, inside)
            tried.append((covered, len(tried), label, box))
            if covered <= 0.01:
                break
        best = min(tried, key=lambda one: one[:2])
        for *_, label, _ in tried:
            if label is not best[2]:
                label.remove()
        taken.append(best[3])


def _overlap(a: Bbox, b: Bbox) -> float:
    """Pixels that two boxes share."""
    both = Bbox.intersection(a, b)
    return 0.0 if both is None else both.width * both.height
