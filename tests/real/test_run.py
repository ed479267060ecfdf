"""A short run from Whisper base: killed and gone on with it ends the same, and its WER is one wherever it is used."""

import csv
import shutil

import jiwer
import pytest
from safetensors.torch import load_file
from transformers import pipeline
from typer.testing import CliRunner

from carryover.commands.app import app
from carryover.data import audio, manifest
from carryover.text import Normaliser
from tests.recipes.helpers import ROOT, events, kill_at, train
from tests.recipes.test_resume import checkpoints, require_equal

from .conftest import corpus

YAML, UPDATES, TESTED = "hparams/whisper_real.yaml", 4, 20


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A folder that is deleted at once: a run is 1 GB."""
    folder = tmp_path_factory.mktemp("real_run")
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def overrides(whisper_base, home):
    """The decoder on 8 Dutch clips at a rate that shows within four updates."""
    return corpus(home / "corpus", "nl", test=TESTED, valid=4, train=8) | {
        "model": whisper_base, "precision": "fp32", "num_workers": "0", "train": "decoder", "dropout": "0.1",
        "lr": "3.0e-5", "lr_schedule": "constant", "warmup": "0", "max_updates": str(UPDATES), "batch_size": "2",
        "grad_accumulation_factor": "1", "eval_batch_size": "10", "log_every": "1", "save_every": "1",
        "valid_every": str(UPDATES), "save_limit": "1", "test_before": "False", "augment_prob": "0.0",
        "generation_length": "96",
    }  # fmt: skip


@pytest.fixture(scope="module")
def run(overrides, home):
    folder = home / "unbroken"
    done = train(overrides | {"output_folder": str(folder)}, YAML)
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


def test_a_killed_run_ends_as_the_unbroken_one(run, overrides, home, whisper_base):
    broken = overrides | {"output_folder": str(home / "killed")}
    kill_at(2, UPDATES, broken, YAML)
    done = train(broken, YAML)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "Resuming from" in done.stdout
    require_equal(run, home / "killed")
    was = load_file(f"{whisper_base}/model.safetensors")
    (last,) = checkpoints(run).values()
    now = load_file(last / "whisper.safetensors")
    assert any(not now[name].equal(was[name]) for name in was.keys() & now.keys()), "it has learned"
    shutil.rmtree(home / "killed")


@pytest.fixture(scope="module")
def tested(run):
    """(WER of the run's own test, rows of its test manifest)."""
    (test,) = [event for event in events(run) if event["event"] == "test"]
    return test["WER"], list(manifest.load(run / "manifests" / "nl" / "test.csv").values())


def WER(rows, hypotheses) -> float:
    normaliser = Normaliser()
    pairs = [(normaliser(row["text"], "nl"), normaliser(hyp, "nl")) for row, hyp in zip(rows, hypotheses, strict=True)]
    return 100 * jiwer.wer(*map(list, zip(*pairs, strict=True)))


def test_evaluate_has_the_tests_wer(run, tested, monkeypatch):
    monkeypatch.chdir(ROOT)
    done = CliRunner().invoke(app, ["evaluate", str(run)])
    assert done.exit_code == 0, done.output
    assert f"| {tested[0]:.2f} [" in done.output
    with open(run / "predictions_test_nl_evaluate.csv", newline="", encoding="utf-8") as file:
        again = list(csv.DictReader(file))
    with open(run / "predictions_test_nl_best.csv", newline="", encoding="utf-8") as file:
        assert again == list(csv.DictReader(file))


def test_the_export_in_a_pipeline_has_the_tests_wer(run, tested):
    """Without a word on language, task and beams."""
    recogniser = pipeline("automatic-speech-recognition", model=str(run / "model"), device="cpu")
    said = [recogniser({"raw": audio.read(row["audio"]).numpy(), "sampling_rate": 16000})["text"] for row in tested[1]]
    assert WER(tested[1], said) == pytest.approx(tested[0], abs=1e-9)


def test_the_export_in_ctranslate2_has_the_tests_wer(run, tested, home):
    ctranslate2 = pytest.importorskip("ctranslate2", reason="ctranslate2 is an extra: pip install ctranslate2")
    from ctranslate2.converters import TransformersConverter
    from transformers import WhisperProcessor

    TransformersConverter(str(run / "model")).convert(str(home / "ctranslate2"))
    model = ctranslate2.models.Whisper(str(home / "ctranslate2"), compute_type="float32", intra_threads=1)
    processor, said = WhisperProcessor.from_pretrained(run / "model"), []
    prompt = processor.tokenizer.convert_tokens_to_ids(["<|startoftranscript|>", "<|nl|>", "<|transcribe|>"])
    prompt.append(processor.tokenizer.convert_tokens_to_ids("<|notimestamps|>"))
    for row in tested[1]:
        wav = audio.read(row["audio"]).numpy()
        features = processor(wav, sampling_rate=16000, return_tensors="np").input_features
        (found,) = model.generate(ctranslate2.StorageView.from_array(features), [prompt], beam_size=1)
        said.append(processor.tokenizer.decode(found.sequences_ids[0], skip_special_tokens=True))
    assert WER(tested[1], said) == pytest.approx(tested[0], abs=1e-9)
