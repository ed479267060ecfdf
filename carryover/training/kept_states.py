"""Frozen states of a training set, made before the first update: how large they will be, a bar, then all of them."""

import hashlib
import json

import torch
from speechbrain import Stage
from speechbrain.augment.augmenter import Augmenter
from tqdm import tqdm

from carryover import processes
from carryover.data.packing import Packing
from carryover.models.frozen import Filled
from carryover.models.state_store import said_bytes

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
    if kept.precision is None or not any(part.parts() for part in kept.parts):
        return
    if reason := changed_inputs(brain.hparams):
        print(f"Frozen states: not kept in training, {reason}; in validation and test they are")
        return
    if clips < len(dataset):
        return
    rows = json.dumps([data["row"] for data in dataset.data.values()], sort_keys=True, default=str)
    what = hashlib.blake2b(rows.encode(), digest_size=12).hexdigest()
    try:
        _fill(brain, dataset, what, loader_kwargs)
    finally:
        processes.barrier()  # what others have kept is there


def _fill(brain, dataset, what: str, loader_kwargs: dict) -> None:
    """`fill` under the name `what`, of this process's share."""
    kept = brain.hparams.kept
    with torch.no_grad(), kept.filling():
        size = _probe(brain, dataset)
        stores = [part.store for part in kept.parts if part.store is not None]
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
        loader = brain.make_dataloader(dataset, Stage.VALID, ckpt_prefix=None, **loader_kwargs)
        for batch in tqdm(loader, "Frozen states", unit="batch", leave=False, disable=brain.noprogressbar):
            _states(brain, batch)
            if any(store.full for store in stores):
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
