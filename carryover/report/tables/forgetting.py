"""The table of a comparison of methods against forgetting: one row a method, from the files of its runs.

Forgetting is the old language's WER after minus before, in points (= minus the backward transfer of CL-MASR). Forward
transfer is the new language's WER of the model that learned it without the old one, minus the row's, in points:
positive where the old language helped. Forgetting avoided is a share of the baseline's forgetting. WER and CER are
never averaged together, and rates never over utterances.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from carryover.report.grouping import BASELINE, FROM_SCRATCH
from carryover.report.normalisers import normalised
from carryover.report.run_folder import Run
from carryover.report.system_scores import Scores
from carryover.report.tables import table as report_table
from carryover.report.tables.cells import number, points, rate, share, spread
from carryover.report.tables.forgetting_caption import caption
from carryover.report.what_ran import said_by
from carryover.stats import bootstrap, conditions
from carryover.stats.significance import Spread, holm
from carryover.stats.systems import NONE, Estimate

COMPARED = ("new_to_baseline", "old_to_baseline")  # have a p-value
NO_SPREAD = Spread("", math.nan, math.nan, 0)
NOT_AVERAGED = " (not averaged)"  # behind the name of a method that says averaging, of its new weights alone


@dataclass
class Row:
    """One system of the table; what could not be taken from the runs is nan. WER and CER in percent, differences in
    points, `avoided` in percent of the baseline's forgetting; of the WER where a name has no CER.

    `shown` is False for a share of averaging that validation did not choose, and for the new weights of a method that
    is its average: it stands in the CSV only.
    """

    system: str  # whose runs these are
    method: str  # what the row is called
    weights: str
    seeds: list[str]
    shown: bool = True
    new: Estimate = NONE
    new_seeds: Spread = NO_SPREAD
    old_before: Estimate = NONE
    old: Estimate = NONE
    old_seeds: Spread = NO_SPREAD
    forgetting: Estimate = NONE
    avoided: Estimate = NONE
    new_to_baseline: Estimate = NONE
    old_to_baseline: Estimate = NONE
    forward_transfer: Estimate = NONE
    new_CER: Estimate = NONE
    old_before_CER: Estimate = NONE
    old_CER: Estimate = NONE
    forgetting_CER: Estimate = NONE
    avoided_CER: Estimate = NONE
    new_CER_to_baseline: Estimate = NONE
    old_CER_to_baseline: Estimate = NONE
    valid_new: float = math.nan
    valid_old: float = math.nan
    lambda_mean: float = math.nan
    penalty_ratio: float = math.nan
    seconds_per_update: float = math.nan
    relative_time: float = math.nan
    peak_memory_bytes: float = math.nan
    relative_memory: float = math.nan

    @property
    def knew_old(self) -> bool:
        """Whether the old language was there to be forgotten."""
        return not math.isnan(self.old_before.value)

    @property
    def valid(self) -> float:
        """Mean of the two languages' validation WER: what shares and lambdas are chosen by."""
        return (self.valid_new + self.valid_old) / 2

    def flat(self) -> dict:
        """One CSV row: an estimate becomes value, _low, _high and, for differences, _p and _p_holm; WERs of seeds _mean
        and _sd.
        """
        found = {}
        for name, value in vars(self).items():
            if isinstance(value, Estimate):
                found |= {name: value.value, f"{name}_low": value.low, f"{name}_high": value.high}
                if name in COMPARED:
                    found |= {f"{name}_{p}": getattr(value, p) for p in ("p", "p_seeds", "p_holm")}
            elif isinstance(value, Spread):
                found |= {f"{name}_mean": value.mean, f"{name}_sd": value.sd}
            else:
                found[name] = " ".join(value) if name == "seeds" else value
        return {k: "" if isinstance(v, float) and math.isnan(v) else v for k, v in found.items()}


