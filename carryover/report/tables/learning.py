"""Tables of how runs learned: curves, penalties, dynamics, loss reduction, memory, cost."""

import math
import statistics
from collections.abc import Sequence

import numpy as np

from carryover.report.grouping import SWEPT_APART, about, comparable, having, method_names, without_seed
from carryover.report.log_reader import POINTS, to_float
from carryover.report.phrases import listed
from carryover.report.summary import Summary
from carryover.report.tables.grids import beside
from carryover.report.tables.table import MOST, Table

# Columns of a train event that are no term of the loss.
NO_TERM = {
    "update", "epoch", "time", "loss", "lr", "grad_norm", "clipped", "audio_seconds", "padding", "blank_ratio",
    "skipped", "data_wait_seconds", "peak_memory_bytes", "penalty_ratio", "energy_joules", "agem_cosine",
}  # fmt: skip
# terms of the loss that name what is learned, in the order they are said; others are penalties
TASK = ("ctc", "nll", "kd", "der_logits", "der_replay", "pseudo_replay")
BATCH = ("batch_size", "grad_accumulation_factor", "precision")  # what a table of memory compares
GiB = 2**30


def learning_curve(runs: Sequence[Summary]) -> Table | None:
    """Epoch, update, training and validation loss, WER and CER at every validation."""
    rows, best = [], set()
    for run in runs:
        updates, losses = run.train.get("update", np.array([])), run.train.get("loss", np.array([]))
        mine = []
        for event in run.valid:
            before = np.flatnonzero(updates <= event.get("update", -1))
            loss = float(losses[before[-1]]) if len(before) and len(losses) else math.nan
            rates = [to_float(event.get(key)) for key in ("loss", "WER", "CER")]
            weights = str(event.get("weights", "training"))
            cells = [run.name, event.get("language", ""), weights, event.get("epoch"), event.get("update")]
            mine.append([*cells, loss, *rates])
        new = [row for row in mine if row[1] == run.language and row[2] == "training" and not math.isnan(row[7])]
        if new:
            best |= {(run.name, min(new, key=lambda row: row[7])[4]), (run.name, new[-1][4])}
        rows += mine
    if not rows:
        return None
    columns = ["run", "language", "weights", "epoch", "update", "train loss", "valid loss", "WER", "CER"]
    short = len(rows) > MOST
    shown = [row for row in rows if not short or (row[0], row[4]) in best]
    notes = [f"Of each run its best and its last validation; all {len(rows)} are in learning_curve.csv."] * short
    caption = (
        "Learning curves: training loss (mean over the updates since the log's line before, at the last line up to the "
        "validation), validation loss, and WER and CER of the validation sets in percent, normalised (jiwer). "
        + about(having(runs, rows))
    )
    forms = {"train loss": ".4g", "valid loss": ".4g"}
    return Table("learning_curve", columns, shown, caption, notes, forms, csv_columns=columns, csv_values=rows)


def adaptation(runs: Sequence[Summary]) -> Table | None:
    """Update, training loss, penalty and penalty / loss of runs with a penalty."""
    rows, shown = [], []
    for run in runs:
        if not {"penalty_ratio", "update", "loss"} <= run.train.keys():
            continue
        ratio = run.train["penalty_ratio"]
        terms = [key for key in run.train if key not in NO_TERM and key not in TASK]
        penalty = sum(run.train[key] for key in terms) if terms else ratio * run.train["loss"]
        columns = (run.train["update"], run.train["loss"], penalty, ratio)
        mine = [
            [run.name, run.settings.get("lambda"), int(update), *map(float, values)]
            for update, *values in zip(*columns, strict=True)
        ]
        rows += mine
        # the display shows how it grows: five points a run
        shown += [mine[i] for i in sorted(set(np.linspace(0, len(mine) - 1, 5).round().astype(int).tolist()))]
    if not rows:
        return None
    columns = ["run", "lambda", "update", "train loss", "penalty", "penalty / loss"]
    caption = (
        "Adaptation: loss of the task and penalty against forgetting, each unweighed by the other, and their ratio, as "
        f"the log has them: loss as the mean over the updates since the line before. {about(having(runs, rows))}"
    )
    forms = {"lambda": "g", "train loss": ".4g", "penalty": ".4g", "penalty / loss": ".3g"}
    notes = ["Five lines of each run's log; all are in adaptation.csv."] * (len(shown) < len(rows))
    thinned = any(run.train_events > len(run.train.get("update", ())) for run in runs)
    notes += [f"Of logs of more than {POINTS} lines, {POINTS} that show the same curve."] * thinned
    return Table("adaptation", columns, shown, caption, notes, forms, csv_columns=columns, csv_values=rows)


