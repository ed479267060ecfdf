"""checkpoint.py: a checkpoint is there whole or not at all, comes back equal, and needs no pickle."""

import json
import os
import random

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from speechbrain.dataio.dataloader import SaveableDataLoader
from transformers import WhisperConfig, WhisperForConditionalGeneration

from carryover.models import weights
from carryover.training import checkpoint
from carryover.training.checkpoint import Checkpointer


class Tied(torch.nn.Module):
    """Embedding and output layer share one matrix, as Whisper's do."""

    def __init__(self, width=4):
        super().__init__()
        self.embedding = torch.nn.Embedding(7, width)
        self.output = torch.nn.Linear(width, 7, bias=False)
        self.output.weight = self.embedding.weight
        self.norm = torch.nn.BatchNorm1d(width)

    def forward(self, ids):
        return self.output(self.norm(self.embedding(ids)))


def step(model, optimizer):
    optimizer.zero_grad()
    model(torch.arange(7)).square().mean().backward()
    optimizer.step()


def whole(save, model=None, optimizer=None):
    """A checkpointer with a model and its optimizer, each taken through two updates."""
    model = model or Tied()
    optimizer = optimizer or torch.optim.AdamW(model.parameters(), lr=0.01)
    checkpointer = Checkpointer(save)
    checkpointer.add_module("model", model)
    checkpointer.add_optimizer("optimizer", optimizer)
    return checkpointer, model, optimizer


def save_many(save, *metas):
    checkpointer, *_ = whole(save)
    for meta in metas:
        checkpointer.save_checkpoint(meta=meta, verbosity=10)
    return checkpointer


class Killed(BaseException):
    """Not an Exception: nothing may catch it, as with a kill."""


# ---- whole or not at all ----


@pytest.mark.parametrize("name", [None, "mine"])
def test_a_checkpoint_appears_only_when_it_is_complete(tmp_path, name):
    save, seen = tmp_path / "save", []
    checkpointer, *_ = whole(save)

    def slow(obj, path):
        seen.extend(p.name for p in save.iterdir())
        checkpoint.save_json({"n": 1}, path)

    checkpointer.add_recoverable("last", object(), custom_save_hook=slow)
    found = checkpointer.save_checkpoint(meta={"update": 3}, name=name, verbosity=10)
    assert len(seen) == 1 and seen[0].startswith(".partial")
    assert [p.name for p in save.iterdir()] == [found.path.name] and found.path.name.startswith("CKPT+")
    assert {p.name for p in found.path.iterdir()} == {
        "CKPT.yaml", "checksums.json", "model.safetensors", "optimizer.pt", "last.json",
    }  # fmt: skip
    assert found.meta["update"] == 3


def test_a_kill_in_the_middle_leaves_no_checkpoint(tmp_path):
    save = tmp_path / "save"
    checkpointer, *_ = whole(save)
    checkpointer.save_checkpoint(meta={"update": 1}, verbosity=10)
    before = sorted(p.name for p in save.iterdir())

    def kill(obj, path):
        assert (path.parent / "CKPT.yaml").exists()  # SpeechBrain's own would count as complete now
        path.with_suffix(".json").write_text('{"half": ')
        raise Killed

    checkpointer.add_recoverable("state", object(), custom_save_hook=kill)
    with pytest.raises(Killed):
        checkpointer.save_checkpoint(meta={"update": 2}, verbosity=10)
    after = sorted(p.name for p in save.iterdir())
    assert [n for n in after if n.startswith("CKPT")] == before
    assert len([n for n in after if n.startswith(".partial")]) == 1
    assert checkpointer.last().meta["update"] == 1

    fresh, *_ = whole(save)
    assert sorted(p.name for p in save.iterdir()) == before
    assert fresh.last().meta["update"] == 1
    fresh.load_checkpoint(fresh.last())


def test_saving_works_again_after_an_error(tmp_path):
    save = tmp_path / "save"
    checkpointer, *_ = whole(save)
    fails = [True]

    def disk_full(obj, path):
        if fails.pop():
            raise OSError("No space left on device")
        checkpoint.save_json({}, path)

    checkpointer.add_recoverable("state", object(), custom_save_hook=disk_full)
    with pytest.raises(OSError):
        checkpointer.save_checkpoint(meta={"update": 1}, verbosity=10)
    fails.append(False)
    found = checkpointer.save_checkpoint(meta={"update": 2}, verbosity=10)
    assert found.path.name.startswith("CKPT+") and checkpointer.last().meta["update"] == 2


