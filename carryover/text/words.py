"""A word of a transcript and when it is said."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Word:
    """A word and its time.

    Attributes
    ----------
    text : str
    start, end : float
        Seconds from the beginning of what was heard.
    """

    text: str
    start: float
    end: float
