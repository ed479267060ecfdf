"""Whisper base through this project and through transformers: tokens, loss, parameters, importance of parameters."""

import jiwer
import numpy as np
import pytest
import torch
from speechbrain import Stage
from transformers import WhisperForConditionalGeneration, WhisperProcessor

from carryover.data import audio, manifest
from carryover.data.preparation import prepare
from carryover.forgetting import EWC
from carryover.models import whisper
from carryover.text import Normaliser
from tests.recipes.helpers import make_brain

from .conftest import corpus

CLIPS = {"nl": 14, "de": 13, "en": 13}
LIMIT = 96  # tokens of an answer


@pytest.fixture(scope="module")
def brain(whisper_base, tmp_path_factory):
    """The recipe's Brain with the weights as they come."""
    folder = tmp_path_factory.mktemp("whisper_base")
    given = corpus(folder / "nl", "nl", test=CLIPS["nl"]) | {
        "model": whisper_base, "output_folder": str(folder / "run"), "precision": "fp32", "num_workers": "0",
        "generation_length": str(LIMIT),
    }  # fmt: skip
    brain, hparams, manifests = make_brain(given, "whisper_real", splits=("test",))
    brain.modules.eval()
    brain.rows_of = {"nl": manifest.load(manifests / "test.csv")}
    for language in ("de", "en"):
        keys = corpus(folder / language, language, test=CLIPS[language])
        out = folder / "manifests" / language
        prepare(hparams["corpus"], keys["data_folder"], out, language, ["test"], hparams["limits"])
        brain.rows_of[language] = manifest.load(out / "test.csv")
    assert {language: len(rows) for language, rows in brain.rows_of.items()} == CLIPS
    return brain


@pytest.fixture(scope="module")
def batches(brain):
    """The 40 clips, eight in a batch, the languages mixed."""
    rows = [row for language in brain.rows_of.values() for row in language.items()]
    order = np.random.default_rng(0).permutation(len(rows))
    dataset = brain.dataset(dict(rows[i] for i in order), [brain.recording(), brain.target()])
    return list(brain.batches(dataset, list(range(len(dataset))), 8))


@pytest.fixture(scope="module")
def theirs(whisper_base):
    return WhisperForConditionalGeneration.from_pretrained(whisper_base).eval()


@pytest.fixture(scope="module")
def inputs(whisper_base, batches):
    """transformers' own features and targets of each batch: (features, ids with prompt and end, languages)."""
    processor, found = WhisperProcessor.from_pretrained(whisper_base), []
    for batch in batches:
        wavs = [audio.read(row["audio"]).numpy() for row in batch.row]
        features = processor(wavs, sampling_rate=16000, return_tensors="pt").input_features
        ids = []
        for row in batch.row:
            processor.tokenizer.set_prefix_tokens(language=row["language"], task="transcribe", predict_timestamps=False)
            ids.append(processor.tokenizer(row["text"]).input_ids)
        found.append((features, ids, [row["language"] for row in batch.row]))
    return found


@pytest.fixture(scope="module")
def outputs(brain, batches):
    with torch.no_grad():
        return [brain.compute_forward(batch, Stage.TEST) for batch in batches]


def test_parameters(brain, theirs):
    ours = brain.modules.whisper
    assert sum(p.numel() for p in ours.parameters()) == sum(p.numel() for p in theirs.parameters()) == 72_593_920
    trained = 72_593_920 - 1500 * 512  # the encoder's sinusoids are fixed
    assert brain.parameter_counts() == (trained, 72_593_920)


def test_the_loss_is_transformers(brain, theirs, batches, outputs, inputs):
    """Mean over text and end, of each of the five batches; 1e-5 absolute, of losses about 1."""
    for batch, output, (features, ids, _) in zip(batches, outputs, inputs, strict=True):
        found = brain.compute_objectives(output, batch, Stage.TEST)["nll"].item()
        longest = max(map(len, ids))
        tokens = torch.tensor([row + [row[-1]] * (longest - len(row)) for row in ids])
        labels = torch.tensor([[-100] * 3 + row[4:] + [-100] * (longest - len(row)) for row in ids])
        with torch.no_grad():
            wanted = theirs(features, decoder_input_ids=tokens[:, :-1], labels=labels).loss.item()
        assert found == pytest.approx(wanted, abs=1e-5)
        assert 0.1 < wanted < 3


@pytest.mark.parametrize("beams", [1, 5])
def test_tokens_are_transformers(brain, theirs, batches, outputs, inputs, beams):
    """Token for token, though the batches are one language's there and mixed here."""
    end = brain.hparams.tokenizer.eot

    def text(ids):  # between prompt and end: transformers leaves the prompt out, and pads with the end
        ids = [i for i in ids if i < end or i == end]
        return ids[: ids.index(end)] if end in ids else ids

    ours, wanted, references = {}, {}, {}
    for batch, output, (features, _, languages) in zip(batches, outputs, inputs, strict=True):
        rows = whisper.generate(
            brain.modules.whisper, brain.hparams.tokenizer, output.states, batch.language, LIMIT, beams
        )
        ours |= {ID: text(row) for ID, row in zip(batch.id, rows, strict=True)}
        references |= {row["id"]: row for row in batch.row}
        for language in set(languages):
            which = [i for i, other in enumerate(languages) if other == language]
            found = theirs.generate(
                features[which], language=language, task="transcribe", num_beams=beams, max_new_tokens=LIMIT
            )
            wanted |= {batch.id[i]: text(row) for i, row in zip(which, found.tolist(), strict=True)}
    assert len(ours) == 40 and ours == wanted
    normaliser, decode = Normaliser(), brain.hparams.tokenizer.hf.decode
    said = [normaliser(decode(ids), references[ID]["language"]) for ID, ids in ours.items()]
    texts = [normaliser(references[ID]["text"], references[ID]["language"]) for ID in ours]
    assert jiwer.wer(texts, said) < 0.3, "and the words are those that were spoken"


def test_fisher_is_the_mean_of_squared_gradients_one_clip_at_a_time(brain, theirs, inputs, batches):
    """Three clips, one of each language, against a loop over transformers' model; 1e-4 of each tensor's norm."""
    rows = {ID: row for language in brain.rows_of.values() for ID, row in list(language.items())[:1]}
    dataset = brain.dataset(rows, [brain.recording(), brain.target()])
    parameters = {name: p for name, p in brain.modules.named_parameters() if p.requires_grad}
    found = EWC(1.0).estimate(brain, brain.batches(dataset, [0, 1, 2]), 3, parameters)

    known = {i: (k, n) for k, batch in enumerate(batches) for n, i in enumerate(batch.id)}
    wanted = {name: torch.zeros_like(p) for name, p in theirs.named_parameters()}
    for ID in rows:
        batch, n = known[ID]
        features, ids, _ = inputs[batch]
        tokens = torch.tensor([ids[n]])
        theirs.zero_grad()
        log_probs = theirs(features[n : n + 1], decoder_input_ids=tokens[:, :-1]).logits.log_softmax(-1)
        log_probs[0, torch.arange(3, tokens.shape[1] - 1), tokens[0, 4:]].sum().backward()
        for name, p in theirs.named_parameters():
            wanted[name] += p.grad**2 / 3
    assert len(found) > 200
    for name, f in found.items():
        there = wanted[name.removeprefix("whisper.")]
        assert (f - there).norm() <= 1e-4 * there.norm() + 1e-12, name
    together = sum(f.double().sum().item() for f in found.values())
    assert together == pytest.approx(sum(wanted[n.removeprefix("whisper.")].double().sum().item() for n in found), 1e-5)
