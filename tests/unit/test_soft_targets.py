"""Distillation: the divergence against closed forms, what is kept, and what is refused."""

import math

import pytest
import torch

from carryover.losses import NoDistillation, SoftTargets, divergence
from carryover.models.frozen import Frozen, Kept
from carryover.models.sequence_model import SequenceCTC

V = 5


class Table(torch.nn.Module):
    """A teacher that counts its calls: (inputs (B, F, D), lengths) -> logits (B, F, V), frames."""

    def __init__(self, width=3, units=V, stride=1, seed=0):
        super().__init__()
        torch.manual_seed(seed)
        self.linear, self.dropout = torch.nn.Linear(width, units), torch.nn.Dropout(0.5)
        self.stride, self.calls = stride, 0

    def settings(self):
        return {}

    def forward(self, inputs, lengths):
        self.calls += 1
        logits = self.linear(self.dropout(inputs))[:, :: self.stride]
        return logits, (lengths + self.stride - 1) // self.stride


def logits_of(*shape, seed=0, scale=2.0, dtype=torch.float32):
    return scale * torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def inputs_of(*lengths, width=3, padding=0.0, seed=5):
    clips = [logits_of(n, width, seed=seed + i) for i, n in enumerate(lengths)]
    padded = torch.nn.utils.rnn.pad_sequence(clips, batch_first=True, padding_value=padding)
    return padded, torch.tensor(lengths)


# ---- the divergence ----


def test_two_classes_by_hand():
    # one frame, t = 2: logits 2 ln 3 and 0 soften to (3/4, 1/4), logits 0 and 0 to (1/2, 1/2)
    teacher, student = torch.tensor([[[2 * math.log(3), 0.0]]]), torch.zeros(1, 1, 2)
    wanted = 4 * (0.75 * math.log(1.5) + 0.25 * math.log(0.5))
    assert divergence(teacher, student, torch.tensor([1]), 2.0).item() == pytest.approx(wanted, rel=1e-6)
    # and the other way round it is another number: the teacher's posteriors are the weights
    back = 4 * (0.5 * math.log(0.5 / 0.75) + 0.5 * math.log(0.5 / 0.25))
    assert divergence(student, teacher, torch.tensor([1]), 2.0).item() == pytest.approx(back, rel=1e-6)
    assert abs(wanted - back) > 0.01


@pytest.mark.parametrize("t", [0.5, 1.0, 2.0, 4.0])
def test_it_is_kl_div_summed_over_frames_mean_over_utterances(t):
    teacher, student, frames = logits_of(3, 6, V), logits_of(3, 6, V, seed=1), torch.tensor([6, 4, 1])
    total = 0.0
    for p, q, n in zip(teacher.double(), student.double(), frames, strict=True):
        p, q = (p[:n] / t).softmax(-1), (q[:n] / t).softmax(-1)
        total += t * t * torch.nn.functional.kl_div(q.log(), p, reduction="sum").item()
        pairs = torch.distributions.Categorical(p), torch.distributions.Categorical(q)
        total += t * t * torch.distributions.kl_divergence(*pairs).sum().item()
    found = divergence(teacher, student, frames, t).item()
    assert found == pytest.approx(total / 2 / 3, rel=1e-6)
    # log-probabilities are logits, too: a constant in each frame has no part in it
    assert divergence(teacher.log_softmax(-1), student, frames, t).item() == pytest.approx(found, rel=1e-6)


@pytest.mark.parametrize("t", [1.0, 2.0, 5.0])
def test_its_gradient_is_t_times_the_difference_of_posteriors(t):
    teacher, frames = logits_of(2, 4, V), torch.tensor([4, 2])
    student = logits_of(2, 4, V, seed=1).requires_grad_()
    [found] = torch.autograd.grad(divergence(teacher, student, frames, t), student)
    heard = (torch.arange(4) < frames[:, None])[..., None]
    analytic = t * ((student / t).softmax(-1) - (teacher / t).softmax(-1)) * heard / 2
    assert (found - analytic).abs().max() < 1e-6
    # autograd of the formula written out, in double precision
    double = student.detach().double().requires_grad_()
    p, q = (teacher.double() / t).softmax(-1), (double / t).softmax(-1)
    [formula] = torch.autograd.grad((t * t * p * (p / q).log() * heard).sum() / 2, double)
    assert (found - formula).abs().max() < 1e-6


