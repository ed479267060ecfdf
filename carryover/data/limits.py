"""What may be learned from: limits that refuse an utterance, each with its reason.

`Limits` is the face that preparation, training and transcription know. `MetadataLimits` are the experiment's own (YAML
key `metadata_limits`), `TranscriptLimits` what the limits of every recipe (carryover/models/limits.py) begin with.
"""

import unicodedata
from collections.abc import Callable
from dataclasses import asdict, dataclass

from carryover.data import audio_check
from carryover.data.utterance import Utterance


class Limits:
    """The reason to refuse an utterance, or None: `limits(utterance)`. This one refuses nothing.

    A subclass answers what it has an opinion on. The three questions are asked in their order; `metadata` also by
    itself, of all that a corpus lists, so that a sample is not spent on what would be refused anyhow.
    """

    def inspect(self, utterance: Utterance) -> tuple[float, str, str]:
        """Seconds, form and SHA-256 of the utterance's file, or ValueError; see `data.audio_check.inspect`."""
        return audio_check.inspect(utterance.audio)

    def glance(self, utterance: Utterance) -> tuple[float, str, str]:
        """The same by the file's header alone; see `data.audio_check.header`."""
        return audio_check.header(utterance.audio)

    def length(self, utterance: Utterance) -> float:
        """Seconds of the utterance's recording as its header says, 0 where it says none."""
        return audio_check.seconds(utterance.audio)

    def metadata(self, utterance: Utterance) -> str | None:
        """What can be said before the recording is opened; the duration is 0 then."""
        return None

    def recording(self, utterance: Utterance) -> str | None:
        """What can be said of a recording without its transcript."""
        return None

    def pair(self, utterance: Utterance) -> str | None:
        """What needs both, e.g. whether the transcript fits into the frames."""
        return None

    def remark(self, utterance: Utterance) -> str | None:
        """What is said and counted of an utterance that is kept."""
        return None

    def __call__(self, utterance: Utterance) -> str | None:
        return self.metadata(utterance) or self.recording(utterance) or self.pair(utterance)

    def settings(self) -> dict:
        """What the answers depend on, JSON-serialisable: manifests that were made with other settings are made anew."""
        return {"limits": type(self).__name__}


@dataclass(frozen=True)
class MetadataLimits(Limits):
    """Limits on what a corpus lists, before any recording is opened.

    Attributes
    ----------
    min_characters, max_characters : int, optional
        Length of the transcript as listed, both allowed.
    alphabet : str, optional
        Letters that a transcript may hold, in lower case; digits, spaces and punctuation are not looked at.
    min_up_votes, max_down_votes : int, optional
        Both allowed; an utterance without votes is refused where one of them is given.
    """

    min_characters: int | None = None
    max_characters: int | None = None
    alphabet: str | None = None
    min_up_votes: int | None = None
    max_down_votes: int | None = None

    def metadata(self, utterance):
        length = len(utterance.text)
        if self.min_characters is not None and length < self.min_characters:
            return f"transcript is shorter than {self.min_characters} characters: {length}"
        if self.max_characters is not None and length > self.max_characters:
            return f"transcript is longer than {self.max_characters} characters: {length}"
        if self.alphabet is not None:
            known = set(unicodedata.normalize("NFC", self.alphabet.lower()))
            letters = unicodedata.normalize("NFC", utterance.text.lower())
            if strange := sorted({letter for letter in letters if letter.isalpha()} - known):
                return f"transcript has letters outside the alphabet: {' '.join(strange)}"
        if self.min_up_votes is None and self.max_down_votes is None:
            return None
        if utterance.votes is None:
            return "no votes are listed"
        up, down = utterance.votes
        if self.min_up_votes is not None and up < self.min_up_votes:
            return f"fewer than {self.min_up_votes} up-votes: {up}"
        if self.max_down_votes is not None and down > self.max_down_votes:
            return f"more than {self.max_down_votes} down-votes: {down}"
        return None

    def settings(self):
        return super().settings() | asdict(self)


@dataclass(kw_only=True)
class TranscriptLimits(Limits):
    """A transcript of which something is left to learn, and a recording that is not too long.

    Attributes
    ----------
    target_text : callable
        Targets as they are learned; a transcript that it empties is refused.
    seconds : float
        Longest recording.
    """

    target_text: Callable[[str, str], str]
    seconds: float

    MEASURED = ("valid", "test")  # splits that keep what a model cannot write: it counts as an error there
    WORDLESS = False  # whether the model learns that nothing is said
    EMPTY = "transcript is empty after normalisation"
    LONG = "audio is longer than max_seconds"

    def metadata(self, utterance):
        if utterance.wordless:
            taken = self.WORDLESS and utterance.split not in self.MEASURED
            return None if taken else "clip without words: this model learns no empty transcript, and no test has any"
        text = self.target_text(utterance.text, utterance.language)
        if not text:
            return f"{self.EMPTY}: {utterance.text!r}"
        unknown = self.unknown(text) if utterance.split not in self.MEASURED else None
        return unknown or self.text(text, utterance)

    def remark(self, utterance):
        if utterance.split not in self.MEASURED:
            return None
        return self.unknown(self.target_text(utterance.text, utterance.language))

    def unknown(self, text: str) -> str | None:
        """What of a target the model has no symbol for."""
        return None

    def text(self, text: str, utterance: Utterance) -> str | None:
        """What is to be said of a target that is not empty."""
        return None

    def recording(self, utterance):
        if utterance.duration > self.longest:
            return f"{self.LONG} {self.longest:g} s: {utterance.duration:.2f} s"
        return None

    @property
    def longest(self) -> float:
        """Seconds of the longest recording, which a subclass may know to be less."""
        return self.seconds

    def settings(self):
        return super().settings() | {"target_text": self.target_text.name, "seconds": self.longest}
