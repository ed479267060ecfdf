"""The projector: lengths, padding, parameters in closed form, the scale of its output, and what a folder gives back."""

import json

import pytest
import torch
from safetensors import safe_open

from carryover.models import projector
from carryover.models.projector import MLP, Linear, SwiGLU

KINDS = {SwiGLU: {"hidden": 24}, MLP: {"hidden": 24}, Linear: {}}
D, E = 6, 10
MADE_FOR = {
    "encoder": {"source": "a/b", "revision": "c" * 40, "sha256": {"model.safetensors": "12"}},
    "prompts": ["<u>", "</u>"],
}


def make(kind, frames=2, **changes):
    torch.manual_seed(2)
    return kind(**({"input_width": D, "output_width": E, "frames": frames, "scale": 0.5} | KINDS[kind] | changes))


def states(*lengths, width=D):
    generator = torch.Generator().manual_seed(3)
    return [torch.randn(n, width, generator=generator) for n in lengths]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("k", [1, 2, 3])
@pytest.mark.parametrize("padding", [0.0, 1e4, float("nan")])
def test_padding_and_batch_mates_change_nothing(kind, k, padding):
    model, clips = make(kind, k), states(7, 1, 12)
    padded = torch.full((3, 14, D), padding)
    for row, clip in zip(padded, clips, strict=True):
        row[: len(clip)] = clip
    together, lengths = model(padded, torch.tensor([len(c) for c in clips]))
    assert lengths.tolist() == [-(-len(c) // k) for c in clips]
    for row, n, clip in zip(together, lengths.tolist(), clips, strict=True):
        alone, own = model(clip[None], torch.tensor([len(clip)]))
        assert alone.shape == (1, own.item(), E)
        torch.testing.assert_close(row[:n], alone[0], rtol=1e-5, atol=1e-6)


def test_three_seconds_of_whisper_large():
    """3 s -> 150 frames of 1280 -> 75 stacked vectors of 2560 -> 75 x 2048."""
    model, seen = SwiGLU(1280, 2048, hidden=16), []
    model.gate.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    encoded = torch.randn(1, 150, 1280)
    vectors, lengths = model(encoded, torch.tensor([150]))
    assert seen[0].shape == (1, 75, 2560)
    assert torch.equal(seen[0][0, 4], torch.cat([encoded[0, 8], encoded[0, 9]])), "frames side by side, in order"
    assert vectors.shape == (1, 75, 2048) and lengths.tolist() == [75]


@pytest.mark.parametrize("width, matrices", [(4096, 47_185_920), (2048, 36_700_160)])
def test_parameters_at_real_size(width, matrices):
    with torch.device("meta"):
        model = SwiGLU(1280, width, hidden=5120)
    count = {name: p.numel() for name, p in model.named_parameters()}
    assert count.pop("norm.weight") == width
    assert count == {"gate.weight": 2560 * 5120, "up.weight": 2560 * 5120, "down.weight": 5120 * width}
    assert sum(count.values()) == matrices and count["gate.weight"] == 13_107_200


def test_parameters_of_the_alternatives():
    assert sum(p.numel() for p in make(MLP).parameters()) == 2 * D * 24 + 24 + 24 * E + E + E
    assert sum(p.numel() for p in make(Linear).parameters()) == 2 * D * E + E + E


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("loudness", [1e-2, 1.0, 1e3])
def test_the_output_has_the_scale_of_the_embeddings_whatever_comes_in(kind, loudness):
    model = make(kind, scale=0.037)
    vectors, _ = model(loudness * states(40)[0][None], torch.tensor([40]))
    # SwiGLU is quadratic: 1e-2 comes out as 1e-4
    assert vectors.square().mean(dim=-1).sqrt().max().item() == pytest.approx(0.037, rel=1e-3)


def test_swiglu_is_its_equation():
    model = make(SwiGLU)
    x = torch.cat([*states(2)[0]])
    gate, up, down = (layer.weight.double() for layer in (model.gate, model.up, model.down))
    z, x = gate @ x.double(), x.double()
    y = down @ (z / (1 + (-z).exp()) * (up @ x))
    y = 0.5 * y / (y.square().mean()).sqrt()
    found, _ = model(states(2)[0][None], torch.tensor([2]))
    torch.testing.assert_close(found[0, 0].double(), y, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_a_folder_gives_back_the_same_and_little_more_than_the_parameters(kind, tmp_path):
    model, other = make(kind), make(kind)
    with torch.no_grad():
        for p in other.parameters():
            p.add_(1.0)
    projector.save(model, tmp_path, MADE_FOR)
    projector.load(other, tmp_path, MADE_FOR)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), other.parameters(), strict=True))
    with safe_open(tmp_path / projector.WEIGHTS, "pt") as file:
        assert set(file.keys()) == {name for name, _ in model.named_parameters()}
    moved = {**MADE_FOR, "encoder": {**MADE_FOR["encoder"], "source": "/elsewhere", "revision": None}}
    projector.load(other, tmp_path, moved)  # where the same weights lie makes no difference


def test_a_projector_of_other_models_is_refused(tmp_path):
    projector.save(make(SwiGLU), tmp_path, MADE_FOR)
    other = json.loads(json.dumps(MADE_FOR).replace("12", "13"))
    with pytest.raises(ValueError, match=r"made_for\.encoder\.sha256\.model\.safetensors is 12 there and 13 here"):
        projector.load(make(SwiGLU), tmp_path, other)
    with pytest.raises(ValueError, match="frames is 2 there and 3 here"):
        projector.load(make(SwiGLU, 3), tmp_path, MADE_FOR)
    with pytest.raises(ValueError, match="projector is SwiGLU there and MLP here"):
        projector.load(make(MLP), tmp_path, MADE_FOR)
    (tmp_path / projector.CONFIG).unlink()
    with pytest.raises(FileNotFoundError, match="holds no config.json"):
        projector.load(make(SwiGLU), tmp_path, MADE_FOR)


def test_widths_that_differ_are_named():
    with pytest.raises(ValueError, match="states are 8 wide, but it takes 6"):
        make(SwiGLU)(states(4, width=8)[0][None], torch.tensor([4]))
    with pytest.raises(ValueError, match="frames is 0"):
        make(Linear, 0)
