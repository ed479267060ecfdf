"""Words that captions and the methods paragraph share: lists, values of several runs, large numbers."""

from collections.abc import Sequence

from carryover.report.summary import Summary


def values(runs: Sequence[Summary], key: str) -> list:
    """Different values of a key, sorted; [] where a run does not have it."""
    if not all(key in run.settings for run in runs):
        return []
    found = {str(run.settings[key]): run.settings[key] for run in runs}.values()
    numbers = all(isinstance(v, (int, float)) for v in found)
    return sorted(found, key=(lambda v: v) if numbers else str)


def said(runs: Sequence[Summary], key: str) -> str:
    """The same as words: "8" or "4, 8 or 16"; "" where it is unknown or null."""
    found = [f"{v:g}" if isinstance(v, float) else str(v) for v in values(runs, key) if v is not None]
    return listed(found, "or")


def listed(parts: Sequence[str], last: str = "and") -> str:
    """Parts in a sentence.

    Example
    -------
    >>> listed(["a", "b", "c"])
    'a, b and c'
    """
    parts = list(parts)
    return f" {last} ".join([", ".join(parts[:-1]), parts[-1]]) if len(parts) > 1 else "".join(parts)


def sample(asked: int | dict) -> str:
    """What was asked for: "60" or "60 (train)"."""
    return listed([f"{n} ({split})" for split, n in asked.items()]) if isinstance(asked, dict) else str(asked)


def grouped(n: int) -> str:
    """An integer with its thousands apart.

    Example
    -------
    >>> grouped(12345)
    '12 345'
    """
    return f"{n:,}".replace(",", " ")
