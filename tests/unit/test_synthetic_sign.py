"""The embedded corpus of signing: sentences and signers of each split, bytes by seed, and movements that tell signs."""

import csv
import functools
import hashlib
import random

import numpy as np
import pytest
import torch

from carryover.data import Limits
from carryover.data.landmarks import Landmarks, Layout, inspect, missing, read
from carryover.data.preparation import prepare
from local import synthetic_sign, synthetic_signer
from local.synthetic_sign import SIGN_OF, SIGNERS, SIGNS, TEMPLATES, Signer, plan, sentences, utterances

ARMS = Layout.hands_and_arms()
SPLITS = ("train", "valid", "test")
SIZES = {"train": 800, "valid": 100, "test": 200}


class Signed(Limits):
    def inspect(self, utterance):
        return inspect(utterance.audio, ARMS, utterance.fps)


def run(folder, train=48):
    """Manifests of a small corpus."""
    corpus = functools.partial(utterances, train=train, valid=10, test=16)
    return prepare(corpus, folder, folder / "m", "signs", SPLITS, Signed())


def bytes_of(folder):
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*.npy"))
    }


@pytest.fixture(scope="module")
def plans():
    return {split: plan(split, SIZES, 1234) for split in SPLITS}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """48 sentences of training, 10 of validation, 16 of test."""
    folder = tmp_path_factory.mktemp("sign")
    counts = run(folder)
    assert counts == {"train": 48, "valid": 10, "test": 16, "rejected": 0}
    return folder


def test_splits_share_neither_sentences_nor_signers(plans):
    assert {split: len(planned) for split, planned in plans.items()} == SIZES
    for key in (lambda u: u.text, lambda u: u.ID):
        values = [key(u) for planned in plans.values() for u in planned]
        assert len(set(values)) == len(values)
    signers = [{u.signer for u in planned} for planned in plans.values()]
    assert [len(s) for s in signers] == [SIGNERS[split] for split in SPLITS]
    assert len(set.union(*signers)) == sum(map(len, signers))


def test_sentences_read_like_glosses_and_hold_every_sign_often(plans):
    assert len(SIGN_OF) == 24 and len(set(SIGN_OF.values())) == 24  # no two glosses are one sign
    kind = {gloss: name for name, glosses in SIGNS.items() for gloss in glosses}
    for planned in plans.values():
        for u in planned:
            glosses = u.text.split()
            assert 2 <= len(glosses) <= 6 and [kind[g] for g in glosses] in TEMPLATES
            assert len(set(glosses)) == len(glosses)
    train = [gloss for u in plans["train"] for gloss in u.text.split()]
    assert min(train.count(gloss) for gloss in SIGN_OF) >= 60
    test = {gloss for u in plans["test"] for gloss in u.text.split()}
    assert test == set(SIGN_OF) == set(synthetic_sign.glosses("anywhere", "x"))
    assert synthetic_sign.glosses("anywhere", "x") == sorted(SIGN_OF)


def test_the_test_set_does_not_depend_on_the_size_of_training(plans):
    assert plan("test", SIZES | {"train": 5}, 1234) == plans["test"]
    assert plan("valid", SIZES | {"train": 5}, 1234) == plans["valid"]
    assert plan("test", SIZES, 7) != plans["test"]


def test_a_grammar_that_runs_out_says_so(monkeypatch):
    monkeypatch.setattr(synthetic_sign, "TEMPLATES", [["time", "verb"]])
    assert len(sentences(12, random.Random(1))) == 12
    with pytest.raises(ValueError, match="no new sentence after 12 of 13; ask for fewer"):
        sentences(13, random.Random(1))


def test_bytes_depend_on_the_seed_alone(corpus, tmp_path):
    made = bytes_of(corpus)
    assert len(made) == 74
    list(utterances(tmp_path / "a", "signs", ("test", "train"), train=48, valid=10, test=16))
    again = bytes_of(tmp_path / "a")
    assert again == {name: digest for name, digest in made.items() if not name.startswith("valid")}
    list(utterances(tmp_path / "b", "signs", ("test",), seed=7, train=48, valid=10, test=16))
    assert not set(bytes_of(tmp_path / "b").values()) & set(made.values())


def test_a_second_call_makes_nothing_and_another_size_makes_it_again(corpus, capsys):
    before = {p: p.stat().st_mtime_ns for p in corpus.rglob("*") if p.is_file()}
    run(corpus)
    assert {p: p.stat().st_mtime_ns for p in corpus.rglob("*") if p.is_file()} == before
    assert "up to date" in capsys.readouterr().out
    run(corpus, train=50)
    assert "train was made with other settings" in capsys.readouterr().out
    assert len(list((corpus / "train").glob("*.npy"))) == 50
    assert all(p.stat().st_mtime_ns == before[p] for p in before if p.parent.name in ("valid", "test"))
    run(corpus)


