"""What each kind of model can take: an utterance that it cannot is refused at preparation, with a reason."""

import math
from dataclasses import dataclass

import torch

from carryover.data import landmarks
from carryover.data.limits import TranscriptLimits
from carryover.data.utterance import Utterance
from carryover.losses import ctc
from carryover.models.whisper import LogMel
from carryover.models.whisper_check import require_fitting

UNKNOWN = "symbols that are not in the alphabet"
RATE = 16_000


@dataclass(kw_only=True)
class WhisperLimits(TranscriptLimits):
    """Of an encoder with a window, and a decoder with a number of positions.

    Attributes
    ----------
    tokenizer : carryover.models.whisper.Tokenizer
    seconds : float
        Window of the encoder: longer audio would be cut while its whole transcript stays.
    tokens : int
        Decoder positions (448): the prompt, text and end have to fit.
    """

    tokenizer: object
    tokens: int

    WORDLESS = True  # prompt and end are left
    LONG = "audio is longer than the window of"

    @classmethod
    def of(cls, model, tokenizer, target_text) -> "WhisperLimits":
        """The limits of a model; ValueError where the tokenizer is another's."""
        require_fitting(model, tokenizer)
        seconds, tokens = LogMel.of(model).seconds, model.config.max_target_positions
        return cls(tokenizer=tokenizer, target_text=target_text, seconds=seconds, tokens=tokens)

    def text(self, text, utterance):
        length = len(self.tokenizer.encode(text, utterance.language))
        if length > self.tokens:
            return f"label is longer than {self.tokens} tokens with prompt and end: {length}"
        return None

    def settings(self):
        return super().settings() | {"tokens": self.tokens, "vocabulary": len(self.tokenizer.vocabulary)}


@dataclass(kw_only=True)
class CTCLimits(TranscriptLimits):
    """Of a wav2vec2-type model with CTC: known symbols, and a frame for each of them.

    Attributes
    ----------
    acoustic : carryover.models.wav2vec2.CTCModel
    features : callable
        Waveform -> inputs of the model.
    tokenizer : carryover.text.characters.Characters or Pieces
    seconds : float
        Longest clip, where the model has no shorter window: attention grows with the square of it.
    """

    acoustic: object
    features: object
    tokenizer: object
    seconds: float = 20.0

    LONG = "audio is longer than max_seconds, or than the model's window,"

    @property
    def longest(self):
        return min(self.seconds, self.features.longest / RATE)

    def frames(self, samples: torch.Tensor) -> torch.Tensor:
        """Output frames (B,) of waveforms of `samples` (B,)."""
        return self.acoustic.frames(self.features.lengths(samples))

    def unknown(self, text):
        if unknown := self.tokenizer.unknown(text):
            return f"{UNKNOWN}: {' '.join(sorted(unknown))} in {text!r}"
        return None

    def recording(self, utterance):
        samples = round(utterance.duration * RATE)
        if samples < self.features.shortest:
            return f"audio is shorter than {self.features.shortest} samples, which make one frame: {samples}"
        return super().recording(utterance)

    def pair(self, utterance):
        needed = ctc.frames_needed(
            ctc.encode_known(self.tokenizer, self.target_text(utterance.text, utterance.language))
        )
        frames = int(self.frames(torch.tensor([round(utterance.duration * RATE)])))
        if needed > frames:
            return f"target needs more frames than the audio has: {needed} (symbols and repeats) of {frames}"
        return None

    def settings(self):
        frames = int(self.frames(torch.tensor([10 * RATE])))
        return super().settings() | {"symbols": len(self.tokenizer.symbols), "frames_in_10_s": frames}


