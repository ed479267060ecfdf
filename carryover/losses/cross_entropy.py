"""Losses over log-probabilities, masked by length."""

import torch


def nll(
    log_probs: torch.Tensor, targets: torch.Tensor, mask: torch.Tensor, label_smoothing: float = 0.0
) -> torch.Tensor:
    """Negative log-likelihood with label smoothing, mean over the unmasked targets.

    (1 - e) * -log p(y) + e * mean_v(-log p(v)), as torch.nn.functional.cross_entropy (Szegedy et al. 2016, eq. 11).

    Parameters
    ----------
    log_probs : torch.Tensor
        (B, U, V), float32.
    targets : torch.Tensor
        (B, U) class indices; masked ones may hold anything in [0, V).
    mask : torch.Tensor
        (B, U) True where a target counts. By length, never by token id: where pad equals end, masking the id
        would keep a model from learning to stop.
    label_smoothing : float
        e in [0, 1).
    """
    loss = -log_probs.gather(-1, targets.unsqueeze(-1)).squeeze(-1)
    if label_smoothing:
        loss = (1 - label_smoothing) * loss - label_smoothing * log_probs.mean(dim=-1)
    return loss.masked_fill(~mask, 0).sum() / mask.sum()  # not loss * mask: inf * 0 is nan
