"""hparams/*_real.yaml without a hub, a corpus or a GPU: true sizes on the meta device, two updates at a small one."""

import os
import subprocess

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import (
    SmolLM3Config,
    SmolLM3ForCausalLM,
    Wav2Vec2Config,
    Wav2Vec2FeatureExtractor,
    Wav2Vec2Model,
    WhisperConfig,
)

from carryover import experiment
from carryover.config import settings
from carryover.data.landmarks import Layout
from carryover.models import language_model, limits
from local import phoenix
from tests import tiny_language_model

from .helpers import ROOT, YAMLS, events

STARTER = ROOT / "assets" / "whisper_starter"
REAL = [path.stem for path in YAMLS if "_real" in path.stem]
# config.json of openai/whisper-small, openai/whisper-large-v3-turbo, facebook/wav2vec2-large-xlsr-53, SmolLM3-3B
SMALL = dict(
    vocab_size=51865, num_mel_bins=80, d_model=768, encoder_layers=12, decoder_layers=12, encoder_attention_heads=12,
    decoder_attention_heads=12, encoder_ffn_dim=3072, decoder_ffn_dim=3072,
)  # fmt: skip
TURBO = dict(
    vocab_size=51866, num_mel_bins=128, d_model=1280, encoder_layers=32, decoder_layers=4, encoder_attention_heads=20,
    decoder_attention_heads=20, encoder_ffn_dim=5120, decoder_ffn_dim=5120,
)  # fmt: skip
XLSR = dict(
    hidden_size=1024, num_hidden_layers=24, num_attention_heads=16, intermediate_size=4096, feat_extract_norm="layer",
    conv_bias=True, do_stable_layer_norm=True,
)  # fmt: skip
SMOL = dict(
    vocab_size=128256, hidden_size=2048, intermediate_size=11008, num_hidden_layers=36, num_attention_heads=16,
    num_key_value_heads=4, max_position_embeddings=65536, tie_word_embeddings=True,
)  # fmt: skip


def whisper(folder, **size) -> str:
    """Folder of a Whisper of this size without weights, with the starter's tokenizer."""
    WhisperConfig(**size).save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (folder / name).write_bytes((STARTER / name).read_bytes())
    return str(folder)


def wav2vec2(folder, weights: bool = False, **size) -> str:
    """Folder of a wav2vec2 that was pre-trained on audio alone: without head and vocabulary."""
    config = Wav2Vec2Config(**size)
    (Wav2Vec2Model(config) if weights else config).save_pretrained(folder)
    Wav2Vec2FeatureExtractor(return_attention_mask=True).save_pretrained(folder)
    return str(folder)


def count(modules, trained: bool = False) -> int:
    return sum(p.numel() for p in modules.parameters() if p.requires_grad or not trained)


def at_true_size(name: str, overrides: dict) -> dict:
    """The objects of a YAML, models on the meta device; without augmentation, whose resampling kernels are numbers."""
    text = (ROOT / "hparams" / f"{name}.yaml").read_text(encoding="utf-8")
    with torch.device("meta"):
        return settings.load(text, {"data_folder": "x", "language": "de", "augmentation": "null"} | overrides)


def test_whisper(tmp_path, monkeypatch):
    monkeypatch.setattr(limits, "require_fitting", lambda *_, **__: None)  # it is a small one here
    hparams = at_true_size("whisper_real", {"model": whisper(tmp_path, **SMALL), "from_scratch": "True"})
    modules = torch.nn.ModuleDict(hparams["modules"])
    assert count(modules) == 241_734_912, "no CTC head of 40 M parameters"
    assert count(modules, trained=True) == 241_734_912 - 1500 * 768  # the encoder's sinusoids are fixed


@pytest.mark.parametrize("name, mask", [("ctc_real", 1024), ("ctc_real_adaptation", 0)])
def test_ctc(name, mask, tmp_path):
    hparams = at_true_size(name, {"model": wav2vec2(tmp_path, **XLSR), "from_scratch": "True"})
    modules, symbols = torch.nn.ModuleDict(hparams["modules"]), len(hparams["tokenizer"])
    stem = count(hparams["acoustic"].hf.wav2vec2.feature_extractor)
    assert count(modules) == 315_437_696 + mask + 1025 * symbols
    assert count(modules, trained=True) == count(modules) - stem and stem == 4_210_176
    assert hparams["tokenizer"].unknown("quäl dich, žluťoučký kůň") == {","}


