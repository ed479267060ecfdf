"""Decoding of CTC: greedy, and beam search with an n-gram language model."""

from carryover.decoding.beam_search import BeamSearch
from carryover.decoding.greedy import Greedy

__all__ = ["BeamSearch", "Greedy"]
