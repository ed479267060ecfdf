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
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from subprocess import CompletedProcess

import numpy as np
import soundfile
from safetensors.torch import load_file, save_file
from tqdm import tqdm

from benchmarks.kills import SHORT, difference, outcome
from tests.conftest import ROOT
from tests.recipes.helpers import command
from tests.recipes.processes import Process
from tests.tiny_speech import corpus, ctc_shape

LAUNCH, YAML, CLIP = "benchmarks/injected.py", "hparams/dutch_pretrain.yaml", "03.wav"
EQUAL = "equal"
WITHOUT = "equal to a run without that clip"
Undo = Callable[[], object]


class Place:
    """A corpus, a starting model and the folder of one run, which begins anew for each fault."""

    def __init__(self, folder: Path):
        self.folder, self.run, self.kept = folder, folder / "run", folder / "unbroken"
        self.data, self.model = corpus(folder / "data"), folder / "model"
        shape = {"model": str(ctc_shape(folder / "shape")), "from_scratch": "True", "max_updates": "1"}
        self.overrides = SHORT | {
            "corpus": "!name:local.table.utterances", "data_folder": str(self.data), "language": "nl",
            "save_limit": "3", "output_folder": str(self.run),
        }  # fmt: skip
        self.finish(shape)
        shutil.copytree(self.run / "model", self.model, ignore=shutil.ignore_patterns("checksums.json"))
        self.overrides |= {"model": str(self.model), "from_scratch": "False"}
        self.whole = self.unbroken()
        self.run.rename(self.kept)
        undo = line_taken_out(self)
        self.without = self.unbroken()
        undo()

    def unbroken(self) -> dict:
        shutil.rmtree(self.run, ignore_errors=True)
        self.finish({})
        return self.outcome()

    def start(self, fault: str, overrides: dict[str, str]) -> Process:
        """Start the run's command with a fault in it."""
        words = command(self.overrides | overrides, YAML)[1:]
        return Process([LAUNCH, fault, str(self.run), *words], ROOT, {"FAULT_CLIP": str(self.data / CLIP)})

    def finish(self, overrides: dict[str, str]) -> None:
        """Run to the end.

        Raises
        ------
        RuntimeError
            With what the run said, where it ends with another status than 0.
        """
        done = self.start("nothing", overrides).completed(timeout=300)
        if done.returncode:
            raise RuntimeError(f"status {done.returncode}: {done.stderr[-2000:]}")

    def outcome(self) -> dict:
        """What is compared of a run that has ended; the log is not: a fault that is told there is a line more."""
        return {key: value for key, value in outcome(self.run).items() if key != "events"}

    def newest(self, key: str = "update", back: int = 0) -> Path:
        """Folder of a checkpoint."""
        found = sorted(self.run.glob("save/CKPT+*"), key=lambda c: json.loads((c / "brain.json").read_text())[key])
        return found[-1 - back]


# ---- changes of files; each returns what undoes it ----


def rewritten(file: Path, content: bytes) -> Undo:
    """Other content for a file."""
    was = file.read_bytes()
    file.write_bytes(content)
    return lambda: file.write_bytes(was)


def line_taken_out(place: Place) -> Undo:
    listing = place.data / "manifest.tsv"
    lines = listing.read_bytes().splitlines(True)
    return rewritten(listing, b"".join(line for line in lines if not line.startswith(CLIP.encode())))


def clip_taken_away(place: Place) -> Undo:
    was = (place.data / CLIP).read_bytes()
    (place.data / CLIP).unlink()
    return lambda: (place.data / CLIP).write_bytes(was)


def garbage_clip(place: Place) -> Undo:
    return rewritten(place.data / CLIP, b"no audio " * 1000)


def other_sound(place: Place) -> Undo:
    """The same size, other content: the last samples."""
    return rewritten(place.data / CLIP, (place.data / CLIP).read_bytes()[:-200] + bytes(200))


def samples_of(value: float) -> Callable[[Place], Undo]:
    """A clip whose samples hold one that is no number, or infinite."""

    def change(place: Place) -> Undo:
        undo = rewritten(place.data / CLIP, b"")
        wav = np.full(8000, 0.1, dtype=np.float32)
        wav[4000] = value
        soundfile.write(place.data / CLIP, wav, 16000, subtype="FLOAT")
        return undo

    return change


