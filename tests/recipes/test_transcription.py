"""Recordings without a transcript: what `carryover transcribe` hears is what a test of the same clips hears."""

import csv
import io
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
from typer.testing import CliRunner

from carryover import exits
from carryover.commands import load, transcription, transcripts
from carryover.commands.app import app
from carryover.models.whisper_tokenizer import Tokenizer

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
    heard, refused = transcription.Listener(brain, hparams["limits"], hparams["language"], 3).clips(files)
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
    odd = clips / os.fsdecode(b"caf\xe9.wav")
    shutil.copy(clips / "a.wav", odd)
    done = CliRunner().invoke(app, ["transcribe", run["output_folder"], str(clips), "--beams", "2"])
    assert "2 of 6 files transcribed" in done.stderr and "name of the file is not UTF-8" in done.stderr
    odd.unlink()

    out = tmp_path / "heard.csv"
    good = CliRunner().invoke(app, ["transcribe", run["output_folder"], str(clips / "a.wav"), "--out", str(out)])
    assert good.exit_code == 0 and out.read_text().splitlines()[0] == "audio,duration,text"

    for checkpoint in Path(run["output_folder"]).glob("save/CKPT+*"):
        shutil.rmtree(checkpoint)
    none = CliRunner().invoke(app, ["transcribe", run["output_folder"], str(clips / "a.wav")])
    assert "holds no whole checkpoint: CKPT" in str(none.exception) and "is gone" in str(none.exception)
    shutil.rmtree(Path(run["output_folder"]) / "save")
    (Path(run["output_folder"]) / "save").mkdir()
    none = CliRunner().invoke(app, ["transcribe", run["output_folder"], str(clips / "a.wav")])
    assert "holds no checkpoint; repeat the run's command" in str(none.exception)


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


def heard(*words, audio=None) -> tuple[int, str, str]:
    """-> status, transcript and what is said of `carryover transcribe`."""
    done = CliRunner().invoke(app, ["transcribe", *map(str, words)], input=audio)
    known = exits.words(done.exception) if isinstance(done.exception, Exception) else None
    return known and (*known, "") or (done.exit_code, done.stdout, done.stderr)


@pytest.fixture(scope="module")
def clip(shared):
    return sorted((shared / "speech" / "nl_nathalie").rglob("*.flac"))[3]


@pytest.fixture(scope="module", params=["whisper", "ctc"])
def run(request, tiny_whisper, tiny_ctc, two_languages, tmp_path_factory):
    """Folder of a run that has learned nothing yet."""
    folder = tmp_path_factory.mktemp(request.param) / "run"
    yaml, model = {"whisper": ("whisper_starter", tiny_whisper), "ctc": ("dutch_pretrain", tiny_ctc)}[request.param]
    asked = {"corpus": "!name:local.table.utterances", "data_folder": str(two_languages / "nl"), "language": "nl"}
    asked |= {"generation_length": "24"} if request.param == "whisper" else {}
    asked |= {"model": str(model), "max_updates": "1", "test_before": "False", "output_folder": str(folder)}
    done = train(asked, yaml=f"hparams/{yaml}.yaml")
    assert done.returncode == 0, done.stderr[-2000:]
    return folder


