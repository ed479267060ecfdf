"""A grid of runs: every value of some keys with every seed, as runs of train.py; goes on where it was stopped."""

import itertools
import os
import re
import shlex
import signal
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from tqdm import tqdm

from carryover.config import presets, run_first, settings
from carryover.config.settings import SettingsError
from carryover.report import forgetting
from carryover.runs import run_folder

DONE = "results.md"  # the last file that train.py writes
FLAGS = ("deterministic", "run_first_only")  # train.py's own
OURS = {"seed": "--seeds", "output_folder": "--out"}
SHOWN_LINES = 5  # of the log of a run that failed
PATIENCE = 10.0  # seconds that a run has to end after SIGINT


@dataclass
class Job:
    """One run: a cell of the grid with one seed, by the YAML whose text is `text`.

    `waits_for` is the model that a `run_first` has to make first, None where it is there or nothing is needed.
    """

    cell: str
    seed: int
    folder: Path
    words: list[str]
    text: str
    waits_for: str | None = None
    error: str = ""

    @property
    def name(self) -> str:
        return f"{self.cell}/{self.seed}"

    @property
    def log(self) -> Path:
        return self.folder.with_name(f"{self.seed}.log")

    @property
    def done(self) -> bool:
        return (self.folder / DONE).is_file()


# ---- the grid ----


def split(text: str) -> list[str]:
    """Parts of a text between its top-level commas: none within brackets, braces or quotes.

    Raises
    ------
    SettingsError
        For a bracket or quote that is not closed, and for an empty part.
    """
    parts, current, closers, quote = [], "", [], ""
    for letter in text:
        if quote:
            quote = "" if letter == quote else quote
        elif letter in "\"'" and (not current.strip() or current.rstrip()[-1] in "[({:,"):  # else an apostrophe
            quote = letter
        elif letter in "[({":
            closers.append("])}"["[({".index(letter)])
        elif closers and letter == closers[-1]:
            closers.pop()
        elif letter == "," and not closers:
            parts.append(current.strip())
            current = ""
            continue
        current += letter
    parts.append(current.strip())
    if quote or closers:
        raise SettingsError(f"'{text}': {quote or closers[-1]} is missing at the end")
    if not all(parts):
        raise SettingsError(f"'{text}': a value is missing between or beside its commas")
    return parts


def grid(sets: Sequence[str]) -> list[dict[str, str]]:
    """Cells of a grid, {key: value as YAML text}, the last key running fastest.

    Raises
    ------
    SettingsError
        For an empty grid, a word that is not key=a,b,c, and a key or value that is there twice.
    """
    lists = {}
    for word in sets:
        key, equals, values = word.partition("=")
        key = key.strip().removeprefix("--")
        if not equals or not key:
            raise SettingsError(f"--set {word}: expected key=a,b,c")
        if key in lists:
            raise SettingsError(f"--set {word}: {key} is there twice; give all its values in one list")
        if key in OURS:
            raise SettingsError(f"--set {word}: {key} is given by {OURS[key]}")
        lists[key] = split(values)
        _refuse_twice(f"--set {word}", lists[key])
    if not lists:
        raise SettingsError("the grid is empty: give at least one --set key=a,b,c")
    return [dict(zip(lists, values, strict=True)) for values in itertools.product(*lists.values())]


def parse_seeds(text: str) -> list[int]:
    """Seeds of `1,2,3`."""
    parts = split(text)
    for part in parts:
        if not re.fullmatch(r"\d+", part):
            raise SettingsError(f"--seeds {text}: '{part}' is no whole number; expected e.g. --seeds 1,2,3")
    _refuse_twice(f"--seeds {text}", parts)
    return [int(part) for part in parts]


def _refuse_twice(where: str, values: Sequence[str]) -> None:
    """1e-3 and 0.001 are one value."""
    seen = {}
    for value in values:
        try:
            same = float(value)
        except ValueError:
            same = value
        if same in seen:
            raise SettingsError(f"{where}: the value {value} is there twice (as {seen[same]})")
        seen[same] = value


def method_name(values: dict[str, str]) -> str:
    """A cell's name in the table: the preset alone where nothing else is varied."""
    return values["preset"] if values.keys() == {"preset"} else cell_name(values)


