"""models.whisper.LogMel equals transformers' WhisperFeatureExtractor to 1e-5, alone and beside other clips."""

import csv
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from transformers import WhisperConfig, WhisperFeatureExtractor, WhisperForConditionalGeneration

from carryover.models.whisper import LogMel

SPEECH = Path(__file__).parents[3] / "shared" / "speech"
RATE = 16000
TOLERANCE = 1e-5
WINDOWS = [(80, 10), (80, 30), (128, 10), (128, 30)]


@pytest.fixture(scope="module")
def speech(shared) -> list[np.ndarray]:
    """Three real clips a language: the shortest, one in the middle, the longest."""
    clips = []
    for manifest in sorted(SPEECH.glob("*/manifest.tsv")):
        with open(manifest, newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
        rows.sort(key=lambda row: float(row["duration"]))
        for row in (rows[0], rows[len(rows) // 2], rows[-1]):
            clips.append(soundfile.read(manifest.parent / row["path"], dtype="float32")[0])
    return clips


def made() -> list[np.ndarray]:
    """Clips that need no corpus: a chirp, noise, one sample, an odd length, silence, a loud and a very quiet one."""
    rng = np.random.default_rng(1)
    time = np.arange(2 * RATE) / RATE
    chirp = 0.3 * np.sin(2 * np.pi * (200 + 900 * time) * time)
    noise = 0.1 * rng.standard_normal(40037)
    clips = [chirp, noise, noise[:1], 0.9 * chirp[:12345], np.zeros(8000), 1e-3 * chirp, 1e-4 * noise]
    return [clip.astype(np.float32) for clip in clips]


def reference(clip: np.ndarray, bands: int, seconds: int) -> torch.Tensor:
    extractor = WhisperFeatureExtractor(feature_size=bands, chunk_length=seconds)
    with torch.autocast("cpu", enabled=False):  # under autocast theirs raises a TypeError
        return torch.tensor(extractor(clip, sampling_rate=RATE, return_tensors="np").input_features[0])


def batch(clips: list[np.ndarray], fill: float = 0.0) -> tuple[torch.Tensor, torch.Tensor]:
    lengths = torch.tensor([len(clip) for clip in clips])
    wavs = torch.full((len(clips), int(lengths.max())), fill)
    for wav, clip in zip(wavs, clips, strict=True):
        wav[: len(clip)] = torch.from_numpy(clip)
    return wavs, lengths


def largest_difference(log_mel: LogMel, clips: list[np.ndarray], bands: int, seconds: int) -> float:
    found = log_mel(*batch(clips))
    assert found.shape == (len(clips), bands, 100 * seconds) and found.dtype == torch.float32
    expected = torch.stack([reference(clip, bands, seconds) for clip in clips])
    return (found - expected).abs().max().item()


@pytest.mark.parametrize("bands, seconds", WINDOWS)
def test_made_clips(bands, seconds):
    log_mel = LogMel(bands, 100 * seconds)
    assert largest_difference(log_mel, made(), bands, seconds) < TOLERANCE
    for clip in made():
        assert largest_difference(log_mel, [clip], bands, seconds) < TOLERANCE


@pytest.mark.parametrize("bands, seconds", WINDOWS)
def test_real_speech(speech, bands, seconds):
    log_mel = LogMel(bands, 100 * seconds)
    clips = speech + [0.001 * speech[0], 5 * speech[1]]
    assert largest_difference(log_mel, clips, bands, seconds) < TOLERANCE
    for clip in clips:
        assert largest_difference(log_mel, [clip], bands, seconds) < TOLERANCE


def test_transformers_numpy_path_agrees():
    """Their float64 code without torch, as a second witness: 1e-4, for float32 rounds at the edge of 8 decades."""
    extractor = WhisperFeatureExtractor(feature_size=80, chunk_length=10)
    clips = made()
    found = LogMel(80, 1000)(*batch(clips))
    padded = np.stack([np.pad(clip, (0, 10 * RATE - len(clip))) for clip in clips]).astype(np.float64)
    expected = extractor._np_extract_fbank_features(padded, "cpu")
    assert np.abs(found.numpy() - expected).max() < 1e-4


def test_a_quiet_clip_does_not_hear_its_loud_neighbour():
    """SpeechBrain's maximum over the batch would lift the quiet clip's floor by far more than the tolerance."""
    loud, _, _, _, _, quiet, _ = made()
    log_mel = LogMel(80, 1000)
    alone = log_mel(*batch([quiet]))[0]
    together = log_mel(*batch([quiet, loud]))
    assert (together[0] - alone).abs().max() < TOLERANCE
    over_batch = torch.maximum(together[0], together.max() - 8 / 4)
    assert (over_batch - alone).abs().mean() > 0.1


def test_what_stands_in_the_padding_is_not_heard():
    clips = made()[:4]
    log_mel = LogMel(80, 1000)
    torch.testing.assert_close(log_mel(*batch(clips, fill=0.7)), log_mel(*batch(clips)), rtol=0, atol=0)


@pytest.mark.parametrize("bands, seconds", [(80, 10), (128, 30)])
def test_under_bfloat16_autocast(bands, seconds):
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.mm(torch.ones(2, 2), torch.ones(2, 2)).dtype == torch.bfloat16  # autocast is on
        assert largest_difference(LogMel(bands, 100 * seconds), made(), bands, seconds) < TOLERANCE


def test_of_a_model_takes_its_bands_and_window():
    config = WhisperConfig(
        vocab_size=30, d_model=8, num_mel_bins=128, encoder_layers=1, decoder_layers=1, encoder_attention_heads=2,
        decoder_attention_heads=2, encoder_ffn_dim=8, decoder_ffn_dim=8, max_source_positions=200,
        max_target_positions=12, pad_token_id=0, bos_token_id=0, eos_token_id=0, decoder_start_token_id=1,
    )  # fmt: skip
    model = WhisperForConditionalGeneration(config)
    log_mel = LogMel.of(model)
    assert (log_mel.seconds, log_mel.samples) == (4.0, 4 * RATE)
    features = log_mel(*batch(made()))
    assert features.shape == (7, 128, 400)
    assert model.model.encoder(features).last_hidden_state.shape == (7, 200, 8)
    assert not log_mel.state_dict(), "nothing of it belongs into a checkpoint"


def test_lengths_at_the_edges_of_frames_and_window():
    """Where a clip ends within a frame must not matter, alone or beside longer ones, up to the last sample."""
    log_mel, noise = LogMel(80, 100), made()[1]
    edges = (0, 160, 200, 400, 1600, RATE - 840, RATE - 640, RATE - 400, RATE - 160, RATE)
    clips = [noise[:n] for edge in edges for n in (edge - 1, edge, edge + 1) if 0 < n <= RATE]
    assert len(clips) == 27
    assert largest_difference(log_mel, clips, 80, 1) < TOLERANCE
    for clip in clips:
        assert largest_difference(log_mel, [clip], 80, 1) < TOLERANCE


def test_a_clip_of_exactly_the_window_and_longer():
    log_mel = LogMel(80, 100)
    clip = made()[1]
    assert largest_difference(log_mel, [clip[:RATE]], 80, 1) < TOLERANCE
    assert largest_difference(log_mel, [clip], 80, 1) < TOLERANCE  # both cut it


def test_a_clip_beside_others_has_the_bits_that_it_has_alone():
    """Kept states are found by a digest of the features."""
    log_mel, clips = LogMel(80, 3000), made()
    together = log_mel(*batch(clips))
    assert all(torch.equal(log_mel(*batch([clip]))[0], found) for clip, found in zip(clips, together, strict=True))
