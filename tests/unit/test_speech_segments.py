"""Speech in recordings of any length: found where it is, whatever the chunks; none in silence and noise; subtitles."""

import itertools
import json

import numpy as np
import pytest
import soundfile
import torch

from carryover.commands.transcripts import time, written
from carryover.data import speech_segments
from local import synthetic

pytest.importorskip("silero_vad", reason="the extra vad is not installed")
RATE = speech_segments.SAMPLE_RATE


@pytest.fixture(scope="module")
def spoken(tmp_path_factory) -> tuple[np.ndarray, list[tuple[float, float]]]:
    """Six embedded clips with 1.5 s of silence around each, and where each is, in seconds."""
    folder = tmp_path_factory.mktemp("spoken")
    clips = list(synthetic.utterances(folder, "nl", ("test",), hours=0.01))[:6]
    pause, parts, spans, at = np.zeros(int(1.5 * RATE)), [], [], 1.5
    for clip in clips:
        wav, rate = soundfile.read(clip.audio)
        assert rate == RATE
        parts += [pause, wav]
        spans.append((at, at + len(wav) / RATE))
        at = spans[-1][1] + 1.5
    return np.concatenate([*parts, pause]), spans


def found(wav: np.ndarray, path, rate: int = RATE, longest: float = 30.0) -> list[speech_segments.Segment]:
    soundfile.write(path, wav, rate)
    return list(speech_segments.find(str(path), longest))


def test_each_clip_is_found_and_nothing_else(spoken, tmp_path):
    """A segment lies within its clip and the padding; all of them together hold 80 % of the clips."""
    wav, spans = spoken
    segments = found(wav, tmp_path / "a.wav")
    slack = speech_segments.PAD + 0.05
    for segment in segments:
        assert any(start - slack <= segment.start and segment.end <= end + slack for start, end in spans), segment
        assert abs(len(segment.wav) / RATE - (segment.end - segment.start)) < 1 / RATE
        start = round(segment.start * RATE)
        assert torch.allclose(segment.wav, torch.from_numpy(wav[start : start + len(segment.wav)]).float(), atol=1e-4)
    assert sum(s.end - s.start for s in segments) > 0.8 * sum(end - start for start, end in spans)


@pytest.mark.parametrize("chunk", [4.0, 7.3])
def test_chunks_do_not_show(spoken, tmp_path, monkeypatch, chunk):
    """Read in chunks that cut the clips, the same speech is found, to 0.2 s."""
    whole = found(spoken[0], tmp_path / "a.wav")
    monkeypatch.setattr(speech_segments, "CHUNK", chunk)
    cut = found(spoken[0], tmp_path / "a.wav")
    assert [(s.start, s.end) for s in cut] == [pytest.approx((s.start, s.end), abs=0.2) for s in whole]


@pytest.mark.parametrize("chunks", [20, 1, 0.1])
def test_an_mp3_that_promises_more_than_it_holds_comes_to_an_end(spoken, tmp_path, monkeypatch, chunks):
    """Without a Xing tag its length is guessed from the first frame, which is silence and takes few bits."""
    mp3, rate = tmp_path / "a.mp3", 22_050
    soundfile.write(mp3, spoken[0], rate, bitrate_mode="VARIABLE", compression_level=0.5)
    data = mp3.read_bytes()
    mp3.write_bytes(data[data.index(b"\xff\xf3", data.index(b"Xing")) :])
    frames = len(soundfile.read(mp3)[0])
    assert soundfile.info(mp3).frames > 1.2 * frames
    monkeypatch.setattr(speech_segments, "CHUNK", frames / chunks / rate)  # with 1 the second one is empty
    found = list(itertools.islice(speech_segments._chunks(str(mp3)), 100))
    assert [last for _, last in found] == [False] * (len(found) - 1) + [True]
    assert sum(len(wav) for wav, _ in found) == pytest.approx(frames * RATE / rate, abs=len(found))


def test_a_segment_is_no_longer_than_it_may_be(spoken, tmp_path):
    without_pauses = spoken[0][np.abs(spoken[0]) > 0]
    assert all(s.end - s.start <= 3.0 + 0.1 for s in found(without_pauses, tmp_path / "a.wav", longest=3.0))


def test_stereo_at_another_rate(spoken, tmp_path):
    wav = np.repeat(spoken[0], 3)  # 48 kHz
    segments = found(np.stack([wav, wav], 1), tmp_path / "a.flac", 3 * RATE)
    expected = found(spoken[0], tmp_path / "b.wav")
    assert [(s.start, s.end) for s in segments] == [pytest.approx((s.start, s.end), abs=0.3) for s in expected]


@pytest.mark.parametrize("kind", ["silence", "noise", "tone"])
def test_nobody_speaks(tmp_path, kind):
    n = 60 * RATE
    noise = np.random.default_rng(0).standard_normal(n)
    wav = {"silence": np.zeros(n), "noise": 0.05 * noise, "tone": 0.3 * np.sin(440 * 2 * np.pi * np.arange(n) / RATE)}
    assert found(wav[kind], tmp_path / "a.wav") == []


def test_the_number_of_threads_is_left_alone(tmp_path):
    before = torch.get_num_threads()
    speech_segments._detector.cache_clear()
    found(np.zeros(RATE), tmp_path / "a.wav")
    assert torch.get_num_threads() == before


ROWS = [
    {
        "audio": "a.wav", "duration": "9.00", "text": "Eén, twee",
        "segments": [{"start": 0.5, "end": 2.25, "text": "Eén,"}, {"start": 3, "end": 4, "text": ""},
                     {"start": 3661.0005, "end": 3662.9996, "text": "twee"}],
    },
]  # fmt: skip


def test_formats():
    assert written(ROWS, "srt") == "1\n00:00:00,500 --> 00:00:02,250\nEén,\n\n2\n01:01:01,000 --> 01:01:03,000\ntwee\n"
    assert written(ROWS, "vtt").startswith("WEBVTT\n\n00:00:00.500 --> 00:00:02.250\nEén,\n\n01:01:01.000")
    assert written(ROWS, "txt") == "Eén, twee\n"
    assert written(ROWS, "csv") == 'audio,duration,text\r\na.wav,9.00,"Eén, twee"\r\n'
    assert json.loads(written(ROWS, "json")) == ROWS
    assert time(59.9996) == "00:01:00,000"


def test_a_line_stays_a_line_and_a_sign_a_sign():
    row = {"audio": "a.wav", "duration": "9.00", "text": "R&D\n\n<3", "segments": [{"start": 0, "end": 1}]}
    row["segments"][0]["text"] = row["text"]
    assert written([row], "txt") == "R&D <3\n"
    assert written([row], "srt") == "1\n00:00:00,000 --> 00:00:01,000\nR&D <3\n"
    assert written([row], "vtt") == "WEBVTT\n\n00:00:00.000 --> 00:00:01.000\nR&amp;D &lt;3\n", "else a tag begins"
