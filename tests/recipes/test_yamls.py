"""Every YAML of hparams/: its names exist, nothing in it is idle, siblings agree, first losses are the recorded ones.

What `*_real.yaml` do, which need a corpus and a model that the repository does not hold: test_real_yamls.py.
"""

import json
import re
from dataclasses import fields
from pathlib import Path
from pydoc import locate

import pytest
from ruamel.yaml import YAML
from speechbrain.utils.run_opts import RunOptions

from carryover.config import settings

from .helpers import EMBEDDED, ROOT, YAMLS, first_ten_losses, train

GOLDEN = json.loads((ROOT / "tests" / "regression" / "golden_losses.json").read_text())
EXPECTED = 16
# Keys of what another corpus and another machine ask for.
REAL = {
    "corpus", "data_folder", "language", "output_folder", "precision", "num_workers", "workers", "eval_batch_size",
    "lr",
}  # fmt: skip
# Siblings and the keys in which they may differ; everything else is held together.
SIBLINGS = {
    ("whisper_ft", "whisper_starter"): {
        "from_scratch", "language", "old_language", "old_data_folder", "lr", "warmup", "max_updates",
        "log_every", "valid_every", "save_every", "output_folder", "early_stopping_patience", "test_before",
        "augment_prob", "augmentation", "train",
    },
    ("whisper_ft", "ewc_on_whisper"): {"old_splits", "lambda", "fisher_samples", "forgetting", "output_folder"},
    ("dutch_pretrain", "german_adaptation"): {
        "run_first", "model", "from_scratch", "language", "alphabet", "old_language", "old_data_folder", "old_splits",
        "lr",
        "warmup", "max_updates", "epochs", "valid_every", "save_every", "lambda", "fisher_samples", "pretrain_seed",
        "output_folder", "test_before", "batch_size", "mask_time_prob", "augment_prob",
    },
    ("speech_llm_whisper", "speech_llm_hubert"): {"encoder", "frames", "run_first", "output_folder", "pretrain_seed"},
    ("speech_llm_whisper", "speech_llm_multitask"): {
        "old_data_folder", "old_language", "old_splits", "output_folder", "forgetting", "tasks",
    },
    ("sign_overfit", "sign_teacher"): {
        "lr", "weight_decay", "dropout", "warmup", "epochs", "batch_size", "grad_accumulation_factor", "log_every",
        "valid_every", "save_every", "early_stopping_patience", "overfit", "augmentation", "augment_prob",
        "output_folder",
    },
    ("sign_teacher", "sign_student"): {
        "run_first", "teacher", "pretrain_seed", "d_model", "layers", "d_ffn", "heads", "dropout", "loss_weights",
        "temperature", "distillation", "output_folder", "keep_states", "kept",
    },
    ("whisper_ft", "whisper_real"): REAL | {
        "model", "old_language", "old_data_folder", "train", "lr_schedule", "warmup", "max_updates", "batch_size",
        "grad_accumulation_factor", "valid_every", "target_text", "log_every", "save_every", "generation_length",
        "loss_weights", "augment_prob", "fisher_samples", "ctc",
    },
    ("dutch_pretrain", "ctc_real"): REAL | {
        "model", "from_scratch", "alphabet", "warmup", "weight_decay", "dropout", "max_updates", "batch_size",
        "valid_every", "seed", "layerdrop", "log_every", "save_every", "sample", "fisher_samples",
    },
    ("german_adaptation", "ctc_real_adaptation"): REAL | {
        "run_first", "model", "alphabet", "old_language", "old_data_folder", "warmup", "weight_decay", "dropout",
        "max_updates", "batch_size", "grad_accumulation_factor", "valid_every", "fisher_samples", "seed", "layerdrop",
        "log_every", "save_every", "sample",
    },
    ("ctc_real", "ctc_real_adaptation"): {
        "model", "lr", "dropout", "batch_size", "grad_accumulation_factor", "output_folder", "old_splits", "epochs",
        "mask_time_prob", "augment_prob", "test_before", "run_first", "pretrain_seed",
    },
    ("speech_llm_whisper", "speech_llm_real"): REAL | {
        "encoder", "encoder_revision", "encoder_dtype", "language_model", "language_model_revision",
        "language_model_dtype", "system_prompt", "prompt", "template_options", "max_eval_samples", "hidden", "warmup",
        "max_updates", "batch_size", "grad_accumulation_factor", "target_text", "weight_decay", "tokens_per_second",
        "max_seconds",
    },
    ("sign_teacher", "sign_real"): REAL | {
        "glosses", "layout", "d_model", "layers", "heads", "d_ffn", "epochs", "seed",
    },
}  # fmt: skip


def test_number_of_yamls():
    assert len(YAMLS) == EXPECTED, (
        "a YAML came or went: give it golden losses, a row in README and a place in this test"
    )
    assert {path.stem for path in EMBEDDED} == set(GOLDEN)


