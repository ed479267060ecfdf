"""What a run says of itself, as a page and a terminal say it alike."""

import math

from carryover.report.summary import Summary
from carryover.runs.privacy import clean


def clock(seconds: float) -> str:
    """h:mm:ss, "-" where unknown.

    Example
    -------
    >>> clock(3725.2)
    '1:02:05'
    """
    if not math.isfinite(seconds):
        return "-"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"


def said(run: Summary) -> list[tuple[int, str]]:
    """(update, message) of what the run itself flagged, without the red flags, which `Summary.red_flags` has."""
    found = [(e.get("update", 0), clean(str(e["message"]))) for e in run.flags if "message" in e and "kind" not in e]
    return [(update, message) for update, message in found if not message.startswith("red flag")]
