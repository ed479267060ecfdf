"""Decoding of CTC: greedy, and beam search with an n-gram language model."""

from carryover.decoding.ctc_search import BeamSearch, Greedy

__all__ = ["BeamSearch", "Greedy"]
