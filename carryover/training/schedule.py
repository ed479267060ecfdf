"""The learning rate of each update, set before the update it serves.

SpeechBrain's recipes call their NoamScheduler after the update, so that the first update runs at the full peak rate
(measured: 0.01, 0.0025, 0.005, ...), or never. Here a rate is a function of the update's number alone: a run that was
stopped and resumed has the rates of an unbroken one.
"""

import torch
from speechbrain.nnet.schedulers import NoamScheduler
from transformers import get_scheduler

TRANSFORMERS = (
    "linear",
    "cosine",
    "cosine_with_restarts",
    "cosine_with_min_lr",
    "polynomial",
    "constant",
    "constant_with_warmup",
    "inverse_sqrt",
    "warmup_stable_decay",
)


class Schedule:
    """Noam's schedule (SpeechBrain's) or one of transformers', by name.

    With n counted from 1, w warm-up updates and N updates in all:

    - ``noam``: lr(n) = lr * min(n / w, sqrt(w / n)); with `model_size` d: lr * d^-0.5 * min(n^-0.5, n * w^-1.5)
      (Vaswani et al. 2017, eq. 3, with a factor).
    - ``linear``: lr * n / w, then lr * (N + 1 - n) / (N + 1 - w).
    - ``cosine``: lr * n / w, then lr * (1 + cos(pi * (n - w) / (N + 1 - w))) / 2.
    - ``constant``: lr; ``constant_with_warmup``: lr * min(1, n / w).
    - the other names: transformers' lambda at n, of N + 1 steps.

    The decay is planned to reach zero at N + 1, and warm-up starts at n = 1, so that no update has the rate 0:
    transformers' Trainer spends its first warm-up update at 0.

    Parameters
    ----------
    name : str
        "noam" or one of `TRANSFORMERS`.
    lr : float
        Peak rate (with Noam's `model_size`: the factor).
    warmup : int or float
        Updates; a value in (0, 1) is a share of all updates.
    model_size : int or None
        Width d of Noam's formula.
    options : dict or None
        Passed on as transformers' `scheduler_specific_kwargs` (e.g. {"min_lr_rate": 0.1}).

    Raises
    ------
    ValueError
        For an unknown name, a negative warm-up, or warm-up 0 with Noam, whose formula divides by it.
    """

    def __init__(self, name: str, lr: float, warmup: float = 0, model_size: int | None = None, options=None):
        if name != "noam" and name not in TRANSFORMERS:
            raise ValueError(f"lr_schedule: '{name}' is unknown; one of: noam, {', '.join(TRANSFORMERS)}")
        if warmup < 0 or (warmup >= 1 and warmup != int(warmup)):
            raise ValueError(f"warmup: {warmup} is neither a number of updates (0, 1, 2, ...) nor a share in (0, 1)")
        if name == "noam" and warmup == 0:
            raise ValueError(
                "warmup: 0 cannot be used with lr_schedule: noam, whose rate is lr * min(n / warmup, "
                "sqrt(warmup / n)); give a number of updates or a share in (0, 1), or choose lr_schedule: linear, "
                "cosine or constant"
            )
        if name == "constant" and warmup:
            raise ValueError(
                f"warmup: {warmup} has no effect with lr_schedule: constant; choose constant_with_warmup or warmup: 0"
            )
        if name != "noam" and model_size is not None:
            raise ValueError(f"model_size belongs to lr_schedule: noam; found with '{name}'")
        self.name, self.lr, self.warmup, self.model_size, self.options = name, float(lr), warmup, model_size, options
        self.total_updates = None
        # both libraries ask for an optimizer to write into; transformers divides min_lr and lr_end by its peak rate
        self._dummy = torch.optim.SGD([torch.zeros(1)], lr=self.lr)

    def plan(self, total_updates: int) -> None:
        """Fix the number N of updates in all, on which the decays and a warm-up given as a share depend."""
        if total_updates < 1:
            raise ValueError(f"a run of {total_updates} updates cannot be planned")
        self.total_updates = total_updates
        share = 0 < self.warmup < 1
        self.warmup_updates = max(1, round(self.warmup * total_updates)) if share else int(self.warmup)
        if self.name == "noam":
            self._noam = NoamScheduler(self.lr, self.warmup_updates, self.model_size)
            return
        scheduler = get_scheduler(
            self.name, self._dummy, self.warmup_updates, total_updates + 1, scheduler_specific_kwargs=self.options
        )
        self._factor = scheduler.lr_lambdas[0]

    def rate(self, n: int) -> float:
        """Rate of update n (counted from 1)."""
        if self.name != "noam":
            return self.lr * self._factor(n)
        self._noam.n_steps = n - 1
        return self._noam(self._dummy)[1]

    def apply(self, optimizer: torch.optim.Optimizer, n: int) -> float:
        """Set the rate of update n before that update, in each parameter group at its own `peak`; returns `lr`'s."""
        rate = self.rate(n)
        for group in optimizer.param_groups:
            peak = group.get("peak", self.lr)
            group["lr"] = rate if peak == self.lr else peak * rate / self.lr
        return rate
