"""Injects faults into real runs and says what came of each: python -m benchmarks.faults [--only disk,clock] [--json F]

Prints the table for docs/reliability.md. A small CTC run (a w2v-BERT of width 32, 40 clips, 7 updates, two epochs, a
checkpoint an update) meets one fault each time (benchmarks/injected.py, or a change of its files after a kill); then
the cause is undone and the same command given again. It ends as the run that nothing stopped where weights, random
state, predictions and table are the same bits.
"""

import argparse
import hashlib
import json
import re
import shutil
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from subprocess import CompletedProcess

import numpy as np
from tqdm import tqdm

from benchmarks import small_runs as runs
from benchmarks.kills import difference
from benchmarks.small_runs import CLIP, LAUNCH, Place, Undo
from tests.conftest import ROOT
from tests.recipes.processes import Process

EQUAL = "equal"
WITHOUT = "equal to a run without that clip"


# ---- the faults ----


@dataclass(frozen=True)
class Fault:
    """One fault.

    Attributes
    ----------
    name : str
        The table's row.
    inject : str
        Of benchmarks/injected.py, in the first start.
    change : callable, optional
        Changes files after the run was killed at its fourth update, and before it is started again; before the run
        begins where `new`.
    status, says : int and str
        Right exit status, and a regular expression for the line that is said.
    undone : str
        What is done before the same command is given again.
    ends : str
        EQUAL, WITHOUT, or why it must not.
    """

    name: str
    inject: str = "nothing"
    status: int = 0
    says: str = ""
    undone: str = ""
    ends: str = EQUAL
    change: Callable[[Place], Undo | None] | None = None
    new: bool = False
    overrides: tuple[tuple[str, str], ...] = ()


SKIPPED = "must not: an update less"
FAULTS = [
    Fault("disk full while weights are saved", "full_weights", 1, "the disk is full", "room made"),
    Fault("disk full while the optimizer is saved", "full_optimizer", 1, "the disk is full", "room made"),
    Fault("disk full while an event is logged", "full_log", 1, "metrics.jsonl: the disk is full", "room made"),
    Fault("disk full while results.md is written", "full_results", 1, "results.*: the disk is full", "room made"),
    Fault("a file may not grow over 20 kB", "too_large", 1, "too large|grow", "limit raised"),
    Fault("read-only folder", "read_only", 2, "Read-only file system; give a folder", "mounted to be written"),
    Fault("read-only in the middle", "read_only_later", 2, "Read-only file system", "mounted to be written"),
    Fault("clip vanishes in training", "vanished", 2, f"{CLIP}: .*; the file changed", "clip brought back"),
    Fault("clip becomes garbage in training", "garbage", 2, f"{CLIP}: .*; the file changed", "clip brought back"),
    Fault("clip vanished before", says=f"{CLIP}.*cannot be opened", ends=WITHOUT, new=True,
          change=runs.clip_taken_away),
    Fault("garbage clip", says=f"{CLIP}.*cannot be read", ends=WITHOUT, change=runs.garbage_clip, new=True),
    Fault("NaN in a clip", says=f"{CLIP}.*not a number", ends=WITHOUT, change=runs.samples_of(np.nan), new=True),
    Fault("infinite sample in a clip", says=f"{CLIP}.*infinite samples", ends=WITHOUT, new=True,
          change=runs.samples_of(np.inf)),
    Fault("non-finite loss, once", "infinite_loss", 0, "Update 5 skipped: loss", ends=SKIPPED),
    Fault("non-finite loss from then on", "infinite_losses", 1, "updates were not finite", "cause removed"),
    Fault("out of memory in a micro-batch", "out_of_memory", 0, "Out of memory with micro-batches of 4",
          ends="must not: augmentation draws for each half"),
    Fault("out of memory in the optimizer's step", "out_of_memory_in_step", 1, "out of memory", "memory made free"),
    Fault("dead data worker", "dead_worker", 1, "process that reads clips", overrides=(("num_workers", "2"),)),
    Fault("clock set back by a day", "clock_set_back", 0, '"event": "end".*"time": [0-9.]+'),
    Fault("list changed", status=2, says="1 gone from the list: 03", undone="list brought back",
          change=runs.line_taken_out),
    Fault("audio changed, same size", status=2, says="1 with another recording: 03", undone="clip brought back",
          change=runs.other_sound),
    Fault("starting model changed", status=2, says="weights that the training starts from have changed",
          undone="model brought back", change=runs.other_weights),
    Fault("settings changed", status=2, says="lr: .* there, .* here", undone="settings taken back",
          change=lambda place: None, overrides=(("lr", "1.0e-4"),)),
    Fault("metrics.jsonl cut to its half", says="lines are lost", change=runs.half_log),
    Fault("newest checkpoint deleted", says="update 4.* is gone", change=runs.newest_deleted),
    Fault("best checkpoint deleted", says="update 3.* is gone", change=runs.best_deleted,
          ends="must not: the best weights are lost"),
    Fault("all checkpoints deleted", status=2, says="holds no checkpoint|no whole checkpoint",
          undone="save/ brought back", change=runs.all_deleted),
    Fault("SIGTERM", "SIGTERM", 143, "stopped by SIGTERM: update 5 is saved"),
    Fault("SIGHUP", "SIGHUP", 129, "stopped by SIGHUP: update 5 is saved"),
    Fault("SIGTERM, and once more while that saves", "SIGTERM_twice", 143, "stopped by SIGTERM: update 5 is saved"),
]  # fmt: skip


