"""What a method's strength trades: forgetting against the new language's WER over lambda, as a table and a figure."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import matplotlib
from matplotlib.figure import Figure

from carryover import files
from carryover.report import names
from carryover.report.figures import labels
from carryover.report.figures.style import RC, Styles, lay_out, write
from carryover.report.run_folder import Run
from carryover.report.tables import forgetting
from carryover.report.tables.cells import Bold, number, points, rate
from carryover.report.tables.table import Table
from carryover.stats import bootstrap, conditions
from carryover.stats.systems import Estimate

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
    over: Mapping[str, str] = field(default_factory=dict)  # `Units.over` by language

    def as_table(self, name: str = "curve") -> Table:
        """One row a point; the chosen value of a line is bold. The CSV has each number and its interval by itself."""
        new, old = self.language, self.old_language
        marks = [conditions.mark(self.over.get(name, "")) for name in (new, old)]
        heads = (
            "method", self.key, "seeds", f"{new} WER validation", f"{old} WER validation", "mean validation",
            f"{new}{marks[0]} WER test [95 %]", f"{old}{marks[1]} WER test [95 %]", "forgetting [95 %]",
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
        name, value = strengths.get(row.system, (row.system, None))
        if not row.shown or (row.weights != "best" and value is not None):
            continue
        name += row.method.removeprefix(row.system)
        found.append(Point(name, value, len(row.seeds), row.valid_new, row.valid_old, row.new, row.old, row.forgetting))
    for name in dict.fromkeys(point.method for point in found if point.value is not None):
        line = [point for point in found if point.method == name and point.value is not None]
        valid = [(point.valid_new + point.valid_old) / 2 for point in line]
        if not any(map(math.isnan, valid)):
            line[valid.index(min(valid))].chosen = True
    seeds = {f"{p.method}{'' if p.value is None else f' {key} {p.value:g}'}": p.seeds for p in found}
    caption = (
        f"WER in percent, {table.normalised}. Bold: the {key} with the lowest mean of both languages' validation WER "
        "(none where a validation is missing); the tests chose nothing. Forgetting: test WER of the old language after "
        "minus before, in points. " + " ".join(conditions.said(table.over, seeds, resamples))
    )
    return Curves(found, table.language, table.old_language, caption, key, table.over)


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


def figure(found: Curves, path: str | Path) -> list[Path]:
    """Draw forgetting (x) against the new language's WER (y), both on the test sets; the numbers beside it as .csv.

    One line a method over its values, points labelled by the value and filled where it was chosen; methods without
    a value are single points. Grey bars: 95 % intervals. Lower left is better.

    Returns
    -------
    list of Path
        The .svg, .pdf, .png and .csv.
    """
    path = Path(path)
    path = path.with_suffix("") if path.suffix in (".png", ".svg", ".pdf", ".csv") else path
    drawable = [p for p in found.points if not math.isnan(p.forgetting.value)]
    if not drawable:
        raise ValueError("no point to draw: no run was tested before its training; set test_before: True")
    methods = names.ordered(dict.fromkeys(point.method for point in drawable))
    styles, texts, colours = Styles(methods), [], []
    drawable = sorted(drawable, key=lambda p: (methods.index(p.method), p.value or 0))
    with matplotlib.rc_context(RC | {"axes.grid": False}):
        canvas = Figure(figsize=(COLUMN, COLUMN), layout="constrained")
        axes = canvas.add_subplot()
        for method in methods:
            line = [p for p in drawable if p.method == method]
            style = styles.marker(method)
            bars = {"ecolor": "0.8", "elinewidth": 0.7, "linestyle": "none", "zorder": 1}
            for p in line:
                axes.errorbar(p.forgetting.value, p.new.value, _arms(p.new), _arms(p.forgetting), **bars)
            axes.plot(*zip(*map(_place, line), strict=True), color=style["color"], linewidth=1, zorder=2)
            for p in line:
                fill = "full" if p.chosen or p.value is None else "none"
                axes.plot(*_place(p), **style, fillstyle=fill, markersize=5, zorder=3)
                texts.append("" if p.value is None else short(p.value))
                colours.append(style["color"])
            axes.plot([], [], label=names.method(method), linewidth=1 if len(line) > 1 else 0, markersize=5, **style)
        old, new = names.language(found.old_language), names.language(found.language)
        axes.set_xlabel(f"forgetting: {old} WER after - before (points)")
        axes.set_ylabel(f"{new} WER (%)")
        axes.margins(0.1)
        canvas.legend(loc="outside lower center", ncols=3, fontsize=7, handletextpad=0.4)
        lay_out(canvas)
        labels.place(axes, list(map(_place, drawable)), texts, colours)
        path.parent.mkdir(parents=True, exist_ok=True)
        drawn = write(canvas, path, dpi=300)
    numbers = path.with_name(f"{path.name}.csv")
    files.write(numbers, found.as_table().csv())
    return [*drawn, numbers]


def _place(p: Point) -> tuple[float, float]:
    return p.forgetting.value, p.new.value


def short(value: float) -> str:
    """A number as short as it can be written: 0.1, 100, 1e4."""
    mantissa, exponent = f"{value:e}".split("e")
    power = f"{float(mantissa):g}e{int(exponent)}"
    return min(f"{value:g}", power, key=len)


def _arms(e: Estimate) -> list[list[float]] | None:
    """Lengths of an error bar's two arms."""
    return None if math.isnan(e.low) else [[max(0.0, e.value - e.low)], [max(0.0, e.high - e.value)]]
