"""Features for CTC models: equal to transformers' extractors, utterance by utterance; the source tells which."""

import json

import numpy as np
import pytest
import torch
from transformers import (
    AutoFeatureExtractor,
    ClapFeatureExtractor,
    SeamlessM4TFeatureExtractor,
    Wav2Vec2BertConfig,
    Wav2Vec2BertModel,
    Wav2Vec2FeatureExtractor,
)

from carryover.models.features import FilterBank, Waveform, features_of


def sound(samples, seed=0):
    """A voice-like tone whose loudness changes, over weak noise, with an offset; and a stretch of digital silence."""
    rng = np.random.default_rng(seed)
    t = np.arange(samples) / 16000
    tone = sum(np.sin(2 * np.pi * 140 * k * t) / k for k in range(1, 20))
    wav = 0.1 * tone * np.sin(2 * np.pi * 3 * t) ** 2 + 1e-3 * rng.normal(size=samples) + 0.02
    wav[8000:12000] = 0
    return torch.tensor(wav, dtype=torch.float32)


@pytest.fixture(scope="module")
def seamless():
    return SeamlessM4TFeatureExtractor(padding_value=1)  # facebook/w2v-bert-2.0's


@pytest.mark.parametrize("normalise", [True, False])
def test_waveform_is_transformers_own(normalise):
    extractor = Wav2Vec2FeatureExtractor(do_normalize=normalise, return_attention_mask=True)
    features, wav = features_of(extractor), sound(12345)
    wanted = extractor(wav.numpy(), sampling_rate=16000, return_tensors="pt").input_values[0]
    found = features(wav)
    assert isinstance(features, Waveform) and features.input_name == "input_values" and features.masked
    assert found.shape == (12345,) and found.dtype == torch.float32
    assert (found - wanted).abs().max() < 1e-5
    if normalise:
        assert found.double().var(correction=0).item() == pytest.approx(1, abs=1e-4) and abs(found.mean()) < 1e-6
        assert torch.equal(features(torch.zeros(800)), torch.zeros(800))


# odd and even numbers of frames, and samples left over after the last frame
@pytest.mark.parametrize("samples", [560, 720, 16000, 16159, 16160, 24000])
@pytest.mark.parametrize("gain", [1.0, 1e-3])
def test_filter_bank_is_transformers_own(seamless, samples, gain):
    features, wav = features_of(seamless), sound(samples) * gain
    wanted = seamless(wav.numpy(), sampling_rate=16000, return_tensors="pt")
    valid = wanted.attention_mask[0].bool()
    found = features(wav)
    assert isinstance(features, FilterBank) and features.input_name == "input_features" and features.masked
    assert found.shape == (int(valid.sum()), 160) and found.dtype == torch.float32
    assert features.lengths(torch.tensor([samples])).tolist() == [len(found)]
    assert (found - wanted.input_features[0][valid]).abs().max() < 1e-4


def test_the_pair_that_is_dropped_is_one_that_the_model_does_not_see(seamless):
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    model = Wav2Vec2BertModel(Wav2Vec2BertConfig(**sizes, add_adapter=False)).eval()
    wav = sound(400 + 98 * 160)  # 99 frames
    theirs = seamless(wav.numpy(), sampling_rate=16000, return_tensors="pt")
    assert theirs.input_features.shape[1] == 50 and len(features_of(seamless)(wav)) == 49
    with torch.no_grad():
        wanted = model(**theirs).last_hidden_state[0, :49]
        found = model(input_features=theirs.input_features[:, :49]).last_hidden_state[0]
    assert (found - wanted).abs().max() < 1e-6


def test_what_is_too_short_or_stereo_is_refused(seamless):
    with pytest.raises(ValueError, match="at least 560 samples"):
        features_of(seamless)(torch.zeros(559))
    with pytest.raises(ValueError, match=r"\(2, 800\)"):
        features_of(Wav2Vec2FeatureExtractor())(torch.zeros(2, 800))


def test_silence_is_finite(seamless):
    assert torch.equal(features_of(seamless)(torch.zeros(1600)), torch.zeros(4, 160))


class OnMPS(torch.Tensor):
    """Stands in for a tensor on Apple's GPU, which refuses float64."""

    device = torch.device("mps")

    def double(self):
        raise TypeError("Cannot convert a MPS Tensor to float64 dtype")

    def cpu(self):
        return self.as_subclass(torch.Tensor)


@pytest.mark.parametrize("extractor", [Wav2Vec2FeatureExtractor(), SeamlessM4TFeatureExtractor(padding_value=1)])
def test_where_there_is_no_float64_the_cpu_does_that_part(extractor, monkeypatch):
    features, wav, sent = features_of(extractor), sound(16000), []
    wanted = features(wav)
    monkeypatch.setattr(torch.Tensor, "to", lambda self, device: sent.append(device) or self)
    found = features(wav.as_subclass(OnMPS))
    assert torch.equal(found, wanted) and sent[-1] == torch.device("mps")


def test_the_source_tells_which_and_its_extractor_is_kept_for_export(tmp_path, seamless):
    seamless.save_pretrained(tmp_path / "bert")
    Wav2Vec2FeatureExtractor(do_normalize=False).save_pretrained(tmp_path / "wavlm")
    for name, kind in (("bert", "wav2vec2-bert"), ("wavlm", "wavlm")):
        (tmp_path / name / "config.json").write_text(json.dumps({"model_type": kind}))
    assert isinstance(features_of(str(tmp_path / "bert")), FilterBank)
    wavlm = features_of(tmp_path / "wavlm")
    assert isinstance(wavlm, Waveform) and torch.equal(wavlm(sound(500)), sound(500)) and not wavlm.masked
    wavlm.extractor.save_pretrained(tmp_path / "export")
    assert AutoFeatureExtractor.from_pretrained(tmp_path / "export").do_normalize is False


def test_other_sources_are_refused(tmp_path):
    with pytest.raises(ValueError, match="ClapFeatureExtractor.*w2v-BERT"):
        features_of(ClapFeatureExtractor())
    with pytest.raises(ValueError, match="8000 Hz"):
        features_of(Wav2Vec2FeatureExtractor(sampling_rate=8000))
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "wav2vec2"}))
    with pytest.raises(FileNotFoundError, match="preprocessor_config.json"):
        features_of(tmp_path)
