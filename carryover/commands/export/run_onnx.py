"""Greedy decoding of exported ONNX graphs with ONNX Runtime, which needs no torch."""

from pathlib import Path

import numpy as np
from transformers import GenerationConfig, WhisperFeatureExtractor

from carryover.commands.export import to_onnx
from carryover.losses.ctc import collapse


def session(path: Path):
    """An inference session on the CPU."""
    import onnxruntime

    return onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])


class WhisperDecoder:
    """Greedy decoding of a Whisper's three graphs, with the tokens suppressed that generation_config.json names.

    Parameters
    ----------
    folder : Path
        Of `to_onnx.write_whisper`.
    prompt : list of int
    max_new_tokens : int
        Tokens after the prompt.
    """

    def __init__(self, folder: Path, prompt: list[int], max_new_tokens: int):
        names = (to_onnx.ENCODER, to_onnx.DECODER, to_onnx.DECODER_WITH_PAST)
        self.encoder, self.first, self.next = (session(folder / name) for name in names)
        self.extractor = WhisperFeatureExtractor.from_pretrained(folder)
        config = GenerationConfig.from_pretrained(folder)
        self.end = config.eos_token_id
        self.never, self.not_first = config.suppress_tokens or [], config.begin_suppress_tokens or []
        self.prompt, self.max_new_tokens = prompt, max_new_tokens
        outputs = [output.name for output in self.first.get_outputs()]
        self.past = [name.replace("present", "past_key_values") for name in outputs[1:]]  # the graphs' order
        self.text = [name for name in self.past if ".decoder." in name]

    def __call__(self, wav: np.ndarray) -> list[int]:
        """(S,) at 16 kHz -> ids, without prompt and end."""
        features = self.extractor(wav, sampling_rate=16000, return_tensors="np").input_features.astype(np.float32)
        (states,) = self.encoder.run(None, {"input_features": features})
        asked = {"input_ids": np.array([self.prompt]), "encoder_hidden_states": states}
        logits, *values = self.first.run(None, asked)
        past, ids = dict(zip(self.past, values, strict=True)), []
        while len(ids) < self.max_new_tokens:
            scores = logits[0, -1]
            scores[self.never] = -np.inf
            if not ids:
                scores[self.not_first] = -np.inf
            token = int(scores.argmax())
            if token == self.end:
                break
            ids.append(token)
            logits, *values = self.next.run(None, {"input_ids": np.array([[token]]), **past})
            past |= zip(self.text, values, strict=True)
        return ids


class CTCDecoder:
    """Greedy decoding of a CTC model's graph.

    Parameters
    ----------
    folder : Path
        Of `to_onnx.write_ctc`.
    features : callable
        (S,) -> what the model takes, without a batch's axis; see carryover.models.features.
    blank : int
    """

    def __init__(self, folder: Path, features, blank: int):
        self.session, self.features, self.blank = session(folder / to_onnx.CTC), features, blank
        self.name = self.session.get_inputs()[0].name

    def __call__(self, wav: np.ndarray) -> list[int]:
        """(S,) at 16 kHz -> ids."""
        import torch

        inputs = self.features(torch.from_numpy(wav))[None].numpy()
        (logits,) = self.session.run(None, {self.name: inputs})
        return collapse(logits[0].argmax(axis=-1).tolist(), self.blank)
