"""Greedy decoding of an export in transformers' format, and what transformers' pipeline writes of it untold."""

from pathlib import Path

import numpy as np
import torch
from transformers import AutoConfig, AutoModelForCTC, WhisperFeatureExtractor, WhisperForConditionalGeneration, pipeline

from carryover.losses.ctc import collapse
from carryover.models.whisper_ctc import WhisperForCTC


class WhisperDecoder:
    """Greedy decoding of an exported Whisper: language, task and longest answer are those of its own settings."""

    def __init__(self, folder: Path):
        self.model = WhisperForConditionalGeneration.from_pretrained(folder, dtype=torch.float32).eval()
        self.extractor = WhisperFeatureExtractor.from_pretrained(folder)

    @torch.no_grad()
    def __call__(self, wav: np.ndarray) -> list[int]:
        """(S,) at 16 kHz -> ids."""
        features = self.extractor(wav, sampling_rate=16000, return_tensors="pt").input_features
        return self.model.generate(features, num_beams=1)[0].tolist()


class CTCDecoder:
    """Greedy decoding of an exported CTC model.

    Parameters
    ----------
    folder : Path
    features : callable
        (S,) -> what the model takes, without a batch's axis; see carryover.models.features.
    blank : int
    """

    def __init__(self, folder: Path, features, blank: int):
        self.model, self.features, self.blank = load_ctc(folder), features, blank

    @torch.no_grad()
    def __call__(self, wav: np.ndarray) -> list[int]:
        """(S,) at 16 kHz -> ids."""
        logits = self.model(self.features(torch.from_numpy(wav))[None]).logits
        return collapse(logits[0].argmax(dim=-1), self.blank)


class Pipeline:
    """transformers' pipeline, told nothing but the folder."""

    def __init__(self, folder: Path):
        self.pipeline = pipeline("automatic-speech-recognition", model=str(folder), device="cpu")

    def __call__(self, wav: np.ndarray) -> str:
        """(S,) at 16 kHz -> text."""
        return self.pipeline({"raw": wav, "sampling_rate": 16000})["text"].strip()


def load_ctc(folder: Path) -> torch.nn.Module:
    """A CTC model of a folder in transformers' format; a Whisper's encoder is this project's own class."""
    whisper = AutoConfig.from_pretrained(folder).model_type == "whisper"
    kind = WhisperForCTC if whisper else AutoModelForCTC
    return kind.from_pretrained(folder, dtype=torch.float32).eval()
