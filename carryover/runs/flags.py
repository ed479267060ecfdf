"""Red flags: what a run's own log shows to be going wrong, in one line with its numbers and what to try.

The same `Monitor` is shown every event of metrics.jsonl while training writes it, and again by whoever reads the log
later; it needs nothing but the events. A flag is a reason to look, not a verdict: nothing is stopped by one.
"""

import math
from bisect import bisect_left, insort
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from statistics import fmean, median

from carryover.text import Normaliser

# What to try, in the words of docs/TUNING.md and the keys of the YAMLs.
ADVICE = {
    "overfitting": "try dropout, weight_decay, augmentation",
    "plateau": "try lr x 2 to x 10, freeze less, check that texts and audio match",
    "divergence": "try lr / 2 to / 10, then warmup x 2",
    "non-finite": "try lower lr, bf16 for fp16; listen to the clips that are named above",
    "gradient spikes": "try lr / 2, max_grad_norm 1, longer warmup; look for bad clips",
    "no gradient": "check what is frozen or detached, and that CTC targets fit their frames",
    "all blank": "try another lr (x 3, / 3), longer warmup; check that texts match the audio",
    "loops": "look at predictions_*.csv, lower generation_length or tokens_per_second",
    "WER over 100": "look for loops in predictions_*.csv, lower generation_length",
    "rate zero": "nothing is learned; check lr, lr_schedule and the length that decay is planned for",
    "rate stuck": "the schedule is not followed; is it stepped at every update?",
    "warm-up unfinished": "try warmup: 0.1, a share of all updates",
    "small set": "take more before comparing runs by it",
    "waiting for data": "try num_workers 4 to 8, or faster storage",
    "penalty dominates": "try lambda / 10",
    "penalty negligible": "try lambda x 100; this run is plain fine-tuning",
    "texts in training": "report the share, or test on unseen texts",
    "speakers in training": "report it, or test on unseen speakers",
}
KINDS = tuple(ADVICE)

# Schedules whose rate differs at every update; the others stand still once their warm-up is over.
MOVING = ("noam", "linear", "cosine", "cosine_with_restarts", "cosine_with_min_lr", "polynomial", "inverse_sqrt")

# What keeps a loss where it is: one of these said, a plateau is no news, and its advice would be wrong.
REASONS = ("no gradient", "rate zero", "all blank", "penalty dominates")


@dataclass(frozen=True)
class Flag:
    """Something that the log shows.

    Attributes
    ----------
    kind : str
        One of `KINDS`.
    update : int
        Optimizer updates that were done when it showed.
    evidence : str
        The numbers that show it.
    advice : str
        What to try.
    """

    kind: str
    update: int
    evidence: str
    advice: str

    @property
    def line(self) -> str:
        """All of it on one line of the screen, some 160 characters at most."""
        return f"red flag ({self.kind}): {self.evidence}; {self.advice}"


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


