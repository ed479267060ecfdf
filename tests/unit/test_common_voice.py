"""local/common_voice.py: an extracted Common Voice tarball becomes manifests; a wrong folder says what is wrong."""

import csv
import functools

import numpy as np
import pytest
import soundfile

from carryover.data import Limits, preparation
from local import common_voice

COLUMNS = (
    "client_id path sentence_id sentence sentence_domain up_votes down_votes age gender accents variant locale segment"
).split()
SPLITS = ["train", "valid", "test"]


prepare = functools.partial(preparation.prepare, common_voice.utterances)
accept = Limits()


@pytest.fixture
def corpus(tmp_path):
    """Two clips in each of train, dev and test, as Common Voice's releases 17 to 21 lay them out."""
    root = tmp_path / "cv-corpus-21.0" / "de"
    (root / "clips").mkdir(parents=True)
    for name in ("train", "dev", "test"):
        rows = [COLUMNS]
        for n in (1, 2):
            clip = f"common_voice_de_{name}{n}.mp3"
            samples = 0.1 * np.random.default_rng(n).standard_normal(4800 * n)
            soundfile.write(root / "clips" / clip, samples, 48000)
            text = f'"Schöne Grüße {n}' if n == 1 else "Straße"  # a stray quote must not swallow the next line
            rows.append([f"speaker{n}", clip, "s", text, *[""] * 7, "de", ""])
        write_rows(root / f"{name}.tsv", rows)
    return root


def write_rows(path, rows):
    path.write_text("".join("\t".join(row) + "\n" for row in rows), encoding="utf-8")


def read(path):
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("above", [False, True], ids=["language folder", "folder above it"])
def test_good_corpus(corpus, tmp_path, capsys, above):
    counts = prepare(corpus.parent if above else corpus, tmp_path / "out", "de", SPLITS, accept)
    assert counts == {"train": 2, "valid": 2, "test": 2, "rejected": 0}
    first, second = read(tmp_path / "out" / "valid.csv")
    assert first["ID"] == "common_voice_de_dev1" and first["audio"] == str(corpus / "clips/common_voice_de_dev1.mp3")
    assert (first["speaker"], first["language"], first["text"]) == ("speaker1", "de", '"Schöne Grüße 1')
    assert float(first["duration"]) == 0.1 and float(second["duration"]) == 0.2
    assert "{'48000 Hz x 1': 6}" in capsys.readouterr().out


def test_truncated_mp3_and_missing_clip_are_rejected(corpus, tmp_path):
    cut, missing = corpus / "clips/common_voice_de_train2.mp3", corpus / "clips/common_voice_de_test1.mp3"
    cut.write_bytes(cut.read_bytes()[:-600])
    missing.unlink()
    counts = prepare(corpus, tmp_path / "out", "de", SPLITS, accept)
    assert counts == {"train": 1, "valid": 2, "test": 1, "rejected": 2}
    reasons = {row["ID"]: row["reason"] for row in read(tmp_path / "out" / "rejected.csv")}
    assert reasons["common_voice_de_train2"].startswith("audio is truncated: ")
    assert reasons["common_voice_de_test1"] == "audio cannot be opened: No such file or directory"


def test_wrong_language(corpus, tmp_path):
    with pytest.raises(ValueError, match=r"language: 'nl' was asked for, but .*train\.tsv holds \{'de': 2\}"):
        prepare(corpus, tmp_path / "out", "nl", SPLITS, accept)


def test_release_without_the_language(corpus, tmp_path):
    with pytest.raises(ValueError, match=r"data_folder: .* is a folder that holds: de; expected .* language 'nl'"):
        prepare(corpus.parent, tmp_path / "out", "nl", SPLITS, accept)


def test_archive_still_packed(tmp_path):
    archive = tmp_path / "cv-corpus-21.0-de.tar.gz"
    archive.write_bytes(b"packed")
    for data_folder in (archive, tmp_path, tmp_path / "cv-corpus-21.0"):
        with pytest.raises(ValueError, match=r"data_folder: .*extract it first \(tar -xzf\)"):
            prepare(data_folder, tmp_path / "out", "de", SPLITS, accept)


def test_missing_folder_names_what_is_beside_it(corpus, tmp_path):
    with pytest.raises(ValueError, match=r"data_folder: '.*/ed' does not exist; .* is a folder that holds: de;"):
        prepare(corpus.parent / "ed", tmp_path / "out", "de", SPLITS, accept)


def test_missing_tsv_and_clips(corpus, tmp_path):
    (corpus / "dev.tsv").unlink()
    (corpus / "clips").rename(corpus / "audio")
    with pytest.raises(ValueError, match=r"holds: audio, test.tsv, train.tsv; .*\(lacking: dev.tsv, clips\)"):
        prepare(corpus, tmp_path / "out", "de", SPLITS, accept)
    assert not (tmp_path / "out").exists()


def test_missing_column(corpus, tmp_path):
    write_rows(corpus / "train.tsv", [["client_id", "path", "text"], ["a", "b.mp3", "c"]])
    with pytest.raises(ValueError, match=r"train\.tsv has no column 'sentence'; found client_id, path, text"):
        prepare(corpus, tmp_path / "out", "de", SPLITS, accept)


def test_empty_tsv(corpus, tmp_path):
    write_rows(corpus / "dev.tsv", [COLUMNS])
    with pytest.raises(ValueError, match=r"dev\.tsv lists no clip; take 'valid' out of splits"):
        prepare(corpus, tmp_path / "out", "de", SPLITS, accept)
