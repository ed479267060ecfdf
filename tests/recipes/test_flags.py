"""Red flags while a recipe trains: in metrics.jsonl, on the screen, and over a stop."""

import json
import shutil
from collections import Counter
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from carryover.runs.flags import find, told
from recipes.whisper import WhisperBrain

from .helpers import make_brain, train
from .test_whisper_training import stop_at

CONSTANT = {"lr_schedule": "constant", "warmup": "0", "max_updates": "12", "valid_every": "6"}
# six validation clips of one to three words are few, and every run on them says so
FEW = "red flag (small set): valid nl has 6 utterances and "


def fit(overrides, until: int | None = None):
    """Train from a YAML under overrides, to a stop at an update if one is given; returns the brain."""
    brain, _, manifests = make_brain(overrides, saves=True)
    kwargs = {"train_loader_kwargs": {"batch_size": 4}, "valid_loader_kwargs": {"batch_size": 4}}
    sets = brain.read(manifests / "train.csv"), brain.read(manifests / "valid.csv")
    if until is None:
        brain.fit(range(1, 2), *sets, **kwargs)
        return brain
    stop_at(brain, until)
    with pytest.raises(KeyboardInterrupt):
        brain.fit(range(1, 2), *sets, **kwargs)
    return brain


def said(brain) -> dict[str, int]:
    """Update of each kind of flag in metrics.jsonl; none is there twice."""
    found = [e for e in brain.run_log.metrics.events() if e["event"] == "flag"]
    assert max(Counter(e["kind"] for e in found).values()) == 1
    return {e["kind"]: e["update"] for e in found}


def test_a_healthy_run_is_silent(whisper_run, capsys):
    brain = fit(whisper_run | CONSTANT | {"lr": "1.0e-3"})
    lines = [line for line in capsys.readouterr().out.splitlines() if "red flag" in line]
    assert said(brain) == {"small set": 6} and len(lines) == 1 and lines[0].startswith(FEW)


@pytest.mark.parametrize("state", ["healthy", "unwritable", "sick"])
def test_a_test_set_that_lost_clips_is_flagged_and_the_table_says_so(ctc_run, tmp_path, state):
    """Two recordings that cannot be read; sentences with a digit, which the alphabet has not, stay and count."""
    data = shutil.copytree(ctc_run["data_folder"], tmp_path / "data")
    lines = (data / "manifest.tsv").read_text(encoding="utf-8").splitlines()
    for number in [number for number, line in enumerate(lines) if line.endswith("\ttest")][:2]:
        if state == "unwritable":
            lines[number] = lines[number].removesuffix("\ttest") + " 42\ttest"
        elif state == "sick":
            (data / lines[number].split("\t")[0]).write_text("no audio")
    (data / "manifest.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    folder, sick = tmp_path / "run", state == "sick"
    own = {"data_folder": str(data), "max_updates": "1", "warmup": "1", "from_scratch": "True"}
    done = train(ctc_run | own | {"output_folder": str(folder)}, "hparams/dutch_pretrain.yaml")
    assert done.returncode == 0, done.stderr
    events = list(map(json.loads, (folder / "metrics.jsonl").read_text().splitlines()))
    tested = [e for e in events if e["event"] == "test"][-1]
    assert tested["utterances"] == (4 if sick else 6)
    assert ("test set incomplete" in [e.get("kind") for e in events]) is sick
    assert ("red flag (test set incomplete): test_nl: 2 of 6 listed utterances" in done.stdout) is sick
    assert ("2 of 6 listed utterances are refused" in (folder / "results.md").read_text()) is sick


def test_a_rate_of_zero_is_said_at_once(whisper_run, capsys):
    brain = fit(whisper_run | CONSTANT | {"lr": "0.0"})
    assert said(brain) == {"rate zero": 1, "small set": 6}
    assert "red flag (rate zero): lr 0 at update 1; " in capsys.readouterr().out
    assert "red flag (rate zero)" in (Path(brain.hparams.output_folder) / "train_log.txt").read_text()


def test_a_decoder_that_loops_is_said_at_any_wer(whisper_run, monkeypatch, capsys):
    monkeypatch.setattr(WhisperBrain, "transcribe", lambda self, output, batch, stage: ["hahahahaha"] * len(batch))
    brain = fit(whisper_run | CONSTANT | {"lr": "1.0e-3", "max_updates": "6", "valid_every": "2"})
    assert said(brain) == {"small set": 2, "loops": 6}, "one word for another: WER 100, and no more"
    assert "red flag (loops): valid nl: 6 of 6 hypotheses say one thing" in capsys.readouterr().out


def test_a_diverging_run_says_so_once_stopped_in_between_or_not(whisper_run, capsys):
    overrides = whisper_run | CONSTANT | {"lr": "30.0", "max_grad_norm": "0", "augment_prob": "0.0", "save_every": "1"}
    unbroken = fit(overrides | {"output_folder": whisper_run["output_folder"] + "_unbroken"})
    assert said(unbroken)["rate too high"] == 1, "10 x what is usual for a Whisper of this size is 0.02"
    update = said(unbroken)["divergence"]
    assert 3 <= update < 12
    screen = capsys.readouterr().out
    assert screen.count("red flag (divergence): train loss ") == 1 and "x its lowest" in screen
    broken = fit(overrides, until=update + 1)
    assert said(broken)["divergence"] == update
    resumed = fit(overrides)
    assert resumed.update == 12 and said(resumed) == said(unbroken)
    assert "Resuming from" in (screen := capsys.readouterr().out) and screen.count("red flag (divergence)") == 1


def test_the_log_of_a_run_says_again_what_the_run_said(whisper_run):
    done = train(whisper_run | {"warmup": "0.5", "lr_schedule": "linear"})
    assert done.returncode == 0, done.stderr[-2000:]
    folder = Path(whisper_run["output_folder"])
    events = [json.loads(line) for line in (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    first, *written = [e for e in events if e["event"] == "flag"]
    # before the first update: the small corpus has the same three speakers in every split
    assert (first["kind"], first["update"]) == ("speakers in training", 0) and "3 of 3 speakers" in first["message"]
    settings = {}
    for name in ("as_written.yaml", "overrides.yaml"):
        settings |= YAML().load((folder / name).read_text(encoding="utf-8")) or {}
    again = find(events, **told(settings))
    assert [(f.kind, f.update, f.line) for f in again] == [(e["kind"], e["update"], e["message"]) for e in written]
    assert "small set" in {f.kind for f in again}
    assert all(e["message"] in done.stdout for e in [first, *written])
