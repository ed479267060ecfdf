"""carryover/data/noise.py: the ratio in closed form, rooms by an impulse, draws by torch's generator alone."""

import numpy as np
import pytest
import soundfile
import torch

from carryover.data import Limits, MetadataLimits, preparation
from carryover.data.limits import TranscriptLimits
from carryover.data.noise import Noise, Rooms
from carryover.text import Verbatim
from local import noise as clips
from tests.unit import corpora


@pytest.fixture
def folder(tmp_path):
    corpora.clip(tmp_path / "noise" / "short.wav", 0.3, seed=1)
    corpora.clip(tmp_path / "noise" / "deep" / "long.flac", 5.0, seed=2, rate=48000)
    return tmp_path / "noise"


@pytest.fixture
def speech():
    torch.manual_seed(0)
    wavs = torch.randn(4, 16000)
    wavs[2, 8000:] = 0
    return wavs, torch.tensor([1.0, 1.0, 0.5, 1.0])


@pytest.mark.parametrize("snr", [0.0, 10.0])
def test_the_ratio_is_what_was_asked(folder, speech, snr):
    wavs, lengths = speech
    noisy = Noise(folder, snr_low=snr, snr_high=snr)(wavs, lengths)
    share = 1 / (10 ** (snr / 20) + 1)  # SpeechBrain's: noise gets this share of the amplitude, the clip the rest
    noise = noisy - (1 - share) * wavs
    for wav, added, n in zip(wavs, noise, (16000, 16000, 8000, 16000), strict=True):
        found = 20 * torch.log10((1 - share) * wav[:n].square().mean().sqrt() / added[:n].square().mean().sqrt())
        assert abs(found.item() - snr) < 0.01


def test_a_room_of_one_impulse_changes_nothing(tmp_path, speech):
    impulse = np.zeros(800)
    impulse[0] = 1.0
    soundfile.write(corpora.clip(tmp_path / "r" / "dry.wav"), impulse, 16000)
    wavs, _ = speech
    assert torch.allclose(Rooms(tmp_path / "r")(wavs), wavs, atol=1e-3)
    impulse[400] = 0.9
    soundfile.write(tmp_path / "r" / "dry.wav", impulse, 16000)
    assert not torch.allclose(Rooms(tmp_path / "r")(wavs), wavs, atol=0.1)


def test_torchs_generator_alone_decides(folder, speech):
    """So a checkpoint, which holds its state, is enough for the noise of the next batch."""
    noise = Noise(folder)
    torch.manual_seed(5)
    noise(*speech)
    state = torch.get_rng_state()
    second = noise(*speech)
    torch.set_rng_state(state)
    assert torch.equal(Noise(folder)(*speech), second) and not torch.equal(noise(*speech), second)


def test_what_is_wrong_is_said(folder, tmp_path):
    for kind in (Noise, Rooms):
        with pytest.raises(
            FileNotFoundError, match=f"{kind.__name__}: folder: .*none.*does not exist.*expected recordings"
        ):
            kind(tmp_path / "none")
    with pytest.raises(ValueError, match="snr_low 20 is above snr_high 15"):
        Noise(folder, snr_low=20)


def test_clips_without_words_are_kept_where_a_model_learns_them(folder, tmp_path):
    class Learns(TranscriptLimits):
        WORDLESS = True

    def run(limits, **options):
        where = clips.utterances, folder, tmp_path / "m", "nl", ["train"], limits
        return preparation.prepare(*where, **options)

    own = {"target_text": Verbatim(), "seconds": 30}
    assert run(Learns(**own), metadata_limits=MetadataLimits(min_characters=3, min_up_votes=2)) == {
        "train": 2,
        "rejected": 0,
    }
    assert run(Limits()) == {"train": 2, "rejected": 0}
    with pytest.raises(ValueError, match="no utterance of split 'train' is usable: {'clip without words': 2}"):
        run(TranscriptLimits(**own))
    with pytest.raises(ValueError, match="the corpus lists no utterance"):
        preparation.prepare(clips.utterances, folder, tmp_path / "v", "nl", ["valid"], Limits())
    with pytest.raises(ValueError, match="expected recordings of noise"):
        list(clips.utterances(tmp_path / "none", "nl", ["train"]))