def test_files_are_on_disk_before_the_rename(tmp_path, monkeypatch):
    """Else a power cut can leave a renamed folder of empty files."""
    calls = []
    monkeypatch.setattr(checkpoint, "flush", lambda path: calls.append(path.name))
    rename = os.rename
    monkeypatch.setattr(os, "rename", lambda a, b: (calls.append("rename"), rename(a, b)))
    save_many(tmp_path / "save", {"update": 1})
    at = calls.index("rename")
    assert {"CKPT.yaml", "model.safetensors", "optimizer.pt"} <= set(calls[:at]) and calls[at + 1 :] == ["save"]


def test_a_named_checkpoint_replaces_its_older_self(tmp_path):
    checkpointer, *_ = whole(tmp_path / "save")
    for update in (1, 2):
        checkpointer.save_checkpoint(meta={"update": update}, name="epoch", verbosity=10)
    assert [c.meta["update"] for c in checkpointer.list_checkpoints()] == [2]


# ---- what comes back ----


def test_tied_weights_are_kept_once_and_come_back_tied(tmp_path):
    checkpointer, model, _ = whole(tmp_path / "save")
    model.norm.running_mean += 3  # a buffer
    found = checkpointer.save_checkpoint(meta={"update": 1}, verbosity=10)
    kept = load_file(found.paramfiles["model"])
    assert sum(name in kept for name in ("embedding.weight", "output.weight")) == 1
    other = Tied()
    assert not torch.equal(other.embedding.weight, model.embedding.weight)
    weights.load_weights(other, found.paramfiles["model"])
    assert other.output.weight is other.embedding.weight
    for name, tensor in model.state_dict().items():
        assert torch.equal(other.state_dict()[name], tensor), name


def test_whisper_roundtrip(tmp_path):
    config = WhisperConfig(
        vocab_size=30, d_model=8, num_mel_bins=8, encoder_layers=1, decoder_layers=1, encoder_attention_heads=2,
        decoder_attention_heads=2, encoder_ffn_dim=8, decoder_ffn_dim=8, max_source_positions=10,
        max_target_positions=12, pad_token_id=0, bos_token_id=0, eos_token_id=0, decoder_start_token_id=1,
    )  # fmt: skip
    model, other = WhisperForConditionalGeneration(config), WhisperForConditionalGeneration(config)
    checkpointer = Checkpointer(tmp_path / "save")
    checkpointer.add_module("whisper", model)
    found = checkpointer.save_checkpoint(meta={"update": 1}, verbosity=10)
    weights.load_weights(other, found.paramfiles["whisper"])
    assert other.proj_out.weight is other.model.decoder.embed_tokens.weight
    for name, tensor in model.state_dict().items():
        assert torch.equal(other.state_dict()[name], tensor), name


