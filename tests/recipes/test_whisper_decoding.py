"""The Whisper recipe's decoding against transformers' own, and one WER in training, afterwards, and in a pipeline."""

import json
import os
import subprocess
import sys

import jiwer
import pytest
import torch
from speechbrain import Stage
from transformers import WhisperFeatureExtractor, WhisperForConditionalGeneration, WhisperTokenizer, pipeline

from carryover.data import audio, manifest
from carryover.models import whisper
from carryover.text import Normaliser
from local import synthetic

from .helpers import ROOT, batches, make_brain, train

STARTER = str(ROOT / "assets" / "whisper_starter")


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    """50 clips of the embedded corpus' Dutch validation set, as a manifest in a user's form."""
    folder = tmp_path_factory.mktemp("clips")
    rows = list(synthetic.utterances(folder / "corpus", "nl", ("valid",)))[:50]
    assert len(rows) == 50
    lines = ["path\tlanguage\tspeaker\ttext\tsplit"]
    for split, chosen in (("train", rows[:12]), ("valid", rows), ("test", rows[:6])):
        lines += [f"{os.path.abspath(u.audio)}\tnl\t{u.speaker}\t{u.text}\t{split}" for u in chosen]
    (folder / "manifest.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder / "manifest.tsv"


@pytest.fixture
def starter_run(whisper_run, clips):
    """A run on the starter model instead of the tiny one: hypotheses are words there."""
    return whisper_run | {"model": STARTER, "data_folder": str(clips), "generation_length": "96"}


@pytest.mark.parametrize("beams", [1, 5])
def test_hypotheses_equal_transformers_generate_token_for_token(starter_run, tmp_path, beams):
    brain, hparams, manifests = make_brain(starter_run | {"test_beams": str(beams)})
    brain.modules.eval()
    brain.export(tmp_path / "exported")
    ours = {}
    for batch in batches(brain, manifests / "valid.csv", 8):
        with torch.no_grad():
            output = brain.compute_forward(batch, Stage.TEST)
            ids = whisper.generate(
                brain.modules.whisper, hparams["tokenizer"], output.states, batch.language, 96, beams
            )
        ours |= dict(zip(batch.id, ids, strict=True))

    model = WhisperForConditionalGeneration.from_pretrained(tmp_path / "exported").eval()
    extractor = WhisperFeatureExtractor.from_pretrained(tmp_path / "exported")
    eot = hparams["tokenizer"].eot
    assert len(ours) == 50

    def text_ids(ids):  # up to and with the first end; transformers leaves the prompt out, and pads with the end
        ids = [i for i in ids if i not in hparams["tokenizer"].prompt("nl")]
        return ids[: ids.index(eot) + 1] if eot in ids else ids + [eot]

    for ID, row in manifest.load(manifests / "valid.csv").items():
        features = extractor(audio.read(row["audio"]).numpy(), sampling_rate=16000, return_tensors="pt").input_features
        theirs = model.generate(features, language="nl", task="transcribe", num_beams=beams, max_new_tokens=96)
        assert text_ids(theirs[0].tolist()) == text_ids(ours[ID]), ID


def test_one_wer_in_training_in_evaluate_and_in_a_pipeline(starter_run, tmp_path):
    done = train(starter_run | {"max_updates": "4", "valid_every": "2", "lr": "1.0e-4", "test_before": "False"})
    assert done.returncode == 0, done.stderr[-2000:]
    folder = starter_run["output_folder"]
    events = [json.loads(line) for line in open(f"{folder}/metrics.jsonl", encoding="utf-8")]
    in_training = min(e["WER"] for e in events if e["event"] == "valid")

    def cli(*words):
        return subprocess.run(
            [sys.executable, "-m", "carryover.commands.app", *words],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=300,
        )

    manifests = f"{folder}/manifests/nl/valid.csv"
    evaluated = cli("evaluate", folder, "--test", manifests)
    assert evaluated.returncode == 0, evaluated.stderr[-2000:]
    assert f"| {in_training:.2f} [" in evaluated.stdout

    exported = cli("export", folder, "--to", "hf", "--out", str(tmp_path / "exported"))
    assert exported.returncode == 0, exported.stderr[-2000:]
    recogniser = pipeline("automatic-speech-recognition", model=str(tmp_path / "exported"), device="cpu")
    normaliser, references, hypotheses = Normaliser(), [], []
    for row in manifest.load(manifests).values():
        heard = {"raw": audio.read(row["audio"]).numpy(), "sampling_rate": 16000}
        hypotheses.append(normaliser(recogniser(heard)["text"]))  # language and task stand in the export
        references.append(normaliser(row["text"]))
    assert 100 * jiwer.wer(references, hypotheses) == pytest.approx(in_training, abs=1e-9)
    said = recogniser.model.generation_config
    assert (said.language, said.task, said.num_beams, said.forced_decoder_ids) == ("<|nl|>", "transcribe", 1, None)


def test_the_prompt_is_the_same_everywhere(starter_run):
    brain, hparams, manifests = make_brain(starter_run)
    batch = batches(brain, manifests / "valid.csv", 4)[0]
    prompt = hparams["tokenizer"].prompt("nl")
    names = ["<|startoftranscript|>", "<|nl|>", "<|transcribe|>", "<|notimestamps|>"]
    assert prompt == hparams["tokenizer"].hf.convert_tokens_to_ids(names)
    assert all(row[:4].tolist() == prompt for row in batch.tokens.data)
    targets = brain.compute_forward(batch, Stage.VALID)
    assert targets.log_probs.shape[1] == batch.tokens.data.shape[1] - 4, "the prompt is given, not learned"
    seen = []
    forward = brain.modules.whisper.model.decoder.forward

    def spy(*args, **kwargs):
        seen.append(kwargs["input_ids"])
        return forward(*args, **kwargs)

    brain.modules.whisper.model.decoder.forward = spy
    brain.modules.eval()
    with torch.no_grad():
        brain.hear(batch)
    assert seen[0].tolist() == [prompt] * 4


def test_an_answer_is_no_longer_for_words_that_are_expected(whisper_run):
    """Of random weights, which find no end: the limit cuts."""
    brain, hparams, manifests = make_brain(whisper_run | {"generation_length": "10"})
    brain.modules.eval()
    batch = batches(brain, manifests / "valid.csv", 2)[0]
    answers, tokenizer = [], hparams["tokenizer"]
    for hotwords in ("", "drie vier vijf zes zeven acht"):
        if hotwords:
            brain.expect(hotwords)
        with torch.no_grad():
            ids = brain.generate(brain.heard(batch).states, batch, 1)
        answers.append([len(tokenizer.text_ids(row)) for row in ids])
    assert answers[0] == answers[1] and min(answers[0]) >= 10, answers


def test_real_tokenizer_pins_the_published_dutch_prompt(shared):
    tokenizer = whisper.Tokenizer(str(shared / "models" / "whisper_tokenizer"))
    assert tokenizer.prompt("nl") == [50258, 50271, 50359, 50363]
    assert isinstance(tokenizer.hf, WhisperTokenizer)
