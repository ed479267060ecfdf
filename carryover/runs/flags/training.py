"""Rules over train events and the end of training: loss, gradient, rate, data; each returns its evidence or None."""

import math
from collections.abc import Mapping

from carryover.runs.flags.state import Log, moments, number

# Schedules whose rate differs at every update; the others stand still once their warm-up is over.
MOVING = ("noam", "linear", "cosine", "cosine_with_restarts", "cosine_with_min_lr", "polynomial", "inverse_sqrt")

# What keeps a loss where it is: one of these said, a plateau is no news, and its advice would be wrong.
REASONS = ("no gradient", "rate zero", "loss zero", "all blank", "penalty dominates", "by heart", "overfitting")


def divergence(log: Log, event: Mapping) -> str | None:
    if log.typical is None:
        return None
    long = log.high.events >= 10 and log.update - log.high.start >= max(200, log.update / 4)
    lowest = min(log.lowest, log.first)  # a rate that is far too high shows from the second update on
    if not long and not log.above(log.limits.far, lowest):
        return None
    return f"train loss {log.typical:.3g}, {log.typical / lowest:.3g} x its lowest, {lowest:.3g}"


def plateau(log: Log, event: Mapping) -> str | None:
    n, q = len(log.curve), len(log.curve) // 4
    explained = log.by_heart() or not log.named.isdisjoint(REASONS)
    if n < log.limits.plateau_events or log.update < log.time_enough() or explained:
        return None
    start, middle, end = (log.curve[i] for i in (n - 2 * q - 1, n - q - 1, n - 1))
    before, variance_before = moments(start, middle, q)
    now, variance = moments(middle, end, q)
    if before - now + 3 * math.sqrt((variance_before + variance) / q) >= log.limits.plateau_drop * before:
        return None
    # a rate that still warms up, or has decayed, is reason enough for a loss to stand still
    if end[1] > start[1] or end[1] < 0.1 * log.peak_rate:
        return None
    WERs = [v.WER for v in log.validated if v.update >= start[0] and v.WER is not None]
    if WERs[-1] < log.limits.far_WER if WERs else now < log.limits.plateau_loss * log.first:
        return None
    evidence = f"train loss {before:.4g} in updates {start[0]}-{middle[0]}, {now:.4g} in {middle[0]}-{end[0]}"
    return evidence + (f", WER {WERs[-1]:.3g}" if WERs else "")


def spiking(log: Log, event: Mapping) -> str | None:
    times = log.spikes[-1] if log.spikes else 0.0
    if times <= log.limits.spike:
        return None
    n = sum(times > log.limits.spike for times in log.spikes)
    if n < log.limits.spikes and times <= log.limits.burst:
        return None
    _, norm = log.norms.arrived[-1]
    return f"gradient norm {norm:.3g}, {times:.3g} x the usual ({n} of the last {len(log.spikes)})"


def no_gradient(log: Log, event: Mapping) -> str | None:
    updates = log.update - log.zero.start
    return f"gradient norm 0 in {updates} updates" if log.zero.events and updates >= log.limits.zero_updates else None


def all_blank(log: Log, event: Mapping) -> str | None:
    updates = log.update - max(log.blank.start, log.warmup or 0)
    if log.blank.events < 3 or updates < log.time_enough():
        return None
    ratio = number(log.trained, "blank_ratio")
    return f"{100 * ratio:.1f} % of the frames are blank, and were since update {log.blank.start}"


def rate_zero(log: Log, event: Mapping) -> str | None:
    return f"lr 0 at update {log.update}" if number(event, "lr") == 0 else None


def rate_stuck(log: Log, event: Mapping) -> str | None:
    moves = log.schedule in MOVING or (log.schedule is not None and log.update <= (log.warmup or 0))
    if not moves or log.same_rate.events + 1 < log.limits.stuck_events:
        return None
    first, rate = log.same_rate.start, number(event, "lr")
    return f"lr {rate:.3g} from update {first} to {log.update}, with lr_schedule: {log.schedule}"


def waiting(log: Log, event: Mapping) -> str | None:
    if len(log.waits) < 3:
        return None
    waited, seconds = map(sum, zip(*log.waits, strict=True))
    if seconds < 60 or waited < log.limits.waiting * seconds:
        return None
    return f"{waited:.0f} of {seconds:.0f} s ({100 * waited / seconds:.0f} %) were spent waiting for batches"


def unfinished(log: Log, event: Mapping) -> str | None:
    if log.warmup is None or log.update >= log.warmup:
        return None
    if log.validated and log.validated[-1].WER == 0:  # no word is wrong: a gate (`overfit`) ends there
        return None
    return f"the run ended at update {log.update} of a warm-up of {log.warmup}, below its peak rate"


def clipped(log: Log, event: Mapping) -> str | None:
    start = max(log.cut.start, log.warmup or 0)
    if log.cut.events < log.limits.clipped_events or log.update - start < log.time_enough():
        return None
    norm = f"; their norm is {log.norms.median:.3g}" if len(log.norms) else ""
    return f"{100 * number(log.trained, 'clipped'):.0f} % of the gradients are clipped, as since update {start}{norm}"


def rate_too_high(log: Log, event: Mapping) -> str | None:
    if None in (log.rate, log.usual_rate) or log.rate <= log.limits.high_rate * log.usual_rate:
        return None
    times = log.rate / log.usual_rate
    return f"lr {log.rate:.3g} is {times:.3g} x what is usual for this kind and size of model, {log.usual_rate:.2g}"


def loss_zero(log: Log, event: Mapping) -> str | None:
    known = log.validated and log.validated[-1].WER == 0
    if log.no_loss.events < log.limits.no_loss_events or known:
        return None
    return f"train loss is exactly 0 since update {log.no_loss.start}"


def one_term(log: Log, event: Mapping) -> str | None:
    if log.alone.events < log.limits.term_events or log.update < log.time_enough():
        return None
    name, times = log.largest_term(log.trained)
    return f"{name}, weighed, is {times:.3g} x the rest of the loss, and was the like since update {log.alone.start}"


def many_epochs(log: Log, event: Mapping) -> str | None:
    if log.epoch < 3:  # an epoch's updates are counted once two are over
        return None
    planned = (log.total or log.update) * (log.epoch - 1) / log.update
    if planned <= log.limits.epochs:
        return None
    return f"{log.total or log.update} updates are {planned:.0f} epochs or more of this training set"
