"""Replay: what is drawn and written, and what is refused before anything else is made."""

import csv
from pathlib import Path

import pytest

from carryover.config import presets
from carryover.forgetting import replay

HPARAMS = Path(__file__).parents[2] / "hparams"
ADAPTATION = (HPARAMS / "german_adaptation.yaml").read_text(encoding="utf-8")


def manifest(folder: Path, language: str, n: int) -> Path:
    """A training manifest of n rows with IDs from 0."""
    folder.mkdir()
    with open(folder / "train.csv", "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("ID", "language"), *((i, language) for i in range(n))])
    return folder / "train.csv"


@pytest.mark.parametrize("share, kept", [(0.01, 1), (0.1, 2), (1.0, 20)])
def test_a_share_of_the_old_utterances_stands_beside_the_new_ones(tmp_path, share, kept):
    new, old = manifest(tmp_path / "de", "de", 5), manifest(tmp_path / "nl", "nl", 20)
    path = replay.Replay(share).mix(new, old)
    IDs = [row["ID"] for row in csv.DictReader(open(path, encoding="utf-8"))]
    assert IDs[:5] == [f"de-{i}" for i in range(5)] and len(set(IDs)) == 5 + kept
    assert set(IDs[5:]) <= {f"nl-{i}" for i in range(20)}
    assert replay.NoReplay().mix(new, old) == new


@pytest.mark.parametrize("preset", ["replay", "replay_ewc", "joint"])
@pytest.mark.parametrize(
    "overrides, found",
    [
        ({"old_splits": "[valid, test]"}, r"old_language: nl, old_splits: \['valid', 'test'\]"),
        ({"old_splits": "null"}, r"old_language: nl, old_splits: \[\]"),
        ({"old_language": "null"}, r"old_language: null, old_splits: \['train', 'valid', 'test'\]"),
    ],
)
def test_nothing_to_repeat_is_refused_before_anything_else_is_made(preset, overrides, found):
    """The YAML's model is not there: nothing but the replay is made."""
    with pytest.raises(ValueError, match=f"^replay has nothing to repeat .{found}.; set old_language .* train, or"):
        replay.check(ADAPTATION, presets.apply([preset], presets.scalars(ADAPTATION)) | overrides)


@pytest.mark.parametrize("path", sorted(HPARAMS.rglob("*.yaml")), ids=lambda path: path.stem)
def test_what_a_yaml_says_is_not_refused(path):
    replay.check(path.read_text(encoding="utf-8"), {})


def test_without_replay_the_old_language_need_not_be_there():
    replay.check(ADAPTATION, {"old_language": "null", "old_splits": "[]"})
