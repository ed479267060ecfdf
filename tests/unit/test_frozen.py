"""Kept states: found by what was heard, equal to what the model says, and never a wrong number from a bad file."""

import copy
import json
import os
import shutil
import time

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import Wav2Vec2Config, Wav2Vec2ForCTC, WhisperConfig, WhisperForConditionalGeneration
from transformers.models.whisper.modeling_whisper import WhisperEncoder

from carryover.models import state_store, wav2vec2, whisper, whisper_encoder
from carryover.models.frozen import Filled, Frozen, Kept
from carryover.models.state_store import Store, kinds, shards

ABOUT = {"kind": "Table", "weights": "0", "precision": "float32"}


class Table(torch.nn.Module):
    """(B, S, 3) -> (B, S, 4), and counts the calls."""

    def __init__(self, seed=0, scale=1.0):
        super().__init__()
        torch.manual_seed(seed)
        self.linear, self.calls = torch.nn.Linear(3, 4), 0
        self.linear.weight.data *= scale
        self.requires_grad_(False)

    def settings(self):
        return {}

    def forward(self, inputs, lengths):
        self.calls += 1
        return self.linear(inputs), lengths


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("CARRYOVER_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def kept(precision="float32", limit=1e9):
    found = Kept(precision, limit)
    found.plain = True
    return found


def of(module, precision="float32", limit=1e9):
    return Frozen.of(module, kept=kept(precision, limit))


def inputs_of(*lengths, seed=0):
    generator = torch.Generator().manual_seed(seed)
    clips = [torch.randn(n, 3, generator=generator) for n in lengths]
    return torch.nn.utils.rnn.pad_sequence(clips, batch_first=True), torch.tensor(lengths)


def filled(module=None, precision="float32"):
    """A part whose states of four clips are on the disk, and what it said of them."""
    part = of(module or Table(), precision)
    said, _ = part(*inputs_of(5, 3, 4, 2))
    part.kept.flush()
    return part, said


# ---- what is found ----


def test_a_clip_is_computed_once_for_all_runs_and_batches():
    part, said = filled()
    assert part.module.calls == part.computed == 4
    inputs, lengths = inputs_of(5, 3, 4, 2)
    again = of(Table())
    for rows in ([2, 0], [3], [1, 2, 3]):
        found, numbers = again(inputs[rows], lengths[rows])
        assert numbers.tolist() == lengths[rows].tolist()
        for row, n, i in zip(found, numbers, rows, strict=True):
            assert torch.equal(row[:n], said[i, :n]) and torch.equal(row[:n], part.module.linear(inputs[i, :n]))
    assert again.module.calls == 0


def test_another_model_precision_or_setting_has_states_of_its_own(folder):
    filled()
    others = [of(Table(seed=1)), of(Table(), "float16"), of(Table())]
    others[2].settings = lambda: {"heads": 2}
    for part in others:
        said, _ = part(*inputs_of(5, 3))
        part.kept.flush()
        assert part.computed == 2
        assert (said[0] - part.module.linear(inputs_of(5, 3)[0][0])).abs().max() < 2e-3
    assert len(kinds(folder)) == 4


def test_weights_that_change_during_a_run_are_other_weights():
    part, _ = filled()
    with torch.no_grad():
        part.module.linear.bias.add_(1.0)
    inputs, lengths = inputs_of(5, 3)
    said, _ = part(inputs, lengths)
    assert torch.equal(said[0], part.module.linear(inputs[0])) and part.computed == 6


def test_a_changed_input_finds_nothing_to_the_last_bit():
    part, _ = filled()
    inputs, lengths = inputs_of(5)
    inputs[0, 2, 1] = torch.nextafter(inputs[0, 2, 1], torch.tensor(9.0))
    part(inputs, lengths)
    assert part.computed == 5


def test_half_precision_is_the_rounded_state_kept_or_not():
    part, said = filled(precision="float16")
    full = part.module.linear(inputs_of(5)[0][0])
    assert said.dtype == torch.float32 and torch.equal(said[0], full.half().float()) and not torch.equal(said[0], full)
    assert torch.equal(of(Table(), "float16")(*inputs_of(5))[0][0], said[0]), "from the disk"
    no_room = of(Table(), "float16", limit=0)
    assert torch.equal(no_room(*inputs_of(5))[0][0], said[0]), "computed"


def test_what_half_precision_cannot_hold_stays_whole(capsys):
    part, said = filled(Table(scale=1e6), "float16")
    assert torch.equal(said[0], part.module.linear(inputs_of(5)[0][0])) and said[0].abs().max() > 65504
    told = capsys.readouterr()
    assert "float16 cannot hold some" in told.out + told.err
    assert torch.equal(of(Table(scale=1e6), "float16")(*inputs_of(5))[0][0], said[0])


@pytest.mark.parametrize("reason", ["precision", "plain", "trained"])
def test_nothing_is_kept_where_nothing_should_be(folder, reason):
    part = of(Table(), None if reason == "precision" else "float32")
    part.kept.plain = reason != "plain"
    part.module.requires_grad_(reason == "trained")
    for _ in range(2):
        part(*inputs_of(5, 3))
    part.kept.flush()
    assert part.module.calls == 2 and part.computed == 0 and not folder.exists()


def test_a_pass_that_fills_ends_where_the_states_are_there():
    part = of(Table())
    with part.kept.filling(), pytest.raises(Filled) as ended:
        part(*inputs_of(5, 3))
    assert ended.value.bytes == (5 + 3) * 4 * 4
    part(*inputs_of(5, 3))
    assert part.module.calls == 2


# ---- bad files ----


def damaged(folder, how: str):
    (path,) = shards(folder)
    whole = path.read_bytes()
    if how == "truncated":
        path.write_bytes(whole[: len(whole) // 2])
    elif how == "empty":
        path.write_bytes(b"")
    elif how == "a bit":
        path.write_bytes(whole[:-7] + bytes([whole[-7] ^ 1]) + whole[-6:])
    elif how == "no states":
        path.write_bytes(b"\xff" * 200)
    elif how == "without metadata":
        save_file(load_file(path), path)
    else:  # a file of another model, copied here
        other = of(Table(seed=1))
        other(*inputs_of(5, 3, 4, 2))
        other.kept.flush()
        shutil.copy(next(p for p in shards(folder) if p.parent != path.parent), path)


@pytest.mark.parametrize("how", ["truncated", "empty", "a bit", "no states", "without metadata", "of another model"])
def test_a_bad_file_is_said_removed_and_computed_again(folder, capsys, how):
    _, said = filled()
    damaged(folder, how)
    again = of(Table())
    found, _ = again(*inputs_of(5, 3, 4, 2))
    assert torch.equal(found, said) and again.computed >= 1
    told = capsys.readouterr()
    assert "is removed and computed again" in told.out + told.err
    again.kept.flush()
    last = of(Table())
    assert torch.equal(last(*inputs_of(5, 3, 4, 2))[0], said)
    assert last.computed == 4 - again.computed, "what was read before the bit was found is gone with its file"


def test_a_file_that_is_removed_under_a_run_that_reads_it_changes_nothing(folder):
    _, said = filled()
    reader = of(Table())
    reader(*inputs_of(5))
    shutil.rmtree(folder)
    assert torch.equal(reader(*inputs_of(5, 3, 4, 2))[0], said)


@pytest.mark.parametrize("fault", ["os", "safetensors", "before"])
def test_a_full_disk_is_said_once_and_the_run_goes_on(folder, monkeypatch, capsys, fault):
    from safetensors import SafetensorError

    def no_room(*args, **kwargs):
        if fault == "os":
            raise OSError(28, "No space left on device")
        raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    if fault == "before":
        monkeypatch.setattr(Store, "free", lambda self: 1e6)
    else:
        monkeypatch.setattr(state_store, "save_file", no_room)
    part = of(Table())
    inputs, lengths = inputs_of(5, 3)
    wanted = part.module.linear(inputs[0])
    for _ in range(3):
        assert torch.equal(part(inputs, lengths)[0][0], wanted)
        part.kept.flush()
    told = capsys.readouterr()
    assert (told.out + told.err).count("nothing more is kept") == 1 and "the disk" in told.out + told.err
    assert not shards(folder) if folder.exists() else True
    assert not [p for p in folder.rglob("*") if "partial" in p.name]


def test_a_folder_that_cannot_be_written_is_said(tmp_path, monkeypatch, capsys):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("CARRYOVER_CACHE", str(tmp_path / "file" / "cache"))
    part = of(Table())
    part(*inputs_of(5))
    part.kept.flush()
    told = capsys.readouterr()
    assert "nothing more is kept" in told.out + told.err


def test_two_runs_that_write_at_once_keep_what_both_say(folder):
    one, other = of(Table()), of(Table())
    inputs, lengths = inputs_of(5, 3, 4, 2)
    first, _ = one(inputs, lengths)
    second, _ = other(inputs, lengths)
    one.kept.flush()
    other.kept.flush()
    assert torch.equal(first, second) and len(shards(folder)) == 1, "the same content has the same name"
    more = inputs_of(6, seed=3)
    one(*more)
    one.kept.flush()
    other(*more)
    assert other.computed == 4, "it sees what the other has written since"


# ---- the limit ----


def store(folder, name, limit=1e9):
    return Store(folder, ABOUT | {"weights": name}, limit)


def test_what_was_not_used_for_longest_goes_first_and_never_what_is_in_use(folder):
    tensor = torch.arange(1000.0)
    for i, name in enumerate("abc"):
        one = store(folder, name)
        one.put("x", tensor + i)
        one.flush()
        (path,) = shards(one.folder)
        os.utime(path, (time.time() - 1000 + i, time.time() - 1000 + i))
    store(folder, "a").get("x")  # used now: b is the oldest
    size = shards(folder)[0].stat().st_size
    new = store(folder, "d", limit=3.5 * size)
    new.put("x", tensor)
    new.flush()
    assert {json.loads((k.folder / "about.json").read_text())["weights"] for k in kinds(folder)} == {"a", "c", "d"}
    for i in range(5):  # its own are never removed: it stops instead
        new.put(f"y{i}", tensor)
        new.flush()
    assert "limit" in new.full and torch.equal(new.get("x"), tensor) and torch.equal(new.get("y0"), tensor)
    assert sum(path.stat().st_size for path in shards(folder)) <= 3.5 * size


def test_the_command_lists_and_clears(folder):
    from typer.testing import CliRunner

    from carryover.commands.app import app

    filled()
    filled(precision="float16")
    listed = CliRunner().invoke(app, ["cache"])
    keys = [kind.folder.name for kind in kinds(folder)]
    assert listed.exit_code == 0 and all(key in listed.output for key in keys) and "float16" in listed.output
    refused = CliRunner().invoke(app, ["cache", "--clear", "nothing"])
    assert isinstance(refused.exception, ValueError) and keys[0] in str(refused.exception)
    CliRunner().invoke(app, ["cache", "--clear", keys[0]])
    assert [kind.folder.name for kind in kinds(folder)] == keys[1:]
    CliRunner().invoke(app, ["cache", "--clear", "all"])
    assert not kinds(folder) and CliRunner().invoke(app, ["cache"]).exit_code == 0


# ---- the models ----


def tiny_whisper(layers=3):
    torch.manual_seed(0)
    config = WhisperConfig(
        vocab_size=60, d_model=16, encoder_layers=layers, decoder_layers=1, encoder_attention_heads=2,
        decoder_attention_heads=2, encoder_ffn_dim=32, decoder_ffn_dim=32, max_source_positions=50, num_mel_bins=8,
        pad_token_id=0, bos_token_id=1, eos_token_id=2, decoder_start_token_id=1, init_std=0.2,
    )  # fmt: skip
    return WhisperForConditionalGeneration(config).eval()


@pytest.mark.parametrize("train, frozen", [("decoder", 3), ("encoder_top_1", 2), ("encoder_top_3", 0), ("all", 0)])
def test_whispers_encoder_takes_up_where_its_frozen_layers_end(train, frozen):
    from carryover.models.trained import set_trained

    model = tiny_whisper()
    reference = copy.deepcopy(model)
    names = list(model.state_dict())
    set_trained(whisper.parts(model), train)
    encoder = model.model.encoder
    whisper_encoder.keep(encoder, kept())
    assert list(model.state_dict()) == names and isinstance(encoder, WhisperEncoder)
    features = torch.randn(3, 8, 100)
    wanted = reference.model.encoder(features).last_hidden_state
    for _ in range(2):
        found = encoder(features).last_hidden_state
        assert (found - wanted).abs().max() < 1e-5 and found.requires_grad == (train != "decoder")
    assert encoder.frozen_layers() == frozen and encoder.below.computed == (3 if frozen else 0)
    copied = copy.deepcopy(model)  # what merging adapters and export do
    copied.model.encoder.conv1.weight.data += 1.0
    assert (encoder(features).last_hidden_state - wanted).abs().max() < 1e-5
    assert (copied.model.encoder(features).last_hidden_state - wanted).abs().max() > 1e-3


def test_gradients_above_kept_states_are_those_of_the_whole():
    from carryover.models.trained import set_trained

    model, reference = tiny_whisper(), tiny_whisper()
    for one in (model, reference):
        set_trained(whisper.parts(one), "encoder_top_1")
    whisper_encoder.keep(model.model.encoder, kept())
    features, weights = torch.randn(2, 8, 100), torch.randn(2, 50, 16)
    for one in (model, reference):
        (one.model.encoder(features).last_hidden_state * weights).sum().backward()
    for (name, p), q in zip(model.named_parameters(), reference.parameters(), strict=True):
        assert (p.grad is None) == (q.grad is None), name
        if p.grad is not None:
            assert (p.grad - q.grad).norm() <= 1e-5 * q.grad.norm() + 1e-5 * ("k_proj" in name), name


def test_with_dropout_below_nothing_is_kept_in_training_and_all_in_evaluation():
    from carryover.models.trained import set_trained

    model = tiny_whisper()
    set_trained(whisper.parts(model), "encoder_top_1")
    encoder = model.model.encoder
    whisper_encoder.keep(encoder, kept())
    encoder.dropout = 0.1
    features = torch.randn(2, 8, 100)
    encoder.train()
    encoder(features)
    assert encoder.below.computed == 0
    encoder.eval()
    encoder(features)
    assert encoder.below.computed == 2


@pytest.mark.parametrize("frozen, part", [("stem", "stem"), ("all but the head", "below_head")])
@pytest.mark.parametrize("norm", ["layer", "group"])
def test_a_ctc_model_keeps_what_is_frozen_unless_it_hears_its_padding(tmp_path, frozen, part, norm):
    torch.manual_seed(0)
    config = Wav2Vec2Config(
        vocab_size=9, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32,
        conv_dim=(8, 8), conv_kernel=(10, 8), conv_stride=(5, 4), num_feat_extract_layers=2, feat_extract_norm=norm,
        num_conv_pos_embeddings=16, num_conv_pos_embedding_groups=2, do_stable_layer_norm=norm == "layer",
        pad_token_id=0,
    )  # fmt: skip
    Wav2Vec2ForCTC(config).save_pretrained(tmp_path / "model")
    tokenizer = type("T", (), {"symbols": list("-abcdefgh"), "blank": 0})()
    masked, train = norm == "layer", "all_but_stem" if frozen == "stem" else "head"
    torch.manual_seed(1)
    model = wav2vec2.load(
        str(tmp_path / "model"), tokenizer, masked, from_scratch=True, train=train, kept=kept("float32")
    ).eval()
    plain = copy.deepcopy(model)
    for one in (plain.stem, plain.below_head):
        one.kept = Kept()
    inputs = torch.randn(3, 900)
    lengths = torch.tensor([900, 500, 733])
    inputs *= torch.arange(900) < lengths[:, None]
    wanted, frames = plain(inputs, lengths)
    for _ in range(2):
        found, numbers = model(inputs, lengths)
        assert numbers.tolist() == frames.tolist() and found.shape == wanted.shape
        for a, b, n in zip(found, wanted, frames.tolist(), strict=True):
            assert (a[:n] - b[:n]).abs().max() < 1e-5
    assert getattr(model, part).computed == (3 if masked else 0)
    assert found.requires_grad
