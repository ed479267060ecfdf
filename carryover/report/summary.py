"""One run in little: one pass over its files, into what a report of hundreds of runs can keep in memory.

All that a report knows of a run comes from here, so metrics.jsonl has one reader. A file that is cut off, older than
this version or missing costs what stood in it and nothing else, and is named in `Summary.problems`.
"""

import csv
import hashlib
import itertools
import json
import math
import re
import shlex
import statistics
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from carryover.report.written import read_settings
from carryover.runs import flags
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
PREDICTIONS = re.compile(r"predictions_(.+?)_(before|best|last|evaluate|average_.+)\.csv")
STEPS = {"available": "available", "passed the metadata": "passed", "sampled": "sampled", "valid audio": "valid"}
LONG_LOG = 2_000_000  # bytes; a log beyond (4 000 train events) is judged by the flags that training wrote alone:
# looking again takes as long as reading it, and 500 runs of 10 000 events are to be read in a minute
SMALL = 20_000_000  # bytes of logs that are read sooner than processes are started


@dataclass
class Summary:
    """What is kept of a run.

    Attributes
    ----------
    folder : Path
        As it was given.
    name : str
        Path below the folder that was searched, e.g. german_adaptation/1234; no two of a report are alike.
    experiment : str
        Name of the YAML, e.g. german_adaptation.
    seed : str
    settings : dict
        Plain values of the YAML's top level under the overrides, and what refers to one of them.
    objects : dict
        Values with a tag, by their key, as text: {"penalty": "!new:carryover.forgetting.EWC {lambda_: ...}"}.
    asked : dict
        The overrides alone, as text: what was changed on the command line or by a preset.
    info : dict
        run.json; {} where it is not there.
    status : str
        "finished", or "unfinished": killed or still running, without its results.md or its `end` event.
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
    audio_seconds, energy_joules, peak_memory_bytes : float
        Sums and maximum over all train events; nan where none logged it.
    first_loss, last_loss, mean_loss : float
        Training loss at the first and the last train event, and its mean over updates.
    red_flags : list of Flag
        What training wrote into the log, which knew more than the log (training texts, planned updates), and what
        carryover.runs.flags finds there of kinds that training has not named: an older version wrote none.
    long_log : bool
        Whether the log is beyond `LONG_LOG` and has not been looked at again.
    counts : dict
        By language: {"available": {split: n}, "passed": ..., "sampled": ..., "valid": ..., "rejected": {reason: n},
        "refused": n, "hours": {split: h}, "digest", "corpus", "sample", "sample_seed"}, from the manifests' .done.
    test_sets : dict
        By language a digest of the test set's ids, durations and texts; of run.json's data, where the manifest is gone.
    predictions : dict
        Files by (set, weights), e.g. ("test_de", "best").
    unreadable : list of int
        Numbers of lines of metrics.jsonl that are no events.
    """

    folder: Path
    name: str
    experiment: str = ""
    seed: str = ""
    settings: dict = field(default_factory=dict)
    objects: dict[str, str] = field(default_factory=dict)
    asked: dict[str, str] = field(default_factory=dict)
    info: dict = field(default_factory=dict)
    status: str = "unfinished"
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
    audio_seconds: float = math.nan
    energy_joules: float = math.nan
    peak_memory_bytes: float = math.nan
    first_loss: float = math.nan
    last_loss: float = math.nan
    mean_loss: float = math.nan
    red_flags: list[Flag] = field(default_factory=list)
    long_log: bool = False
    counts: dict[str, dict] = field(default_factory=dict)
    test_sets: dict[str, str] = field(default_factory=dict)
    predictions: dict[tuple[str, str], Path] = field(default_factory=dict)
    unreadable: list[int] = field(default_factory=list)

    @property
    def normaliser(self) -> str:
        """Of the scores: its name in run.json, else the YAML's object; "" where neither says."""
        return str(self.info.get("normaliser") or self.objects.get("normaliser", "").removeprefix("!new:"))

    @property
    def language(self) -> str:
        return str(self.settings.get("language") or "")

    @property
    def old_language(self) -> str:
        return str(self.settings.get("old_language") or "")

    def test(self, language: str, weights: str) -> dict | None:
        """The last test event of a language with these weights: a finished run that is started again tests again."""
        found = [e for e in self.tests if (e.get("language"), e.get("weights")) == (language, weights)]
        return found[-1] if found else None


