"""Whisper with adapters, and a study from its plan to its table."""

import json

import pytest
import torch
from transformers import WhisperForConditionalGeneration

from carryover.commands.study import study
from carryover.models import whisper
from carryover.models.lora import merged

from .helpers import ROOT, batches, make_brain, small

pytest.importorskip("peft", reason="peft is an extra: pip install -e '.[lora]'")
LORA = {"train": "lora", "lora": "!new:carryover.models.lora.LoRA {rank: 4, alpha: 8, targets: [q_proj, fc1]}"}


def test_adapters_alone_are_trained_and_an_export_needs_no_peft(whisper_run, tmp_path):
    """Merged and separate logits agree to 1e-5."""
    brain, hparams, manifests = make_brain(whisper_run | LORA | {"max_updates": "3", "lr": "1.0e-2"})
    before = {name: p.clone() for name, p in brain.modules.named_parameters()}
    brain.fit(range(1, 3), brain.read(manifests / "train.csv"), None, train_loader_kwargs={"batch_size": 4})
    changed = {n for n, p in brain.modules.named_parameters() if n.startswith("whisper.") and (p != before[n]).any()}
    assert changed and all("lora_" in name for name in changed)
    brain.export(tmp_path / "model")
    exported = WhisperForConditionalGeneration.from_pretrained(tmp_path / "model").eval()
    model = brain.modules.whisper.eval()
    assert {n for n, _ in exported.named_parameters()} == {
        n for n, _ in WhisperForConditionalGeneration(exported.config).named_parameters()
    }
    features, _, _ = brain.features(batches(brain, manifests / "train.csv", 2)[0], None)
    tokens = torch.tensor([hparams["tokenizer"].prompt("de")] * 2)
    with torch.no_grad():
        ours = model(features, decoder_input_ids=tokens).logits
        theirs = exported(features, decoder_input_ids=tokens).logits
        plain = whisper.load(hparams["model"], hparams["from_scratch"]).eval()
    torch.testing.assert_close(theirs, ours, atol=1e-5, rtol=1e-5)
    assert merged(plain) is plain, "a model without adapters is not copied"


def test_a_study_tries_chooses_and_tests(tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    common = small("whisper_ft", tmp_path) | {
        "sample": "{train: 8, valid: 3, test: 3}", "old_splits": "[valid, test]", "max_updates": "1",
        "batch_size": "4", "valid_every": "1", "generation_length": "8",
    }  # fmt: skip
    plan = {
        "experiment": "hparams/whisper_ft.yaml", "common": common, "budget": 2, "seeds": [1, 2],
        "methods": {
            "averaging": [{"lr": 1e-3, "preset": "averaging"}, {"lr": 1e-4, "preset": "averaging"}],
        },
    }  # fmt: skip
    path, out = tmp_path / "plan.yaml", tmp_path / "study"
    path.write_text(json.dumps(plan))
    said = []
    extra = ["--device", "cpu", "--other_tests", "{}"]
    assert study.study(path, out, 2, extra, say=said.append) == 0, said
    rows = (out / "trials.csv").read_text().splitlines()
    assert len(rows) == 3 and sum(row.endswith("True") for row in rows) == 1
    runs = sorted(p.parent for p in out.rglob("results.md"))
    assert len(runs) == 3, "two trials, and the second seed of the chosen one"
    assert "averaging + averaging 0.50 | 2 |" in (out / "table.md").read_text()
    times = {run: (run / "results.md").stat().st_mtime for run in runs}
    assert study.study(path, out, 2, extra, say=said.append) == 0
    assert times == {run: (run / "results.md").stat().st_mtime for run in runs}, "nothing is run again"
