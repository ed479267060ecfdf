"""Gradient checkpointing (Chen et al. 2016): what a trained layer computed is computed again in the backward pass.

Only each layer's input is kept from the forward pass, so memory of activations falls by about the number of layers, for
one more forward pass an update. The same random numbers are drawn again, so losses and gradients are the same.
"""

import warnings

import torch
from transformers import PreTrainedModel
from transformers.modeling_layers import GradientCheckpointingLayer


def enable(model: PreTrainedModel) -> None:
    """Switch it on in a model of transformers; says so where there is no layer that it could act on.

    Frozen layers stay in evaluation mode, where it does nothing: what is kept of them on disk, and an importance, which
    is estimated in evaluation mode, are computed as without.
    """
    if not any(isinstance(m, GradientCheckpointingLayer) and _is_trained(m) for m in model.modules()):
        print("gradient_checkpointing: nothing to do, no layer of the model is trained")
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # its name of transformers 5.24 is not in 5.23
        model.gradient_checkpointing_enable({"use_reentrant": False})


def _is_trained(module: torch.nn.Module) -> bool:
    return any(p.requires_grad for p in module.parameters())
