"""Runs jobs as processes, some at a time, and stops them as Ctrl-C does."""

import math
import os
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from tqdm import tqdm

from carryover.commands.sweep.jobs import Job
from carryover.config.settings import SettingsError
from carryover.runs import lock

SHOWN_LINES = 5  # of the log of a run that failed
LOOK = 0.5  # seconds between two looks at what other workers have left
PATIENCE = 10.0  # seconds that a run has to end after SIGINT


def checked(command: Sequence[str] | None, at_once: int) -> Sequence[str]:
    """The command of a run: the one that is given, else `python train.py`.

    Raises
    ------
    SettingsError
        Where there is no train.py, and for fewer than one run at a time.
    """
    if command is None and not Path("train.py").is_file():
        raise SettingsError(f"{Path.cwd()}: no train.py here; run this in the checkout's root")
    if at_once < 1:
        raise SettingsError(f"--jobs {at_once}: at least 1 is needed")
    return command or [sys.executable, "train.py"]


def run_all(
    jobs: Sequence[Job], at_once: int, command: Sequence[str], ended: Callable[[Job], None] = lambda job: None
) -> list[Job]:
    """Run what is not done yet under a progress bar, calling `ended` of each that went well; -> those that failed.

    Other workers may run the same jobs, from this machine or others: each run is claimed by a lock, and one whose
    worker was killed is taken up again.
    """
    todo = [job for job in jobs if not job.done]
    with stopped_like_ctrl_c(), tqdm(total=len(jobs), initial=len(jobs) - len(todo), unit="run") as bar:
        execute(todo, at_once, command, bar, ended)
    return [job for job in todo if job.error]


def say_failed(failed: Sequence[Job], of: int, out: Path, say: Callable[[str], None]) -> None:
    """Say which runs below `out` failed, of how many, and how to go on; nothing where none did."""
    for job in failed:
        say(f"\nFAILED {job.folder.relative_to(out)}: {job.error}")
    if failed:
        say(f"\n{len(failed)} of {of} runs failed; the same command tries them again")


def execute(jobs: Sequence[Job], at_once: int, command: Sequence[str], bar: tqdm, ended: Callable[[Job], None]) -> None:
    """Run all jobs, `at_once` of them together; what went wrong is written into `Job.error`."""
    environment = {"OMP_NUM_THREADS": str(max(1, cores() // at_once))} | os.environ
    make_needed(jobs, command, bar)
    waiting, running, looked = [job for job in jobs if not job.error], {}, -math.inf
    bar.update(len(jobs) - len(waiting))
    try:
        while waiting or running:
            free = time.monotonic() - looked > LOOK  # a network's file system is not asked all the time
            looked = time.monotonic() if free else looked
            for job in list(waiting) if free else ():
                if len(running) == at_once:
                    break
                if (claim := lock.claim(job.claim)) is None:
                    continue  # another worker makes it
                waiting.remove(job)
                if job.done:  # another worker has made it
                    claim.release()
                    bar.update()
                    continue
                if Path(job.words[0]).read_text(encoding="utf-8") != job.text:
                    job.error = f"not started: {job.words[0]} has been changed since the sweep began; start it again"
                if job.error:
                    claim.release()
                    bar.update()
                    continue
                running[_start(job, command, environment)] = job, claim
                bar.set_postfix_str(", ".join(other.name for other, _ in running.values()))
            time.sleep(0.05)
            for process in [p for p in running if p.poll() is not None]:
                job, claim = running.pop(process)
                if process.returncode or not job.done:
                    rc = process.returncode
                    why = f"exit status {rc}" if rc else "its run.json does not say that it is finished"
                    job.error = f"{why}; the end of {job.log}:\n{_last_lines(job.log)}"
                else:
                    ended(job)
                claim.release()
                looked = -math.inf
                bar.update()
                bar.set_postfix_str(", ".join(other.name for other, _ in running.values()))
    finally:
        _stop(list(running))
        for _, claim in running.values():
            claim.release()


def make_needed(jobs: Sequence[Job], command: Sequence[str], bar: tqdm) -> None:
    """Make the models that runs wait for, each once, one after the other with all cores."""
    environment = {"OMP_NUM_THREADS": str(cores())} | os.environ
    for model in dict.fromkeys(job.waits_for for job in jobs if job.waits_for):
        waiting = [job for job in jobs if job.waits_for == model]
        first = waiting[0]
        bar.set_postfix_str(f"{model}, which is needed first")
        claim = lock.claim(Path(model).parent.with_name(f"{Path(model).parent.name}.claim"), wait=True)
        if Path(model).exists():  # another worker has made it meanwhile
            claim.release()
            continue
        process = _start(replace(first, words=[*first.words, "--run_first_only"]), command, environment)
        try:
            process.wait()
        finally:
            _stop([process])
            claim.release()
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
            words, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            preexec_fn=lock.dies_with_parent(),
        )  # fmt: skip


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