@dataclass(kw_only=True)
class GlossLimits(TranscriptLimits):
    """Of a sequence model with CTC over landmarks: known glosses, and a frame for each of them.

    Attributes
    ----------
    recogniser : carryover.models.sequence_model.SequenceCTC
    tokenizer : carryover.text.glosses.Glosses
    layout : carryover.data.landmarks.Layout
        Points of a frame.
    seconds : float
        Longest sequence: attention grows with the square of it.
    """

    recogniser: object
    tokenizer: object
    layout: landmarks.Layout
    seconds: float = 30.0

    EMPTY = "no gloss is left after normalisation"
    LONG = "sequence is longer than max_seconds"

    def inspect(self, utterance):
        return landmarks.inspect(utterance.audio, self.layout, utterance.fps)

    glance = inspect  # a landmark file is small, and has no header

    def length(self, utterance):
        try:
            return self.inspect(utterance)[0]
        except ValueError:
            return 0.0

    def unknown(self, text):
        if unknown := self.tokenizer.unknown(text):
            return f"glosses that are not in the vocabulary: {' '.join(sorted(unknown))}"
        return None

    def pair(self, utterance):
        needed = ctc.frames_needed(
            ctc.encode_known(self.tokenizer, self.target_text(utterance.text, utterance.language))
        )
        inputs = len(landmarks.read(utterance.audio, self.layout).array)
        frames = int(self.recogniser.frames(torch.tensor([inputs])))
        if needed > frames:
            return (
                f"target needs more frames than the sequence has: {needed} (glosses and repeats) of {frames}, made of "
                f"{inputs} input frames"
            )
        return None

    def settings(self):
        frames = int(self.recogniser.frames(torch.tensor([1000])))
        own = {"units": len(self.tokenizer.symbols), "frames_of_1000": frames, "layout": repr(self.layout)}
        return super().settings() | own


def answer_limit(seconds: float, tokens_per_second: float) -> int:
    """Most tokens of an answer, its end among them: one clip alone or in a batch, the same."""
    return math.ceil(seconds * tokens_per_second) + 1


@dataclass(kw_only=True)
class SpeechLLMLimits(TranscriptLimits):
    """Of an encoder, a projector and a language model: prompt, audio and answer have to fit into its context.

    Attributes
    ----------
    encoder : torch.nn.Module
    bridge : carryover.models.projector.Projector
    language_model : carryover.models.language_model.LanguageModel
    tasks : carryover.models.tasks.Tasks
    tokens_per_second : float
        Bound of an answer: what is longer could not be written.
    seconds : float
        Longest clip, where the encoder has no shorter window.

    Raises
    ------
    ValueError
        For a prompt that is longer than the language model's context.
    """

    encoder: object
    bridge: object
    language_model: object
    tasks: object
    tokens_per_second: float
    seconds: float = 30.0

    LONG = "audio is longer than the window of"

    def __post_init__(self):
        self.language_model.require_context(self.prompt, 1)

    @property
    def longest(self):
        return min(self.seconds, self.encoder.longest / RATE)

    @property
    def prompt(self) -> int:
        """Tokens of the longest prompt without its audio."""
        return max(map(self.tasks.prompt_length, range(len(self.tasks))))

    @property
    def room(self) -> int:
        """Positions that audio and answer may take."""
        return self.language_model.context - self.prompt

    def vectors(self, seconds: float) -> int:
        """Vectors that the language model reads of a clip."""
        return int(self.bridge.lengths(self.encoder.frames(torch.tensor(round(seconds * RATE)))))

    def text(self, text, utterance):
        for task in self.tasks.others:
            if (value := getattr(utterance, task.column)) not in task.answers:
                return f"task '{task.name}' has no answer for this {task.column}: {value!r}"
        return None

    def recording(self, utterance):
        seconds, most = utterance.duration, answer_limit(utterance.duration, self.tokens_per_second)
        if round(seconds * RATE) < self.encoder.shortest:
            return f"audio is shorter than {self.encoder.shortest} samples, which make one frame"
        if reason := super().recording(utterance):
            return reason
        if self.vectors(seconds) + most > self.room:
            return f"audio and answer do not fit into the context: {self.vectors(seconds)} + {most} of {self.room}"
        return None

    def pair(self, utterance):
        most = answer_limit(utterance.duration, self.tokens_per_second)
        for what, answer in self._answers(utterance):
            if (tokens := len(self.tasks.chat.encode(answer))) > most:
                return f"{what} has more tokens than tokens_per_second allows: {tokens} of {most}"
        return None

    def _answers(self, utterance: Utterance) -> list[tuple[str, str]]:
        others = [(f"answer to task '{t.name}'", t.answers[getattr(utterance, t.column)]) for t in self.tasks.others]
        return [("transcript", self.target_text(utterance.text, utterance.language)), *others]

    def settings(self):
        return super().settings() | {
            "tasks": self.tasks.digest,
            "tokens_per_second": self.tokens_per_second,
            "positions": self.room,
            "vectors_in_10_s": self.vectors(10.0),
        }
