"""CTC on Whisper's encoder: equal to transformers' on a full window, deaf to padding, carried over by symbol."""

import pytest
import torch
from transformers import WhisperConfig, WhisperFeatureExtractor, WhisperForConditionalGeneration

from carryover.models import features, wav2vec2
from carryover.text import Characters


@pytest.fixture(scope="module")
def whisper(tmp_path_factory):
    """Folder of a small Whisper with random weights, a window of 2 s."""
    torch.manual_seed(0)
    config = WhisperConfig(
        vocab_size=99, d_model=16, encoder_layers=2, decoder_layers=1, encoder_attention_heads=2,
        decoder_attention_heads=2, encoder_ffn_dim=32, decoder_ffn_dim=32, num_mel_bins=80, max_source_positions=100,
        max_target_positions=20, pad_token_id=0, bos_token_id=1, eos_token_id=2, decoder_start_token_id=3,
    )  # fmt: skip
    folder = tmp_path_factory.mktemp("whisper")
    WhisperForConditionalGeneration(config).save_pretrained(folder)
    WhisperFeatureExtractor(feature_size=80, chunk_length=2).save_pretrained(folder)
    return str(folder)


def load(source, alphabet="abc", **more):
    return wav2vec2.load(source, wav2vec2.tokenizer(source, alphabet), train="all", **more)


def test_on_a_full_window_it_is_transformers_encoder(whisper):
    model = load(whisper).eval()
    reference = WhisperForConditionalGeneration.from_pretrained(whisper).eval().model.encoder
    wav = torch.randn(32000, generator=torch.Generator().manual_seed(1)) * 0.1
    frames = features.features_of(whisper)(wav)
    assert frames.shape == (200, 80)
    mel = WhisperFeatureExtractor.from_pretrained(whisper)(wav.numpy(), sampling_rate=16000, return_tensors="pt")
    torch.testing.assert_close(frames.T, mel.input_features[0], atol=1e-5, rtol=0)
    with torch.no_grad():
        logits, numbers = model(frames[None], torch.tensor([200]))
        wanted = model.hf.lm_head(reference(mel.input_features).last_hidden_state)
    assert numbers.tolist() == [100]
    torch.testing.assert_close(logits, wanted, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("samples", [400, 480, 16000, 16001, 31999])
def test_padding_and_batch_mates_change_nothing(whisper, samples):
    """float32 rounding: 1e-5."""
    model, hear = load(whisper).eval(), features.features_of(whisper)
    short, long = (torch.randn(n, generator=torch.Generator().manual_seed(n)) * 0.1 for n in (samples, 32000))
    inputs = [hear(short), hear(long)]
    sizes = torch.tensor([len(x) for x in inputs])
    assert sizes.tolist() == hear.lengths(torch.tensor([samples, 32000])).tolist() == [-(-samples // 160), 200]
    with torch.no_grad():
        alone, n = model(inputs[0][None], sizes[:1])
        together, numbers = model(torch.nn.utils.rnn.pad_sequence(inputs, batch_first=True), sizes)
    assert n.item() == alone.shape[1] == numbers[0].item()
    torch.testing.assert_close(together[:1, : int(n)], alone, atol=1e-5, rtol=1e-5)


def test_an_export_is_carried_over_by_symbol(whisper, tmp_path):
    model = load(whisper, "abc")
    assert model.new_units == list(range(len(Characters("abc").symbols))), "a Whisper has no head for CTC"
    model.hf.save_pretrained(tmp_path)
    wav2vec2.tokenizer(whisper, "abc").save(tmp_path)
    features.features_of(whisper).extractor.save_pretrained(tmp_path)
    grown = load(str(tmp_path), "abcd")
    carried = len(Characters("abc").symbols)
    assert grown.new_units == [carried]
    torch.testing.assert_close(grown.hf.lm_head.weight[:carried], model.hf.lm_head.weight, atol=0, rtol=0)
    for name, tensor in model.hf.model.state_dict().items():
        assert torch.equal(tensor, grown.hf.model.state_dict()[name]), name
    fixed = [name for name, p in grown.hf.named_parameters() if not p.requires_grad]
    assert fixed == ["model.encoder.embed_positions.weight"]


@pytest.mark.parametrize(
    "more, message",
    [({"mask_time_prob": 0.1}, "mask_time_prob"), ({"mask_feature_prob": 0.1}, "mask_feature_prob")],
)
def test_what_a_whisper_cannot_have_is_refused(whisper, more, message):
    with pytest.raises(ValueError, match=message):
        load(whisper, **more)


def test_a_clip_longer_than_the_window_is_refused(whisper):
    with pytest.raises(ValueError, match="32001 samples; Whisper's window holds 32000: lower max_seconds"):
        features.features_of(whisper)(torch.zeros(32001))
