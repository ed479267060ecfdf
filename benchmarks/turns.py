"""Training loops in threads that take turns, one update each, so that a busy machine slows all alike."""

import math
import threading
import time
from collections.abc import Callable

import torch

from carryover.forgetting.method import Method

DROPPED = 2  # updates of each variant that warm it up


class TimeIsOver(Exception):
    """Ends a loop that has had its time."""


class Turns:
    """Lets loops in threads take turns, and measures each turn: {name: [(processor seconds, wall seconds)]}.

    On a GPU a turn ends when the GPU has done its work.

    Parameters
    ----------
    limit : float
        Seconds that the counted updates of a loop may take, but for three of them; then it is ended.
    """

    def __init__(self, names: list[str], limit: float = math.inf):
        self.waiting, self.turn, self.limit = list(names), threading.Condition(), limit
        self.seconds = {name: [] for name in names}
        self._started = {}

    def wait(self, name: str) -> None:
        """Until it is this one's turn."""
        with self.turn:
            self.turn.wait_for(lambda: self.waiting[0] == name)
        self._started[name] = time.thread_time(), time.perf_counter()

    def done(self, name: str, counts: bool = True) -> None:
        """An update is done: the next one's turn, until it is this one's again."""
        if torch.cuda.is_initialized():
            torch.cuda.synchronize()
        cpu, wall = self._started[name]
        if counts:
            self.seconds[name].append((time.thread_time() - cpu, time.perf_counter() - wall))
            if len(self.seconds[name]) > DROPPED and sum(spent for _, spent in self.seconds[name]) > self.limit:
                raise TimeIsOver
        with self.turn:
            self.waiting.append(self.waiting.pop(0))
            self.turn.notify_all()
        self.wait(name)

    def leave(self, name: str) -> None:
        with self.turn:
            self.waiting.remove(name)
            self.turn.notify_all()

    def run(self, loop: Callable[[str], None], threads: int = 1) -> None:
        """Have `loop(name)` run for each name, in a thread of its own, until all have ended.

        Raises
        ------
        RuntimeError
            Where one of them ended in an error, which does not keep the others waiting.
        """
        failed = {}

        def turn(name: str) -> None:
            torch.set_num_threads(threads)
            self.wait(name)
            try:
                loop(name)
            except TimeIsOver:
                pass
            except Exception as error:
                failed[name] = error
            finally:
                self.leave(name)

        running = [threading.Thread(target=turn, args=(name,), daemon=True) for name in list(self.waiting)]
        for thread in running:
            thread.start()
        for thread in running:
            thread.join()
        for name, error in failed.items():
            raise RuntimeError(f"{name} ended early") from error


class Turn(Method):
    """The hook that gives the turn away: a method against forgetting that does nothing else."""

    name = "turn"

    def __init__(self, turns: Turns, of: str):
        self.turns, self.of, self.begun = turns, of, (time.thread_time(), time.perf_counter())
        self.waited = []  # seconds in all for data, after each update

    def begin(self, learner, old_set):
        cpu, wall = self.begun
        self.making = time.thread_time() - cpu, time.perf_counter() - wall  # of states that are kept
        self.progress = learner.progress
        self.turns.done(self.of, counts=False)

    def after_update(self):
        self.waited.append(self.progress.window["data_wait_seconds"])
        self.turns.done(self.of)