@pytest.mark.parametrize("path", YAMLS, ids=lambda p: p.stem)
def test_no_key_is_idle(path):
    """A key is read by a reference in the YAML, by hparams in the code, or by SpeechBrain as a run option."""
    text = re.sub(r"(?m)(^|\s)#.*", "", path.read_text(encoding="utf-8"))
    sources = [ROOT / "train.py", *(ROOT / "recipes").glob("*.py"), *(ROOT / "carryover").rglob("*.py")]
    code = "\n".join(source.read_text(encoding="utf-8") for source in sources)
    read = set(re.findall(r"!ref [^#\n]*?<(\w+)", text)) | set(re.findall(r"<(\w+)>", text))
    read |= set(re.findall(r"<(\w+)>", (ROOT / "carryover" / "config" / "presets.yaml").read_text(encoding="utf-8")))
    read |= set(re.findall(r"hparams\.(\w+)", code)) | set(re.findall(r"hparams\[\"(\w+)\"\]", code))
    read |= set(re.findall(r"values(?:\.get\(|\[)\"(\w+)\"", code)) | {field.name for field in fields(RunOptions)}
    idle = [key for key in settings.top_level_keys(str(path)) if key not in read]
    assert not idle, f"{path.name}: nothing reads {idle}"


@pytest.mark.parametrize("path", YAMLS, ids=lambda p: p.stem)
def test_every_class_and_function_is_there(path, monkeypatch):
    """Those of comments, too: they are what a user puts in."""
    monkeypatch.syspath_prepend(str(ROOT))
    text = path.read_text(encoding="utf-8")
    names = set(re.findall(r"!(?:new|name|apply):([\w.]+)", text))
    names |= set(re.findall(r"\b(?:carryover|local|recipes)(?:\.\w+)+", text))
    assert len(names) > 10
    optional = {name for name in names if name.startswith("bitsandbytes.")}
    assert [name for name in sorted(names - optional) if locate(name) is None] == []


@pytest.mark.parametrize("pair", SIBLINGS, ids=" and ".join)
def test_siblings_differ_only_where_they_may(pair):
    a, b = (YAML(typ="rt").load((ROOT / "hparams" / f"{name}.yaml").read_text(encoding="utf-8")) for name in pair)
    # with its tag: the value of `!name:local.X.utterances` is empty
    a, b = ({key: (str(getattr(value, "tag", "")), str(value)) for key, value in v.items()} for v in (a, b))
    assert {key for key in a.keys() | b.keys() if a.get(key) != b.get(key)} <= SIBLINGS[pair]


def test_every_yaml_has_a_sibling():
    assert {path.stem for path in YAMLS} == {name for pair in SIBLINGS for name in pair}


@pytest.mark.parametrize("path", EMBEDDED, ids=lambda p: p.stem)
def test_first_ten_losses_are_the_golden_ones(path, tmp_path):
    """Relative tolerance 1e-3, for other CPUs; `python -m tests.regression.make_golden` remakes them."""
    losses = first_ten_losses(path.stem, tmp_path)
    assert losses == pytest.approx(GOLDEN[path.stem], rel=1e-3)


def test_mistyped_override_names_the_nearest_key(whisper_run):
    done = train({"warmpu": "10"})
    assert done.returncode != 0
    assert "--warmpu: hparams/whisper_ft.yaml has no such key; did you mean --warmup?" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_run_folder_tells_what_made_it(whisper_run):
    done = train(whisper_run | {"max_updates": "2", "valid_every": "2"})
    assert done.returncode == 0, done.stderr[-2000:]
    folder = Path(whisper_run["output_folder"])
    info = json.loads((folder / "run.json").read_text())
    assert info["command"].startswith("python train.py hparams/whisper_ft.yaml --noprogressbar")
    assert info["data"]["nl"]["counts"] == {"train": 28, "valid": 6, "test": 6, "rejected": 0}
    assert set(info) >= {"commit", "dirty", "versions", "hardware", "python", "started", "normaliser"}
    assert info["device"] == "cpu"
    assert 0 < info["trainable"] <= info["parameters"]
    assert (folder / "whisper.py").read_text() == (ROOT / "recipes" / "whisper.py").read_text()
    assert (
        "lr: 1.5e-3" in (folder / "as_written.yaml").read_text()
        and "max_updates: 2" in (folder / "overrides.yaml").read_text()
    )
    assert "effective batch 4 (4 x 1)" in done.stdout and "updates per epoch, 2 in all" in done.stdout
    assert "| nl † | " in done.stdout and "95 %" in done.stdout
    names = {p.name for p in folder.iterdir()}
    assert names >= {
        "metrics.jsonl",
        "train_log.txt",
        "results.md",
        "predictions_test_nl_before.csv",
        "predictions_test_nl_best.csv",
    }
    other = train(whisper_run | {"max_updates": "1", "valid_every": "2"})
    assert other.returncode != 0 and "other settings: max_updates: 2 there, 1 here" in other.stderr


def test_preset_is_applied_and_recorded_and_an_explicit_key_wins(whisper_run):
    done = train(whisper_run | {"preset": "under_20h", "dropout": "0.0", "max_updates": "2"})
    assert done.returncode == 0, done.stderr[-2000:]
    asked = (Path(whisper_run["output_folder"]) / "overrides.yaml").read_text()
    assert "weight_decay: 0.05" in asked and "dropout: 0.0" in asked and "max_updates: 2" in asked
