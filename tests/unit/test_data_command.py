"""`carryover data`: its numbers by hand, the figure, the page, and what it says of a wrong path."""

import base64
import csv
import io
import re

import pytest
import soundfile
from typer.testing import CliRunner

from carryover import exits
from carryover.commands.app import app
from carryover.commands.data import listening
from carryover.data import Limits, account, preparation
from local import table
from tests.unit import corpora

ROWS = [  # clip, seconds, text, speaker, split
    ("a", 1.0, "Dag, wereld.", "s1", "train"), ("b", 2.0, "ja nee", "s1", "train"),
    ("c", 3.0, "<b>één</b>", "s2", "train"),
    ("d", 4.0, "Ja, nee!", "s2", "valid"), ("e", 0.5, "ß", "", "test"), ("f", 0.5, "", "s9", "test"),
]  # fmt: skip


@pytest.fixture
def folder(tmp_path):
    for n, (name, seconds, *_) in enumerate(ROWS):
        corpora.clip(tmp_path / "x" / f"{name}.wav", seconds, seed=n)
    listed = [(f"{name}.wav", text, speaker, split) for name, _, text, speaker, split in ROWS]
    corpora.write(tmp_path / "x" / "manifest.tsv", ("path", "text", "speaker", "split"), *listed)
    where = table.utterances, tmp_path / "x", tmp_path / "run" / "manifests" / "nl", "nl", ("train", "valid", "test")
    preparation.prepare(*where, Limits())
    return tmp_path / "run" / "manifests" / "nl"


def test_numbers_of_a_split(folder):
    splits = account.read([folder])
    assert list(splits) == ["train", "valid", "test"] and account.read([folder.parents[1]]).keys() == splits.keys()
    s = account.summary("train", splits["train"])
    assert (s.utterances, s.speakers, s.sentences, s.seconds) == (3, 2, 3, (1.0, 2.0, 3.0, 3.0))
    assert s.hours == 6 / 3600 and s.characters == (12 + 6 + 10) / 3 and s.rate == 10 / 3
    assert account.characters(splits["train"])["é"] == 2 and account.rejects([folder]) == {
        ("test", "transcript is empty"): 1
    }
    assert [one for one in account.overlaps(splits) if one[3]] == [
        ("train", "valid", "speakers", 1, 1), ("train", "valid", "sentences", 1, 1),
    ]  # fmt: skip


def test_what_it_prints_draws_and_writes(folder, tmp_path):
    asked = ["data", str(folder), "--figure", str(tmp_path / "f.png"), "--page", str(tmp_path / "p.html"), "--lhotse"]
    done = CliRunner().invoke(app, [*asked, str(tmp_path / "l")])
    assert done.exit_code == 0, done.output
    assert "| train | 3 | 0.00 | 2 | 3 | 1.0, 2.0, 3.0, 3.0 | 9 each, 3.3 a second |" in done.output
    assert "| test | 1 | 0.00 | unknown |" in done.output and "Of test, never in train: ß" in done.output
    assert "| train, valid | 1 (1 utterances) | 1 (1 utterances) | 0 |" in done.output
    assert "| test | transcript is empty | 1 |" in done.output
    with open(tmp_path / "f.csv", newline="") as file:
        counts = [int(row["utterances"]) for row in csv.DictReader(file)]
    assert sum(counts) == 5 and len(counts) == 90 and (tmp_path / "f.svg").exists() and (tmp_path / "f.png").exists()
    page = (tmp_path / "p.html").read_text()
    sounds = re.findall(r"base64,([^\"]+)", page)
    lengths = sorted(soundfile.info(io.BytesIO(base64.b64decode(sound))).frames / 16000 for sound in sounds)
    assert lengths == [0.5, 1.0, 2.0, 3.0, 4.0] and "&lt;b&gt;één&lt;/b&gt;" in page and "<b>" not in page
    assert (tmp_path / "l" / "supervisions_train.jsonl.gz").exists()


def test_the_page_is_no_larger_than_said(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(listening, "MEGABYTES", 0.2)
    said = listening.write(account.read([folder]), tmp_path / "p", 20)
    assert (tmp_path / "p.html").stat().st_size < 210_000 and re.search(r": [1-4] of 5 chosen clips can be heard", said)
    assert "the page is full" in (tmp_path / "p.html").read_text()
    rows = [{"ID": str(n), "duration": 1.0 + n, "text": "x" * n} for n in range(100)]
    why = [why for why, _ in listening.chosen(rows, 16)]
    assert len(why) == 16 and why[:4] == ["longest"] * 2 + ["shortest"] * 2


@pytest.mark.parametrize("path", ["none", "x", "x/manifest.tsv"])
def test_a_path_that_holds_no_manifest(folder, tmp_path, path, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["carryover", "data", str(tmp_path / path)])
    assert exits.run(app) in (1, 2)
    said = capsys.readouterr().err
    assert path in said and "expected" in said and "Traceback" not in said
