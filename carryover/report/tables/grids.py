"""Grids of swept values: a metric over two keys of the YAML."""

import difflib
import itertools
import math
import statistics
from collections.abc import Sequence

from carryover.report.grouping import SWEPT_APART, about, of_test, without_seed
from carryover.report.log_reader import to_float
from carryover.report.summary import Summary
from carryover.report.tables.scores import rate
from carryover.report.tables.table import Table

PAIRS = (("lr", "warmup"), ("lr", "batch_size"))  # rows and columns of grids that one asks for first


METRICS = ("test WER", "test CER", "old test WER", "forgetting", "valid WER")


def require_grids(runs: Sequence[Summary], wanted: Sequence[tuple[str, str, str]]) -> None:
    """Raise ValueError for a key or metric of a grid that no run has, naming the nearest."""
    keys = {key for run in runs for key in run.settings}
    metrics = {*METRICS, *(column for run in runs for column in run.train)} - {"update", "epoch", "time"}
    for row, column, name in wanted:
        for word, known, what in ((row, keys, "key"), (column, keys, "key"), (name, metrics, "metric")):
            if word not in known:
                near = difflib.get_close_matches(word, sorted(known), n=1, cutoff=0.0)
                lower = [one for one in known if one.lower() == word.lower()] or near
                every = f" Metrics: {', '.join(sorted(known))}" if what == "metric" else ""
                raise ValueError(
                    f"--grid {row},{column},{name}: no run has the {what} '{word}'; did you mean "
                    f"'{lower[0] if lower else ''}'?{every}"
                )


def metric(run: Summary, name: str) -> float:
    """A number of a run by name.

    Parameters
    ----------
    name : str
        test WER, old test WER, forgetting, valid WER (the lowest of the new language), or a column of the train
        events (its last value).
    """
    if name in ("test WER", "test CER"):
        return rate(run.test(run.language, "best"), name[-3:])
    if name == "old test WER":
        return rate(run.test(run.old_language, "best"), "WER")
    if name == "forgetting":
        before, after = (rate(run.test(run.old_language, w), "WER") for w in ("before", "best"))
        return after - before
    if name == "valid WER":
        found = [to_float(e.get("WER")) for e in run.valid if e.get("language") == run.language and "weights" not in e]
        return min(found, default=math.nan)
    column = run.train.get(name, ())
    return float(column[-1]) if len(column) else math.nan


def swept(runs: Sequence[Summary]) -> dict[str, list]:
    """Keys with a number that differs between runs, and its values in order."""
    keys = {key for run in runs for key in run.settings} - set(SWEPT_APART)
    found = {}
    for key in sorted(keys):
        values = {run.settings.get(key) for run in runs if not isinstance(run.settings.get(key), (list, dict))}
        if len(values) > 1 and all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in values):
            found[key] = sorted(values)
    return found


def grid(runs: Sequence[Summary], row_key: str, column_key: str, name: str = "test WER") -> Table | None:
    """Pivot of a metric over two keys of the YAML; None where one of them has a single value.

    A cell is the mean over its finished runs (seeds): what a killed run reached is not what its cell reaches. Runs that
    differ in something else as well do not stand in one grid: see `grids`.
    """
    tested = name.startswith("test") or name in ("old test WER", "forgetting")
    runs = of_test(runs) if tested else [run for run in runs if run.status == "finished"]
    cells = {}
    for run in runs:
        value = metric(run, name)
        if not math.isnan(value) and row_key in run.settings and column_key in run.settings:
            place = run.settings[row_key], run.settings[column_key]
            cells.setdefault(place, []).append((value, run))
    row_values, column_values = (sorted({place[i] for place in cells}, key=_order) for i in (0, 1))
    if len(row_values) < 2 or len(column_values) < 2:
        return None
    used = [run for found in cells.values() for _, run in found]
    flat = [
        [r, c, statistics.fmean(v for v, _ in cells[r, c]), len(cells[r, c])]
        for r, c in itertools.product(row_values, column_values) if (r, c) in cells
    ]  # fmt: skip
    means = {(r, c): mean for r, c, mean, _ in flat}
    rows = [[_shown(r), *(means.get((r, c), math.nan) for c in column_values)] for r in row_values]
    experiments = ", ".join(sorted({run.experiment for run in used}))
    sizes = sorted({row[-1] for row in flat})
    of_cells = f" ({sizes[0]} to {sizes[-1]} of them, see the .csv)" if len(sizes) > 1 else ""
    file = f"grid_{row_key}_{column_key}_{name}".replace(" ", "_")
    return Table(
        file, [f"{row_key} \\ {column_key}", *map(_shown, column_values)], rows,
        f"{name}{_unit(used[0], name)} over {row_key} (rows) and {column_key} (columns), {experiments}; "
        f"mean over the finished runs of a cell{of_cells}. {about(used)}",
        csv_columns=[row_key, column_key, name, "runs"], csv_values=flat,
    )  # fmt: skip


def _order(value) -> tuple:
    return (0, value) if isinstance(value, (int, float)) else (1, str(value))


def _shown(value) -> str:
    return f"{value:g}" if isinstance(value, (int, float)) else str(value)


def _unit(run: Summary, name: str) -> str:
    """A metric's language and unit, for a caption; nothing for a column of the train events."""
    if name == "forgetting":
        return f" ({run.old_language}, points of WER)"
    if name == "old test WER":
        return f" ({run.old_language}, percent)"
    return f" ({run.language}, percent)" if "WER" in name or "CER" in name else ""


def grids(runs: Sequence[Summary], wanted: Sequence[tuple[str, str, str]] = ()) -> list[Table]:
    """Grids that were asked for as (rows, columns, metric), or those of the rate, warm-up and batch size that were
    swept; one for each experiment, pair of test sets and value of whatever else was swept beside them.
    """
    tables = []
    sets = {}
    for run in runs:
        digests = tuple(run.test_sets.get(name, "unknown") for name in (run.language, run.old_language) if name)
        sets.setdefault((run.experiment, run.language, digests, run.normaliser), []).append(run)
    for found in sets.values():
        keys = swept(found)
        pairs = wanted or [
            (row, column, name)
            for row, column in PAIRS
            if row in keys and column in keys
            for name in ("test WER", "valid WER")
        ]
        for row, column, name in pairs:
            parts = {}
            for run in found:
                parts.setdefault(beside(run, (row, column)), []).append(run)
            tables += [table for part in parts.values() if (table := grid(part, row, column, name)) is not None]
    for name, same in groups_of(tables).items():
        for i, table in enumerate(same if len(same) > 1 else (), 1):
            table.name = f"{name}_{i}"
    return tables


def groups_of(tables: Sequence[Table]) -> dict[str, list[Table]]:
    """Tables by name."""
    found = {}
    for table in tables:
        found.setdefault(table.name, []).append(table)
    return found


def beside(run: Summary, keys: Sequence[str]) -> str:
    """All of a run's settings but these and the seed, as one text: alike for runs that may be held side by side."""
    values = {**run.settings, **run.objects}
    left = set(keys) | set(SWEPT_APART)
    return repr(sorted((k, without_seed(v, run.seed)) for k, v in values.items() if k not in left))