@dataclass(kw_only=True, eq=False)
class Monitor:
    """Watches the events of one run, in order.

    Each kind is said once for the training and once for each set: a fault that goes away and comes back is the same
    fault, and a line that is repeated is not read. Its state comes from the events alone, so that a resumed run is
    watched on by showing a new Monitor the log so far; `flag` events in it are passed over. Keys that an event lacks
    (another version's) cost the kinds that need them.

    Parameters
    ----------
    language : str, optional
        The language that is learned; default: that of the first validation or test, where train.py puts it. Only its
        WER and validation loss are judged: an old language's are forgetting, which has tables of its own.
    schedule : str, optional
        Name of the schedule (lr_schedule): a rate that stands still is a fault with some only. Not judged if unknown.
    warmup : int, optional
        Its warm-up in updates, where known.
    total : int, optional
        Updates that are planned, where known.
    scaled : bool
        Whether the loss is scaled (fp16): the first overflows are then how the scale is found.

    shortest, patience : int
        Plateau, all blank, penalty negligible: these are judged over half of the planned updates, but `shortest` at
        least (less tells nothing) and `patience` at most; at the end of a run, over half of it. CTC from random weights
        leaves the blanks within some hundred updates, and within a third of a short run.
    validations : int
        Overfitting: validations since the lowest loss, without a lower WER. 3, as the patience of fine-tuning guides.
    rise, fall : float
        Overfitting: the validation loss is up by this share while the training loss is down by that share. A loss over
        some 100 utterances that has settled moves by 2 to 5 % between validations; 10 % is beyond that.
    plateau_events : int
        Plateau: so many train events at least, 8 or more; from quarters of 4 on their scatter is known.
    plateau_drop : float
        Plateau: from the third to the last quarter of the run so far the mean loss fell by less than this share, three
        standard errors of the difference added, so that a noisy log says nothing. A loss that goes as n^-0.1, slow
        for speech, falls by 3.3 % between them, as n^-0.25 by 8 %.
    far_WER : float
        Plateau, penalty dominates: at this WER (percent) half of the words are wrong, far from done. A plateau without
        a WER since its third quarter began: while the loss is at `plateau_loss` of its first value.
    plateau_loss : float
        A loss that still stands at 80 % of its first value has hardly ever moved.
    far, off : float
        Divergence: the median loss of the last 50 updates (and three events) is `far` times its lowest or the first
        loss, at once, or `off` times its lowest throughout a quarter of the run so far (200 updates and 10 events at
        least). Where losses scatter by 30 % from update to update, as CTC's do, the highest such median of 20 000
        updates is 1.5 times the lowest.
    spike, spikes, burst : float, int, float
        Gradient spikes: so often the median norm of the last 100 train events (10 at least), so many times within
        100, or once by the factor `burst`. Norms scatter by a factor of 2 to 3; clipping deals with a single outlier.
    zero_updates : int
        No gradient: norm exactly 0 for so many updates. One batch of impossible CTC targets can do it once.
    blank : float
        All blank: share of blanks among the frames. Labels that are far apart (signs) stay at 0.9 to 0.97 for good.
    loops : int
        Loops, WER over 100: in two validations in a row, this one or later, or in the test of the final weights. A
        model that has heard nothing of a language begins there.
    looping : float
        Loops: share of utterances with one thing again and again (`loops` of an event). They hide at any WER: where
        2 % say ten times the words of their references, the WER is 18 points higher by them. One of 100 is no habit.
    stuck_events : int
        Rate stuck: the same rate in so many train events in a row, though the schedule moves.
    words, utterances : int
        Small set: fewer reference words (below 100 a word is more than a point of WER), or fewer utterances (a
        bootstrap over less than some 20 has intervals that are too short). An empty one is known by its size, not by
        how fast it was scored: a log has no seconds of audio of a set, and what no longer loops is decoded faster.
    waiting : float
        Waiting for data: share of the time of up to ten train events (three and a minute at least). At 0.3 the run
        could be 1 / 0.7 = 1.4 times as fast.
    dominates, dominating_events : float, int
        Penalty dominates: at `far_WER` or more, penalty / loss is above this in so many train events in a row (and 100
        updates), or has fallen to `past_peak` of its peak and is still 0.1 or more. A large ratio alone is no fault: in
        german_adaptation.yaml with EWC it rose to 2.4 where German was learned well (lambda 1e2: test WER 17); where it
        was held off (1e4, 1e5, 1e6: WER 68, 87, 97) it had fallen from 0.72, 0.54, 0.59 to 0.60, 0.47, 0.47 halfway.
    past_peak : float
        0.9; weights that follow the new language move away from the old ones, and their ratio rises to the end.
    negligible : float
        Penalty negligible: penalty / loss never reached this. Where it ended at 0.03 (L2-SP, lambda 1e-4) Dutch was
        as lost as without. A penalty of exactly 0 is a baseline (lambda 0), and no fault.

    Raises
    ------
    ValueError
        For plateau_events below 8.
    """

    language: str | None = None
    schedule: str | None = None
    warmup: int | None = None
    total: int | None = None
    scaled: bool = False

    shortest: int = 200
    patience: int = 5000
    validations: int = 3
    rise: float = 0.10
    fall: float = 0.05
    plateau_events: int = 16
    plateau_drop: float = 0.03
    far_WER: float = 50.0
    plateau_loss: float = 0.8
    far: float = 3.0
    off: float = 1.5
    spike: float = 10.0
    spikes: int = 3
    burst: float = 100.0
    zero_updates: int = 10
    blank: float = 0.99
    loops: int = 3
    looping: float = 0.02
    stuck_events: int = 5
    words: int = 100
    utterances: int = 20
    waiting: float = 0.3
    dominates: float = 1.0
    dominating_events: int = 5
    past_peak: float = 0.9
    negligible: float = 1e-3

    def __post_init__(self):
        if self.plateau_events < 8:
            raise ValueError(f"plateau_events: {self.plateau_events} have no quarters to compare; give 8 or more")
        self._said = set()
        self._update, self._ended = 0, False
        self._previous, self._trained = {}, {}  # the last event, the last train event
        self._curve = []  # (update, lr, sum of all losses so far, sum of their squares)
        self._recent, self._typical, self._lowest = Window(), None, math.inf  # medians of the loss
        self._first = None  # loss of the first train event
        self._peak_rate = self._skipped = self._newly_skipped = 0.0
        self._largest_ratio = self._peak_ratio = self._ratio = 0.0  # the last two over the typical loss
        self._norms, self._spikes = Window(), deque(maxlen=100)  # gradient norms, and how often the median each is
        self._waits = deque(maxlen=10)  # (seconds waited, seconds in all)
        self._high, self._zero, self._blank, self._same_rate, self._ruled, self._looped = (Stretch() for _ in range(6))
        self._since, self._validated = [], []  # losses since the last validation; (update, loss, WER, train loss)
        training = {
            "non-finite": self._nonfinite, "divergence": self._divergence, "gradient spikes": self._spiking,
            "no gradient": self._no_gradient, "rate zero": self._rate_zero, "rate stuck": self._rate_stuck,
            "waiting for data": self._waiting,
        }  # fmt: skip
        slow = {"all blank": self._all_blank, "plateau": self._plateau, "penalty negligible": self._negligible}
        sets = {"non-finite": self._nonfinite, "small set": self._small_set}
        judged = {
            "overfitting": self._overfitting, "loops": self._looping, "WER over 100": self._over_100,
            "penalty dominates": self._dominating,
        }  # fmt: skip
        self._checks = {
            "train": training | slow,
            "valid": sets | judged,
            "test": sets | {"loops": self._looping_in_test, "WER over 100": self._over_100_in_test},
            "end": slow | {"warm-up unfinished": self._unfinished},
        }

    def see(self, event: Mapping) -> list[Flag]:
        """What the next event of the log shows that has not been said yet.

        Parameters
        ----------
        event : dict
            As metrics.jsonl has it: non-finite numbers are the strings "nan", "inf" and "-inf" there.
        """
        kind = event.get("event")
        if kind == "flag":
            return []
        self._update, self._ended = int(event.get("update", self._update)), kind == "end"
        if kind in ("valid", "test") and self.language is None:
            self.language = event.get("language")
        if kind == "train":
            self._keep_train(event)
        elif kind == "valid" and self._judged(event):
            self._keep_valid(event)
        found = []
        for name, check in self._checks.get(kind, {}).items():
            evidence, key = check(event), (name, event.get("set"), event.get("language"))
            if evidence is not None and key not in self._said:
                self._said.add(key)
                found.append(Flag(name, self._update, evidence, ADVICE[name]))
        self._previous = event
        return found

    # ---- what is kept of the events ----

    def _keep_train(self, event) -> None:
        update, rate, norm = self._update, _number(event, "lr"), _number(event, "grad_norm")
        self._keep_loss(_number(event, "loss"), math.inf if rate is None else rate)
        self._zero.see(norm == 0, update)
        if norm is not None and math.isfinite(norm):
            usual = self._norms.median if len(self._norms) >= 10 else math.inf
            self._spikes.append(norm / usual if usual else 0.0)
            self._norms.add(update, norm)
            if len(self._norms) > 100:
                self._norms.drop()
        self._same_rate.see(rate is not None and rate == _number(self._trained, "lr"), update)
        blanks, ratio = _number(event, "blank_ratio"), _number(event, "penalty_ratio")
        self._blank.see(blanks is not None and blanks >= self.blank, update)
        self._ruled.see(ratio is not None and ratio > self.dominates, update)
        self._largest_ratio = max(self._largest_ratio, ratio or 0.0)
        if ratio is not None and self._typical:  # the penalty has no scatter, the loss below it has
            self._ratio = ratio * float(event["loss"]) / self._typical
            self._peak_ratio = max(self._peak_ratio, self._ratio)
        skipped = _number(event, "skipped")
        if skipped is not None:
            self._newly_skipped, self._skipped = skipped - self._skipped, skipped
        wait, now, before = _number(event, "data_wait_seconds"), _number(event, "time"), _number(self._previous, "time")
        # the wait is counted since the last train event; in between stands no checkpoint and no test
        uninterrupted = self._previous.get("event") in ("train", "valid")
        uninterrupted &= self._previous.get("update") == self._trained.get("update")
        if uninterrupted and None not in (wait, now, before):
            self._waits.append((wait, now - before))
        self._trained = event

    def _keep_loss(self, loss: float | None, rate: float) -> None:
        self._typical = None
        if loss is None or not math.isfinite(loss):
            return
        self._since.append(loss)
        self._first = loss if self._first is None else self._first
        *_, total, squares = self._curve[-1] if self._curve else (0.0, 0.0)
        self._curve.append((self._update, rate, total + loss, squares + loss * loss))
        self._peak_rate = max(self._peak_rate, rate)
        self._recent.add(self._update, loss)
        while len(self._recent) > 3 and self._recent.arrived[0][0] <= self._update - 50:
            self._recent.drop()
        if len(self._recent) >= 3:
            self._typical = self._recent.median
            self._lowest = min(self._lowest, self._typical)
            self._high.see(self._above(self.off, self._lowest), self._update)

    def _keep_valid(self, event) -> None:
        train = fmean(self._since) if self._since else _number(self._trained, "loss")
        self._since = []
        self._validated.append((self._update, _number(event, "loss"), _number(event, "WER"), train))
        self._looped.see(self._loops_often(event), self._update)

    def _above(self, factor: float, reference: float) -> bool:
        # near zero a factor says little: 0.001 and 0.01 are both learned by heart
        return self._typical > factor * reference and self._typical - reference > 0.05 * self._first

    def _time_enough(self) -> float:
        """Updates after which a fault has had its time to go away."""
        planned = self._update if self._ended else self.total or math.inf
        return max(self.shortest, min(self.patience, planned / 2))

    def _judged(self, event) -> bool:
        """Whether a validation belongs to the learning curve: the new language, the weights of that update."""
        return event.get("language") == self.language and "weights" not in event

    # ---- training: evidence, or None ----

    def _nonfinite(self, event) -> str | None:
        found = [f"{key} {event[key]}" for key in ("loss", "grad_norm") if not math.isfinite(_number(event, key) or 0)]
        # a scale of 2^16 is halved 16 times at most until it fits, and doubled on trial every 2000 updates
        tolerated = 16 + 0.01 * self._update if self.scaled else 0
        if event["event"] == "train" and self._newly_skipped > 0 and self._skipped > tolerated:
            found.append(f"{self._skipped:.0f} updates skipped so far")
        return f"{_name(event)}: {', '.join(found)}" if found else None

    def _divergence(self, event) -> str | None:
        if self._typical is None:
            return None
        long = self._high.events >= 10 and self._update - self._high.start >= max(200, self._update / 4)
        lowest = min(self._lowest, self._first)  # a rate that is far too high shows from the second update on
        if not long and not self._above(self.far, lowest):
            return None
        return f"train loss {self._typical:.3g}, {self._typical / lowest:.3g} x its lowest, {lowest:.3g}"

    def _plateau(self, event) -> str | None:
        n, q = len(self._curve), len(self._curve) // 4
        named = any(kind in REASONS for kind, *_ in self._said)
        if n < self.plateau_events or self._update < self._time_enough() or named:
            return None
        start, middle, end = (self._curve[i] for i in (n - 2 * q - 1, n - q - 1, n - 1))
        before, variance_before = _moments(start, middle, q)
        now, variance = _moments(middle, end, q)
        if before - now + 3 * math.sqrt((variance_before + variance) / q) >= self.plateau_drop * before:
            return None
        # a rate that still warms up, or has decayed, is reason enough for a loss to stand still
        if end[1] > start[1] or end[1] < 0.1 * self._peak_rate:
            return None
        WERs = [WER for update, _, WER, _ in self._validated if update >= start[0] and WER is not None]
        if WERs[-1] < self.far_WER if WERs else now < self.plateau_loss * self._first:
            return None
        evidence = f"train loss {before:.4g} in updates {start[0]}-{middle[0]}, {now:.4g} in {middle[0]}-{end[0]}"
        return evidence + (f", WER {WERs[-1]:.3g}" if WERs else "")

    def _spiking(self, event) -> str | None:
        times = self._spikes[-1] if self._spikes else 0.0
        if times <= self.spike:
            return None
        n = sum(times > self.spike for times in self._spikes)
        if n < self.spikes and times <= self.burst:
            return None
        _, norm = self._norms.arrived[-1]
        return f"gradient norm {norm:.3g}, {times:.3g} x the usual ({n} of the last {len(self._spikes)})"

    def _no_gradient(self, event) -> str | None:
        updates = self._update - self._zero.start
        return f"gradient norm 0 in {updates} updates" if self._zero.events and updates >= self.zero_updates else None

    def _all_blank(self, event) -> str | None:
        updates = self._update - max(self._blank.start, self.warmup or 0)
        if self._blank.events < 3 or updates < self._time_enough():
            return None
        ratio = _number(self._trained, "blank_ratio")
        return f"{100 * ratio:.1f} % of the frames are blank, and were since update {self._blank.start}"

    def _rate_zero(self, event) -> str | None:
        return f"lr 0 at update {self._update}" if _number(event, "lr") == 0 else None

    def _rate_stuck(self, event) -> str | None:
        moves = self.schedule in MOVING or (self.schedule is not None and self._update <= (self.warmup or 0))
        if not moves or self._same_rate.events + 1 < self.stuck_events:
            return None
        first, rate = self._same_rate.start, _number(event, "lr")
        return f"lr {rate:.3g} from update {first} to {self._update}, with lr_schedule: {self.schedule}"

    def _waiting(self, event) -> str | None:
        if len(self._waits) < 3:
            return None
        waited, seconds = map(sum, zip(*self._waits, strict=True))
        if seconds < 60 or waited < self.waiting * seconds:
            return None
        return f"{waited:.0f} of {seconds:.0f} s ({100 * waited / seconds:.0f} %) were spent waiting for batches"

    def _negligible(self, event) -> str | None:
        if self._update < self._time_enough() or not 0 < self._largest_ratio < self.negligible:
            return None
        return f"penalty / loss was never above {self._largest_ratio:.2g} in {self._update} updates"

    def _unfinished(self, event) -> str | None:
        if self.warmup is None or self._update >= self.warmup:
            return None
        if self._validated and self._validated[-1][2] == 0:  # no word is wrong: a gate (`overfit`) ends there
            return None
        return f"the run ended at update {self._update} of a warm-up of {self.warmup}, below its peak rate"

    # ---- sets ----

    def _small_set(self, event) -> str | None:
        words, utterances = _number(event, "words"), _number(event, "utterances")
        few = words is not None and words < max(1, self.words)
        few |= utterances is not None and utterances < max(1, self.utterances)
        if not few:
            return None
        sizes = [f"{n:.0f} {name}" for n, name in ((utterances, "utterances"), (words, "words")) if n is not None]
        if 0 in (words, utterances):
            return f"{_name(event)} is empty ({', '.join(sizes)}): its rates say nothing"
        worth = f", a word is {100 / words:.2g} points of WER" if words else ""
        return f"{_name(event)} has {' and '.join(sizes)}{worth}"

    def _overfitting(self, event) -> str | None:
        if not self._judged(event) or not math.isfinite(_number(event, "loss") or math.nan):
            return None
        k = self.validations
        finite = [v for v in self._validated if v[1] is not None and math.isfinite(v[1])]
        best = min(range(len(finite)), key=lambda i: finite[i][1])
        (_, lowest, WER_then, train_then), (_, now, WER_now, train_now) = finite[best], finite[-1]
        passed = len(finite) - 1 - best
        if passed < k or min(now, median(v[1] for v in finite[-k:])) < (1 + self.rise) * lowest:
            return None
        if None in (train_then, train_now) or train_now > (1 - self.fall) * train_then:
            return None
        WERs = [math.inf if v[2] is None else v[2] for v in finite]
        if min(WERs[-k:]) < min(WERs[:-k]):  # over-confident, but the words still get better
            return None
        words = f", WER {WER_then:.1f} -> {WER_now:.1f}" if None not in (WER_then, WER_now) else ""
        return (
            f"valid loss {lowest:.3g} -> {now:.3g} in {passed} validations, train loss {train_then:.3g} -> "
            f"{train_now:.3g}{words}"
        )

    def _loops_often(self, event) -> bool:
        return (_number(event, "loops") or 0) >= self.looping * (_number(event, "utterances") or math.inf)

    def _looping(self, event) -> str | None:
        if not self._judged(event) or len(self._validated) < self.loops or self._looped.events < 2:
            return None
        return _repetitions(event)

    def _looping_in_test(self, event) -> str | None:
        return _repetitions(event) if self._is_final(event) and self._loops_often(event) else None

    def _over_100(self, event) -> str | None:
        if not self._judged(event) or len(self._validated) < self.loops:
            return None
        high = all(WER is not None and WER > 100 for _, _, WER, _ in self._validated[-2:])
        return _insertions(event) if high else None

    def _over_100_in_test(self, event) -> str | None:
        return _insertions(event) if self._is_final(event) and (_number(event, "WER") or 0) > 100 else None

    def _is_final(self, event) -> bool:
        """Whether a test is the run's result: the new language, the weights that training ends with."""
        return event.get("weights", "best") in ("best", "last") and event.get("language") == self.language

    def _dominating(self, event) -> str | None:
        WER = _number(event, "WER")
        if not self._judged(event) or WER is None or WER < self.far_WER or self._update < self._time_enough():
            return None
        evidence = f"WER {WER:.1f}, penalty / loss "
        if self._ruled.events >= self.dominating_events and self._update - self._ruled.start >= 100:
            return evidence + f"above {self.dominates:g} since update {self._ruled.start}"
        if 0.1 <= self._ratio < self.past_peak * self._peak_ratio:
            return evidence + f"{self._ratio:.2g} after a peak of {self._peak_ratio:.2g}: the old weights hold"
        return None


