"""When each word of a Whisper's transcript is said, by its cross-attention (OpenAI's word timestamps)."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from transformers import WhisperForConditionalGeneration

# private, for want of a public way: generate aligns what it decodes itself, and in a batch its padding, too
from transformers.models.whisper.generation_whisper import _dynamic_time_warping, _median_filter
from transformers.models.whisper.tokenization_whisper import LANGUAGES, _combine_tokens_into_words

from carryover.models.whisper_tokenizer import Tokenizer
from carryover.text.words import Word

POSITION = 0.02  # seconds of an encoder position
SILENT = set("\"'.。,，!！?？:：”)]}、")  # punctuation that ends a word, which lasts until it comes


@torch.no_grad()
def aligned(
    model: WhisperForConditionalGeneration,
    tokenizer: Tokenizer,
    states: torch.Tensor,
    ids: list[int],
    language: str,
    seconds: float,
) -> list[Word]:
    """Words of a transcript, each from the time of its first token to that of the next word's or punctuation's.

    The attention of the alignment heads over the clip's own positions is standardised over tokens, smoothed (a median
    of `config.median_filter_width` positions) and averaged; the cheapest monotonic path through it (dynamic time
    warping) gives each token its time. The heads are those of generation_config.alignment_heads, without that all heads
    of the upper half of the decoder's layers, as in OpenAI's package.

    Parameters
    ----------
    states : torch.Tensor
        (P, D) of the encoder.
    ids : list of int
        The transcript's tokens alone, see `Tokenizer.text_ids`.
    seconds : float
        Length of the clip.
    """
    positions = min(int(seconds / POSITION + 1e-6), len(states))
    if not ids or not positions:
        return []
    prompt = tokenizer.prompt(language)
    tokens = torch.tensor([[*prompt, *ids, tokenizer.eot]], device=states.device)
    with _eager(model):
        found = model.model.decoder(
            input_ids=tokens, encoder_hidden_states=states[None], use_cache=False, output_attentions=True
        )
    weights = torch.stack([found.cross_attentions[layer][0, head] for layer, head in _heads(model)])
    weights = weights[..., :positions].float()
    weights = weights / weights.sum(dim=-1, keepdim=True)  # as if the model had looked nowhere else
    std, mean = torch.std_mean(weights, dim=-2, keepdim=True, unbiased=False)
    std = std.clamp(min=torch.finfo(std.dtype).tiny)  # of a clip of one position all weights are 1
    weights = _median_filter((weights - mean) / std, model.config.median_filter_width).mean(dim=0)
    weights = weights[len(prompt) - 1 : -1]  # tokens that are read before each of the text's, and before the end
    text, time = _dynamic_time_warping(-weights.double().cpu().numpy())
    starts = time[np.pad(np.diff(text), (1, 0), constant_values=1).astype(bool)] * POSITION  # a token each, and the end
    words, _, places = _combine_tokens_into_words(tokenizer.hf, ids, LANGUAGES[tokenizer.code(language)])
    sounds = [not set(tokenizer.hf.decode([id]).strip()) <= SILENT for id in ids]
    found = []
    for word, place in zip(words, places, strict=True):
        spoken = [i for i in place if sounds[i]] or place
        if word.strip():
            found.append(Word(word.strip(), *(round(float(starts[i]), 2) for i in (place[0], spoken[-1] + 1))))
    return found


def _heads(model: WhisperForConditionalGeneration) -> list[tuple[int, int]]:
    known = model.generation_config.to_dict().get("alignment_heads")
    layers, heads = model.config.decoder_layers, model.config.decoder_attention_heads
    return known or [(layer, head) for layer in range(layers // 2, layers) for head in range(heads)]


@contextmanager
def _eager(model: WhisperForConditionalGeneration) -> Iterator[None]:
    """Within, attention is computed in the one way that hands it out."""
    was = model.config._attn_implementation
    model.set_attn_implementation("eager")
    try:
        yield
    finally:
        model.set_attn_implementation(was)