def test_what_is_written_is_what_the_manifest_says(corpus):
    with open(corpus / "m" / "train.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    planned = plan("train", {"train": 48, "valid": 10, "test": 16}, 1234)
    assert [(r["ID"], r["speaker"], r["text"]) for r in rows] == [(u.ID, u.signer, u.text) for u in planned]
    lost = []
    for row in rows:
        raw = np.load(row["audio"])
        assert raw.dtype == np.float16 and raw.shape[1] == 144
        assert float(row["duration"]) == len(raw) / 25
        array = torch.from_numpy(read(row["audio"], ARMS).array)
        gone = missing(array)
        for hand in (slice(0, 21), slice(21, 42)):
            assert (gone[:, hand].all(dim=1) == gone[:, hand].any(dim=1)).all()
            lost.append(gone[:, hand.start].float().mean().item())
        assert not gone[:, 42:].any()
        assert 5 * len(row["text"].split()) < len(array) < 40 * len(row["text"].split()) + 60
        assert Landmarks(ARMS)(array).abs().max() < 5  # shoulder widths
    right, left = np.mean(lost[::2]), np.mean(lost[1::2])
    assert 0.05 < right < 0.35 and 0.3 < left < 0.9  # one-handed signs leave the left hand out of the picture


def still(**changes) -> Signer:
    """A signer as in the book: no habits, no noise, nothing lost, straight before the camera."""
    book = {
        "width": 200.0, "centre": np.array([250.0, 250.0]), "yaw": 0.0, "roll": 0.0, "reach": 1.0, "hand": 0.45,
        "tempo": 1.0, "extent": 1.0, "places": {name: np.zeros(3) for name in synthetic_signer.PLACES},
        "shapes": {name: np.zeros(6) for name in synthetic_signer.SHAPES}, "turn": np.zeros(3), "noise": 0.0,
        "habits": {gloss: np.zeros(12) for gloss in SIGN_OF},
        "losses": 0.0,
    }  # fmt: skip
    return Signer(**(book | changes))


def test_a_hand_has_the_shape_it_is_given():
    """Seen from the front and straight: an open hand reaches up by its length, a fist less than half of it."""

    def track(shape):
        return np.array([[0.0, 0.0, 0.0, *synthetic_signer.SHAPES[shape], 0.0, 0.0, 0.0]])

    flat, fist, index = (synthetic_signer._hand(track(shape), 0.5)[0] for shape in ("flat", "fist", "index"))
    tips = [4, 8, 12, 16, 20]
    assert flat[12, 1] == pytest.approx(-0.5 * (0.52 + 0.24 + 0.14 + 0.10)) and (flat[0] == 0).all()
    assert (fist[tips[1:], 1] > -0.35).all()
    assert index[8, 1] < -0.45 and (index[tips[2:], 1] > -0.35).all()
    assert flat[8, 0] > flat[20, 0]  # the index finger is on the thumb's side


def test_movements_go_where_their_names_say(monkeypatch):
    """The right wrist's way through NORD, SUED, OST and WEST, which differ in it alone."""
    ways = {}
    for gloss in ("NORD", "SUED", "OST", "WEST"):
        track, left = synthetic_signer._stroke(gloss, still(), np.random.default_rng(3))
        assert left is None
        ways[gloss] = track[-1, :3] - track[0, :3]
    assert ways["NORD"][1] < -0.3 and ways["SUED"][1] > 0.3 and ways["OST"][0] > 0.3 and ways["WEST"][0] < -0.3
    for gloss, still_axis in (("NORD", 0), ("SUED", 0), ("OST", 1), ("WEST", 1)):
        assert abs(ways[gloss][still_axis]) < 1e-9


def test_both_hands_of_a_two_handed_sign_mirror_each_other():
    array = synthetic_signer.sign("SCHNEE", still(), np.random.default_rng(5)).astype(float)
    both = array[(array[:, 0, 0] != 0) & (array[:, 21, 0] != 0)]
    assert len(both) > 8
    middle = (both[:, 42, :2] + both[:, 43, :2]) / 2  # mid-shoulder
    right, left = both[:, :21, :2] - middle[:, None], both[:, 21:42, :2] - middle[:, None]
    # each hand's place is off by 0.05 shoulder widths of 200 on its own
    assert np.abs(right * [-1, 1] - left).max() < 200 * 0.05 * 6
    one = synthetic_signer.sign("NORD", still(), np.random.default_rng(5))
    assert (one[:, 21:42] == 0).all()


@pytest.mark.parametrize(
    "changed, words",
    [({"splits": ("dev",)}, "splits: found 'dev'; local.synthetic_sign has"), ({"test": 0}, "test: found 0")],
)
def test_impossible_settings_are_named(tmp_path, changed, words):
    with pytest.raises(ValueError, match=words):
        list(utterances(tmp_path, **({"language": "x", "splits": ("test",)} | changed)))