def _number(event: Mapping, key: str) -> float | None:
    """A number of an event; None where it has none under that key."""
    found = event.get(key)
    return None if found is None else float(found)


def _moments(before: tuple, last: tuple, n: int) -> tuple[float, float]:
    """Mean and variance of the n losses that the curve gained from one point to another."""
    mean = (last[2] - before[2]) / n
    return mean, max(0.0, (last[3] - before[3]) / n - mean * mean) * n / (n - 1)


def _name(event: Mapping) -> str:
    """What an event is about: "train", "valid de", "test_de"."""
    name, language = event.get("set", event["event"]), event.get("language")
    return name if language is None or name.endswith(f"_{language}") else f"{name} {language}"


def _insertions(event: Mapping) -> str:
    """What a WER over 100 says: substitutions and deletions make 100 at most, the rest are inserted words."""
    words, errors = _number(event, "words"), _number(event, "errors")
    more = f", at least {errors - words:.0f} words too many to {words:.0f}" if None not in (words, errors) else ""
    return f"{_name(event)} has WER {_number(event, 'WER'):.1f}{more}"


def _repetitions(event: Mapping) -> str:
    loops, utterances = _number(event, "loops"), _number(event, "utterances")
    return f"{_name(event)}: {loops:.0f} of {utterances:.0f} hypotheses say one thing again and again"


