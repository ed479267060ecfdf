"""The embedded corpus: what its text promises, and that its audio is the same bytes for a seed."""

import csv
import functools
import hashlib
import random
import sys
from collections import Counter

import pytest
import soundfile

from carryover.data import Limits
from carryover.data.preparation import prepare
from local import synthetic
from local.synthetic_numbers import dutch, english, english_ordinal, german, german_ordinal
from local.synthetic_sentences import GRAMMARS, normalise, sentence_case, sentences

LANGUAGES = sorted(GRAMMARS)


def bytes_of(folder, language) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted((folder / language).rglob("*.wav"))
    }


@pytest.fixture(scope="module")
def plans() -> dict[tuple[str, str], list[synthetic.Clip]]:
    return {(lang, split): synthetic.plan(lang, split) for lang in LANGUAGES for split in synthetic.SPLITS}


@pytest.fixture(scope="module", autouse=True)
def fewer_shards():
    """Each is a process that imports scipy for a second."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(synthetic.SHARDS, "train", 2)
        yield


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """German training and validation made by one worker."""
    pytest.importorskip("espeakng_loader")
    folder = tmp_path_factory.mktemp("one")
    made = functools.partial(synthetic.utterances, hours=0.01, workers=1)
    prepare(made, folder, folder / "manifests", "de", ("train", "valid"), Limits())
    return folder


def words(clips: list[synthetic.Clip]) -> Counter:
    return Counter(word for clip in clips for word in normalise(clip.text).split())


@pytest.mark.parametrize(
    ("spell", "n", "word"),
    [
        (dutch, 1, "één"),
        (dutch, 21, "eenentwintig"),
        (dutch, 22, "tweeëntwintig"),
        (dutch, 23, "drieëntwintig"),
        (dutch, 48, "achtenveertig"),
        (dutch, 80, "tachtig"),
        (dutch, 100, "honderd"),
        (german, 16, "sechzehn"),
        (german, 17, "siebzehn"),
        (german, 21, "einundzwanzig"),
        (german, 35, "fünfunddreißig"),
        (german, 60, "sechzig"),
        (german, 70, "siebzig"),
        (german_ordinal, 1, "ersten"),
        (german_ordinal, 3, "dritten"),
        (german_ordinal, 7, "siebten"),
        (german_ordinal, 8, "achten"),
        (german_ordinal, 19, "neunzehnten"),
        (german_ordinal, 31, "einunddreißigsten"),
        (english, 40, "forty"),
        (english, 57, "fifty seven"),
        (english_ordinal, 9, "ninth"),
        (english_ordinal, 12, "twelfth"),
        (english_ordinal, 20, "twentieth"),
        (english_ordinal, 22, "twenty second"),
    ],
)
def test_numbers_are_spelled_as_in_the_dictionary(spell, n, word):
    assert spell(n) == word


def test_sentence_case_follows_dutch_apostrophes():
    assert sentence_case("'s avonds regent het.") == "'s Avonds regent het."
    assert sentence_case("één plus twee.") == "Één plus twee."
    assert normalise("'s Avonds, zo'n café?") == "'s avonds zo'n café"


@pytest.mark.parametrize("language", LANGUAGES)
def test_text_holds_what_the_experiments_need(plans, language):
    train, valid, test = (plans[language, split] for split in ("train", "valid", "test"))
    known = words(train)
    assert 250 <= len(known) <= 500
    assert min(known.values()) >= 8
    assert words(test).keys() | words(valid).keys() <= known.keys()
    assert len(valid) == 100
    assert len(test) >= 420
    assert words(test).total() >= 2200
    assert all(3 <= len(clip.text.split()) <= 9 for clip in train + valid + test)
    assert all(clip.text[-1] in ".?" and not any(c.isdigit() or c in "{}" for c in clip.text) for clip in train)
    letters = set("".join(known))
    assert set({"nl": "ëé'", "de": "äöüß'", "en": "é'"}[language]) <= letters


@pytest.mark.parametrize("language", LANGUAGES)
def test_splits_share_neither_sentence_nor_voice(plans, language):
    train, valid, test = (plans[language, split] for split in ("train", "valid", "test"))
    for key in (lambda c: normalise(c.text), lambda c: c.ID):
        values = [key(clip) for clip in train + valid + test]
        assert len(set(values)) == len(values)
    voices = [{clip.voice for clip in clips} for clips in (train, valid, test)]
    assert [len(v) for v in voices][1:] == [3, 6]
    assert len(voices[0]) >= 25
    assert len(set.union(*voices)) == sum(map(len, voices))


def test_test_set_does_not_depend_on_hours_of_training(plans):
    assert synthetic.plan("nl", "test", hours=0.01) == plans["nl", "test"]
    assert synthetic.plan("nl", "test", seed=7) != plans["nl", "test"]


def test_validation_can_be_larger_and_training_leaves_its_sentences_out(plans):
    valid, train = synthetic.plan("nl", "valid", valid=300), synthetic.plan("nl", "train", valid=300)
    assert len(valid) == 300 and valid[:100] == plans["nl", "valid"]
    assert not {normalise(clip.text) for clip in valid} & {normalise(clip.text) for clip in train}
    assert len(train) == len(plans["nl", "train"])


def test_grammar_that_runs_out_says_so(monkeypatch):
    monkeypatch.setitem(GRAMMARS, "xx", ({"number": ["one", "two"]}, ["count {number} {number2}."]))
    assert sorted(sentences("xx", 2, random.Random(1))) == ["Count one two.", "Count two one."]
    with pytest.raises(ValueError, match="no new sentence after 2 of 3"):
        sentences("xx", 3, random.Random(1))


def test_bytes_depend_on_seed_and_not_on_workers(corpus, tmp_path):
    made = bytes_of(corpus, "de")
    assert len(made) == len(synthetic.plan("de", "train", hours=0.01)) + 100
    list(synthetic.utterances(tmp_path / "two", "de", ("train", "valid"), hours=0.01, workers=2))
    assert bytes_of(tmp_path / "two", "de") == made
    list(synthetic.utterances(tmp_path / "seed", "de", ("valid",), seed=7, workers=2))
    other = bytes_of(tmp_path / "seed", "de")
    assert other and not set(other.values()) & set(made.values())


def test_audio_is_what_the_manifest_says(corpus):
    with open(corpus / "manifests" / "train.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    plan = synthetic.plan("de", "train", hours=0.01)
    assert [(r["ID"], r["speaker"], r["text"]) for r in rows] == [(c.ID, c.voice, c.text) for c in plan]
    for row, clip in zip(rows, plan, strict=True):
        assert row["audio"] == (corpus / "de" / "train" / f"{row['ID']}.wav").as_posix()
        samples, rate = soundfile.read(row["audio"], always_2d=True)
        assert (rate, samples.shape[1]) == (16_000, 1)
        assert float(row["duration"]) == pytest.approx(len(samples) / rate, abs=1e-4)
        assert abs(samples).max() == pytest.approx(10 ** (clip.level / 20), rel=0.1)  # the noise adds a little
        assert 0.8 < len(samples) / rate < 9.5


def test_second_call_makes_nothing_and_another_seed_makes_it_again(corpus, capsys, monkeypatch):
    before = {p: p.stat().st_mtime_ns for p in corpus.rglob("*") if p.is_file()}

    def run(**options):
        made = functools.partial(synthetic.utterances, **options)
        return prepare(made, corpus, corpus / "manifests", "de", ("train", "valid"), Limits())

    assert run(hours=0.01, workers=1) == {"train": 15, "valid": 100, "rejected": 0}
    assert {p: p.stat().st_mtime_ns for p in corpus.rglob("*") if p.is_file()} == before
    assert "up to date" in capsys.readouterr().out

    with monkeypatch.context() as patch, pytest.raises(RuntimeError, match="espeak-ng failed"):
        patch.setattr(sys, "executable", "false")  # a synthesis that dies leaves the old corpus as it was
        run(seed=7, hours=0.01)
    assert not list((corpus / "de").glob(".making-*"))
    assert {p: p.stat().st_mtime_ns for p in corpus.rglob("*") if p.is_file()} == before

    capsys.readouterr()
    run(hours=0.02)
    assert "train was made with other settings" in capsys.readouterr().out
    after = {p: p.stat().st_mtime_ns for p in corpus.rglob("*.wav")}
    assert {p: t for p, t in after.items() if p.parent.name == "valid"} == {
        p: t for p, t in before.items() if p.suffix == ".wav" and p.parent.name == "valid"
    }
    assert len([p for p in after if p.parent.name == "train"]) == len(synthetic.plan("de", "train", hours=0.02))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"language": "fr"}, "language: found 'fr'; local.synthetic speaks nl, de, en"),
        ({"splits": ("dev",)}, "splits: found 'dev'"),
        ({"hours": 0}, "hours: found 0"),
        ({"valid": 0}, "valid: found 0"),
        ({"valid": 1.5}, "valid: found 1.5"),
    ],
)
def test_impossible_settings_are_named(tmp_path, changed, message):
    arguments = {"language": "nl", "splits": ("test",)} | changed
    with pytest.raises(ValueError, match=message):
        list(synthetic.utterances(tmp_path, **arguments))


def test_missing_wheel_is_named(tmp_path, monkeypatch):
    def missing(name):
        raise synthetic.importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(synthetic.importlib.metadata, "version", missing)
    with pytest.raises(ModuleNotFoundError, match="pip install espeakng-loader==0.2.4"):
        list(synthetic.utterances(tmp_path, "nl", ("test",)))
