"""The figures of a report, from the summaries of its runs; one with nothing to show is left out.

Runs that differ in their seed alone are one line: the mean over seeds, with a band from the lowest to the highest.
What is drawn over updates is here; what the predictions show is in error_figures.py, how it looks in style.py.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib
import numpy as np

from carryover.report import names
from carryover.report.figures import error_figures, labels
from carryover.report.figures.style import RC, Figure, Line, Styles, canvas, draw_lines, lay_out, save
from carryover.report.grouping import BASELINE, method_names
from carryover.report.log_reader import to_float
from carryover.report.summary import Summary
from carryover.report.tables.learning import TASK

BAND = "Mean over seeds; band: lowest to highest seed, drawn where all seeds have been."


def draw(summaries: Sequence[Summary], folder: str | Path, baseline: str = BASELINE) -> list[Figure]:
    """Draw what these runs have to show, each as NAME.svg, NAME.pdf, NAME.png and NAME.csv.

    Parameters
    ----------
    summaries : list of Summary
        Finished or not; what a run has not logged is missing in its figures.
    folder : path
        Is made where it is not there.
    baseline : str
        Method that every panel shows, where it is among them.

    Returns
    -------
    list of Figure
        A predictions file that cannot be read is left out, and told in its run's `problems`.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    runs = method_names(summaries)
    runs = {name: runs[name] for name in names.ordered(runs, baseline)}
    styles = Styles(runs, baseline)
    found = [
        forgetting_against_gain(runs, styles, folder),
        loss(runs, styles, folder),
        rates(runs, styles, folder, "WER"),
        rates(runs, styles, folder, "CER"),
        schedules(runs, styles, folder),
        _column(
            runs, styles, folder, "grad_norm", "gradient norm",
            "Gradient norm over all parameters before clipping, mean over a log window. Dotted: max_grad_norm.",
            level=_one([run.settings.get("max_grad_norm") for run in summaries]),
        ),
        _column(
            runs, styles, folder, "penalty_ratio", "penalty / loss",
            "Penalty (EWC, MAS, L2-SP) relative to the task's loss, at each logged update.",
        ),
        _column(
            runs, styles, folder, "blank_ratio", "share of blanks",
            "Share of frames in which the blank is the likeliest symbol, in training.", log=False,
        ),
        *error_figures.draw(runs, styles, folder),
    ]  # fmt: skip
    return [figure for figure in found if figure is not None]


def loss(runs: Mapping[str, Sequence[Summary]], styles: Styles, folder: Path) -> Figure | None:
    """Loss of training and of each validation set over updates; runs with other terms of the loss stand apart."""
    lines = {}
    for name, found in runs.items():
        curves = {}
        for run in found:
            place = (f"training, {_terms(run.train)}", _scored(run, run.language))
            curves.setdefault(place, []).append(_of(run, "loss"))
        for place, alike in curves.items():
            _add(lines, place, name, alike)
    for name, found in runs.items():
        for place, curves in _valid(found, "loss", with_terms=True).items():
            _add(lines, place, name, curves)
    lines, corpora = _titled(lines)
    caption = f"Loss over optimizer updates. {BAND} Logarithmic scale.{corpora}"
    return _lines(runs, lines, styles, folder, "loss", "loss", caption, log=True)


def rates(runs: Mapping[str, Sequence[Summary]], styles: Styles, folder: Path, rate: str) -> Figure | None:
    """Validation WER or CER of each language over updates."""
    lines = {}
    for name, found in runs.items():
        for place, curves in _valid(found, rate).items():
            _add(lines, place, name, curves)
    lines, corpora = _titled(lines)
    caption = f"{rate} in percent on the validation sets, normalised. {BAND}{corpora}"
    return _lines(runs, lines, styles, folder, rate, f"{rate} (%)", caption)


def schedules(runs: Mapping[str, Sequence[Summary]], styles: Styles, folder: Path) -> Figure | None:
    """Learning rate over updates; experiments with the same rates are one line."""
    lines, same_as, first = {}, {}, {}
    for name, found in runs.items():
        line = Line.of([_of(run, "lr") for run in found])
        if line is None:
            continue
        same = first.setdefault((line.x.tobytes(), line.low.tobytes(), line.high.tobytes()), name)
        same_as.setdefault(same, []).append(names.method(name))
        if same == name:
            lines[name] = line
    said = {
        name: alike[0] if len(alike) == 1 else f"{alike[0]} and {len(alike) - 1} alike"
        for name, alike in same_as.items()
    }
    alike = "; ".join(f"{', '.join(alike[1:])} as {alike[0]}" for alike in same_as.values() if len(alike) > 1)
    caption = f"Learning rate of the first parameter group. {BAND}" + (f" The same rates: {alike}." if alike else "")
    lines = {"": lines} if lines else {}
    return _lines(runs, lines, styles, folder, "schedules", "learning rate", caption, labels=said)