# ---- which runs ----


def find(paths: Sequence[str | Path]) -> list[Path]:
    """Run folders in and below these, sorted, each once.

    Raises
    ------
    FileNotFoundError
        When a path is not there or has no run in it.
    """
    found = {}
    for path in map(Path, paths):
        if not path.is_dir():
            raise FileNotFoundError(f"{path}: no such folder; expected run folders such as results/whisper_ft/1234")
        here = sorted(p.parent for p in path.rglob(METRICS))
        if not here:
            raise FileNotFoundError(f"{path}: no run in it: no {METRICS} in it or below; expected what train.py made")
        found |= {p.resolve(): p for p in here if p.resolve() not in found}
    return sorted(found.values())


def load(paths: Sequence[str | Path], workers: int = 2) -> list[Summary]:
    """Summaries of all runs in and below `paths`, in the order of their names.

    Raises
    ------
    FileNotFoundError
        As `find`.
    ValueError
        When two runs have one name.
    """
    names = {}
    for folder in find(paths):
        name = _name(folder, list(map(Path, paths)))
        if name in names:
            raise ValueError(
                f"two runs are called {name}: {names[name]} and {folder}; give the folder that both are in, or rename "
                "one of them"
            )
        names[name] = folder
    jobs = sorted(names.items())
    if workers < 2 or sum((folder / METRICS).stat().st_size for _, folder in jobs) < SMALL:
        return [summarise(folder, name) for name, folder in jobs]
    # forked where that is the custom: a spawned process would run a user's script or notebook once more
    context = get_context("fork" if sys.platform == "linux" else None)
    with ProcessPoolExecutor(workers, mp_context=context) as pool:
        return list(pool.map(_summarise_job, jobs, chunksize=max(1, min(8, len(jobs) // (4 * workers)))))


def _summarise_job(job: tuple[str, Path]) -> Summary:
    return summarise(job[1], job[0])


def _name(folder: Path, roots: Sequence[Path]) -> str:
    """A run's path below the first folder it was found in; of one right below it, or given itself, two parts."""
    below = [folder.relative_to(root) for root in roots if folder.is_relative_to(root)]
    if below and len(below[0].parts) > 1:
        return below[0].as_posix()
    return "/".join(folder.resolve().parts[-2:])


# ---- one run ----


def summarise(folder: str | Path, name: str | None = None) -> Summary:
    """Read a run folder.

    Raises
    ------
    FileNotFoundError
        When there is no metrics.jsonl.
    """
    folder = Path(folder)
    if not (folder / METRICS).is_file():
        raise FileNotFoundError(f"{folder}: no {METRICS}; expected the folder of a run that train.py made")
    found = Summary(folder, name or _name(folder, []))
    problems = found.problems
    found.settings, found.objects, found.asked = read_settings(folder, problems)
    found.info = _read_json(folder / "run.json", problems)
    if "command" in found.info:
        found.info["command"] = clean(found.info["command"])
    found.experiment = _experiment(found, folder)
    found.seed = str(found.settings.get("seed", folder.name))
    _read_events(found)
    results = (folder / "results.md").is_file()
    found.status = "finished" if results and found.end is not None else "unfinished"
    for done in sorted(folder.glob("manifests/*/.done")):  # written last: a preparation without it was not finished
        found.counts[done.parent.name] = _counts(_read_json(done, problems))
        if (done.parent / "test.csv").is_file():
            found.test_sets[done.parent.name] = _test_digest(done.parent / "test.csv")
    for language, data in (found.info.get("data") or {}).items():
        found.test_sets.setdefault(language, str(data.get("digest")))
    for path in sorted(folder.glob("predictions_*.csv")):
        if match := PREDICTIONS.fullmatch(path.name):
            found.predictions[match[1], match[2]] = path
        else:
            problems.append(f"{path.name}: no file of a test: expected predictions_SET_WEIGHTS.csv")
    for e in found.tests:
        if "set" in e and "weights" in e and (e["set"], e["weights"]) not in found.predictions:
            problems.append(f"predictions_{e['set']}_{e['weights']}.csv: not there, though {METRICS} has that test")
    return found


def read_events(path: Path, problems: list[str], unreadable: list[int] | None = None) -> Iterator[dict]:
    """Events of a metrics.jsonl, line by line; what is no event is told in `problems`, its line in `unreadable`."""
    number = 0
    with open(path, "rb") as file:  # bytes: a half-written line can end within a letter
        while lines := list(itertools.islice(file, CHUNK)):
            half = not lines[-1].endswith(b"\n") and lines.pop()
            try:
                events = json.loads(b"[%s]" % b",".join(lines))
                whole = len(events) == len(lines) and all(type(e) is dict and "event" in e for e in events)
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
            if type(event) is dict and "event" in event:
                yield event
                continue
        except ValueError:
            pass
        problems.append(f"{name} line {number}: no event of a run ({clean(repr(line[:40])[2:-1])}); left out")
        if unreadable is not None:
            unreadable.append(number)


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


def number(value) -> float:
    """A logged value as a number: metrics.jsonl writes "nan" and "inf" as strings; nan for what is none."""
    try:
        return float(value)
    except (TypeError, ValueError):
        return math.nan


def _read_events(found: Summary) -> None:
    """The pass over metrics.jsonl."""
    blocks, keys = [], None  # train events in a row with the same keys become one array
    paces, before, missing = [], None, {}
    kept = {"valid": found.valid, "test": found.tests, "fisher": found.fisher, "flag": found.flags}
    kept |= {"resume": found.resumes, "run": found.runs}
    validated = []  # index of the last train event before each validation
    path = found.folder / METRICS
    found.long_log = path.stat().st_size > LONG_LOG
    monitor, again = flags.Monitor(**flags.told(found.settings)), []
    for event in read_events(path, found.problems, found.unreadable):
        kind = event["event"]
        if not found.long_log:
            again += monitor.see(event)
        if kind == "train":
            if before is not None and (pace := seconds_of_update(before, event)) is not None:
                paces.append(pace)
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
        found.last_update, found.seconds = int(before.get("update", 0)), number(before.get("time"))
    found.seconds_per_update = statistics.median(paces) if paces else math.nan
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
                column[start:stop] = [number(value) for value in values]
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
    """At most some `POINTS` events that show the same curve (see `Summary.train`)."""
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


# ---- run.json, manifests ----


def _experiment(found: Summary, folder: Path) -> str:
    """The YAML's name, from the command; else from the YAML's first line; else the folder's."""
    try:
        words = shlex.split(found.info.get("command", ""))
    except ValueError:  # a quotation that a token was cut out of, say
        words = []
    if not words and (folder / "as_written.yaml").is_file():
        first = (folder / "as_written.yaml").read_text(encoding="utf-8").split("\n", 1)[0]
        words = first.split() if first.startswith("#") else []
    named = [word for word in words if word.endswith(".yaml")]
    return Path(named[0]).stem if named else found.name.split("/")[0]


def _read_json(path: Path, problems: list[str]) -> dict:
    if not path.is_file():
        problems.append(f"{path.name}: not there; what it says of the run is unknown")
        return {}
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(found, dict):
            return found
        problems.append(f"{path.name}: expected keys and values, found {type(found).__name__}")
    except ValueError as error:
        problems.append(f"{path.name}: no JSON: {error}")
    return {}


def _counts(done: dict) -> dict:
    """What became of a corpus, from its `.done`; an older one has no steps."""
    settings, steps = done.get("settings", {}), done.get("steps", {})
    found = {mine: steps[theirs] for theirs, mine in STEPS.items() if theirs in steps}
    counts = done.get("counts", {})
    found.setdefault("valid", {split: n for split, n in counts.items() if split in done.get("hours", {})})
    found |= {"rejected": done.get("rejected", {}), "refused": counts.get("rejected", 0)}
    found |= {"hours": done.get("hours", {}), "digest": done.get("digest", ""), "corpus": settings.get("corpus", "")}
    return found | {"sample": settings.get("sample"), "sample_seed": settings.get("sample_seed")}


def _test_digest(path: Path) -> str:
    """Of a test set's ids, durations and texts: neither where it lies nor what was trained on changes it."""
    sha = hashlib.sha256()
    with open(path, newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            sha.update(json.dumps([row.get(k) for k in ("ID", "duration", "language", "text")]).encode())
    return sha.hexdigest()