def dynamics(runs: Sequence[Summary]) -> Table | None:
    """All that training logged, as means over each epoch."""
    shown_too = ("lr", "grad_norm", "clipped", "blank_ratio", "padding", "penalty_ratio", "skipped")
    keys = list(dict.fromkeys(key for run in runs for key in run.by_epoch if key not in ("epoch", "update", "time")))
    rows = []
    for run in runs:
        for i, epoch in enumerate(run.by_epoch.get("epoch", ())):
            update = run.by_epoch["update"][i] if "update" in run.by_epoch else math.nan
            values = [float(run.by_epoch[key][i]) if key in run.by_epoch else math.nan for key in keys]
            rows.append([run.name, int(epoch), None if math.isnan(update) else int(update), *values])
    if not rows:
        return None
    columns = ["run", "epoch", "update", *keys]
    kept = [0, 1, 2, *(3 + i for i, k in enumerate(keys) if k == "loss" or k not in NO_TERM or k in shown_too)]
    caption = (
        "Dynamics of training: means over the log's lines of an epoch (update: the last), of the loss, its terms, the "
        "learning rate, the gradient norm before clipping, the share of updates that were clipped and what the recipe "
        f"logs. {about(having(runs, rows))}"
    )
    return Table(
        "dynamics", [columns[i] for i in kept], [[row[i] for i in kept] for row in rows], caption,
        forms=dict.fromkeys(keys, ".4g"), csv_columns=columns, csv_values=rows,
    )  # fmt: skip


def overfit(runs: Sequence[Summary]) -> Table | None:
    """Every line of runs that learn a handful of utterances by heart (--overfit N)."""
    runs = [run for run in runs if run.settings.get("overfit")]
    rows = [
        [run.name, int(run.settings["overfit"]), int(update), *(
            float(run.train[key][i]) if key in run.train else math.nan for key in ("loss", "grad_norm", "blank_ratio")
        )]
        for run in runs for i, update in enumerate(run.train.get("update", ()))
    ]  # fmt: skip
    if not rows:
        return None
    columns = ("run", "utterances", "update", "loss", "gradient norm", "share of blanks")
    forms = {"loss": ".4g", "gradient norm": ".4g"}
    caption = f"Learning a handful of training utterances by heart: each line of the log. {about(runs)}"
    return Table("overfit", columns, rows, caption, forms=forms)


def loss_reduction(runs: Sequence[Summary]) -> Table | None:
    """First and last training loss, by how much it fell, and its mean over updates."""
    rows = []
    for run in runs:
        if math.isnan(run.first_loss) or run.train_events < 2 or not run.first_loss:
            continue
        fell = run.first_loss - run.last_loss
        rows.append(
            [run.name, run.last_update, run.first_loss, run.last_loss, 100 * fell / run.first_loss, run.mean_loss,
             fell / run.last_update if run.last_update else math.nan]
        )  # fmt: skip
    if not rows:
        return None
    columns = ("run", "updates", "first loss", "last loss", "reduction (%)", "mean loss", "reduction per update")
    forms = {key: ".4g" for key in columns[2:]} | {"reduction (%)": ".1f"}
    caption = (
        "Training loss at the first and the last line of the log (each the mean over the updates since the line "
        "before), its reduction in percent of the first, its mean over all updates, and the reduction per update. "
        + about(having(runs, rows))
    )
    return Table("loss_reduction", columns, rows, caption, forms=forms)


