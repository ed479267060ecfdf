"""benchmarks/mutations.py in short: what is damaged at random is accepted or refused with words; no row is lost."""

import random

import pytest

from benchmarks import damage, mutations
from benchmarks.mutated_commands import nothing_begins


def test_230_mutations_end_in_words():
    found, wrong = mutations.mutate(230, seed=2)
    assert wrong == [], wrong[0]["words"]
    assert all(counts[damage.REFUSED] for counts in found.values()), "nothing was damaged"
    assert sum(counts.total() for counts in found.values()) == 230


@pytest.mark.parametrize(
    "main, outcome",
    [
        (lambda: None, damage.ACCEPTED),
        (lambda: 2, damage.SILENT),
        (lambda: int("x"), damage.REFUSED),
        (lambda: print("a word") or 2, damage.REFUSED),
    ],
)
def test_outcomes(main, outcome):
    assert damage.of_command(main)[0] == outcome


def test_a_bug_is_counted_as_a_traceback(monkeypatch):
    monkeypatch.setitem(mutations.KINDS, "logs", (lambda places, chance: {}["bug"], 15))
    assert mutations.one("logs", random.Random(1), None)[0] == damage.TRACEBACK


@pytest.mark.parametrize(
    "name, text, rows",
    [
        ("train.tsv", "audio\ttext\na\tb\n\nc\td\r\n", 2), ("train.csv", 'audio,text\na,"b\nc"\n', 1),
        ("train.jsonl", "{}\n{}\n", 2), ("train.json", "[{}, {}]", 2), ("train.json", "[{}", None),
    ],
)  # fmt: skip
def test_rows_are_counted_by_other_code(name, text, rows):
    assert mutations.listed(name, text.encode()) == rows


@pytest.mark.parametrize(
    "seed, kind, number",
    [
        (3, "yamls", 5461), (3, "logs", 5764), (3, "logs", 6372), (3, "logs", 6568), (3, "run folders", 7681),
        (5, "yamls", 5260), (5, "logs", 6406), (5, "run folders", 7029), (5, "run folders", 7205),
        (5, "run folders", 7898), (11, "other commands", 1572), (11, "other commands", 1841),
        (11, "run folders", 3099),
    ],
)  # fmt: skip
def test_mutations_that_ended_in_a_traceback(seed, kind, number, tmp_path, monkeypatch):
    places = mutations.Places(tmp_path)
    monkeypatch.chdir(places.checkout)
    monkeypatch.setenv("CARRYOVER_CACHE", str(tmp_path / "cache"))
    with nothing_begins():
        outcome, words = mutations.one(kind, random.Random(f"{seed} {kind} {number}"), places)
    assert outcome in (damage.ACCEPTED, damage.REFUSED), words
