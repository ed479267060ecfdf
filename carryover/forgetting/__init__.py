"""Methods against forgetting, one file each, behind one face (method.py): entries of a YAML's `forgetting`."""

from carryover.forgetting.agem import AGEM
from carryover.forgetting.averaging import Averaging
from carryover.forgetting.ewc import EWC
from carryover.forgetting.l2sp import L2SP
from carryover.forgetting.lwf import LwF
from carryover.forgetting.mas import MAS
from carryover.forgetting.method import Method, check
from carryover.forgetting.replay import Replay

__all__ = ["AGEM", "EWC", "L2SP", "MAS", "Averaging", "LwF", "Method", "Replay", "check"]
