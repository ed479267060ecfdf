"""The table of a sequence of languages: after each stage the WER of each language, and what was kept and gained."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean, stdev

from carryover.report.normalisers import normalised
from carryover.report.run_folder import Run
from carryover.report.tables.table import Table
from carryover.stats import transfer

SUMS = ("average WER", "BWT", "FWT")


def table(
    languages: Sequence[str],
    methods: Mapping[str, Sequence[Sequence[Path | None]]],
    alone: Sequence[Sequence[Path]] | None = None,
) -> Table:
    """One row a method and stage; means over seeds, with the standard deviation where there are several.

    Parameters
    ----------
    languages : list of str
        In the order in which they were learned.
    methods : dict
        {name: for each seed the run folder of each stage}; a first folder of None: the WER of that stage is the one
        that the second stage's run was tested with before its training.
    alone : list, optional
        For each seed the run folders of the languages from the second on, each learned alone: FWT's reference.

    Raises
    ------
    FileNotFoundError, ValueError
        For a run that is not whole or has not tested a language.
    """
    columns = ["method", "stage", *(f"{name} WER" for name in languages), *SUMS, "seeds"]
    csv_columns = [*columns[:-1], *(f"{name} SD" for name in columns[2:-1]), "seeds"]
    references = [[_WER(run, name) for run, name in zip(found, languages[1:], strict=True)] for found in alone or ()]
    shown, full = [], []
    for method, seeds in methods.items():
        found = [matrix(languages, folders) for folders in seeds]
        for k, language in enumerate(languages):
            cells = [[W[k][i] if i <= k else math.nan for W in found] for i in range(len(languages))]
            cells.append([transfer.average(W, k) for W in found])
            cells.append([transfer.backward(W, k) for W in found])
            cells.append([
                transfer.forward(W, k, references[s][k - 1]) if references and k else math.nan
                for s, W in enumerate(found)
            ])  # fmt: skip
            means, deviations = [fmean(cell) for cell in cells], [_sd(cell) for cell in cells]
            head, n = [method, f"{k + 1} {language}"], len(found)
            shown.append([*head, *map(_shown, means, deviations), n])
            full.append([*head, *means, *deviations, n])
    every = [folder for seeds in methods.values() for folders in seeds for folder in folders if folder is not None]
    by, order = normalised(Run(Path(folder)) for folder in every), " -> ".join(languages)
    reference = "the language learned alone from the first stage's model, without a method" if alone else "not run"
    notes = [
        "Average WER: of the languages learned so far. BWT: mean over the languages before of the WER after their own "
        f"stage minus the WER now; below 0: forgetting. FWT: WER of a reference ({reference}) minus the WER after the "
        "language's own stage. All as in CL-MASR (Della Libera et al. 2023), whose first task is a group of languages "
        "and ours one language.",
        "Means over seeds, ± their standard deviation." if len(next(iter(methods.values()))) > 1 else "One seed: "
        "nothing here says how far another seed would be off.",
    ]  # fmt: skip
    return Table(
        "stages", columns, shown, f"WER in percent over the test sets after each stage, {by}; {order}.",
        notes, csv_columns=csv_columns, csv_values=full,
    )  # fmt: skip


def matrix(languages: Sequence[str], folders: Sequence[Path | None]) -> list[list[float]]:
    """W[k][i], the WER of language i after stage k, in percent, of one seed."""
    W = []
    for k, folder in enumerate(folders):
        if folder is None:
            W.append([_WER(folders[1], languages[0], "before")])
        else:
            W.append([_WER(folder, language) for language in languages[: k + 1]])
    return W


def _WER(folder: Path, language: str, weights: str | None = None) -> float:
    """Of the run's exported model, or of the weights asked for."""
    run = Run(Path(folder))
    weights = weights or run.summary.info.get("exported", "best")
    tests = run.of("test", language=language, weights=weights)
    if not tests:
        found = sorted({(e["language"], e["weights"]) for e in run.of("test")})
        raise ValueError(f"{folder}: no test of {language} with weights {weights}, only {found}; repeat its command")
    return float(tests[-1]["WER"])


def _sd(values: Sequence[float]) -> float:
    return stdev(values) if len(values) > 1 and not any(map(math.isnan, values)) else math.nan


def _shown(mean: float, deviation: float) -> str:
    if math.isnan(mean):
        return "-"
    return f"{mean:.2f}" + ("" if math.isnan(deviation) else f" ± {deviation:.2f}")
