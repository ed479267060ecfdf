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
        ids: list[str] | None,
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
        ids : list of str or None
            Names of the utterances where `inputs` are what these always are; None where they were augmented.
        """
        return {}


class SoftTargets:
    """Knowledge distillation (Hinton et al. 2015) from another, frozen model; weight: `loss_weights: {kd: ...}`.

    Parameters
    ----------
    teacher : torch.nn.Module
        (inputs, lengths) -> logits (B, T, V), frames (B,), with the student's units and frames. It is frozen, stays in
        evaluation mode, and is part of nothing that is trained or saved.
    temperature : float
        As `divergence`.
    keep : bool
        Ask the teacher once for each utterance, and keep its log-probabilities in host memory; augmented inputs are
        asked for in every update all the same. Kept ones are computed for the utterance alone, so that they do not
        depend on its neighbours in a batch and a resumed run goes on bit by bit. False: everything, in every update.

    They are kept in float32: 7 000 utterances of 30 frames and 1 200 units take 1.0 GB. float16 would halve it, at an
    error of 0.03 to 0.3 % of the gradient (logits of deviation 3 and 8, student off by 1, t from 1 to 8) that does not
    shrink as the student nears the teacher; for a hundred times as many, set keep to False.

    Raises
    ------
    ValueError
        For a temperature that is not above 0; in `begin` for a teacher that shares parameters with the student; in
        `terms` for a teacher with other units or frames than the student's.
    """

    def __init__(self, teacher: torch.nn.Module, temperature: float = 2.0, keep: bool = True):
        self.temperature, self.keep = checked_temperature(temperature), keep
        self.teacher = teacher.eval()
        self._kept: dict[str, torch.Tensor] = {}  # (T, V) on the CPU

    @property
    def memory(self) -> int:
        """Bytes that the kept log-probabilities take."""
        return sum(log_probs.nbytes for log_probs in self._kept.values())

    def begin(self, model):
        parameters = list(model.parameters())
        own = {id(p) for p in parameters}
        if any(id(p) in own for p in self.teacher.parameters()):
            raise ValueError(
                "teacher: it shares parameters with the student, which would be frozen; give a model of its own, "
                "e.g. of results/sign_teacher/1234/model"
            )
        self.teacher.requires_grad_(False).to(parameters[0].device)

    def terms(self, inputs, logits, frames, ids):
        """{"kd": `divergence` of the teacher's posteriors, over all units}; arguments as NoDistillation's."""
        if self.keep and ids is not None:
            every = zip(ids, *inputs, inputs[1].tolist(), strict=True)
            rows = [self._of(ID, x[None, :n], length[None]) for ID, x, length, n in every]
        else:
            rows = self._log_probs(*inputs)
        teacher = torch.zeros_like(logits, dtype=torch.float32)
        for i, (row, n) in enumerate(zip(rows, frames.tolist(), strict=True)):
            if row.shape[1] != logits.shape[2]:
                raise ValueError(
                    f"teacher: it writes {row.shape[1]} units, the student {logits.shape[2]}; soft targets need one "
                    "vocabulary: train the student with the one that lies beside the teacher's weights"
                )
            if len(row) != n:
                raise ValueError(
                    f"teacher: {len(row)} frames of an utterance of which the student has {n}; soft targets go frame "
                    "by frame: give both models strides of the same product"
                )
            teacher[i, :n] = row.to(logits.device)
        return {"kd": divergence(teacher, logits, frames, self.temperature)}

    def _of(self, ID: str, inputs: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """(T, V) of one utterance, kept on the CPU once it has been computed."""
        if ID not in self._kept:
            [self._kept[ID]] = [row.cpu() for row in self._log_probs(inputs, lengths)]
        return self._kept[ID]

    @torch.no_grad()
    def _log_probs(self, inputs: torch.Tensor, lengths: torch.Tensor) -> list[torch.Tensor]:
        """The teacher's log-probabilities, (T, V) float32 for each utterance."""
        logits, frames = self.teacher(inputs, lengths)
        log_probs = logits.float().log_softmax(dim=-1)
        return [one[:n] for one, n in zip(log_probs, frames.tolist(), strict=True)]


def checked_temperature(temperature: float) -> float:
    if not 0 < temperature < math.inf:
        raise ValueError(f"temperature: {temperature}; give a number above 0, e.g. 1 or 2")
    return float(temperature)
