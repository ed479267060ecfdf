"""What a study found: its methods at what was chosen of each, their fronts, and what their tuning took.

Points are (WER of the new language, WER of the old one) in percent. Trials have theirs on validation, with one seed;
what was chosen has them on the test sets, one a seed.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, median

from carryover import files
from carryover.report.figures import fronts as figure
from carryover.report.grouping import BASELINE
from carryover.report.normalisers import normalised
from carryover.report.run_folder import Run
from carryover.report.tables import forgetting
from carryover.report.tables.cells import number, points, rate
from carryover.report.tables.main import main
from carryover.report.tables.table import Table
from carryover.stats import fronts
from carryover.stats.fronts import Point
from carryover.stats.jackknife import MIN_SEEDS
from carryover.stats.significance import holm
from carryover.stats.systems import NONE, Estimate

FEW_VALID = 400  # utterances below which a choice between trials is much of a draw
SOME_TRIALS = 3  # of whom the expected best is given: tuning by hand


@dataclass(frozen=True)
class Method:
    """Run folders of a method: of each trial, and of what was chosen (the best first), one a seed; by cell."""

    trials: Mapping[str, Path]
    chosen: Mapping[str, Sequence[Path]]


@dataclass(frozen=True)
class Order:
    """Methods of one order of languages, by name; `name` is empty where the study has one order only."""

    name: str
    methods: Mapping[str, Method]


def validated(folder: Path) -> list[Point]:
    """Points of a run on validation: of its averages of weights where it has any, else of its best weights.

    Of a run without an old language they hold the new one's WER alone; nan where a language was not validated.
    """
    run = Run(folder)
    languages = [name for name in run.languages if name]
    averages = {e["weights"]: None for e in run.of("valid") if str(e.get("weights", "")).startswith("average_")}
    return [tuple(run.validation_WER(name, weights) for name in languages) for weights in averages or ["best"]]


def tested(folder: Path) -> list[Point]:
    """The same on the test sets."""
    run = Run(folder)
    return [
        tuple(float(run.of("test", language=name, weights=weights)[-1]["WER"]) for name in run.languages if name)
        for weights in run.averages or ["best"]
    ]


def write(orders: Sequence[Order], out: Path) -> Path:
    """Write OUT/study.md with all tables and figures, each also as files: .csv and .tex, or .svg, .pdf and .png."""
    parts = ["# What the study found"]
    for order in orders:
        folder = out / order.name
        _write_trials(order, folder)
        tables = [*chosen_tables(order), *filter(None, [fronts_table(order)]), tuning_table(order)]
        for table in tables:
            files.write(folder / f"{table.name}.csv", table.csv())
            files.write(folder / f"{table.name}.tex", table.latex())
        titles = {"main": "Methods at their chosen trial", "methods": "The same with all columns"}
        titles |= {"fronts": "Fronts", "tuning": "What tuning took"}
        parts += [f"## {order.name}"] if order.name else []
        level = "###" if order.name else "##"
        for table in tables:
            parts += [f"{level} {titles[table.name]}", table.markdown()]
            if table.name == "fronts":
                drawn = figure.draw(validation_points(order), test_points(order), _languages(order), folder)
                parts += [f"![{drawn.caption}]({(folder / 'fronts.png').relative_to(out).as_posix()})", drawn.caption]
    path = out / "study.md"
    files.write(path, "\n\n".join(parts) + "\n")
    return path


def validation_points(order: Order) -> dict[str, list[Point]]:
    """Points of all trials by method."""
    return {
        name: [point for folder in method.trials.values() for point in validated(folder)]
        for name, method in order.methods.items()
    }


def test_points(order: Order) -> dict[str, dict[str, list[Point]]]:
    """Points of what was chosen by method and seed."""
    found = {name: {} for name in order.methods}
    for name, method in order.methods.items():
        for folder in (folder for folders in method.chosen.values() for folder in folders):
            found[name].setdefault(Run(folder).seed, []).extend(tested(folder))
    return found


test_points.__test__ = False  # no test of pytest's


def chosen_tables(order: Order) -> list[Table]:
    """The narrow and the wide table of methods, each at the trial with the lowest mean validation WER.

    Of a method that averages weights the average stands there: by its averages its trial was chosen.
    """
    first = {name: next(iter(method.chosen.values())) for name, method in order.methods.items()}
    compared = forgetting.table(first, averages_alone=True)
    cells = [f"{name}: {next(iter(method.chosen))}" for name, method in order.methods.items()]
    found = [main(compared, f"{sum(map(len, first.values()))} runs."), compared.as_table("methods")]
    for table in found:
        table.notes = [*table.notes, f"Chosen: {'; '.join(cells)}."]
    return found


def fronts_table(order: Order) -> Table | None:
    """Dominated area and old WER at the baseline's new WER, by method; None without an old language."""
    new, old = _languages(order)
    if old is None:
        return None
    found = test_points(order)
    areas = {name: {s: fronts.dominated_area(p) for s, p in seeds.items()} for name, seeds in found.items()}
    targets = _targets(order)
    matched = {
        name: {s: fronts.old_at(p, targets[s]) for s, p in seeds.items() if s in targets}
        for name, seeds in found.items()
    }
    estimates = {}
    for name in found:
        against = name != BASELINE and BASELINE in found
        estimates[name] = (
            fronts.over_seeds(list(areas[name].values())),
            _paired(areas[name], areas[BASELINE]) if against else NONE,
            _of_all(matched[name]),
            _paired(matched[name], matched[BASELINE]) if against else NONE,
        )
    compared = [(name, i) for name in estimates for i in (1, 3) if not math.isnan(estimates[name][i].p)]
    corrected = dict(zip(compared, holm([estimates[name][i].p for name, i in compared]), strict=True))
    rows, flat = [], []
    for name, values in estimates.items():
        values = [e._replace(p_holm=corrected.get((name, i), math.nan)) for i, e in enumerate(values)]
        reached = [value for value in matched[name].values() if not math.isnan(value)]
        area, to_area, at, to_at = values
        points_of = max(map(len, found[name].values()))
        cells = [
            name,
            points_of,
            rate(area),
            points(to_area),
            f"{len(reached)} of {len(targets)}",
            rate(at),
            points(to_at),
        ]
        rows.append(cells)
        flat.append([name, points_of, len(reached), *(x for e in values for x in (*e[:4], e.p_holm))])
    heads = [
        "method", "points", "area, % [95 %]", f"area to {BASELINE}", "seeds that reach it",
        f"{old} WER at {BASELINE}'s {new} WER [95 %]", f"to {BASELINE}",
    ]  # fmt: skip
    named = [f"{what}{end}" for what in ("area", "area_to_baseline", "matched", "matched_to_baseline")
             for end in ("", "_low", "_high", "_p", "_p_holm")]  # fmt: skip
    return Table(
        "fronts", heads, rows, _fronts_caption(order, compared), csv_columns=["method", "points", "reached", *named],
        csv_values=flat,
    )  # fmt: skip


