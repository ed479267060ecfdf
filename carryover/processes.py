"""Several processes that train one model: `torchrun --nproc_per_node N train.py ...`, through torch.distributed.

Every process makes the same updates on its share of each batch. The first one alone writes. Without torchrun there is
one process, and all of this does nothing.
"""

import datetime
import hashlib
import io
import os
import socket
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partialmethod, wraps
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from tqdm import tqdm

PATIENCE = datetime.timedelta(hours=24)  # that the others wait while the first one prepares a corpus
MEETING = datetime.timedelta(minutes=5)  # that they have to find each other
BUCKET = 2**24  # numbers that are summed at once
TORCHRUN = ("RANK", "LOCAL_RANK", "GROUP_RANK", "ROLE_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "GROUP_WORLD_SIZE",
            "ROLE_WORLD_SIZE", "ROLE_NAME", "MASTER_ADDR", "MASTER_PORT")  # fmt: skip


_alone = False  # within what the first process does while the others wait


class FirstFailed(SystemExit):
    """Ends a process without a word: the first one has said why."""


class Nowhere(io.TextIOBase):
    """A screen that shows nothing."""

    def write(self, text: str) -> int:
        return len(text)


def count() -> int:
    """Number of processes."""
    return dist.get_world_size() if not _alone and dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """Number of this one, from 0."""
    return dist.get_rank() if count() > 1 else 0


def is_first() -> bool:
    """Whether this one writes: checkpoints, logs, predictions, what is said on the screen."""
    return rank() == 0


@contextmanager
def joined(device: str | None) -> Iterator[None]:
    """Within, the processes that torchrun has started know of each other; all but the first are silent.

    Parameters
    ----------
    device : str or None
        What the command line says; None: a GPU for each, where there are GPUs.
    """
    if int(os.environ.get("WORLD_SIZE", 1)) < 2 or "RANK" not in os.environ:
        yield
        return
    on_gpu = not (device or "").startswith("cpu") and torch.cuda.is_available()
    if on_gpu:
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", 0)))
    # what is said among processes goes by gloo also beside a GPU, which need not be waited for
    backend = "cpu:gloo,cuda:nccl" if on_gpu else "gloo"
    try:
        store, number, n = next(dist.rendezvous("env://", timeout=MEETING))
    except dist.DistError as error:
        where = f"{os.environ.get('MASTER_ADDR')}:{os.environ.get('MASTER_PORT')}"
        raise ValueError(f"torchrun: the processes do not find each other at {where} ({error}); one machine needs "
                         "--standalone, several the same --rdzv_endpoint with a free port") from None  # fmt: skip
    # torchrun's restart goes on with the store of the processes that have died, and with their addresses
    store = dist.PrefixStore(f"attempt_{os.environ.get('TORCHELASTIC_RESTART_COUNT', 0)}", store)
    dist.init_process_group(backend, store=store, rank=number, world_size=n, timeout=PATIENCE)
    screen, bars = sys.stdout, tqdm.__init__
    try:
        if not is_first():
            sys.stdout = Nowhere()
            tqdm.__init__ = partialmethod(bars, disable=True)
        yield
        dist.barrier()
        dist.destroy_process_group()
    finally:
        sys.stdout, tqdm.__init__ = screen, bars


def environment() -> dict[str, str]:
    """Environment of a process that is none of these: what torchrun has set is left out."""
    return {key: value for key, value in os.environ.items() if key not in TORCHRUN and "TORCHELASTIC" not in key}


# ---- what is said among them ----


def gather(value) -> list:
    """The values of all processes, in their order."""
    if count() == 1:
        return [value]
    found = [None] * count()
    dist.all_gather_object(found, value)
    return found


def total(number: float) -> float:
    """Sum of a number over the processes."""
    return sum(gather(number)) if count() > 1 else number


def largest(number: int | None) -> int | None:
    """The largest of those numbers that are not None."""
    if count() == 1:
        return number
    found = torch.tensor(-1 if number is None else number)
    dist.all_reduce(found, dist.ReduceOp.MAX)
    return None if found < 0 else int(found)


def barrier() -> None:
    """Wait for the others."""
    if count() > 1:
        dist.barrier()


def first_does(function: Callable, *args) -> Any:
    """Have the first process do something; -> what came of it, on all. Its error ends the others, too."""
    global _alone
    if count() == 1:
        return function(*args)
    from speechbrain.utils.distributed import MainProcessContext

    told, error = [None, False], None
    if is_first():
        try:
            _alone = True
            with MainProcessContext():  # SpeechBrain waits for nobody within
                told = [function(*args), False]
        except BaseException as raised:
            told, error = [None, True], raised
        finally:
            _alone = False
    dist.broadcast_object_list(told, 0)
    if error is not None:
        raise error
    if told[1]:
        raise FirstFailed(1)
    return told[0]