def forgetting_against_gain(
    runs: Mapping[str, Sequence[Summary]], styles: Styles, folder: Path, name: str = "forgetting"
) -> Figure | None:
    """Test WER of the new language over forgetting of the old one; a point a method, and a point an average of weights.

    Forgetting is the test WER of the old language after minus before, in points, as in carryover.report.forgetting.
    """
    pairs = {}  # (title, what both were scored on) -> {(experiment, weights): [(forgetting, WER)]}
    languages = {}
    for experiment, found in runs.items():
        for run in found:
            before = run.test(run.old_language, "before")
            for weights in dict.fromkeys(e.get("weights") for e in run.tests):
                new, old = run.test(run.language, weights), run.test(run.old_language, weights)
                if weights in ("before", "last", "evaluate") or None in (before, new, old):
                    continue
                if old.get("words") != before.get("words"):
                    continue  # the test set was changed between the two: no difference can be told
                title = ", ".join(
                    f"{names.language(language)} ({event.get('words')} words)"
                    for language, event in ((run.language, new), (run.old_language, old))
                )
                place = (title, _scored(run, run.language, run.old_language))
                languages[place] = run.language, run.old_language
                point = (to_float(old["WER"]) - to_float(before["WER"]), to_float(new["WER"]))
                pairs.setdefault(place, {}).setdefault((experiment, weights), []).append(point)
    if not pairs:
        return None
    titled, corpora = _titled(pairs)
    rows, shares = [], []  # shares: what is written beside the points of each panel
    with matplotlib.rc_context(RC | {"axes.grid": False}):
        most = max(len({experiment for experiment, _ in points}) for points in pairs.values())
        figure, all_axes = canvas(len(pairs), high=3.0 + 0.14 * most)
        panels = zip(all_axes, titled.items(), languages.values(), strict=True)
        for axes, (panel, points), (language, old_language) in panels:
            labelled, places, texts, colours = set(), [], [], []
            for (experiment, weights), seeds in points.items():
                x, y = np.array(seeds).T
                average = weights.removeprefix("average_") if weights != "best" else ""
                # rounding can put the mean of equal values beside them
                arms = [[[max(0.0, v.mean() - v.min())], [max(0.0, v.max() - v.mean())]] for v in (y, x)]
                axes.errorbar(x.mean(), y.mean(), *arms, ecolor="0.7", elinewidth=0.8, linestyle="none")
                axes.plot(
                    x.mean(), y.mean(), linestyle="none", markersize=5, **styles.marker(experiment),
                    fillstyle="none" if average else "full",
                    label=None if experiment in labelled or average else names.method(experiment),
                )  # fmt: skip
                places.append((x.mean(), y.mean()))
                texts.append(average)
                colours.append(styles.marker(experiment)["color"])
                if not average:
                    labelled.add(experiment)
                rows.append(
                    (panel, experiment, weights, len(seeds), x.mean(), x.min(), x.max(), y.mean(), y.min(), y.max())
                )
            axes.set_title(panel if len(pairs) > 1 else "", fontsize=7)
            axes.axvline(0, color="0.6", linewidth=0.7, linestyle=(0, (1, 2)))
            columns = 1 if max(map(len, labelled), default=0) > 28 else 2
            axes.set_xlabel(f"forgetting: {names.language(old_language)} WER after - before (points)")
            axes.set_ylabel(f"{names.language(language)} WER (%)")
            axes.margins(0.08)
            axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=columns)
            shares.append((axes, places, texts, colours))
        lay_out(figure)
        for of_panel in shares:
            labels.place(*of_panel)
    caption = (
        "Test WER of the new language against forgetting of the old one; lower left is better. Mean over seeds; bars: "
        "lowest to highest seed. Open: averages of old and new weights, with the share of the new. Not in it: runs "
        f"without a test before training, and runs of one language.{corpora}"
    )
    columns = (
        "sets", "experiment", "weights", "seeds", "forgetting", "forgetting_low", "forgetting_high", "WER", "WER_low",
        "WER_high",
    )  # fmt: skip
    return save(figure, folder, name, caption, columns, rows)