def test_speech_llm(tmp_path, monkeypatch):
    model = tiny_language_model.make(tmp_path / "chat")  # for its tokenizer

    def without_weights(kind, source, *_, **options):
        return SmolLM3ForCausalLM(SmolLM3Config(**SMOL)).to(options["dtype"]), {}

    monkeypatch.setattr(language_model, "load_whole", without_weights)
    monkeypatch.setattr(language_model, "require_tokens", lambda *_: None)  # the tokenizer is the tiny model's
    monkeypatch.setattr(language_model.LanguageModel, "scale", 1.0)  # of weights that are not there
    encoder = {"encoder": whisper(tmp_path / "encoder", **TURBO), "encoder_from_scratch": "True"}
    hparams = at_true_size("speech_llm_real", encoder | {"language_model": model})
    modules = torch.nn.ModuleDict(hparams["modules"])
    assert count(modules) == count(modules, trained=True) == 36_702_208
    assert count(hparams["audio_encoder"]) == 636_968_960 and count(hparams["reader"].hf) == 3_075_098_624
    frozen = [*hparams["audio_encoder"].parameters(), *hparams["reader"].hf.parameters()]
    assert {p.dtype for p in frozen} == {torch.bfloat16} and not any(p.requires_grad for p in frozen)


@pytest.mark.parametrize("key", ["encoder", "language_model"])
def test_hub_names_are_pinned(key):
    text = (ROOT / "hparams" / "speech_llm_real.yaml").read_text(encoding="utf-8")
    values = settings.resolved(text, {})
    language_model.require_pinned(values[key], values[f"{key}_revision"], key)


def test_sign():
    glosses = f"[{', '.join(f'G{i}' for i in range(1231))}]"  # as many as PHOENIX-2014's training split has
    hparams = at_true_size("sign_real", {"glosses": glosses})
    modules = torch.nn.ModuleDict(hparams["modules"])
    assert hparams["features"].width == 6516
    assert 45e6 < count(modules) == count(modules, trained=True) < 55e6


# ---- two updates at a small size ----


@pytest.fixture
def small(two_languages, tmp_path):
    """Overrides that make any of these YAMLs a run of seconds on a CPU."""
    return {
        "corpus": "!name:local.table.utterances", "data_folder": str(two_languages / "nl"), "language": "nl",
        "output_root": str(tmp_path / "results"), "precision": "fp32", "num_workers": "0", "batch_size": "4",
        "eval_batch_size": "8", "max_updates": "2", "warmup": "1", "valid_every": "2", "save_every": "2",
        "log_every": "1",
    }  # fmt: skip


def two_updates(name: str, overrides: dict, *more: str):
    """Run a YAML from its command line; -> its run folder."""
    os.chdir(ROOT)
    words = [f"--{key}={value}" for key, value in overrides.items()]
    assert experiment.train([f"hparams/{name}.yaml", "--device=cpu", "--noprogressbar", *words, *more]) == 0
    seed = settings.resolved((ROOT / "hparams" / f"{name}.yaml").read_text(encoding="utf-8"), {})["seed"]
    folder = ROOT / overrides["output_root"] / name / str(seed)
    losses = [event["loss"] for event in events(folder) if event["event"] == "train"]
    assert len(losses) == 2 and all(np.isfinite(losses))
    return folder


def test_whisper_runs(small, tiny_whisper, two_languages):
    model = {"model": str(tiny_whisper), "generation_length": "24"}
    folder = two_updates(
        "whisper_real", small | model | {"old_language": "de", "old_data_folder": str(two_languages / "de")}
    )
    tested = {(event["set"], event["weights"]) for event in events(folder) if event["event"] == "test"}
    assert tested == {(f"test_{language}", weights) for language in ("nl", "de") for weights in ("before", "best")}


def test_ctc_runs_and_is_carried_over(small, two_languages, tmp_path):
    torch.manual_seed(4)
    size = dict(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32, conv_dim=[16] * 7,
        feat_extract_norm="layer", do_stable_layer_norm=True, num_conv_pos_embeddings=16,
        num_conv_pos_embedding_groups=4,
    )  # fmt: skip
    first = two_updates("ctc_real", small | {"model": wav2vec2(tmp_path / "xlsr", weights=True, **size)})
    assert (first / "model").is_dir()
    old = {"old_data_folder": small["data_folder"], "old_language": "nl"}
    new = {"data_folder": str(two_languages / "de"), "language": "de"}
    folder = two_updates("ctc_real_adaptation", small | new | old, "--preset", "ewc_thesis")
    assert "lambda: 0.4" in (folder / "overrides.yaml").read_text()
    assert all("ewc" in event for event in events(folder) if event["event"] == "train")


