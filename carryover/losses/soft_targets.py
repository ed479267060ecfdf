"""Distillation: what another model says of an utterance is a target, too (the old model, or a larger one)."""

import math

import torch


def divergence(teacher: torch.Tensor, student: torch.Tensor, frames: torch.Tensor, temperature: float) -> torch.Tensor:
    """t^2 KL(p || q), p and q the teacher's and the student's posteriors, softened by t: softmax(logits / t).

    Summed over frames, mean over utterances, natural logarithms (Hinton, Vinyals and Dean 2015, section 2: the factor
    t^2 keeps the gradient, t (q - p) for each frame's logits, of one size whatever t is).

    Parameters
    ----------
    teacher, student : torch.Tensor
        (B, T, V) logits or log-probabilities, over the same units; frames that are not heard may hold anything.
    frames : torch.Tensor
        (B,) frames of each utterance.
    temperature : float
        t
    """
    padding = (torch.arange(student.shape[1], device=frames.device) >= frames[:, None])[..., None]  # (B, T, 1)
    # masked before the softmax: behind it, nan in the padding would still reach the gradient, as 0 * nan
    log_p, log_q = (
        (logits.float().masked_fill(padding, 0.0) / temperature).log_softmax(dim=-1) for logits in (teacher, student)
    )
    kl = torch.nn.functional.kl_div(log_q, log_p, reduction="sum", log_target=True)
    return temperature**2 * kl / len(frames)


class NoDistillation:
    """No teacher, no term."""

    def begin(self, model: torch.nn.Module) -> None:
        """Called once the old weights are loaded, before the first update or the resume."""

    def terms(
        self,
        inputs: tuple[torch.Tensor, torch.Tensor],
        logits: torch.Tensor,
        frames: torch.Tensor,
    ) -> dict[str, torch.Tensor]:
        """-> {} or {"kd": scalar}.

        Parameters
        ----------
        inputs : tuple
            Arguments of the model: what the student saw, padded, and its lengths (B,).
        logits : torch.Tensor
            (B, T, V) of the student.
        frames : torch.Tensor
            (B,) frames of each utterance.
        """
        return {}

    def describe(self, weight: float) -> list[str]:
        """Sentences of a methods paragraph; `weight` of the term in the loss."""
        return []


class SoftTargets:
    """Knowledge distillation (Hinton et al. 2015) from another, frozen model; weight: `loss_weights: {kd: ...}`.

    Parameters
    ----------
    teacher : carryover.models.frozen.Frozen
        (inputs, lengths) -> logits (B, T, V), frames (B,), with the student's units and frames; its
        `module` is frozen in `begin`, and is part of nothing that is trained or saved.
    temperature : float
        As `divergence`.

    Raises
    ------
    ValueError
        For a temperature that is not above 0; in `begin` for a teacher that shares parameters with the student; in
        `terms` for a teacher with other units or frames than the student's.
    """

    def __init__(self, teacher, temperature: float = 2.0):
        self.teacher, self.temperature = teacher, checked_temperature(temperature)

    def describe(self, weight):
        return [
            "A frozen teacher is distilled: the Kullback-Leibler divergence from the teacher's posteriors is "
            f"added, at temperature {self.temperature:g} and with weight {weight:g} @[hinton2015distilling]."
        ]

    def begin(self, model):
        parameters = list(model.parameters())
        own = {id(p) for p in parameters}
        if any(id(p) in own for p in self.teacher.module.parameters()):
            raise ValueError(
                "teacher: it shares parameters with the student, which would be frozen; give a model of its own, "
                "e.g. of results/sign_teacher/1234/model"
            )
        self.teacher.module.requires_grad_(False).to(parameters[0].device)

    def terms(self, inputs, logits, frames):
        """{"kd": `divergence` of the teacher's posteriors, over all units}; arguments as NoDistillation's."""
        theirs, heard = self.teacher(*inputs)
        if theirs.shape[2] != logits.shape[2]:
            raise ValueError(
                f"teacher: it writes {theirs.shape[2]} units, the student {logits.shape[2]}; soft targets need one "
                "vocabulary: train the student with the one that lies beside the teacher's weights"
            )
        for found, expected in zip(heard.tolist(), frames.tolist(), strict=True):
            if found != expected:
                raise ValueError(
                    f"teacher: {found} frames of an utterance of which the student has {expected}; soft targets go "
                    "frame by frame: give both models strides of the same product"
                )
        teacher = torch.nn.functional.pad(theirs, (0, 0, 0, max(0, logits.shape[1] - theirs.shape[1])))
        teacher = teacher[:, : logits.shape[1]].to(logits.device)
        return {"kd": divergence(teacher, logits, frames, self.temperature)}


def checked_temperature(temperature: float) -> float:
    if not 0 < temperature < math.inf:
        raise ValueError(f"temperature: {temperature}; give a number above 0, e.g. 1 or 2")
    return float(temperature)
