"""carryover/losses/cross_entropy.py against torch.nn.functional.cross_entropy, value and gradient to 1e-6."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from carryover import losses

IGNORED = -100


def ragged(seed, lengths, vocabulary, prompt=0):
    """Logits (B, U, V), targets (B, U) and the mask by length, without the prompt's positions."""
    generator = torch.Generator().manual_seed(seed)
    shape = len(lengths), max(lengths)
    logits = 3 * torch.randn(*shape, vocabulary, generator=generator)
    targets = torch.randint(vocabulary, shape, generator=generator)
    position = torch.arange(shape[1])
    mask = (position < torch.tensor(lengths)[:, None]) & (position >= prompt)
    return logits, targets, mask


def value_and_gradient(logits, loss):
    logits = logits.clone().requires_grad_()
    value = loss(logits)
    value.backward()
    return value.item(), logits.grad


def ours(logits, targets, mask, smoothing):
    return value_and_gradient(logits, lambda x: losses.nll(x.log_softmax(-1), targets, mask, smoothing))


def reference(logits, targets, mask, smoothing):
    return value_and_gradient(
        logits,
        lambda x: torch.nn.functional.cross_entropy(
            x.flatten(0, 1),
            targets.masked_fill(~mask, IGNORED).flatten(),
            ignore_index=IGNORED,
            label_smoothing=smoothing,
        ),
    )


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.5])
@settings(max_examples=30)
@given(
    seed=st.integers(0, 2**20),
    lengths=st.lists(st.integers(1, 9), min_size=1, max_size=5),
    vocabulary=st.integers(2, 30),
)
def test_equals_cross_entropy(smoothing, seed, lengths, vocabulary):
    logits, targets, mask = ragged(seed, lengths, vocabulary)
    value, gradient = ours(logits, targets, mask, smoothing)
    expected, expected_gradient = reference(logits, targets, mask, smoothing)
    assert value == pytest.approx(expected, rel=1e-6, abs=1e-6)
    torch.testing.assert_close(gradient, expected_gradient, rtol=0, atol=1e-6)


def test_prompt_is_masked_like_padding():
    logits, targets, mask = ragged(1, [7, 5, 9], 11, prompt=3)
    assert ours(logits, targets, mask, 0.1)[0] == pytest.approx(reference(logits, targets, mask, 0.1)[0], rel=1e-6)
    assert mask.sum() == 4 + 2 + 6


def test_closed_form():
    """Uniform log-probabilities: ln V with any smoothing. One sure symbol of three: 0.9 * 0 + 0.1 * (0 + 2 a) / 3."""
    uniform = torch.full((2, 4, 5), math.log(1 / 5))
    targets, mask = torch.zeros(2, 4, dtype=torch.long), torch.ones(2, 4, dtype=torch.bool)
    for smoothing in (0.0, 0.1):
        assert losses.nll(uniform, targets, mask, smoothing).item() == pytest.approx(math.log(5), rel=1e-6)
    sure = torch.tensor([[[0.0, -30.0, -30.0]]])
    loss = losses.nll(sure, torch.tensor([[0]]), torch.tensor([[True]]), 0.1)
    assert loss.item() == pytest.approx(0.1 * 60 / 3, rel=1e-6)


def test_mean_is_over_tokens_not_over_utterances():
    log_probs = torch.tensor([[[-1.0, -9.0]] * 3, [[-5.0, -9.0]] * 3])
    targets, mask = torch.zeros(2, 3, dtype=torch.long), torch.tensor([[True] * 3, [True, False, False]])
    assert losses.nll(log_probs, targets, mask).item() == pytest.approx((3 * 1 + 5) / 4)  # not (1 + 5) / 2


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("garbage", [50.0, -math.inf, math.nan])
def test_masked_positions_have_no_influence(smoothing, garbage):
    logits, targets, mask = ragged(5, [6, 2, 4], 7)
    log_probs = logits.log_softmax(-1)
    clean = losses.nll(log_probs, targets, mask, smoothing).item()
    spoiled = torch.where(mask[..., None], log_probs, torch.tensor(garbage)).requires_grad_()
    other_targets = torch.where(mask, targets, (targets + 3) % 7)
    loss = losses.nll(spoiled, other_targets, mask, smoothing)
    loss.backward()
    assert loss.item() == clean
    assert not spoiled.grad[~mask].any() and spoiled.grad[mask].isfinite().all()


def test_an_unmasked_position_does_count():
    logits, targets, mask = ragged(5, [6, 2, 4], 7)
    changed = torch.where(mask, (targets + 3) % 7, targets)
    log_probs = logits.log_softmax(-1)
    assert abs(losses.nll(log_probs, targets, mask).item() - losses.nll(log_probs, changed, mask).item()) > 1e-3
