"""Whisper and CTC models as ONNX graphs; the files and names of a Whisper's are those that Optimum gives them."""

import logging
import shutil
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch.export import Dim
from transformers import WhisperForConditionalGeneration
from transformers.cache_utils import DynamicCache, EncoderDecoderCache

ENCODER, DECODER, DECODER_WITH_PAST = "encoder_model.onnx", "decoder_model.onnx", "decoder_with_past_model.onnx"
CTC = "model.onnx"

# Shapes: B batch, P encoder positions, D width, U tokens, H heads, V vocabulary; F frames or samples of a CTC model


class _Encoder(torch.nn.Module):
    """input_features (B, n_mels, 2 P) -> last_hidden_state (B, P, D)."""

    def __init__(self, whisper: WhisperForConditionalGeneration):
        super().__init__()
        self.encoder = whisper.model.encoder

    def forward(self, input_features):
        return self.encoder(input_features).last_hidden_state


class _Decoder(torch.nn.Module):
    """input_ids (B, U), encoder_hidden_states (B, P, D) -> logits (B, U, V), then each layer's keys and values
    (B, H, ., D / H): key and value of the text, key and value of the audio."""

    def __init__(self, whisper: WhisperForConditionalGeneration):
        super().__init__()
        self.decoder, self.proj_out = whisper.model.decoder, whisper.proj_out

    def forward(self, input_ids, encoder_hidden_states):
        cache = EncoderDecoderCache(DynamicCache(), DynamicCache())
        logits = self.logits(input_ids, encoder_hidden_states, cache)
        layers = zip(cache.self_attention_cache.layers, cache.cross_attention_cache.layers, strict=True)
        return logits, *(x for text, audio in layers for x in (text.keys, text.values, audio.keys, audio.values))

    def logits(self, input_ids, states, cache):
        found = self.decoder(
            input_ids=input_ids, encoder_hidden_states=states, past_key_values=cache, use_cache=True
        )  # fmt: skip
        return self.proj_out(found.last_hidden_state)


class _DecoderWithPast(_Decoder):
    """input_ids (B, 1) and what `_Decoder` gave besides its logits -> logits (B, 1, V), each layer's key and value of
    the text, one token longer."""

    def forward(self, input_ids, past):
        text, audio = DynamicCache(), DynamicCache()
        for i in range(len(past) // 4):
            text.update(past[4 * i], past[4 * i + 1], i)
            audio.update(past[4 * i + 2], past[4 * i + 3], i)
        states = past[2].transpose(1, 2).flatten(2)  # of the right shape; what is heard stands in `audio` already
        logits = self.logits(input_ids, states, cache := EncoderDecoderCache(text, audio))
        return logits, *(x for layer in cache.self_attention_cache.layers for x in (layer.keys, layer.values))


class _CTC(torch.nn.Module):
    """Inputs (B, F) or (B, F, .) -> logits (B, T, V), of whole inputs: there is no mask for padding."""

    def __init__(self, hf: torch.nn.Module):
        super().__init__()
        self.hf = hf

    def forward(self, inputs):
        return self.hf(inputs).logits


def names_of_past(layers: int, parts=("decoder", "encoder"), prefix: str = "past_key_values") -> list[str]:
    """Names of keys and values, in the order of the graphs."""
    return [f"{prefix}.{i}.{part}.{what}" for i in range(layers) for part in parts for what in ("key", "value")]


def write_whisper(source: Path, folder: Path) -> None:
    """Write a Whisper in transformers' format as three graphs, and what is needed to feed them.

    Parameters
    ----------
    source : Path
        Folder with the model, its tokenizer and its feature extractor.
    folder : Path
        Is there.
    """
    model = WhisperForConditionalGeneration.from_pretrained(source, dtype=torch.float32).eval()
    config = model.config
    batch, text = Dim("batch"), Dim("past")
    features = torch.zeros(2, config.num_mel_bins, 2 * config.max_source_positions)
    ids = torch.full((2, 4), config.decoder_start_token_id)
    with torch.no_grad(), _quiet():
        encoder, decoder, again = (kind(model).eval() for kind in (_Encoder, _Decoder, _DecoderWithPast))
        states = encoder(features)
        past = list(decoder(ids, states)[1:])
        layers = config.decoder_layers
        _export(
            encoder, (features,), folder / ENCODER, ({0: batch},), ["input_features"], ["last_hidden_state"]
        )  # fmt: skip
        _export(
            decoder, (ids, states), folder / DECODER, ({0: batch, 1: Dim("length")}, {0: batch}),
            ["input_ids", "encoder_hidden_states"], ["logits", *names_of_past(layers, prefix="present")],
        )  # fmt: skip
        grows = [{0: batch, 2: text} if i % 4 < 2 else {0: batch} for i in range(len(past))]
        _export(
            again, (ids[:, :1], past), folder / DECODER_WITH_PAST, ({0: batch}, grows),
            ["input_ids", *names_of_past(layers)], ["logits", *names_of_past(layers, ("decoder",), "present")],
        )  # fmt: skip
    _copy_beside(source, folder)


def write_ctc(hf: torch.nn.Module, inputs: torch.Tensor, name: str, source: Path, folder: Path) -> None:
    """Write a CTC model as one graph, and what is needed to feed it.

    Parameters
    ----------
    hf : torch.nn.Module
        Of `AutoModelForCTC`, or a WhisperForCTC.
    inputs : torch.Tensor
        (2, F) or (2, F, .): an example of what it takes.
    name : str
        Of the inputs, transformers' own.
    source : Path
        Folder with its files in transformers' format.
    folder : Path
        Is there.
    """
    # the attention over relative positions of w2v-BERT cannot be decomposed by torch.export (torch 2.11: a view of
    # tensors with other strides); the tracer gives the same logits to 3e-7 at other lengths and batches
    traced = hf.config.model_type == "wav2vec2-bert"
    model, names = _CTC(hf.eval()).eval(), ([name], ["logits"])
    with torch.no_grad(), _quiet():
        if traced:
            axes = {name: {0: "batch", 1: "length"}, "logits": {0: "batch", 1: "frames"}}
            torch.onnx.export(
                model, (inputs,), folder / CTC, dynamo=False, dynamic_axes=axes, input_names=names[0],
                output_names=names[1],
            )  # fmt: skip
        else:
            _export(model, (inputs,), folder / CTC, ({0: Dim("batch"), 1: Dim("length")},), *names)
    _copy_beside(source, folder)


def _export(model: torch.nn.Module, example: tuple, path: Path, shapes: tuple, inputs: list, outputs: list) -> None:
    """Write a graph, weights beside it in PATH.data, without the paths of this machine's files."""
    program = torch.onnx.export(
        model, example, dynamo=True, verbose=False, dynamic_shapes=shapes, input_names=inputs, output_names=outputs
    )
    for graph in (program.model.graph, *program.model.functions.values()):
        for node in graph:
            node.metadata_props.clear()  # each node says from which line of which file it comes
    program.save(path, external_data=True)


def _copy_beside(source: Path, folder: Path) -> None:
    """All but the weights, which stand in the graphs."""
    for path in source.iterdir():
        if path.is_file() and path.suffix != ".safetensors":
            shutil.copy(path, folder)


@contextmanager
def _quiet() -> Iterator[None]:
    """Without what the exporter says of names of axes and of packages that this project does not use."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
