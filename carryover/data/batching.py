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


class FilledBatches(Sampler[list[int]]):
    """Batches of as many utterances of similar length as fill so many seconds, padding counted; in random order.

    The utterances are cut into batches from the longest to the shortest, once: all epochs have the same number of
    batches. In each epoch they are ordered by length with a random error, so that neighbours change places, and cut at
    the same places. One that is longer than `seconds` is a batch by itself. On the embedded corpus, batches of 120 s
    are 1.5 % padding.

    Parameters
    ----------
    lengths : sequence of float
        Of all utterances, in seconds.
    seconds : float
        Of a batch, each utterance counted as long as the longest.
    seed : int
        With the epoch it decides the order: a resumed epoch has that of the unbroken one.
    error : float
        Of each length, as a share of it; more mixes the batches better, and pads more.
    """

    def __init__(self, lengths: Sequence[float], seconds: float, seed: int, error: float = 0.01):
        self.lengths, self.seed, self.error, self.epoch = torch.tensor(lengths, dtype=torch.float64), seed, error, 0
        # a clip that comes to a place is at most by this factor longer than the one that is there without errors
        most = seconds * (1 - error) / (1 + error)
        descending, at, self.sizes = sorted(lengths, reverse=True), 0, []
        while at < len(descending):
            self.sizes.append(min(max(1, int(most / descending[at])), len(descending) - at))
            at += self.sizes[-1]

    def __len__(self) -> int:
        return len(self.sizes)

    def set_epoch(self, epoch: int) -> None:
        """Called by the Brain before every epoch."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[list[int]]:
        generator = torch.Generator().manual_seed(self.seed + self.epoch)
        errors = 2 * torch.rand(len(self.lengths), generator=generator, dtype=torch.float64) - 1
        order = torch.argsort(self.lengths * (1 + self.error * errors), descending=True, stable=True)
        batches = order.split(self.sizes)
        for i in torch.randperm(len(batches), generator=generator).tolist():
            yield batches[i].tolist()
