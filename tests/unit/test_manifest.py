"""Preparation and local/table.py: what is kept, what is refused and why, and what a broken list says."""

import csv
import functools
import json
import re
from pathlib import Path

import numpy as np
import pytest
import soundfile

from carryover.data import Limits, Utterance, preparation
from carryover.data.audio_check import inspect
from carryover.data.manifest import read_done
from local import table as corpus_of_rows

SPLITS = ["train", "valid", "test"]


prepare = functools.partial(preparation.prepare, corpus_of_rows.utterances)
accept = Limits()


class AtMost(Limits):
    """Limits that remember what they were asked."""

    def __init__(self, seconds=9.0):
        self.seconds, self.asked = seconds, []

    def recording(self, utterance):
        self.asked.append(utterance.ID)
        return f"too long: {utterance.duration:.1f} s" if utterance.duration > self.seconds else None

    def settings(self):
        return {"seconds": self.seconds}


def wav(path, seconds=0.1, rate=16000, channels=1, **how):
    path.parent.mkdir(parents=True, exist_ok=True)
    samples = 0.1 * np.random.default_rng(7).standard_normal((round(seconds * rate), channels))
    soundfile.write(path, samples, rate, **how)
    return path


def table(path, *rows, end="\n"):
    separator = {".tsv": "\t", ".csv": ","}[path.suffix]
    path.write_text("".join(separator.join(row) + end for row in rows), encoding="utf-8")
    return path


def read(path):
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def corpus(tmp_path):
    """One good clip a split and their manifest.tsv."""
    root = tmp_path / "corpus"
    for split in SPLITS:
        wav(root / "clips" / f"{split}.wav")
    table(
        root / "manifest.tsv",
        ("path", "text", "split", "speaker", "language"),
        *((f"clips/{split}.wav", f"'s Avonds {split}.", split, "anna", "nl") for split in SPLITS),
    )
    return root


# ---- what is kept and what is refused ----


def test_every_refusal_has_its_row_and_the_counts_add_up(tmp_path, capsys):
    root = tmp_path / "corpus"
    good = wav(root / "good.wav", 0.5)
    wav(root / "stereo.wav", 0.25, channels=2)
    wav(root / "fast.flac", 0.25, rate=48000)
    wav(root / "silent.wav")
    wav(root / "empty.wav", 0.0)
    wav(root / "long.wav", 2.0)
    (root / "letter.wav").write_text("Dear sir, this is not audio. " * 20)
    (root / "cut.wav").write_bytes(good.read_bytes()[: 44 + 2 * 4000])
    names = "good.wav stereo.wav fast.flac silent.wav empty.wav long.wav letter.wav cut.wav gone.wav".split()
    texts = {"silent.wav": "  "}
    table(root / "train.tsv", ("audio", "transcript"), *((name, texts.get(name, "Eén zin.")) for name in names))
    wav(root / "v.wav")
    table(root / "dev.tsv", ("audio", "transcript"), ("v.wav", "Twee."))

    counts = prepare(root, tmp_path / "out", "nl", ["train", "valid"], AtMost(1))
    assert counts == {"train": 3, "valid": 1, "rejected": 6}
    assert [(row["ID"], float(row["duration"])) for row in read(tmp_path / "out/train.csv")] == [
        ("good", 0.5),
        ("stereo", 0.25),
        ("fast", 0.25),
    ]
    rejected = read(tmp_path / "out/rejected.csv")
    assert {row["split"] for row in rejected} == {"train"} and rejected[-1]["audio"] == str(root / "gone.wav")
    assert {row["ID"]: row["reason"] for row in rejected} == {
        "silent": "transcript is empty",
        "empty": "audio is empty (0 samples)",
        "long": "too long: 2.0 s",
        "letter": "audio cannot be read: Format not recognised.",
        "cut": "audio is truncated: 4000 of 8000 samples that its header promises",
        "gone": "audio cannot be opened: No such file or directory",
    }
    out = capsys.readouterr().out
    assert "10 rows, 10 used" in out and "train 3 (0.00 h), valid 1 (0.00 h), rejected 6" in out
    assert "mixed to mono or resampled to 16 kHz when read: {'16000 Hz x 2': 1, '48000 Hz x 1': 1}" in out
    assert sum(counts.values()) == 10


