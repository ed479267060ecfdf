"""How the cells of a table show a number, a rate with its interval, a difference, a time; bold cells, stacked ones."""

import math

from carryover.stats.significance import Spread
from carryover.stats.systems import Estimate


class Bold(str):
    """A cell to be seen first."""


class Stacked(str):
    """A cell of two lines, such as a rate with its interval beneath; as a string, both in one line.

    Attributes
    ----------
    lines : tuple of str
        The upper one and the one beneath.
    """

    def __new__(cls, upper: str, beneath: str):
        made = super().__new__(cls, f"{upper} {beneath}")
        made.lines = (upper, beneath)
        return made


class BoldStacked(Bold, Stacked):
    """A cell of two lines, the upper one to be seen first."""


def lines_of(cell: str) -> tuple[str, ...]:
    """The lines of a cell, one for most."""
    return cell.lines if isinstance(cell, Stacked) else (cell,)


def number(value: float, form: str = ".2f", unit: str = "") -> str:
    """A cell's number, "-" where there is none."""
    return "-" if math.isnan(value) else f"{value:{form}}{unit}"


def rate(e: Estimate) -> str:
    """A rate and its interval."""
    if math.isnan(e.value) or math.isnan(e.low):
        return number(e.value)
    return f"{e.value:.2f} [{e.low:.2f}, {e.high:.2f}]"


def spread(s: Spread) -> str:
    """Mean and standard deviation of several values."""
    return "-" if math.isnan(s.sd) else f"{s.mean:.2f} ± {s.sd:.2f}"


def points(e: Estimate) -> str:
    """A signed difference, its interval, and its corrected p-value where there is one."""
    if math.isnan(e.value) or math.isnan(e.low):
        return number(e.value, "+.2f")
    text = "" if math.isnan(e.p_holm) else ", p < 0.001" if e.p_holm < 0.001 else f", p = {e.p_holm:.3f}"
    return f"{e.value:+.2f} [{e.low:+.2f}, {e.high:+.2f}]{text}"


def share(e: Estimate) -> str:
    """A percentage and its interval, without decimals."""
    if math.isnan(e.value) or math.isnan(e.low):
        return number(e.value, ".0f", " %")
    return f"{e.value:.0f} % [{e.low:.0f}, {e.high:.0f}]"


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
