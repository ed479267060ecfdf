"""Checkpoints that a kill cannot spoil and that can be loaded without executing code.

SpeechBrain's Checkpointer writes a checkpoint's meta file first and the parameters after it, so a process killed in
between leaves a folder that looks complete. Here a checkpoint is written beside and renamed. Weights are safetensors,
the optimizer is read with `weights_only`, everything else is JSON.
"""

import base64
import json
import math
import os
import random
import shutil
from pathlib import Path

import numpy as np
import torch
import yaml
from safetensors.torch import save_model
from speechbrain.utils import checkpoints as sb_checkpoints

from carryover import checksums, processes
from carryover.files import flush, system_errors
from carryover.models.weights import load_weights
from carryover.training import kept_checkpoints as kept


class Checkpointer(sb_checkpoints.Checkpointer):
    """SpeechBrain's Checkpointer; overrides where a checkpoint is written and which files belong to one."""

    PARTIAL = ".partial"

    def __init__(self, checkpoints_dir, clean: bool = True, belongs_to: dict | None = None, **kwargs):
        super().__init__(checkpoints_dir, **kwargs)
        clean = clean and processes.is_first()
        self.clean, self.belongs_to = clean, belongs_to or {}
        self.refused: list[str] = []  # a line for each checkpoint that was not whole, or is gone
        self._whole: dict[Path, list] = {}
        # a reader of a run that is still training must not clean up: what looks left over is being written
        for leftover in self.checkpoints_dir.glob(f"{self.PARTIAL}*") if clean else ():
            shutil.rmtree(leftover)

    def save_checkpoint(self, meta={}, end_of_epoch=True, name=None, verbosity=20):  # noqa: B006 (SpeechBrain's face)
        """Write `save/.partial*`, seal and flush it, rename it to `save/CKPT+...`; arguments as SpeechBrain's."""
        final = self._new_checkpoint_dirpath() if name is None else self._custom_checkpoint_dirpath(name)
        partial = self.checkpoints_dir / f"{self.PARTIAL}+{final.name}"
        self._custom_checkpoint_dirpath = lambda _: partial
        try:
            with system_errors(final):
                super().save_checkpoint(meta, end_of_epoch, name="partial", verbosity=verbosity)
                checksums.seal(partial, self.belongs_to)
        except Exception:  # a full disk: the half checkpoint would keep it full
            shutil.rmtree(partial, ignore_errors=True)
            raise
        finally:
            del self._custom_checkpoint_dirpath
        for file in [*partial.iterdir(), partial]:
            flush(file)
        if final.exists():
            self._remove(final)
        os.rename(partial, final)
        flush(self.checkpoints_dir)
        return next(c for c in self.list_checkpoints() if c.path == final)

    def add_module(self, name: str, module: torch.nn.Module) -> None:
        """Keep a module's weights as `<name>.safetensors` (tied weights once)."""
        self.add_recoverable(name, module, custom_load_hook=_load_weights, custom_save_hook=_save_weights)

    def add_optimizer(self, name: str, optimizer: torch.optim.Optimizer) -> None:
        """Keep an optimizer's state as `<name>.pt`, read back with torch's weights_only."""
        self.add_recoverable(name, optimizer, custom_load_hook=_load_tensors, custom_save_hook=_save_tensors)

    # ---- which one; a checkpoint that is not whole is none ----

    def list_checkpoints(self):
        """Those that have all their files, in their lengths, and their CKPT.yaml; the rest `best` and `last` check."""
        found = []
        for path in sorted(self.checkpoints_dir.glob("CKPT*")):
            try:
                if not (faults := checksums.faults(path, hashed=sb_checkpoints.METAFNAME)):
                    found.append(_read(path))
            except (OSError, ValueError, yaml.YAMLError) as error:
                faults = [f"it cannot be read: {error}"]
            if faults and path.exists():  # else the run that is training has deleted it meanwhile
                self._refuse(path, faults)
        return found

    @processes.by_the_first
    def best(self, key: str):
        """The whole checkpoint with the lowest `meta[key]`, the earlier one where two are equal; None without one."""
        self._say_gone()
        return self._first_whole(c for c in sorted(self.list_checkpoints(), key=_order(key)) if key in c.meta)

    @processes.by_the_first
    def last(self):
        """The whole checkpoint with the most updates; None where none was ever written.

        Raises
        ------
        NothingWhole
            Where there are some and none of them is whole.
        """
        found = self.list_checkpoints()
        self._say_gone()
        last = self._first_whole(sorted(found, key=lambda c: (c.meta["update"], c.meta["unixtime"]), reverse=True))
        aside = sorted(path.name for path in self.checkpoints_dir.glob(f"{checksums.ASIDE}*"))
        if last is None and (aside or self.refused):
            raise NothingWhole(
                f"{self.checkpoints_dir} holds no whole checkpoint: {'; '.join(self.refused or aside)}. Bring back a "
                f"whole copy of one, or delete {self.checkpoints_dir.parent} to train anew"
            )
        return last

    def load_checkpoint(self, checkpoint) -> None:
        """As SpeechBrain's; from now on every checkpoint is checked anew before it is loaded."""
        super().load_checkpoint(checkpoint)
        self._whole = {}

    @processes.by_the_first
    def save_best_and_last(self, meta: dict, end_of_epoch: bool, limit: int | None) -> None:
        """Save a checkpoint; of those there are the best by `meta["WER"]` and the newest are kept.

        Parameters
        ----------
        limit : int or None
            How many are kept, 2 at least: the best may be older than the last, which a resume needs. None: all.
        """
        self.save_checkpoint(meta, end_of_epoch, verbosity=10)
        self._keep_best_and_last(limit)

    @processes.by_the_first
    def go_on(self, limit: int | None) -> None:
        """Before a run goes on: check the best checkpoint while the next best is there, and delete those that are not
        kept; a kill may have come before that."""
        self.best("WER")
        self._keep_best_and_last(limit)

    def _keep_best_and_last(self, limit: int | None) -> None:
        found = sorted(self.list_checkpoints(), key=lambda c: c.meta["update"], reverse=True)
        best = sorted((c for c in found if "WER" in c.meta), key=_order("WER"))[:1]
        found = best + [c for c in found if c not in best]
        keep = len(found) if limit is None else max(2, limit)
        # before the others go: what it names is there, whenever the process is killed
        kept.write(self.checkpoints_dir, found[:keep])
        for c in found[keep:]:
            self._remove(c.path)

    def _first_whole(self, candidates):
        for c in candidates:
            try:
                stats = [(f.name, f.stat().st_size, f.stat().st_mtime_ns) for f in sorted(c.path.iterdir())]
                if self._whole.get(c.path) == stats:
                    return c
                if not (found := checksums.faults(c.path) or self._of_another_run(c.path)):
                    self._whole[c.path] = stats
                    return c
            except FileNotFoundError:
                found = ["a file is missing"]
            if c.path.exists():  # else the run that is training has deleted it meanwhile
                self._refuse(c.path, found)
        return None

    def _of_another_run(self, path: Path) -> list[str]:
        """What a whole checkpoint of another run is not of; a same run's on other data or weights is an error."""
        there = checksums.belongs_to(path)
        differ = [key for key, here in self.belongs_to.items() if there.get(key) != here]
        if "run" in differ:
            return [f"it belongs to another run ({', '.join(differ)} differ)"]
        if changed := [key for key in ("data", "starting model") if key in differ]:
            raise ValueError(
                f"{path}: the {' and the '.join(changed)} of this run changed since; bring back what it was trained "
                "on, or train anew into another output_folder"
            )
        return []

    def _refuse(self, path: Path, found: list[str]) -> None:
        aside = f"set aside as {checksums.set_aside(path).name}" if self.clean else "not used"
        self._say(f"{path.name} is not whole: {'; '.join(found)}; {aside}")

    def _say_gone(self) -> None:
        """Name the checkpoints that somebody has deleted: another one is used, or there is none."""
        for line in kept.gone(self.checkpoints_dir):
            self._say(line)

    def _say(self, line: str) -> None:
        if line not in self.refused:  # a reader leaves what is broken where it is and finds it again
            self.refused.append(line)
            print(f"Checkpoint {self.checkpoints_dir / line}")

    def _remove(self, path: Path) -> None:
        """Delete a checkpoint; half of one never has its name."""
        shutil.rmtree(path.rename(path.with_name(f"{self.PARTIAL}+deleted+{path.name}")))


