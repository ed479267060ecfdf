"""Noise and rooms in a run: the YAML's own lines without their comment signs; a resume hears the same noise."""

import re
import shutil

import pytest

from carryover.training import kept_checkpoints
from tests.unit import corpora

from .four_recipes import SHORT
from .helpers import ROOT, events
from .test_resume import checkpoints, fit, require_equal


@pytest.fixture
def augmented(tmp_path):
    """The augmentation of hparams/whisper_ft.yaml with its lines of noise and rooms, as YAML text."""
    corpora.clip(tmp_path / "noise" / "a.wav", 1.0, seed=1)
    corpora.clip(tmp_path / "rooms" / "b.wav", 0.1, seed=2)
    text = (ROOT / "hparams" / "whisper_ft.yaml").read_text(encoding="utf-8")
    text = text[text.index("\naugmentation: ") + len("\naugmentation: ") :]
    text, n = re.subn(r"# (- !new:carryover\.data\.noise)", r"\1", text)
    assert n == 2
    text = text.replace("/data/musan/noise", str(tmp_path / "noise"))
    text = text.replace("/data/RIRS_NOISES/simulated_rirs", str(tmp_path / "rooms"))
    return text.replace("max_augmentations: 3", "max_augmentations: 5")


def test_noise_in_a_run_and_its_resume(augmented, tmp_path, tiny_whisper, small_corpus):
    overrides = SHORT | {
        "corpus": "!name:local.table.utterances", "data_folder": str(small_corpus), "language": "nl",
        "model": str(tiny_whisper), "old_language": "null", "generation_length": "12", "augment_prob": "1.0",
        "max_updates": "4",
    }  # fmt: skip
    quiet = fit(overrides | {"output_folder": str(tmp_path / "quiet")}, "whisper_ft")
    brain = fit(overrides | {"output_folder": str(tmp_path / "whole"), "augmentation": augmented}, "whisper_ft")
    names = [type(one).__name__ for one in brain.hparams.augmentation.augmentations.values()]
    assert names == ["SpeedPerturb", "DropFreq", "DropChunk", "Noise", "Rooms"]
    losses = [[e["loss"] for e in events(tmp_path / name) if e["event"] == "train"] for name in ("quiet", "whole")]
    assert losses[0] != losses[1] and quiet.hparams.augmentation.max_augmentations == 3

    part = tmp_path / "part"
    (tmp_path / "whole").rename(part)
    fit(overrides | {"output_folder": str(tmp_path / "whole"), "augmentation": augmented}, "whisper_ft")
    for update, path in checkpoints(part).items():
        if update > 2:
            shutil.rmtree(path)
    (part / "save" / kept_checkpoints.NAME).unlink()  # or it would tell that they are gone
    fit(overrides | {"output_folder": str(part), "augmentation": augmented}, "whisper_ft")
    require_equal(part, tmp_path / "whole")


def test_clips_without_words_are_learned_with_an_empty_transcript(tmp_path, tiny_whisper, small_corpus):
    corpora.clip(tmp_path / "noise" / "a.wav", 5.5, seed=1)
    corpora.clip(tmp_path / "noise" / "b.flac", 1.0, seed=2)
    mixed = (
        "!name:local.mixed.utterances {corpora: [{name: speech, corpus: !name:local.table.utterances }, {name: noise, "
        f"corpus: !name:local.noise.utterances {{seconds: 2.0}}, data_folder: {tmp_path / 'noise'}}}]}}"
    )
    overrides = SHORT | {
        "corpus": mixed, "data_folder": str(small_corpus), "language": "nl", "model": str(tiny_whisper),
        "old_language": "null", "generation_length": "12", "batch_size": "2", "output_folder": str(tmp_path / "run"),
    }  # fmt: skip
    brain = fit(overrides, "whisper_ft")
    rows = brain.rows(tmp_path / "run" / "manifests" / "nl" / "train.csv")
    noise = {ID: row["duration"] for ID, row in rows.items() if not row["text"]}
    assert noise == {"noise-a-0000": 2.0, "noise-a-0001": 2.0, "noise-a-0002": 1.5, "noise-b-0000": 1.0}
    assert len(rows) == 28 + 4
    found = brain.dataset(rows, [brain.recording(), brain.target()])
    tokens = brain.hparams.tokenizer
    [silent] = [item for item in found if item["id"] == "noise-b-0000"]
    assert silent["tokens"].tolist() == tokens.encode("", "nl") and len(silent["tokens"]) == tokens.prompt_length + 1
    assert all(e["loss"] > 0 for e in events(tmp_path / "run") if e["event"] == "train")


def test_each_yaml_that_augments_names_noise_and_rooms():
    for path in sorted((ROOT / "hparams").glob("*.yaml")):
        text = path.read_text(encoding="utf-8")
        if "speechbrain.augment.augmenter.Augmenter" in text:
            assert text.count("# - !new:carryover.data.noise.") == 2, path
