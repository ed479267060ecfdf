"""CTC beside the decoder: equal to torch's loss clip by clip, additive over batches, absent as a null object."""

import pytest
import torch

from carryover.ctc import CTCHead, NoCTC


def test_equals_torch_clip_by_clip_and_ignores_silence_after_the_clip():
    torch.manual_seed(0)
    head = CTCHead(width=16, pieces=11)
    states = torch.randn(3, 40, 16)
    frames, lengths = torch.tensor([40, 25, 9]), torch.tensor([6, 4, 2])
    targets = torch.randint(0, 11, (3, 8))
    found = head(states, frames, targets, lengths, units=7)["ctc"]
    wanted = 0.0
    for i in range(3):
        log_probs = head.linear(states[i : i + 1, : frames[i]]).log_softmax(-1).transpose(0, 1)
        target = targets[i : i + 1, : lengths[i]]
        wanted += torch.nn.functional.ctc_loss(
            log_probs, target, frames[i : i + 1], lengths[i : i + 1], blank=11, reduction="sum"
        )
    assert found.item() == pytest.approx(wanted.item() / 7, rel=1e-6)
    states[2, 9:] = 100.0
    assert head(states, frames, targets, lengths, units=7)["ctc"].item() == pytest.approx(found.item(), rel=1e-6)


def test_an_impossible_target_is_infinite_not_free():
    head = CTCHead(width=4, pieces=5)
    targets = torch.tensor([[1, 1, 1, 1]])  # four equal pieces need three blanks between them: 7 frames
    impossible = head(torch.randn(1, 6, 4), torch.tensor([6]), targets, torch.tensor([4]), units=4)["ctc"]
    possible = head(torch.randn(1, 7, 4), torch.tensor([7]), targets, torch.tensor([4]), units=4)["ctc"]
    assert torch.isinf(impossible) and torch.isfinite(possible)


def test_the_null_object_adds_no_term_and_has_no_parameters():
    head = NoCTC()
    assert head(None, None, None, None, None) == {} and not list(head.parameters())
