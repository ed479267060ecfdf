"""Checkpoints that a kill cannot spoil and that can be loaded without executing code.

SpeechBrain's Checkpointer writes a checkpoint's meta file first and the parameters after it, so a process killed in
between leaves a folder that looks complete. Here a checkpoint is written beside and renamed. Weights are safetensors,
the optimizer is read with `weights_only`, everything else is JSON.
"""

import base64
import json
import os
import random
import shutil
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_model
from speechbrain.utils import checkpoints as sb_checkpoints

from carryover.models.weights import load_weights


class Checkpointer(sb_checkpoints.Checkpointer):
    """SpeechBrain's Checkpointer; overrides where a checkpoint is written and which files belong to one."""

    PARTIAL = ".partial"

    def __init__(self, checkpoints_dir, clean: bool = True, **kwargs):
        super().__init__(checkpoints_dir, **kwargs)
        # a reader of a run that is still training must not clean up: what looks left over is being written
        for leftover in self.checkpoints_dir.glob(f"{self.PARTIAL}*") if clean else ():
            shutil.rmtree(leftover)

    def save_checkpoint(self, meta={}, end_of_epoch=True, name=None, verbosity=20):  # noqa: B006 (SpeechBrain's face)
        """Write `save/.partial*`, flush it to disk, rename it to `save/CKPT+...`; arguments as SpeechBrain's."""
        final = self._new_checkpoint_dirpath() if name is None else self._custom_checkpoint_dirpath(name)
        partial = self.checkpoints_dir / f"{self.PARTIAL}+{final.name}"
        self._custom_checkpoint_dirpath = lambda _: partial
        try:
            super().save_checkpoint(meta, end_of_epoch, name="partial", verbosity=verbosity)
        finally:
            del self._custom_checkpoint_dirpath
        for file in [*partial.iterdir(), partial]:
            _flush(file)
        if final.exists():
            shutil.rmtree(final)
        os.rename(partial, final)
        _flush(self.checkpoints_dir)
        return next(c for c in self.list_checkpoints() if c.path == final)

    def add_module(self, name: str, module: torch.nn.Module) -> None:
        """Keep a module's weights as `<name>.safetensors` (tied weights once)."""
        self.add_recoverable(name, module, custom_load_hook=_load_weights, custom_save_hook=_save_weights)

    def add_optimizer(self, name: str, optimizer: torch.optim.Optimizer) -> None:
        """Keep an optimizer's state as `<name>.pt`, read back with torch's weights_only."""
        self.add_recoverable(name, optimizer, custom_load_hook=_load_tensors, custom_save_hook=_save_tensors)

    def best(self, key: str):
        """The checkpoint with the lowest `meta[key]`, the earlier one where two are equal; None where there is none."""
        return self.find_checkpoint(
            importance_key=lambda c: (-c.meta[key], -c.meta["update"]), ckpt_predicate=lambda c: key in c.meta
        )

    def last(self):
        """The checkpoint with the most updates; None where there is none."""
        return self.find_checkpoint(importance_key=lambda c: (c.meta["update"], c.meta["unixtime"]))

    def save_best_and_last(self, meta: dict, end_of_epoch: bool, limit: int | None) -> None:
        """Save a checkpoint; of those there are the best by `meta["WER"]` and the newest are kept.

        Parameters
        ----------
        limit : int or None
            How many are kept, 2 at least: the best may be older than the last, which a resume needs. None: all.
        """
        best = None

        def importance(ckpt):  # the best one first, then the newest
            nonlocal best
            best = best or self.best("WER")
            return (best is not None and ckpt.path == best.path, ckpt.meta["update"])

        self.save_and_keep_only(
            meta=meta, end_of_epoch=end_of_epoch, num_to_keep=max(2, limit or 10**9), keep_recent=False,
            importance_keys=[importance], verbosity=10,
        )  # fmt: skip

    @staticmethod
    def _construct_checkpoint_objects(checkpoint_dirs):
        found = sb_checkpoints.Checkpointer._construct_checkpoint_objects(checkpoint_dirs)
        return [
            c._replace(paramfiles={f.stem: f for f in c.path.iterdir() if f.name != sb_checkpoints.METAFNAME})
            for c in found
        ]


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    os.fsync(descriptor)
    os.close(descriptor)


def _save_weights(module, path):
    save_model(module, str(Path(path).with_suffix(".safetensors")))


def _load_weights(module, path, end_of_epoch):
    load_weights(module, path)


def _save_tensors(obj, path):
    torch.save(obj.state_dict(), Path(path).with_suffix(".pt"))


def _load_tensors(obj, path, end_of_epoch):
    obj.load_state_dict(torch.load(path, weights_only=True, map_location="cpu"))


def save_json(state: dict, path: str | Path) -> None:
    """Write a state beside the checkpoint's other files as `<name>.json`; Python's floats survive it bit by bit."""
    Path(path).with_suffix(".json").write_text(json.dumps(state) + "\n", encoding="utf-8")


def random_state() -> dict:
    """State of the generators of Python, NumPy, torch and every CUDA device, as JSON-serialisable values."""
    version, internal, gauss = random.getstate()
    name, keys, *rest = np.random.get_state()
    return {
        "python": [version, list(internal), gauss],
        "numpy": [name, keys.tolist(), *rest],
        "torch": _encode(torch.get_rng_state()),
        "cuda": [_encode(s) for s in torch.cuda.get_rng_state_all()] if torch.cuda.is_available() else [],
    }


def set_random_state(state: dict) -> None:
    """Put back what `random_state` returned."""
    version, internal, gauss = state["python"]
    random.setstate((version, tuple(internal), gauss))
    name, keys, *rest = state["numpy"]
    np.random.set_state((name, np.array(keys, dtype=np.uint32), *rest))
    torch.set_rng_state(_decode(state["torch"]))
    if torch.cuda.is_available() and state["cuda"]:
        torch.cuda.set_rng_state_all([_decode(s) for s in state["cuda"]])


def _encode(state: torch.Tensor) -> str:
    return base64.b64encode(state.numpy().tobytes()).decode()


def _decode(text: str) -> torch.Tensor:
    return torch.frombuffer(bytearray(base64.b64decode(text)), dtype=torch.uint8)
