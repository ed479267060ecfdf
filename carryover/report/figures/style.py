"""How every figure of a report looks and is written: one style a method, .svg, .pdf, .png and the numbers as .csv.

Colours are those of Okabe and Ito, told apart by the colour-blind; line styles and markers tell the lines apart in
black and white. The same logs give the same bytes: no date, no version, no random ids.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.figure import Figure as Canvas
from matplotlib.ticker import FormatStrFormatter, MaxNLocator, NullLocator

from carryover import files
from carryover.report import names
from carryover.report.grouping import BASELINE

# Colours of Okabe and Ito, told apart by the colour-blind; the markers alone are enough in black and white.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#999999")
MARKERS = "os^Dv<>PX"  # one more than colours: no two of 72 methods look the same
FIXED = (  # methods that look the same in every figure of every report
    "plain", "ewc", "mas", "l2sp", "lwf", "replay", "replay_ewc", "joint", "new_only", "averaging", "si", "online_ewc",
    "pseudo_replay", "der", "agem", "replay_averaging", "lwf_averaging",
)  # fmt: skip
LINES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)))
PER_PANEL = 6  # lines that one pair of axes holds and an eye still follows
PIXELS = 30_000  # of a .png's longer side: hundreds of experiments make a long figure, and viewers stop at 2^15
WIDE, HIGH = 3.5, 2.6  # inches of a panel; two fill the width of a page
METADATA = {  # nothing that differs between two days or machines
    ".svg": {"Date": None, "Creator": None},
    ".pdf": {"CreationDate": None, "Creator": None, "Producer": None},
    ".png": {"Software": None},
}
RC = {
    "pdf.fonttype": 42,  # letters that a reader can search and a publisher accepts
    "svg.hashsalt": "carryover", "svg.fonttype": "path", "font.size": 8, "axes.linewidth": 0.6, "lines.linewidth": 1.2,
    "lines.markersize": 3.5, "legend.frameon": False, "legend.fontsize": 6.5, "axes.titlesize": 8,
    "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True, "grid.color": "0.9", "grid.linewidth": 0.5,
}  # fmt: skip


@dataclass(frozen=True)
class Figure:
    """A figure on disk.

    Attributes
    ----------
    name : str
        Of its files, without suffix.
    caption : str
        What is drawn and how it was made.
    files : list of str
        Paths of the .svg, the .pdf and the .png.
    csv : str
        Path of the numbers.
    """

    name: str
    caption: str
    files: list[str]
    csv: str


class Styles:
    """Colour, marker and line of each experiment, the same in all figures; of the methods of FIXED in all reports.

    Parameters
    ----------
    experiments : iterable of str
    baseline : str
        Of them the one that every panel shows.
    """

    def __init__(self, experiments: Iterable[str], baseline: str = BASELINE):
        self.baseline = baseline
        experiments = list(experiments)
        self.index = {name: FIXED.index(name) for name in experiments if name in FIXED}
        taken = set(self.index.values())
        free = (i for i in range(len(experiments) + len(FIXED)) if i not in taken)
        self.index |= {name: next(free) for name in experiments if name not in FIXED}

    def line(self, name: str, points: int) -> dict:
        """Of a line with so many points; markers stand apart and beside those of other lines."""
        i = self.index[name]
        step = max(1, points // 8)
        start = i % PER_PANEL * step // PER_PANEL
        return self.marker(name) | {"linestyle": LINES[i % len(LINES)], "markevery": (start, step)}

    def marker(self, name: str) -> dict:
        i = self.index[name]
        return {"color": COLOURS[i % len(COLOURS)], "marker": MARKERS[i % len(MARKERS)]}


@dataclass(frozen=True)
class Line:
    """Mean, lowest and highest value over seeds; `x` is shared by all arrays, shape (points,)."""

    x: np.ndarray
    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray
    seeds: int

    @classmethod
    def of(cls, curves: Sequence[tuple[np.ndarray, np.ndarray]]) -> "Line | None":
        """Of one (x, y) a seed, where all seeds have been; linear between logged points, nan left out.

        None where no seed has a point, or where seeds have no stretch in common.
        """
        good = [(x[~np.isnan(y)], y[~np.isnan(y)]) for x, y in curves]
        good = [(x, y) for x, y in good if len(x)]
        if not good:
            return None
        start, stop = max(x[0] for x, _ in good), min(x[-1] for x, _ in good)
        x = np.unique(np.concatenate([x for x, _ in good]))
        x = x[(x >= start) & (x <= stop)]
        if not len(x):
            return None
        y = np.stack([np.interp(x, *curve) for curve in good])  # (seeds, points)
        return cls(x, y.mean(0), y.min(0), y.max(0), len(good))


def panels(lines: Mapping[str, Mapping[str, Line]], baseline: str = BASELINE) -> list[tuple[str, str, dict[str, Line]]]:
    """(subject, title, lines) of each pair of axes: at most `PER_PANEL` lines in one, about as many in each, and in
    each the baseline, where the subject has it.
    """
    found = []
    for subject, named in lines.items():
        kept = [baseline] if baseline in named and len(named) > PER_PANEL else []
        others = [name for name in named if name not in kept]
        parts = np.array_split(others, math.ceil(len(others) / (PER_PANEL - len(kept))))
        for i, part in enumerate(parts, 1):
            title = subject if len(parts) == 1 else f"{subject} ({i}/{len(parts)})".strip()
            found.append((subject, title, {str(n): named[str(n)] for n in [*kept, *part]}))
    return found


def canvas(n: int, wide: float = WIDE, high: float = HIGH) -> tuple[Canvas, list]:
    """A figure with n panels, two a row, and their axes."""
    columns = min(2, n)
    rows = math.ceil(n / columns)
    figure = Canvas(figsize=(columns * wide if columns > 1 else 1.3 * wide, rows * high), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for unused in axes[n:]:
        unused.remove()
    return figure, list(axes[:n])


def draw_lines(
    lines: Mapping[str, Mapping[str, Line]],
    styles: Styles,
    x: str,
    y: str,
    log: bool = False,
    labels: Mapping[str, str] | None = None,
    level: float | None = None,
) -> Canvas:
    """Panels of lines with bands from the lowest to the highest seed; those of one subject have the same scales.

    Parameters
    ----------
    lines : dict of dict of Line
        By subject and experiment.
    x, y : str
        Labels of the axes.
    log : bool
        Logarithmic y; values of 0 and below are not drawn.
    labels : dict, optional
        What the legend says of an experiment, where it is not the method's proper name.
    level : float, optional
        A value to mark by a thin dotted line.
    """
    shown = panels(lines, styles.baseline)
    with matplotlib.rc_context(RC):
        figure, all_axes = canvas(len(shown), high=HIGH + 0.13 * math.ceil(max(len(n) for *_, n in shown) / 2))
        first = {}
        for axes, (subject, title, named) in zip(all_axes, shown, strict=True):
            if (same := first.setdefault(subject, axes)) is not axes:
                axes.sharex(same)
                axes.sharey(same)
            for name, line in named.items():
                style = styles.line(name, len(line.x))
                axes.plot(line.x, line.mean, **style, label=(labels or {}).get(name, names.method(name)))
                if line.seeds > 1:
                    axes.fill_between(line.x, line.low, line.high, color=style["color"], alpha=0.2, linewidth=0)
            if log:
                axes.set_yscale("log", nonpositive="mask")
            if level is not None:
                axes.axhline(level, color="0.3", linewidth=0.7, linestyle=(0, (1, 3)))
            axes.set(xlabel=x, ylabel=y, title=title)
            axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.24), ncols=1 if _long(axes) else 2)
        for subject, axes in first.items():  # when all panels that share the scale are drawn
            if log:
                plain_ticks(axes)
            else:
                axes.set_ylim(bottom=min(0.0, *(line.low.min() for line in lines[subject].values())))
    return figure


def plain_ticks(axes) -> None:
    """Numbers such as 2 and 5 on a logarithmic axis that has less than one power of ten to show."""
    low, high = axes.get_ylim()
    if high < 10 * low:
        axes.yaxis.set_major_locator(MaxNLocator(5))
        axes.yaxis.set_major_formatter(FormatStrFormatter("%g"))
        axes.yaxis.set_minor_locator(NullLocator())


def _long(axes) -> bool:
    """Whether two labels do not stand beside each other."""
    return max(len(label) for label in axes.get_legend_handles_labels()[1]) > 28


def draw_heat(
    blocks: Sequence[tuple[str, Sequence[str], Sequence[str], np.ndarray]], unit: str, form: str = "{:.1f}"
) -> Canvas:
    """Blocks one below the other, each (title, rows, columns, values); darker is more, and the number stands in it."""
    from matplotlib.colors import Normalize

    tall = [0.17 * len(rows) + 0.09 * max(map(len, columns)) + 0.45 for _, rows, columns, _ in blocks]
    wide = max(2.2 + 0.09 * max(map(len, rows)) + 0.42 * len(columns) for _, rows, columns, _ in blocks)
    colours = matplotlib.colormaps["Blues"]  # one hue: the same order in print
    with matplotlib.rc_context(RC | {"axes.grid": False}):
        figure = Canvas(figsize=(max(WIDE, wide), sum(tall)), layout="constrained")
        all_axes = figure.subplots(len(blocks), 1, squeeze=False, gridspec_kw={"height_ratios": tall})[:, 0]
        top = max((float(np.nanmax(v)) for *_, v in blocks if not np.isnan(v).all()), default=1.0) or 1.0
        norm = Normalize(0, top)
        for axes, (title, rows, columns, values) in zip(all_axes, blocks, strict=True):
            axes.pcolormesh(values[::-1], cmap=colours, norm=norm, edgecolor="white", linewidth=0.5)
            for i, j in np.ndindex(values.shape):
                if not math.isnan(values[i, j]):
                    dark = norm(values[i, j]) > 0.5
                    place = (j + 0.5, len(rows) - i - 0.5)
                    axes.text(
                        *place, form.format(values[i, j]), ha="center", va="center", fontsize=6,
                        color="white" if dark else "black",
                    )  # fmt: skip
            axes.set_xticks(np.arange(len(columns)) + 0.5, columns, rotation=90, fontsize=6.5)
            axes.set_yticks(np.arange(len(rows)) + 0.5, rows[::-1], fontsize=6.5)
            axes.set_title(title)
            axes.tick_params(length=0)
            axes.spines[:].set_visible(False)
        mappable = matplotlib.cm.ScalarMappable(norm, colours)
        figure.colorbar(mappable, ax=list(all_axes), label=unit, fraction=0.05, aspect=40)
    return figure


def save(
    canvas: Canvas, folder: Path, name: str, caption: str, columns: Sequence[str], rows: Iterable[Sequence]
) -> Figure:
    """Write NAME.svg, NAME.pdf, NAME.png and NAME.csv into a folder that is there."""
    drawn = write(canvas, folder / name)
    numbers = folder / f"{name}.csv"
    files.write_csv(numbers, columns, ([_cell(value) for value in row] for row in rows), lineterminator="\n")
    return Figure(name, caption, list(map(str, drawn)), str(numbers))


def write(canvas: Canvas, path: Path, dpi: float = 200.0) -> list[Path]:
    """Write a drawing as `path` with .svg, .pdf and .png, the last at so many pixels an inch at most."""
    drawn = []
    with matplotlib.rc_context(RC):
        lay_out(canvas)
        for suffix, metadata in METADATA.items():
            drawn.append(path.with_name(path.name + suffix))
            with files.beside(drawn[-1]) as partial:
                canvas.savefig(partial, dpi=min(dpi, PIXELS / max(canvas.get_size_inches())), metadata=metadata)
    return drawn


def lay_out(canvas: Canvas) -> None:
    """Give everything its place; laid out once is laid out for all files."""
    canvas.draw_without_rendering()
    canvas.set_layout_engine("none")


def _cell(value) -> str:
    """Floats to six digits, which is more than their errors; nan is empty."""
    if isinstance(value, (float, np.floating)):
        return "" if math.isnan(value) else f"{value:.6g}"
    return str(value)
