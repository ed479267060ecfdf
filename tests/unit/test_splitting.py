"""Splits made where there are none, nested samples of hours, several corpora as one."""

import csv
import functools
from dataclasses import replace

import pytest

from carryover.data import Limits, preparation, sampling, splitting
from carryover.data.utterance import Utterance
from local import mixed, new_splits, table
from tests.unit import corpora


def listed(n=400, speakers=40, sentences=300):
    return [
        Utterance(f"u{i:04d}", f"{i}.wav", "nl", f"s{i * 7 % speakers}", f"Zin {i * 11 % sentences}!", "train")
        for i in range(n)
    ]


def test_speakers_and_sentences_of_the_splits_are_apart():
    utterances = listed()
    dealt = splitting.deal(utterances, {"valid": 0.1, "test": 0.1}, 3)
    assert [u.ID for u in dealt] == [u.ID for u in utterances]  # kept and refused are all that was read
    kept = [u for u in dealt if not u.refused]
    of = {s: [u for u in kept if u.split == s] for s in ("train", "valid", "test")}
    for what in (lambda u: u.speaker, lambda u: splitting.sentence(u.text)):
        sets = [set(map(what, us)) for us in of.values()]
        assert not (sets[0] & sets[1] or sets[0] & sets[2] or sets[1] & sets[2])
    assert len(of["test"]) == 40 and all(u.refused.startswith(splitting.SAME) for u in dealt if u.refused)
    assert 0 < len(dealt) - len(kept) < 100
    # the order of the list decides nothing, the seed does
    again = {u.ID: u.split for u in splitting.deal(utterances[::-1], {"valid": 0.1, "test": 0.1}, 3)}
    assert again == {u.ID: u.split for u in dealt}
    assert again != {u.ID: u.split for u in splitting.deal(utterances, {"valid": 0.1, "test": 0.1}, 4)}


def test_the_check_of_splits_finds_what_is_shared():
    a, b = Utterance("a", "a", "nl", "x", "Ja, nee.", "train"), Utterance("b", "b", "nl", "y", "ja nee", "test")
    with pytest.raises(ValueError, match="sentence 'ja nee' stands in train and in test"):
        splitting.require_apart([a, b])
    with pytest.raises(ValueError, match="speaker 'x' stands in"):
        splitting.require_apart([a, replace(b, text="Iets anders", speaker="x")])
    splitting.require_apart([a, replace(b, text="Iets anders", speaker="x")], by_speaker=False)


def test_deals_that_cannot_be_meant():
    for shares in ({"valid": 0.1}, {"valid": 0.6, "test": 0.6}, {"valid": 0, "test": 0.1}):
        with pytest.raises(ValueError, match="shares: found"):
            splitting.deal(listed(), shares, 1)
    shares = {"valid": 0.1, "test": 0.1}
    with pytest.raises(ValueError, match="leave nothing for 'valid'|leave nothing for 'test'"):
        splitting.deal(listed(speakers=2), shares, 1)
    nobody = [replace(u, speaker="") for u in listed()]
    with pytest.raises(ValueError, match="400 of 400 utterances have no speaker"):
        splitting.deal(nobody, shares, 1)
    assert {u.split for u in splitting.deal(nobody, shares, 1, by_speaker=False)} == {"train", "valid", "test"}


@pytest.fixture
def folder(tmp_path):
    rows = [("path", "text", "speaker")]
    for i in range(30):
        corpora.clip(tmp_path / "ours" / f"{i}.wav", 0.2 + 0.01 * i, seed=i)
        rows.append((f"{i}.wav", f"zin {i}", f"s{i // 2}"))
    corpora.write(tmp_path / "ours" / "manifest.tsv", *rows)
    return tmp_path / "ours"


def test_a_list_without_splits_becomes_three(folder, tmp_path):
    corpus = functools.partial(
        new_splits.utterances, corpus=functools.partial(table.utterances, only="train"), valid=0.2, test=0.2
    )
    where = folder, tmp_path / "m", "nl", ("train", "valid", "test")
    counts = preparation.prepare(corpus, *where, Limits())
    assert counts == {"train": 18, "valid": 6, "test": 6, "rejected": 0}
    done = (tmp_path / "m" / ".done").stat().st_mtime_ns
    assert preparation.prepare(corpus, *where, Limits()) == counts
    assert (tmp_path / "m" / ".done").stat().st_mtime_ns == done  # up to date: its options are named, not their address


def test_samples_of_hours_are_nested(folder, tmp_path):
    corpus = functools.partial(table.utterances, only="train")

    def drawn(hours):
        counts = preparation.prepare(corpus, folder, tmp_path / hours, "nl", ["train"], Limits(), sample=hours)
        assert sum(counts.values()) == 30
        with open(tmp_path / hours / "train.csv", newline="", encoding="utf-8") as file:
            return {row["ID"]: float(row["duration"]) for row in csv.DictReader(file)}

    one, ten, hundred = drawn("0.0003h"), drawn("0.001h"), drawn("1h")
    assert one.keys() < ten.keys() < hundred.keys() and len(hundred) == 30
    for found, seconds in ((one, 1.08), (ten, 3.6)):
        assert seconds <= sum(found.values()) < seconds + 0.5
    for wrong in ("0h", "10", "h"):
        with pytest.raises(ValueError, match="expected a whole number above 0"):
            sampling.wanted({"train": wrong}, ["train"])


def test_several_corpora_with_weights(folder, tmp_path):
    def run(**weights):
        own = functools.partial(table.utterances, only="train")
        given = [{"name": name, "corpus": own, "weight": weight} for name, weight in weights.items()]
        return list(mixed.utterances(folder, "nl", ["train"], corpora=given))

    found = run(a=1, b=2.5)
    assert [u.ID for u in found if u.ID.startswith("a-")] == [f"a-{i}" for i in range(30)]
    assert 60 < sum(u.ID.startswith("b-") for u in found) < 90 and len({u.ID for u in found}) == len(found)
    tenth, half = ({u.ID for u in run(a=w) if not u.refused} for w in (0.1, 0.5))
    assert tenth < half and 8 < len(half) < 22
    assert len(run(a=0.1)) == 30  # what is left out is refused, not lost
    assert {u.refused for u in run(a=0.1)} == {None, "left out by its corpus's weight: 0.1"}
    for wrong, said in (({"weight": 0}, "weight 0"), ({"wieght": 1}, "key 'wieght'"), ({"name": ""}, "names")):
        with pytest.raises(ValueError, match=said):
            list(mixed.utterances(folder, "nl", ["train"], corpora=[{"name": "a", "corpus": table.utterances} | wrong]))
