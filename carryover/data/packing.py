"""Several short clips in one window: Whisper computes its whole window for every clip, however short.

Clips of 2.3 s in a window of 10 s leave 77 % of the encoder's work to silence. Packed, the same update hears two to
three times as much speech; the texts of a window are joined by a space. The windows of a batch are as one recording:
each can carry the text of the one before, and the times of its clips. Validation and test are never packed.
"""

import random
from collections.abc import Callable, Sequence

import torch
from speechbrain.dataio.batch import PaddedBatch

from carryover.data.audio import SAMPLE_RATE

Segment = tuple[float, float, str]  # start and end in seconds, text


class OneClipAWindow:
    """The null object of Packing: one clip a window, padded by SpeechBrain's PaddedBatch."""

    prompts_differ = False

    def __call__(self, examples: list[dict]) -> PaddedBatch:
        return PaddedBatch(examples)


class Packing:
    """Collates examples into fewer windows, in the order in which they come.

    Half of the windows are filled as far as the next clip fits, half up to a random length, so that the model also
    learns to stop where silence begins. The lengths depend on the clips' IDs alone: a resumed run packs as an unbroken
    one, with any number of workers.

    Parameters
    ----------
    encode : callable
        (segments, language, timestamps, previous, most) -> ids with prompt and end; as
        carryover.models.whisper.Tokenizer.encode_segments.
    samples : int
        Length of the window in samples.
    tokens : int
        Decoder positions.
    single : float
        Share of the windows that hold one clip and silence, as in test: 0 to 1.
    gap : float
        Longest silence between two clips, in seconds; each is drawn from 0 to this.
    timestamps : float
        Share of the windows whose texts stand between their times.
    previous_text : float
        Share of the windows that carry the text of the window before, where it is of the same language.
    """

    def __init__(
        self,
        encode: Callable[[Sequence[Segment], str, bool, str, int], list[int]],
        samples: int,
        tokens: int,
        single: float = 0.0,
        gap: float = 0.0,
        timestamps: float = 0.0,
        previous_text: float = 0.0,
    ):
        for name, share in (("single", single), ("timestamps", timestamps), ("previous_text", previous_text)):
            if not 0 <= share <= 1:
                raise ValueError(f"{name}: {share} of the windows; give a share from 0 to 1")
        if not 0 <= gap * SAMPLE_RATE < samples:
            raise ValueError(f"gap: {gap} s between two clips; give 0 to less than {samples / SAMPLE_RATE:g} s")
        self.encode, self.samples, self.tokens, self.single, self.gap = encode, samples, tokens, single, gap
        self.timestamps, self.previous_text = timestamps, previous_text

    @property
    def prompts_differ(self) -> bool:
        """Whether some windows have times or earlier text, and so another number of tokens before their own."""
        return bool(self.timestamps or self.previous_text)

    def __call__(self, examples: list[dict]) -> PaddedBatch:
        """Examples with id, row, language, target (text), wav (S,), tokens (U,) -> a PaddedBatch of windows."""
        chance = random.Random(" ".join(example["id"] for example in examples))
        windows, capacity = [], 0
        for example in examples:
            silence = int(chance.random() * self.gap * SAMPLE_RATE) if self.gap else 0
            if windows and self._fits(windows[-1], example, silence, capacity):
                windows[-1].append((silence, example))
            else:
                windows.append([(0, example)])
                if self.single and chance.random() < self.single:
                    capacity = 0
                else:
                    capacity = self.samples * (1.0 if chance.random() < 0.5 else chance.random())
        joined, before = [], None
        for window in windows:
            first = window[0][1]
            timed = bool(self.timestamps) and chance.random() < self.timestamps
            carried = bool(self.previous_text) and chance.random() < self.previous_text
            goes_on = carried and before is not None and before["language"] == first["language"]
            joined.append(before := self._join(window, timed, before["target"] if goes_on else ""))
        return PaddedBatch(joined)

    def _fits(self, window: list[tuple[int, dict]], example: dict, silence: int, capacity: float) -> bool:
        both = [*window, (silence, example)]
        times = 2 * len(both) if self.timestamps else 0
        return (
            window[0][1]["language"] == example["language"]
            and sum(before + len(e["wav"]) for before, e in both) <= capacity
            # prompt and end are counted once a clip here, which leaves room for the spaces between texts
            and sum(len(e["tokens"]) for _, e in both) + times <= self.tokens
        )

    def _join(self, window: list[tuple[int, dict]], timed: bool, previous: str) -> dict:
        if len(window) == 1 and not timed and not previous:
            return window[0][1]
        segments, sounds, at = [], [], 0
        for silence, clip in window:
            start = at + silence
            at = start + len(clip["wav"])
            segments.append((start / SAMPLE_RATE, at / SAMPLE_RATE, clip["target"]))
            sounds += [clip["wav"].new_zeros(silence)] * bool(silence) + [clip["wav"]]
        clips = [clip for _, clip in window]
        first = clips[0]
        return first | {
            "id": "+".join(clip["id"] for clip in clips),
            "row": first["row"] | {"duration": sum(clip["row"]["duration"] for clip in clips)},  # of speech
            "target": " ".join(clip["target"] for clip in clips),
            "wav": torch.cat(sounds),
            "tokens": torch.tensor(self.encode(segments, first["language"], timed, previous, self.tokens)),
        }