def cell_name(values: dict[str, str]) -> str:
    """Folder name of a cell, e.g. `preset=ewc,lambda=1e3`.

    A value with letters that not every file system takes, or a long one, is shortened and gets a checksum.
    """

    def safe(value: str) -> str:
        short = re.sub(r"[^A-Za-z0-9._+-]+", "_", value).strip("_")[:40]
        return short if short == value else f"{short}~{zlib.crc32(value.encode()):08x}"

    return ",".join(f"{key}={safe(value)}" for key, value in values.items())


def default_folder(path: str, extra: Sequence[str]) -> Path:
    """Where a sweep goes if it is not told: beside the other runs of its YAML."""
    _, overrides, _, _ = settings.parse([path, *presets.take(list(extra))[1]], FLAGS)
    known = settings.resolved(Path(path).read_text(encoding="utf-8"), overrides)
    return Path(known.get("output_root", "results")) / f"{Path(path).stem}_sweep"


def plan(path: str, cells: Sequence[dict], seeds: Sequence[int], out: Path, extra: Sequence[str]) -> list[Job]:
    """All runs, checked: the first seed's through all cells, then the next seed's.

    Raises
    ------
    SettingsError
        For a key or preset that is not there (naming the nearest), a key that is given twice, and a folder that
        holds a run of other settings.
    """
    names, rest = presets.take(list(extra))
    _, given, _, _ = settings.parse([path, *rest], FLAGS)
    settings.parse([path, *(f"--{key}={value}" for key, value in cells[0].items() if key != "preset")], FLAGS)
    for key, where in [*OURS.items(), *((key, "--set") for key in cells[0])]:
        if key in given:
            raise SettingsError(f"--{key} {given[key]}: {key} is given by {where} here")
    text = Path(path).read_text(encoding="utf-8")
    plain, made = presets.scalars(text), []
    quiet = [] if any(word.startswith("--noprogressbar") for word in extra) else ["--noprogressbar"]  # logs are read
    for values in cells:
        keys = {key: value for key, value in values.items() if key != "preset"}
        preset = ["--preset", values["preset"].strip("\"'")] if "preset" in values else []
        overrides = presets.apply(names + presets.take(preset)[0], plain) | given | keys
        made.append((cell_name(values), [path, *extra, *preset], keys, overrides))
    jobs = []
    for seed, (cell, words, keys, overrides) in itertools.product(seeds, made):
        own = {"seed": str(seed), "output_folder": str(out / cell / str(seed))}
        last = [word for key, value in (keys | own).items() for word in (f"--{key}", value)]
        job = Job(cell, seed, out / cell / str(seed), [*words, *last, *quiet], text)
        _same_settings(job, overrides | own)
        if "run_first" in plain and not job.done:
            job.waits_for = run_first.missing(settings.resolved(text, overrides | own))
        jobs.append(job)
    return jobs


def _same_settings(job: Job, overrides: dict[str, str]) -> None:
    """A run that is there, finished or not, has to be the one that is asked for: else its digits would be another's."""
    if not (job.folder / run_folder.OVERRIDES).is_file():
        return

    def by_key(lines: str) -> dict[str, str]:
        return dict(line.split(": ", 1) for line in lines.splitlines() if line)

    asked = by_key(settings.override_text(overrides))
    there = by_key((job.folder / run_folder.OVERRIDES).read_text(encoding="utf-8"))
    differ = sorted(key for key in asked.keys() | there.keys() if asked.get(key) != there.get(key))
    if (job.folder / run_folder.AS_WRITTEN).read_text(encoding="utf-8") != job.text:
        differ.append("the YAML itself")
    if differ:
        raise SettingsError(
            f"{job.folder} holds a run with other settings ({', '.join(differ)}). To go on with that sweep, repeat its "
            "command; for a new one give --out, or delete the folder"
        )


# ---- running it ----


