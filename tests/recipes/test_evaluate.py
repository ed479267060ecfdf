"""`carryover evaluate`: lists of one's own under the checks of preparation, and what a run folder may not do."""

import contextlib
import csv
import io
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
from typer.testing import CliRunner

from carryover import exits
from carryover.commands import test_sets
from carryover.commands.app import app
from carryover.data import home

from .helpers import ROOT, train


def evaluate(*words) -> tuple[int, str]:
    """-> status and all that was said."""
    done = CliRunner().invoke(app, ["evaluate", *map(str, words)])
    known = exits.words(done.exception) if isinstance(done.exception, Exception) else None
    return known or (done.exit_code, done.output)


def test_lists_of_ones_own(tmp_path, whisper_run, monkeypatch):
    assert train(whisper_run | {"max_updates": "1", "test_before": "False"}).returncode == 0
    monkeypatch.chdir(ROOT)
    folder = Path(whisper_run["output_folder"])
    own = next(folder.glob("manifests/*/test.csv"))
    rows = list(csv.DictReader(own.open(encoding="utf-8")))
    status, again = evaluate(folder)
    assert status == 0, again

    noise = np.random.default_rng(0).standard_normal(16_000) * 0.1
    soundfile.write(tmp_path / "long.wav", np.tile(noise, 60), 16_000)
    soundfile.write(tmp_path / "good.wav", noise, 16_000)
    mine = tmp_path / "mine.tsv"
    mine.write_text("path\tsentence\tsplit\ngood.wav\teen\ttest\nlong.wav\ttwee\ttest\ngood.wav\tdrie\ttrain\n")
    status, said = evaluate(folder, "--test", mine)
    assert status == 0, said
    assert "long.wav): audio is longer than the window" in said and "1 rows of" in said
    assert f"1 of 3 rows of {mine} are left out, of other splits: {{'train': 1}}" in said
    written = list(csv.DictReader((folder / f"predictions_mine_{tmp_path.name}_evaluate.csv").open(encoding="utf-8")))
    assert [row["id"] for row in written] == ["good"]

    assert f"| mine_{tmp_path.name} | nl | 1 | 1 | " in said and "mean of the" not in said
    second = tmp_path / "second.csv"
    second.write_text("path,text\ngood.wav,Een!\n")
    status, said = evaluate(folder, "--test", mine, "--test", second, "--normaliser", "verbatim")
    assert status == 0 and "| mean of the 2 sets |" in said and "normalised by verbatim" in said, said
    clips = tmp_path / "clips"
    clips.mkdir()
    soundfile.write(clips / "a.wav", noise, 16_000)
    (clips / "a.txt").write_text("Een!\n")
    status, said = evaluate(folder, "--test", clips, "--out-of-domain", second)
    assert status == 0 and f"| second_{tmp_path.name} (out of domain) | nl | 1 | 1 | " in said, said
    assert f"| clips_{tmp_path.name} | nl | 1 | 1 | " in said and "mean of the" not in said
    (clips / "a.txt").unlink()
    status, said = evaluate(folder, "--test", clips)
    assert status == 2 and "a text file beside each recording" in said, said
    status, said = evaluate(folder, "--normaliser", "whisper")
    assert status == 0 and "normalised by whisper (transformers" in said, said
    assert evaluate(folder, "--normaliser", "own") == (
        2,
        "--normaliser: 'own'; expected one of: run, whisper, verbatim",
    )
    status, said = evaluate(folder, "--test", mine, "--test", mine)
    assert status == 2 and "two sets are named alike" in said
    status, said = evaluate(folder, "--beams", "0")
    assert status == 2 and "'--beams': Input should be greater than or equal to 1" in said
    status, said = evaluate(folder, "--language", "de")
    assert status == 2 and "the run's own tests say what is spoken" in said
    status, said = evaluate(folder, "--test", mine, "--out", mine)
    assert status == 2 and f"--out {mine}: is a file of" in said
    status, said = evaluate(folder, "--out-of-domain", mine)
    assert status == 0 and "| test_nl † | nl | " in said, "of a run its own tests are the default"
    assert "mine_" in said and "(out of domain)" in said and "mean of the" not in said

    one = ("--test", second, "--language", "nl", "--out", tmp_path / "out")
    status, said = evaluate(folder / "model", *one)
    assert status == 0 and f"| second_{tmp_path.name} | nl | 1 | 1 | " in said, said
    assert [path.name for path in (tmp_path / "out").iterdir()] == [f"predictions_second_{tmp_path.name}_evaluate.csv"]
    for words, named in (
        (("--test", second), "--language"),
        (("--test", second, "--language", "nl"), "--out"),
        (("--language", "nl", "--out", tmp_path / "x"), "--test"),
        (("--test", second, "--language", "xx", "--out", tmp_path / "x"), "'xx' is unknown"),
    ):
        status, said = evaluate(folder / "model", *words)
        assert status == 2 and named in said, said
    assert not (tmp_path / "x").exists()

    for name, text, word in (
        ("twice.tsv", "id\tpath\ttext\n1\tgood.wav\ta\n1\tlong.wav\tb\n", "ID '1' occurs 2 times"),
        ("none.tsv", "path\ttext\nlong.wav\ta\n", "no utterance of split 'test' is usable"),
        ("column.tsv", "path\tsays\ngood.wav\ta\n", "no column for text"),
        ("byte.tsv", "path\ttext\ngood.wav\té\n", "not UTF-8"),
    ):
        (tmp_path / name).write_bytes(text.encode("latin-1"))
        status, said = evaluate(folder, "--test", tmp_path / name)
        assert status == 2 and word in said and name in said, said

    def changed(name: str, audio: str, ID: str) -> Path:
        copy = tmp_path / name
        shutil.copytree(folder, copy)
        with open(copy / own.relative_to(folder), "w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, rows[0])
            writer.writeheader()
            writer.writerows([rows[0] | {"audio": audio, "ID": ID}, rows[0]])
        return copy

    status, said = evaluate(changed("outside", str(tmp_path / "good.wav"), "x"))
    assert status == 2 and "does not lie below the run's data_folder" in said
    status, said = evaluate(changed("repeated", rows[0]["audio"], rows[0]["ID"]))
    assert status == 2 and "is there twice" in said
    shutil.rmtree(folder / "manifests")
    status, said = evaluate(folder)
    assert status == 2 and "no manifests" in said
    shutil.rmtree(folder / "save")
    (folder / "save").mkdir()
    status, said = evaluate(folder, "--test", mine)
    assert status == 2 and "no checkpoint" in said


def test_manifests_and_settings_name_no_home(whisper_run, monkeypatch):
    monkeypatch.setenv("HOME", str(Path(whisper_run["data_folder"]).resolve().parent))
    folder = Path(whisper_run["output_folder"])
    assert train(whisper_run | {"max_updates": "1", "test_before": "False"}).returncode == 0
    home = str(Path.home())
    for path in [*folder.glob("*.yaml"), *folder.glob("*.csv"), *folder.rglob("manifests/*/*.csv"),
                 *folder.rglob("manifests/*/.done"), folder / "run.json"]:  # fmt: skip
        assert home not in path.read_text(encoding="utf-8"), path
    monkeypatch.chdir(ROOT)
    status, said = evaluate(folder)
    assert status == 0, said


def rows_of(path: Path) -> tuple[list[dict], str]:
    """Rows of a list or folder, and what was said."""
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        return test_sets._rows(path), said.getvalue()


def test_what_a_folder_holds_is_used_or_said(tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    folder = tmp_path / "corpus.v1"
    folder.mkdir()
    for name in ("1.wav", "2.WAV", "3.m4a", "alone.flac", "left.txt", "notes.md"):
        (folder / name).write_bytes(b"x")
    (folder / "1.txt").write_bytes(b"\xef\xbb\xbfEen huis,\r\ntwee huizen.\r\n")
    (folder / "2.TXT").write_text("Drie.")
    (folder / "3.txt").write_text("Vier.")
    found, said = rows_of(folder)
    assert [(row["ID"], row["text"]) for row in found] == [
        ("1.wav", "Een huis, twee huizen."), ("2.WAV", "Drie."), ("3.m4a", "Vier.")
    ]  # fmt: skip
    assert said.startswith(f"2 files of {folder} are left out") and said.endswith(": alone.flac, left.txt\n")
    assert test_sets.name_of(folder) == f"corpus.v1_{tmp_path.name}"
    monkeypatch.chdir(folder)
    assert test_sets.name_of(Path(".")) == f"corpus.v1_{tmp_path.name}"
    monkeypatch.chdir(ROOT)
    (folder / "1.txt").write_bytes("één".encode("latin-1"))
    with pytest.raises(ValueError, match="1.txt: not UTF-8 .byte 0xe9.; save it as UTF-8"):
        test_sets.require_list(folder)


def test_a_list_without_a_test_and_two_lists(tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    (tmp_path / "test.csv").write_text("path,text,split\na.wav,Een,eval\nb.wav,Twee,Eval\n")
    with pytest.raises(ValueError, match="test.csv: no row of split 'test'; found {'eval': 2}"):
        rows_of(tmp_path)
    (tmp_path / "test.tsv").write_text("path\ttext\na.wav\tEen\n")
    with pytest.raises(ValueError, match="holds test.csv and test.tsv; expected one list"):
        test_sets.require_list(tmp_path)


def test_a_name_that_cannot_be_written_down(tmp_path):
    name = os.fsdecode(b"caf\xe9.wav")
    with pytest.raises(ValueError, match="name of the file is not UTF-8: caf.\\.wav; rename it"):
        home.require_utf8(name)
    home.require_utf8("café.wav")
