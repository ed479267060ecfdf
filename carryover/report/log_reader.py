"""One pass over a run's metrics.jsonl, line by line, into what a report keeps of it.

A log that is cut off or older than this version costs what is not in it and nothing else; `Log.problems` tells.
"""

import itertools
import json
import math
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from carryover.runs import flags
from carryover.runs.events import wrong
from carryover.runs.flags import Flag
from carryover.runs.privacy import clean

METRICS = "metrics.jsonl"
# What this version writes into every event of a kind; an older log lacks some of it.
KEYS = {
    "train": ("update", "epoch", "time", "loss", "lr", "grad_norm", "audio_seconds", "peak_memory_bytes"),
    "valid": ("update", "epoch", "time", "language", "loss", "WER", "CER", "words", "errors", "utterances"),
    "test": ("update", "set", "language", "weights", "WER", "CER", "words", "errors", "utterances", "interval"),
}
FLAG = ("kind", "update", "evidence", "advice")
CHUNK = 500  # lines that are parsed in one go: a tenth less time than one by one
POINTS = 1000  # train events kept of a longer log, more than a figure is wide: 500 runs then take 75 MB
LONG_LOG = 2_000_000  # bytes; a log beyond (4 000 train events) is judged by the flags that training wrote alone:
# looking again takes as long as reading it, and 500 runs of 10 000 events are to be read in a minute


@dataclass(kw_only=True)
class Log:
    """What is kept of a log.

    Attributes
    ----------
    problems : list of str
        What could not be read, or is older than this version.
    train : dict of array, shape (events,)
        Columns of the train events, nan where an event lacks a key. Of more than `POINTS` events those are kept that
        show the same curve: the highest and the lowest loss and the last of every stretch, the last one before every
        validation, and the first and the last of all.
    train_events : int
        How many there were.
    by_epoch : dict of array, shape (epochs,)
        Means of the same columns over all train events of an epoch (`update` and `time`: the last).
    valid, tests, fisher, flags, resumes, runs : list of dict
        Events, in order.
    end : dict or None
        The last `end` event.
    last_update : int
        Updates done at the last event.
    seconds : float
        Time of the last event: what the run took so far.
    seconds_per_update : float
        Median over train events, see `seconds_of_update`; nan without any.
    seconds_of_updates : float
        Of all updates: their mean over the same train events, times the updates. A resume on a busier machine changes
        the pace for good, and a median times the updates can then be more than the run took.
    audio_seconds, energy_joules, peak_memory_bytes : float
        Sums and maximum over all train events; nan where none logged it.
    first_loss, last_loss, mean_loss : float
        Training loss at the first and the last train event, and its mean over updates.
    red_flags : list of Flag
        What training wrote into the log, which knew more than the log (training texts, planned updates), and what
        carryover.runs.flags finds there of kinds that training has not named: an older version wrote none.
    long_log : bool
        Whether the log is beyond `LONG_LOG` and has not been looked at again.
    unreadable : list of int
        Numbers of lines of metrics.jsonl that are no events.
    """

    problems: list[str] = field(default_factory=list)
    train: dict[str, np.ndarray] = field(default_factory=dict)
    train_events: int = 0
    by_epoch: dict[str, np.ndarray] = field(default_factory=dict)
    valid: list[dict] = field(default_factory=list)
    tests: list[dict] = field(default_factory=list)
    fisher: list[dict] = field(default_factory=list)
    flags: list[dict] = field(default_factory=list)
    resumes: list[dict] = field(default_factory=list)
    runs: list[dict] = field(default_factory=list)
    end: dict | None = None
    last_update: int = 0
    seconds: float = math.nan
    seconds_per_update: float = math.nan
    seconds_of_updates: float = math.nan
    audio_seconds: float = math.nan
    energy_joules: float = math.nan
    peak_memory_bytes: float = math.nan
    first_loss: float = math.nan
    last_loss: float = math.nan
    mean_loss: float = math.nan
    red_flags: list[Flag] = field(default_factory=list)
    long_log: bool = False
    unreadable: list[int] = field(default_factory=list)

    def test(self, language: str, weights: str) -> dict | None:
        """The last test event of a language with these weights: a finished run that is started again tests again."""
        found = [e for e in self.tests if (e.get("language"), e.get("weights")) == (language, weights)]
        return found[-1] if found else None


