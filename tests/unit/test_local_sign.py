"""Corpora of signing: lists of one's own, PHOENIX-2014's layout, and real finger-spelled letters joined to words."""

import csv
import functools
import hashlib
import random
import sys

import numpy as np
import pytest
import torch

from carryover.data import Limits, preparation
from carryover.data.landmarks import Layout, inspect, missing, read
from local import fingerspelling, landmarks, made_once, phoenix

ARMS = Layout.hands_and_arms()
SPLITS = ("train", "valid", "test")


class Signed(Limits):
    """Landmarks of a layout; one gloss is refused."""

    def __init__(self, layout=ARMS):
        self.layout = layout

    def inspect(self, utterance):
        return inspect(utterance.audio, self.layout, utterance.fps)

    def metadata(self, utterance):
        return "unknown gloss: HAGEL" if "HAGEL" in utterance.text else None


def prepare(corpus, data_folder, folder, language, splits, limits=None, **options):
    """The manifests of a corpus with options of its own."""
    corpus = functools.partial(corpus, **options)
    return preparation.prepare(corpus, data_folder, folder, language, splits, limits or Signed())


def in_phoenix(data_folder, folder, splits, **options):
    return prepare(phoenix.utterances, data_folder, folder, "gsg", splits, Signed(Layout.holistic()), **options)


def signer(frames, layout=ARMS, seed=5):
    """(F, P, C) float32 noise about a signer whose shoulders are 200 apart."""
    array = 250 + 20 * np.random.default_rng(seed).standard_normal((frames, layout.points, layout.coordinates))
    left, right = layout.shoulders
    array[:, left, 0], array[:, right, 0] = 350, 150
    return array.astype(np.float32)


def table(path, *rows, separator="\t"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(separator.join(row) + "\n" for row in rows), encoding="utf-8")
    return path


def rows_of(path):
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def reasons(folder):
    return {row["ID"]: row["reason"] for row in rows_of(folder / "rejected.csv")}


# ---- a list of one's own ----


@pytest.fixture
def corpus(tmp_path):
    """Two good sequences for training, one each for validation and test, and the list that names them."""
    root = tmp_path / "mine"
    root.mkdir()
    for i, name in enumerate(("a", "b", "c", "d")):
        np.save(root / f"{name}.npy", signer(25 * (i + 1)))
    table(
        root / "manifest.tsv",
        ("path", "gloss", "split", "signer", "fps"),
        ("a.npy", "MORGEN REGEN", "train", "anna", "25"),
        ("b.npy", "SÜD REGEN", "train", "bert", "50"),
        ("c.npy", "REGEN", "dev", "cleo", ""),
        ("d.npy", "MORGEN", "test", "dora", "25"),
    )
    return root


def test_a_list_of_landmarks_becomes_manifests(corpus, tmp_path, capsys):
    run = functools.partial(prepare, landmarks.utterances, corpus, tmp_path / "m", "gsg", SPLITS)
    assert run(fps=12.5) == {"train": 2, "valid": 1, "test": 1, "rejected": 0}
    train = rows_of(tmp_path / "m" / "train.csv")
    assert [(r["ID"], r["duration"], r["speaker"], r["text"], r["language"]) for r in train] == [
        ("a", "1.0000", "anna", "MORGEN REGEN", "gsg"),
        ("b", "1.0000", "bert", "SÜD REGEN", "gsg"),
    ]
    assert rows_of(tmp_path / "m" / "valid.csv")[0]["duration"] == "6.0000"  # 75 frames at the rate given
    assert len(read(train[0]["audio"], ARMS).array) == 25
    capsys.readouterr()
    run(fps=12.5)
    assert "up to date" in capsys.readouterr().out
    run(fps=25.0)  # nothing but the rate of c.npy has changed
    assert rows_of(tmp_path / "m" / "valid.csv")[0]["duration"] == "3.0000"


