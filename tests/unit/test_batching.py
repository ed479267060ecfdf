"""carryover/data/batching.py: every utterance once, little padding, an order that seed and epoch decide."""

import random

import pytest
import torch

from carryover.data.batching import LengthGrouped, with_lengths

CHANCE = random.Random(1)
LENGTHS = [CHANCE.uniform(0.5, 6.0) for _ in range(1003)]


def padding(order, size):
    batches = [[LENGTHS[i] for i in order[start : start + size]] for start in range(0, len(order), size)]
    padded = sum(len(batch) * max(batch) for batch in batches)
    return 1 - sum(LENGTHS) / padded


def test_every_utterance_once_and_the_short_batch_last():
    order = list(LengthGrouped(LENGTHS, 16, seed=3))
    assert sorted(order) == list(range(1003))
    spread = [max(part) - min(part) for part in ([LENGTHS[i] for i in order[n : n + 16]] for n in range(0, 992, 16))]
    assert sorted(spread)[len(spread) // 2] < 0.3  # of 5.5: the batches are not shifted against the groups


def test_padding_is_a_fraction_of_that_of_a_random_order():
    shuffled = random.Random(2).sample(range(1003), 1003)
    assert padding(shuffled, 16) > 0.35
    assert padding(list(LengthGrouped(LENGTHS, 16, seed=3)), 16) < 0.05


def test_batches_do_not_go_from_long_to_short():
    order = list(LengthGrouped(LENGTHS, 16, seed=3))
    longest = [max(LENGTHS[i] for i in order[n : n + 16]) for n in range(0, 992, 16)]
    falls = sum(a > b for a, b in zip(longest, longest[1:], strict=False)) / (len(longest) - 1)
    assert 0.3 < falls < 0.7


def test_seed_and_epoch_decide_the_order():
    def order(seed, epoch):
        sampler = LengthGrouped(LENGTHS, 8, seed)
        sampler.set_epoch(epoch)
        return list(sampler)

    assert order(1, 2) == order(1, 2)
    assert order(1, 2) != order(1, 3) and order(1, 2) != order(7, 2)


@pytest.mark.parametrize("n", [1, 3, 16, 17])
def test_few_utterances(n):
    assert sorted(LengthGrouped(LENGTHS[:n], 16, seed=1)) == list(range(n))


def test_lengths_are_not_one_short():
    sizes = [(n, size) for size in range(1, 300) for n in range(1, size + 1)]
    for size in range(1, 300):
        relative = torch.tensor([n / size for n in range(1, size + 1)])
        padded, lengths = with_lengths(torch.zeros(size, size), relative)
        assert lengths.tolist() == list(range(1, size + 1)) and padded.shape == (size, size)
    floored = sum(int(torch.tensor(n / size) * size) < n for n, size in sizes[:2000])
    assert floored > 0  # what this is for