def test_training_continues_as_if_it_had_not_stopped(tmp_path):
    """Weights and AdamW's moments: update 3 after a reload equals update 3 without one, bit by bit."""
    torch.manual_seed(1)
    checkpointer, model, optimizer = whole(tmp_path / "save")
    step(model, optimizer)
    step(model, optimizer)
    checkpointer.save_checkpoint(meta={"update": 2}, verbosity=10)
    step(model, optimizer)

    again, other, other_optimizer = whole(tmp_path / "save")
    again.load_checkpoint(again.last())
    assert other_optimizer.state_dict()["state"][0]["step"] == 2
    step(other, other_optimizer)
    for a, b in zip(model.parameters(), other.parameters(), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("optimizer_class", [torch.optim.AdamW, torch.optim.SGD, torch.optim.Adafactor])
def test_optimizer_files_are_read_with_weights_only(tmp_path, optimizer_class):
    model = Tied()
    checkpointer, _, optimizer = whole(tmp_path / "save", model, optimizer_class(model.parameters(), lr=0.01))
    step(model, optimizer)
    found = checkpointer.save_checkpoint(meta={"update": 1}, verbosity=10)
    state = torch.load(found.paramfiles["optimizer"], weights_only=True)
    assert state["param_groups"][0]["lr"] == 0.01
    assert str(state) == str(optimizer.state_dict())


def test_weights_of_another_model_are_refused_by_name(tmp_path):
    found = save_many(tmp_path / "save", {"update": 1}).last().paramfiles["model"]
    with pytest.raises(RuntimeError, match="model.safetensors does not hold the weights of this model") as error:
        weights.load_weights(Tied(width=5), found)
    assert "embedding.weight" in str(error.value)
    with pytest.raises(RuntimeError, match="model.safetensors does not hold the weights") as error:
        weights.load_weights(torch.nn.Linear(4, 7), found)
    assert "norm.weight" in str(error.value) and "bias" in str(error.value)  # unexpected, and missing


# ---- the random state ----


def draw():
    return [random.random(), random.gauss(0, 1), *np.random.rand(3), np.random.randn(), *torch.rand(3).tolist()]


def test_random_streams_continue_equal_after_json():
    random.seed(3), np.random.seed(4), torch.manual_seed(5)
    draw()  # leaves a second Gaussian waiting in Python's and NumPy's generators
    state = json.loads(json.dumps(checkpoint.random_state()))
    expected = draw() + draw()
    random.seed(9), np.random.seed(9), torch.manual_seed(9)
    assert draw() != expected[:8]
    checkpoint.set_random_state(state)
    assert draw() + draw() == expected
    checkpoint.set_random_state(state)
    assert checkpoint.random_state() == state


# ---- which one ----


def test_best_is_the_lowest_and_of_equals_the_earlier(tmp_path):
    metas = [{"update": 30, "WER": 20.0}, {"update": 10, "WER": 25.0}, {"update": 20, "WER": 20.0}, {"update": 40}]
    checkpointer = save_many(tmp_path / "save", *metas)  # saved in another order than their updates
    assert checkpointer.best("WER").meta["update"] == 20
    assert checkpointer.last().meta["update"] == 40
    assert checkpointer.best("CER") is None


def test_an_empty_folder_has_neither(tmp_path):
    checkpointer, *_ = whole(tmp_path / "save")
    assert checkpointer.best("WER") is None and checkpointer.last() is None


# ---- no pickle ----


def test_every_file_can_be_read_without_executing_code(tmp_path):
    """Only tensors, JSON, YAML and plain text; SpeechBrain's data loader keeps its position as a number in text."""
    checkpointer, model, optimizer = whole(tmp_path / "save")
    step(model, optimizer)
    loader = SaveableDataLoader(list(range(6)), batch_size=2)
    next(iter(loader))
    checkpointer.add_recoverable("dataloader-TRAIN", loader)
    checkpointer.add_recoverable(
        "brain", object(), custom_save_hook=lambda _, path: checkpoint.save_json(checkpoint.random_state(), path)
    )
    found = checkpointer.save_checkpoint(meta={"update": 1, "WER": 12.5}, verbosity=10)
    assert set(found.paramfiles) == {"model", "optimizer", "dataloader-TRAIN", "brain"}
    for file in found.path.iterdir():
        if file.suffix == ".safetensors":
            assert load_file(file)
        elif file.suffix == ".pt":
            assert torch.load(file, weights_only=True)
        elif file.suffix == ".json":
            assert json.loads(file.read_text(encoding="utf-8"))
        else:
            assert file.read_text(encoding="utf-8").isprintable() or file.suffix == ".yaml", file
    assert found.paramfiles["dataloader-TRAIN"].read_text(encoding="utf-8") == "1"


def test_a_digest_tells_names_shapes_and_values():
    tensors = [("a", torch.arange(4.0)), ("b", torch.tensor(1.0))]
    same = [(name, t.clone()) for name, t in tensors]
    others = [
        [("a", torch.arange(4.0).reshape(2, 2)), tensors[1]],
        [("c", torch.arange(4.0)), tensors[1]],
        [tensors[0], ("b", torch.nextafter(torch.tensor(1.0), torch.tensor(2.0)))],
        [tensors[0]],
    ]
    assert weights.digest(tensors) == weights.digest(same)
    assert len({weights.digest(tensors), *map(weights.digest, others)}) == 5
