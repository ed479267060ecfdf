"""Runs a script that kills itself at its n-th operation on files below a folder.

    python benchmarks/killed_at.py N FOLDER SCRIPT [ARGUMENT ...]

The operations are audit events of Python's (open for writing, rename, remove, make or remove a folder); the process is
killed before the n-th is done. N = 0: never.
"""

import os
import runpy
import signal
import sys

CHANGES = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate", "os.link", "os.symlink"}
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_TRUNC


def kill_at(n: int, folder: str) -> None:
    """Install the hook."""
    done = 0

    def count(event: str, args: tuple) -> None:
        nonlocal done
        if event == "open":
            if not (args[2] or 0) & WRITES:
                return
        elif event not in CHANGES:
            return
        if not isinstance(args[0], (str, os.PathLike)) or not os.fspath(args[0]).startswith(folder):
            return
        done += 1
        if done == n:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(count)


if __name__ == "__main__":
    at, place = int(sys.argv[1]), sys.argv[2]
    sys.argv = sys.argv[3:]
    if at:
        kill_at(at, place)
    runpy.run_path(sys.argv[0], run_name="__main__")