# ---- lines over updates ----


def _column(runs, styles, folder, key, label, caption, log=True, level=None) -> Figure | None:
    """A column of the train events over updates."""
    lines = {}
    for name, found in runs.items():
        _add(lines, "", name, [_of(run, key, positive=log) for run in found])
    caption = f"{caption} {BAND}" + (" Logarithmic scale." if log else "")
    return _lines(runs, lines, styles, folder, key, label, caption, log=log, level=level if lines else None)


def _lines(runs, lines, styles, folder, name, label, caption, **how) -> Figure | None:
    """Draw panels of lines over updates and save them with their numbers; each YAML has panels of its own."""
    if not lines:
        return None
    if len({run.experiment for found in runs.values() for run in found}) > 1:
        whole, lines = lines, {}
        for title, named in whole.items():
            for group, line in named.items():
                subject = ": ".join(filter(None, (runs[group][0].experiment, title)))
                lines.setdefault(subject, {})[group] = line
    drawn = draw_lines(lines, styles, "optimizer update", label, **how)
    rows = (
        (title, experiment, int(x), mean, low, high, line.seeds)
        for title, named in lines.items()
        for experiment, line in named.items()
        for x, mean, low, high in zip(line.x, line.mean, line.low, line.high, strict=True)
    )
    return save(drawn, folder, name, caption, ("panel", "experiment", "update", "mean", "low", "high", "seeds"), rows)


def _add(lines: dict, place: str | tuple, name: str, curves: Sequence[tuple[np.ndarray, np.ndarray]]) -> None:
    if (line := Line.of(curves)) is not None:
        lines.setdefault(place, {})[name] = line


def _scored(run: Summary, *languages: str) -> tuple[str, ...]:
    """What rates of a run are of: digests of these languages' test sets, as the table of test sets has them, and the
    normaliser; two corpora of one size, or two normalisers, are never in one line or point.
    """
    digests = (run.test_sets.get(language, "unknown")[:12] for language in languages)
    return (*digests, run.normaliser or "unknown normaliser")


def _titled(found: Mapping[tuple[str, tuple[str, ...]], Mapping]) -> tuple[dict[str, Mapping], str]:
    """(by title, caption): panels of one title are told apart by numbers of their corpora, which the caption explains,
    and by their normalisers.
    """
    titled, numbers = {}, {}
    for (title, scored), inner in found.items():
        same = [other for name, other in found if name == title]
        told = [part for i, part in enumerate(scored) if len({other[i] for other in same}) > 1]
        told = [part if part is scored[-1] else f"corpus {numbers.setdefault(part, len(numbers) + 1)}" for part in told]
        titled[", ".join([title, *told])] = inner
    said = "; ".join(f"{number} has the test set {digest}" for digest, number in numbers.items())
    return titled, f" Corpora: {said}." if said else ""


def _of(run: Summary, key: str, positive: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """(updates, values) of a column of the train events; what a logarithm cannot show or is infinite is left out."""
    if key not in run.train or "update" not in run.train:
        return np.empty(0), np.empty(0)
    values = run.train[key]
    good = np.isfinite(values) & ((values > 0) | (not positive))
    return run.train["update"][good], values[good]


def _valid(runs: Sequence[Summary], key: str, with_terms: bool = False) -> dict[tuple, list]:
    """{(title, what was scored): [(updates, values) of each run]}; other sets or terms of the loss are other panels.

    A validation set has no digest: the test set of its corpus and its number of words stand for it.
    """
    found = {}
    for run in runs:
        panels = {}
        for e in run.valid:
            value = to_float(e.get(key))
            if "weights" in e or not np.isfinite(value) or "update" not in e:  # with weights: not of the curve
                continue
            size = f"{e['words']} words" if "words" in e else "of unknown size"
            language = e.get("language", "")
            title = f"validation, {names.language(language)}, " + (_terms(e) if with_terms else size)
            panels.setdefault((title, _scored(run, language)), {})[e["update"]] = value
        for place, points in panels.items():
            found.setdefault(place, []).append((np.array(list(points), float), np.array(list(points.values()))))
    return found


def _terms(keys) -> str:
    """Terms of the task's loss, e.g. `ctc + kd`."""
    return " + ".join(term for term in TASK if term in keys) or "loss"


def _one(values: Sequence) -> float | None:
    """The value that all have, where it is a positive number."""
    found = {to_float(value) for value in values}
    value = found.pop() if len(found) == 1 else np.nan
    return value if value > 0 else None
