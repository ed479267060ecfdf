"""Rules over the penalty that holds the old weights, compared with the loss; each returns its evidence or None."""

from collections.abc import Mapping

from carryover.runs.flags.state import Log, number


def negligible(log: Log, event: Mapping) -> str | None:
    if log.update < log.time_enough() or not 0 < log.largest_ratio < log.limits.negligible:
        return None
    return f"penalty / loss was never above {log.largest_ratio:.2g} in {log.update} updates"


def dominating(log: Log, event: Mapping) -> str | None:
    WER = number(event, "WER")
    if not log.judged(event) or WER is None or WER < log.limits.far_WER or log.update < log.time_enough():
        return None
    evidence = f"WER {WER:.1f}, penalty / loss "
    if log.ruled.events >= log.limits.dominating_events and log.update - log.ruled.start >= 100:
        return evidence + f"above {log.limits.dominates:g} since update {log.ruled.start}"
    if 0.1 <= log.ratio < log.limits.past_peak * log.peak_ratio:
        return evidence + f"{log.ratio:.2g} after a peak of {log.peak_ratio:.2g}: the old weights hold"
    return None
