"""Signals that stop a run: Ctrl-C, a closed terminal, a cluster's or a spot instance's warning."""

import atexit
import math
import multiprocessing
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager

from tqdm import tqdm

COPIES = 1.0  # seconds in which further signals are copies of the first


class Stopped(KeyboardInterrupt):
    """A signal ended the run.

    Parameters
    ----------
    number : int
        The signal's; `status`, which the process ends with, is 128 + number, as a shell has it.
    saved : str
        What is saved, "" where the signal came at a moment without an update to save.
    """

    def __init__(self, number: int, saved: str = ""):
        self.number, self.status = number, 128 + number
        where = (
            f"{saved} is saved; the same command goes on from there"
            if saved
            else ("the same command goes on from the last checkpoint, or begins anew where there is none")
        )
        super().__init__(f"stopped by {signal.Signals(number).name}: {where}")


class Request:
    """Whether a signal has asked to stop.

    Attributes
    ----------
    number : int or None
        The signal's.
    saving : bool
        A checkpoint is being written: to stop in it takes one signal more.
    """

    number: int | None = None
    saving: bool = False

    def __init__(self):
        self._when, self._warned = -math.inf, False

    def seen(self, number: int) -> None:
        """Note a signal; Stopped is raised where it asks to stop at once."""
        copy = time.monotonic() - self._when < COPIES
        if self.number is not None and copy:
            return
        self._when, name = time.monotonic(), signal.Signals(number).name
        if self.number is None:
            self.number = number
            tqdm.write(f"{name}: stopping after this update; once more stops at once")
        elif self.saving and not self._warned:
            self._warned = True
            tqdm.write(f"{name}: the checkpoint is being written; once more stops at once, without it")
        else:
            raise Stopped(number)

    @contextmanager
    def while_saving(self) -> Iterator[None]:
        """Within, what was learned is written."""
        self.saving = True
        try:
            yield
        finally:
            self.saving = False


def numbers(names: list[str]) -> list[int]:
    """Signals by their names.

    Raises
    ------
    ValueError
        For a name that is no signal's, or a signal that a process cannot catch.
    """
    caught = {s.name: s for s in signal.valid_signals() if isinstance(s, signal.Signals)}
    caught = {name: s for name, s in caught.items() if name not in ("SIGKILL", "SIGSTOP")}
    if not isinstance(names, (list, tuple)) or any(name not in caught for name in names):
        raise ValueError(
            f"stop_signals: {names!r}; expected a list of signals that can be caught, such as [SIGTERM, SIGHUP, "
            "SIGINT, SIGUSR1]"
        )
    return [caught[name] for name in names]


@contextmanager
def at_once(names: list[str]) -> Iterator[None]:
    """Within, a signal raises Stopped: there is nothing to finish and nothing to save."""

    def stop(number, frame):
        raise Stopped(number)

    with _handled(names, stop):
        yield


@contextmanager
def after_the_update(names: list[str]) -> Iterator[Request]:
    """Within, a signal is noted in the Request, and the loop ends after its update; a second one raises Stopped.

    One that follows within `COPIES` seconds is the same request: terminals, schedulers and torchrun signal the whole
    group and pass on what they got. While a checkpoint is written, the second one is warned of and the third stops.
    """
    request = Request()
    with _handled(names, lambda number, frame: request.seen(number)):
        yield request


def left_to_the_trainer(worker: int) -> None:
    """In a process that reads clips: what the trainer handles is ignored, for a signal often reaches the whole group.

    Without it, the update in progress fails for want of its batch. With it, SIGTERM no longer ends the process, by
    which Python ends what is left at its exit: see `end_readers_at_exit`.
    """
    for number in signal.valid_signals():
        if callable(signal.getsignal(number)):
            signal.signal(number, signal.SIG_IGN)


def end_readers_at_exit() -> None:
    """Kill, when Python exits, the processes that still read clips: those of an epoch that was not read to its end.

    Python itself would send them SIGTERM, which they ignore, and wait for them for ever.
    """
    atexit.unregister(_end_readers)  # what is registered last is called first: before multiprocessing's own
    atexit.register(_end_readers)


def _end_readers() -> None:
    readers = multiprocessing.active_children()
    if readers and hasattr(signal, "SIGCHLD"):
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # torch's handler takes their end for a fault, and raises
    for process in readers:
        process.kill()


@contextmanager
def _handled(names: list[str], handler) -> Iterator[None]:
    before = {}
    try:
        for number in numbers(names):
            kept = signal.getsignal(number)
            if number == signal.SIGHUP and kept == signal.SIG_IGN:
                continue  # nohup: a closed terminal is not to stop it
            before[number] = kept
            signal.signal(number, handler)
        yield
    finally:
        for number, kept in before.items():
            signal.signal(number, kept)
