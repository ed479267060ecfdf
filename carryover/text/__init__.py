"""Text: the normaliser of targets and scoring, and the symbols that CTC writes."""

from carryover.text.normaliser import Normaliser, Verbatim

__all__ = ["Normaliser", "Verbatim"]
