"""What the rules need of the events so far: curves, stretches, extremes; no event is read twice."""

import math
from bisect import bisect_left, insort
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import fmean
from typing import NamedTuple

from carryover.runs.flags.thresholds import Thresholds


@dataclass
class Stretch:
    """Consecutive train events in which something holds.

    Attributes
    ----------
    events : int
        How many so far.
    start : int
        Update of the last event before them, 0 where there was none: a train event speaks of all updates since then.
    """

    events: int = 0
    start: int = 0

    def see(self, holds: bool, update: int) -> int:
        """Take the next event; returns the updates that the stretch is long, 0 where it has ended."""
        if not holds:
            self.events, self.start = 0, update
            return 0
        self.events += 1
        return update - self.start


class Window:
    """The last values of a curve and their median; sorted as they come, for a log can have 100 000 of them."""

    def __init__(self):
        self.arrived, self.sorted = deque(), []  # (update, value); values

    def __len__(self) -> int:
        return len(self.sorted)

    def add(self, update: int, value: float) -> None:
        self.arrived.append((update, value))
        insort(self.sorted, value)

    def drop(self) -> None:
        """Forget the oldest value."""
        _, value = self.arrived.popleft()
        del self.sorted[bisect_left(self.sorted, value)]

    @property
    def median(self) -> float:
        n = len(self.sorted)
        return (self.sorted[(n - 1) // 2] + self.sorted[n // 2]) / 2


class Validation(NamedTuple):
    """What the rules read of a validation; None where the event has it not.

    Attributes
    ----------
    update : int
    loss, WER : float
    train : float
        Mean training loss since the validation before it.
    errors, deletions, insertions, words : float
        Counts over the set.
    """

    update: int
    loss: float | None
    WER: float | None
    train: float | None
    errors: float | None = None
    deletions: float | None = None
    insertions: float | None = None
    words: float | None = None


class Log:
    """The events of one run so far, as far as rules need them.

    Parameters
    ----------
    limits : Thresholds
    language, schedule, warmup, total, scaled, rate, usual_rate, weights
        See `Monitor`.
    """

    def __init__(
        self, limits: Thresholds, language, schedule, warmup, total, scaled, rate=None, usual_rate=None, weights=None
    ):
        self.limits, self.language, self.schedule = limits, language, schedule
        self.warmup, self.total, self.scaled = warmup, total, scaled
        self.rate, self.usual_rate, self.weights = rate, usual_rate, weights or {}
        self.named = set()  # kinds of flags that have been said
        self.update, self.epoch, self.ended = 0, 0, False
        self.previous, self.trained = {}, {}  # the last event, the last train event
        self.curve = []  # (update, lr, sum of all losses so far, sum of their squares)
        self.recent, self.typical, self.lowest = Window(), None, math.inf  # medians of the loss
        self.first = None  # loss of the first train event
        self.peak_rate = self.skipped = self.newly_skipped = 0.0
        self.largest_ratio = self.peak_ratio = self.ratio = 0.0  # the last two over the typical loss
        self.norms, self.spikes = Window(), deque(maxlen=100)  # gradient norms, and how often the median each is
        self.waits = deque(maxlen=10)  # (seconds waited, seconds in all)
        self.high, self.zero, self.blank, self.same_rate, self.ruled, self.looped = (Stretch() for _ in range(6))
        self.echoed, self.no_loss, self.cut, self.alone = (Stretch() for _ in range(4))
        self.since, self.validated = [], []  # losses since the last validation; each `Validation`

    def keep(self, event: Mapping) -> None:
        """Take the next event, before the rules are asked about it."""
        kind = event.get("event")
        self.update, self.ended = int(event.get("update", self.update)), kind == "end"
        self.epoch = int(event.get("epoch") or self.epoch)
        if kind in ("valid", "test") and self.language is None:
            self.language = event.get("language")
        if kind == "train":
            self.keep_train(event)
        elif kind == "valid" and self.judged(event):
            self.keep_valid(event)

    def keep_train(self, event) -> None:
        update, rate, norm = self.update, number(event, "lr"), number(event, "grad_norm")
        self.keep_loss(number(event, "loss"), math.inf if rate is None else rate)
        self.zero.see(norm == 0, update)
        self.no_loss.see(number(event, "loss") == 0, update)
        self.cut.see((number(event, "clipped") or 0) >= self.limits.clipped, update)
        _, times = self.largest_term(event)
        self.alone.see(times >= self.limits.outweighs, update)
        if norm is not None and math.isfinite(norm):
            usual = self.norms.median if len(self.norms) >= 10 else math.inf
            self.spikes.append(norm / usual if usual else 0.0)
            self.norms.add(update, norm)
            if len(self.norms) > 100:
                self.norms.drop()
        self.same_rate.see(rate is not None and rate == number(self.trained, "lr"), update)
        blanks, ratio = number(event, "blank_ratio"), number(event, "penalty_ratio")
        self.blank.see(blanks is not None and blanks >= self.limits.blank, update)
        self.ruled.see(ratio is not None and ratio > self.limits.dominates, update)
        self.largest_ratio = max(self.largest_ratio, ratio or 0.0)
        if ratio is not None and self.typical:  # the penalty has no scatter, the loss below it has
            self.ratio = ratio * float(event["loss"]) / self.typical
            self.peak_ratio = max(self.peak_ratio, self.ratio)
        skipped = number(event, "skipped")
        if skipped is not None:
            self.newly_skipped, self.skipped = skipped - self.skipped, skipped
        wait, now, before = number(event, "data_wait_seconds"), number(event, "time"), number(self.previous, "time")
        # the wait is counted since the last train event; in between stands no checkpoint and no test
        uninterrupted = self.previous.get("event") in ("train", "valid")
        uninterrupted &= self.previous.get("update") == self.trained.get("update")
        if uninterrupted and None not in (wait, now, before):
            self.waits.append((wait, now - before))
        self.trained = event

    def keep_loss(self, loss: float | None, rate: float) -> None:
        self.typical = None
        if loss is None or not math.isfinite(loss):
            return
        self.since.append(loss)
        self.first = loss if self.first is None else self.first
        *_, total, squares = self.curve[-1] if self.curve else (0.0, 0.0)
        self.curve.append((self.update, rate, total + loss, squares + loss * loss))
        self.peak_rate = max(self.peak_rate, rate)
        self.recent.add(self.update, loss)
        while len(self.recent) > 3 and self.recent.arrived[0][0] <= self.update - 50:
            self.recent.drop()
        if len(self.recent) >= 3:
            self.typical = self.recent.median
            self.lowest = min(self.lowest, self.typical)
            self.high.see(self.above(self.limits.off, self.lowest), self.update)

    def keep_valid(self, event) -> None:
        train = fmean(self.since) if self.since else number(self.trained, "loss")
        self.since = []
        counts = (number(event, key) for key in ("errors", "deletions", "insertions", "words"))
        self.validated.append(Validation(self.update, number(event, "loss"), number(event, "WER"), train, *counts))
        self.looped.see(self.often("loops", event), self.update)
        self.echoed.see(self.often("echoes", event), self.update)

    def above(self, factor: float, reference: float) -> bool:
        # near zero a factor says little: 0.001 and 0.01 are both learned by heart
        return self.typical > factor * reference and self.typical - reference > 0.05 * self.first

    def time_enough(self) -> float:
        """Updates after which a fault has had its time to go away."""
        planned = self.update if self.ended else self.total or math.inf
        return max(self.limits.shortest, min(self.limits.patience, planned / 2))

    def judged(self, event) -> bool:
        """Whether a validation belongs to the learning curve: the new language, the weights of that update."""
        return event.get("language") == self.language and "weights" not in event

    def often(self, key: str, event: Mapping) -> bool:
        """Whether many hypotheses of a set say one thing again and again (`loops`), or the prompt (`echoes`)."""
        return (number(event, key) or 0) >= self.limits.looping * (number(event, "utterances") or math.inf)

    def by_heart(self) -> bool:
        """Whether the training texts are known far better than others, and the others not well."""
        if not self.validated or self.first is None:
            return False
        _, loss, WER, train, *_ = self.validated[-1]
        if None in (loss, train) or not math.isfinite(loss) or (WER is not None and WER < self.limits.heart_WER):
            return False
        return train <= min(loss / self.limits.heart, 0.5 * self.first)

    def largest_term(self, event: Mapping) -> tuple[str, float]:
        """The loss term that weighs most, and how many times the sum of the others it is; 0 where it is alone."""
        loss = number(event, "loss")
        parts = {name: weight * (number(event, name) or 0.0) for name, weight in self.weights.items() if weight}
        parts = {name: abs(part) for name, part in parts.items() if name in event}
        if loss is None or not math.isfinite(loss) or not all(map(math.isfinite, parts.values())):
            return "", 0.0
        if (rest := abs(loss - sum(parts.values()))) > 1e-3 * abs(loss):  # a method's term, with a weight of its own
            parts["the others"] = rest
        largest = max(parts, key=parts.get, default="")
        others = sum(part for name, part in parts.items() if name != largest)
        return largest, parts[largest] / others if others else 0.0  # a term of exactly 0 is a baseline


def number(event: Mapping, key: str) -> float | None:
    """A number of an event; None where it has none under that key."""
    found = event.get(key)
    return None if found is None else float(found)


def moments(before: tuple, last: tuple, n: int) -> tuple[float, float]:
    """Mean and variance of the n losses that the curve gained from one point to another."""
    mean = (last[2] - before[2]) / n
    return mean, max(0.0, (last[3] - before[3]) / n - mean * mean) * n / (n - 1)
