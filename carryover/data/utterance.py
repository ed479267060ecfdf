"""An utterance as a corpus lists it: the one thing that a file in local/ yields."""

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass

from carryover.data import parts

COLUMNS = ("ID", "audio", "duration", "language", "speaker", "text")  # of a manifest
SPLITS = ("train", "valid", "test")


@dataclass(frozen=True)
class Utterance:
    """One clip and its transcript, as a corpus lists it.

    Attributes
    ----------
    ID : str
        Unique within its split.
    audio : str
        Path of the audio file, absolute or relative to the working directory, or a part of one
        (`carryover.data.parts`).
    language : str
        ISO 639-1 code, e.g. "nl".
    speaker : str
        Speaker's name within the corpus; "" where unknown.
    text : str
        Transcript with the case, digits and punctuation of the corpus.
    split : str
        "train", "valid" or "test".
    duration : float
        Seconds; `preparation.prepare` measures it, so a corpus need not know it.
    votes : (int, int) or None
        Listeners who found clip and transcript right, and wrong; None where the corpus has no votes.
    fps : float or None
        Frames a second of a landmark file that does not tell its own; audio has none.
    refused : str or None
        Why the corpus itself says that it cannot be used, e.g. a segment without a recording.
    wordless : bool
        Nothing is said in it, and its empty transcript is meant.
    """

    ID: str
    audio: str
    language: str
    speaker: str
    text: str
    split: str
    duration: float = 0.0
    votes: tuple[int, int] | None = None
    fps: float | None = None
    refused: str | None = None
    wordless: bool = False


def listing_digest(utterances: Sequence[Utterance]) -> str:
    """Digest of what a corpus lists (IDs, paths, texts, files' sizes and times), cheap enough for every start."""
    sha = hashlib.sha256()
    for u in utterances:
        try:
            stat = os.stat(parts.split(u.audio)[0])
            file = (stat.st_size, stat.st_mtime_ns)  # the time, for a corpus made anew can have files of the old sizes
        except OSError:
            file = ()
        fields = (
            u.split,
            u.ID,
            u.audio,
            u.language,
            u.speaker,
            u.text,
            *map(str, (file, u.votes, u.fps)),
            u.refused or "",
        )
        sha.update("\t".join(fields).encode() + b"\n")
    return sha.hexdigest()
