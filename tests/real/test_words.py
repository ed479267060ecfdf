"""Times of words are OpenAI's, and a language is detected, by the real Whisper on real speech."""

import numpy as np
import pytest
import torch

from carryover.data import audio
from carryover.models import whisper, whisper_words
from carryover.models.whisper_tokenizer import Tokenizer

NAMES = [
    ("layers", "blocks"), ("fc1", "mlp.0"), ("fc2", "mlp.2"), ("final_layer_norm", "mlp_ln"),
    ("encoder_attn_layer_norm", "cross_attn_ln"), ("encoder_attn.", "cross_attn."), ("self_attn_layer_norm", "attn_ln"),
    ("self_attn.", "attn."), ("q_proj", "query"), ("k_proj", "key"), ("v_proj", "value"), ("out_proj", "out"),
    ("embed_tokens", "token_embedding"), ("embed_positions.weight", "positional_embedding"),
    ("encoder.layer_norm", "encoder.ln_post"), ("decoder.layer_norm", "decoder.ln"),
]  # fmt: skip


@pytest.fixture(scope="module")
def model(whisper_base):
    return whisper.WhisperForConditionalGeneration.from_pretrained(whisper_base).eval()


@pytest.fixture(scope="module")
def tokenizer(whisper_base, model):
    found = Tokenizer(str(whisper_base))
    whisper.set_generation_ids(model, found)
    return found


def states_of(model, path):
    wav = audio.read(str(path))
    with torch.no_grad():
        features = whisper.LogMel.of(model)(wav[None], torch.tensor([len(wav)]))
        return features, model.model.encoder(features).last_hidden_state, len(wav) / audio.SAMPLE_RATE


def openai(model):
    """The same weights in OpenAI's package."""
    package = pytest.importorskip("whisper", reason="OpenAI's whisper is not installed")
    c = model.config
    sizes = package.model.ModelDimensions(
        c.num_mel_bins, c.max_source_positions, c.d_model, c.encoder_attention_heads, c.encoder_layers, c.vocab_size,
        c.max_target_positions, c.d_model, c.decoder_attention_heads, c.decoder_layers,
    )  # fmt: skip
    theirs, weights = package.model.Whisper(sizes), {}
    for name, weight in model.model.state_dict().items():
        for ours, its in NAMES:
            name = name.replace(ours, its)
        weights[name] = weight
    theirs.load_state_dict(weights)
    return theirs.eval()


def test_times_are_openais(model, tokenizer, shared):
    """Of the words of twelve clips: to the hundredth of a second."""
    theirs = openai(model)
    from whisper.timing import find_alignment
    from whisper.tokenizer import get_tokenizer

    asked, words = get_tokenizer(True, language="nl", task="transcribe"), 0
    for path in sorted((shared / "speech/nl_nathalie/clips").glob("*.flac"))[:12]:
        features, states, seconds = states_of(model, path)
        ids = tokenizer.text_ids(whisper.generate(model, tokenizer, states, ["nl"], 100)[0])
        ours = whisper_words.aligned(model, tokenizer, states[0], ids, "nl", seconds)
        with torch.no_grad():
            found = find_alignment(theirs, asked, ids, features[0], int(seconds * 100 + 1e-6))
        found = [word for word in found if word.word.strip(" .,?!")]  # it merges punctuation later on
        assert [word.text.strip(".,?!") for word in ours] == [word.word.strip(" .,?!") for word in found]
        times = [[(word.start, word.end) for word in of] for of in (ours, found)]
        np.testing.assert_allclose(*times, atol=1e-6)
        words += len(ours)
    assert words > 50


def test_languages_are_detected(model, tokenizer, shared):
    """Ten clips each: the same as transformers', and 29 of 30 right."""
    right = 0
    for folder in ("nl_nathalie", "de_kerstin", "en_kathleen"):
        for path in sorted((shared / "speech" / folder / "clips").iterdir())[:10]:
            features, states, _ = states_of(model, path)
            found = tokenizer.languages[int(whisper.language_log_probs(model, tokenizer, states).argmax())]
            assert tokenizer.vocabulary[f"<|{found}|>"] == int(model.detect_language(features))
            right += found == folder[:2]
    assert right == 29
