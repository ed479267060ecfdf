"""The table of a comparison of methods against forgetting: one row a method, from the files of its runs.

Forgetting is the old language's WER after minus before, in points (= minus the backward transfer of CL-MASR). Forward
transfer is the new language's WER of the model that learned it without the old one, minus the row's, in points:
positive where the old language helped. WER and CER are never averaged together, and rates never over utterances.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from carryover.report.grouping import BASELINE, FROM_SCRATCH
from carryover.report.phrases import grouped
from carryover.report.run_folder import Run
from carryover.report.system_scores import Scores
from carryover.report.tables import table as report_table
from carryover.report.tables.cells import number, points, rate, spread
from carryover.stats import bootstrap
from carryover.stats.significance import Spread
from carryover.stats.systems import NONE, Estimate

NO_SPREAD = Spread("", math.nan, math.nan, 0)


@dataclass
class Row:
    """One system of the table; what could not be taken from the runs is nan. WER and CER in percent, rest in points.

    `shown` is False for a share of averaging that validation did not choose: it stands in the CSV only.
    """

    method: str
    weights: str
    seeds: list[str]
    shown: bool = True
    new: Estimate = NONE
    new_seeds: Spread = NO_SPREAD
    old_before: Estimate = NONE
    old: Estimate = NONE
    old_seeds: Spread = NO_SPREAD
    forgetting: Estimate = NONE
    new_to_baseline: Estimate = NONE
    old_to_baseline: Estimate = NONE
    forward_transfer: Estimate = NONE
    new_CER: float = math.nan
    old_CER: float = math.nan
    valid_new: float = math.nan
    valid_old: float = math.nan
    penalty_ratio: float = math.nan
    seconds_per_update: float = math.nan
    relative_time: float = math.nan
    peak_memory_bytes: float = math.nan
    relative_memory: float = math.nan

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
                if name.endswith("_to_baseline"):
                    found |= {f"{name}_p": value.p, f"{name}_p_holm": value.p_holm}
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
    one_speaker: frozenset[str] = frozenset()
    baseline: str = BASELINE

    def as_table(self, name: str = "methods") -> report_table.Table:
        """Rows that are shown, under their heads, without columns in which no row has anything to say: those of an
        old language, a baseline, a penalty, several seeds where there is none.

        The CSV has all rows and columns.
        """
        new, old = (
            f"{name}{' †' * (name in self.one_speaker)}" for name in (self.language, self.old_language or "old")
        )
        heads = (
            "method", "seeds", f"{new} WER [95 %]", f"{new} WER, mean ± SD", f"{old} WER before",
            f"{old} WER after [95 %]", f"{old} WER after, mean ± SD", "forgetting [95 %]",
            f"{new} WER to {self.baseline}", f"{old} WER to {self.baseline}", "forward transfer", "penalty / loss",
            "time", "memory",
        )  # fmt: skip
        cells = [
            (
                row.method, len(row.seeds), rate(row.new), spread(row.new_seeds), number(row.old_before.value),
                rate(row.old), spread(row.old_seeds), points(row.forgetting), points(row.new_to_baseline),
                points(row.old_to_baseline), points(row.forward_transfer), number(row.penalty_ratio, ".3g"),
                number(row.relative_time, ".2f", " x"), number(row.relative_memory, ".2f", " x"),
            )
            for row in self.rows
            if row.shown
        ]  # fmt: skip
        kept = [i for i in range(len(heads)) if i < 3 or any(row[i] != "-" for row in cells)]
        heads, cells = [heads[i] for i in kept], [[row[i] for i in kept] for row in cells]
        flat = [row.flat() for row in self.rows]
        return report_table.Table(
            name, heads, cells, self.caption, csv_columns=list(flat[0]), csv_values=[list(row.values()) for row in flat]
        )

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
        label = name if weights == "best" else f"{name} + averaging {weights.removeprefix('average_')}"
        row = rows[key] = Row(label, weights, [run.seed for run in found])
        row.new, row.new_CER, row.new_seeds = new.wer(key), new.CER[key], new.seeds[key]
        row.valid_new = mean(run.validation_WER(language, weights) for run in found)
        if name != from_scratch:
            row.forward_transfer = new.difference((from_scratch, "best"), key)
        if old:
            row.old, row.old_before, row.old_CER = old.wer(key), old.wer((name, "before")), old.CER[key]
            row.old_seeds = old.seeds[key]
            row.forgetting = old.difference(key, (name, "before"))
            row.valid_old = mean(run.validation_WER(old_language, weights) for run in found)
        if key != (baseline, "best"):
            row.new_to_baseline = new.difference(key, (baseline, "best"), p=True)
            row.old_to_baseline = old.difference(key, (baseline, "best"), p=True) if old else NONE
        _costs(row, found, runs.get(baseline, []))
    unchosen = [name for name in runs if not _choose_share([rows[name, w] for w in averages[name]])]
    rows = list(rows.values())
    for column in ("new_to_baseline", "old_to_baseline"):
        _correct([row for row in rows if row.shown], column)
    one_speaker = frozenset(
        name
        for name, scores in ((language, new), (old_language, old))
        if scores and len(scores.speakers) == 1 and scores.speakers != {""}
    )
    caption = _caption(rows, runs, baseline, from_scratch, resamples, seed, one_speaker, unchosen)
    return Table(rows, language, old_language, caption, one_speaker, baseline)


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


def _averages(runs: Sequence[Run]) -> list[str]:
    """Averages that every seed has."""
    return [name for name in runs[0].averages if all(name in run.averages for run in runs)]


def _costs(row: Row, runs: Sequence[Run], baseline: Sequence[Run]) -> None:
    """Penalty, time and memory: means over seeds; an average of weights costs what its method does."""
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


def _correct(rows: Sequence[Row], column: str) -> None:
    """Holm's correction over the rows that were compared with the baseline."""
    compared = [row for row in rows if not math.isnan(getattr(row, column).p)]
    corrected = bootstrap.holm([getattr(row, column).p for row in compared])
    for row, p in zip(compared, corrected, strict=True):
        setattr(row, column, getattr(row, column)._replace(p_holm=p))


