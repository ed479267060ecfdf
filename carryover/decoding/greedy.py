"""Greedy decoding of CTC: `decoder(log_probs (B, T, V), frames (B,)) -> list of B strings`."""

import torch

from carryover.losses.ctc import greedy


class Greedy:
    """The most probable symbol of each frame, collapsed: quick, and the null object of a language model."""

    def __init__(self, tokenizer):
        self.tokenizer = tokenizer

    def __call__(self, log_probs: torch.Tensor, frames: torch.Tensor) -> list[str]:
        """(B, T, V) log-probabilities or logits, (B,) valid frames -> B texts."""
        return [self.tokenizer.decode(ids) for ids in greedy(log_probs, frames, self.tokenizer.blank)]
