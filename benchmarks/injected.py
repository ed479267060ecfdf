"""Runs a script or a module with one fault in it: python benchmarks/injected.py FAULT FOLDER (SCRIPT | -m MODULE) ...

Faults are the functions of `FAULTS`, by their names; FOLDER is the run's, or the report's. What a full disk makes of
each library was measured on a full tmpfs: safetensors and torch.save do not raise OSError there.
"""

import errno
import functools
import multiprocessing
import os
import runpy
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

CHANGES = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate", "os.link", "os.symlink"}  # audit events
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_TRUNC
AT = 4  # the update during or after which most faults come
NO_SPACE = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
RUST = "Error while serializing: I/O error: {} (os error {})"  # safetensors' words


def wrap(owner, name: str, before: Callable) -> None:
    """Have `before(n, *args)` called before the n-th call of a function; what it returns, if anything, is returned."""
    real, calls = getattr(owner, name), [0]

    @functools.wraps(real)
    def wrapped(*args, **kwargs):
        calls[0] += 1
        found = before(calls[0], *args)
        return real(*args, **kwargs) if found is None else found

    setattr(owner, name, wrapped)


def at_update(n: int, act: Callable) -> None:
    """Call `act(brain)` once, after n updates, before the next."""
    from carryover.training.brain import RecipeBrain

    done = []

    def before(_, brain, *args):
        if brain.update == n and not done:
            done.append(True)
            act(brain)

    wrap(RecipeBrain, "_fit_group", before)


def nothing(folder):
    """The run as it is."""


# ---- the disk ----


def full_weights(folder, number: int = errno.ENOSPC):
    """Half of the weights of a checkpoint fit."""
    from safetensors import SafetensorError

    from carryover.training import checkpoint

    def before(n, module, path):
        if n == AT:
            Path(path).write_bytes(b"half")
            raise SafetensorError(RUST.format(os.strerror(number), number))

    wrap(checkpoint, "save_model", before)


def full_optimizer(folder):
    """torch.save meets a disk that takes 300 bytes more."""
    from carryover.training import checkpoint

    class Full:
        left = 300

        def write(self, data):
            if (size := memoryview(data).nbytes) > self.left:
                raise NO_SPACE
            self.left -= size
            return size

        def flush(self): ...

    real = checkpoint.torch.save

    def before(n, state, file):
        if n == AT:
            real(state, Full())

    wrap(checkpoint.torch, "save", before)


def full_log(folder):
    """The disk takes 20 bytes of an event, then none: write() is short first and fails next."""
    real, calls = os.write, [0]

    def write(file, data):
        if os.path.basename(os.readlink(f"/proc/self/fd/{file}")) == "metrics.jsonl":
            calls[0] += 1
            if calls[0] == 3 * AT:
                return real(file, data[:20])
            if calls[0] > 3 * AT:
                raise NO_SPACE
        return real(file, data)

    os.write = write


def full_name(folder, part: str):
    """Files with `part` in their names find no room."""

    def hook(event, args):
        if event == "open" and (args[2] or 0) & WRITES and isinstance(args[0], (str, os.PathLike)):
            path = os.fspath(args[0])
            if path.startswith(folder) and part in os.path.basename(path):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)

    sys.addaudithook(hook)


def read_only(folder):
    """The file system of the folder takes nothing: EROFS at each open for writing, rename, new folder, ..."""

    def hook(event, args):
        if event == "open" and not (args[2] or 0) & WRITES or event != "open" and event not in CHANGES:
            return
        if isinstance(args[0], (str, os.PathLike)) and os.fspath(args[0]).startswith(folder):
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), os.fspath(args[0]))

    sys.addaudithook(hook)


def read_only_later(folder):
    """A disk with errors is mounted read-only by the system in the middle of a run."""
    at_update(AT, lambda brain: read_only(folder))


def too_large(folder):
    """The system lets no file grow over 20 000 bytes (RLIMIT_FSIZE)."""
    import resource

    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    at_update(AT, lambda brain: resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000)))


# ---- the data ----


def clip(change: Callable[[Path], None]) -> Callable:
    """The clip that FAULT_CLIP names changes in the middle of a run."""
    return lambda folder: at_update(AT, lambda brain: change(Path(os.environ["FAULT_CLIP"])))


# ---- numbers, memory, processes, the clock ----


def infinite_loss(folder, only: int | None = AT):
    """The loss of one micro-batch, or of all from there on, is infinite."""
    from carryover.training.brain import RecipeBrain

    real, times = RecipeBrain.total, 0

    def total(brain, terms):
        nonlocal times
        hit = brain.modules.training and (brain.update == only if only is not None else brain.update >= AT)
        if hit and (only is None or times == 0):
            times += 1
            return real(brain, terms) * float("inf")
        return real(brain, terms)

    RecipeBrain.total = total


def out_of_memory(folder, name: str = "fit_batch"):
    """Device memory runs out once, in a micro-batch or in the optimizer's step."""
    import torch

    from carryover.training.brain import RecipeBrain
    from carryover.training.optimisation import Optimisation

    def before(n, *args):
        if n == AT:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.")

    wrap(RecipeBrain if name == "fit_batch" else Optimisation, name, before)


def dead_worker(folder):
    """A process that reads clips is killed, as by the system where memory is short."""
    at_update(AT, lambda brain: os.kill(multiprocessing.active_children()[0].pid, signal.SIGKILL))


def clock_set_back(folder):
    """The clock shows yesterday, from one update on."""
    real = time.time

    def set_back(brain):
        time.time = lambda: real() - 86_400

    at_update(AT, set_back)


def raised(number: int, twice: bool = False) -> Callable:
    """A signal; the same once more while the checkpoint is written, as torchrun and terminals pass it on."""

    def install(folder):
        from carryover.training import checkpoint

        at_update(AT, lambda brain: os.kill(os.getpid(), number))
        if twice:
            wrap(checkpoint, "save_model", lambda n, *_: os.kill(os.getpid(), number) if n > AT else None)

    return install


FAULTS = {
    "nothing": nothing,
    "full_weights": full_weights,
    "full_optimizer": full_optimizer,
    "full_log": full_log,
    "full_results": functools.partial(full_name, part="results"),
    "full_report": functools.partial(full_name, part=".tex"),
    "read_only": read_only,
    "read_only_later": read_only_later,
    "too_large": too_large,
    "vanished": clip(lambda path: path.unlink()),
    "garbage": clip(lambda path: path.write_bytes(b"no audio " * 1000)),
    "infinite_loss": infinite_loss,
    "infinite_losses": functools.partial(infinite_loss, only=None),
    "out_of_memory": out_of_memory,
    "out_of_memory_in_step": functools.partial(out_of_memory, name="step"),
    "dead_worker": dead_worker,
    "clock_set_back": clock_set_back,
    "killed": raised(signal.SIGKILL),
    "paused": raised(signal.SIGSTOP),
    "SIGTERM": raised(signal.SIGTERM),
    "SIGHUP": raised(signal.SIGHUP),
    "SIGTERM_twice": raised(signal.SIGTERM, twice=True),
}

if __name__ == "__main__":
    _, fault, place, *sys.argv = sys.argv
    FAULTS[fault](place)
    if sys.argv[0] == "-m":
        del sys.argv[0]
        runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
    else:
        runpy.run_path(sys.argv[0], run_name="__main__")
