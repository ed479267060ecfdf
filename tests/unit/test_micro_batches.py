"""micro_batches.py: halves equal what collation would have made, and out of memory changes no gradient."""

import gc
import random
import weakref

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from speechbrain.dataio.batch import PaddedBatch, PaddedData

from carryover.training.micro_batches import halve_until_it_fits, halves, is_out_of_memory, parts


@pytest.fixture(scope="module", autouse=True)
def quick_collection():
    """What the test session has imported is no garbage: `gc.collect` need not go through it each time."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


def example(i, samples, tokens, seed=0):
    """What a recipe's pipeline yields, and every kind of entry that PaddedBatch knows."""
    chance = torch.Generator().manual_seed(1000 * seed + i)
    return {
        "id": f"utterance{i}",
        "row": {"id": f"utterance{i}", "duration": samples / 16000, "text": "één"},
        "wav": torch.randn(samples, generator=chance),
        "tokens": torch.randint(50, (tokens,), generator=chance),
        "frames": torch.randn(samples // 3 + 1, 4, generator=chance),  # (T, F)
        "array": np.arange(samples, dtype=np.float32),  # becomes a padded tensor, too
        "words": ["een"] * tokens,
        "speaker": i,
        "weight": 0.5 * i,
        "pair": ("a", i),
        "nothing": None,
    }


def assert_equal(found, expected):
    """Two batches are the same to the last bit, in every entry, its type and its layout."""
    keys = [key for key in vars(expected) if not key.startswith("_")]
    assert [key for key in vars(found) if not key.startswith("_")] == keys and len(found) == len(expected)
    for key in keys:
        a, b = found[key], expected[key]
        assert type(a) is type(b), key
        if isinstance(b, PaddedData):
            assert a.data.dtype == b.data.dtype and a.lengths.dtype == b.lengths.dtype and a.data.is_contiguous()
            assert torch.equal(a.data, b.data) and torch.equal(a.lengths, b.lengths), key
        elif isinstance(b, torch.Tensor):
            assert a.dtype == b.dtype and torch.equal(a, b), key
        else:
            assert a == b, key


# ---- halves ----


@given(st.lists(st.tuples(st.integers(1, 2000), st.integers(1, 40)), min_size=2, max_size=9))
def test_halves_are_what_collation_would_have_made(sizes):
    examples = [example(i, *size) for i, size in enumerate(sizes)]
    middle = (len(examples) + 1) // 2
    first, second = halves(PaddedBatch(examples))
    assert_equal(first, PaddedBatch(examples[:middle]))
    assert_equal(second, PaddedBatch(examples[middle:]))


def test_lengths_of_real_size():
    """30 s at 16 kHz: lengths in float32 do not name the sample exactly, and flooring would lose one."""
    chance = random.Random(3)
    sizes = [480_000, *(chance.randint(1, 479_999) for _ in range(63))]
    examples = [{"wav": torch.ones(size, dtype=torch.int8)} for size in sizes]
    batch = PaddedBatch(examples)
    floored = (batch.wav.lengths * 480_000).long().tolist()
    assert floored != sizes  # else this test could not fail
    for k in (1, 3, 6):
        found = parts(batch, k)
        assert len(found) == 2**k
        for part, start in zip(found, range(0, 64, 64 // 2**k), strict=True):
            assert_equal(part, PaddedBatch(examples[start : start + 64 // 2**k]))


def test_padding_of_another_value_and_keys_that_are_not_padded():
    examples = [{"tokens": torch.arange(1, n), "same": torch.tensor([n, n])} for n in (3, 6, 4, 2, 5)]
    how = {"padded_keys": ["tokens"], "padding_kwargs": {"value": -100}}
    batch = PaddedBatch(examples, **how)
    assert isinstance(batch.same, torch.Tensor) and (batch.tokens.data == -100).any()
    first, second = halves(batch)
    assert_equal(first, PaddedBatch(examples[:3], **how))
    assert_equal(second, PaddedBatch(examples[3:], **how))
    ragged = PaddedBatch([{"other": torch.ones(n)} for n in (1, 2, 3)], padded_keys=[])
    assert [len(t) for t in halves(ragged)[0].other] == [1, 2]  # a list stays a list


def test_parts_move_to_the_device_as_their_whole_does():
    batch = PaddedBatch([example(i, 5 + i, 2) for i in range(4)], device_prep_keys=["wav", "speaker"])
    first, second = halves(batch)
    first.to(torch.float64)
    assert first.wav.data.dtype == first.speaker.dtype == torch.float64 and first.frames.data.dtype == torch.float32
    assert second.wav.data.dtype == batch.wav.data.dtype == torch.float32  # the others are left alone


def test_halves_of_halves_and_of_odd_numbers():
    batch = PaddedBatch([example(i, 10 + i, 3) for i in range(5)])
    assert [len(p) for p in parts(batch, 0)] == [5] and parts(batch, 0)[0] is batch
    assert [len(p) for p in parts(batch, 1)] == [3, 2]
    assert [len(p) for p in parts(batch, 2)] == [2, 1, 1, 1]
    assert [p.id for p in parts(batch, 9)] == [[f"utterance{i}"] for i in range(5)]
    assert [p.wav.lengths.tolist() for p in parts(batch, 9)] == [[1.0]] * 5


def test_what_cannot_be_halved():
    with pytest.raises(ValueError, match="a batch of 1 utterance cannot be halved"):
        halves(PaddedBatch([example(0, 10, 3)]))
    batch = PaddedBatch([example(i, 2000, 3) for i in range(2)]).to(torch.float16)
    with pytest.raises(ValueError, match="'wav': lengths in torch.float16 do not tell which of 2000 positions"):
        halves(batch)


# ---- out of memory ----


class Model(torch.nn.Module):
    """Scores of tokens from samples; what padding holds must not matter, nor which clips share a batch."""

    def __init__(self, dropout=0.0):
        super().__init__()
        torch.manual_seed(5)
        self.gru = torch.nn.GRU(1, 8, batch_first=True)
        self.out = torch.nn.Linear(8, 50)
        self.dropout = torch.nn.Dropout(dropout)

    def loss(self, batch):
        """Mean NLL over the batch's tokens."""
        wavs, relative = batch.wav
        hidden, _ = self.gru(wavs[..., None])
        last = torch.round(relative * wavs.shape[1]).long() - 1
        hidden = self.dropout(hidden[torch.arange(len(batch)), last])  # (B, 8)
        tokens, _ = batch.tokens
        log_probs = self.out(hidden).log_softmax(-1)[:, None].expand(-1, tokens.shape[1], -1)
        return torch.nn.functional.nll_loss(log_probs[mask(batch)], tokens[mask(batch)])

    def gradient(self):
        return torch.cat([p.grad.flatten() for p in self.parameters()])


def mask(batch):
    tokens, relative = batch.tokens
    return torch.arange(tokens.shape[1]) < torch.round(relative * tokens.shape[1])[:, None]


def units(batch):
    return int(mask(batch).sum())


def memory_for(k, model, total, seen=None):
    """`fit` on a device that holds k utterances: the forward pass is done, then memory is out."""

    def fit(batch):
        if seen is not None:
            seen.append(len(batch))
        loss = model.loss(batch)
        if len(batch) > k:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nMore lines.")
        (loss * units(batch) / total).backward()
        return loss.item(), units(batch)

    return fit


SIZES = [(31, 5), (8, 1), (40, 9), (12, 3), (25, 2), (17, 7), (33, 4), (5, 6), (21, 8), (14, 1), (29, 3)]


def grouped(*counts):
    examples = [example(i, *size) for i, size in enumerate(SIZES)]
    cuts = np.cumsum([0, *counts])
    return [PaddedBatch(examples[a:b]) for a, b in zip(cuts[:-1], cuts[1:], strict=True)]


@pytest.mark.parametrize(("k", "halvings"), [(11, 0), (6, 0), (5, 1), (3, 1), (2, 2), (1, 3)])
def test_the_gradient_is_that_of_the_whole_batch(k, halvings):
    model, said, seen = Model(), [], []
    [whole] = grouped(11)
    loss = model.loss(whole)
    loss.backward()
    expected = model.gradient()
    model.zero_grad(set_to_none=True)

    total = units(whole)
    done, found = halve_until_it_fits(
        grouped(6, 5), memory_for(k, model, total, seen), lambda: model.zero_grad(set_to_none=True), say=said.append
    )
    assert found == halvings and len(said) == halvings
    torch.testing.assert_close(model.gradient(), expected, rtol=0, atol=1e-6 * expected.abs().max().item())
    assert sum(value * n for _, (value, n) in done) / total == pytest.approx(loss.item(), rel=1e-6)
    assert [ID for batch, _ in done for ID in batch.id] == whole.id  # every utterance once, in its order
    assert sum(n for _, (_, n) in done) == total
    assert (
        seen[len(seen) - len(done) :] == [len(batch) for batch, _ in done] and max(map(len, [b for b, _ in done])) <= k
    )


def test_a_gradient_from_before_the_failure_is_not_counted_twice():
    """The first micro-batch fits and has added its gradient when the second, larger one fails."""
    model = Model()
    [whole] = grouped(11)
    model.loss(whole).backward()
    expected, total = model.gradient(), units(whole)
    model.zero_grad()
    group = grouped(3, 8)
    halve_until_it_fits(group, memory_for(4, model, total), model.zero_grad, say=lambda _: None)
    torch.testing.assert_close(model.gradient(), expected, rtol=0, atol=1e-6 * expected.abs().max().item())
    model.zero_grad()
    halve_until_it_fits(group, memory_for(4, model, total), lambda: None, say=lambda _: None)
    assert (model.gradient() - expected).abs().max() > 1e-3 * expected.abs().max()  # so `clear` is what makes it right


def test_the_number_is_kept_for_the_next_group_and_the_log_says_so():
    model, said, seen = Model(), [], []
    fit = memory_for(2, model, 10, seen)
    _, halvings = halve_until_it_fits(grouped(6, 5), fit, model.zero_grad, say=said.append)
    assert seen == [6, 3, 2, 1, 2, 1, 2, 1, 1, 1]
    assert said == [
        f"Out of memory with micro-batches of {before}: from here on {after} at a time, and twice as many of them to "
        "an update (the effective batch stays); this update begins anew. "
        "CUDA out of memory. Tried to allocate 2.00 GiB."
        for before, after in ((6, 3), (3, 2))
    ]
    seen.clear(), said.clear()
    done, halvings = halve_until_it_fits(grouped(6, 5), fit, model.zero_grad, halvings, say=said.append)
    assert halvings == 2 and not said and max(seen) == 2 and len(seen) == len(done)


def test_a_single_utterance_that_does_not_fit():
    model, seen = Model(), []
    with pytest.raises(
        MemoryError, match="single utterance, utterance0: CUDA out of memory.*precision to bf16.*nvidia-smi"
    ):
        halve_until_it_fits(grouped(4), memory_for(0, model, 10, seen), model.zero_grad, say=lambda _: None)
    assert seen == [4, 2, 1]
    assert all(p.grad is None for p in model.parameters())


def test_the_retry_starts_from_the_random_state_of_the_first_attempt():
    def fitted(k, halvings):
        model = Model(dropout=0.5)
        torch.manual_seed(1), random.seed(1), np.random.seed(1)
        done, _ = halve_until_it_fits(
            grouped(6, 5), memory_for(k, model, 10), model.zero_grad, halvings, say=lambda _: None
        )
        return model.gradient(), [loss for _, (loss, _) in done], (torch.rand(1), random.random(), np.random.rand())

    after_failures, from_the_start = fitted(3, 0), fitted(3, 1)
    assert torch.equal(after_failures[0], from_the_start[0])
    assert after_failures[1:] == from_the_start[1:]
    assert not torch.equal(fitted(6, 0)[0], from_the_start[0])  # larger batches draw other numbers


def test_the_failed_attempt_is_freed_before_the_next_one():
    """An error that is still being handled keeps every activation alive in its traceback."""
    activations, alive = [], []

    def fit(batch):
        gc.disable()  # so that only what the helper does frees them
        alive.append(sum(ref() is not None for ref in activations))
        activation = torch.ones(3, requires_grad=True) * 2
        activations.append(weakref.ref(activation))
        if len(batch) > 1:
            try:
                raise RuntimeError("inner")  # as autograd's frames: a chain of errors
            except RuntimeError as error:
                raise torch.OutOfMemoryError("CUDA out of memory.") from error

    try:
        halve_until_it_fits(grouped(4), fit, lambda: None, say=lambda _: None)
    finally:
        gc.enable()
    assert len(alive) == 1 + 1 + 4 and not any(alive)


def test_other_errors_pass():
    def fit(batch):
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    with pytest.raises(RuntimeError, match="mat1 and mat2"):
        halve_until_it_fits(grouped(4), fit, lambda: None)
    assert is_out_of_memory(torch.cuda.OutOfMemoryError("CUDA out of memory."))
    assert is_out_of_memory(RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"))
    assert not is_out_of_memory(RuntimeError("CUDA error: device-side assert triggered"))
