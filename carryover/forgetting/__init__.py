"""Methods against forgetting, one file each, behind one face (method.py): entries of a YAML's `forgetting`."""

from carryover.forgetting.agem import AGEM
from carryover.forgetting.averaging import Averaging
from carryover.forgetting.der import DER
from carryover.forgetting.ewc import EWC
from carryover.forgetting.l2sp import L2SP
from carryover.forgetting.lwf import LwF
from carryover.forgetting.mas import MAS
from carryover.forgetting.method import Method, check, names
from carryover.forgetting.online_ewc import OnlineEWC
from carryover.forgetting.pseudo_replay import PseudoReplay
from carryover.forgetting.replay import Replay
from carryover.forgetting.si import SI

__all__ = [
    "AGEM", "DER", "EWC", "L2SP", "MAS", "SI", "Averaging", "LwF", "Method", "OnlineEWC", "PseudoReplay", "Replay",
    "check", "names",
]  # fmt: skip
