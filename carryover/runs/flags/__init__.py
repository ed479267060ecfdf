"""Red flags: what a run's own log shows to be going wrong, in one line with its numbers and what to try.

A flag is a reason to look, not a verdict: nothing is stopped by one. Nothing here needs torch.
"""

from carryover.runs.flags.corpus import incomplete, overlap
from carryover.runs.flags.flag import ADVICE, KINDS, Flag
from carryover.runs.flags.monitor import Monitor, find, told
from carryover.runs.flags.thresholds import Thresholds

__all__ = ["ADVICE", "KINDS", "Flag", "Monitor", "Thresholds", "find", "incomplete", "overlap", "told"]