def test_truncated_mp3_is_found(tmp_path):
    path = wav(tmp_path / "a.mp3", 1.0, rate=48000)
    data = path.read_bytes()
    assert inspect(str(path))[:2] == (1.0, "48000 Hz x 1")
    path.write_bytes(b"ID3\x04\x00\x00\x00\x00\x01\x00" + bytes(128) + data)  # players put their tags in front
    assert inspect(str(path))[0] == 1.0
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(ValueError, match="audio is truncated: .* of 48000 samples"):
        inspect(str(path))


def test_wav_whose_header_is_unusual_but_whole(tmp_path):
    data = wav(tmp_path / "a.wav").read_bytes()
    at = data.index(b"data")
    comment = b"INFOICMT\x0a\x00\x00\x00data of me"  # the word "data" before the chunk of that name
    for name, header in {
        "comment": b"LIST" + len(comment).to_bytes(4, "little") + comment + data[at : at + 8],
        "piped by SoX": b"data\x00\xf0\xff\x7f",
        "piped by ffmpeg": b"data\xff\xff\xff\xff",
    }.items():
        path = tmp_path / f"{name}.wav"
        path.write_bytes(data[:at] + header + data[at + 8 :])
        assert inspect(str(path))[0] == 0.1, name


@pytest.mark.parametrize("how", [{"format": "WAVEX"}, {"subtype": "ULAW"}, {"subtype": "PCM_24"}])
def test_truncated_wav_of_other_subtypes(tmp_path, how):
    path = wav(tmp_path / "a.wav", **how)
    assert inspect(str(path))[0] == 0.1
    path.write_bytes(path.read_bytes()[:-600])
    with pytest.raises(ValueError, match="of 1600 samples that its header promises"):
        inspect(str(path))


def test_all_of_a_split_refused(corpus, tmp_path):
    (corpus / "clips/valid.wav").write_bytes(b"")
    with pytest.raises(ValueError, match=r"no utterance of split 'valid' is usable: \{'audio is empty': 1\}"):
        prepare(corpus, tmp_path / "out", "nl", SPLITS, accept)
    assert read_done(tmp_path / "out") is None and len(read(tmp_path / "out/rejected.csv")) == 1


def test_same_id_twice(tmp_path):
    twice = [Utterance("a", f"{folder}/a.wav", "nl", "", "Ja.", "train") for folder in ("x", "y")]
    with pytest.raises(ValueError, match=r"ID 'a' occurs 2 times in split 'train' \(x/a.wav, y/a.wav\)"):
        preparation.prepare(lambda *_: twice, "x", tmp_path, "nl", ["train"], accept)


# ---- the marker ----


def test_up_to_date_is_not_redone_and_a_change_is(corpus, tmp_path, capsys):
    out, limits = tmp_path / "out", AtMost()
    asked = limits.asked

    def run(splits=SPLITS):
        asked.clear()
        return prepare(corpus, out, "nl", splits, limits)

    counts = run()
    assert len(asked) == 3 and read_done(out)["counts"] == counts
    before = (out / ".done").stat().st_mtime_ns
    capsys.readouterr()
    assert run() == counts and not asked and (out / ".done").stat().st_mtime_ns == before
    assert f"Manifests in {out} are up to date: train 1" in capsys.readouterr().out

    digest = read_done(out)["digest"]
    text = (corpus / "manifest.tsv").read_text(encoding="utf-8")
    (corpus / "manifest.tsv").write_text(text.replace("Avonds train", "Morgens train"), encoding="utf-8")
    run()
    assert len(asked) == 3 and read_done(out)["digest"] != digest
    wav(corpus / "clips/train.wav", 0.3)
    run()
    assert len(asked) == 3 and read(out / "train.csv")[0]["duration"] == "0.3000"
    wav(corpus / "clips/train.wav", 0.3)  # written anew, and as long
    run()
    assert len(asked) == 3
    run(splits=["train"])
    assert len(asked) == 1
    (out / "train.csv").unlink()
    run(splits=["train"])
    assert len(asked) == 1


def test_a_changed_limit_is_asked_again(corpus, tmp_path):
    wav(corpus / "clips/train2.wav", 0.5)
    with open(corpus / "manifest.tsv", "a", encoding="utf-8") as file:
        file.write("clips/train2.wav\tTwee.\ttrain\tanna\tnl\n")
    for seconds, kept in ((1.0, 2), (0.3, 1), (1.0, 2)):
        counts = prepare(corpus, tmp_path / "out", "nl", SPLITS, AtMost(seconds))
        assert counts["train"] == kept


# ---- the list's forms ----


