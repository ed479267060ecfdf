"""Whisper with adapters."""

import pytest
import torch
from transformers import WhisperForConditionalGeneration

from carryover.models import whisper
from carryover.models.lora import merged

from .helpers import batches, make_brain

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
