"""Writing a run's model in each format, and what decodes it there."""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from transformers import WhisperForConditionalGeneration

from carryover.commands.export import run_onnx, to_ctranslate2, to_hf, to_onnx
from carryover.commands.export.asked import Asked
from carryover.decoding import Greedy
from carryover.models.features import features_of
from carryover.models.wav2vec2 import CTCModel
from carryover.text import Characters

SECONDS = 2  # of the example that a CTC graph is made with


@dataclass
class Decoders:
    """What decodes an export.

    Attributes
    ----------
    tokens : callable or None
        Samples (S,) at 16 kHz -> ids of the text, greedy; None where this project alone reads the export.
    text : callable or None
        Samples -> text, as the program itself writes it where it is told nothing; None where it takes more.
    """

    tokens: Callable[[np.ndarray], list[int]] | None
    text: Callable[[np.ndarray], str] | None = None


def write(brain, asked: Asked, folder: Path) -> None:
    """Write the loaded weights into an empty folder, in the format that is asked for."""
    if asked.to == "hf":
        brain.export(folder)
        return
    with tempfile.TemporaryDirectory(prefix=".export", dir=folder.parent) as made:  # a machine's /tmp may be small
        source = Path(made)
        brain.export(source)
        if asked.to == "ctranslate2":
            to_ctranslate2.write(source, folder, asked.quantization)
        elif _whisper(brain):
            to_onnx.write_whisper(source, folder)
        else:
            features = features_of(source)
            example = features(torch.randn(SECONDS * 16000, generator=torch.Generator().manual_seed(0)))
            inputs = torch.stack([example, example])
            to_onnx.write_ctc(to_hf.load_ctc(source), inputs, features.input_name, source, folder)


def decoders(brain, asked: Asked, folder: Path) -> Decoders:
    """What decodes an export that lies in a folder."""
    if _whisper(brain):
        h, read = brain.hparams, to_hf.Pipeline
        told = h.tokenizer.prompt(h.language), h.generation_length
        if asked.to == "hf":
            decoder, text = to_hf.WhisperDecoder(folder), read(folder)
        else:
            kind = to_ctranslate2.Decoder if asked.to == "ctranslate2" else run_onnx.WhisperDecoder
            decoder, text = kind(folder, *told), None
        return Decoders(lambda wav: h.tokenizer.text_ids(decoder(wav)), text)
    if "acoustic" in brain.modules and isinstance(brain.modules["acoustic"], CTCModel):
        kind = to_hf.CTCDecoder if asked.to == "hf" else run_onnx.CTCDecoder
        model, tokenizer = brain.modules["acoustic"].hf, brain.hparams.tokenizer
        # transformers knows neither a Whisper with CTC, nor SentencePiece for CTC, nor this project's beam search
        known = model.config.model_type != "whisper" and isinstance(tokenizer, Characters)
        untold = known and isinstance(brain.hparams.decoder, Greedy) and asked.to == "hf"
        found = kind(folder, features_of(folder), tokenizer.blank)
        return Decoders(found, to_hf.Pipeline(folder) if untold else None)
    return Decoders(None)


def _whisper(brain) -> bool:
    return "whisper" in brain.modules and isinstance(brain.modules["whisper"], WhisperForConditionalGeneration)