def _caption(rows, runs, baseline, from_scratch, resamples, seed, one_speaker, unchosen) -> str:
    """What the numbers are and how they were made."""
    seeds = {name: ", ".join(run.seed for run in found) for name, found in runs.items()}
    drawn = "utterances and seeds" if any(len(found) > 1 for found in runs.values()) else "utterances"
    compared = sum(not math.isnan(row.new_to_baseline.p_holm) for row in rows)
    lines = [
        "WER in percent over the test set, normalised; differences in points.",
        f"In brackets 95 % intervals: percentile bootstrap, {grouped(resamples)} resamples of {drawn} "
        f"(generator's seed {seed}), the same ones on both sides of a difference.",
    ]
    if any(len(row.seeds) > 1 for row in rows):
        lines.append("Mean ± SD: each seed's WER over the test set, their mean and standard deviation (n - 1).")
    if any(not math.isnan(row.forgetting.value) for row in rows):
        lines.append("Forgetting: WER of the old language after minus before.")
    if compared:
        lines.append(
            f"p: two-sided bootstrap against {baseline}, Holm's correction over {compared} "
            f"row{'s' * (compared > 1)} in each language."
        )
    if from_scratch in runs:
        lines.append(
            f"Forward transfer: WER of {from_scratch} minus the row's, new language; positive: what was known helped."
        )
    if any(not math.isnan(row.penalty_ratio) for row in rows):
        lines.append("Penalty / loss: at the last update logged.")
    if any(not math.isnan(row.relative_time) for row in rows):
        lines.append(
            "Time: wall seconds an update, without validation, tests, checkpoints and Fisher estimation (median of the "
            f"log's windows), relative to {baseline}; comparable where runs had the machine alike."
        )
    if any(not math.isnan(row.relative_memory) for row in rows):
        lines.append(f"Memory: the process's peak, relative to {baseline}.")
    same = len(set(seeds.values())) == 1
    lines.append(
        f"Seeds: {next(iter(seeds.values()))}."
        if same
        else f"Seeds: {'; '.join(f'{name} {found}' for name, found in seeds.items())}. Rows with other seeds have "
        "draws of their own."
    )
    if any(row.weights != "best" for row in rows):
        lines.append(
            "Averaging: share of the new weights; of several the one with the lowest mean of both languages' "
            "validation WER" + (f" (all for {', '.join(unchosen)}: no such validation)." if unchosen else ".")
        )
    if one_speaker:
        lines.append("† one speaker: the interval says nothing about other speakers.")
    return " ".join(lines)
