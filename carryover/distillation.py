"""Learning without forgetting: what the old model says of the new language's audio is a target, too."""

import copy

import torch


class NoDistillation:
    """No teacher, no term."""

    def begin(self, model: torch.nn.Module) -> None:
        """Called once the old weights are loaded, before the first update or the resume."""

    def terms(self, batch, logits: torch.Tensor, frames: torch.Tensor, symbols: list[int]) -> dict[str, torch.Tensor]:
        """-> {} or {"kd": scalar}."""
        return {}


class LwF:
    """Learning without forgetting (Li and Hoiem 2016) on frame posteriors; its weight is `loss_weights: {kd: ...}`.

    Parameters
    ----------
    temperature : float
        Both posteriors are softened by it, and the term is multiplied by its square (Hinton et al. 2015).
    """

    def __init__(self, temperature: float = 1.0):
        if temperature <= 0:
            raise ValueError(f"temperature: {temperature}; give a number above 0, e.g. 1 or 2")
        self.temperature = float(temperature)

    def begin(self, model):
        self.teacher = copy.deepcopy(model).eval().requires_grad_(False)

    def terms(self, batch, logits, frames, symbols):
        """Kullback-Leibler divergence of the old model's posteriors, summed over frames, mean over utterances.

        Parameters
        ----------
        batch : tuple
            Arguments of the model: what the student saw.
        logits : torch.Tensor
            (B, T, V) of the student.
        frames : torch.Tensor
            (B,) frames of each utterance.
        symbols : list of int
            Units that the old model has; new ones have no teacher and take no part.
        """
        with torch.no_grad():
            old, _ = self.teacher(*batch)  # (B, T, V)
        t = self.temperature
        student = (logits[..., symbols].float() / t).log_softmax(dim=-1)
        teacher = (old[..., symbols].float() / t).log_softmax(dim=-1)
        divergence = (teacher.exp() * (teacher - student)).sum(dim=-1)  # (B, T)
        heard = torch.arange(divergence.shape[1], device=frames.device) < frames[:, None]
        return {"kd": t * t * divergence.masked_fill(~heard, 0.0).sum() / len(frames)}
