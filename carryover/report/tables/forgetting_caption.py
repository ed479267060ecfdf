"""What stands beneath the table of methods: what its numbers are and how they were made."""

import math
from collections.abc import Mapping, Sequence

from carryover.report.normalisers import normalised
from carryover.report.run_folder import Run
from carryover.stats import conditions


def caption(
    rows: Sequence,
    runs: Mapping[str, Sequence[Run]],
    baseline: str,
    from_scratch: str,
    resamples: int,
    over: Mapping[str, str],
    unchosen: Sequence[str],
) -> str:
    """Sentences, each where a row has the number that it is of.

    Parameters
    ----------
    rows : list of forgetting.Row
    runs : dict
        Runs of a method, one a seed.
    baseline, from_scratch : str
        As `forgetting.table` has them.
    resamples : int
        Of the bootstrap.
    over : dict
        `Units.over` by language.
    unchosen : list of str
        Methods of whose averages no share could be chosen.
    """
    compared = [
        p for row in rows for p in (row.new_to_baseline.p_holm, row.old_to_baseline.p_holm) if not math.isnan(p)
    ]
    by = normalised(run for found in runs.values() for run in found)
    lines = [f"WER and CER in percent over the test set, {by}; differences in points."]
    lines += conditions.said(over, {name: len(found) for name, found in runs.items()}, resamples)
    if any(len(row.seeds) > 1 for row in rows):
        lines.append("Mean ± SD: each seed's WER over the test set, their mean and standard deviation (n - 1).")
    if any(not math.isnan(row.forgetting.value) for row in rows):
        lines.append("Forgetting: WER of the old language after minus before.")
    if any(not math.isnan(row.avoided.value) for row in rows):
        lines.append(f"Forgetting avoided: share of {baseline}'s forgetting that a method has not, in percent.")
    if compared:
        lines.append(
            f"p: two-sided, against {baseline}, the larger one of this t and of a t over seeds alone; Holm's "
            f"correction over the {len(compared)} comparison{'s' * (len(compared) > 1)} of this table."
        )
    if from_scratch in runs:
        lines.append(
            f"Forward transfer: WER of {from_scratch} minus the row's, new language; positive: what was known helped."
        )
    if any(not math.isnan(row.lambda_mean) for row in rows):
        lines.append("Lambda x mean: lambda times the mean importance of a parameter, by which penalties are compared.")
    if any(not math.isnan(row.penalty_ratio) for row in rows):
        lines.append("Penalty / loss: at the last update logged.")
    if any(not math.isnan(row.relative_time) for row in rows):
        lines.append(
            "Time: wall seconds an update, without validation, tests, checkpoints and Fisher estimation (median of the "
            f"log's windows), relative to {baseline}; comparable where runs had the machine alike."
        )
    if any(not math.isnan(row.relative_memory) for row in rows):
        lines.append(f"Memory: the process's peak, relative to {baseline}.")
    seeds = {name: ", ".join(run.seed for run in found) for name, found in runs.items()}
    same = len(set(seeds.values())) == 1
    lines.append(
        f"Seeds: {next(iter(seeds.values()))}."
        if same
        else f"Seeds: {'; '.join(f'{name} {found}' for name, found in seeds.items())}. Rows with other seeds are held "
        "for independent of each other's seeds."
    )
    if any(row.weights != "best" for row in rows):
        lines.append(
            "Averaging: share of the new weights; of several the one with the lowest mean of both languages' "
            "validation WER" + (f" (all for {', '.join(unchosen)}: no such validation)." if unchosen else ".")
        )
    return " ".join(lines)
