"""carryover/data/batching.py: every utterance once, little padding, an order that seed and epoch decide."""

import random

import pytest
import soundfile
import torch

from carryover.config import profiles
from carryover.config.settings import SettingsError
from carryover.data.batching import FilledBatches, LengthGrouped, with_lengths

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


# ---- filled by seconds ----


def filled(lengths, seconds, epoch=0, **more):
    sampler = FilledBatches(lengths, seconds, seed=3, **more)
    sampler.set_epoch(epoch)
    batches = list(sampler)
    assert len(batches) == len(sampler)
    return batches


def padded(lengths, batch):
    return len(batch) * max(lengths[i] for i in batch)


@pytest.mark.parametrize("error", [0.0, 0.01, 0.1])
@pytest.mark.parametrize("seconds", [5.0, 30.0, 120.0])
def test_batches_are_filled_and_never_over(seconds, error):
    """In every epoch: all utterances once, as many batches, and none longer than asked but of a single utterance."""
    lengths = [*LENGTHS, 200.0]
    numbers = set()
    for epoch in range(4):
        batches = filled(lengths, seconds, epoch, error=error)
        assert sorted(i for batch in batches for i in batch) == list(range(1004))
        assert [batch for batch in batches if 1003 in batch] == [[1003]]  # 200 s
        sums = [padded(lengths, batch) for batch in batches if len(batch) > 1]
        assert max(sums) <= seconds
        numbers.add(len(batches))
    assert len(numbers) == 1
    if seconds == 120.0 and error == 0.01:
        assert sorted(sums)[1] > 0.93 * seconds  # but for the last, which holds the rest


def test_mates_and_order_change_with_the_epoch_and_the_seed_decides_them():
    assert filled(LENGTHS, 30, 1) == filled(LENGTHS, 30, 1)
    first, second = ({frozenset(batch) for batch in filled(LENGTHS, 30, epoch)} for epoch in (1, 2))
    assert len(first & second) < 0.2 * len(first)
    longest = [max(LENGTHS[i] for i in batch) for batch in filled(LENGTHS, 30, 1)]
    falls = sum(a > b for a, b in zip(longest, longest[1:], strict=False)) / (len(longest) - 1)
    assert 0.3 < falls < 0.7  # not from long to short


def test_padding_on_the_embedded_corpus(tmp_path):
    """An eighth of it and of the seconds: 1.6 % (all of it, 2.4 h and 120 s: 1.5 %)."""
    pytest.importorskip("espeakng_loader")
    from local import synthetic

    made = synthetic.utterances(tmp_path, "nl", ["train"], hours=0.3, workers=2)
    lengths = [soundfile.info(str(utterance.audio)).duration for utterance in made]
    batches = filled(lengths, 30.0)
    assert len(lengths) > 400 and len(batches) < 45
    share = 1 - sum(lengths) / sum(padded(lengths, batch) for batch in batches)
    assert share <= 0.03, f"{share:.1%}"


@pytest.mark.parametrize("n", [1, 2, 17])
def test_few_utterances_by_seconds(n):
    assert sorted(i for batch in filled(LENGTHS[:n], 10.0) for i in batch) == list(range(n))


def test_the_size_of_a_batch_is_said_once():
    profiles.require_one_size({"batch_seconds": None, "batch_size": 8}, {"batch_size": "8"})
    profiles.require_one_size({"batch_seconds": 120, "batch_size": 8}, {"batch_seconds": "120"})
    with pytest.raises(SettingsError, match="batch_seconds: 120 and batch_size: 8 .* both say how large a batch is"):
        profiles.require_one_size({"batch_seconds": 120, "batch_size": 8}, {"batch_size": "8"})


def test_lengths_are_not_one_short():
    sizes = [(n, size) for size in range(1, 300) for n in range(1, size + 1)]
    for size in range(1, 300):
        relative = torch.tensor([n / size for n in range(1, size + 1)])
        padded, lengths = with_lengths(torch.zeros(size, size), relative)
        assert lengths.tolist() == list(range(1, size + 1)) and padded.shape == (size, size)
    floored = sum(int(torch.tensor(n / size) * size) < n for n, size in sizes[:2000])
    assert floored > 0  # what this is for
