"""One model of several that were fine-tuned from the same one: their changes, added up weight by weight.

With the old weights theta_0 and fine-tuned ones theta_k, tau_k = theta_k - theta_0 is what a fine-tuning changed.
"""

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

Weights = dict[str, Tensor]


def arithmetic(old: Weights, new: Iterable[Weights], factors: Sequence[float]) -> Weights:
    """theta_0 + sum_k factor_k tau_k, task arithmetic (Ilharco et al. 2023, arXiv 2212.04089).

    One model with a factor between 0 and 1 is an average of old and new weights.

    Parameters
    ----------
    old : dict
        Tensors by name.
    new : iterable of dict
        The same names and shapes; read one after the other.
    factors : list of float
        One for each.

    Returns
    -------
    merged : dict
        In the types of `old`, summed up in float32.
    """
    total = {name: tensor.float() for name, tensor in old.items()}
    for weights, factor in zip(new, factors, strict=True):
        for name, change in _changes(old, weights).items():
            total[name] = total[name] + factor * change
    return {name: tensor.to(old[name].dtype) for name, tensor in total.items()}


def ties(old: Weights, new: Iterable[Weights], factor: float, density: float) -> Weights:
    """theta_0 + factor tau, TIES merging (Yadav et al. 2023, arXiv 2306.01708).

    Of each tau_k the share `density` with the largest magnitudes is kept, over all weights together; the sign of each
    weight's change is that of the sum of what is kept; tau is the mean of what is kept and has that sign.

    Parameters
    ----------
    old, new
        As in `arithmetic`.
    factor : float
    density : float
        In (0, 1].

    Returns
    -------
    merged : dict
        In the types of `old`.
    """
    zeros = {name: torch.zeros_like(tensor, dtype=torch.float32) for name, tensor in old.items()}
    kept = [_trimmed(_changes(old, weights), density) for weights in new]
    merged = {}
    for name, zero in zeros.items():
        sign = sum((of[name] for of in kept), zero).sign()
        agree = [torch.where(of[name].sign() == sign, of[name], 0.0) for of in kept]
        number = sum(((of != 0).float() for of in agree), zero)
        change = sum(agree, zero) / number.clamp(min=1)
        merged[name] = (old[name].float() + factor * change).to(old[name].dtype)
    return merged


def _changes(old: Weights, new: Weights) -> Weights:
    return {name: new[name].float() - tensor.float() for name, tensor in old.items()}


def _trimmed(changes: Weights, density: float) -> Weights:
    """What is not among the largest `density` of all magnitudes is 0."""
    magnitudes = torch.cat([change.abs().flatten() for change in changes.values()])
    kept = max(1, round(density * len(magnitudes)))
    least = magnitudes.kthvalue(len(magnitudes) - kept + 1).values
    return {name: torch.where(change.abs() >= least, change, 0.0) for name, change in changes.items()}
