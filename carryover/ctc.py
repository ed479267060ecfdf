"""CTC on an encoder's output beside the decoder's loss: hybrid CTC/attention training (Watanabe et al. 2017).

A Whisper from random weights first learns to write plausible sentences without listening: on the embedded corpus its
cross-attention was still flat after 14 000 clips (docs/LOG.md). CTC gives the encoder a gradient from the first
update. The head is used in training only and is no part of an export.
"""

import torch


class NoCTC(torch.nn.Module):
    """The null object of CTCHead: no term."""

    def forward(self, states, frames, targets, lengths, units):
        return {}


class CTCHead(torch.nn.Module):
    """A linear layer from encoder states to pieces and blank, and its loss.

    Parameters
    ----------
    width : int
        Width D of the encoder.
    pieces : int
        Size V of the vocabulary; blank is V.
    """

    def __init__(self, width: int, pieces: int):
        super().__init__()
        self.linear = torch.nn.Linear(width, pieces + 1)
        self.blank = pieces

    @classmethod
    def of(cls, model) -> "CTCHead":
        """A head for a Whisper."""
        return cls(model.config.d_model, model.config.vocab_size)

    def forward(
        self,
        states: torch.Tensor,
        frames: torch.Tensor,
        targets: torch.Tensor,
        lengths: torch.Tensor,
        units: int,
    ) -> dict[str, torch.Tensor]:
        """-> {"ctc": sum of -log p(target | states) over the batch, divided by `units`}.

        Parameters
        ----------
        states : torch.Tensor
            (B, P, D) encoder states.
        frames : torch.Tensor
            (B,) states that hold sound; those after them are the window's silence.
        targets, lengths : torch.Tensor
            (B, L) ids without prompt and end, (B,) their number.
        units : int
            What the batch's other terms are means over, so that terms add up under accumulation.
        """
        with torch.autocast(states.device.type, enabled=False):
            log_probs = self.linear(states[:, : int(frames.max())].float()).log_softmax(dim=-1)  # (B, T, V + 1)
            loss = torch.nn.functional.ctc_loss(
                log_probs.transpose(0, 1), targets, frames, lengths, blank=self.blank, reduction="sum"
            )  # an impossible target is infinite here, and the update is skipped and reported, not silently free
        return {"ctc": loss / units}
