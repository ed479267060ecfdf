"""Recordings without a transcript: what `carryover transcribe` hears is what a test of the same clips hears."""

import csv
import io
import json

import numpy as np
import pytest
import soundfile
from typer.testing import CliRunner

from carryover.commands import transcription
from carryover.commands.app import app

from .helpers import ROOT, make_brain, small, train


@pytest.mark.parametrize("yaml", ["whisper_starter", "dutch_pretrain", "sign_overfit", "speech_llm_whisper"])
def test_a_transcript_is_that_of_the_test(tmp_path, yaml):
    brain, hparams, manifests = make_brain(small(yaml, tmp_path), yaml=yaml, splits=("test",))
    few = (manifests / "test.csv").read_text(encoding="utf-8").splitlines(keepends=True)[:24]
    (manifests / "test.csv").write_text("".join(few), encoding="utf-8")
    tested, rows = brain.evaluate(brain.read(manifests / "test.csv"), test_loader_kwargs={"batch_size": 5})
    expected = {row["audio"]: row["hypothesis"] for row in rows}
    assert len(expected) > 2 and any(expected.values())
    files = transcription.find(expected, brain.endings)
    heard, refused = transcription.transcribe(brain, hparams["limits"], files, hparams["language"], batch_size=3)
    assert not refused
    assert [row["audio"] for row in heard] == [str(path) for path in files]
    assert {row["audio"]: row["text"] for row in heard} == expected


def test_the_command_writes_what_it_can_and_says_what_it_refuses(tmp_path, whisper_run, monkeypatch):
    run = whisper_run | {"max_updates": "1", "test_before": "False"}
    assert train(run).returncode == 0
    clips = tmp_path / "clips"
    (clips / "deep").mkdir(parents=True)
    noise = np.random.default_rng(1).standard_normal(16_000) * 0.1
    soundfile.write(clips / "a.wav", noise, 16_000)
    soundfile.write(clips / "deep" / "b.flac", noise[:8000], 8_000)
    soundfile.write(clips / "long.wav", np.tile(noise, 60), 16_000)
    (clips / "text.wav").write_text("no audio")
    (clips / "notes.txt").write_text("a text beside the recordings: said, and no fault")
    monkeypatch.chdir(ROOT)
    done = CliRunner().invoke(app, ["transcribe", run["output_folder"], str(clips), "--beams", "2"])
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    assert [row["audio"] for row in rows] == [str(clips / "a.wav"), str(clips / "deep" / "b.flac")]
    assert [row["duration"] for row in rows] == ["1.00", "1.00"]
    assert done.exit_code == 1
    assert "2 of 5 files transcribed" in done.stderr
    assert f"refused: {clips / 'long.wav'}: audio is longer than the window" in done.stderr
    assert f"refused: {clips / 'text.wav'}: audio cannot be read" in done.stderr
    assert f"no recording: {clips / 'notes.txt'}" in done.stderr

    out = tmp_path / "heard.csv"
    good = CliRunner().invoke(app, ["transcribe", run["output_folder"], str(clips / "a.wav"), "--out", str(out)])
    assert good.exit_code == 0 and out.read_text().splitlines()[0] == "audio,duration,text"


def test_a_long_recording_has_the_words_and_times_of_its_speech(tmp_path, whisper_run, shared, monkeypatch):
    """One that is longer than the window, its clips with pauses between them; and one in which nobody speaks."""
    pytest.importorskip("silero_vad")
    run = whisper_run | {"max_updates": "1", "test_before": "False", "output_folder": str(tmp_path / "run")}
    assert train(run).returncode == 0
    clips = [soundfile.read(path)[0] for path in sorted((shared / "speech" / "nl_nathalie").rglob("*.flac"))[:6]]
    pause = np.random.default_rng(2).normal(0, 1e-4, 32_000)
    soundfile.write(tmp_path / "long.wav", np.concatenate([x for clip in clips for x in (pause, clip)]), 16_000)
    soundfile.write(tmp_path / "nobody.wav", np.tile(pause, 20), 16_000)
    monkeypatch.chdir(ROOT)
    recordings = map(str, sorted(tmp_path.glob("*.wav")))
    words = ["transcribe", str(tmp_path / "run"), *recordings, "--vad", "--format", "json"]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.stderr
    long, nobody = json.loads(done.stdout)
    assert len(long["segments"]) >= 6 and float(long["duration"]) > 20
    times = [time for segment in long["segments"] for time in (segment["start"], segment["end"])]
    assert times == sorted(times) and times[0] > 1 and times[-1] <= float(long["duration"])
    assert long["text"] == " ".join(segment["text"] for segment in long["segments"] if segment["text"])
    assert nobody["segments"] == [] and nobody["text"] == ""


def test_bad_paths(tmp_path):
    with pytest.raises(FileNotFoundError, match="does not exist.*expected a recording or a folder"):
        transcription.find([tmp_path / "nowhere"], (".wav",))
    with pytest.raises(FileNotFoundError, match="is an empty folder; expected recordings: .wav"):
        transcription.find([tmp_path], (".wav",))