def _targets(order: Order) -> dict[str, float]:
    """New WER of the baseline's best trial by seed."""
    method = order.methods.get(BASELINE)
    if method is None:
        return {}
    folders = next(iter(method.chosen.values()))
    return {Run(folder).seed: min(tested(folder))[0] for folder in folders}


def _paired(values: Mapping[str, float], baseline: Mapping[str, float]) -> Estimate:
    """Difference to the baseline over the seeds of both; nothing where it is not known of each."""
    found = {seed: values[seed] - baseline[seed] for seed in values if seed in baseline}
    return _of_all(found, p=True)


def _of_all(values: Mapping[str, float], p: bool = False) -> Estimate:
    """Over seeds, where every seed has a value: a mean of those that reach something says little of the others."""
    return NONE if any(map(math.isnan, values.values())) else fronts.over_seeds(list(values.values()), p)


def tuning_table(order: Order) -> Table:
    """How much of the budget a method's trials took, and how much it needs its tuning; CSV and Markdown alike."""
    rows, utterances, every = [], [], []
    for name, method in order.methods.items():
        runs = [Run(folder) for folder in method.trials.values()]
        every += runs
        means = [min(fmean(point) for point in validated(folder)) for folder in method.trials.values()]
        hours = sum(run.summary.seconds for run in runs) / 3600
        updates = sum(run.summary.last_update for run in runs)
        few = min(SOME_TRIALS, len(means))
        some = fronts.expected_best(means, few)
        rows.append([name, len(means), updates, hours, min(means), some, median(means), max(means), some - min(means)])
        utterances += [int(e["utterances"]) for run in runs for e in run.of("valid") if "utterances" in e]
    few = min(SOME_TRIALS, max(row[1] for row in rows))
    heads = [
        "method",
        "trials",
        "updates",
        "hours",
        "best",
        f"expected best of {few}",
        "median",
        "worst",
        "needs tuning",
    ]
    caption = (
        "Trials of each method: updates and hours of all of them, and the mean validation WER of the languages, "
        f"percent, {normalised(every)}, one seed: the best trial's, what the best of {few} trials drawn at random has "
        f"on average, the median's and the worst's. Needs tuning: what is lost, in points, by {few} trials instead of "
        "all."
    )
    notes = []
    if utterances and min(utterances) < FEW_VALID:
        notes.append(
            f"A validation set has {min(utterances)} utterances, fewer than {FEW_VALID}: trials that are close are "
            "told apart by chance, and the chosen one's validation WER is too good."
        )
    return Table("tuning", heads, rows, caption, notes, forms={"hours": ".2f"})


def _languages(order: Order) -> tuple[str, str | None]:
    method = next(iter(order.methods.values()))
    return Run(next(iter(method.trials.values()))).languages


def _fronts_caption(order: Order, compared: Sequence) -> str:
    seeds = {len(folders) for method in order.methods.values() for folders in method.chosen.values()}
    runs = (Run(f) for method in order.methods.values() for folders in method.chosen.values() for f in folders)
    said = (
        f"Test sets, {normalised(runs)}. Area: what a method's points dominate of the square up to a WER of 100 % in "
        "both languages (hypervolume), mean over seeds; more is better. The next column: old WER where the method has "
        f"the new WER of {BASELINE}'s chosen trial with the same seed, linear between its points; only where every "
        "seed gets that far."
    )
    if min(seeds) < MIN_SEEDS:
        return f"{said} With fewer than {MIN_SEEDS} seeds there are no intervals and no p-values."
    return (
        f"{said} Brackets: 95 % intervals by Student's t over {min(seeds)} seeds, conditional on these test sets and "
        f"on the model at the start; p: paired by seed, Holm's correction over the {len(compared)} comparisons."
    )


def _write_trials(order: Order, folder: Path) -> None:
    """trials.csv: every trial of every method, the validation WERs of its best weights, and whether it was chosen."""
    rows = []
    for name, method in order.methods.items():
        for cell, trial in method.trials.items():
            best = min(validated(trial), key=fmean)
            new, old = (*best, math.nan)[:2]
            cells = ["" if math.isnan(value) else number(value, ".4f") for value in (new, old, fmean(best))]
            rows.append([name, cell, *cells, cell in method.chosen])
    files.write_csv(folder / "trials.csv", ["method", "trial", "valid_new", "valid_old", "valid_mean", "chosen"], rows)
