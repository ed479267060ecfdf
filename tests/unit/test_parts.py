"""Parts of long recordings, and what ffmpeg reads: the samples are those of the whole file."""

import io
import os
import stat
import sys

import numpy as np
import pytest
import soundfile
import torch

from carryover.data import audio, audio_check, ffmpeg, home, parts, speech_segments
from carryover.data.utterance import Utterance, listing_digest
from tests.unit import corpora


def test_names_of_parts():
    assert parts.named("a.wav", 1, 2.25) == "a.wav#t=1,2.25" and parts.split("a.wav#t=1,2.25") == ("a.wav", (1.0, 2.25))
    for plain in ("a.wav", "a#t=1.wav", "#t=1,2.wav", "a.wav#t=-1,2"):
        assert parts.split(plain) == (plain, None)


@pytest.mark.parametrize("ending", ["wav", "flac", "ogg", "mp3", "opus"])
def test_a_part_has_the_samples_of_the_whole(ending, tmp_path):
    path = str(corpora.clip(tmp_path / f"a.{ending}", 2.0))
    whole, part = audio.read(path), audio.read(parts.named(path, 0.5, 1.25))
    assert part.shape == (12000,)
    if ending in ("wav", "flac"):
        assert torch.equal(part, whole[8000:20000])
    else:  # lossy: the decoder starts in the middle
        assert torch.corrcoef(torch.stack([part[800:], whole[8800:20000]]))[0, 1] > 0.95
    found = audio_check.inspect(parts.named(path, 0.5, 1.25))
    assert found.duration == 0.75 and found.form == "16000 Hz x 1"


def test_what_is_wrong_with_a_part_is_said(tmp_path):
    path = corpora.clip(tmp_path / "a.wav", 1.0)
    samples = 0.1 * np.random.default_rng(0).standard_normal(16000)
    samples[8000:] = 0
    soundfile.write(path, samples, 16000)
    for name, said in (
        (parts.named(path, 0.5, 0.9), "silent"),
        (parts.named(path, 0.5, 1.5), "segment ends behind its recording: at 1.5 s of 1.00 s"),
        (f"{path}#t=0.5,0.4", "no stretch of time"),
        (f"{tmp_path}/none.wav#t=0,1", "cannot be opened|cannot be read"),
        (parts.named(corpora.write(tmp_path / "t.wav", "words"), 0, 1), "cannot be read"),
    ):
        with pytest.raises(ValueError, match=said):
            audio_check.inspect(name)


def test_a_part_is_followed_to_its_file(tmp_path):
    path = corpora.clip(tmp_path / "a.wav", 1.0)
    u = Utterance("a", parts.named(path, 0, 0.5), "nl", "", "Ja.", "train")
    before = listing_digest([u])
    os.utime(path, (1, 1))
    assert listing_digest([u]) != before
    assert home.below(u.audio, [tmp_path]) and not home.below(u.audio, [tmp_path / "x"])


def test_a_page_gets_the_part_alone(tmp_path):
    from carryover.runs import clips

    path = corpora.clip(tmp_path / "a.flac", 2.0)
    name = parts.named(path, 0.5, 1.25)
    data, kind = clips.content(name)
    found, rate = soundfile.read(io.BytesIO(data))
    assert (kind, rate, len(found), len(data)) == ("audio/wav", 16000, 12000, clips.size(name))
    assert np.array_equal(found, soundfile.read(path)[0][8000:20000])
    assert (
        clips.content(str(path)) == (path.read_bytes(), "audio/flac") and clips.size(str(path)) == path.stat().st_size
    )
    assert clips.size(f"{corpora.write(tmp_path / 't.wav', 'words')}#t=0,1") is None and clips.file(name) == path


def fake_ffmpeg(folder, monkeypatch):
    """A program that gives the wav behind 16 bytes of an m4a's beginning, as ffmpeg gives what it decodes."""
    folder.mkdir()
    code = f"""#!{sys.executable}
import sys
path = sys.argv[sys.argv.index("-i") + 1].removeprefix("file:")
data = open(path, "rb").read()[16:]
if not data:
    sys.exit("moov atom not found")
sys.stdout.buffer.write(data)
"""
    (folder / "ffmpeg").write_text(code)
    (folder / "ffmpeg").chmod(stat.S_IRWXU)
    monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)
    ffmpeg.program.cache_clear()


@pytest.fixture
def m4a(tmp_path):
    path = tmp_path / "a.m4a"
    path.write_bytes(b"\0\0\0\x20ftypM4A \0\0\0\0" + corpora.clip(tmp_path / "a.wav").read_bytes())
    yield path
    ffmpeg.program.cache_clear()


def test_without_ffmpeg_an_m4a_is_refused_with_advice(m4a, monkeypatch):
    monkeypatch.setattr(ffmpeg.shutil, "which", lambda _: None)
    ffmpeg.program.cache_clear()
    with pytest.raises(ValueError, match="MPEG-4.*needs ffmpeg: install ffmpeg"):
        audio_check.inspect(str(m4a))
    with pytest.raises(ValueError, match="needs ffmpeg, which is not installed"):
        audio.read(str(m4a))


def test_with_ffmpeg_an_m4a_is_read(m4a, tmp_path, monkeypatch):
    fake_ffmpeg(tmp_path / "bin", monkeypatch)
    found = audio_check.inspect(str(m4a))
    assert found.duration == 0.3 and found.form == "16000 Hz x 1, by ffmpeg"
    assert torch.equal(audio.read(str(m4a)), audio.read(str(tmp_path / "a.wav")))
    chunks = list(speech_segments._chunks(str(m4a)))
    assert len(chunks) == 1 and torch.equal(chunks[0][0], audio.read(str(tmp_path / "a.wav")))
    m4a.write_bytes(m4a.read_bytes()[:16])
    with pytest.raises(ValueError, match="ffmpeg says moov atom not found"):
        audio_check.inspect(str(m4a))


def test_the_real_ffmpeg(tmp_path):
    import subprocess

    if ffmpeg.program() is None:
        pytest.skip("ffmpeg is not installed")
    wav = corpora.clip(tmp_path / "a.wav", 2.0)
    subprocess.run([ffmpeg.program(), "-v", "error", "-i", wav, tmp_path / "a.m4a"], check=True)
    path = str(tmp_path / "a.m4a")
    assert abs(audio_check.inspect(path).duration - 2) < 0.1
    assert audio.read(parts.named(path, 0.5, 1.25)).shape == (12000,)
