"""profiles.py: the values of every profile, what `auto` chooses, and what a wrong command line says."""

import pytest
import torch

from carryover.config import profiles
from carryover.config.settings import SettingsError

YAML = "hparams/whisper_ft.yaml"


@pytest.mark.parametrize(("name", "micro", "factor"), [("16GB", 2, 8), ("24GB", 4, 4), ("40GB", 8, 2), ("80GB", 16, 1)])
def test_values(name, micro, factor):
    assert profiles.overrides(name) == {"batch_size": str(micro), "grad_accumulation_factor": str(factor)}
    assert micro * factor == 16


def test_no_profile_changes_nothing():
    assert profiles.overrides(None) == {} and profiles.take([YAML, "--lr", "1"]) == (None, [YAML, "--lr", "1"])


@pytest.mark.parametrize(
    ("free", "micro"),
    [
        (14.4e9, 2),
        (15.83e9 - 0.4e9, 2),  # T4
        (23.67e9 - 0.5e9, 4),  # L4
        (21.6e9 - 1, 2),
        (21.6e9, 4),
        (42.3e9 - 0.5e9, 8),  # A100 of 40 GB
        (51e9, 8),  # A6000
        (84.9e9 - 0.5e9, 16),  # A100 of 80 GB
        (150e9, 16),
        (30e9, 4),  # an A100 of 80 GB of which another process holds 55
    ],
)
def test_auto_takes_the_largest_that_fits(free, micro):
    assert profiles.overrides("auto", int(free))["batch_size"] == str(micro)


def test_auto_asks_the_device(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (41_000_000_000, 85_000_000_000))
    assert profiles.overrides("auto") == {"batch_size": "8", "grad_accumulation_factor": "2"}  # free, not total


def test_auto_without_cuda_and_with_too_little(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SettingsError, match="--profile auto: this torch finds no CUDA device.*leave --profile out"):
        profiles.overrides("auto")
    with pytest.raises(SettingsError, match=r"9\.3 GB are free .*smallest profile 16GB needs 14\.4; .*nvidia-smi"):
        profiles.overrides("auto", 9_300_000_000)


@pytest.mark.parametrize(
    ("name", "near"),
    [("16gb", "16GB"), ("48GB", "40GB"), ("8GB", "16GB"), ("24", "24GB"), ("140GB", "80GB"), ("Auto", "auto")],
)
def test_an_unknown_name_gives_the_nearest_and_all(name, near):
    message = f"--profile {name}: unknown; did you mean {near}\\? Expected one of: 16GB, 24GB, 40GB, 80GB, auto"
    with pytest.raises(SettingsError, match=message):
        profiles.overrides(name)


def test_the_name_is_taken_out_of_the_command_line():
    assert profiles.take([YAML, "--profile", "24GB", "--lr", "1"]) == ("24GB", [YAML, "--lr", "1"])
    assert profiles.take([YAML, "--lr=1", "--profile=auto"]) == ("auto", [YAML, "--lr=1"])


@pytest.mark.parametrize("words", [["--profile"], ["--profile="], ["--profile", "--lr", "1"]])
def test_a_missing_name(words):
    with pytest.raises(SettingsError, match="--profile: a name is missing; one of: 16GB, 24GB, 40GB, 80GB, auto"):
        profiles.take([YAML, *words])


def test_contradictions():
    with pytest.raises(SettingsError, match=r"given 2 times \(16GB, 24GB\); give one"):
        profiles.take([YAML, "--profile", "16GB", "--profile=24GB"])
    for words in (["--batch_size", "4"], ["--grad_accumulation_factor=2"]):
        with pytest.raises(
            SettingsError, match="--profile 16GB and --(batch_size|grad_accum.*) contradict .* always 16"
        ):
            profiles.take([YAML, "--profile", "16GB", *words])
    profiles.take([YAML, *words])  # without a profile they are the user's
    profiles.take([YAML, "--profile", "16GB", "--eval_batch_size", "4"])
