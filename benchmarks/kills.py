"""Kills runs and counts which of them end as the unbroken one.

    python -m benchmarks.kills [--moments 50] [--operations 400] [--recipes sign_teacher,whisper_ft] [--processes 2]

Prints the tables for docs/reliability.md. Small runs of the four recipes (tests/recipes/four_recipes.py: 7 updates, two
epochs, a checkpoint an update, tests before and after) are killed by SIGKILL, started again by the same command until
they end, and compared with the run that nothing stopped: both logs, weights, random state, predictions, the table and
all other files of the run have to be equal bit for bit, but for what a clock decides.

- moments: one to three in one run in a row. The first of every second run comes at an epoch's end: after its last train
  event and before the next one's first, or the end of the training; in between lie the validation and the checkpoint.
  All others come at a moment drawn evenly from the whole run.
- operations: at the n-th operation on files below the run's folder, for n = 1, 2, ...: before it is done, or when half
  of a write is done (benchmarks/killed_at.py). After the first N, which are the preparation and the first checkpoints,
  at the first of each kind (call and file) that was not among them.

With several processes one of them is killed: at moments any, at operations the first, which writes. The others are
ended as torchrun ends them: SIGTERM, and SIGKILL where that is not enough.
"""

import argparse
import csv
import hashlib
import json
import random
import re
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

import torch
from safetensors.torch import load_file
from tqdm import tqdm

from benchmarks import killed_at
from carryover.runs.events import read as read_events
from tests.conftest import ROOT
from tests.recipes.four_recipes import small_runs
from tests.recipes.helpers import command, events, train_log
from tests.recipes.processes import Process, as_torchrun

LAUNCH = "benchmarks/killed_at.py"
PATIENCE = 10.0  # seconds between SIGTERM and SIGKILL; torchrun has 30


class Run:
    """A run's processes, the first of which may be killed at its n-th operation (0: never), its operations traced."""

    def __init__(self, name: str, overrides: dict[str, str], processes: int, operation: int = 0, trace: str = ""):
        words = [overrides["output_folder"], "", *command(overrides, f"hparams/{name}.yaml")[1:]]
        first = [LAUNCH, str(operation), words[0], trace, *words[2:]]
        self.name = name
        self.processes: list[Process] = as_torchrun([first] + [[LAUNCH, "0", *words]] * (processes - 1), ROOT)

    def going(self) -> bool:
        """Whether all processes are there."""
        return all(process.poll() is None for process in self.processes)

    def kill(self, rank: int) -> bool:
        """Kill one process; -> whether it was still running."""
        ran = self.processes[rank].poll() is None
        self.processes[rank].kill()
        self.ended()
        return ran

    def ended(self) -> list[int]:
        """Exit status of each process, once one has ended; where it was killed, the others are ended."""
        while self.going():
            time.sleep(0.005)
        if any(process.poll() == -signal.SIGKILL for process in self.processes):
            for number in (signal.SIGTERM, signal.SIGKILL):
                for process in self.processes:
                    process.send_signal(number)
                until = time.time() + PATIENCE
                while time.time() < until and any(process.poll() is None for process in self.processes):
                    time.sleep(0.005)
        return [process.wait(600) for process in self.processes]

    def finish(self) -> None:
        """Run to the end.

        Raises
        ------
        RuntimeError
            Where it ends with another status than 0; with what it said.
        """
        for done in [process.completed(timeout=600) for process in self.processes]:
            if done.returncode:
                raise RuntimeError(f"{self.name}: status {done.returncode}: {done.stderr[-2000:]}")


def outcome(folder: Path) -> dict:
    """All that has to be equal of a finished run."""
    last = max((folder / "save").glob("CKPT+*"), key=update_of)
    state = json.loads((last / "brain.json").read_text())
    weights = {file.name: load_file(file) for file in sorted(last.glob("*.safetensors"))}
    assert weights, folder
    return {
        "weights": weights,
        "events": events(folder),
        "train_log": train_log(folder),
        "random state": [state[key] for key in ("random", "others")],
        "predictions": {p.name: list(csv.reader(p.open())) for p in sorted(folder.glob("predictions_*.csv"))},
        "table": (folder / "results.md").read_text(),
        "files": files(folder),
    }