def test_speech_llm_runs(small, tiny_whisper, tmp_path):
    models = {"encoder": str(tiny_whisper), "language_model": tiny_language_model.make(tmp_path / "lm"), "hidden": "16"}
    two_updates("speech_llm_real", small | models | {"tokens_per_second": "40", "prompt": '"{audio}write"'})


@pytest.mark.parametrize(
    "train, more", [("all", ("--preset", "lwf")), ("decoder", ("--augment_prob", "0")), ("encoder_top_1", ())]
)
def test_gradient_checkpointing_learns_the_same(small, tiny_whisper, tmp_path, train, more):
    """Also where the old model is put in place between forward and backward, and where states are kept."""
    found = []
    for switch in ("False", "True"):
        own = {"model": str(tiny_whisper), "generation_length": "12", "dropout": "0.1", "train": train}
        own |= {"gradient_checkpointing": switch, "output_root": str(tmp_path / switch), "test_before": "False"}
        folder = two_updates("whisper_real", small | own, *more)
        found.append((events(folder), load_file(folder / "model" / "model.safetensors")))
    (log, weights), (other_log, other_weights) = found
    assert log == other_log
    assert all(torch.equal(weights[name], other_weights[name]) for name in weights)


def test_sign_runs(small, tmp_path):
    """On the release's folders: the YAML's own corpus, glosses and layout."""
    home, layout, chance = tmp_path / phoenix.MULTISIGNER, Layout.holistic(), np.random.default_rng(3)
    (home / "annotations" / "manual").mkdir(parents=True)
    for split, n in (("train", 4), ("dev", 2), ("test", 2)):
        rows = ["|".join(phoenix.COLUMNS), *(f"{split}-{i}|{i}/*.png|Signer0{i}|REGEN NORD" for i in range(n))]
        (home / "annotations" / "manual" / f"{split}.corpus.csv").write_text("\n".join(rows) + "\n")
        (home / "landmarks" / split).mkdir(parents=True)
        for i in range(n):
            array = chance.normal(250, 20, (30, layout.points, layout.coordinates)).astype(np.float32)
            array[:, layout.shoulders[0], 0], array[:, layout.shoulders[1], 0] = 350, 150
            np.savez(home / "landmarks" / split / f"{split}-{i}.npz", landmarks=array)
    size = {"d_model": "16", "layers": "1", "heads": "2", "d_ffn": "32", "batch_size": "2"}
    own = {"data_folder": str(home), "language": "gsg", "grad_accumulation_factor": "1"}
    two_updates("sign_real", {k: v for k, v in small.items() if k != "corpus"} | size | own)


# ---- the run that is needed first ----


def test_the_old_language_is_handed_to_the_run_that_is_needed_first(tmp_path, monkeypatch):
    """Whether it stands in the YAML or on the command line: hparams/ctc_real.yaml leaves its corpus open."""
    said = []

    class Child:
        def __init__(self, argv, **_):
            said.append(argv[2:])

        def wait(self):
            return 0

    monkeypatch.setattr(subprocess, "Popen", Child)
    monkeypatch.chdir(ROOT)
    text = (ROOT / "hparams" / "ctc_real_adaptation.yaml").read_text(encoding="utf-8")
    given = {"data_folder": "new", "language": "de", "old_data_folder": "old", "old_language": "nl"}
    run = experiment.Experiment("x.yaml", text, given | {"output_root": str(tmp_path)}, {"data_folder": "new"}, {})
    with pytest.raises(FileNotFoundError, match="hparams/ctc_real.yaml has been run and made no"):
        run.run_first()
    assert said == [
        ["hparams/ctc_real.yaml", "--seed", "42", "--output_root", str(tmp_path), "--data_folder", "old"]
        + ["--language", "nl"]
    ]
    run = experiment.Experiment("x.yaml", text, {"data_folder": "new", "language": "de"}, {}, {})
    with pytest.raises(ValueError, match="old_language: give it and old_data_folder, at the top of x.yaml"):
        run.run_first()