class NothingWhole(ValueError):
    """A run has checkpoints and none can be used."""


def _read(path: Path):
    """A checkpoint as SpeechBrain has it; ValueError where CKPT.yaml is not what a run writes."""
    meta = yaml.safe_load((path / sb_checkpoints.METAFNAME).read_text(encoding="utf-8"))
    if not isinstance(meta, dict) or not all(
        isinstance(meta.get(key, 0.0 if key == "WER" else None), (int, float)) for key in ("update", "unixtime", "WER")
    ):
        raise ValueError(f"{path}: no update, or one that is no number")
    other = (sb_checkpoints.METAFNAME, checksums.NAME)
    files = {f.stem: f for f in path.iterdir() if f.name not in other and not f.name.startswith(".")}
    return sb_checkpoints.Checkpoint(path, meta, files)


def _order(key: str):
    return lambda c: (c.meta.get(key, math.inf), c.meta["update"])


def _save_weights(module, path):
    save_model(module, str(Path(path).with_suffix(".safetensors")))


def _load_weights(module, path, end_of_epoch):
    load_weights(module, path)


def _save_tensors(obj, path):
    with open(Path(path).with_suffix(".pt"), "wb") as file:  # given a path, torch.save does not say what went wrong
        torch.save(obj.state_dict(), file)


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


def others_states(modules: torch.nn.Module) -> list[dict]:
    """Random states of all processes but the first, which writes the checkpoint.

    Raises
    ------
    RuntimeError
        Where the weights of the processes are no longer the same.
    """
    if processes.count() == 1:
        return []
    weights = sum(p.detach().double().sum() for p in modules.parameters() if p.requires_grad).item()
    states, sums = zip(*processes.gather((random_state(), weights)), strict=True)
    if any(other != sums[0] for other in sums):
        raise RuntimeError(f"the weights of the processes are no longer the same; their sums are {sums}")
    return list(states[1:])


def own_state(state: dict, path: str | Path) -> dict:
    """This process's random state of what a checkpoint holds of the training (`path`).

    Raises
    ------
    ValueError
        Where another number of processes has trained.
    """
    states = [state["random"], *state.get("others", [])]
    if len(states) != processes.count():
        raise ValueError(
            f"{path}: the run was trained by {len(states)} process(es), now there are {processes.count()}, whose "
            "batches would be others; start as many as before, or a new run with --output_folder or --seed"
        )
    return states[processes.rank()]


def _encode(state: torch.Tensor) -> str:
    return base64.b64encode(state.numpy().tobytes()).decode()


def _decode(text: str) -> torch.Tensor:
    return torch.frombuffer(bytearray(base64.b64decode(text)), dtype=torch.uint8)