@dataclass
class Table:
    """Rows, and what one has to know to read them."""

    rows: list[Row]
    language: str
    old_language: str | None
    caption: str
    over: Mapping[str, str] = field(default_factory=dict)  # `Units.over` by language
    baseline: str = BASELINE
    normalised: str = "normalised"  # by what, see `normalisers.normalised`

    def as_table(self, name: str = "methods") -> report_table.Table:
        """Rows that are shown, under their heads, without columns in which no row has anything to say: those of an
        old language, a baseline, a penalty, several seeds where there is none.

        The CSV has all rows and columns.
        """
        new, old = (
            f"{name}{conditions.mark(self.over.get(name, ''))}" for name in (self.language, self.old_language or "old")
        )
        heads = (
            "method", "seeds", f"{new} WER [95 %]", f"{new} WER, mean ± SD", f"{old} WER before",
            f"{old} WER after [95 %]", f"{old} WER after, mean ± SD", "forgetting [95 %]",
            "forgetting avoided [95 %]", f"{new} CER [95 %]", f"{old} CER after [95 %]",
            f"{new} WER to {self.baseline}", f"{old} WER to {self.baseline}", "forward transfer",
            "lambda x mean", "penalty / loss", "time", "memory",
        )  # fmt: skip
        cells = [
            (
                row.method, len(row.seeds), rate(row.new), spread(row.new_seeds), number(row.old_before.value),
                rate(row.old), spread(row.old_seeds), points(row.forgetting), share(row.avoided),
                rate(row.new_CER), rate(row.old_CER), points(row.new_to_baseline), points(row.old_to_baseline),
                points(row.forward_transfer), number(row.lambda_mean, ".3g"), number(row.penalty_ratio, ".3g"),
                number(row.relative_time, ".2f", " x"), number(row.relative_memory, ".2f", " x"),
            )
            for row in self.rows
            if row.shown
        ]  # fmt: skip
        kept = [i for i in range(len(heads)) if i < 3 or any(row[i] != "-" for row in cells)]
        heads, cells = [heads[i] for i in kept], [[row[i] for i in kept] for row in cells]
        flat = [row.flat() for row in self.rows]
        return report_table.Table(
            name, heads, cells, self.caption,
            csv_columns=list(flat[0]), csv_values=[list(row.values()) for row in flat],
            title="Methods against forgetting, in full",
        )  # fmt: skip

    def markdown(self) -> str:
        """Rows that are shown, with the caption."""
        return self.as_table().markdown()

    def csv(self) -> str:
        """All rows and columns, with full precision; empty where there is no number."""
        return self.as_table().csv()


def table(
    methods: Mapping[str, Sequence[str | Path | Run]],
    baseline: str = BASELINE,
    from_scratch: str = FROM_SCRATCH,
    resamples: int = bootstrap.RESAMPLES,
    seed: int = bootstrap.SEED,
    averages_alone: bool = False,
) -> Table:
    """Compare methods.

    Averages of weights that a run tested (`average_<share>`) are rows of their own; of several shares the one with
    the lowest mean of the two languages' validation WER is shown.

    Parameters
    ----------
    methods : dict
        Run folders of a method (or `Run`s), one a seed, by the method's name.
    baseline : str
        Method that the others are compared with, if it is among them.
    from_scratch : str
        Method that learned the new language without the old one, if it is among them; it has nothing to forget.
    resamples, seed : int
        Of the bootstrap.
    averages_alone : bool
        A method whose averages were tested is its average: its new weights are neither shown nor compared. The
        baseline's are.

    Raises
    ------
    FileNotFoundError, ValueError
        For a run that is not there or has not come to its end, and for runs that cannot be compared.
    """
    runs = {name: _seeds(name, folders) for name, folders in methods.items()}
    language, old_language = _languages(runs)
    averages = {name: _averages(found) for name, found in runs.items()}
    after = {(name, w): found for name, found in runs.items() for w in ("best", *averages[name])}
    new = Scores(language, after, resamples, seed)
    old = None
    if old_language:
        before = {
            (name, "before"): found
            for name, found in runs.items()
            if name != from_scratch and all(run.tested(old_language, "before") for run in found)
        }
        old = Scores(old_language, before | after, resamples, seed)

    rows = {}
    for key, found in after.items():
        name, weights = key
        shown = weights != "best" or not (averages_alone and averages[name]) or name == baseline
        row = rows[key] = Row(name, _label(name, weights, averages[name]), weights, [run.seed for run in found], shown)
        row.new, row.new_CER, row.new_seeds = new.WER.rate(key), new.CER.rate(key), new.WER.seeds[key]
        row.valid_new = mean(run.validation_WER(language, weights) for run in found)
        if name != from_scratch:
            row.forward_transfer = new.WER.difference((from_scratch, "best"), key)
        of_baseline, first = (baseline, "best"), (name, "before")
        if old:
            row.old, row.old_CER, row.old_seeds = old.WER.rate(key), old.CER.rate(key), old.WER.seeds[key]
            row.old_before, row.old_before_CER = old.WER.rate(first), old.CER.rate(first)
            row.forgetting, row.forgetting_CER = old.WER.difference(key, first), old.CER.difference(key, first)
            row.valid_old = mean(run.validation_WER(old_language, weights) for run in found)
        if key != of_baseline:
            row.new_to_baseline = new.WER.difference(key, of_baseline, p=True)
            row.new_CER_to_baseline = new.CER.difference(key, of_baseline)
        if key != of_baseline and old:
            row.old_to_baseline = old.WER.difference(key, of_baseline, p=True)
            row.old_CER_to_baseline = old.CER.difference(key, of_baseline)
            if first in before:
                row.avoided = old.WER.avoided(key, of_baseline, (baseline, "before"))
                row.avoided_CER = old.CER.avoided(key, of_baseline, (baseline, "before"))
        _costs(row, found, runs.get(baseline, []))
    unchosen = [name for name in runs if not _choose_share([rows[name, w] for w in averages[name]])]
    rows = list(rows.values())
    _correct([row for row in rows if row.shown])
    over = {name: scores.units.over for name, scores in ((language, new), (old_language, old)) if scores}
    text = caption(rows, runs, baseline, from_scratch, resamples, over, unchosen)
    by = normalised(run for found in runs.values() for run in found)
    return Table(rows, language, old_language, text, over, baseline, by)


