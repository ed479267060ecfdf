"""Methods against forgetting."""

from carryover.forgetting.averaging import Averaging, NoAveraging
from carryover.forgetting.ewc import EWC, L2SP, MAS, NoPenalty
from carryover.forgetting.replay import NoReplay, Replay

__all__ = ["EWC", "L2SP", "MAS", "Averaging", "NoAveraging", "NoPenalty", "NoReplay", "Replay"]
