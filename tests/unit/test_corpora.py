"""The readers of local/ on miniatures of official layouts: what each lists, keeps and refuses; nothing is lost."""

import csv
import importlib
import json

import pytest

from carryover.data import Limits, manifest, preparation
from local import audiofolder, cl_masr, fleurs, kaldi, lhotse, librispeech, mls, parquet, table, voxpopuli
from tests.unit import corpora

SPLITS = ("train", "valid", "test")
KEPT = {"kaldi": 2, "kaldi with segments": 2, "lhotse": 2, "lhotse of cuts": 1}  # of a split; else 3
READ = {"kaldi": 7, "kaldi with segments": 4}


def read(path):
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def reasons(folder):
    return {row["ID"]: row["reason"] for row in read(folder / "rejected.csv") if row["split"] == "train"}


@pytest.mark.parametrize("name", corpora.LAYOUTS)
def test_each_layout_is_read_and_nothing_is_lost(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    root = corpora.LAYOUTS[name](tmp_path / "x")
    reader = importlib.import_module(f"local.{name.split()[0]}").utterances
    language = "en" if name == "librispeech" else "nl"
    listed = list(reader(root, language, SPLITS))
    counts = preparation.prepare(reader, root, tmp_path / "m", language, SPLITS, Limits())
    assert sum(counts.values()) == len(listed) == 3 * READ.get(name, 3)
    assert [counts[split] for split in SPLITS] == [KEPT.get(name, 3)] * 3
    for split in SPLITS:
        rows = read(tmp_path / "m" / f"{split}.csv")
        assert {row["language"] for row in rows} == {language} and all(float(row["duration"]) > 0.2 for row in rows)
    # an empty folder, and one that is not there, say what is expected
    (tmp_path / "empty").mkdir()
    for wrong in ("empty", "none"):
        with pytest.raises(ValueError, match=f"(?s)data_folder: .*{wrong}.*expected"):
            list(reader(tmp_path / wrong, language, SPLITS))


def test_votes_speakers_and_texts_of_common_voice_23(tmp_path):
    from local import common_voice

    root = corpora.common_voice(tmp_path, "23.0")
    for folder in (root, root / "cv-corpus-23.0", root / "cv-corpus-23.0" / "nl"):
        second = list(common_voice.utterances(folder, "nl", ["valid"]))[1]
        assert (second.ID, second.speaker, second.votes) == ("common_voice_nl_dev1", "dev-1", (2, 1))
        assert second.text == "'s Morgens regent het."
    corpora.common_voice(tmp_path, "6.1")
    with pytest.raises(ValueError, match="holds cv-corpus-23.0, cv-corpus-6.1; expected one release"):
        list(common_voice.utterances(tmp_path, "nl", ["valid"]))


def test_parts_of_librispeech(tmp_path):
    corpora.librispeech(tmp_path)
    (tmp_path / "LibriSpeech" / "dev-clean").rename(tmp_path / "LibriSpeech" / "dev-other")
    with pytest.raises(ValueError, match="lacking: dev-clean"):
        list(librispeech.utterances(tmp_path, "en", SPLITS))
    [first, *_] = librispeech.utterances(tmp_path, "en", ["valid"], parts={"valid": ["dev-other"]})
    assert (first.ID, first.speaker, first.text) == ("84-121123-0000", "84", "GO DO YOU HEAR 0")


def test_limited_training_data_of_mls_is_nested(tmp_path):
    corpora.mls(tmp_path)

    def chosen(limited):
        return {u.ID[-1] for u in mls.utterances(tmp_path, "nl", ["train"], limited=limited)}

    assert [chosen(limited) for limited in ("10min", "1h", "10h", None)] == [{"0"}, {"0"}, {"0", "2"}, {"0", "1", "2"}]
    with pytest.raises(ValueError, match="'de' was asked for, but data_folder is 'mls_dutch'"):
        list(mls.utterances(tmp_path / "mls_dutch", "de", ["train"]))


def test_fleurs_has_two_texts_and_says_what_is_packed(tmp_path):
    corpora.fleurs(tmp_path)
    [raw, *_] = fleurs.utterances(tmp_path, "nl", ["train"])
    [small, *_] = fleurs.utterances(tmp_path / "nl_nl", "nl_nl", ["train"], normalised=True)
    assert (raw.ID, raw.text, small.text) == ("10047", '"Dag, wereld.', "dag, wereld.")
    (tmp_path / "nl_nl" / "audio" / "dev").rename(tmp_path / "elsewhere")
    with pytest.raises(ValueError, match="no audio of dev.*tar -xzf"):
        list(fleurs.utterances(tmp_path, "nl", ["valid"]))


def test_voxpopuli_refuses_what_is_not_gold_or_has_no_raw_text(tmp_path):
    corpora.voxpopuli(tmp_path)

    def run(name, **options):
        import functools

        reader = functools.partial(voxpopuli.utterances, **options)
        preparation.prepare(reader, tmp_path, tmp_path / name, "nl", ["train"], Limits())
        return [reason.split(":")[0] for reason in reasons(tmp_path / name).values()]

    assert run("gold", gold_only=True) == ["transcript is not a corrected one (is_gold_transcript)"]
    assert run("raw", text="raw_text") == ["transcript is empty"]
    assert [u.speaker for u in voxpopuli.utterances(tmp_path, "nl", ["train"])] == ["1122", "1122", ""]


def test_cl_masr_gives_its_text_or_the_sentence(tmp_path):
    corpora.cl_masr(tmp_path)
    found = list(cl_masr.utterances(tmp_path, "nl", ["train"]))
    assert [u.text for u in found][:2] == ["Dag  wereld.", "s Morgens regent het."] and found[1].speaker == "train1"
    found = list(cl_masr.utterances(tmp_path, "nl", ["train"], text="sentence"))
    assert found[1].text == "'s Morgens regent het." and "sentence is unknown" in found[2].refused
    with pytest.raises(ValueError, match="expected CL-MASR's data folder with train.csv, fr"):
        list(cl_masr.utterances(tmp_path, "fr", ["train"]))


def test_an_audiofolder_with_one_list_and_own_columns(tmp_path):
    corpora.audiofolder(tmp_path, jsonl=True)
    found = list(audiofolder.utterances(tmp_path, "nl", ["valid"], columns={"text": "what"}))
    assert [(u.ID, u.speaker, u.text) for u in found][0] == ("0", "s0", corpora.TEXTS[0]) and len(found) == 3
    with pytest.raises(ValueError, match="no column for text"):
        list(audiofolder.utterances(tmp_path, "nl", ["valid"]))


def test_what_kaldis_files_lack_is_refused(tmp_path):
    root = corpora.kaldi(tmp_path / "a")
    preparation.prepare(kaldi.utterances, root, tmp_path / "m", "nl", SPLITS, Limits())
    found = reasons(tmp_path / "m")
    assert found.pop("utt5").startswith("recording is made by a command, which is not executed: sox ")
    assert found == {
        "utt2": "transcript is lacking: `text` has no such utterance",
        "utt3": "transcript is lacking: `text` has no such utterance",
        "utt4": "recording is lacking: wav.scp has no 'utt4'",
        "utt6": "recording is lacking: wav.scp has no 'utt6'",
    }
    rows = read(tmp_path / "m" / "train.csv")
    assert [(row["ID"], row["speaker"], row["text"]) for row in rows] == [
        ("utt0", "anna", "Dag,  wereld."),
        ("utt1", "ben", "Ja."),
    ]


def test_segments_of_kaldi(tmp_path):
    root = corpora.kaldi(tmp_path / "a", segments=True)
    preparation.prepare(kaldi.utterances, root / "data", tmp_path / "m", "nl", ["train"], Limits())
    rows = manifest.load(tmp_path / "m" / "train.csv")
    assert {ID: row["duration"] for ID, row in rows.items()} == {"talk-0": 0.5, "talk-1": 0.75}
    assert rows["talk-1"]["audio"].endswith("talk.wav#t=0.5,1.25")
    found = reasons(tmp_path / "m")
    assert found["talk-2"] == "segment ends behind its recording: at 9.5 s of 3.00 s" and "lacking" in found["talk-3"]


def test_lhotses_manifests_in_and_out(tmp_path):
    root = corpora.lhotse(tmp_path / "in")
    preparation.prepare(lhotse.utterances, root, tmp_path / "m", "nl", SPLITS, Limits())
    assert reasons(tmp_path / "m") == {"s2": "recording is not one file: command"}
    from carryover.data import lhotse as written

    for split in SPLITS:
        rows = manifest.load(tmp_path / "m" / f"{split}.csv").values()
        assert written.write(rows, tmp_path / "out", split) == (1, 2)
    there = list(lhotse.utterances(root, "nl", SPLITS))
    back = list(lhotse.utterances(tmp_path / "out", "nl", SPLITS))
    assert [u for u in there if not u.refused] == back


def test_lhotse_cuts_and_parts(tmp_path):
    root = corpora.lhotse(tmp_path, cuts=True)
    [one, empty, mixed] = lhotse.utterances(root, "nl", ["test"], parts={"test": ["dev"]})
    assert one.audio.endswith("dev.wav#t=0.5,1.25") and one.ID == "s1"
    assert empty.refused.startswith("transcript is lacking") and mixed.refused.endswith("MixedCut")


HUB = {
    "common voice": {"client_id": ["a", "b", "a"], "path": ["x"] * 3, "sentence": list(corpora.TEXTS),
                     "up_votes": [2, 2, 3], "down_votes": [0, 1, 0], "locale": ["nl"] * 3},
    "mls": {"original_path": ["x"] * 3, "transcript": list(corpora.TEXTS), "speaker_id": ["a", "b", "a"]},
    "fleurs": {"id": [7, 7, 7], "path": ["x"] * 3, "transcription": ["klein"] * 3,
               "raw_transcription": list(corpora.TEXTS), "gender": [1, 0, 1], "language": ["Dutch"] * 3},
    "voxpopuli": {"audio_id": ["x"] * 3, "raw_text": list(corpora.TEXTS), "normalized_text": ["klein"] * 3,
                  "speaker_id": ["a", "b", "a"]},
}  # fmt: skip


@pytest.mark.parametrize("name", HUB)
def test_parquet_files_of_the_hub(name, tmp_path):
    pytest.importorskip("pyarrow", reason="extra: parquet")
    root = corpora.parquet(tmp_path, HUB[name], part="validation", folder="nl", shards=3)
    columns = {"text": "raw_transcription"} if name == "fleurs" else {}
    found = list(parquet.utterances(root, "nl", ["valid"], columns=columns, cache=tmp_path / "cache"))
    assert [u.ID for u in found] == ["clip_0", "clip_1", "clip_2"] and tuple(u.text for u in found) == corpora.TEXTS
    assert [u.speaker for u in found] == ([""] * 3 if name == "fleurs" else ["a", "b", "a"])
    assert [u.votes for u in found] == ([(2, 0), (2, 1), (3, 0)] if name == "common voice" else [None] * 3)
    below = next(parquet.utterances(root, "nl", ["valid"], columns=columns)).audio
    assert below.startswith(f"{root}/carryover_clips/valid/")  # so a command finds it below the run's data_folder
    for n, u in enumerate(found):
        with open(u.audio, "rb") as file:
            assert file.read() == (root / "made" / f"{n}.wav").read_bytes()


def test_faults_of_parquet_files_are_told(tmp_path, monkeypatch):
    pytest.importorskip("pyarrow", reason="extra: parquet")
    root = corpora.parquet(tmp_path, {"said": list(corpora.TEXTS)})
    where = {"cache": tmp_path / "cache"}
    with pytest.raises(ValueError, match=r"no column for text; found audio, said; name it by columns: \{text"):
        list(parquet.utterances(root, "nl", ["train"], **where))
    with pytest.raises(ValueError, match="expected validation or valid or dev-"):
        list(parquet.utterances(root, "nl", ["valid"], **where))
    [path] = (root / "data").glob("*.parquet")
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match="no whole parquet file"):
        list(parquet.utterances(root, "nl", ["train"], columns={"text": "said"}, **where))
    monkeypatch.setitem(__import__("sys").modules, "pyarrow.parquet", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install pyarrow \(or carryover\[parquet\]\)"):
        list(parquet.utterances(root, "nl", ["train"], **where))


ROWS = [
    {"Datei": f"{n}.wav", "Satz": text, "von": str(0.1 * n), "bis": str(0.1 * n + 0.1)}
    for n, text in enumerate(corpora.TEXTS)
]
COLUMNS = {"audio": "Datei", "text": "Satz", "start": "von", "end": "bis"}


@pytest.mark.parametrize("ending", ["csv", "tsv", "jsonl", "json", "json by ID"])
def test_lists_with_any_columns(ending, tmp_path):
    for n in range(3):
        corpora.clip(tmp_path / f"{n}.wav", seed=n)
    if ending in ("csv", "tsv"):
        sign = {"csv": ",", "tsv": "\t"}[ending]
        quoted = [[f'"{v}"' if sign == "," else v for v in row.values()] for row in ROWS]
        corpora.write(tmp_path / f"manifest.{ending}", list(ROWS[0]), *quoted, sign=sign)
    elif ending == "jsonl":
        corpora.write(tmp_path / "manifest.jsonl", *map(json.dumps, ROWS))
    else:
        rows = ROWS if ending == "json" else {f"clip{n}": row for n, row in enumerate(ROWS)}
        (tmp_path / "manifest.json").write_text(json.dumps(rows))
    found = list(table.utterances(tmp_path, "nl", ["train"], columns=COLUMNS, only="train"))
    assert [u.text for u in found] == list(corpora.TEXTS)
    assert found[1].audio == f"{tmp_path}/1.wav#t=0.1,0.2"
    assert found[1].ID == ("clip1" if ending == "json by ID" else "1-0.1-0.2")
    with pytest.raises(ValueError, match="no field 'txt'; expected of audio, text"):
        list(table.utterances(tmp_path, "nl", ["train"], columns={"txt": "Satz"}))


def test_long_recordings_by_start_and_duration(tmp_path):
    corpora.clip(tmp_path / "talk.wav", 2.0)
    rows = [
        {"audio_filepath": "talk.wav", "offset": n / 2, "duration": 0.5, "text": t} for n, t in enumerate(corpora.TEXTS)
    ]
    corpora.write(tmp_path / "train.jsonl", *map(json.dumps, rows))
    counts = preparation.prepare(table.utterances, tmp_path, tmp_path / "m", "nl", ["train"], Limits())
    assert counts == {"train": 3, "rejected": 0}
    corpora.write(tmp_path / "train.jsonl", json.dumps(rows[0] | {"duration": -1}))
    with pytest.raises(ValueError, match="train.jsonl:1: a segment from 0 s to -1 s; expected 0 <= start < end"):
        list(table.utterances(tmp_path, "nl", ["train"]))


def test_a_json_that_is_none(tmp_path):
    for text, said in (
        ("{", "not JSON"),
        ('{"a": 1}', "'a' holds no object"),
        ("3", "a JSON int"),
        ('{"a": 1, "a": 2}', "twice"),
    ):
        (tmp_path / "manifest.json").write_text(text)
        with pytest.raises(ValueError, match=said):
            list(table.utterances(tmp_path, "nl", ["train"]))


@pytest.mark.parametrize("ending", ["jsonl", "json"])
def test_a_run_is_evaluated_on_segments(ending, tmp_path, monkeypatch):
    """Also where paths are relative to the working directory, as in a run's own manifests."""
    from carryover.commands import test_sets as sets

    monkeypatch.chdir(tmp_path)
    corpora.clip("far/talk.wav", 2.0)
    (tmp_path / "lists").mkdir()
    rows = [
        {"audio": "far/talk.wav", "start": n / 2, "end": n / 2 + 0.5, "text": t} for n, t in enumerate(corpora.TEXTS)
    ]
    path = tmp_path / "lists" / f"own.{ending}"
    path.write_text(json.dumps(rows) if ending == "json" else "".join(json.dumps(row) + "\n" for row in rows))
    sets.require_list(path)
    hparams = {"language": "nl", "limits": Limits(), "workers": 1, "metadata_limits": None}
    made = sets.prepare(path, hparams, tmp_path / "m")
    found = manifest.load(made)
    assert [row["audio"] for row in found.values()] == [f"far/talk.wav#t={t}" for t in ("0,0.5", "0.5,1", "1,1.5")]
    again = sets.prepare(made, hparams, tmp_path / "m2")  # a manifest of ours names parts in its column audio
    assert manifest.load(again).keys() == found.keys()