def execute(jobs: Sequence[Job], at_once: int, command: Sequence[str], bar: tqdm) -> None:
    """Run all jobs, `at_once` of them together; what went wrong is written into `Job.error`."""
    environment = {"OMP_NUM_THREADS": str(max(1, cores() // at_once))} | os.environ
    make_needed(jobs, command, bar)
    waiting, running = [job for job in jobs if not job.error], {}
    bar.update(len(jobs) - len(waiting))
    try:
        while waiting or running:
            for job in list(waiting):
                if len(running) == at_once:
                    break
                waiting.remove(job)
                if Path(job.words[0]).read_text(encoding="utf-8") != job.text:
                    job.error = f"not started: {job.words[0]} has been changed since the sweep began; start it again"
                if job.error:
                    bar.update()
                    continue
                running[_start(job, command, environment)] = job
                bar.set_postfix_str(", ".join(other.name for other in running.values()))
            time.sleep(0.05)
            for process in [p for p in running if p.poll() is not None]:
                job = running.pop(process)
                if process.returncode or not job.done:
                    ended = f"exit status {process.returncode}" if process.returncode else f"no {DONE} was written"
                    job.error = f"{ended}; the end of {job.log}:\n{_last_lines(job.log)}"
                bar.update()
                bar.set_postfix_str(", ".join(other.name for other in running.values()))
    finally:
        _stop(list(running))


def make_needed(jobs: Sequence[Job], command: Sequence[str], bar: tqdm) -> None:
    """Make the models that runs wait for, each once, one after the other with all cores."""
    environment = {"OMP_NUM_THREADS": str(cores())} | os.environ
    for model in dict.fromkeys(job.waits_for for job in jobs if job.waits_for):
        waiting = [job for job in jobs if job.waits_for == model]
        first = waiting[0]
        bar.set_postfix_str(f"{model}, which is needed first")
        process = _start(replace(first, words=[*first.words, "--run_first_only"]), command, environment)
        try:
            process.wait()
        finally:
            _stop([process])
        if process.returncode or not Path(model).exists():
            first.error = f"{model} was not made; the end of {first.log}:\n{_last_lines(first.log)}"
            for job in waiting[1:]:
                job.error = f"not started: {model} is not there, for it failed in {first.name}"


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _start(job: Job, command: Sequence[str], environment: dict[str, str]) -> subprocess.Popen:
    job.log.parent.mkdir(parents=True, exist_ok=True)
    words = [*command, *job.words]
    with open(job.log, "a", encoding="utf-8") as log:
        log.write(f"$ {shlex.join(words)}\n")
        log.flush()
        # a session of its own: what a run starts itself (loaders, a needed run) can be stopped with it
        return subprocess.Popen(
            words, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )


def _stop(processes: Sequence[subprocess.Popen]) -> None:
    """End runs and what they have started: as Ctrl-C does, and for good if they take too long."""

    def send(number: int) -> None:
        for process in processes:
            try:
                os.killpg(process.pid, number)
            except (ProcessLookupError, PermissionError):  # macOS says the latter of one that has ended
                pass

    send(signal.SIGINT)
    until = time.monotonic() + PATIENCE
    try:
        while time.monotonic() < until and any(process.poll() is None for process in processes):
            time.sleep(0.05)
    finally:  # also after a second Ctrl-C
        send(signal.SIGKILL)
        for process in processes:
            process.wait()


def _last_lines(log: Path) -> str:
    """The last lines of a log; of a progress bar what stood there last."""
    text = log.read_bytes().decode("utf-8", "replace")  # read_text would make lines of a bar's states
    lines = [line.rstrip().split("\r")[-1] for line in text.split("\n")]
    return "\n".join(f"    {line}" for line in [line for line in lines if line][-SHOWN_LINES:])


@contextmanager
def stopped_like_ctrl_c():
    """A closed terminal or a kill stops the runs as Ctrl-C does, instead of leaving them behind."""

    def stop(number, frame):
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    before = {number: handler for number, handler in before.items() if handler != signal.SIG_IGN}  # nohup
    try:
        for number in before:
            signal.signal(number, stop)
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def sweep(
    path: str,
    sets: Sequence[str],
    seeds: str,
    jobs: int = 1,
    out: str | Path | None = None,
    extra: Sequence[str] = (),
    command: Sequence[str] | None = None,
    say: Callable[[str], None] = print,
    baseline: str = forgetting.BASELINE,
    report: bool = False,
) -> int:
    """Run a grid from the checkout's root and write OUT/table.md and OUT/table.csv.

    A run stands in OUT/<cell>/<seed>, what it printed in OUT/<cell>/<seed>.log. One that has a results.md is done;
    the others are started with the same command again, and train.py goes on from its last checkpoint.

    Parameters
    ----------
    path : str
        The YAML.
    sets : list of str
        `key=a,b,c`; `preset` is a key like those of the YAML.
    seeds : str
        `1,2,3`.
    jobs : int
        Runs at a time. Each gets cores // jobs threads, unless OMP_NUM_THREADS is set.
    out : path, optional
        Default: <output_root>/<name of the YAML>_sweep, output_root as the YAML or `extra` has it, else results.
    extra : list of str
        More arguments for every run.
    command : list of str, optional
        What is run instead of `python train.py`.
    say : callable
        Prints a line.
    baseline : str
        Method (preset or cell) that the table compares the others with.
    report : bool
        Also make the report of all runs in OUT, with figures, in OUT/report.

    Returns
    -------
    status : int
        0; 1 when a run failed or there is no table, or no report where one is asked for; 130 when stopped.

    Raises
    ------
    SettingsError
        Before the first run, for what cannot be meant.
    """
    if command is None:
        if not Path("train.py").is_file():
            raise SettingsError(f"{Path.cwd()}: no train.py here; run this in the checkout's root")
        command = [sys.executable, "train.py"]
    if jobs < 1:
        raise SettingsError(f"--jobs {jobs}: at least 1 is needed")
    out = Path(out) if out else default_folder(path, extra)
    cells = grid(sets)
    folders = {method_name(cell): cell_name(cell) for cell in cells}
    if baseline not in (forgetting.BASELINE, *folders):
        raise SettingsError(f"--baseline {baseline}: no such method here; expected one of {', '.join(folders)}")
    runs = plan(path, cells, parse_seeds(seeds), out, extra)
    todo = [job for job in runs if not job.done]
    say(f"{out}: {len(cells)} cells, {len(runs)} runs, {len(runs) - len(todo)} of them done; {jobs} at a time")
    try:
        with stopped_like_ctrl_c(), tqdm(total=len(runs), initial=len(runs) - len(todo), unit="run") as bar:
            execute(todo, jobs, command, bar)
    except KeyboardInterrupt:
        say("stopped; the same command goes on")
        return 130
    failed = [job for job in todo if job.error]
    made = _write_table(runs, folders, out, say, baseline)
    if report and made:
        made = _make_report(out, say, folders.get(baseline, baseline))
    for job in failed:
        say(f"\nFAILED {job.name}: {job.error}")
    if failed:
        say(f"\n{len(failed)} of {len(runs)} runs failed; the same command tries them again")
    return int(bool(failed) or not made)


def _make_report(out: Path, say: Callable[[str], None], baseline: str) -> bool:
    """Make the report of the runs; False where there is none to be made, e.g. where all runs of the baseline failed."""
    from carryover.report import build  # draws: matplotlib

    try:
        say(f"\n{build.report([out], out / 'report', baseline=baseline).said()}")
    except (FileNotFoundError, ValueError) as error:
        say(f"No report: {error}")
        return False
    return True


def _write_table(
    jobs: Sequence[Job], folders: dict[str, str], out: Path, say: Callable[[str], None], baseline: str
) -> bool:
    """Write the table of the finished runs, `folders`: {method: its cell}; False where there is none to be made."""
    methods = {name: [job.folder for job in jobs if job.cell == cell and job.done] for name, cell in folders.items()}
    methods = {name: done for name, done in methods.items() if done}
    if not methods:
        return False
    try:
        table = forgetting.table(methods, baseline)
    except (FileNotFoundError, ValueError) as error:
        say(f"No table: {error}")
        return False
    missing = [job.name for job in jobs if not job.done]
    note = f"\n\nNot in it, for they failed: {', '.join(missing)}." if missing else ""
    text = table.markdown() + note
    (out / "table.md").write_text(text + "\n", encoding="utf-8")
    (out / "table.csv").write_text(table.csv(), encoding="utf-8")
    say(f"\n{text}\n\nWrote {out / 'table.md'} and {out / 'table.csv'}")
    return True
