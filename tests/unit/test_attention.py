"""The key `attention`: other kernels, the same numbers; what a model or a machine does not have is said."""

import pytest
import torch
from transformers import HubertForCTC, Wav2Vec2BertForCTC, WavLMConfig, WavLMForCTC

from carryover.models import attention, wav2vec2, whisper
from carryover.models.whisper_ctc import WhisperForCTC
from carryover.text import Characters


@pytest.mark.parametrize("scratch", [True, False])
def test_eager_and_sdpa_give_the_same_numbers_in_a_whisper(tiny_whisper, scratch):
    """To rounding: 1e-5."""
    found = {}
    for name in (None, "eager", "sdpa"):
        torch.manual_seed(1)
        model = whisper.load(str(tiny_whisper), from_scratch=scratch, attention=name).eval()
        assert model.config._attn_implementation == (name or "sdpa")
        assert "attn_implementation" not in str(model.config.to_dict())  # an export is not bound to this machine
        features = torch.randn(2, 80, 400, generator=torch.Generator().manual_seed(1))
        with torch.no_grad():
            found[name] = model(input_features=features, decoder_input_ids=torch.arange(12).reshape(2, 6)).logits
    assert torch.equal(found[None], found["sdpa"])
    torch.testing.assert_close(found["eager"], found["sdpa"], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("which", ["tiny_ctc", "tiny_whisper"])
def test_eager_and_sdpa_give_the_same_numbers_with_padding(which, request):
    source, found = str(request.getfixturevalue(which)), {}
    for name in ("eager", "sdpa"):
        torch.manual_seed(1)
        model = wav2vec2.load(source, Characters("abcd"), from_scratch=True, train="all", attention=name).eval()
        assert model.hf.config._attn_implementation == name
        width = 160 if which == "tiny_ctc" else 80
        frames = torch.randn(2, 50, width, generator=torch.Generator().manual_seed(1))
        with torch.no_grad():
            logits, numbers = model(frames, torch.tensor([50, 30]))
        found[name] = [row[:n] for row, n in zip(logits, numbers.tolist(), strict=True)]
    for a, b in zip(found["eager"], found["sdpa"], strict=True):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-5)


def test_what_is_not_installed_is_said(tiny_whisper, monkeypatch):
    monkeypatch.setattr(attention, "is_flash_attn_2_available", lambda: False)
    with pytest.raises(ValueError, match=r"attention: flash_attention_2 needs .* flash-attn \(pip install .*give sdpa"):
        whisper.load(str(tiny_whisper), attention="flash_attention_2")


@pytest.mark.parametrize(
    "name, kind, others",
    [
        ("sdpa", WavLMForCTC, "eager"),
        ("flash_attention_2", WavLMForCTC, "eager"),
        ("flash_attention_2", Wav2Vec2BertForCTC, "eager or sdpa"),
        ("flash_attention_2", WhisperForCTC, "eager or sdpa"),  # its mask over the padding is not the one that it takes
    ],
)
def test_what_a_model_does_not_have_is_said(name, kind, others, monkeypatch):
    monkeypatch.setattr(attention, "is_flash_attn_2_available", lambda: True)
    with pytest.raises(ValueError, match=f"attention: {name}, which {kind.__name__} does not have; give {others}, or"):
        attention.choose(WavLMConfig(), name, kind)


def test_what_is_there_is_chosen(monkeypatch):
    monkeypatch.setattr(attention, "is_flash_attn_2_available", lambda: True)
    config = WavLMConfig()
    before = config._attn_implementation
    attention.choose(config, None, HubertForCTC)
    assert config._attn_implementation == before
    attention.choose(config, "flash_attention_2", HubertForCTC)
    assert config._attn_implementation == "flash_attention_2"