def test_fields_arrive_as_listed(corpus, tmp_path):
    assert prepare(corpus, tmp_path / "out", "nl", SPLITS, accept) == {"train": 1, "valid": 1, "test": 1, "rejected": 0}
    (row,) = read(tmp_path / "out/test.csv")
    assert row == {
        "ID": "test",
        "audio": str(corpus / "clips/test.wav"),
        "duration": "0.1000",
        "language": "nl",
        "speaker": "anna",
        "text": "'s Avonds test.",
    }


def test_tsv_is_unquoted_and_csv_is_quoted(tmp_path):
    root = tmp_path / "corpus"
    wav(root / "a.wav")
    absolute = wav(tmp_path / "elsewhere/b.wav")
    table(
        root / "train.tsv", ("\ufeffFile", "Sentence"), ("a.wav", '"Ja", zei ze'), (str(absolute), '"open'), end="\r\n"
    )
    table(root / "valid.csv", ("wav", "transcription", "utt_id"), ("a.wav", '"""Ja"", zei ze"', "own name"))
    prepare(root, tmp_path / "out", "nl", ["train", "valid"], accept)
    assert [row["text"] for row in read(tmp_path / "out/train.csv")] == ['"Ja", zei ze', '"open']
    assert read(tmp_path / "out/train.csv")[1]["audio"] == str(absolute)
    (row,) = read(tmp_path / "out/valid.csv")
    assert (row["ID"], row["text"]) == ("own name", '"Ja", zei ze')


def test_jsonl_and_other_languages(tmp_path, capsys):
    root = tmp_path / "corpus"
    rows = []
    for language, split, name in (("nl", "train", "a"), ("nl", "dev", "b"), ("de", "train", "c"), ("nl", "test", "d")):
        wav(root / f"{name}.wav")
        rows.append({"audio_filepath": f"{name}.wav", "text": "Één", "lang": language, "split": split, "duration": 99})
    lines = "\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
    path = root / "any name.jsonl"
    path.write_text("\ufeff" + lines + "\n\n", encoding="utf-8")
    counts = prepare(path, tmp_path / "out", "nl", ["train", "valid"], accept)
    assert counts == {"train": 1, "valid": 1, "rejected": 0}
    assert read(tmp_path / "out/train.csv")[0]["duration"] == "0.1000"
    said = "4 rows, 2 used, left out 1 in language 'de', left out 1 of split 'test'"
    assert said in capsys.readouterr().out
    with pytest.raises(ValueError, match=r"language: 'fy' was asked for, but split 'train' .* \{'nl': 1, 'de': 1\}"):
        prepare(path, tmp_path / "out", "fy", ["train"], accept)


def test_names_repeated_in_folders_become_unique(tmp_path):
    root = tmp_path / "corpus"
    names = ("spk1/001.wav", "spk2/001.wav", "spk2/002.wav")
    for name in names:
        wav(root / name)
    table(root / "train.tsv", ("path", "text"), *((name, "Ja.") for name in names))
    prepare(root, tmp_path / "out", "nl", ["train"], accept)
    assert [row["ID"] for row in read(tmp_path / "out/train.csv")] == ["spk1-001", "spk2-001", "002"]


# ---- what a broken list says ----


def refused(data_folder, message, splits=("train",), language="nl"):
    with pytest.raises(ValueError) as error:
        prepare(data_folder, data_folder.parent / "out", language, list(splits), accept)
    assert re.search(message, str(error.value)), str(error.value)


def test_folder_without_a_list(tmp_path):
    wav(tmp_path / "corpus/a.wav")
    refused(tmp_path / "corpus", r"data_folder: '.*corpus' is a folder that holds: a\.wav; expected a \.tsv, \.csv")
    refused(tmp_path / "corpis", r"data_folder: '.*corpis' does not exist; .* holds: corpus; .*correct data_folder")
    refused(tmp_path / "corpus/a.wav", r"data_folder: '.*a\.wav' is a file of \d+ bytes; expected")
    (tmp_path / "corpus.tar.gz").write_bytes(b"packed")
    refused(tmp_path / "corpus.tar.gz", "is a file of 6 bytes; .*; extract it first")
    (tmp_path / "nothing").mkdir()
    refused(tmp_path / "nothing", "is an empty folder")


def test_two_lists(corpus):
    table(corpus / "train.csv", ("path", "text"))
    refused(corpus, r"holds manifest\.tsv and train\.csv; expected one list")
    (corpus / "manifest.tsv").unlink()
    table(corpus / "train.tsv", ("path", "text"))
    refused(corpus, r"holds train\.tsv and train\.csv; expected one list")


