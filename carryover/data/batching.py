"""Which utterances share a batch (those of similar length, so that less of it is padding), and how long each is."""

from collections.abc import Iterator, Sequence

import torch
from torch.utils.data import Sampler
from transformers.trainer_pt_utils import get_length_grouped_indices


def with_lengths(padded: torch.Tensor, relative: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """SpeechBrain's padded batch and its relative lengths -> (B, N, ...) as it is, and lengths (B,) in its own units.

    Rounded: `(relative * N).long()` floors, and 4 227 of 100 575 pairs of n and N come out one short.
    """
    return padded, torch.round(relative * padded.shape[1]).long()


class LengthGrouped(Sampler):
    """A random order in which each batch holds utterances of similar length (transformers' grouping).

    Of `batch_size * mega` utterances drawn at random, the neighbours in length make a batch; transformers runs through
    these from the longest to the shortest, here the batches come in random order. On the embedded corpus, batches of 16
    are 28 % padding in random order and 1.3 % so (mega 50).

    Parameters
    ----------
    lengths : sequence of float
        Of all utterances, in any unit.
    batch_size : int
    seed : int
        With the epoch it decides the order: a resumed epoch has that of the unbroken one.
    mega : int
        Batches whose utterances are sorted together; fewer mix the batches better, and pad more.
    """

    def __init__(self, lengths: Sequence[float], batch_size: int, seed: int, mega: int = 50):
        self.lengths, self.batch_size, self.seed, self.mega = list(lengths), batch_size, seed, mega
        self.epoch = 0

    def __len__(self) -> int:
        return len(self.lengths)

    def set_epoch(self, epoch: int) -> None:
        """Called by the Brain before every epoch."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[int]:
        generator = torch.Generator().manual_seed(self.seed + self.epoch)
        indices = get_length_grouped_indices(self.lengths, self.batch_size, self.mega, generator)
        size = self.batch_size
        batches = [indices[start : start + size] for start in range(0, len(indices), size)]
        rest = [batches.pop()] if len(batches[-1]) < size else []  # it stays last, or all after it would be shifted
        for i in torch.randperm(len(batches), generator=generator).tolist():
            yield from batches[i]
        for batch in rest:
            yield from batch
