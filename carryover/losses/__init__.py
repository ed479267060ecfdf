"""Losses: NLL with label smoothing, CTC, soft targets."""

from carryover.losses.cross_entropy import nll
from carryover.losses.soft_targets import NoDistillation, SoftTargets, divergence

__all__ = ["NoDistillation", "SoftTargets", "divergence", "nll"]
