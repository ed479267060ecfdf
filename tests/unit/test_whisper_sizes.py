"""Parameters of the published Whisper sizes, from their class on the meta device: totals, and what freezing leaves."""

import functools

import pytest
import torch
from transformers import WhisperConfig, WhisperForConditionalGeneration

from carryover.models.trained import set_trained
from carryover.models.whisper import parts

# config.json of openai/whisper-small, -medium and -large-v3
SIZES = {
    "whisper-small": dict(d_model=768, layers=12, heads=12, ffn=3072, vocab_size=51865, num_mel_bins=80),
    "whisper-medium": dict(d_model=1024, layers=24, heads=16, ffn=4096, vocab_size=51865, num_mel_bins=80),
    "whisper-large-v3": dict(d_model=1280, layers=32, heads=20, ffn=5120, vocab_size=51866, num_mel_bins=128),
}
SOURCE, TARGET = 1500, 448
PUBLISHED = {"whisper-small": 244e6, "whisper-medium": 769e6, "whisper-large-v3": 1550e6}  # Radford et al. 2022, tab. 1
EXACT = {"whisper-small": 241_734_912, "whisper-medium": 763_857_920, "whisper-large-v3": 1_543_490_560}


@functools.cache
def build(name: str) -> WhisperForConditionalGeneration:
    size = SIZES[name]
    config = WhisperConfig(
        vocab_size=size["vocab_size"], num_mel_bins=size["num_mel_bins"], d_model=size["d_model"],
        encoder_layers=size["layers"], decoder_layers=size["layers"],
        encoder_attention_heads=size["heads"], decoder_attention_heads=size["heads"],
        encoder_ffn_dim=size["ffn"], decoder_ffn_dim=size["ffn"],
        max_source_positions=SOURCE, max_target_positions=TARGET,
    )  # fmt: skip
    with torch.device("meta"):
        model = WhisperForConditionalGeneration(config)
    model.tie_weights()
    return model


def total(model) -> int:
    return sum(p.numel() for p in model.parameters())  # a tied matrix is given once


def trained(model) -> int:
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


class Arithmetic:
    """The paper's architecture: d model width, f feed-forward width; keys have no bias, norms have weight and bias."""

    def __init__(self, d_model, layers, heads, ffn, vocab_size, num_mel_bins):
        self.width = d = d_model
        f = ffn
        attention = 4 * d * d + 3 * d
        feed_forward = 2 * d * f + f + d
        norm = 2 * d
        self.positions = SOURCE * d
        self.convolutions = (3 * num_mel_bins * d + d) + (3 * d * d + d)
        self.encoder_layer = attention + feed_forward + 2 * norm
        self.encoder = self.convolutions + self.positions + layers * self.encoder_layer + norm
        decoder_layer = 2 * attention + feed_forward + 3 * norm
        self.decoder = vocab_size * d + TARGET * d + layers * decoder_layer + norm  # output layer tied to embedding
        self.total = self.encoder + self.decoder


@pytest.mark.parametrize("name", SIZES)
def test_totals(name):
    model = build(name)
    assert model.proj_out.weight is model.model.decoder.embed_tokens.weight
    assert total(model) == Arithmetic(**SIZES[name]).total == EXACT[name]
    assert total(model) == pytest.approx(PUBLISHED[name], rel=0.015)
    assert all(p.is_meta for p in model.parameters())


def test_positions_of_the_encoder_come_frozen():
    model = build("whisper-small")
    assert [n for n, p in model.named_parameters() if not p.requires_grad] == ["model.encoder.embed_positions.weight"]


@pytest.mark.parametrize("name", SIZES)
def test_what_freezing_leaves(name):
    count = Arithmetic(**SIZES[name])
    layers = SIZES[name]["layers"]
    expected = {
        "none": 0,
        "all": count.total - count.positions,  # sinusoids: fixed in every Whisper
        "decoder": count.decoder,
        "encoder": count.encoder - count.positions,
        "all_but_stem": count.total - count.positions - count.convolutions,
        f"encoder_top_{layers}": count.total - count.positions - count.convolutions,
        f"encoder_top_{layers - 1}": count.total - count.positions - count.convolutions - count.encoder_layer,
        f"encoder_top_{layers // 2}": count.decoder + layers // 2 * count.encoder_layer + 2 * count.width,
        "encoder_top_1": count.decoder + count.encoder_layer + 2 * count.width,  # and the last norm
    }
    model = build(name)
    for train, number in expected.items():
        model.requires_grad_(True)
        model.model.encoder.embed_positions.requires_grad_(False)  # as the class makes them
        set_trained(parts(model), train)
        assert trained(model) == number, train
        assert total(model) == count.total


def test_table(capsys):
    """`pytest -s` shows it; the numbers stand in the documentation."""
    lines = [f"{'model':18} {'parameters':>14} {'encoder frozen':>15} {'share':>7}"]
    shares = {}
    for name in SIZES:
        model = build(name)
        everything = total(model)
        set_trained(parts(model), "decoder")
        shares[name] = trained(model) / everything
        lines.append(f"{name:18} {everything:14,} {trained(model):15,} {shares[name]:7.1%}")
    with capsys.disabled():
        print("\n" + "\n".join(lines))
    assert {name: round(100 * share, 1) for name, share in shares.items()} == {
        "whisper-small": 63.5, "whisper-medium": 59.8, "whisper-large-v3": 58.7,
    }  # fmt: skip