def update_of(checkpoint: Path) -> int:
    """The update after which it was written."""
    return json.loads((checkpoint / "brain.json").read_text())["update"]


# What a clock decides, or the ID that a run has drawn; and what is compared by its content above.
OTHERS = {"run.json", "metrics.jsonl", "train_log.txt", "checksums.json", "CKPT.yaml", "brain.json", "kept.json"}


def files(folder: Path) -> dict[str, str]:
    """Digests of all files of a run ("" of `OTHERS`), by their paths; a checkpoint has its update for its name."""
    places = {path.name: f"CKPT {update_of(path)}" for path in (folder / "save").glob("CKPT+*")}
    found = {}
    for path in sorted(folder.rglob("*")):
        name = "/".join(places.get(part, part) for part in path.relative_to(folder).parts)
        found[name] = "" if path.is_dir() or path.name in OTHERS else hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def difference(one: dict, other: dict) -> str:
    """The first thing that differs, or nothing."""
    for key in one:
        if key == "files" and (names := {name for name, _ in one[key].items() ^ other[key].items()}):
            return f"files: {', '.join(sorted(names))}"
        if key != "weights" and one[key] != other[key]:
            return key
    for name, weights in one["weights"].items():
        if any(not torch.equal(weight, other["weights"][name][key]) for key, weight in weights.items()):
            return name
    return ""


class Recipe:
    """Small runs of a recipe in one folder, each compared with the first, which nothing stops.

    Parameters
    ----------
    name : str
    overrides : dict
    folder : Path
        Of the runs, one after the other.
    processes : int
        Of each run.
    counted : bool
        Have operations on files counted.

    Attributes
    ----------
    operations : list of killed_at.Operation
        Those of an unbroken run, where they are counted.
    """

    def __init__(self, name: str, overrides: dict[str, str], folder: Path, processes: int = 1, counted: bool = True):
        self.name, self.folder, self.processes = name, folder, processes
        self.overrides = overrides | {"output_folder": str(folder)}
        self.start().finish()  # makes the corpus, too
        self.whole, self.ends = outcome(folder), epochs_ends(folder)
        shutil.rmtree(folder)
        trace, begun = folder.with_name("trace"), time.time()
        self.start(trace=str(trace) if counted else "").finish()
        self.seconds = time.time() - begun
        self.operations = killed_at.read(trace) if counted else []
        trace.unlink(missing_ok=True)
        if not self.ended_equal("a run that nothing stopped"):
            raise RuntimeError(f"{name}: two runs that nothing stopped are not equal")

    def start(self, operation: int = 0, trace: str = "") -> Run:
        return Run(self.name, self.overrides, self.processes, operation, trace)

    def ended_equal(self, what: str) -> bool:
        """Whether the run that has ended is the unbroken one; what differs is said."""
        if found := difference(self.whole, outcome(self.folder)):
            print(f"{self.name}: {what}: other {found}", file=sys.stderr, flush=True)
        shutil.rmtree(self.folder)
        return not found

    def at_moments(self, kills: int) -> tuple[int, int, int, int]:
        """Kill runs one to three times each; -> kills, those at epochs' ends, runs, those that ended equal."""
        draw, killed, at_ends, runs, equal = random.Random(1), 0, 0, 0, 0
        with tqdm(total=kills, desc=f"{self.name}: moments", disable=None) as bar:
            while killed < kills:
                for i in range(draw.randint(1, 3)):
                    run, at_end = self.start(), i == 0 and runs % 2 == 0
                    if at_end:
                        self.wait_for_an_end(run, draw)
                    else:
                        time.sleep(draw.uniform(0.1, self.seconds))
                    hit = run.kill(draw.randrange(self.processes))
                    killed, at_ends = killed + hit, at_ends + (hit and at_end)
                self.start().finish()
                runs += 1
                equal += self.ended_equal(f"moments, run {runs}")
                bar.update(killed - bar.n)
        return killed, at_ends, runs, equal

    def wait_for_an_end(self, run: Run, draw: random.Random) -> None:
        """Wait for a moment at the end of one of a new run's epochs."""
        update, seconds = draw.choice(self.ends)
        log, words = self.folder / "metrics.jsonl", f'"train", "update": {update},'
        while run.going() and words not in (log.read_text(encoding="utf-8") if log.exists() else ""):
            time.sleep(0.002)
        time.sleep(draw.uniform(0, seconds))

    def at_operations(self, numbers: Iterable[int]) -> tuple[int, int]:
        """Kill a run at each of these operations; -> runs, those that ended equal."""
        runs = equal = 0
        for number in tqdm(numbers, desc=f"{self.name}: operations", disable=None):
            if self.start(number).ended()[0] == -signal.SIGKILL:
                self.start().finish()
                runs += 1
            equal += self.ended_equal(f"operation {number}")
        return runs, equal


