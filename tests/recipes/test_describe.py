"""What each YAML's run says of itself for a methods paragraph is what it does, and nothing is left out."""

import re

import pytest

from carryover.training import describe

from .helpers import EMBEDDED, make_brain, small

YAMLS = sorted(path.stem for path in EMBEDDED)
CITED = {
    "sign": ("graves2006connectionist",),
    "whisper": ("radford2023robust",),
    "ewc": ("radford2023robust", "kirkpatrick2017overcoming"),
    "speech": ("shazeer2020glu",),
    "dutch": ("barrault2023seamless", "graves2006connectionist"),
    "german": ("barrault2023seamless", "graves2006connectionist"),
}


@pytest.mark.parametrize("name", YAMLS)
def test_a_yaml_describes_what_it_does(name, tmp_path):
    brain, hparams, _ = make_brain(small(name, tmp_path), yaml=name, splits=("train",))
    found = {"forgetting": [method.describe() for method in hparams["forgetting"]]} | brain.describe()
    found["optimisation"] = describe.optimisation(brain)
    sentences = [sentence for part in found.values() for sentence in part]
    text = " ".join(sentences)
    assert all(re.fullmatch(r"[A-Z].*\.", sentence) and "  " not in sentence for sentence in sentences), sentences
    assert found["model"] and found["loss"]
    assert f"peak learning rate of {hparams['lr']:g}" in text
    assert f"batches of {hparams['batch_size']} utterances" in text
    assert f"The schedule is {hparams['lr_schedule']}" in text
    length = f"{hparams['max_updates']} updates" if hparams["max_updates"] else f"{hparams['epochs']} epoch"
    assert f"at most {length}" in text and f" in {brain.precision}" in text
    assert ("accumulated over" in text) == (hparams["grad_accumulation_factor"] > 1)
    assert ("label smoothing" in text) == bool(hparams.get("label_smoothing"))
    assert ("weight decay" in text) == bool(hparams["weight_decay"])
    assert ("clipped" in text) == bool(hparams["max_grad_norm"])
    assert ("are augmented" in text) == bool(hparams.get("augment_prob"))
    assert ("masked" in text) == bool(hparams.get("mask_time_prob") or hparams.get("mask_feature_prob"))
    assert ("validations without a lower WER" in text) == bool(hparams["early_stopping_patience"])
    parts = [p for module in brain.modules.values() for n, p in module.named_parameters() if "embed_positions" not in n]
    frozen = "projector" in brain.modules or any(not p.requires_grad for p in parts)  # sinusoids are never trained
    assert ("frozen" in text) == (frozen or name == "sign_student")
    assert ("teacher" in text) == (name == "sign_student")
    assert "replay" not in text, "joint training of two languages is no replay"
    assert ("joint training" in text) == (name == "speech_llm_multitask")
    for key in CITED[name.split("_")[0]]:
        assert key in text
