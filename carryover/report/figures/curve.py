"""What a method's strength trades: forgetting against the new language's WER over lambda, as a table and a figure."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from carryover import files
from carryover.report.run_folder import Run
from carryover.report.tables import forgetting
from carryover.report.tables.cells import Bold, number, points, rate
from carryover.report.tables.table import Table
from carryover.stats import bootstrap, conditions
from carryover.stats.systems import Estimate

# Colours of Okabe and Ito, told apart by the colour-blind; the markers alone are enough in black and white.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#999999")
MARKERS = "os^Dv<>PX"  # one more than colours: no two of 72 methods look the same
COLUMN = 3.4  # inches, the width of a column in a two-column paper
CELL = re.compile(r"[^=,]+=[^=,]+(,[^=,]+=[^=,]+)*")


@dataclass
class Point:
    """One setting of one method; `value` (lambda) is None for a method without one. WER in percent.

    `chosen` is the value with the lowest mean of the two languages' validation WER.
    """

    method: str
    value: float | None
    seeds: int
    valid_new: float
    valid_old: float
    new: Estimate
    old: Estimate
    forgetting: Estimate
    chosen: bool = False


@dataclass
class Curves:
    """Points of all methods, lines first."""

    points: list[Point]
    language: str
    old_language: str
    caption: str
    key: str = "lambda"

    def as_table(self, name: str = "curve") -> Table:
        """One row a point; the chosen value of a line is bold. The CSV has each number and its interval by itself."""
        new, old = self.language, self.old_language
        heads = (
            "method", self.key, "seeds", f"{new} WER validation", f"{old} WER validation", "mean validation",
            f"{new} WER test [95 %]", f"{old} WER test [95 %]", "forgetting [95 %]",
        )  # fmt: skip
        rows, flat = [], []
        for point in self.points:
            value = "-" if point.value is None else (Bold if point.chosen else str)(f"{point.value:g}")
            cells = (
                point.method, value, point.seeds, number(point.valid_new), number(point.valid_old),
                number((point.valid_new + point.valid_old) / 2), rate(point.new), rate(point.old),
                points(point.forgetting),
            )  # fmt: skip
            rows.append(cells)
            estimates = [part for e in (point.new, point.old, point.forgetting) for part in e[:3]]
            known = (point.method, point.value, point.seeds, point.chosen, point.valid_new, point.valid_old)
            flat.append((*known, *estimates))
        named = [f"{what}{end}" for what in ("new_WER", "old_WER", "forgetting") for end in ("", "_low", "_high")]
        csv_columns = ("method", self.key, "seeds", "chosen", "valid_new_WER", "valid_old_WER", *named)
        return Table(name, heads, rows, self.caption, csv_columns=csv_columns, csv_values=flat)

    def markdown(self) -> str:
        """The table, with its caption."""
        return self.as_table().markdown()


def curves(
    lines: Mapping[str, Mapping[float, Sequence[str | Path | Run]]],
    points: Mapping[str, Sequence[str | Path | Run]] | None = None,
    key: str = "lambda",
    resamples: int = bootstrap.RESAMPLES,
    seed: int = bootstrap.SEED,
) -> Curves:
    """Take the points of a figure from run folders.

    Parameters
    ----------
    lines : dict
        Run folders, one a seed, by method and value: {"ewc": {1e2: [folders], 1e3: [folders]}}.
    points : dict, optional
        Run folders of methods without such a value; their averages of weights become points as in `table`.
    key : str
        Name of the value.
    resamples, seed : int
        Of the bootstrap.

    Raises
    ------
    FileNotFoundError, ValueError
        As `forgetting.table`; and when there is no old language.
    """
    strengths = {f"{name} {key} {value!r}": (name, value) for name in lines for value in sorted(lines[name])}
    folders = {label: lines[name][value] for label, (name, value) in strengths.items()}
    table = forgetting.table(folders | dict(points or {}), resamples=resamples, seed=seed)
    if table.old_language is None:
        raise ValueError("these runs have no old_language: nothing was there to forget, so there is no curve")
    found = []
    for row in table.rows:
        if not row.shown or (row.weights != "best" and row.method.split(" + averaging")[0] in strengths):
            continue
        name, value = strengths.get(row.method, (row.method, None))
        found.append(Point(name, value, len(row.seeds), row.valid_new, row.valid_old, row.new, row.old, row.forgetting))
    for name in lines:
        line = [point for point in found if point.method == name and point.value is not None]
        valid = [(point.valid_new + point.valid_old) / 2 for point in line]
        if not any(map(math.isnan, valid)):
            line[valid.index(min(valid))].chosen = True
    seeds = {f"{p.method}{'' if p.value is None else f' {key} {p.value:g}'}": p.seeds for p in found}
    caption = (
        f"WER in percent, normalised. Bold: the {key} with the lowest mean of both languages' validation WER (none "
        "where a validation is missing); the tests chose nothing. Forgetting: test WER of the old language after minus "
        "before, in points. " + " ".join(conditions.said(table.over, seeds, resamples))
    )
    return Curves(found, table.language, table.old_language, caption, key)


def find(outs: Sequence[str | Path]) -> tuple[dict, dict, str, list[Path]]:
    """Find the finished runs of sweeps over `preset` and one number, or over one of the two.

    Parameters
    ----------
    outs : list of path
        Folders of `carryover sweep`, with cells preset=NAME,KEY=NUMBER (lines), KEY=NUMBER (a line named as the
        folder) and preset=NAME (points). A method that has a line is no point as well.

    Returns
    -------
    (lines, points, key, unfinished)
        As `curves` takes them, the number's name, and run folders that hold no results.md yet.

    Raises
    ------
    FileNotFoundError
        When a folder has no such cells.
    ValueError
        For a cell of another shape, and for two numbers with different names.
    """
    lines, points, keys, unfinished = {}, {}, {}, []
    for out in map(Path, outs):
        cells = [p for p in sorted(out.glob("*=*")) if p.is_dir() and CELL.fullmatch(p.name)]
        if not cells:
            raise FileNotFoundError(f"{out}: no folders like preset=ewc,lambda=1e3 in it; expected a sweep's --out")
        for cell in cells:
            values = dict(part.split("=", 1) for part in cell.name.split(","))
            method = values.pop("preset", out.name)
            number = [_float(v) for v in values.values()]
            if len(values) > 1 or None in number:
                raise ValueError(f"{cell}: expected a cell preset=NAME, preset=NAME,KEY=NUMBER or KEY=NUMBER")
            runs = sorted(p for p in cell.iterdir() if p.is_dir())
            unfinished += [run for run in runs if not (run / "results.md").is_file()]
            done = [run for run in runs if (run / "results.md").is_file()]
            keys |= dict.fromkeys(values, cell)
            if done:
                place = lines.setdefault(method, {}) if values else points
                place.setdefault(number[0] if values else method, []).extend(done)
    if len(keys) > 1:
        raise ValueError(f"one figure is over one number; found {', '.join(f'{k} in {p}' for k, p in keys.items())}")
    points = {method: runs for method, runs in points.items() if method not in lines}
    return lines, points, next(iter(keys), "lambda"), unfinished


def _float(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def figure(found: Curves, path: str | Path) -> tuple[Path, Path, Path]:
    """Draw forgetting (x) against the new language's WER (y), both on the test sets, as .png and .svg; numbers as .csv.

    One line a method over its values, points labelled by the value and filled where it was chosen; methods without
    a value are single points. Grey bars: 95 % intervals. Lower left is better.

    Returns
    -------
    (png, svg, csv)
        Paths written.
    """
    import matplotlib
    from matplotlib.figure import Figure

    path = Path(path)
    path = path.with_suffix("") if path.suffix in (".png", ".svg", ".csv") else path
    drawable = [p for p in found.points if not math.isnan(p.forgetting.value)]
    if not drawable:
        raise ValueError("no point to draw: no run was tested before its training; set test_before: True")
    methods = list(dict.fromkeys(point.method for point in drawable))
    with matplotlib.rc_context({"svg.hashsalt": "curve", "font.size": 8, "axes.linewidth": 0.6}):
        figure = Figure(figsize=(COLUMN, COLUMN), layout="constrained")
        axes = figure.add_subplot()
        for i, method in enumerate(methods):
            line = sorted((p for p in drawable if p.method == method), key=lambda p: p.value or 0)
            x, y = [p.forgetting.value for p in line], [p.new.value for p in line]
            style = {"color": COLOURS[i % len(COLOURS)], "marker": MARKERS[i % len(MARKERS)]}
            bars = {"ecolor": "0.8", "elinewidth": 0.7, "linestyle": "none", "zorder": 1}
            for p in line:
                axes.errorbar(p.forgetting.value, p.new.value, _arms(p.new), _arms(p.forgetting), **bars)
            fill = ["full" if p.chosen or p.value is None else "none" for p in line]
            axes.plot(x, y, color=style["color"], linewidth=1, zorder=2)
            for p, how in zip(line, fill, strict=True):
                axes.plot(p.forgetting.value, p.new.value, **style, fillstyle=how, markersize=5, zorder=3)
                if p.value is not None:
                    axes.annotate(
                        short(p.value), (p.forgetting.value, p.new.value), xytext=(4, 4), textcoords="offset points",
                        color=style["color"], fontsize=6.5, zorder=4,
                        bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.6, "pad": 0.2},
                    )  # fmt: skip
            axes.plot([], [], label=method, linewidth=1 if len(line) > 1 else 0, markersize=5, **style)
        axes.set_xlabel(f"forgetting: {found.old_language} WER after - before (points)")
        axes.set_ylabel(f"{found.language} WER (%)")
        axes.margins(0.1)
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
        figure.legend(loc="outside lower center", ncols=3, frameon=False, fontsize=7, handletextpad=0.4)
        png, svg, numbers = (path.with_name(path.name + suffix) for suffix in (".png", ".svg", ".csv"))
        png.parent.mkdir(parents=True, exist_ok=True)
        with files.beside(png) as partial:
            figure.savefig(partial, dpi=300, metadata={"Software": None})
        with files.beside(svg) as partial:
            figure.savefig(partial, metadata={"Date": None})
        files.write(numbers, found.as_table().csv())
    return png, svg, numbers


def short(value: float) -> str:
    """A number as short as it can be written: 0.1, 100, 1e4."""
    mantissa, exponent = f"{value:e}".split("e")
    power = f"{float(mantissa):g}e{int(exponent)}"
    return min(f"{value:g}", power, key=len)


def _arms(e: Estimate) -> list[list[float]] | None:
    """Lengths of an error bar's two arms."""
    return None if math.isnan(e.low) else [[max(0.0, e.value - e.low)], [max(0.0, e.high - e.value)]]
