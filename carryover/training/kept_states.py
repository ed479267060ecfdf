"""Frozen states of a set, made before it is read for the first time: how large they will be, a bar, then all of them.

Of several runs that ask for the same set at once one makes them; the others wait.
"""

import hashlib
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from speechbrain import Stage
from speechbrain.augment.augmenter import Augmenter
from tqdm import tqdm

from carryover import processes
from carryover.data.packing import Packing
from carryover.models import state_store
from carryover.models.frozen import Filled
from carryover.models.state_store import said_bytes
from carryover.runs import lock

PROBES = 4  # clips that the size is estimated from


def changed_inputs(hparams) -> str:
    """Why a clip is not the same input in every epoch of training; "" where it is."""
    if isinstance(hparams.collate, Packing):
        return "clips share windows (collate), in every epoch others"
    augmentation = getattr(hparams, "augmentation", None)  # a speech LLM has none
    if isinstance(augmentation, Augmenter):
        share = augmentation.augment_prob
    else:
        share = augmentation.prob if augmentation is not None and augmentation.changes else 0
    return f"augmentation changes the clips (augment_prob: {share:g})" if share else ""


def fill(brain, dataset, loader_kwargs: dict, clips: int) -> None:
    """Keep what frozen parts say of every clip of a training set, unless it is kept already.

    Parameters
    ----------
    brain : carryover.training.brain.RecipeBrain
    dataset : DynamicItemDataset
    loader_kwargs : dict
        Of a loader that reads it in its order.
    clips : int
        How many clips the run will train on, repeated ones counted: fewer than the set has are kept as they come.
    """
    brain.eval_mode()
    kept = brain.hparams.kept
    if not keeps(kept):
        return
    if reason := changed_inputs(brain.hparams):
        print(f"Frozen states: not kept in training, {reason}; in validation and test they are")
        return
    if clips >= len(dataset):
        fill_set(brain, brain.make_dataloader(dataset, Stage.VALID, ckpt_prefix=None, **loader_kwargs))


def keeps(kept) -> bool:
    """Whether anything is kept of these models."""
    return kept.precision is not None and any(part.parts() for part in kept.parts)


def fill_set(brain, loader) -> None:
    """Keep what frozen parts say of every clip that a loader reads, unless it is kept already.

    Of the processes of one run each does its share, while the first one holds the claim of the set. A signal to stop
    ends it early, for whoever goes on then sees to it.
    """
    kept = brain.hparams.kept
    if not keeps(kept):
        return
    rows = json.dumps([data["row"] for data in loader.dataset.data.values()], sort_keys=True, default=str)
    what = hashlib.blake2b(rows.encode(), digest_size=12).hexdigest()

    def done() -> bool:
        stores = asked(kept)
        return any(store.full for store in stores) or bool(stores) and all(store.is_filled(what) for store in stores)

    if processes.first_does(done):
        return
    with claimed(state_store.root() / f".{what}.claim", brain):
        try:
            _fill(brain, loader, what)
        finally:
            processes.barrier()  # what others have kept is there


@contextmanager
def claimed(path, brain) -> Iterator[None]:
    """Within, no other run makes the states of this set: it is waited for until it has made them, or has ended."""
    claim = None

    def wait() -> None:
        nonlocal claim
        try:
            while (claim := lock.claim(path)) is None and brain.stop.number is None:
                time.sleep(0.2)
        except (OSError, NotImplementedError):  # a folder that cannot be written, or has no locks: both compute
            pass

    processes.first_does(wait)
    try:
        yield
    finally:
        if claim is not None:
            claim.release()


def asked(kept) -> list:
    """Stores of the frozen parts that were asked for something."""
    return [part.store for part in kept.parts if part.store is not None]


def _fill(brain, loader, what: str) -> None:
    """Make this process's share of a set's states, and note the set under the name `what`."""
    kept, dataset = brain.hparams.kept, loader.dataset
    with torch.no_grad(), kept.filling():
        size = _probe(brain, dataset)
        stores = asked(kept)
        if size is None or all(store.is_filled(what) for store in stores):
            return
        store = stores[0]
        advice = "; keep_states: float16 halves it" if kept.precision == "float32" and size > 1e9 else ""
        if size > kept.limit:
            advice += f"; {kept.limit / size:.0%} of them fit, raise `limit` under kept for the rest"
        print(
            f"Frozen states: {len(dataset)} clips, about {said_bytes(size)} in {store.folder} (limit "
            f"{said_bytes(kept.limit)} for all runs, {said_bytes(store.free())} free){advice}"
        )
        for batch in tqdm(loader, "Frozen states", unit="batch", leave=False, disable=brain.noprogressbar):
            _states(brain, batch)
            if any(store.full for store in stores) or brain.stop.number is not None:
                return
    kept.flush()
    for store in stores:
        store.mark_filled(what)


def _probe(brain, dataset) -> float | None:
    """Bytes that the states of a set will take, by a few of its clips; None where its forward pass asks for none."""
    n = min(PROBES, len(dataset))
    found = [_states(brain, b) for b in brain.batches(dataset, [i * len(dataset) // n for i in range(n)])]
    return None if None in found else sum(found) / n * len(dataset)


def _states(brain, batch) -> int | None:
    """Keep a batch's states; -> their bytes."""
    try:
        brain.compute_forward(batch.to(brain.device, non_blocking=True), Stage.VALID)
    except Filled as filled:
        return filled.bytes
    return None
