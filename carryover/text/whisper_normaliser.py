"""Whisper's own normalisers, to compare with published numbers; for learning and for other languages see Normaliser."""

import importlib.metadata
import json
from pathlib import Path

from carryover.text.languages import code_of


class WhisperNormaliser:
    """transformers' EnglishTextNormalizer for English, BasicTextNormalizer for all others, as Whisper's authors do.

    It takes diacritics off English and apostrophes off Dutch: score with it, beside Normaliser, and do not learn by it.

    Parameters
    ----------
    spelling : str, optional
        A Whisper's normalizer.json: British words and their American spelling. Without it both spellings stay two
        words, and English error rates are above the published ones.

    Raises
    ------
    FileNotFoundError
        Where `spelling` is not there.
    """

    def __init__(self, spelling: str | None = None):
        from transformers.models.whisper import english_normalizer  # seconds, which reports need not wait for

        if spelling and not Path(spelling).is_file():
            raise FileNotFoundError(f"normaliser: {spelling} is not there; give a Whisper's normalizer.json, or null")
        words = json.loads(Path(spelling).read_text(encoding="utf-8")) if spelling else {}
        self._english = english_normalizer.EnglishTextNormalizer(words)
        self._basic = english_normalizer.BasicTextNormalizer()
        version = importlib.metadata.version("transformers")
        self.name = f"whisper (transformers {version}{'' if words else ', without its spelling table'})"

    def __call__(self, text: str, language: str | None = None) -> str:
        normalise = self._english if code_of(language) == "en" else self._basic
        return " ".join(normalise(text).split())