def test_words_have_times_and_make_subtitles(run, clip, tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    status, text, said = heard(run, clip, "--words", "--format", "json")
    assert status == 0, said
    (row,) = json.loads(text)
    plain = json.loads(heard(run, clip, "--format", "json")[1])[0]
    assert row["text"] == plain["text"] and "words" not in plain
    assert " ".join(word["text"] for word in row["words"]).split() == row["text"].split()
    times = [word[key] for word in row["words"] for key in ("start", "end")]
    assert times == sorted(times) and all(0 <= time < float(row["duration"]) + 0.01 for time in times)
    status, text, _ = heard(run, clip, "--words", "--format", "vtt")
    assert status == 0 and text.startswith("WEBVTT")
    wav, rate = soundfile.read(clip)
    soundfile.write(tmp_path / "short.wav", wav[4000:4321], rate)
    status, text, said = heard(run, tmp_path / "short.wav", "--words", "--format", "json")
    if run.parent.name.startswith("whisper"):  # of one encoder position; of CTC it is no frame
        assert status == 0 and all(0 <= w["start"] <= w["end"] <= 0.03 for w in json.loads(text)[0]["words"]), said


def test_a_model_without_its_run_hears_the_same(run, clip, tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    before = sorted((run / "model").rglob("*"))
    texts = [heard(source, clip, "--format", "txt") for source in (run, run / "model")]
    assert [status for status, *_ in texts] == [0, 0], texts
    assert texts[0][1] == texts[1][1]
    assert sorted((run / "model").rglob("*")) == before, "and writes nothing there"
    piped = heard(run / "model", "-", "--format", "csv", audio=clip.read_bytes())
    assert piped[0] == 0 and piped[1].splitlines()[1].startswith("-,"), piped
    out = tmp_path / "heard.csv"
    status, *said = heard(run, "-", "--out", out, audio=b"no audio")
    assert status == 2 and "refused: -: audio cannot be read" in said[-1] and not out.exists()


def test_a_language_is_detected_where_the_model_can(run, clip, monkeypatch):
    monkeypatch.chdir(ROOT)
    status, text, said = heard(run, clip, "--language", "detect")
    if run.parent.name.startswith("ctc"):
        assert status == 2 and "a CTCBrain does not detect languages" in text
        status, text, _ = heard(run, clip, "--hotwords", "Zwolle")
        assert status == 2 and "a CTCBrain takes none" in text and "carryover ngram" in text
        return
    assert status == 0, said
    (row,) = csv.DictReader(io.StringIO(text))
    assert len(row["language"]) in (2, 3)
    status, text, said = heard(run, clip, "--hotwords", "Zwolle, IJssel")
    assert status == 0 and "Zwolle, IJssel" not in text, said
    status, text, _ = heard(run, clip, "--hotwords", "Zwolle " * 200)
    assert status == 2 and "give fewer words" in text
    status, _, said = heard(run, clip, "--beams", "0")
    assert status == 2 and "'--beams': Input should be greater than or equal to 1" in said
    status, text, _ = heard(run, clip, "--language", "xx")
    assert status == 2 and "'xx' is unknown" in text


@pytest.mark.parametrize("named", ["<|nl|>", "nl", "NL", "dutch", "Dutch"])
def test_a_language_of_generation_settings_is_one_however_it_is_named(tmp_path, named):
    """transformers takes a token, a code and a name."""
    folder = tmp_path / "model"
    shutil.copytree(ROOT / "assets" / "whisper_starter", folder)
    path = folder / "generation_config.json"
    settings = json.loads(path.read_text())
    path.write_text(json.dumps(settings | {"language": named}))
    language, _ = load._generation(str(folder), None, 448)
    assert Tokenizer(str(folder)).code(language) == "nl"
    path.write_text(json.dumps(settings | {"language": "klingon"}))
    with pytest.raises(ValueError, match="generation_config.json: language: 'klingon' is unknown"):
        load._generation(str(folder), None, 448)
    path.write_text(json.dumps(settings | {"max_length": 4}))
    with pytest.raises(ValueError, match="generation_config.json: max_length: 4; expected more than the 4 tokens"):
        load._generation(str(folder), "nl", 448)


def test_subtitles_of_words():
    def said(text, start, end):
        return {"text": text, "start": start, "end": end}

    words = [said("Dag", 0.2, 0.5), said("allemaal.", 0.5, 1.0), said("Tot", 1.6, 1.8), said("ziens.", 1.8, 2.4)]
    row = {"audio": "a.wav", "duration": "3.00", "text": "Dag allemaal. Tot ziens.", "words": words}
    assert transcripts.subtitles(row) == [(0.2, 1.0, "Dag allemaal."), (1.6, 2.4, "Tot ziens.")]
    assert transcripts.written([row], "srt").startswith("1\n00:00:00,200 --> 00:00:01,000\nDag allemaal.\n\n2\n")
    long = [said("woord", 0.1 * i, 0.1 * i + 0.1) for i in range(30)]
    found = transcripts.subtitles(row | {"words": long})
    assert all(len(text) <= transcripts.CHARACTERS for *_, text in found) and len(found) == 3
    words = [said(sign, 0.1 * i, 0.1 * i + 0.1) for i, sign in enumerate(["你", "好,", "Whisper", "世", "界"])]
    text = "你好, Whisper世界"
    assert transcripts.subtitles(row | {"words": words, "text": text}) == [(0.0, 0.5, text)]
    words = [said("Ja.", 0.0, 0.0), said("Dag", 1.0, 1.2), said("Hans.", 2.0, 2.0)]
    found = transcripts.subtitles(row | {"words": words, "text": "Ja. Dag Hans."})
    assert found == transcripts.subtitles(row | {"words": words, "text": "Dag Hans."}), "another text"
    assert found == [(0.0, 1.2, "Ja. Dag"), (2.0, 3.0, "Hans.")], "none lasts no time"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--format", "srt"], "give --vad (of segments) or --words"),
        (["--words"], "csv has no place for times"),
        (["--words", "--out", "heard.txt"], "txt has no place for times"),
        (["--out", "."], "--out .: is a folder that holds"),
    ],
)
def test_times_need_a_format_that_holds_them(words, message, clip):
    status, said, _ = heard("results/none", clip, *words)
    assert status == 2 and message in said
