"""Losses: NLL with label smoothing, CTC, soft targets."""

from carryover.losses.cross_entropy import nll

__all__ = ["nll"]