def find(events: Iterable[Mapping], **options) -> list[Flag]:
    """All flags of a log, in order.

    Parameters
    ----------
    events : iterable of dict
        Events of metrics.jsonl.
    **options
        Of `Monitor`; for a finished run `told(settings)`.
    """
    monitor = Monitor(**options)
    return [flag for event in events for flag in monitor.see(event)]


def told(settings: Mapping) -> dict:
    """What a Monitor is told of a run, {parameter: value}, from the plain values of its YAML under its overrides.

    A share of warm-up is of max_updates; where the epochs decide, it stays unknown. A run that learns a handful of
    utterances by heart (`overfit`) has small sets on purpose.
    """
    total, warmup = settings.get("max_updates"), settings.get("warmup")
    if warmup is not None:  # as carryover.training.schedule counts it
        share = 0 < warmup < 1
        warmup = int(warmup) if not share else max(1, round(warmup * total)) if total else None
    found = {
        "language": settings.get("language"),
        "schedule": settings.get("lr_schedule"),
        "warmup": warmup,
        "total": total,
        "scaled": settings.get("precision") == "fp16",
    }
    return found | ({"words": 0, "utterances": 0} if settings.get("overfit") else {})


def overlap(
    train_rows: Iterable[Mapping],
    test_rows: Iterable[Mapping],
    name: str = "test",
    normaliser: Callable[[str], str] = Normaliser(),  # noqa: B008 (without state)
    tolerated: float = 0.01,
) -> list[Flag]:
    """Texts and speakers of a test set that are in training, too.

    In a closed domain texts recur by its nature: that is no fault, but a reader of the WER has to know the share.

    Parameters
    ----------
    train_rows, test_rows : iterables of dict
        Rows of manifests with `text` and `speaker` ("" where unknown, which is left out).
    name : str
        What the test set is called in the evidence.
    normaliser : callable
        Texts are compared under it.
    tolerated : float
        Share of test utterances with a training text that is not worth a line: short phrases (yes, thank you)
        recur in every corpus.
    """
    texts, speakers = set(), set()
    for row in train_rows:
        texts.add(normaliser(row["text"]))
        speakers.add(row["speaker"])
    tested, voices, seen = 0, Counter(), 0
    for row in test_rows:
        tested += 1
        seen += normaliser(row["text"]) in texts
        voices[row["speaker"]] += 1
    found = []
    if seen > tolerated * tested:
        kind = "texts in training"
        evidence = f"{seen} of {tested} utterances of {name} ({100 * seen / tested:.1f} %) have a training text"
        found.append(Flag(kind, 0, evidence, ADVICE[kind]))
    known = [v for v in voices if v and v in speakers]
    if known:
        kind = "speakers in training"
        spoken = sum(voices[v] for v in known)
        evidence = (
            f"{len(known)} of {len([v for v in voices if v])} speakers of {name}, {spoken} of {tested} utterances, "
            "are in training"
        )
        found.append(Flag(kind, 0, evidence, ADVICE[kind]))
    return found
