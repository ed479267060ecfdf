"""Several short clips in one window: Whisper computes its whole window for every clip, however short.

Clips of 2.3 s in a window of 10 s leave 77 % of the encoder's work to silence. Packed, the same update hears two to
three times as much speech; the texts of a window are joined by a space. Validation and test are never packed.
"""

import random
from collections.abc import Callable

import torch
from speechbrain.dataio.batch import PaddedBatch


class OneClipAWindow:
    """The null object of Packing: one clip a window, padded by SpeechBrain's PaddedBatch."""

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
        (text, language) -> ids with prompt and end.
    samples : int
        Length of the window in samples.
    tokens : int
        Decoder positions.
    single : float
        Share of the windows that hold one clip and silence, as in test: 0 to 1.
    """

    def __init__(self, encode: Callable[[str, str], list[int]], samples: int, tokens: int, single: float = 0.0):
        if not 0 <= single <= 1:
            raise ValueError(f"single: {single} of the windows; give a share from 0 to 1")
        self.encode, self.samples, self.tokens, self.single = encode, samples, tokens, single

    def __call__(self, examples: list[dict]) -> PaddedBatch:
        """Examples with id, row, language, target (text), wav (S,), tokens (U,) -> a PaddedBatch of windows."""
        chance = random.Random(" ".join(example["id"] for example in examples))
        windows, capacity = [], 0
        for example in examples:
            if windows and self._fits(windows[-1], example, capacity):
                windows[-1].append(example)
            else:
                windows.append([example])
                if self.single and chance.random() < self.single:
                    capacity = 0
                else:
                    capacity = self.samples * (1.0 if chance.random() < 0.5 else chance.random())
        return PaddedBatch([self._join(window) for window in windows])

    def _fits(self, window: list[dict], example: dict, capacity: float) -> bool:
        both = [*window, example]
        return (
            window[0]["language"] == example["language"]
            and sum(len(e["wav"]) for e in both) <= capacity
            # prompt and end are counted once a clip here, which leaves room for the spaces between texts
            and sum(len(e["tokens"]) for e in both) <= self.tokens
        )

    def _join(self, window: list[dict]) -> dict:
        if len(window) == 1:
            return window[0]
        first = window[0]
        target = " ".join(e["target"] for e in window)
        return first | {
            "id": "+".join(e["id"] for e in window),
            "row": first["row"] | {"duration": sum(e["row"]["duration"] for e in window)},
            "target": target,
            "wav": torch.cat([e["wav"] for e in window]),
            "tokens": torch.tensor(self.encode(target, first["language"])),
        }