def updates_to_loss(runs: Sequence[Summary]) -> list[Table]:
    """Updates that each of several methods needs until its validation loss is at a level: a warm-up study's table.

    Three levels: the geometric mean of where the runs begin and what all of them reach; what all reach; the lowest
    of all. Runs are beside each other that have one test set and the same terms of the loss.
    """
    families = {}
    for key, tested in comparable(runs).items():
        for run in tested:
            terms = tuple(sorted(set(run.train) & set(TASK)))
            if curve := _validation_losses(run):
                families.setdefault((key, terms), []).append((run, curve))
    tables = []
    for (key, _), found in families.items():
        curves = {run.name: curve for run, curve in found}
        named = method_names([run for run, _ in found])
        if len(named) < 2:
            continue
        lowest = [min(loss for _, loss in curve) for curve in curves.values()]
        begin = max(curve[0][1] for curve in curves.values())
        levels = sorted({_rounded_up(x) for x in (math.sqrt(begin * max(lowest)), max(lowest), min(lowest))})[::-1]
        rows = [
            [name, len(of), *(_mean_updates([curves[run.name] for run in of], level) for level in levels)]
            for name, of in named.items()
        ]
        columns = ("method", "seeds", *(f"loss {level:g}" for level in levels))
        caption = (
            f"Updates until the validation loss ({key[0]}) is at or below a level, at the first validation that finds "
            "it so; mean over seeds, none where a seed does not get there. The levels: halfway (geometric mean) from "
            "where the runs begin to what all of them reach, what all reach, and the lowest of all, rounded up to "
            f"three digits. {about([run for run, _ in found])}"
        )
        name = "updates_to_loss" + (f"_{len(tables) + 1}" if tables else "")
        tables.append(Table(name, columns, rows, caption, forms=dict.fromkeys(columns[2:], ".0f")))
    return tables


def _validation_losses(run: Summary) -> list[tuple[int, float]]:
    """(update, loss) of a run's validations of what it learns, without those that found no finite loss."""
    found = [
        (int(event["update"]), to_float(event.get("loss")))
        for event in run.valid
        if event.get("language") == run.language and "weights" not in event and "update" in event
    ]
    return [(update, loss) for update, loss in found if math.isfinite(loss) and loss > 0]


def _rounded_up(value: float) -> float:
    """To three digits."""
    unit = 10.0 ** (math.floor(math.log10(value)) - 2)
    return float(f"{math.ceil(value / unit - 1e-9) * unit:.3g}")


def _mean_updates(curves: Sequence[Sequence[tuple[int, float]]], level: float) -> float:
    first = [next((update for update, loss in curve if loss <= level), math.nan) for curve in curves]
    return float(np.mean(first))


def batch_memory(runs: Sequence[Summary]) -> Table | None:
    """Memory and speed by batch size, of runs that differ in the batch, its parts and the precision alone."""
    families = {}
    for run in runs:
        if not math.isnan(run.peak_memory_bytes) and run.settings.get("batch_size") is not None:
            families.setdefault((run.experiment, machine(run.info), beside(run, BATCH)), []).append(run)
    families = {k: same for k, same in families.items() if len({run.settings["batch_size"] for run in same}) > 1}
    rows, used = [], []
    for (experiment, where, _), family in families.items():
        others = [same[0] for (*place, _), same in families.items() if place == [experiment, where]]
        found = {}
        for run in family:
            found.setdefault(tuple(run.settings.get(key) for key in BATCH), []).append(run)
        for (size, accumulation, precision), same in found.items():
            used += same
            pace = statistics.fmean(run.seconds_per_update for run in same)
            effective = size * (accumulation or 1)
            peak = max(run.peak_memory_bytes for run in same) / GiB
            cells = [experiment, where, _apart(family[0], others) or None, precision, size, accumulation, effective]
            rows.append([*cells, peak, pace, effective / pace])
    if not rows:
        return None
    rows.sort(key=lambda row: (row[0], row[1], str(row[2]), str(row[3]), row[6], row[4]))
    columns = [
        "experiment", "machine", "settings", "precision", "batch size", "accumulation", "effective batch",
        "peak memory (GiB)", "seconds per update", "utterances per second",
    ]  # fmt: skip
    kept = [i for i in range(len(columns)) if i != 2 or any(row[2] for row in rows)]
    caption = (
        "Memory and speed by batch size: highest peak that was logged (of the GPU where there is one, else of the "
        "process), median seconds of an update without validation and checkpoints, mean over runs. Lines of one "
        "experiment"
        + (", machine and settings" if 2 in kept else " and machine")
        + f" differ in the batch, its parts and the precision alone. {about(used)}"
    )
    return Table(
        "batch_memory", [columns[i] for i in kept], [[row[i] for i in kept] for row in rows], caption,
        forms={"seconds per update": ".3f"},
    )  # fmt: skip


