"""What a forward pass gives: read by the loss, the decoder, the methods against forgetting and the loop."""

from dataclasses import dataclass
from typing import Any

import torch


@dataclass
class Output:
    """Of one batch of B utterances.

    Attributes
    ----------
    log_probs : torch.Tensor or None
        (B, T, V) log-probabilities of each frame (CTC), or (B, U, V) of each target token given those before it
        (decoders); float32. None where only the encoder ran, for a transcription.
    lengths : torch.Tensor
        (B,) how many of the T or U count; the rest is padding.
    inputs : Any
        What the Brain's `forward` was given, so that another model can be given the same.
    states, state_lengths : torch.Tensor or None
        (B, P, D) encoder states (a speech LLM: the projector's vectors) and (B,) how many of them hold sound.
    augmented : bool
        Whether the inputs are something else than the manifest's recordings.
    """

    log_probs: torch.Tensor | None
    lengths: torch.Tensor
    inputs: Any
    states: torch.Tensor | None = None
    state_lengths: torch.Tensor | None = None
    augmented: bool = False

    @property
    def mask(self) -> torch.Tensor:
        """(B, T or U) True where a frame or token counts."""
        steps = torch.arange(self.log_probs.shape[1], device=self.log_probs.device)
        return steps < self.lengths.to(steps.device)[:, None]
