"""Noise and rooms in a run: the YAML's own lines without their comment signs; a resume hears the same noise."""

import re
import shutil

import pytest

from tests.unit import corpora

from .helpers import ROOT, events
from .test_resume import SHORT, checkpoints, fit, require_equal


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
        if update > 3:
            shutil.rmtree(path)
    fit(overrides | {"output_folder": str(part), "augmentation": augmented}, "whisper_ft")
    require_equal(part, tmp_path / "whole")


def test_each_yaml_that_augments_names_noise_and_rooms():
    for path in sorted((ROOT / "hparams").glob("*.yaml")):
        text = path.read_text(encoding="utf-8")
        if "speechbrain.augment.augmenter.Augmenter" in text:
            assert text.count("# - !new:carryover.data.noise.") == 2, path