def test_limits_of_the_temperature():
    teacher, student, frames = logits_of(1, 3, V, scale=1.0), logits_of(1, 3, V, seed=1, scale=1.0), torch.tensor([3])
    # t = 1 is the plain divergence
    log_p, log_q = teacher.log_softmax(-1), student.log_softmax(-1)
    assert divergence(teacher, student, frames, 1.0).item() == pytest.approx(
        (log_p.exp() * (log_p - log_q)).sum().item(), rel=1e-6
    )
    # t -> infinity: 1 / (2V) of the squared differences of centred logits, to 0.2 % at t = 30, from 19 % at t = 1; much
    # further up (t = 300) float32 rounds off more than that
    centred = [logits - logits.mean(-1, keepdim=True) for logits in (teacher, student)]
    limit = (centred[0] - centred[1]).square().sum().item() / (2 * V)
    deviations = [abs(divergence(teacher, student, frames, t).item() / limit - 1) for t in (1.0, 3.0, 10.0, 30.0)]
    assert deviations[3] < 2e-3 and deviations[2] < 1e-2 and deviations[1] < 0.05 and deviations[0] > 0.1
    # t -> 0: t times what the student's logit of the teacher's first choice lacks to the student's own, nothing else
    gaps = student.amax(-1) - student.gather(-1, teacher.argmax(-1, keepdim=True))[..., 0]
    assert divergence(teacher, student, frames, 1e-3).item() == pytest.approx(1e-3 * gaps.sum().item(), rel=1e-3)
    assert gaps.sum() > 0.5


def test_equal_models_have_no_term_and_no_gradient():
    student = logits_of(2, 4, V).requires_grad_()
    kd = divergence(student.detach(), student, torch.tensor([4, 3]), 3.0)
    [gradient] = torch.autograd.grad(kd, student)
    assert abs(kd.item()) < 1e-6 and gradient.abs().max() < 1e-6


@pytest.mark.parametrize("padding", [1e4, math.nan, math.inf])
def test_padded_frames_have_no_part(padding):
    teacher, student, frames = logits_of(2, 5, V), logits_of(2, 5, V, seed=1), torch.tensor([5, 2])

    def compute(teacher, student):
        student = student.clone().requires_grad_()
        kd = divergence(teacher, student, frames, 2.0)
        return kd.item(), torch.autograd.grad(kd, student)[0]

    wanted, gradient = compute(teacher, student)
    dirty = [logits.clone() for logits in (teacher, student)]
    for logits in dirty:
        logits[1, 2:] = padding
    found, theirs = compute(*dirty)
    assert found == pytest.approx(wanted, rel=1e-6) and (theirs - gradient).abs().max() < 1e-6
    assert not theirs[1, 2:].any()


# ---- teachers ----


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("CARRYOVER_CACHE", str(tmp_path / "cache"))


def soft(teacher, temperature=2.0, precision="float32"):
    kept = Kept(precision)
    kept.plain = True
    found = SoftTargets(Frozen.of(teacher, kept=kept), temperature)
    found.begin(Table(seed=1))
    return found


def test_without_distillation_there_is_no_term():
    inputs, frames = inputs_of(4, 3), torch.tensor([4, 3])
    nothing = NoDistillation()
    nothing.begin(Table())
    assert nothing.terms(inputs, logits_of(2, 4, V), frames) == {}


def test_a_teacher_is_asked_once_for_an_utterance_and_says_what_it_would_say_again():
    inputs, frames = inputs_of(4, 3), torch.tensor([4, 3])
    kept, asked = soft(Table()), soft(Table(), precision=None)
    for seed in range(3):
        logits = logits_of(2, 4, V, seed=seed)
        found = [one.terms(inputs, logits, frames)["kd"].item() for one in (kept, asked)]
        assert found[0] == pytest.approx(found[1], rel=1e-6)
    assert (kept.teacher.module.calls, asked.teacher.module.calls) == (2, 3)
    # known utterances in another batch, in another order, with a new one
    inputs, frames = inputs_of(3, 6, 4, seed=6), torch.tensor([3, 6, 4])
    known, _ = inputs_of(4, 3)
    inputs[0][2, :4], inputs[0][0, :3] = known[0], known[1, :3]
    logits = logits_of(3, 6, V)
    found = [one.terms(inputs, logits, frames)["kd"].item() for one in (kept, asked)]
    assert found[0] == pytest.approx(found[1], rel=1e-6) and kept.teacher.module.calls == 3


