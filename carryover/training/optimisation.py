"""One update: parameter groups with rates of their own, the schedule, loss scaling, clipping, what is not finite."""

import math
from functools import partial, reduce

import torch

from carryover import processes


def parameter_groups(
    modules: torch.nn.Module, lr: float, lr_of: dict[str, float], module_of, no_decay_for_vectors: bool
) -> list[dict]:
    """Groups of what is trained: by peak rate, and vectors (biases, norms) without weight decay if wished.

    Parameters
    ----------
    modules : torch.nn.Module
        Named as the Brain's.
    lr : float
        Peak rate of what `lr_of` does not name.
    lr_of : dict
        Peak rates by module.
    module_of : callable
        Parameter's name -> words of `lr_of` that it belongs to.
    no_decay_for_vectors : bool

    Raises
    ------
    ValueError
        Where nothing is trained, and for a module that nothing trained belongs to.
    """
    trained = [(name, p) for name, p in modules.named_parameters() if p.requires_grad]
    if not trained:
        raise ValueError("train: no parameter is left to train")
    words = [module_of(name) if lr_of else set() for name, _ in trained]
    known = sorted(set().union(*words))
    if unknown := sorted(set(lr_of) - set(known)):
        raise ValueError(f"lr_of: nothing that is trained is called {', '.join(unknown)}; expected {', '.join(known)}")
    if lr_of and lr == 0:
        raise ValueError("lr: 0 with lr_of: to train some modules alone, name them in the key train")
    groups = {}
    for (_, p), own in zip(trained, words, strict=True):
        peaks = {lr_of[word] for word in own & lr_of.keys()}
        if len(peaks) > 1:
            raise ValueError(f"lr_of: {', '.join(sorted(own & lr_of.keys()))} hold the same weights at different rates")
        vector = no_decay_for_vectors and p.ndim < 2
        groups.setdefault((peaks.pop() if peaks else lr, vector), []).append(p)
    ordered = sorted(groups.items(), key=lambda item: (item[0][0] != lr, item[0]))
    return [
        {"params": ps, "lr": peak, "peak": peak} | ({"weight_decay": 0.0} if vector else {})
        for (peak, vector), ps in ordered
    ]


def require_no_own_rate(opt_class) -> None:
    """Raise ValueError where the YAML's optimizer has a learning rate of its own: the groups' are `lr` and `lr_of`."""
    if isinstance(opt_class, partial) and "lr" in opt_class.keywords:
        raise ValueError(
            f"optimizer: it says lr: {opt_class.keywords['lr']:g}, which would be overwritten; take that line out, the "
            "peak rate is the key lr, and lr_of gives modules rates of their own"
        )


class Optimisation:
    """The optimizer, and everything between a gradient and a step.

    Parameters
    ----------
    modules : torch.nn.Module
    optimizer : torch.optim.Optimizer
        Over groups of `parameter_groups`.
    schedule : carryover.training.schedule.Schedule
    scaler : torch.amp.GradScaler
    max_grad_norm : float
        Of all trained parameters together; 0: no clipping.
    methods : list of carryover.forgetting.Method

    Attributes
    ----------
    lr : float
        Of the last update, of what has no rate of its own.
    clipped : bool
        Whether its gradient was.
    """

    def __init__(self, modules, optimizer, schedule, scaler, max_grad_norm, methods):
        self.modules, self.optimizer, self.schedule, self.scaler = modules, optimizer, schedule, scaler
        self.max_grad_norm, self.methods = max_grad_norm, methods
        self.lr, self.clipped = 0.0, False

    def prepare(self, n: int) -> torch.Tensor:
        """Make the gradients that are there ready for update n (counted from 1); -> their norm before clipping, ().

        The rate is set, gradients are summed over processes and unscaled, the methods add theirs, the norm over all
        parameters is clipped. Nothing is read of the device; `step` or `drop` has to follow.
        """
        self.lr = self.schedule.apply(self.optimizer, n)
        trained = [p for p in self.modules.parameters() if p.requires_grad]
        processes.sum_gradients(trained)  # before unscale_, which looks for an overflow: all find it or none
        self.scaler.unscale_(self.optimizer)
        for method in self.methods:
            method.add_gradient()
        return torch.nn.utils.clip_grad_norm_(trained, self.max_grad_norm or math.inf)

    def step(self, norm: float) -> tuple[bool, str]:
        """Make the update that `prepare` has made ready, whose norm has been read.

        Returns
        -------
        (made, fault)
            Whether there was a step, and why not: "" for an overflow of fp16, which the lower scale mends.
        """
        if not math.isfinite(norm):
            scale = self.scaler.get_scale()
            self.scaler.update()
            self.zero_grad()
            return False, "" if self.scaler.get_scale() < scale else f"gradient norm {norm}"
        self.clipped = norm > (self.max_grad_norm or math.inf)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.zero_grad()
        return True, ""

    def drop(self) -> None:
        """Make no update of what `prepare` has made ready; the scale of fp16 stays as it is."""
        self.scaler.update(self.scaler.get_scale())
        self.zero_grad()

    def zero_grad(self) -> None:
        """Drop the gradients."""
        self.optimizer.zero_grad(set_to_none=True)


def read(
    norm: torch.Tensor, found: list[tuple[int, dict, dict]]
) -> tuple[float, list[tuple[int, dict[str, float], dict[str, float]]]]:
    """All that an update reads of the device, in one transfer: to read a number waits for all that is under way.

    Parameters
    ----------
    norm : torch.Tensor
        Of `Optimisation.prepare`, ().
    found : list of (int, dict, dict)
        Of each micro-batch: units, terms, statistics; of the device () each, or numbers already.

    Returns
    -------
    (norm, found)
        The same as Python's numbers.
    """
    there = [norm, *(v for _, *both in found for values in both for v in values.values() if torch.is_tensor(v))]
    dtype = reduce(torch.promote_types, (t.dtype for t in there))
    numbers = iter(torch.stack([t.detach().to(dtype) for t in there]).tolist())
    norm = next(numbers)

    def numbered(values: dict) -> dict[str, float]:
        return {name: next(numbers) if torch.is_tensor(v) else v for name, v in values.items()}

    return norm, [(n, numbered(terms), numbered(statistics)) for n, terms, statistics in found]