def mean(values) -> float:
    """Arithmetic mean, nan where one is."""
    values = list(values)
    return math.fsum(values) / len(values)


def _seeds(name: str, folders: Sequence[str | Path]) -> list[Run]:
    """Runs of a method by their seed."""
    if not folders or isinstance(folders, (str, Path)):
        raise ValueError(f"{name}: {folders!r}; expected a list of run folders, one a seed")
    runs = (folder if isinstance(folder, Run) else Run(Path(folder)) for folder in folders)
    runs = sorted(runs, key=lambda run: (len(run.seed), run.seed))
    twice = [(a, b) for a, b in zip(runs, runs[1:], strict=False) if a.seed == b.seed]
    if twice:
        a, b = twice[0]
        raise ValueError(f"{name}: {a.folder} and {b.folder} are both of seed {a.seed}; expected one run a seed")
    return runs


def _languages(runs: Mapping[str, Sequence[Run]]) -> tuple[str, str | None]:
    """The pair of languages that all runs have."""
    pairs = {}
    for run in (run for found in runs.values() for run in found):
        pairs.setdefault(run.languages, run.folder)
    if len(pairs) != 1:
        found = "; ".join(f"{new} after {old} in {folder}" for (new, old), folder in pairs.items()) or "no run"
        raise ValueError(f"one table holds one pair of languages; found {found}")
    return next(iter(pairs))


def _label(name: str, weights: str, averages: Sequence[str]) -> str:
    """A row's name. What is called averaging and is no average would be taken for the method."""
    if weights == "best":
        return name + NOT_AVERAGED * (bool(averages) and "averaging" in said_by(name))
    share = weights.removeprefix("average_")
    return f"{name} {share}" if name.endswith("averaging") else f"{name} + averaging {share}"


def _averages(runs: Sequence[Run]) -> list[str]:
    """Averages that every seed has."""
    return [name for name in runs[0].averages if all(name in run.averages for run in runs)]


def _costs(row: Row, runs: Sequence[Run], baseline: Sequence[Run]) -> None:
    """Penalty, time and memory: means over seeds; an average of weights costs what its method does."""
    row.lambda_mean = mean(run.lambda_mean for run in runs)
    row.penalty_ratio = mean(run.penalty_ratio for run in runs)
    row.seconds_per_update = mean(run.summary.seconds_per_update for run in runs)
    row.peak_memory_bytes = mean(run.summary.peak_memory_bytes for run in runs)
    if baseline:
        row.relative_time = row.seconds_per_update / mean(run.summary.seconds_per_update for run in baseline)
        row.relative_memory = row.peak_memory_bytes / mean(run.summary.peak_memory_bytes for run in baseline)


def _choose_share(rows: Sequence[Row]) -> bool:
    """Show of one method's averages the one with the best validation; False, and all shown, without validations."""
    if len(rows) < 2:
        return True
    if any(math.isnan(row.valid) for row in rows):
        return False
    best = min(rows, key=lambda row: row.valid)
    for row in rows:
        row.shown = row is best
    return True


def _correct(rows: Sequence[Row]) -> None:
    """Holm's correction over all that the table compares, the rows shown in both languages, of the larger p-values."""
    compared = [(row, column) for row in rows for column in COMPARED if not math.isnan(getattr(row, column).p)]
    pairs = [getattr(row, column) for row, column in compared]
    corrected = holm([e.p if math.isnan(e.p_seeds) else max(e.p, e.p_seeds) for e in pairs])
    for (row, column), p in zip(compared, corrected, strict=True):
        setattr(row, column, getattr(row, column)._replace(p_holm=p))
