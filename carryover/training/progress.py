"""How far a run is: the counters that a checkpoint keeps and a resume puts back."""

import dataclasses
import time
from dataclasses import dataclass, field


def new_window() -> dict:
    """Sums since the last train event; part of a checkpoint, so JSON-serialisable."""
    return {"units": 0, "updates": 0, "terms": {}, "grad_norm": 0.0, "clipped": 0, "data_wait_seconds": 0.0}


UPDATES_DONE, EPOCHS_DONE = "all updates done", "all epochs done"  # why a training came to its end


@dataclass
class Progress:
    """Counters of a run.

    Attributes
    ----------
    update, epoch, groups_done : int
        Optimizer updates; the epoch (from 1); groups of micro-batches done in it.
    skipped, nonfinite_count : int
        Updates that were skipped; those of them for a loss or gradient that was not finite.
    halvings : int
        How often micro-batches are cut in two, because memory ran out.
    best_WER : float or None
        Lowest validation WER of the new language, in percent.
    bad_validations : int
        Validations since then.
    stopped : str
        Why training ended, "" while it goes on.
    validating : bool
        The validation after the last update is not done: a signal stopped the run in it.
    window : dict
        `new_window`.
    """

    update: int = 0
    epoch: int = 0
    groups_done: int = 0
    skipped: int = 0
    nonfinite_count: int = 0
    halvings: int = 0
    best_WER: float | None = None
    bad_validations: int = 0
    stopped: str = ""
    validating: bool = False
    window: dict = field(default_factory=new_window)

    def __post_init__(self):
        self.started, self.seconds_before = time.monotonic(), 0.0

    def now(self) -> dict:
        """The keys that every event has: update, epoch, time (seconds since the run began)."""
        seconds = round(self.seconds_before + time.monotonic() - self.started, 3)
        return {"update": self.update, "epoch": self.epoch, "time": seconds}

    def train_on(self, total: int, last_epoch: float) -> None:
        """A training that came to its end goes on where more updates or epochs are planned now."""
        if {UPDATES_DONE: self.update < total, EPOCHS_DONE: self.epoch < last_epoch}.get(self.stopped):
            self.stopped = ""

    def add(self, norm: float, clipped: bool, done: list[tuple[int, dict, dict]]) -> None:
        """Add an update to the window: its gradient's norm, and (units, terms, statistics) of each micro-batch."""
        window = self.window
        window["grad_norm"] += norm
        window["updates"] += 1
        window["clipped"] += clipped
        for n, terms, statistics in done:
            window["units"] += n
            for name, value in terms.items():
                window["terms"][name] = window["terms"].get(name, 0.0) + n * value
            for name, value in statistics.items():
                window[name] = window.get(name, 0.0) + value

    def validated(self, WER: float) -> bool:
        """Count a validation of the new language; True where it is the best so far."""
        improved = self.best_WER is None or WER < self.best_WER
        self.best_WER = WER if improved else self.best_WER
        self.bad_validations = 0 if improved else self.bad_validations + 1
        return improved

    def state_dict(self) -> dict:
        """What a checkpoint keeps."""
        return dataclasses.asdict(self) | {"time": self.now()["time"]}

    def load_state_dict(self, state: dict) -> None:
        """Go on from `state_dict`."""
        for known in dataclasses.fields(self):
            setattr(self, known.name, state[known.name])
        self.started, self.seconds_before = time.monotonic(), state["time"]