def test_missing_split(corpus):
    text = (corpus / "manifest.tsv").read_text(encoding="utf-8").replace("\ttest\t", "\ttset\t")
    (corpus / "manifest.tsv").write_text(text, encoding="utf-8")
    found = r"\{'train': 1, 'valid': 1, 'tset': 1\}"
    refused(corpus, f"no row of split 'test'; looked for 'test' in the column 'split', found {found}", SPLITS)
    (corpus / "manifest.tsv").rename(corpus / "train.tsv")
    refused(corpus, r"no list of split 'valid'; looked for 'valid' or 'dev' or .*; found train\.tsv", SPLITS)
    refused(corpus, r"train\.tsv:3: 'split' is 'valid', but the file's name says 'train'")


def test_columns(tmp_path):
    path = tmp_path / "list.tsv"
    table(path, ("path", "words", "split"), ("a.wav", "Ja.", "train"))
    refused(
        path, r"list\.tsv: no column for text; found 'path', 'words', 'split'; expected one of text, sentence, trans"
    )
    table(path, ("path", "text"), ("a.wav", "Ja."))
    refused(path, r"list\.tsv: no column for split; found 'path', 'text'")
    table(path, ("path", "text", "Sentence", "split"), ("a.wav", "Ja.", "Ja.", "train"))
    refused(path, r"list\.tsv: columns 'text' and 'Sentence' both mean text; expected one")
    path.write_text("path;text;split\na.wav;Ja.;train\n")
    refused(path, r"list\.tsv:1: the header is separated by ';', expected .* \(a \.tsv is separated by tabs")


def test_broken_lines(tmp_path):
    path = tmp_path / "train.tsv"
    table(path, ("path", "text"), ("a.wav", "Ja."), ("b.wav", "Ja", "nee."))
    refused(tmp_path, r"train\.tsv:3: 3 fields, but the header names 2 \(path, text\)")
    table(path, ("path", "text"), ("", "Ja."))
    refused(tmp_path, r"train\.tsv:2: 'path' is empty; expected a path")
    path.write_bytes("path\ttext\na.wav\tSchön.\n".encode("windows-1252"))
    refused(tmp_path, r"train\.tsv is not UTF-8 \(byte 0xf6 .*iconv -f windows-1252")
    path.unlink()
    table(tmp_path / "train.csv", ("path", "text"), ("a.wav", '"open'), ("b.wav", "Ja."))
    refused(tmp_path, r"train\.csv:3: unexpected end of data; correct that line")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"audio": "b.wav", "text": ', r"train\.jsonl:2: not JSON in UTF-8 \(Expecting value.*; expected one object"),
        ('["b.wav", "Ja."]', r"train\.jsonl:2: a JSON list; expected one object"),
        ('{"audio": {"path": "b.wav"}, "text": "Ja."}', r"train\.jsonl:2: 'audio' is a dict; expected a string"),
        ('{"audio": "b.wav"}', r"train\.jsonl:2: no column for text; found 'audio'"),
    ],
)
def test_broken_json_lines(tmp_path, line, message):
    (tmp_path / "train.jsonl").write_text('{"audio": "a.wav", "text": "Ja."}\n' + line + "\n", encoding="utf-8")
    refused(tmp_path, message)


# ---- real speech ----


@pytest.mark.parametrize(
    ("name", "language", "counts"),
    [
        ("nl_nathalie", "nl", {"train": 820, "valid": 60, "test": 120, "rejected": 0}),
        ("de_kerstin", "de", {"train": 720, "valid": 60, "test": 120, "rejected": 0}),
    ],
)
def test_real_speech(shared, tmp_path, name, language, counts):
    root = shared / "speech" / name
    assert prepare(root, tmp_path, language, SPLITS, accept) == counts
    with open(root / "manifest.tsv", newline="", encoding="utf-8") as file:
        listed = {Path(row["path"]).stem: row for row in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)}
    for split in SPLITS:
        for row in read(tmp_path / f"{split}.csv"):
            told = listed[row["ID"]]
            assert (row["text"], row["speaker"], split) == (told["text"], told["speaker"], told["split"])
            assert float(row["duration"]) == pytest.approx(float(told["duration"]), abs=0.001)
    other = {"nl": "de", "de": "nl"}[language]
    with pytest.raises(ValueError, match=f"language: '{other}' was asked for"):
        prepare(root, tmp_path, other, SPLITS, accept)