@dataclass
class Row:
    """What came of a fault; `right`: as it has to."""

    fault: str
    said: str
    status: int
    then: str
    ends: str
    weights: str
    right: bool


def said(done: CompletedProcess, says: str, *more: str) -> str:
    """The first line that a run said, or that one of its files has, with `says` in it; or ""."""
    lines = [*done.stderr.splitlines(), *done.stdout.splitlines(), *more]
    return next((line.strip() for line in lines if re.search(says, line)), "")


def meet(place: Place, fault: Fault) -> Row:
    """Have a run meet a fault, undo it, and let the run go on."""
    shutil.rmtree(place.run, ignore_errors=True)
    if fault.change and not fault.new:
        place.start("killed", {}).wait(300)
    undo = fault.change(place) if fault.change else None
    undo = undo or runs.rewritten(place.data / CLIP, (place.data / CLIP).read_bytes())
    overrides = dict(fault.overrides)
    done = place.start(fault.inject, overrides).completed(timeout=300)
    texts = [
        path.read_text()
        for path in [*place.run.glob("manifests/*/rejected.csv"), place.run / "metrics.jsonl"]
        if path.exists()
    ]
    line = said(done, fault.says, *"".join(texts).splitlines())
    undo()
    if done.returncode:
        again = place.start("nothing", overrides if fault.inject != "nothing" else {}).completed(timeout=300)
        went_on = again.returncode == 0
    else:
        went_on = True
    return row(place, fault, line if "Traceback" not in done.stderr else f"Traceback: {line}", done.returncode, went_on)


def row(place: Place, fault: Fault, line: str, status: int, went_on: bool) -> Row:
    """Judge what came of a fault."""
    sha, ends = "", "did not go on"
    if went_on:
        found = place.outcome()
        other = difference(place.without if fault.ends == WITHOUT else place.whole, found)
        equal = WITHOUT if fault.ends == WITHOUT else EQUAL
        ends = f"other {other}" if other else equal
        sha = hashlib.sha256(b"".join(t.numpy().tobytes() for w in found["weights"].values() for t in w.values()))
        sha = sha.hexdigest()[:12]
    wanted = fault.ends in (EQUAL, WITHOUT)
    right = status == fault.status and bool(line) and "Traceback" not in line and went_on
    right = right and (ends == fault.ends if wanted else ends.startswith("other"))
    then = "goes on by itself" if status == 0 else ", ".join(filter(None, [fault.undone, "same command"]))
    shown = (
        line.removeprefix("error: ").replace(f"{place.folder}/", "").replace(f" on {socket.gethostname()}", " on HOST")
    )
    return Row(fault.name, shown, status, then, ends if wanted or not right else fault.ends, sha, right)