def read_events(path: Path, problems: list[str], unreadable: list[int] | None = None) -> Iterator[dict]:
    """Events of a metrics.jsonl, line by line; what is no event is told in `problems`, its line in `unreadable`."""
    number = 0
    with open(path, "rb") as file:  # bytes: a half-written line can end within a letter
        while lines := list(itertools.islice(file, CHUNK)):
            half = not lines[-1].endswith(b"\n") and lines.pop()
            try:
                events = json.loads(b"[%s]" % b",".join(lines))
                whole = len(events) == len(lines) and not any(map(_fault, events))
            except ValueError:
                whole = False
            if whole:
                yield from events
            else:
                yield from _events_one_by_one(path.name, lines, number + 1, problems, unreadable)
            number += len(lines)
            if half:
                problems.append(f"{path.name} line {number + 1}: the last one, half-written; left out")


def _events_one_by_one(
    name: str, lines: Sequence[bytes], first: int, problems: list[str], unreadable: list[int] | None
) -> Iterator[dict]:
    """The events of lines of which at least one is none."""
    for number, line in enumerate(lines, first):
        try:
            event = json.loads(line)
            said = _fault(event)
        except ValueError:
            said = "no event of a run"
        if not said:
            yield event
            continue
        problems.append(f"{name} line {number}: {clean(said)} ({clean(repr(line[:40])[2:-1])}); left out")
        if unreadable is not None:
            unreadable.append(number)


def _fault(event) -> str:
    """`events.wrong` of a line; nearly all are of training, and their numbers are looked at together."""
    return "" if type(event) is dict and event.get("event") == "train" else wrong(event)


def seconds_of_update(before: dict, event: dict) -> float | None:
    """Seconds that an update took between two events that follow each other; None where that cannot be told.

    A train event counts from the event just before it, and only where that is a train or valid event: so the start
    of the run, Fisher estimation, tests, validation, the writing of a checkpoint and a resume are not in it. Of a run
    the median is taken, for a machine pauses.
    """
    if event["event"] != "train" or before["event"] not in ("train", "valid"):
        return None
    if not ("time" in event and "time" in before and "update" in event and "update" in before):
        return None  # a log of an older version
    updates = event["update"] - before["update"]
    return (event["time"] - before["time"]) / updates if updates > 0 else None


def to_float(value) -> float:
    """A logged value as a number: metrics.jsonl writes "nan" and "inf" as strings; nan for what is none."""
    try:
        return float(value)
    except (TypeError, ValueError):
        return math.nan


