"""Whisper as CTranslate2 and faster-whisper load it, and its greedy decoding there."""

from pathlib import Path

import numpy as np
from transformers import WhisperFeatureExtractor

# beside model.bin: faster-whisper reads the first two, the third says language, task and beams
COPIED = ("tokenizer.json", "preprocessor_config.json", "generation_config.json")


def write(source: Path, folder: Path, quantization: str | None = None) -> None:
    """Convert a Whisper in transformers' format.

    Parameters
    ----------
    source : Path
        Folder with the model, its tokenizer and its feature extractor.
    folder : Path
        Is there and empty.
    quantization : str, optional
        "int8" or "float16"; float32 without.
    """
    from ctranslate2.converters import TransformersConverter

    converter = TransformersConverter(str(source), copy_files=list(COPIED))
    converter.convert(str(folder), quantization=quantization or "float32", force=True)


class Decoder:
    """Greedy decoding of a converted Whisper.

    Parameters
    ----------
    folder : Path
        Of `write`.
    prompt : list of int
    max_new_tokens : int
        Tokens after the prompt.
    """

    def __init__(self, folder: Path, prompt: list[int], max_new_tokens: int):
        import ctranslate2

        self.view = ctranslate2.StorageView.from_array
        self.model = ctranslate2.models.Whisper(str(folder), device="cpu", compute_type="default")
        self.extractor = WhisperFeatureExtractor.from_pretrained(folder)
        # CTranslate2 writes at most half of max_length: the other half is for an earlier text in the prompt
        self.prompt, self.longest = prompt, max(2 * max_new_tokens, len(prompt) + max_new_tokens)

    def __call__(self, wav: np.ndarray) -> list[int]:
        """(S,) at 16 kHz -> ids, without the prompt."""
        features = self.extractor(wav, sampling_rate=16000, return_tensors="np").input_features
        features = self.view(np.ascontiguousarray(features, dtype=np.float32))
        (found,) = self.model.generate(features, [self.prompt], beam_size=1, max_length=self.longest)
        return found.sequences_ids[0]