def two_processes(place: Place) -> Row:
    """A second process on a run's folder is refused; the first ends as if nobody had come."""
    fault = Fault("two processes on one folder", status=2, says="is in use by process")
    shutil.rmtree(place.run, ignore_errors=True)
    first = place.start("paused", {})
    try:
        stat = Path(f"/proc/{first.pid}/stat")
        until = time.monotonic() + 120
        while time.monotonic() < until and stat.read_text().rpartition(")")[2].split()[0] != "T":
            time.sleep(0.05)
        second = place.start("nothing", {}).completed(timeout=300)
        first.send_signal(signal.SIGCONT)
        went_on = first.wait(300) == 0
    finally:
        first.kill()
    found = row(place, fault, said(second, fault.says), second.returncode, went_on)
    found.then = "the first goes on"
    return found


def full_report(place: Place) -> Row:
    """A report for which there is no room; then one is made, and it is the one that is made elsewhere."""

    def report(fault: str, out: Path) -> CompletedProcess:
        words = ["-m", "carryover.commands.app", "report", str(place.kept), "--out", str(out)]
        return Process([LAUNCH, fault, str(out), *words], ROOT).completed(timeout=300)

    out, other = place.folder / "report", place.folder / "other" / "report"
    done = report("full_report", out)
    line = said(done, "the disk is full")
    went_on = report("nothing", out).returncode == 0 == report("nothing", other).returncode
    contents = [{p.relative_to(f): p.read_bytes() for p in sorted(f.rglob("*")) if p.is_file()} for f in (out, other)]
    ends = EQUAL if went_on and contents[0] == contents[1] else "other files"
    right = done.returncode == 1 and bool(line) and "Traceback" not in done.stderr and ends == EQUAL
    shown = line.removeprefix("error: ").replace(f"{place.folder}/", "")
    then = "room made, same command"
    return Row("disk full while a report is written", shown, done.returncode, then, ends, "", right)


def table(rows: list[Row], width: int = 110) -> str:
    """Markdown."""
    lines = ["| fault | what is said | status | then | ends as the unbroken run |", "|---|---|---|---|---|"]
    for r in rows:
        short = r.said if len(r.said) <= width else r.said[: width - 3].rstrip() + "..."
        ends = r.ends if r.right else f"WRONG: {r.ends}"
        lines.append(f"| {r.fault} | {short.replace('|', '/')} | {r.status} | {r.then} | {ends} |")
    return "\n".join(lines)


def main(argv: list[str] | None = None) -> int:
    """Print the table; -> how many faults ended otherwise than they have to."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", help="parts of faults' names, separated by commas")
    parser.add_argument("--json", type=Path, help="write the rows here, too")
    given = parser.parse_args(argv)
    tried = [(f.name, lambda place, f=f: meet(place, f)) for f in FAULTS]
    tried += [("two processes", two_processes), ("disk full while a report is written", full_report)]
    wanted = [do for name, do in tried if any(part in name for part in given.only.split(","))]
    with tempfile.TemporaryDirectory() as folder:
        place = Place(Path(folder))
        rows = [do(place) for do in tqdm(wanted, unit="fault", disable=None)]
    print(table(rows))
    if given.json:
        given.json.write_text(json.dumps([asdict(r) for r in rows], indent=1, ensure_ascii=False) + "\n")
    return sum(not r.right for r in rows)


if __name__ == "__main__":
    sys.exit(main() > 0)
