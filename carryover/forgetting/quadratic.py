"""The quadratic penalty that EWC, MAS and L2-SP share.

    L = L_task + (lambda / 2) * sum_i F_i (theta_i - theta*_i)^2

with theta* the weights that are carried over and F_i what parameter i means for the old language (Kirkpatrick et al.
2017, eq. 3). The gradient, lambda F (theta - theta*), needs no graph: it is added once per update, after unscaling and
before clipping, right under accumulation and loss scaling. As a loss in every micro-batch the same penalty made
an update of wav2vec2-base 1.5 (16 s of speech, one CPU thread) to 2.2 times (8 s) as long; so it adds 1 to 2 %
(benchmarks/ewc_cost.py).
"""

import math

import torch

from carryover.forgetting.method import Method, require_old_weights


class QuadraticPenalty(Method):
    """(lambda / 2) sum_i F_i (theta_i - theta*_i)^2; a subclass says what F is.

    Parameters
    ----------
    lambda_ : float
        0 is allowed: the baseline, at no cost.
    gradient : str
        "in_place", or "autograd": the penalty as a loss, for comparison.
    storage : str
        Where F and theta* are: "device"; "half", F in bfloat16 (theta* stays float32: rounded to half precision it
        would pull every weight by 2^-9 of itself, as much as fine-tuning moves it); or "host", both in host memory,
        brought to the device one parameter at a time.

    Raises
    ------
    ValueError
        For a negative or infinite lambda, or an unknown `gradient` or `storage`.
    """

    weights_are_held = True

    def __init__(self, lambda_: float, gradient: str = "in_place", storage: str = "device"):
        if not isinstance(lambda_, (int, float)) or not 0 <= lambda_ < math.inf:
            raise ValueError(f"lambda: {lambda_} is no weight of a penalty; give 0 (none) or more")
        if gradient not in ("in_place", "autograd"):
            raise ValueError(f"gradient: '{gradient}' is neither in_place nor autograd")
        if storage not in ("device", "half", "host"):
            raise ValueError(f"storage: '{storage}' is neither device, half nor host")
        self.lambda_, self.gradient, self.storage = float(lambda_), gradient, storage
        self._held = []

    @property
    def bytes_per_parameter(self):
        """F and theta* in float32, F in bfloat16 with storage half."""
        return 0 if not self.lambda_ else 6 if self.storage == "half" else 8

    def check(self, values):
        if self.lambda_:
            require_old_weights(self.name, values)

    def importance(self, learner, old_set, parameters: dict) -> dict[str, torch.Tensor]:
        """F by parameter name."""
        raise NotImplementedError

    def begin(self, learner, old_set) -> None:
        """Take the weights as they are for theta*, and get F; what the old model does not have gets F = 0.

        Raises
        ------
        ValueError
            Where nothing would be held: every parameter is new, or F is zero throughout.
        """
        if not self.lambda_:
            return
        new = learner.new_parameters()  # None: the whole tensor; otherwise rows
        trained = {n: p for n, p in learner.modules.named_parameters() if p.requires_grad}
        parameters = {n: p for n, p in trained.items() if n not in new or new[n] is not None}
        if not parameters:
            raise ValueError(f"{self.name}: every parameter is new; there is nothing to remember in this model")
        importance = self.importance(learner, old_set, parameters)
        for name, rows in new.items():
            if name in importance:
                importance[name][rows] = 0.0
        self.hold(parameters, importance)
        if not self._held:
            raise ValueError(
                f"{self.name}: no parameter means anything for the old language, so nothing is held; pre-train the "
                "model on it first (hparams/dutch_pretrain.yaml), or give lambda 0"
            )

    def hold(self, parameters: dict[str, torch.nn.Parameter], importance: dict[str, torch.Tensor]) -> None:
        """Keep theta* = the parameters' present values, and F (shapes as the parameters').

        A parameter whose F is zero throughout (one that the old language never used) is not held: it would cost
        memory, and a gradient of zeros instead of none would set the optimizer's weight decay on it.
        """
        self._held = []
        for name, p in parameters.items():
            if not importance[name].any():
                continue
            device = torch.device("cpu") if self.storage == "host" else p.device
            anchor = p.detach().to(device, torch.float32, copy=True)
            F = importance[name].to(device, torch.bfloat16 if self.storage == "half" else torch.float32)
            if self.storage == "host" and p.device.type == "cuda":
                anchor, F = anchor.pin_memory(), F.pin_memory()
            self._held.append((p, F, anchor))

    def held_bytes(self) -> int:
        """Memory that F and theta* take, wherever they are."""
        return sum(F.nbytes + anchor.nbytes for _, F, anchor in self._held)

    @torch.no_grad()
    def add_gradient(self) -> None:
        """Add lambda F (theta - theta*) to the gradients; one parameter's temporary at a time."""
        if self.gradient == "autograd":
            return
        for p, F, anchor in self._held:
            if p.grad is None:  # layerdrop left the layer out; the penalty still holds it
                p.grad = torch.zeros_like(p)
            # no name for the difference: it would live on beside the next parameter's
            p.grad.addcmul_(
                F.to(p.device, non_blocking=True), p - anchor.to(p.device, non_blocking=True), value=self.lambda_
            )

    def loss(self) -> torch.Tensor:
        """The penalty with its graph, a scalar."""
        parts = [(F.to(p.device) * (p - anchor.to(p.device)) ** 2).sum() for p, F, anchor in self._held]
        return 0.5 * self.lambda_ * torch.stack(parts).sum()

    def terms(self, output, batch) -> dict[str, torch.Tensor]:
        """{name: penalty with its graph} when `gradient` is "autograd", else {}."""
        return {self.name: self.loss()} if self.gradient == "autograd" and self._held else {}

    @torch.no_grad()
    def logged(self) -> dict[str, float]:
        """{name: penalty}."""
        if not self._held:
            return {self.name: 0.0}
        parts = [
            torch.sum((p - anchor.to(p.device)).square_().mul_(F.to(p.device)), dtype=torch.float64)
            for p, F, anchor in self._held
        ]
        return {self.name: 0.5 * self.lambda_ * torch.stack(parts).sum().item()}
