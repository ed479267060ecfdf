"""What of a test set counts as independent: whole speakers where there are enough of them, else utterances.

Utterances of one speaker are alike, so an interval over utterances speaks for these speakers only. One over speakers
speaks for others as well. It takes a handful: with four, Student's t over them has three degrees of freedom.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

MIN_SPEAKERS = 5
# Of the words, for one speaker: with more, the jackknife is a comparison of one speaker with the rest.
MOST_OF_ONE = 0.5


class Units(NamedTuple):
    """Utterances put together to what is left out as a whole.

    Attributes
    ----------
    index : int array, shape (utterances,)
        Unit of each utterance.
    n : int
        Units.
    by_speaker : bool
        Whether a unit is a speaker; else each utterance is one.
    speakers : int
        Different speakers that are known.
    why : str
        Why utterances were taken; "" for speakers.
    """

    index: np.ndarray
    n: int
    by_speaker: bool
    speakers: int
    why: str = ""

    @property
    def kind(self) -> str:
        return "speakers" if self.by_speaker else "utterances"

    @property
    def over(self) -> str:
        """What an interval is taken over: "6 speakers", "430 utterances (1 speaker)"."""
        return f"{self.n} speakers" if self.by_speaker else f"{self.n} utterances ({self.why})"

    def sums(self, counts: np.ndarray) -> np.ndarray:
        """Counts of each unit, (units, ...), from those of each utterance, (utterances, ...)."""
        if not self.by_speaker:
            return np.asarray(counts, dtype=float)
        found = np.zeros((self.n, *np.shape(counts)[1:]))
        np.add.at(found, self.index, counts)
        return found


def units(speakers: Sequence[str], words: Sequence[int]) -> Units:
    """Take speakers where at least `MIN_SPEAKERS` are there, all are known and none says more than half of the words.

    Parameters
    ----------
    speakers : list of str
        Of each utterance, "" where unknown.
    words : list of int
        Reference words of each utterance.
    """
    names, index = np.unique([str(name) for name in speakers], return_inverse=True)
    words, unknown = np.asarray(words, dtype=float), sum(not name for name in speakers)
    known = sum(map(bool, names.tolist()))
    why = ""
    if unknown:
        why = f"no speaker known of {unknown} of {len(speakers)} utterances"
    elif known < MIN_SPEAKERS:
        why = f"{known} speaker{'s' * (known != 1)}"
    elif np.bincount(index, weights=words).max() > MOST_OF_ONE * words.sum():
        why = f"one of {known} speakers says more than half of the words"
    if why:
        return Units(np.arange(len(speakers)), len(speakers), False, known, why)
    return Units(index, known, True, known)