def _apart(run: Summary, others: Sequence[Summary]) -> str:
    """What else a run was set to than others, itself among them, e.g. "lr=0.001"; "" where they are alike."""

    def texts(run: Summary) -> dict[str, str]:
        return {key: without_seed(value, run.seed) for key, value in {**run.settings, **run.objects}.items()}

    found = [texts(other) for other in others]
    keys = sorted({key for one in found for key in one} - {*BATCH, *SWEPT_APART})
    mine = texts(run)
    return ", ".join(f"{key}={mine.get(key, '-')}" for key in keys if len({one.get(key) for one in found}) > 1)


def gpu(info: dict) -> str:
    """The GPU that a run used, for it uses one; "" where it ran on the processor.

    Of a run that does not say its `device`, as an older version's, the first GPU that it could see.
    """
    gpus = (info.get("hardware") or {}).get("gpus") or ()
    kind, _, index = str(info.get("device", "cuda" if gpus else "cpu")).partition(":")
    used = next(iter(gpus[int(index or 0) :]), "unknown GPU") if kind == "cuda" else ""
    return str(used.get("name") if isinstance(used, dict) else used)


def machine(info: dict) -> str:
    """What a run ran on: its GPU, else its processor with the threads used; "" where run.json says nothing."""
    if name := gpu(info):
        return name
    hardware = info.get("hardware") or {}
    threads = hardware.get("threads") or hardware.get("cores")
    return f"{hardware.get('cpu', '')}{f', {threads} threads' * bool(threads)}" if hardware else ""


def cost(runs: Sequence[Summary], rate: float | None = None) -> Table | None:
    """Hours, GPU hours, money and energy by experiment, over its seeds.

    Parameters
    ----------
    rate : float, optional
        Money an hour of the machine costs.
    """
    rows, guessed = [], []
    for name, same in method_names(runs).items():
        known = [run for run in same if not math.isnan(run.seconds)]
        if not known:
            continue
        hours = sum(run.seconds for run in known) / 3600
        on_gpu = [run for run in known if gpu(run.info)]
        guessed += [run.name for run in on_gpu if "device" not in run.info]
        gpu_hours = sum(run.seconds for run in on_gpu) / 3600
        energy = sum(run.energy_joules for run in known) / 3.6e6
        audio = sum(run.audio_seconds for run in known) / 3600
        training = sum(run.seconds_of_updates for run in known) / 3600
        machines = listed(sorted({machine(run.info) for run in known} - {""}))
        peaks = [run.peak_memory_bytes for run in known if not math.isnan(run.peak_memory_bytes)]
        rows.append(
            [name, machines, len(known), sum(run.last_update for run in known), hours, hours / len(known),
             training, audio, gpu_hours or math.nan, math.nan if rate is None else rate * hours,
             energy, max(peaks, default=math.nan) / GiB]
        )  # fmt: skip
    if not rows:
        return None
    columns = [
        "experiment", "machine", "runs", "updates", "hours", "hours per run", "hours of updates", "hours of audio",
        "GPU hours", "money", "energy (kWh)", "peak memory (GiB)",
    ]  # fmt: skip
    empty = {i for i in range(len(columns)) if all(isinstance(r[i], float) and math.isnan(r[i]) for r in rows)}
    kept = [i for i in range(len(columns)) if i not in empty]
    caption = (
        "Cost of all seeds together: hours from the start of training and tests to the last line of the log (time "
        "before a resume is in it, time between is not), hours of updates alone (mean pace times updates), hours of "
        "audio trained on, repeats counted"
        + (", hours of runs on a GPU, of which a run uses one" if 8 not in empty else "")
        + (f", money at {rate:g} an hour of the machine" if rate is not None else "")
        + f". {about(_having_seconds(runs))}"
    )
    notes = [f"Not logged: {', '.join(columns[i] for i in sorted(empty) if i in (10, 11))}."]
    notes = notes if empty & {10, 11} else []
    unfinished = [run.name for run in runs if run.status != "finished"]
    for said, names in (
        ("Counted as on one GPU, for the machine has one and the run does not say its device", guessed),
        ("So far, not finished", unfinished),
    ):
        notes += [f"{said}: {', '.join(names[:10])}{' ...' * (len(names) > 10)}."] * bool(names)
    return Table(
        "cost", [columns[i] for i in kept], [[row[i] for i in kept] for row in rows], caption, notes,
        forms={"hours": ".3f", "hours per run": ".3f", "hours of updates": ".3f", "GPU hours": ".3f"},
    )  # fmt: skip


def _having_seconds(runs: Sequence[Summary]) -> list[Summary]:
    return [run for run in runs if not math.isnan(run.seconds)]
