"""Models that were fine-tuned from one are merged: against closed forms, peft, and through the command."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from peft.utils import merge_utils
from safetensors.torch import load_file, save_file
from transformers import WhisperForConditionalGeneration

from carryover import checksums, exits
from carryover.commands.app import app
from carryover.forgetting import merging
from carryover.text import Pieces

STARTER = Path(__file__).parents[2] / "assets" / "whisper_starter"


def weights(seed: int, scale: float = 1.0) -> merging.Weights:
    generator = torch.Generator().manual_seed(seed)
    return {name: scale * torch.randn(shape, generator=generator) for name, shape in {"a": (5, 7), "b": (40,)}.items()}


def changed(old: merging.Weights, *seeds: int) -> list[merging.Weights]:
    return [{name: old[name] + change for name, change in weights(seed, 0.1).items()} for seed in seeds]


def flat(of: merging.Weights) -> np.ndarray:
    return torch.cat([tensor.flatten() for tensor in of.values()]).double().numpy()


def test_half_of_a_change_is_the_average():
    old = weights(0)
    (new,) = changed(old, 1)
    for name, value in merging.arithmetic(old, [new], [0.5]).items():
        torch.testing.assert_close(value, (old[name] + new[name]) / 2, rtol=0, atol=1e-6)


def test_arithmetic_is_peft_s():
    old, factors = weights(0), [0.7, -0.2, 0.4]
    new = changed(old, 1, 2, 3)
    for name, value in merging.arithmetic(old, iter(new), factors).items():
        changes = [of[name] - old[name] for of in new]
        theirs = merge_utils.task_arithmetic(changes, torch.tensor(factors))
        torch.testing.assert_close(value, old[name] + theirs, rtol=0, atol=1e-6)


@pytest.mark.parametrize("density", [0.1, 0.3, 1.0])
def test_ties_by_its_definition(density):
    """Over all tensors together, weight by weight, in double precision."""
    old = weights(0)
    new = changed(old, 1, 2, 3)
    changes = np.stack([flat(of) - flat(old) for of in new])
    for change in changes:
        change[np.argsort(-np.abs(change))[round(density * len(change)) :]] = 0
    wanted = flat(old)
    for i, column in enumerate(changes.T):
        agree = [x for x in column if x * column.sum() > 0]
        wanted[i] += 0.8 * (np.mean(agree) if agree else 0)
    np.testing.assert_allclose(flat(merging.ties(old, new, 0.8, density)), wanted, rtol=0, atol=1e-6)


def test_ties_is_peft_s_for_one_tensor():
    """Of several tensors peft trims each by itself, the paper all together."""
    old = {"a": weights(0)["a"]}
    new = [{"a": of["a"]} for of in changed(old | {"b": torch.zeros(40)}, 1, 2, 3)]
    changes = [of["a"] - old["a"] for of in new]
    theirs = merge_utils.ties(changes, torch.ones(3), density=0.4, majority_sign_method="total")
    torch.testing.assert_close(merging.ties(old, new, 1.0, 0.4)["a"], old["a"] + theirs, rtol=0, atol=1e-6)


def test_types_are_the_old_model_s():
    old = {name: tensor.half() for name, tensor in weights(0).items()}
    (new,) = changed({name: tensor.float() for name, tensor in old.items()}, 1)
    for merged in (merging.arithmetic(old, [new], [0.5]), merging.ties(old, [new], 1.0, 0.5)):
        assert {tensor.dtype for tensor in merged.values()} == {torch.float16}


# ---- the command ----


@pytest.fixture
def tuned(tmp_path) -> list[Path]:
    """Two models whose weights are the starter's, changed at random."""
    old, folders = load_file(STARTER / "model.safetensors"), []
    for seed in (1, 2):
        folder = tmp_path / f"tuned{seed}"
        shutil.copytree(STARTER, folder)
        generator = torch.Generator().manual_seed(seed)
        new = {name: tensor + 0.01 * torch.randn(tensor.shape, generator=generator) for name, tensor in old.items()}
        save_file(new, folder / "model.safetensors", metadata={"format": "pt"})
        folders.append(folder)
    return folders


def merge(*words) -> int:
    return exits.run(lambda: app(["merge", *map(str, words)], standalone_mode=False))


def test_a_language_each(tuned, tmp_path, capsys):
    out = tmp_path / "out"
    assert merge(*tuned, "--base", STARTER, "--out", out) == 0
    assert f"{out}: arithmetic, factors 0.5, 0.5" in capsys.readouterr().out
    model = WhisperForConditionalGeneration.from_pretrained(out)
    found, ours = dict(model.named_parameters()), [load_file(of / "model.safetensors") for of in tuned]
    name = "model.decoder.layers.0.fc1.weight"
    torch.testing.assert_close(found[name], (ours[0][name] + ours[1][name]) / 2, rtol=0, atol=1e-6)
    assert not checksums.faults(out) and not (out / "run.json").exists()
    made_of = json.loads((out / "merged.json").read_text())
    assert made_of == {"how": "arithmetic", "factors": [0.5, 0.5], "base": STARTER.name, "models": ["tuned1", "tuned2"]}


