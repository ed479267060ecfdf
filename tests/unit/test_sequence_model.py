"""CTC on feature sequences: padding, lengths, the shape at full size, and what a folder gives back."""

import inspect
import json

import pytest
import torch
from hyperpyyaml import load_hyperpyyaml

from carryover.losses import ctc
from carryover.models.sequence_model import SequenceCTC, load

SHAPE = {"d_model": 16, "layers": 2, "heads": 2, "d_ffn": 32, "kernel_size": 3, "strides": [2, 2]}
WIDTH, UNITS = 6, 5


def make(dtype=torch.float32, **changes):
    """A small model in evaluation mode whose biases and norms are not the zeros and ones that would hide a leak."""
    torch.manual_seed(3)
    model = SequenceCTC(**({"width": WIDTH, "units": UNITS, "dropout": 0.0} | SHAPE | changes))
    for p in model.parameters():
        if p.ndim == 1:
            torch.nn.init.normal_(p)
    return model.to(dtype).eval()


def features(*lengths, dtype=torch.float32):
    generator = torch.Generator().manual_seed(4)
    return [torch.randn(n, WIDTH, generator=generator, dtype=dtype) for n in lengths]


def batch_of(clips, padding):
    """(B, F + 3, D), what is behind each clip filled with `padding`."""
    longest = max(map(len, clips)) + 3
    padded = torch.full((len(clips), longest, WIDTH), padding, dtype=clips[0].dtype)
    for row, clip in zip(padded, clips, strict=True):
        row[: len(clip)] = clip
    return padded, torch.tensor([len(clip) for clip in clips])


@pytest.mark.parametrize("padding", [0.0, 1e4, float("nan")])
@pytest.mark.parametrize("strides", [[2, 2], [1, 2, 2], [4], [3, 1]])
def test_padding_changes_no_logit_and_no_gradient(strides, padding):
    def compute(model, inputs, lengths):
        """Logits of the first clip's frames, and the gradient of a function of them."""
        logits, frames = model(inputs, lengths)
        heard = logits[0, : frames[0]]
        return heard, torch.autograd.grad(heard.square().sum(), list(model.parameters()))

    # in double precision a leak would stand out; in float32 sums are rounded in another order
    for dtype, tolerance in ((torch.float64, 1e-12), (torch.float32, 1e-6)):
        model = make(dtype, strides=strides)
        clips = features(9, 21, 1, dtype=dtype)
        for first in clips[:1] + clips[2:]:
            alone, own = compute(model, first[None], torch.tensor([len(first)]))
            batched, theirs = compute(model, *batch_of([first, *clips], padding))
            scale = alone.abs().max().item()
            assert (alone - batched).abs().max() < tolerance * max(1, scale)
            for a, b in zip(own, theirs, strict=True):
                assert (a - b).abs().max() <= 3 * tolerance * max(1, a.abs().max().item())


def test_every_frame_within_a_clip_is_heard_and_its_length_matters():
    model, [clip] = make(torch.float64), features(13, dtype=torch.float64)
    lengths = torch.tensor([13])
    reference, _ = model(clip[None], lengths)
    for i in range(13):
        other = clip.clone()
        other[i] += 1.0
        assert (model(other[None], lengths)[0] - reference).abs().max() > 1e-3, i
    assert (model(clip[None], torch.tensor([9]))[0][:, :3] - reference[:, :3]).abs().max() > 1e-3


def test_positions_matter():
    model, [clip] = make(torch.float64, kernel_size=1, strides=[1]), features(8, dtype=torch.float64)
    there, _ = model(clip[None], torch.tensor([8]))
    back, _ = model(clip.flip(0)[None], torch.tensor([8]))  # without positions only the order would change
    assert (there - back.flip(1)).abs().max() > 1e-3