def test_glosses_are_those_of_training_sorted(corpus):
    assert landmarks.glosses(corpus, "gsg") == ["MORGEN", "REGEN", "SÜD"]
    assert landmarks.glosses(corpus, "gsg", target_text=str.lower) == ["morgen", "regen", "süd"]


def test_what_cannot_be_used_is_refused_with_its_reason(corpus, tmp_path):
    """Another width, no rate, NaN, nothing there, and what the recipe's own check refuses."""
    np.save(corpus / "wide.npy", signer(5, Layout.holistic()))
    broken = signer(5)
    broken[2, 3] = np.nan
    np.save(corpus / "nan.npy", broken)
    table(
        corpus / "manifest.tsv",
        ("landmarks", "glosses", "split", "fps"),
        ("a.npy", "REGEN", "train", "25"),
        ("wide.npy", "REGEN", "train", "25"),
        ("nan.npy", "REGEN", "train", "25"),
        ("b.npy", "REGEN", "train", ""),
        ("c.npy", "HAGEL", "train", "25"),
        ("d.npy", " ", "train", "25"),
        ("gone.npz", "REGEN", "train", "25"),
    )
    counts = prepare(landmarks.utterances, corpus, tmp_path / "m", "gsg", ["train"])
    assert counts == {"train": 1, "rejected": 6}
    assert reasons(tmp_path / "m") == {
        "wide": "landmarks do not fit the layout: 543 x 4 values a frame, expected 48 x 3 = 144 of layout "
        "hands_and_arms",
        "nan": "landmarks hold NaN: frame 2, right hand, 1 of 21 points (only a whole group may be missing)",
        "b": "landmarks tell no frame rate: a .npy file without `fps`; give fps in the YAML or the list",
        "c": "unknown gloss: HAGEL",
        "d": "transcript is empty",
        "gone": "landmarks cannot be opened: No such file or directory",
    }


def test_a_broken_list_is_named(corpus, tmp_path):
    def of(path):
        return list(landmarks.utterances(path, "x", ["train"]))

    rows = ("path", "gloss", "split", "fps"), ("a.npy", "REGEN", "train", "fast")
    with pytest.raises(ValueError, match="fps of a.npy is 'fast'; expected frames a second, e.g. 25"):
        of(table(corpus / "l.tsv", *rows))
    with pytest.raises(ValueError, match="no column for text; found 'path', 'split'; expected one of .*gloss, glosses"):
        of(table(corpus / "l.tsv", ("path", "split"), ("a.npy", "train")))
    with pytest.raises(ValueError, match="lists no row of split 'train'"):
        of(table(corpus / "l.tsv", rows[0], ("a.npy", "REGEN", "test", "25")))


def test_a_folder_is_made_once_and_again_for_other_settings(tmp_path, capsys):
    calls = []

    def make(text, folder):
        calls.append(text)
        (folder / "a.txt").write_text(text)

    target = tmp_path / "home" / "train"
    first = made_once.make_once(target, {"seed": 1}, functools.partial(make, "one"))
    assert made_once.make_once(target, {"seed": 1}, functools.partial(make, "two")) == first and calls == ["one"]
    named = f"a.txt {hashlib.sha256(b'one').hexdigest()}\n"
    assert first == hashlib.sha256(named.encode()).hexdigest()

    def dies(folder):
        (folder / "a.txt").write_text("half")
        raise RuntimeError("killed")

    with pytest.raises(RuntimeError, match="killed"):
        made_once.make_once(target, {"seed": 2}, dies)
    assert (target / "a.txt").read_text() == "one" and [p.name for p in target.parent.iterdir()] == ["train"]
    made_once.make_once(target, {"seed": 2}, functools.partial(make, "three"))
    assert (target / "a.txt").read_text() == "three" and [p.name for p in target.parent.iterdir()] == ["train"]
    assert "made with other settings" in capsys.readouterr().out


