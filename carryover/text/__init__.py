"""Text: the normaliser of targets and scoring, and the symbols that CTC writes."""

from carryover.text.characters import Characters
from carryover.text.glosses import Glosses
from carryover.text.normaliser import Normaliser, Verbatim
from carryover.text.pieces import Pieces
from carryover.text.whisper_normaliser import WhisperNormaliser

__all__ = ["Characters", "Glosses", "Normaliser", "Pieces", "Verbatim", "WhisperNormaliser"]