@pytest.mark.parametrize("kernel_size", [1, 3, 5])
@pytest.mark.parametrize("strides", [[1], [2], [2, 2], [4], [3, 2], [1, 2, 2]])
def test_frames_are_what_comes_out(strides, kernel_size):
    model = make(strides=strides, kernel_size=kernel_size)
    total = torch.tensor(strides).prod().item()
    for n in range(1, 14):
        logits, frames = model(torch.randn(1, n, WIDTH), torch.tensor([n]))
        assert logits.shape == (1, -(-n // total), UNITS) and frames.tolist() == [logits.shape[1]]
    lengths = torch.arange(1, 14)
    assert torch.equal(model.frames(lengths), (lengths / total).ceil().long())
    assert torch.equal(model.frames(lengths, 1), (lengths / strides[0]).ceil().long())
    wanted = [min(n for n in range(1, 50) if -(-n // total) >= frames) for frames in range(5)]
    assert model.fewest_inputs(torch.arange(5)).tolist() == wanted


def test_at_full_size_a_teacher_has_50_million_parameters_and_its_student_a_tenth_to_a_fourth():
    def count(**shape):
        with torch.device("meta"):
            model = SequenceCTC(width=6516, units=1200, **shape)
        return sum(p.numel() for p in model.parameters())

    teacher = count(d_model=512, layers=14, heads=8, d_ffn=2048)
    student = count(d_model=256, layers=6, heads=4, d_ffn=1024)

    def by_hand(d, layers, ffn, kernel=5, convolutions=2):
        norm, head = 2 * d, 1200 * (d + 1)
        layer = 3 * d * d + d * d + d + 2 * d * ffn + ffn + d + 2 * norm  # queries, keys, values without bias
        return (6516 + 1) * d + norm + convolutions * (kernel * d * d + d + norm) + layers * layer + norm + head

    assert (teacher, student) == (by_hand(512, 14, 2048), by_hand(256, 6, 1024)) == (50_690_736, 7_368_624)
    assert 4 < teacher / student < 10


def test_it_learns_and_dropout_acts_in_training_alone():
    torch.manual_seed(0)
    model = SequenceCTC(WIDTH, UNITS, dropout=0.3, **(SHAPE | {"strides": [2]}))
    inputs, lengths = batch_of(features(12, 16), 0.0)
    targets, numbers = torch.tensor([[1, 2, 3], [4, 1, 0]]), torch.tensor([3, 2])
    assert (model(inputs, lengths)[0] - model(inputs, lengths)[0]).abs().max() > 1e-3
    model.eval()
    assert torch.equal(model(inputs, lengths)[0], model(inputs, lengths)[0])
    losses = []
    for _ in range(60):
        logits, frames = model(inputs, lengths)
        loss = -ctc.log_likelihood(logits.log_softmax(-1), frames, targets, numbers, 0).mean()
        gradients = torch.autograd.grad(loss, list(model.parameters()))
        with torch.no_grad():
            for p, g in zip(model.parameters(), gradients, strict=True):
                p -= 0.05 * g
        losses.append(loss.item())
    assert losses[-1] < 0.1 * losses[0]
    assert ctc.greedy(logits, frames, 0) == [[1, 2, 3], [4, 1]]


def test_nothing_is_new_for_a_penalty():
    model = make()
    assert model.new_parameters() == {} and model.new_units == []


def test_a_folder_gives_back_the_same_model_and_leaves_the_random_numbers(tmp_path):
    model = make()
    model.save(tmp_path / "model")
    inputs, lengths = batch_of(features(9, 14), 0.0)
    state = torch.get_rng_state()
    again = SequenceCTC.from_folder(tmp_path / "model").eval()
    assert torch.equal(torch.get_rng_state(), state)
    assert again.config == model.config == {"width": WIDTH, "units": UNITS, "dropout": 0.0} | SHAPE
    assert torch.equal(again(inputs, lengths)[0], model(inputs, lengths)[0])


def test_load_takes_weights_and_the_yamls_dropout(tmp_path):
    model = make(dropout=0.2)
    model.save(tmp_path)
    state = model.state_dict()
    found = load(str(tmp_path), WIDTH, UNITS, dropout=0.4, **SHAPE)
    assert all(torch.equal(tensor, state[name]) for name, tensor in found.state_dict().items())
    assert found.config == model.config | {"dropout": 0.4}
    dropouts = {m.p for m in found.modules() if isinstance(m, torch.nn.Dropout)}
    assert dropouts == {0.4} and {layer.self_att.dropout for layer in found.encoder.layers} == {0.4}
    assert load(str(tmp_path), WIDTH, UNITS, dropout=0.4, **(SHAPE | {"strides": (2, 2)})).config == found.config


def test_load_without_a_source_draws_weights(capsys):
    torch.manual_seed(1)
    one = load(None, WIDTH, UNITS, dropout=0.1, **SHAPE)
    torch.manual_seed(2)
    two = load(None, WIDTH, UNITS, dropout=0.1, **SHAPE)
    assert not torch.equal(one.head.weight, two.head.weight) and one.config["dropout"] == 0.1
    assert f"random weights, {sum(p.numel() for p in one.parameters()):,} parameters" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"width": 9}, r"width is 6 there and 9 here \(prepare the features"),
        ({"units": 7}, r"units is 5 there and 7 here \(give the vocabulary"),
        ({"strides": [2]}, r"strides is \[2, 2\] there and \[2\] here \(change the key"),
        ({"layers": 3, "d_ffn": 64}, r"layers is 2 there and 3 here .*; d_ffn is 32 there and 64 here"),
    ],
)
def test_a_folder_of_another_shape_is_refused(tmp_path, changes, message):
    make().save(tmp_path)
    with pytest.raises(ValueError, match=message):
        load(str(tmp_path), **({"width": WIDTH, "units": UNITS, "dropout": 0.0} | SHAPE | changes))


def test_what_is_no_model_folder_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere has no config.json and no model.safetensors"):
        load(str(tmp_path / "nowhere"), WIDTH, UNITS, dropout=0.0, **SHAPE)
    make().save(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "wav2vec2", "vocab_size": 32}))
    with pytest.raises(ValueError, match="config.json holds model_type, vocab_size; expected d_ffn, d_model"):
        SequenceCTC.from_folder(tmp_path)
    make().save(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"units": 8}))
    with pytest.raises(RuntimeError, match=r"(?s)model.safetensors does not hold the weights of this model.*head"):
        SequenceCTC.from_folder(tmp_path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"units": 1}, "units: 1; give 2 or more"),
        ({"layers": 0}, "layers: 0; give 1 or more"),
        ({"heads": 3}, r"d_model: 16 is no multiple of 2 \* heads = 6"),
        ({"kernel_size": 4}, "kernel_size: 4; give an odd number"),
        ({"strides": []}, r"strides: \[\]; give a number of 1 or more"),
        ({"strides": [2, 0]}, r"strides: \[2, 0\]"),
        ({"dropout": 1.0}, "dropout: 1.0; give a probability"),
    ],
)
def test_arguments_out_of_range_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        make(**changes)


def test_inputs_that_are_not_the_models_are_refused():
    with pytest.raises(ValueError, match="features: 7 values a frame, but the model takes width 6"):
        make()(torch.zeros(1, 4, 7), torch.tensor([4]))
    with pytest.raises(ValueError, match=r"lengths: \[4, 0\] frames"):
        make()(torch.zeros(2, 4, WIDTH), torch.tensor([4, 0]))


def test_a_yaml_makes_it_and_its_teacher(tmp_path):
    make().save(tmp_path)
    made = load_hyperpyyaml(f"""
width: {WIDTH}
strides: [2, 2]
model: !apply:carryover.models.sequence_model.load
    source: null
    width: !ref <width>
    units: {UNITS}
    dropout: 0.1
    strides: !ref <strides>
distillation: !new:carryover.losses.SoftTargets
    teacher: !apply:carryover.models.frozen.Frozen.of
        module: !apply:carryover.models.sequence_model.SequenceCTC.from_folder [{tmp_path}]
""")
    assert made["model"].config["d_model"] == inspect.signature(SequenceCTC).parameters["d_model"].default
    assert made["model"].config["strides"] == [2, 2]
    assert made["distillation"].teacher.module.config["d_model"] == SHAPE["d_model"]