def other_weights(place: Place) -> Undo:
    file = place.model / "model.safetensors"
    was, weights = file.read_bytes(), load_file(file)
    name = sorted(weights)[0]
    save_file(weights | {name: weights[name] + 1e-3}, file, {"format": "pt"})
    return lambda: file.write_bytes(was)


def half_log(place: Place) -> None:
    log = place.run / "metrics.jsonl"
    log.write_bytes(log.read_bytes()[: log.stat().st_size // 2])


def newest_deleted(place: Place) -> None:
    shutil.rmtree(place.newest())


def best_deleted(place: Place) -> None:
    shutil.rmtree(place.newest(back=1))  # update 3, the only one with a validation


def all_deleted(place: Place) -> Undo:
    (place.run / "save").rename(place.folder / "saved")
    return lambda: [
        shutil.rmtree(place.run / "save", ignore_errors=True),
        (place.folder / "saved").rename(place.run / "save"),
    ]


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
    Fault("clip vanished before", says=f"{CLIP}.*cannot be opened", ends=WITHOUT, change=clip_taken_away, new=True),
    Fault("garbage clip", says=f"{CLIP}.*cannot be read", ends=WITHOUT, change=garbage_clip, new=True),
    Fault("NaN in a clip", says=f"{CLIP}.*no number", ends=WITHOUT, change=samples_of(np.nan), new=True),
    Fault("infinite sample in a clip", says=f"{CLIP}.*no number", ends=WITHOUT, change=samples_of(np.inf), new=True),
    Fault("non-finite loss, once", "infinite_loss", 0, "Update 5 skipped: loss", ends=SKIPPED),
    Fault("non-finite loss from then on", "infinite_losses", 1, "updates were not finite", "rate lowered, so to speak"),
    Fault("out of memory in a micro-batch", "out_of_memory", 0, "Out of memory with micro-batches of 4",
          ends="must not: augmentation draws for each half"),
    Fault("out of memory in the optimizer's step", "out_of_memory_in_step", 1, "out of memory", "memory made free"),
    Fault("dead data worker", "dead_worker", 1, "process that reads clips", overrides=(("num_workers", "2"),)),
    Fault("clock set back by a day", "clock_set_back", 0, "total time 00:"),
    Fault("list changed", status=2, says="1 gone from the list: 03", undone="list brought back", change=line_taken_out),
    Fault("audio changed, same size", status=2, says="1 with another recording: 03", undone="clip brought back",
          change=other_sound),
    Fault("starting model changed", status=2, says="weights that the training starts from have changed",
          undone="model brought back", change=other_weights),
    Fault("settings changed", status=2, says="lr: .* there, .* here", undone="settings taken back",
          change=lambda place: None, overrides=(("lr", "1.0e-4"),)),
    Fault("metrics.jsonl cut to its half", says="lines are lost", change=half_log),
    Fault("newest checkpoint deleted", says="update 4.* is gone", change=newest_deleted),
    Fault("best checkpoint deleted", says="update 3.* is gone", change=best_deleted,
          ends="must not: the best weights are lost"),
    Fault("all checkpoints deleted", status=2, says="no whole checkpoint|checkpoints.* gone",
          undone="save/ brought back", change=all_deleted),
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
    undo = undo or rewritten(place.data / CLIP, (place.data / CLIP).read_bytes())
    overrides = dict(fault.overrides)
    done = place.start(fault.inject, overrides).completed(timeout=300)
    rejected = [path.read_text().splitlines() for path in place.run.glob("manifests/*/rejected.csv")]
    line = said(done, fault.says, *sum(rejected, []))
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
    shown = line.removeprefix("error: ").replace(f"{place.folder}/", "")
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
    contents = [
        {p.relative_to(f): p.read_bytes() for p in sorted(f.rglob("*")) if p.is_file()} for f in (out, other)
    ]
    ends = EQUAL if went_on and contents[0] == contents[1] else "other files"
    right = done.returncode == 1 and bool(line) and "Traceback" not in done.stderr and ends == EQUAL
    shown = line.removeprefix("error: ").replace(f"{place.folder}/", "")
    return Row("disk full while a report is written", shown, done.returncode, "room made, same command", ends, "", right)


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
