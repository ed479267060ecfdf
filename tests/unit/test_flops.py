"""benchmarks/flops.py against what torch counts while a model runs."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import Wav2Vec2Config, Wav2Vec2ForCTC, WhisperConfig, WhisperForConditionalGeneration

from benchmarks import flops


def counted(update) -> int:
    """FLOPs of a forward and backward pass."""
    with FlopCounterMode(display=False) as counter:
        update()
    return counter.get_total_flops()


def whisper(encoder: int):
    torch.manual_seed(0)
    config = WhisperConfig(
        vocab_size=120, d_model=48, encoder_layers=3, decoder_layers=2, encoder_attention_heads=4,
        decoder_attention_heads=4, encoder_ffn_dim=96, decoder_ffn_dim=64, max_source_positions=50, num_mel_bins=8,
        pad_token_id=0, bos_token_id=1, eos_token_id=2, decoder_start_token_id=1, attn_implementation="eager",
    )  # fmt: skip
    model = WhisperForConditionalGeneration(config)
    model.model.encoder.requires_grad_(encoder == flops.TRAINED)
    return model


@pytest.mark.parametrize("encoder", [flops.TRAINED, flops.RUN, flops.KEPT])
def test_an_update_of_whisper(encoder):
    model, features, tokens = whisper(encoder), torch.randn(2, 8, 100), torch.randint(3, 120, (2, 12))
    states = (torch.randn(2, 50, 48),) if encoder == flops.KEPT else None

    def update():
        model(features, decoder_input_ids=tokens, encoder_outputs=states, use_cache=False).logits.sum().backward()

    found = 2 * flops.whisper(model.config, 12, 12, encoder, flops.TRAINED)
    # of the first layer nothing hears the gradient of its input, and no causal half is left out
    assert counted(update) == pytest.approx(found, rel=0.02)


@pytest.mark.parametrize("encoder", [flops.TRAINED, flops.RUN])
def test_an_update_of_wav2vec2(encoder):
    torch.manual_seed(0)
    config = Wav2Vec2Config(
        vocab_size=30, hidden_size=48, num_hidden_layers=3, num_attention_heads=4, intermediate_size=96,
        conv_dim=(16,) * 7, num_conv_pos_embeddings=5, apply_spec_augment=False, layerdrop=0.0,
        num_conv_pos_embedding_groups=1,  # torch counts the gradient of a grouped convolution 2.5 times
        attn_implementation="eager",
    )  # fmt: skip
    model = Wav2Vec2ForCTC(config)
    model.wav2vec2.requires_grad_(encoder == flops.TRAINED)
    model.freeze_feature_encoder()
    samples = torch.randn(2, 16_000)

    def update():
        model(samples).logits.sum().backward()

    found = 2 * flops.wav2vec2(config, 16_000, flops.RUN, encoder)
    if encoder == flops.RUN:
        found += 2 * 2 * 48 * 30 * 49  # the head's weights have a gradient
    assert counted(update) == pytest.approx(found, rel=1e-6)


@pytest.mark.parametrize(
    "name, teraflops",
    [
        ("NVIDIA H100 80GB HBM3", 989.4), ("NVIDIA H100 PCIe", 756), ("NVIDIA A100-SXM4-80GB", 312),
        ("NVIDIA GeForce RTX 3090", 71), ("NVIDIA GeForce RTX 3090 Ti", None), ("NVIDIA L40S", 362),
        ("NVIDIA H100 80GB HBM3 MIG 1g.10gb", None), ("Quadro 5000", None), ("", None),
    ],
)  # fmt: skip
def test_a_cards_peak(name, teraflops):
    assert flops.peak(name) == (None if teraflops is None else teraflops * 1e12)