def test_what_was_augmented_is_asked_for_every_time():
    distillation, frames = soft(Table()), torch.tensor([4, 3])
    logits = logits_of(2, 4, V)
    plain = distillation.terms(inputs_of(4, 3), logits, frames)["kd"].item()
    distillation.teacher.kept.plain = False  # what the Brain says where it augments
    other = inputs_of(4, 3, seed=9)
    augmented = distillation.terms(other, logits, frames)["kd"].item()
    with torch.no_grad():
        theirs, _ = distillation.teacher(*other)
    assert augmented == pytest.approx(divergence(theirs, logits, frames, 2.0).item(), rel=1e-6)
    assert abs(augmented - plain) > 1e-3 and distillation.teacher.module.calls == 2 + 2


def test_what_is_kept_does_not_depend_on_the_batch_to_the_last_bit():
    """So that a resumed run, which asks anew and in other batches, goes on as the first would have."""
    torch.manual_seed(2)
    shape = {"d_model": 16, "layers": 2, "heads": 2, "d_ffn": 32, "dropout": 0.1}
    teacher = SequenceCTC(3, V, **shape)
    inputs, lengths = inputs_of(17, 30)
    logits, frames = logits_of(2, 8, V), teacher.frames(lengths)
    first, second = soft(teacher), soft(teacher)
    together, _ = first.teacher(inputs, lengths)
    first.terms((inputs, lengths), logits, frames)
    alone, _ = second.teacher(inputs[:1, :17], lengths[:1])
    assert torch.equal(together[0, : frames[0]], alone[0]) and alone.dtype == torch.float32
    assert (first.teacher.computed, second.teacher.computed) == (2, 1)


@pytest.mark.parametrize("keep", ["float32", None])
def test_what_is_behind_an_utterance_has_no_part(keep):
    torch.manual_seed(2)
    shape = {"d_model": 16, "layers": 1, "heads": 2, "d_ffn": 32, "dropout": 0.0, "strides": [2]}
    teacher, student = SequenceCTC(3, V, **shape), SequenceCTC(3, V, **shape)

    def compute(padding):
        distillation = soft(teacher, precision=keep)
        inputs, lengths = inputs_of(6, 12, padding=padding)
        logits, frames = student(inputs, lengths)
        kd = distillation.terms((inputs, lengths), logits, frames)["kd"]
        return kd.item(), torch.autograd.grad(kd, list(student.parameters()))

    (wanted, gradients), (found, theirs) = compute(0.0), compute(1e3)
    assert wanted > 1e-3 and found == pytest.approx(wanted, rel=1e-6)
    assert all((a - b).abs().max() < 1e-6 for a, b in zip(gradients, theirs, strict=True))


def test_a_teacher_is_frozen_without_dropout_and_no_part_of_the_student():
    teacher, student = Table().train(), Table(seed=1)
    distillation = SoftTargets(Frozen.of(teacher), 1.0)
    distillation.begin(student)
    student.train()
    inputs, frames = inputs_of(4, 3), torch.tensor([4, 3])
    logits, _ = student(*inputs)
    values = [distillation.terms(inputs, logits, frames)["kd"] for _ in range(2)]
    assert torch.equal(*values)
    values[0].backward()
    assert all(p.grad is None and not p.requires_grad for p in teacher.parameters())
    assert all(p.grad is not None and p.requires_grad for p in student.parameters())
    assert set(student.state_dict()) == {"linear.weight", "linear.bias"}
    with pytest.raises(ValueError, match="teacher: it shares parameters with the student"):
        SoftTargets(Frozen.of(student)).begin(student)
    assert all(p.requires_grad for p in student.parameters())


@pytest.mark.parametrize("keep", ["float32", None])
def test_another_stride_or_vocabulary_is_refused(keep):
    inputs, frames, logits = inputs_of(4, 3), torch.tensor([4, 3]), logits_of(2, 4, V)
    with pytest.raises(ValueError, match="teacher: 2 frames of an utterance of which the student has 4"):
        soft(Table(stride=2), precision=keep).terms(inputs, logits, frames)
    for units in (1, V - 1, V + 2):
        with pytest.raises(ValueError, match=f"teacher: it writes {units} units, the student {V}"):
            soft(Table(units=units), precision=keep).terms(inputs, logits, frames)


@pytest.mark.parametrize("temperature", [0.0, -1.0, math.nan, math.inf])
def test_a_temperature_that_is_none_is_refused(temperature):
    with pytest.raises(ValueError, match="temperature: .*; give a number above 0"):
        SoftTargets(Frozen.of(Table()), temperature)
