"""Losses: NLL with label smoothing, CTC, soft targets."""

from carryover.losses.cross_entropy import nll
from carryover.losses.distillation import NoDistillation, SoftTargets, divergence

__all__ = ["NoDistillation", "SoftTargets", "divergence", "nll"]
