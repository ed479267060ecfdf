"""One process a folder: two on one run would mix their events, and both would end with status 0.

The system holds the lock (`flock`) and releases it with the process that has it, however that ends.
"""

import json
import os
import signal
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import filelock

from carryover import files

LOCK, HOLDER = ".lock", ".lock_holder.json"
GRACE = 2.0  # seconds that a process may take to end after it was killed
PATIENCE = 30.0  # seconds that the data loaders of a killed run may take to notice it


class LockedError(ValueError):
    """A folder that another process writes into."""


@contextmanager
def held(folder: str | Path) -> Iterator[None]:
    """Hold a folder's lock; the folder is made where it is not there.

    Raises
    ------
    LockedError
        Naming the host and the process that hold it.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    lock = filelock.FileLock(folder / LOCK)
    start = time.monotonic()
    while True:
        try:
            lock.acquire(timeout=0)
            break
        except filelock.Timeout:
            holder = _holder(folder)
            if time.monotonic() - start > (PATIENCE if _died(holder) else GRACE):
                raise LockedError(_message(folder, holder)) from None
            time.sleep(0.2)
    try:
        # apart from the lock: opening that one empties it. Gone with the process, for it names a host
        files.write_json(folder / HOLDER, {"host": socket.gethostname(), "pid": os.getpid()}, indent=None)
        yield
    finally:
        with suppress(OSError):  # on a disk that went read-only the run's own error counts
            (folder / HOLDER).unlink(missing_ok=True)
        lock.release()


def claim(path: str | Path, wait: bool = False) -> filelock.BaseFileLock | None:
    """Take a lock file that is released with this process, however that ends; None where another process has it.

    Parameters
    ----------
    wait : bool
        Until it is free.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = filelock.FileLock(path, thread_local=False)
    try:
        lock.acquire(timeout=-1 if wait else 0, poll_interval=0.2)
    except filelock.Timeout:
        return None
    return lock


def _holder(folder: Path) -> dict:
    try:
        found = json.loads((folder / HOLDER).read_bytes())
        return found if isinstance(found, dict) and {"host", "pid"} <= found.keys() else {}
    except (OSError, ValueError):
        return {}


def _died(holder: dict) -> bool:
    """Whether the process that took the lock is gone; its loaders hold it a few seconds longer."""
    if holder.get("host") != socket.gethostname():
        return False
    try:
        os.kill(holder["pid"], 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    stat = Path(f"/proc/{holder['pid']}/stat")  # a zombie has ended, too: nobody has asked for its status yet
    return stat.exists() and stat.read_text().rpartition(")")[2].split()[0] == "Z"


def _message(folder: Path, holder: dict) -> str:
    who = f"process {holder['pid']} on {holder['host']}" if holder else "another process"
    return (
        f"{folder} is in use by {who}. Wait for it or stop it, or give this one another folder "
        "(--output_folder or --seed; a sweep: --out)"
    )


def dies_with_parent(number: int = signal.SIGKILL):
    """For subprocess's `preexec_fn`: the child is ended when its parent is, even by SIGKILL. Linux alone has this.

    A run that is ended so goes on from its last checkpoint, like any that was killed.
    """
    if not sys.platform.startswith("linux"):
        return None
    import ctypes

    libc, parent = ctypes.CDLL(None), os.getpid()

    def ask() -> None:
        libc.prctl(1, number)  # PR_SET_PDEATHSIG; it outlives exec
        if os.getppid() != parent:  # it has ended meanwhile
            os._exit(1)

    return ask
