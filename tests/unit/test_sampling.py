"""Sampling: metadata first, a sample that a seed fixes, then audio; and all counts."""

import csv
import functools
import hashlib
import io
import random
from pathlib import Path

import numpy as np
import pytest
import soundfile

from carryover.config import settings
from carryover.data import Limits, MetadataLimits, Utterance
from carryover.data.manifest import read_done
from carryover.data.preparation import prepare
from carryover.data.sampling import draw
from carryover.data.utterance import SPLITS
from local import common_voice, table

SECONDS = 0.02


class Asked(Limits):
    """Limits that remember what they were asked and what was opened; one text is refused, and a second of audio."""

    def __init__(self):
        self.metadata_of, self.recording_of, self.opened = [], [], []

    def inspect(self, utterance):
        self.opened.append(utterance.audio)
        return super().inspect(utterance)

    def metadata(self, utterance):
        if not utterance.duration:
            self.metadata_of.append(utterance)
        return "label is too long: 9" if utterance.text == "Zin 20." else None

    def recording(self, utterance):
        self.recording_of.append(utterance)
        return "audio is too long" if utterance.duration > 1 else None


def build(utterances, folder, limits=None, **how):
    """The manifests of a corpus that lists these utterances."""
    splits = list(dict.fromkeys(u.split for u in utterances))
    return prepare(lambda *_: utterances, "x", folder, "nl", splits, limits or Limits(), **how)


@functools.cache
def sound():
    file = io.BytesIO()
    soundfile.write(file, 0.1 * np.random.default_rng(7).standard_normal(round(SECONDS * 16000)), 16000, format="WAV")
    return file.getvalue()


