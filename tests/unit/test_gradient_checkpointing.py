"""Gradient checkpointing: the same losses and gradients from fewer kept numbers, in every family."""

import numpy as np
import pytest
import torch
from transformers import (
    HubertConfig,
    HubertForCTC,
    Wav2Vec2Config,
    Wav2Vec2FeatureExtractor,
    Wav2Vec2ForCTC,
    WavLMConfig,
    WavLMForCTC,
)

from carryover.models import wav2vec2, whisper
from carryover.models.lora import LoRA
from carryover.text import Characters

FAMILIES = {
    "wav2vec2": (Wav2Vec2Config, Wav2Vec2ForCTC),
    "hubert": (HubertConfig, HubertForCTC),
    "wavlm": (WavLMConfig, WavLMForCTC),
}


def family(name: str, folder) -> str:
    """Folder of a small model with random weights."""
    torch.manual_seed(2)
    config, kind = FAMILIES[name]
    made = config(
        vocab_size=5, hidden_size=32, num_hidden_layers=3, num_attention_heads=2, intermediate_size=64,
        conv_dim=[16] * 7, feat_extract_norm="layer", do_stable_layer_norm=True, num_conv_pos_embeddings=16,
        num_conv_pos_embedding_groups=4, pad_token_id=0,
    )  # fmt: skip
    kind(made).save_pretrained(folder)
    Wav2Vec2FeatureExtractor(return_attention_mask=True).save_pretrained(folder)
    return str(folder)


def training(model) -> None:
    """Training mode as `Recipe.train_mode` sets it: what is frozen stays in evaluation mode."""
    model.train()
    for module in model.modules():
        if any(True for _ in module.parameters()) and not any(p.requires_grad for p in module.parameters()):
            module.eval()


def learned(model, loss) -> tuple[float, dict[str, torch.Tensor], int]:
    """The loss, its gradients, and the bytes that the forward pass keeps for them."""
    training(model)
    kept = []

    def pack(tensor):
        kept.append(tensor.nbytes)
        return tensor

    torch.manual_seed(9)
    np.random.seed(9)  # by which transformers draws its masks
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        value = loss(model)
    at_forward = sum(kept)
    value.backward()
    return value.item(), {n: p.grad for n, p in model.named_parameters() if p.grad is not None}, at_forward


def require_same(make, loss, share: float) -> None:
    """With it, at most `share` of the bytes are kept, and nothing else differs."""
    (plain, gradients, most), (value, found, kept) = (learned(make(switch), loss) for switch in (False, True))
    assert value == plain and found.keys() == gradients.keys() and gradients
    assert all(torch.equal(found[name], gradients[name]) for name in gradients)
    assert kept <= share * most, f"{kept} of {most} bytes"


def whisper_loss(model):
    features = torch.randn(2, 80, 400, generator=torch.Generator().manual_seed(1))
    tokens = torch.arange(24).reshape(2, 12)
    states = model.model.encoder(features).last_hidden_state
    hidden = model.model.decoder(input_ids=tokens, encoder_hidden_states=states, use_cache=False).last_hidden_state
    return model.proj_out(hidden).log_softmax(-1)[..., 3].mean()


@pytest.mark.parametrize("train, share", [("all", 0.7), ("decoder", 0.9), ("encoder_top_1", 0.8)])
def test_whisper(tiny_whisper, train, share):
    def make(switch):
        random = {"dropout": 0.2, "attention_dropout": 0.1, "activation_dropout": 0.1, "decoder_layerdrop": 0.3}
        return whisper.load(str(tiny_whisper), train=train, **random, gradient_checkpointing=switch)

    require_same(make, whisper_loss, share)


def test_adapters_in_frozen_layers(tiny_whisper):
    pytest.importorskip("peft")

    def make(switch):
        torch.manual_seed(3)
        lora = LoRA(rank=2, alpha=4)
        return whisper.load(str(tiny_whisper), train="lora", lora=lora, dropout=0.2, gradient_checkpointing=switch)

    require_same(make, whisper_loss, 0.8)


def ctc_loss(model):
    wavs = torch.randn(2, 16_000, generator=torch.Generator().manual_seed(1))
    logits, _ = model(wavs, torch.tensor([16_000, 9_000]))
    return logits.log_softmax(-1)[..., 2].mean()


@pytest.mark.parametrize("train, share", [("all", 0.7), ("all_but_stem", 0.5)])
@pytest.mark.parametrize("name", FAMILIES)
def test_ctc(name, train, share, tmp_path):
    source, symbols = family(name, tmp_path), Characters("abcd")
    symbols.save(tmp_path)

    def make(switch):
        torch.manual_seed(3)
        random = {"dropout": 0.1, "attention_dropout": 0.1, "layerdrop": 0.2, "mask_time_prob": 0.1}
        return wav2vec2.load(source, symbols, from_scratch=True, train=train, **random, gradient_checkpointing=switch)

    require_same(make, ctc_loss, share)


@pytest.mark.parametrize("which", ["tiny_ctc", "tiny_whisper"])
def test_ctc_of_filter_banks(which, request):
    source = str(request.getfixturevalue(which))

    def make(switch):
        torch.manual_seed(3)
        return wav2vec2.load(
            source, Characters("abcd"), from_scratch=True, train="all", dropout=0.1, gradient_checkpointing=switch
        )

    def loss(model):
        width = 160 if which == "tiny_ctc" else 80
        frames = torch.randn(2, 50, width, generator=torch.Generator().manual_seed(1))
        return model(frames, torch.tensor([50, 30]))[0].log_softmax(-1)[..., 2].mean()

    require_same(make, loss, 0.6)


def test_where_no_layer_is_trained_it_does_nothing_and_says_so(tmp_path, capsys):
    source = family("wav2vec2", tmp_path)
    model = wav2vec2.load(source, Characters("abcd"), from_scratch=True, train="head", gradient_checkpointing=True)
    assert "gradient_checkpointing: nothing to do, no layer of the model is trained" in capsys.readouterr().out
    assert not model.hf.is_gradient_checkpointing
