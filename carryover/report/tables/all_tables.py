"""All tables of a report; one that has nothing to show is left out and said to be."""

from collections.abc import Sequence

from carryover.report.grouping import BASELINE
from carryover.report.phrases import listed
from carryover.report.summary import Summary
from carryover.report.tables import grids, learning, provenance, scores
from carryover.report.tables.table import Table


def make(
    runs: Sequence[Summary],
    rate: float | None = None,
    wanted: Sequence[tuple[str, str, str]] = (),
    baseline: str = BASELINE,
) -> tuple[list[Table], list[str]]:
    """Make the tables of these runs.

    Parameters
    ----------
    runs : list of Summary
    rate : float, optional
        Money an hour of the machine costs.
    wanted : list of (row key, column key, metric), optional
        See `grids.grids`.
    baseline : str
        Method that the others are compared with, where it is among them.

    Returns
    -------
    (tables, left_out)
        Tables by subject; and what was left out, one sentence each.
    """
    compared, left_out = scores.methods(runs, baseline)
    pivots = grids.grids(runs, wanted)
    made = {
        "methods": (compared, "no finished runs with an old language, and no two methods with one test set"),
        "before_after": (scores.before_after(runs), "no run has been tested"),
        "speakers": (scores.speakers(runs), "no finished run has predictions of a test"),
        "learning_curve": (learning.learning_curve(runs), "no run has been validated"),
        "adaptation": (learning.adaptation(runs), "no run logged a penalty"),
        "hyperparameters": (provenance.hyperparameters(runs), "no two experiments that differ in a key"),
        "grids": (pivots, "no two of lr, warmup and batch_size with several values beside each other"),
        "batch_memory": (learning.batch_memory(runs), "no experiment with several batch sizes on one machine"),
        "loss_reduction": (learning.loss_reduction(runs), "no run logged its loss twice"),
        "updates_to_loss": (learning.updates_to_loss(runs), "no two methods with one test set that were validated"),
        "dynamics": (learning.dynamics(runs), "no run logged a train event"),
        "overfit": (learning.overfit(runs), "no run with --overfit"),
        "by_heart_and_in_full": (provenance.by_heart_and_in_full(runs), "no recipe with and without --overfit"),
        "cost": (learning.cost(runs, rate), "no run logged its time"),
        "parameters": (provenance.parameters(runs), "no run says `parameters` and `trainable`"),
        "data": (provenance.data(runs), "no manifests in the run folders"),
        "test_sets": (scores.test_sets(runs), "no finished run has been tested"),
        "flags": (provenance.flags(runs), "; ".join(filter(None, ("no log shows any", provenance.long_logs(runs))))),
        "problems": (provenance.problems(runs), "every file could be read"),
        "runs": (provenance.provenance(runs), "no run"),
    }
    names = listed(sorted({run.normaliser for run in runs} - {""}))
    tables = []
    for name, (found, reason) in made.items():
        found = found if isinstance(found, list) else [found] if found is not None else []
        for table in found:
            if names and "normalised" in table.caption and "normalised by" not in table.caption:
                table.notes = [*table.notes, f"Normalised by {names}."]
        tables += found
        left_out += [] if found else [f"{name}: {reason}"]
    return tables, left_out
