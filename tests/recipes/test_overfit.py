"""The overfit gate through train.py: it passes where a model can learn, and fails, with a reason, where it cannot."""

from pathlib import Path

import pytest

from .helpers import train

RUNS = {"whisper_ft": ("whisper_run", {"lr": "3e-3"}), "dutch_pretrain": ("ctc_run", {"lr": "3e-3"})}


def by_heart(yaml: str, request, **overrides) -> tuple[Path, object]:
    """Folder and process of `--overfit 2` on a tiny model."""
    fixture, own = RUNS[yaml]
    asked = {"overfit": "2", "max_updates": "400", "warmup": "10", "valid_every": "20", "save_every": "400"}
    asked = request.getfixturevalue(fixture) | asked | own | overrides
    folder = asked["output_folder"] if "output_folder" in asked else f"{asked['output_root']}/{yaml}_overfit2/1234"
    return Path(folder), train(asked, f"hparams/{yaml}.yaml")


@pytest.mark.parametrize("yaml", RUNS)
def test_gate_passes(yaml, request):
    folder, done = by_heart(yaml, request)
    assert done.returncode == 0, done.stdout[-1500:] + done.stderr[-1500:]
    assert "Overfit gate passed: WER 0 and loss" in done.stdout
    rows = (folder / "predictions_overfit_nl_best.csv").read_text(encoding="utf-8").splitlines()
    assert len(rows) == 3  # the head and the two utterances
    assert "Training on 2 utterances" in done.stdout


def test_the_gate_wins_over_a_preset_and_an_explicit_key_over_the_gate(request):
    folder, _ = by_heart("whisper_ft", request, preset="under_20h", weight_decay="0.03", max_updates="1")
    made = folder.joinpath("overrides.yaml").read_text(encoding="utf-8").splitlines()
    assert {"dropout: 0.0", "weight_decay: 0.03", "overfit: 2"} <= set(made)


def test_the_gate_has_nothing_to_remember(request):
    own = request.getfixturevalue("whisper_run") | {"overfit": "2", "max_updates": "1", "valid_every": "1"}
    done = train(own, "hparams/ewc_on_whisper.yaml")
    assert done.returncode == 1 and "Overfit gate FAILED" in done.stdout, done.stderr[-1500:]


def test_a_gate_that_cannot_be_passed_is_refused(request):
    folder, done = by_heart("whisper_ft", request, generation_length="3")
    assert done.returncode == 2 and "give --generation_length" in done.stderr, done.stderr[-1500:]
    assert "--overfit: 2 of its utterances have up to" in done.stderr and not list(folder.glob("predictions*"))


def test_gate_fails_at_rate_0(request):
    folder, done = by_heart("dutch_pretrain", request, lr="0", max_updates="20")
    assert done.returncode == 1, done.stderr[-1500:]
    assert "Overfit gate FAILED: WER 1" in done.stdout and "The rate was 0 in every update" in done.stdout
    assert (folder / "results.md").is_file()
    logged = [
        line for line in (folder / "train_log.txt").read_text(encoding="utf-8").splitlines() if "rate was 0" in line
    ]
    assert len(logged) == 1