def read_log(found: Log, path: Path, settings: dict) -> None:
    """Fill in what a log says; the run's settings say what its flags are judged by."""
    blocks, keys = [], None  # train events in a row with the same keys become one array
    paces, updates, before, missing = [], [], None, {}
    kept = {"valid": found.valid, "test": found.tests, "fisher": found.fisher, "flag": found.flags}
    kept |= {"resume": found.resumes, "run": found.runs}
    validated = []  # index of the last train event before each validation
    found.long_log = path.stat().st_size > LONG_LOG
    monitor, again = flags.Monitor(**flags.told(settings)), []
    for event in read_events(path, found.problems, found.unreadable):
        kind = event["event"]
        if not found.long_log:
            again += monitor.see(event)
        if kind == "train":
            if before is not None and (pace := seconds_of_update(before, event)) is not None:
                paces.append(pace)
                updates.append(event["update"] - before["update"])
            before = event
            found.train_events += 1
            if keys != (keys := tuple(event)):
                blocks.append((keys, []))
                _note_missing(event, missing)
            blocks[-1][1].append(tuple(event.values()))
            continue
        before = event
        if kind in kept:
            kept[kind].append(event)
            if kind in KEYS:
                _note_missing(event, missing)
            if kind == "valid":
                validated.append(found.train_events - 1)
        elif kind == "end":
            found.end = event
    logged = [Flag(*(e[key] for key in FLAG)) for e in found.flags if all(key in e for key in FLAG)]
    named = {flag.kind for flag in logged}
    found.red_flags = sorted([*logged, *(f for f in again if f.kind not in named)], key=lambda flag: flag.update)
    for kind, absent in missing.items():
        found.problems.append(f"{METRICS}: {kind} events without {', '.join(absent)}, as an older version wrote them")
    if before is not None:
        found.last_update, found.seconds = int(before.get("update", 0)), to_float(before.get("time"))
    if paces:
        found.seconds_per_update = statistics.median(paces)
        found.seconds_of_updates = float(np.average(paces, weights=updates)) * found.last_update
    columns = _columns(blocks, found.train_events)
    for name, best in (("audio_seconds", np.nansum), ("energy_joules", np.nansum), ("peak_memory_bytes", np.nanmax)):
        if name in columns and not np.isnan(columns[name]).all():
            setattr(found, name, float(best(columns[name])))
    if "loss" in columns:
        loss = columns["loss"]
        found.first_loss, found.last_loss = float(loss[0]), float(loss[-1])
        if "update" in columns:  # an event is the mean over the updates since the one before
            updates = np.diff(columns["update"], prepend=0)
            good = ~np.isnan(loss) & (updates > 0)
            found.mean_loss = float(np.average(loss[good], weights=updates[good])) if good.any() else math.nan
    found.by_epoch = _by_epoch(columns)
    found.train = _thin(columns, found.train_events, validated)


def _note_missing(event: dict, missing: dict[str, list[str]]) -> None:
    for key in KEYS[event["event"]]:
        if key not in event and key not in (absent := missing.setdefault(event["event"], [])):
            absent.append(key)


def _columns(blocks: list[tuple[tuple[str, ...], list[tuple]]], n: int) -> dict[str, np.ndarray]:
    """Train events as float64 columns; a key without a single number in it has none."""
    columns, start = {}, 0
    for keys, rows in blocks:
        which = [i for i, key in enumerate(keys) if key != "event"]
        stop = start + len(rows)
        for i in which:
            column = columns.setdefault(keys[i], np.full(n, np.nan))
            values = [row[i] for row in rows]
            try:
                column[start:stop] = values
            except (TypeError, ValueError):
                column[start:stop] = [to_float(value) for value in values]
        rows.clear()
        start = stop
    return {key: column for key, column in columns.items() if key == "loss" or not np.isnan(column).all()}


def _by_epoch(columns: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Means over the train events of an epoch."""
    if "epoch" not in columns:
        return {}
    epochs, index = np.unique(columns["epoch"][~np.isnan(columns["epoch"])], return_inverse=True)
    where = ~np.isnan(columns["epoch"])
    found = {"epoch": epochs}
    for key, column in columns.items():
        values, good = column[where], ~np.isnan(column[where])
        if key in ("update", "time"):
            found[key] = np.array([values[index == i][-1] for i in range(len(epochs))])
        elif key != "epoch":
            total = np.bincount(index[good], values[good], len(epochs))
            n = np.bincount(index[good], minlength=len(epochs))
            found[key] = np.divide(total, n, out=np.full(len(epochs), np.nan), where=n > 0)
    return found


def _thin(columns: dict[str, np.ndarray], n: int, keep: list[int]) -> dict[str, np.ndarray]:
    """At most some `POINTS` events that show the same curve (see `Log.train`)."""
    if n <= POINTS:
        return columns
    edges = np.linspace(0, n, POINTS // 3 + 1).astype(int)
    loss = columns["loss"] if "loss" in columns else np.zeros(n)
    loss = np.nan_to_num(loss, nan=np.inf)  # an update that went wrong is what one looks for
    chosen = {0, n - 1, *(i for i in keep if i >= 0)}
    for start, stop in zip(edges, edges[1:], strict=False):
        part = loss[start:stop]
        chosen |= {start + int(part.argmin()), start + int(part.argmax()), stop - 1}
    index = np.array(sorted(chosen))
    return {key: column[index] for key, column in columns.items()}
