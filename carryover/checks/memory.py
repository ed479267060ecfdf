"""Memory that a training holds whatever its batches are: weights, gradients, optimizer, methods against forgetting."""

from functools import partial

import torch

SQUARE = 128  # rows and columns of the weight that an optimizer is asked with: 8-bit ones keep smaller weights whole


def parts(brain) -> dict[str, int]:
    """Bytes by part; the activations of a batch come on top.

    Parameters
    ----------
    brain : carryover.training.brain.RecipeBrain
        Before its first update.

    Returns
    -------
    dict
        weights (all modules, buffers too), gradients, optimizer (its state of what is trained) and, where a method
        keeps copies, forgetting.
    """
    tensors = [*brain.modules.parameters(), *brain.modules.buffers()]
    trained = [p for p in brain.modules.parameters() if p.requires_grad]
    gradients = sum(p.nbytes for p in trained)
    found = {"weights": sum(t.nbytes for t in tensors), "gradients": gradients}
    if brain.opt_class is not None:
        found["optimizer"] = round(gradients * optimizer_share(brain.opt_class, brain.device))
    kept = sum(method.bytes_per_parameter for method in brain.methods) * sum(p.numel() for p in trained)
    return found | ({"forgetting": kept} if kept else {})


def optimizer_share(opt_class: partial | type, device: str | torch.device = "cpu") -> float:
    """Bytes of an optimizer's state beside those of a matrix that it trains: 2.0 for AdamW.

    It is asked by an update of a small matrix, without random numbers.
    """
    weight = torch.nn.Parameter(torch.zeros(SQUARE, SQUARE, device=device))
    weight.grad = torch.ones_like(weight)
    optimizer = opt_class([weight], lr=1e-3)
    optimizer.step()
    state = optimizer.state[weight].values()
    return sum(value.nbytes for value in state if torch.is_tensor(value) and value.numel() > 1) / weight.nbytes


def said(found: dict[str, int]) -> str:
    """Parts and their sum, in GiB or, below one, in MiB."""
    total = sum(found.values())
    unit, size = ("GiB", 2**30) if total >= 2**30 else ("MiB", 2**20)
    each = " + ".join(f"{name} {part / size:.1f}" for name, part in found.items())
    return f"{each} = {total / size:.1f} {unit}, and the activations of a batch on top"