def by_the_first(function: Callable) -> Callable:
    """Decorator: `first_does`, whoever calls it."""

    @wraps(function)
    def done(*args):
        return first_does(lambda: function(*args))

    return done


def require_same(what: dict[str, Any]) -> None:
    """Raise ValueError where the processes differ in one of these values, naming it and them."""
    found = gather((socket.gethostname(), what))
    for key in what:
        other = [n for n, (_, theirs) in enumerate(found) if theirs.get(key) != found[0][1].get(key)]
        if other:
            of = f"process {other[0]} on {found[other[0]][0]} has another than process 0 on {found[0][0]}"
            raise ValueError(
                f"{key}: {of}; all processes of a run need the same command, files, code and packages: bring them "
                "into line on all machines, and give the command again"
            )


def code() -> str:
    """Digest of the checkout's code."""
    here = Path(__file__).parent
    files = [*here.rglob("*.py"), *here.parent.glob("recipes/*.py"), *here.parent.glob("local/*.py")]
    found = hashlib.blake2b(digest_size=12)
    for path in sorted(files):
        found.update(path.read_bytes())
    return found.hexdigest()


# ---- shares ----


def share(items: Sequence) -> list:
    """This process's part of a list; together they are all of it."""
    return list(items[rank() :: count()])


def merge(parts: Sequence[Sequence]) -> list:
    """The list of which `parts`, in the processes' order, are the shares."""
    found = [None] * sum(map(len, parts))
    for n, part in enumerate(parts):
        found[n :: len(parts)] = part
    return found


class Shares:
    """A batch sampler that gives each process its part of the batches that one process alone would draw.

    Parameters
    ----------
    batches : iterable of list of int
        The whole batches, the same on all processes.
    cut : bool
        True: each gets a piece of every batch (training), the same number of pieces on all; one that finds nothing in
        a short batch gets an empty one. False: whole batches, one after the other.
    """

    def __init__(self, batches: Iterable[list[int]], cut: bool):
        self.batches, self.cut = batches, cut

    def __len__(self) -> int:
        whole = len(self.batches)
        return whole if self.cut else len(range(rank(), whole, count()))

    def __iter__(self) -> Iterator[list[int]]:
        r, n = rank(), count()
        for i, batch in enumerate(self.batches):
            if self.cut:
                yield batch[len(batch) * r // n : len(batch) * (r + 1) // n]
            elif i % n == r:
                yield batch


class NoneOfNothing:
    """Collates examples as `collate` does; of an empty batch it makes None."""

    def __init__(self, collate: Callable):
        self.collate = collate

    def __call__(self, examples: list):
        return self.collate(examples) if examples else None


# ---- tensors ----


def sum_gradients(parameters: Iterable[torch.nn.Parameter]) -> None:
    """Sum gradients over the processes; a parameter stays without one where none of them has any."""
    if count() == 1:
        return
    parameters = list(parameters)
    there = torch.tensor([p.grad is not None for p in parameters], dtype=torch.int32)
    dist.all_reduce(there, dist.ReduceOp.MAX)
    groups = {}
    for p, anywhere in zip(parameters, there.tolist(), strict=True):
        if anywhere:
            if p.grad is None:
                p.grad = torch.zeros_like(p)
            groups.setdefault((p.grad.dtype, p.grad.device), []).append(p.grad)
    for gradients in groups.values():
        sum_tensors(gradients)


@torch.no_grad()
def sum_tensors(tensors: Sequence[torch.Tensor]) -> None:
    """Sum tensors of one type and device over the processes, in place, some at a time."""
    if count() == 1:
        return
    bucket = []
    for i, tensor in enumerate(tensors):
        bucket.append(tensor)
        if i + 1 < len(tensors) and sum(t.numel() for t in bucket) < BUCKET:
            continue
        flat = torch.cat([t.reshape(-1) for t in bucket])
        dist.all_reduce(flat)
        for t, values in zip(bucket, flat.split([t.numel() for t in bucket]), strict=True):
            t.copy_(values.view_as(t))
        bucket = []


def from_first(tensors: Iterable[torch.Tensor | None]) -> None:
    """Overwrite tensors with the first process's, so that no last digit tells the processes apart."""
    if count() > 1:
        for tensor in tensors:
            if tensor is not None:
                dist.broadcast(tensor, 0)
