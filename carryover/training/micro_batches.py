"""Out of CUDA memory: micro-batches are halved, accumulation grows by as much, and the run goes on.

The gradient of a group of micro-batches is that of the one large batch however they are cut (`RecipeBrain` weighs each
by its units), so halving them changes the memory and the time of an update and not what it learns. What is random in a
forward pass (dropout, augmentation) is drawn a batch at a time and comes out otherwise: see `halve_until_it_fits`.
"""

import copy
import gc
from collections.abc import Callable, Sequence
from typing import Any

import torch
from speechbrain.dataio.batch import PaddedBatch, PaddedData

from carryover.training import checkpoint


def halve_until_it_fits(
    group: Sequence[PaddedBatch],
    fit: Callable[[PaddedBatch], Any],
    clear: Callable[[], None],
    halvings: int = 0,
    say: Callable[[str], None] = print,
) -> tuple[list[tuple[PaddedBatch, Any]], int]:
    """Forward and backward over a group of micro-batches, in halves where CUDA memory runs out.

    When it does, the gradient so far is cleared, all micro-batches of the group are cut in two (those of one utterance
    stay), and the group begins anew, from the state that the random generators had before its first attempt: the
    update is the one that a run with micro-batches of this size would have made here. It is not the update that the
    large ones would have made if anything is random in a forward pass, for a smaller batch draws other numbers.

    Only what `fit` does is guarded: not the optimizer's step, whose memory does not depend on micro-batches.

    Parameters
    ----------
    group : sequence of PaddedBatch
        The micro-batches of one update, as the loader gave them.
    fit : callable
        Adds one micro-batch's gradient, weighted by its share of the group; what it returns is passed on.
    clear : callable
        Drops the gradient of the group, and all that holds on to a graph.
    halvings : int
        How often micro-batches are cut before the first attempt: what the group before this one returned.
    say : callable
        Takes the line for the log.

    Returns
    -------
    (done, halvings)
        Every micro-batch as it was fitted, with what `fit` returned; the number for the next group.

    Raises
    ------
    MemoryError
        When a single utterance does not fit, either.
    """
    random_state = checkpoint.random_state()
    while True:
        done, failed = [], None
        for batch in (part for whole in group for part in parts(whole, halvings)):
            try:
                done.append((batch, fit(batch)))
            except RuntimeError as error:
                if not is_out_of_memory(error):
                    raise
                failed = str(error).partition("\n")[0]
                break
        if failed is None:
            return done, halvings
        # only here, outside `except`: until then the traceback's frames hold the activations that have to go
        clear()
        gc.collect()
        torch.cuda.empty_cache()
        checkpoint.set_random_state(random_state)
        if len(batch) == 1:  # to cut the others would not help it
            raise MemoryError(
                f"memory runs out with a single utterance, {getattr(batch, 'id', ['(without an id)'])[0]}: {failed} "
                "Micro-batches cannot be cut further: set precision to bf16, freeze more, take a smaller model or an "
                "8-bit optimizer, refuse long clips at preparation, or end what else holds the device's memory "
                "(nvidia-smi shows it)"
            )
        halvings += 1
        before, after = (max(len(part) for b in group for part in parts(b, k)) for k in (halvings - 1, halvings))
        say(
            f"Out of memory with micro-batches of {before}: from here on {after} at a time, and twice as many of them "
            f"to an update (the effective batch stays); this update begins anew. {failed}"
        )


def is_out_of_memory(error: RuntimeError) -> bool:
    """Whether the device had no memory left: torch's own error, or cuBLAS's and cuDNN's for their workspaces."""
    if isinstance(error, torch.OutOfMemoryError):
        return True
    return any(name in str(error) for name in ("CUBLAS_STATUS_ALLOC_FAILED", "CUDNN_STATUS_ALLOC_FAILED"))


def parts(batch: PaddedBatch, halvings: int) -> list[PaddedBatch]:
    """A batch cut in two `halvings` times, in its order; parts of one utterance stay."""
    if halvings == 0 or len(batch) == 1:
        return [batch]
    return [part for half in halves(batch) for part in parts(half, halvings - 1)]


def halves(batch: PaddedBatch) -> tuple[PaddedBatch, PaddedBatch]:
    """The first and the second half of a batch's utterances (the first one larger where the number is odd).

    Each is what PaddedBatch would have made of these examples: padded to the longest of its own, whatever the padding's
    value, with relative lengths to match. Only a list of tensors that PaddedBatch could not stack stays a list, even
    where those of a half could be stacked.

    Raises
    ------
    ValueError
        For a batch of one utterance, or lengths in a type too coarse to tell samples (bfloat16).
    """
    n = len(batch)
    if n < 2:
        raise ValueError(f"a batch of {n} utterance cannot be halved; expected at least 2")
    middle = (n + 1) // 2
    return _rows(batch, 0, middle), _rows(batch, middle, n)


def _rows(batch: PaddedBatch, start: int, stop: int) -> PaddedBatch:
    part = copy.copy(batch)  # with its keys and which of them go to the device
    part._PaddedBatch__length = stop - start
    for key, value in vars(batch).items():
        if key.startswith("_PaddedBatch__"):
            continue
        if isinstance(value, PaddedData):
            value = _trimmed(key, value.data[start:stop], value.lengths[start:stop])
        else:  # a list, or a tensor that was stacked of numbers
            value = value[start:stop]
        setattr(part, key, value)
    return part


def _trimmed(key: str, data: torch.Tensor, lengths: torch.Tensor) -> PaddedData:
    """Rows (B, T, ...) without the padding that all of them have, and their lengths relative to the rest."""
    padded = data.shape[1]
    if padded * torch.finfo(lengths.dtype).eps >= 1:
        raise ValueError(
            f"'{key}': lengths in {lengths.dtype} do not tell which of {padded} positions is the last; keep them in "
            "float32 (move a batch to a device, not to a dtype)"
        )
    # round: int() would floor 0.99999 away. The division is Python's, as in SpeechBrain, for the same last digit
    counts = [round(length * padded) for length in lengths.tolist()]
    longest = max(counts)
    relative = torch.tensor([count / longest for count in counts], dtype=lengths.dtype, device=lengths.device)
    return PaddedData(data[:, :longest].contiguous(), relative)
