"""Under which normaliser, of which version, the rates of a table were scored: every table says so."""

from collections.abc import Iterable

from carryover.report.phrases import listed


def normalised(runs: Iterable) -> str:
    """ "normalised by carryover-2", by the runs (`Run` or `Summary`) that a table is made of; "normalised" where none
    says by what."""
    names = sorted({getattr(run, "summary", run).normaliser for run in runs} - {""})
    return f"normalised by {listed(names)}" if names else "normalised"