def test_extraction_without_mediapipe_names_the_command(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(ImportError, match=r"pip install -e '\.\[mediapipe\]', that is 'mediapipe<0.10.30'"):
        landmarks.extract(tmp_path / "a.mp4", tmp_path / "a.npz")


# ---- PHOENIX-2014 ----


@pytest.fixture
def release(tmp_path):
    """PHOENIX-2014's folders with a few sentences, and landmarks in three formats."""
    root = tmp_path / "phoenix2014-release" / "phoenix-2014-multisigner"
    names = {
        "train": ["01April_default-0", "02May_default-1"],
        "dev": ["03June_default-0"],
        "test": ["04July_default-2"],
    }
    glosses = iter(["__ON__ LIEB ZUSCHAUER", "loc-NORD REGEN __OFF__", "REGEN", "SCHNEE"])
    for split, IDs in names.items():
        lines = [(i, f"{i}/1/*.png", "Signer04", next(glosses)) for i in IDs]
        table(root / f"annotations/manual/{split}.corpus.csv", phoenix.COLUMNS, *lines, separator="|")
        (root / "landmarks" / split).mkdir(parents=True)
        for k, i in enumerate(IDs):
            if k:
                np.save(root / "landmarks" / split / f"{i}.npy", signer(50, Layout.holistic()))
            else:
                np.savez(root / "landmarks" / split / f"{i}.npz", landmarks=signer(25, Layout.holistic()))
    return root


def test_phoenix_is_read_as_it_is_extracted(release, tmp_path):
    for place in (release, release.parent, release.parents[1]):
        counts = in_phoenix(place, tmp_path / "m", SPLITS)
        assert counts == {"train": 2, "valid": 1, "test": 1, "rejected": 0}
    train = rows_of(tmp_path / "m" / "train.csv")
    assert [(r["ID"], r["duration"], r["speaker"], r["text"]) for r in train] == [
        ("01April_default-0", "1.0000", "Signer04", "__ON__ LIEB ZUSCHAUER"),
        ("02May_default-1", "2.0000", "Signer04", "loc-NORD REGEN __OFF__"),
    ]
    assert phoenix.glosses(release.parent, "gsg") == ["LIEB", "REGEN", "ZUSCHAUER", "__OFF__", "__ON__", "loc-NORD"]


def test_the_signer_independent_set_has_other_names(release, tmp_path):
    for path in (release / "annotations" / "manual").glob("*.corpus.csv"):
        path.rename(path.with_name(path.name.replace(".corpus", ".SI5.corpus")))
    assert in_phoenix(release, tmp_path / "m", ["valid"]) == {"valid": 1, "rejected": 0}


def test_a_sentence_without_landmarks_is_refused_and_a_corpus_without_them_an_error(release, tmp_path):
    (release / "landmarks" / "train" / "01April_default-0.npz").unlink()
    assert in_phoenix(release, tmp_path / "m", ["train"]) == {"train": 1, "rejected": 1}
    assert reasons(tmp_path / "m") == {"01April_default-0": "landmarks cannot be opened: No such file or directory"}
    with pytest.raises(ValueError, match="features' does not exist.*expected folders train, dev.*extract them first"):
        in_phoenix(release, tmp_path / "m", ["train", "valid"], landmarks="features")


def test_what_is_not_phoenix_is_named(release, tmp_path):
    def of(folder, splits):
        return list(phoenix.utterances(folder, "gsg", splits))

    with pytest.raises(ValueError, match="expected PHOENIX-2014's folder phoenix-2014-multisigner with annotations"):
        of(tmp_path / "nothing", splits=["train"])
    with pytest.raises(ValueError, match="found 'dev'; PHOENIX-2014 has train, valid, test"):
        of(release, splits=["dev"])
    path = release / "annotations" / "manual" / "train.corpus.csv"
    table(path, phoenix.COLUMNS, ("a", "b", "c"), separator="|")
    with pytest.raises(
        ValueError, match=r"train.corpus.csv:2: 3 fields; expected 4 \(id\|folder\|signer\|annotation\)"
    ):
        of(release, splits=["train"])
    table(path, ("name", "video", "start", "end", "speaker", "orth", "translation"), separator="|")
    with pytest.raises(ValueError, match="columns name.video.*expected id.folder"):
        of(release, splits=["train"])


# ---- finger-spelling ----


@pytest.fixture
def lexicon(tmp_path):
    """Eight sign languages of the letters A to D, each of a length and a hand of its own; one lacks most of them."""
    root = tmp_path / "lexicon"
    (root / "npy").mkdir(parents=True)
    rows = [("path", "sign_language", "spoken_language", "gloss", "frames", "fps", "hand_confidence")]
    for k in range(8):
        for n, letter in enumerate("ABCD" if k < 7 else "A"):
            array = signer(10 + n, seed=10 * k + n)
            array[:, 21:42] = 0
            np.save(root / "npy" / f"{k}{letter}.npy", array.astype(np.float16).reshape(len(array), -1))
            rows.append((f"npy/{k}{letter}.npy", f"l{k}", "de", letter, str(10 + n), "25.0", "1.0"))
    table(root / "manifest.tsv", *rows)
    return root


WORDS = ["AB", "BA", "CAB", "BAD", "DAB", "ADD", "ABBA", "DADA", "CD", "DC"]


def spell(lexicon, tmp_path, splits=SPLITS, **changes):
    sizes = {"train": 8, "valid": 3, "test": 4, "fewest_languages": 6, "words": WORDS, "cache": tmp_path / "cache"}
    return prepare(fingerspelling.utterances, lexicon, tmp_path / "m", "spelled", splits, **(sizes | changes))


def test_words_are_joined_letters_and_splits_share_neither_language_nor_word(lexicon, tmp_path):
    assert spell(lexicon, tmp_path) == {"train": 8, "valid": 3, "test": 4, "rejected": 0}
    found = {split: rows_of(tmp_path / "m" / f"{split}.csv") for split in SPLITS}
    for column in ("speaker", "text", "ID"):
        values = [{row[column] for row in rows} for rows in found.values()]
        assert sum(map(len, values)) == len(set.union(*values)), column
    assert len({row["speaker"] for row in found["train"]} - {"l7"}) <= 2 and "l7" not in str(found)
    for row in sum(found.values(), []):
        letters = row["text"].split()
        array = read(row["audio"], ARMS).array
        low = sum(10 + "ABCD".index(letter) for letter in letters) + 3 * (len(letters) - 1)
        assert low <= len(array) <= low + 4 * (len(letters) - 1)
        assert float(row["duration"]) == len(array) / 25
        # it begins and ends with the letters' own frames, and the hand that is missing stays missing
        first, last = (np.load(lexicon / f"npy/{row['speaker'][1]}{letters[i]}.npy") for i in (0, -1))
        np.testing.assert_array_equal(array[: len(first)].reshape(len(first), -1), first)
        np.testing.assert_array_equal(array[-len(last) :].reshape(len(last), -1), last)
        assert (array[:, 21:42] == 0).all() and not (array[:, :21] == 0).any()
    assert fingerspelling.glosses(lexicon, "x", fewest_languages=6) == ["A", "B", "C", "D"]


def test_the_same_arguments_give_the_same_bytes(lexicon, tmp_path):
    def bytes_of(home):
        return {p.relative_to(home).as_posix(): p.read_bytes() for p in sorted(home.rglob("*.npy"))}

    spell(lexicon, tmp_path)
    made = bytes_of(tmp_path / "cache")
    spell(lexicon, tmp_path, cache=tmp_path / "again")
    assert bytes_of(tmp_path / "again") == made and len(made) == 15
    spell(lexicon, tmp_path, cache=tmp_path / "seed", seed=7)
    assert bytes_of(tmp_path / "seed") != made
    # a letter that changed is joined again
    path = lexicon / "npy" / f"{rows_of(tmp_path / 'm' / 'test.csv')[0]['speaker'][1]}A.npy"
    np.save(path, np.load(path) + np.float16(1))
    spell(lexicon, tmp_path, cache=tmp_path / "seed", seed=7)
    assert bytes_of(tmp_path / "seed") != made


def test_ways_between_letters_are_straight(lexicon):
    one, two = torch.from_numpy(signer(4)), torch.from_numpy(signer(5, seed=6))
    one[-1, :21] = 0
    joined = fingerspelling.join([one, two], random.Random(1))
    between = joined[4:-5]
    assert 3 <= len(between) <= 7 and joined[:4].equal(one) and joined[-5:].equal(two)
    share = torch.arange(1, len(between) + 1)[:, None, None] / (len(between) + 1)
    torch.testing.assert_close(between[:, 21:], (one[-1] + share * (two[0] - one[-1]))[:, 21:], atol=1e-3, rtol=0)
    gone = missing(between)[:, :21]
    assert gone[: len(between) // 2].all() and not gone[-(len(between) // 2) :].any()


def test_letters_of_another_rate_are_brought_to_25(tmp_path):
    np.save(tmp_path / "a.npy", signer(60))
    array = fingerspelling._read(fingerspelling.Letter(str(tmp_path / "a.npy"), 30.0))
    assert len(array) == 50
    np.testing.assert_array_equal(array[[0, -1]], signer(60)[[0, -1]])


def test_a_lexicon_that_cannot_serve_is_named(lexicon, tmp_path):
    with pytest.raises(ValueError, match="is a folder that holds.*expected the finger-spelling lexicon with manifest"):
        spell(lexicon / "npy", tmp_path)
    with pytest.raises(ValueError, match="0 letters in at least 12 of 8 sign languages"):
        spell(lexicon, tmp_path, fewest_languages=12)
    with pytest.raises(ValueError, match="words: HAUS cannot be spelled .* the letters are ABCD"):
        spell(lexicon, tmp_path, words=[*WORDS, "HAUS"])
    with pytest.raises(ValueError, match="test: 400 words asked for.*ask for fewer, or give more words"):
        spell(lexicon, tmp_path, test=400)
    with pytest.raises(ValueError, match="test: found 0; expected a number of words above 0"):
        spell(lexicon, tmp_path, test=0)
    with pytest.raises(ValueError, match="found 'dev'; local.fingerspelling has train, valid, test"):
        spell(lexicon, tmp_path, splits=["dev"])
    for path in lexicon.glob("npy/*A.npy"):
        np.save(path, signer(3, Layout.holistic()))
    with pytest.raises(ValueError, match=r"A.npy: landmarks do not fit the layout.*drop its row of manifest.tsv"):
        spell(lexicon, tmp_path)


def test_real_letters_spell_words_in_languages_of_their_own(shared, tmp_path):
    lexicon = shared / "sign"
    assert "".join(fingerspelling.glosses(lexicon, "x")) == "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
    letters = fingerspelling._letters(lexicon, 12)
    sizes = {"train": 600, "valid": 50, "test": 100}
    plans = {split: fingerspelling.plan(letters, split, sizes, fingerspelling.WORDS, 1234) for split in SPLITS}
    assert {split: len(planned) for split, planned in plans.items()} == sizes
    assert [len({s.sign_language for s in plans[split]}) for split in SPLITS] == [10, 2, 3]
    assert {letter for s in plans["train"] for letter in s.word} == set("ABCDEFGHIJKLMNOPQRSTUVWXYZ")
    options = {"cache": tmp_path / "cache", "test": 12}
    counts = prepare(fingerspelling.utterances, lexicon, tmp_path / "m", "x", ["test"], **options)
    assert counts == {"test": 12, "rejected": 0}