def wav(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(sound())
    return path


def listed(n, split="train", folder="clips"):
    return [
        Utterance(f"{split}{i:03d}", f"{folder}/{split}{i:03d}.wav", "nl", "", f"Zin {i}.", split) for i in range(n)
    ]


def read(path):
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def utterances(tmp_path):
    """40 of train, 6 of valid; of train 10 have no text, 5 hold a foreign letter, and every third file is not audio."""
    made = listed(40, folder=tmp_path / "clips") + listed(6, "valid", tmp_path / "clips")
    rows = []
    for u in made:
        i, audio = int(u.ID[-3:]), wav(tmp_path / "clips" / f"{u.ID}.wav")
        text = u.text
        if u.split == "train":
            text = " " if i < 10 else f"Señor {i}." if i < 15 else text
            if i % 3 == 0:
                audio.write_text("not audio")
        rows.append(Utterance(u.ID, str(audio), "nl", "", text, u.split))
    return rows


letters = MetadataLimits(alphabet="abcdefghijklmnopqrstuvwxyz")


# ---- which ones ----


def test_sample_is_fixed_by_its_seed_and_not_by_the_order():
    all_ = listed(200) + listed(50, "valid")
    first = draw(all_, {"train": 80}, 42)
    assert [u for u in all_ if u in first] == first  # the corpus's order stays
    assert len(first) == 80 + 50 and sum(u.split == "valid" for u in first) == 50
    shuffled = list(all_)
    random.Random(3).shuffle(shuffled)
    assert shuffled != all_ and set(draw(shuffled, {"train": 80}, 42)) == set(first)
    # golden: another choice would be another data set under the name of the same seed
    assert [u.ID for u in draw(all_, {"train": 5, "valid": 2}, 42)] == [
        "train020", "train028", "train029", "train177", "train191", "valid003", "valid036",
    ]  # fmt: skip
    other = draw(all_, {"train": 80}, 43)
    common = len({u.ID for u in other if u.split == "train"} & {u.ID for u in first})
    assert 15 <= common <= 50  # 80 * 80 / 200 = 32 expected


def test_a_larger_sample_holds_the_smaller_and_a_new_clip_changes_one():
    all_ = listed(300)
    small, large = ({u.ID for u in draw(all_, {"train": n}, 42)} for n in (50, 120))
    assert small < large and len(large) == 120
    for new in (Utterance(f"new{i}", "n.wav", "nl", "", "Ja.", "train") for i in range(20)):
        assert len(small - {u.ID for u in draw([new, *all_], {"train": 50}, 42)}) <= 1


def test_every_utterance_is_as_likely():
    hits = np.zeros(40)
    for seed in range(500):
        for u in draw(listed(40), {"train": 10}, seed):
            hits[int(u.ID[-3:])] += 1
    # 500 draws with p = 1/4: mean 125, standard deviation 9.7
    assert hits.sum() == 5000 and np.abs(hits - 125).max() < 5 * 9.7


# ---- the steps ----


def test_counts_of_every_step(utterances, tmp_path, capsys):
    counts = build(utterances, tmp_path / "out", sample=12, metadata_limits=letters)
    done, kept = read_done(tmp_path / "out"), read(tmp_path / "out/train.csv")
    drawn = {u.ID for u in draw([u for u in utterances[15:40]], {"train": 12}, 42)}
    valid = [ID for ID in sorted(drawn) if int(ID[-3:]) % 3]
    assert 0 < len(valid) < 12
    assert done["steps"] == {
        "available": {"train": 40, "valid": 6},
        "passed the metadata": {"train": 25, "valid": 6},
        "sampled": {"train": 12, "valid": 6},
        "valid audio": {"train": len(valid), "valid": 6},
    }
    assert [row["ID"] for row in kept] == valid
    assert counts == {"train": len(valid), "valid": 6, "rejected": 15 + 12 - len(valid), "not_sampled": 13}
    assert sum(counts.values()) == 46
    assert (tmp_path / "out/counts.md").read_text().splitlines() == [
        "| step | train | valid |",
        "| --- | ---: | ---: |",
        "| available | 40 | 6 |",
        "| passed the metadata | 25 | 6 |",
        "| sampled | 12 | 6 |",
        f"| valid audio | {len(valid)} | 6 |",
        "",
        "Utterances left after each step. A sample was asked for: 12 of train, seed 42. "
        "Valid audio: decoded to its end, and accepted by the recipe.",
    ]
    assert "sampled {'train': 12} of {'train': 40} with seed 42" in capsys.readouterr().out


def test_rejected_has_the_metadata_reasons_and_not_the_rest_of_the_corpus(utterances, tmp_path):
    build(utterances, tmp_path / "out", sample=12, metadata_limits=letters)
    reasons = {row["ID"]: row["reason"] for row in read(tmp_path / "out/rejected.csv")}
    assert all(reasons[f"train{i:03d}"] == "transcript is empty" for i in range(10))
    assert all(reasons[f"train{i:03d}"] == "transcript has letters outside the alphabet: ñ" for i in range(10, 15))
    drawn = {u.ID for u in draw(utterances[15:40], {"train": 12}, 42)}
    assert {ID for ID in reasons if int(ID[-3:]) >= 15} == {ID for ID in drawn if int(ID[-3:]) % 3 == 0}
    assert list(reasons) == sorted(reasons)  # in the corpus's order
    assert read_done(tmp_path / "out")["rejected"]["transcript has letters outside the alphabet"] == 5


def test_audio_outside_the_sample_is_never_opened(utterances, tmp_path):
    limits, sample = Asked(), {"train": 7, "valid": 2}
    build(utterances, tmp_path / "out", limits, sample=sample, metadata_limits=letters)
    expected = draw([u for u in utterances[15:] if u.text != "Zin 20."], sample, 42)
    assert sorted(limits.opened) == sorted(u.audio for u in expected) and len(expected) == 9
    valid = [u.ID for u in expected if u.split == "valid" or int(u.ID[-3:]) % 3]
    assert [u.ID for u in limits.recording_of] == valid  # asked of what has audio, and of nothing that was not drawn


def test_nothing_changes_without_sample_and_metadata(utterances, tmp_path):
    for u in utterances:
        wav(tmp_path / "clips" / f"{u.ID}.wav")
    good = [u for u in utterances if u.text.strip()]
    out = tmp_path / "out"
    counts = build(good, out)
    done = read_done(out)
    assert counts == done["counts"] == {"train": 30, "valid": 6, "rejected": 0}
    rows = ((u.split, u.ID, hashlib.sha256(Path(u.audio).read_bytes()).hexdigest(), u.text) for u in good)
    assert done["digest"] == hashlib.sha256("".join("\t".join(row) + "\n" for row in rows).encode()).hexdigest()
    assert "sample" not in done["settings"] and done["settings"]["limits"] == [{"limits": "Limits"}]
    steps = list(done["steps"].values())
    assert steps == [{"train": 30, "valid": 6}] * 4
    assert "No sample was asked for." in (out / "counts.md").read_text()


def test_all_are_used_where_there_are_fewer(utterances, tmp_path):
    counts = build(utterances, tmp_path / "out", sample=10**6)
    assert counts["not_sampled"] == 0 and read_done(tmp_path / "out")["steps"]["sampled"]["train"] == 30


# ---- checks that need no audio ----


def test_limits_are_asked_of_the_metadata_before_audio_is_opened(utterances, tmp_path):
    limits = Asked()
    build(utterances, tmp_path / "out", limits, sample=20, metadata_limits=letters)
    # only what the other limits let pass, and nothing measured yet
    assert [u.ID for u in limits.metadata_of] == [u.ID for u in utterances[15:]]
    assert {u.duration for u in limits.metadata_of} == {0.0} and {u.duration for u in limits.recording_of} == {SECONDS}
    assert read_done(tmp_path / "out")["steps"]["passed the metadata"]["train"] == 24
    rows = {row["ID"]: row["reason"] for row in read(tmp_path / "out/rejected.csv")}
    assert rows["train020"] == "label is too long: 9"


@pytest.mark.parametrize(
    ("limits", "text", "votes", "reason"),
    [
        ({}, "Iets.", None, None),
        ({"min_characters": 5}, "Iets.", None, None),
        ({"min_characters": 6}, "Iets.", None, "transcript is shorter than 6 characters: 5"),
        ({"max_characters": 5}, "Iets.", None, None),
        ({"max_characters": 4}, "Iets.", None, "transcript is longer than 4 characters: 5"),
        ({"alphabet": "abcdé"}, "Abc, 12 CDÉ!", None, None),
        ({"alphabet": "abcdé"}, "Abc, cde\N{COMBINING ACUTE ACCENT}", None, None),  # the same letter in two characters
        ({"alphabet": "abcd"}, "Zé, ABCD", None, "transcript has letters outside the alphabet: z é"),
        ({"min_up_votes": 2}, "Iets.", (2, 0), None),
        ({"min_up_votes": 3}, "Iets.", (2, 0), "fewer than 3 up-votes: 2"),
        ({"max_down_votes": 1}, "Iets.", (2, 1), None),
        ({"max_down_votes": 0}, "Iets.", (2, 1), "more than 0 down-votes: 1"),
        ({"max_down_votes": 0}, "Iets.", None, "no votes are listed"),
    ],
)
def test_metadata_limits(limits, text, votes, reason):
    utterance = Utterance("a", "a.wav", "nl", "", text, "train", votes=votes)
    assert MetadataLimits(**limits)(utterance) == reason


# ---- the marker ----


def test_another_sample_seed_or_limit_is_made_anew(utterances, tmp_path, capsys):
    out = tmp_path / "out"

    def run(**how):
        build(utterances, out, **how)
        return "up to date" not in capsys.readouterr().out

    assert run(sample=12)
    assert not run(sample=12) and not run(sample={"train": 12})
    assert run(sample=13) and run(sample=13, sample_seed=1) and run(sample=13, sample_seed=1, metadata_limits=letters)
    limits = MetadataLimits(alphabet="abcdefghijklmnopqrstuvwxyz")  # equal, but another object
    assert not run(sample=13, sample_seed=1, metadata_limits=limits)
    assert run(sample=13, sample_seed=1, metadata_limits=MetadataLimits(max_characters=7))
    settings = read_done(out)["settings"]
    assert (settings["sample"], settings["sample_seed"]) == ({"train": 13}, 1)
    assert run() and not run(sample_seed=99)  # without a sample its seed decides nothing


@pytest.mark.parametrize(
    ("sample", "message"),
    [
        (0, "sample: 0 utterances of split 'train' cannot be drawn; expected a whole number above 0, e.g. 150000"),
        (1.5e5, r"sample: 150000\.0 utterances of split 'train'"),
        ("many", "sample: 'many' utterances of split 'train'"),
        (True, "sample: True utterances"),
        ({"valid": -1}, "sample: -1 utterances of split 'valid'"),
        ({"dev": 10}, "sample: there is no split 'dev'; expected test, train, valid; a number alone is for train"),
    ],
)
def test_a_sample_that_cannot_be_meant(tmp_path, sample, message):
    with pytest.raises(ValueError, match=message):
        build(listed(2) + listed(2, "valid"), tmp_path / "out", sample=sample)
    assert not (tmp_path / "out").exists()


# ---- through the corpora and the YAML ----


@pytest.fixture
def common_voice_folder(tmp_path):
    """12 clips of train, 3 of dev and test; every fourth has a down-vote."""
    root = tmp_path / "cv" / "nl"
    for name, n in (("train", 12), ("dev", 3), ("test", 3)):
        rows = ["client_id\tpath\tsentence\tup_votes\tdown_votes\tlocale"]
        for i in range(n):
            wav(root / "clips" / f"{name}{i}.wav")
            rows.append(f"s{i}\t{name}{i}.wav\tZin {i}.\t2\t{int(i % 4 == 3)}\tnl")
        (root / f"{name}.tsv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return root


def test_common_voice_from_a_yaml(common_voice_folder, tmp_path):
    found = settings.load(
        "corpus: !name:local.common_voice.utterances\nsample: 5\nsample_seed: 7\n"
        "metadata_limits: !new:carryover.data.MetadataLimits {max_down_votes: 0}\n",
        {},
    )
    keys = {key: found[key] for key in ("sample", "sample_seed", "metadata_limits")}

    def make(name, splits):
        return prepare(found["corpus"], common_voice_folder, tmp_path / name, "nl", splits, Limits(), **keys)

    assert make("a", SPLITS) == {"train": 5, "valid": 3, "test": 3, "rejected": 3, "not_sampled": 4}
    assert {row["reason"] for row in read(tmp_path / "a/rejected.csv")} == {"more than 0 down-votes: 1"}
    # as for the old language: the test set alone, for which no sample was asked
    assert make("b", ["test"]) == {"test": 3, "rejected": 0}


def test_a_vote_that_changed_is_seen(common_voice_folder, tmp_path):
    def run():
        limits = {"metadata_limits": MetadataLimits(max_down_votes=0)}
        where = common_voice_folder, tmp_path / "out"
        return prepare(common_voice.utterances, *where, "nl", ["train"], Limits(), **limits)

    assert run() == {"train": 9, "rejected": 3}
    path = common_voice_folder / "train.tsv"
    path.write_text(path.read_text().replace("train3.wav\tZin 3.\t2\t1", "train3.wav\tZin 3.\t2\t0"))
    assert run() == {"train": 10, "rejected": 2}


def test_a_list_of_ones_own(common_voice_folder, tmp_path):
    rows = (common_voice_folder / "train.tsv").read_text().replace("train", "clips/train")
    (common_voice_folder / "train.tsv").write_text(rows)
    drawn = {"sample": {"train": 4}, "metadata_limits": MetadataLimits(max_down_votes=0)}
    where = common_voice_folder, tmp_path / "out"
    counts = prepare(table.utterances, *where, "nl", ["train"], Limits(), **drawn)
    assert counts == {"train": 4, "rejected": 3, "not_sampled": 5}
