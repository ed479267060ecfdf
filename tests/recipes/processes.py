"""Processes that run train.py without importing torch and transformers anew: a server of multiprocessing's, which has
imported them, forks one for each run (five seconds less a run). What else a process has is its own: working directory,
arguments, environment, group, signals, output, exit status."""

import atexit
import gc
import multiprocessing
import os
import runpy
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

SERVER = multiprocessing.get_context("forkserver")
RECIPES = ["recipes.whisper", "recipes.ctc", "recipes.speech_llm", "recipes.sign_ctc"]
SERVER.set_forkserver_preload([*RECIPES, "local.synthetic"])


def _run(argv: list[str], folder: str, environment: dict[str, str], out: str, err: str) -> None:
    gc.freeze()  # else each collection goes through all that was imported: a quarter of a small run
    os.setsid()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):  # as in a new interpreter
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
    for path, descriptor in ((out, 1), (err, 2)):
        file = os.open(path, os.O_WRONLY)
        os.dup2(file, descriptor)
        os.close(file)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    sys.argv = argv
    sys.path.insert(0, folder)
    multiprocessing.set_start_method(None, force=True)
    try:
        runpy.run_path(argv[0], run_name="__main__")
    finally:
        atexit._run_exitfuncs()  # multiprocessing ends its processes by os._exit, which calls none


class Process:
    """A run of `python argv` in `folder`, with the part of subprocess.Popen's interface that tests use."""

    def __init__(self, argv: list[str], folder: Path, environment: dict[str, str] | None = None):
        self._files = tempfile.TemporaryDirectory()
        self._out, self._err = (Path(self._files.name) / name for name in ("out", "err"))
        for path in (self._out, self._err):
            path.touch()
        given = (argv, str(folder), os.environ | (environment or {}), str(self._out), str(self._err))
        self._process = SERVER.Process(target=_run, args=given)
        self._process.start()
        self.pid, self.args = self._process.pid, argv

    @property
    def returncode(self) -> int | None:
        return self._process.exitcode

    def poll(self) -> int | None:
        """Exit status; -N after signal N; None while it runs."""
        self._process.join(0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        self._process.join(timeout)
        if self.returncode is None:
            raise subprocess.TimeoutExpired(self.args, timeout)
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.returncode is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def completed(self, timeout: float) -> subprocess.CompletedProcess:
        """Wait for its end; killed after `timeout` seconds."""
        try:
            self.wait(timeout)
        except subprocess.TimeoutExpired:
            self.kill()
            raise
        said = (path.read_text(encoding="utf-8") for path in (self._out, self._err))
        return subprocess.CompletedProcess(self.args, self.returncode, *said)


def free_port() -> int:
    """A port of this machine that nothing listens to now."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def as_torchrun(argvs: Sequence[list[str]], folder: Path) -> list[Process]:
    """Processes of one run, started as torchrun does, an argv each; one alone is started without torchrun."""
    met = {"WORLD_SIZE": str(len(argvs)), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    found = []
    for rank, argv in enumerate(argvs):
        variables = met | {"RANK": str(rank), "LOCAL_RANK": str(rank)} if len(argvs) > 1 else {}
        found.append(Process(argv, folder, variables))
    return found