def epochs_ends(folder: Path) -> list[tuple[int, float]]:
    """Update after which an epoch of a run ended, and seconds to the next one's first train event or to the end."""
    found = [e for e in read_events(folder / "metrics.jsonl") if e["event"] in ("train", "end")]
    pairs = zip(found, found[1:], strict=False)
    return [(a["update"], b["time"] - a["time"]) for a, b in pairs if (a["epoch"], "train") != (b["epoch"], b["event"])]


def chosen(operations: list[killed_at.Operation], first: int) -> list[int]:
    """Numbers of the first so many, and of the first of each kind after them: another call, or another file."""
    seen, found = set(), []
    for operation in operations:
        kind = operation.name, re.sub(r"\.tmp\w+|\d+", "", operation.path)
        if operation.number <= first or kind not in seen:
            found.append(operation.number)
        seen.add(kind)
    return found


def main(argv: list[str] | None = None) -> int:
    """Print the tables; -> how many runs ended otherwise."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--moments", type=int, default=50, help="SIGKILLs at moments for each recipe")
    parser.add_argument("--operations", type=int, default=400, help="the first so many, and each other kind; 0: none")
    parser.add_argument("--recipes", default=None, help="names, separated by commas")
    parser.add_argument("--processes", type=int, default=1, help="of each run")
    given = parser.parse_args(argv)
    if given.operations:
        try:
            killed_at.require()
        except killed_at.NotCounted as error:
            parser.error(f"{error}; --operations 0 leaves them out")
    wrong, rows = 0, {"moments": [], "operations": []}

    def add(table: str, *cells) -> None:
        rows[table].append(f"| {' | '.join(map(str, cells))} |")
        print(rows[table][-1], file=sys.stderr, flush=True)

    with tempfile.TemporaryDirectory() as made:
        for name, overrides in small_runs(Path(made)).items():
            if given.recipes and name not in given.recipes.split(","):
                continue
            recipe = Recipe(name, overrides, Path(made) / "run", given.processes, bool(given.operations))
            if given.moments:
                killed, at_ends, runs, equal = recipe.at_moments(given.moments)
                add("moments", name, given.processes, killed, at_ends, runs, equal)
                wrong += runs - equal
            if given.operations:
                numbers, every = chosen(recipe.operations, given.operations), len(recipe.operations)
                first = min(every, given.operations)
                runs, equal = recipe.at_operations(numbers)
                at = f"1 to {first}" + (f", and {len(numbers) - first} more" if len(numbers) > first else "")
                add("operations", name, every, at, runs, equal)
                wrong += len(numbers) - equal
    print("| recipe | processes | SIGKILLs | at an epoch's end | runs | equal |\n|---|---|---|---|---|---|")
    print("\n".join(rows["moments"]))
    print("\n| recipe | operations in all | killed at | runs killed | equal |\n|---|---|---|---|---|")
    print("\n".join(rows["operations"]))
    return wrong


if __name__ == "__main__":
    sys.exit(main() > 0)