def test_ties_and_factors(tuned, tmp_path, capsys):
    assert merge(*tuned, "--base", STARTER, "--how", "ties", "--factors", "0.6", "--out", tmp_path / "ties") == 0
    assert json.loads((tmp_path / "ties" / "merged.json").read_text())["density"] == 0.2
    assert merge(*tuned, "--base", STARTER, "--factors", "0,1", "--out", tmp_path / "second") == 0
    second, merged = (load_file(of / "model.safetensors") for of in (tuned[1], tmp_path / "second"))
    for name, tensor in second.items():
        torch.testing.assert_close(merged[name], tensor, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--how", "mean"], "--how mean: expected arithmetic or ties"),
        (["--factors", "0.5,0.2,0.1"], "--factors '0.5,0.2,0.1': expected a number, or 2 with commas"),
        (["--factors", "half"], "--factors 'half': expected a number"),
        (["--factors", "nan"], "--factors 'nan': expected a number"),
        (["--how", "ties", "--factors", "1,1"], "expected a number, or 1 with commas"),
        (["--how", "ties", "--density", "0"], "--density 0: expected a share above 0, at most 1"),
        (["--density", "nan"], "--density nan: expected a share"),
    ],
)
def test_odd_words(words, says, tuned, tmp_path, capsys):
    assert merge(*tuned, "--base", STARTER, "--out", tmp_path / "out", *words) == 2
    assert says in capsys.readouterr().err and not (tmp_path / "out").exists()


def test_pieces_come_along_and_are_the_same(tmp_path, capsys):
    folders = [tmp_path / name for name in ("old", "new", "other")]
    for folder, text in zip(folders, ("een twee drie", "een twee drie", "vier vijf zes"), strict=True):
        folder.mkdir()
        (folder / "config.json").write_text('{"model_type": "wav2vec2-bert"}')
        save_file({"lm_head.weight": torch.rand(12, 4)}, folder / "model.safetensors")
        Pieces.train([text] * 9, 11, folder / Pieces.FILE, "char")
    old, new, other = folders
    assert merge(new, "--base", old, "--out", tmp_path / "out") == 0
    assert Pieces.from_folder(tmp_path / "out").symbols == Pieces.from_folder(old).symbols
    for base, tuned in ((old, other), (old, tmp_path / "without")):
        shutil.copytree(new, tmp_path / "without", dirs_exist_ok=True)
        (tmp_path / "without" / Pieces.FILE).unlink()
        assert merge(tuned, "--base", base, "--out", tmp_path / "none") == 2
        assert f"{tuned / Pieces.FILE} is not {base / Pieces.FILE}" in capsys.readouterr().err


def other_shape(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    name = "model.decoder.embed_tokens.weight"
    tensors[name] = tensors[name][:-1].clone()
    save_file(tensors, folder / "model.safetensors")


def other_numbers(folder: Path) -> None:
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    vocab = tokenizer["model"]["vocab"]
    first, second = list(vocab)[:2]
    vocab[first], vocab[second] = vocab[second], vocab[first]
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))


def other_kind(folder: Path) -> None:
    (folder / "config.json").write_text('{"model_type": "bert"}')


def cut(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:1000])


def gone(folder: Path) -> None:
    (folder / "model.safetensors").unlink()


def edited(folder: Path) -> None:
    checksums.seal(folder)
    (folder / "config.json").write_text((folder / "config.json").read_text() + "\n")


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (other_shape, "model.decoder.embed_tokens.weight is ["),
        (other_numbers, "numbers tokens otherwise"),
        (other_kind, "expected a wav2vec2"),
        (cut, "model.safetensors"),
        (gone, "no model.safetensors"),
        (edited, "is not as it was written"),
    ],
)
def test_models_that_cannot_be_merged(damage, says, tuned, tmp_path, capsys):
    damage(tuned[1])
    assert merge(*tuned, "--base", STARTER, "--out", tmp_path / "out") == 2
    assert says in capsys.readouterr().err and not (tmp_path / "out").exists()


def test_what_is_there_stays(tuned, tmp_path, capsys):
    assert merge(tuned[0], "--base", STARTER, "--out", tuned[1]) == 2
    assert "is there already" in capsys.readouterr().err
    assert merge(tmp_path / "none", "--base", STARTER, "--out", tmp_path / "out") == 2
