"""Kills runs and counts which of them end as the unbroken one.

    python -m benchmarks.kills [--random 50] [--operations 400] [--recipes sign_teacher,whisper_ft] [--processes 2]

Prints the table for docs/reliability.md. Small runs of the four recipes (7 updates, two epochs, a checkpoint an update,
tests before and after) are killed by SIGKILL, started again by the same command until they end, and compared with the
run that nothing stopped: events, weights, random state, predictions and the table have to be equal bit for bit.

- random: at a moment drawn evenly from the whole run, several times in one run in a row.
- operations: at the n-th operation on files below the run's folder that Python makes (open for writing, rename, remove,
  make or remove a folder: audit events, before the operation is done), for n = 1, 2, ...

With several processes one of them is killed: at random any, at operations the first, which writes. The others are ended
as torchrun ends them: SIGTERM, and SIGKILL where that is not enough.
"""

import argparse
import csv
import json
import random
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

import torch
from safetensors.torch import load_file
from tqdm import tqdm

from tests.conftest import ROOT, STARTER
from tests.recipes.helpers import command, events
from tests.recipes.processes import Process, as_torchrun
from tests.tiny_language_model import make as make_language_model

SHORT = {
    "batch_size": "4", "eval_batch_size": "4", "grad_accumulation_factor": "2", "log_every": "1", "valid_every": "3",
    "save_every": "1", "epochs": "2", "max_updates": "7", "early_stopping_patience": "0", "warmup": "2",
}  # fmt: skip
FILES = {"corpus": "!name:local.synthetic.utterances {hours: 0.01}", "language": "nl"}
LAUNCH = "benchmarks/killed_at.py"


def recipes(folder: Path) -> dict[str, dict[str, str]]:
    """Overrides of a small run of each recipe; what the runs share is made in `folder`."""
    files = FILES | {"data_folder": str(folder / "speech")}
    whisper = {"model": str(STARTER), "old_language": "null", "generation_length": "12", "dropout": "0.2"}
    language_model = make_language_model(folder / "lm")
    return {
        "sign_teacher": {
            "corpus": "!name:local.synthetic_sign.utterances {train: 28, valid: 4, test: 4}",
            "data_folder": str(folder / "signs"), "d_model": "16", "layers": "1", "heads": "2", "d_ffn": "32",
        },
        "dutch_pretrain": files | {"model": "assets/ctc_small"},
        "whisper_ft": files | whisper,
        "speech_llm_whisper": files | {"encoder": str(STARTER), "language_model": language_model, "hidden": "16"},
    }  # fmt: skip


PATIENCE = 10.0  # seconds between SIGTERM and SIGKILL; torchrun has 30


class Run:
    """A run's processes, the first of which may kill itself at its n-th operation (0: never)."""

    def __init__(self, name: str, overrides: dict[str, str], processes: int, operation: int = 0):
        words = command(SHORT | overrides, f"hparams/{name}.yaml")[1:]
        at = [operation] + [0] * (processes - 1)
        self.name = name
        self.processes: list[Process] = as_torchrun(
            [[LAUNCH, str(n), overrides["output_folder"], *words] for n in at], ROOT
        )

    def kill(self, rank: int) -> bool:
        """Kill one process; -> whether it was still running."""
        ran = self.processes[rank].poll() is None
        self.processes[rank].kill()
        self.ended()
        return ran

    def ended(self) -> list[int]:
        """Exit status of each process, once one has ended; where it was killed, the others are ended."""
        while all(process.poll() is None for process in self.processes):
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
    last = max(
        (folder / "save").glob("CKPT+*"), key=lambda path: json.loads((path / "brain.json").read_text())["update"]
    )
    state = json.loads((last / "brain.json").read_text())
    weights = {file.name: load_file(file) for file in sorted(last.glob("*.safetensors"))}
    assert weights and not list(folder.rglob("*.partial*")), folder
    return {
        "weights": weights,
        "events": events(folder),
        "random state": [state[key] for key in ("random", "others")],
        "predictions": {p.name: list(csv.reader(p.open())) for p in sorted(folder.glob("predictions_*.csv"))},
        "table": (folder / "results.md").read_text(),
    }


def difference(one: dict, other: dict) -> str:
    """The first thing that differs, or nothing."""
    for key in one:
        if key != "weights" and one[key] != other[key]:
            return key
    for name, weights in one["weights"].items():
        if any(not torch.equal(weight, other["weights"][name][key]) for key, weight in weights.items()):
            return name
    return ""


class Recipe:
    """Small runs of a recipe in one folder, each compared with the first, which nothing stops."""

    def __init__(self, name: str, overrides: dict[str, str], folder: Path, processes: int = 1):
        self.name, self.folder, self.processes = name, folder, processes
        self.overrides = overrides | {"output_folder": str(folder)}
        self.start().finish()  # makes the corpus
        shutil.rmtree(folder)
        begun = time.time()
        self.start().finish()
        self.seconds = time.time() - begun
        self.whole = outcome(folder)
        shutil.rmtree(folder)

    def start(self, operation: int = 0) -> Run:
        return Run(self.name, self.overrides, self.processes, operation)

    def ended_equal(self, what: str) -> bool:
        """Whether the run that has ended is the unbroken one; what differs is said."""
        if found := difference(self.whole, outcome(self.folder)):
            print(f"{self.name}: {what}: other {found}", file=sys.stderr, flush=True)
        shutil.rmtree(self.folder)
        return not found

    def at_random(self, kills: int) -> tuple[int, int, int]:
        """Kill runs one to three times each at random moments; -> kills, runs, those that ended equal."""
        draw, killed, runs, equal = random.Random(1), 0, 0, 0
        with tqdm(total=kills, desc=f"{self.name}: random", disable=None) as bar:
            while killed < kills:
                for _ in range(draw.randint(1, 3)):
                    run = self.start()
                    time.sleep(draw.uniform(0.1, self.seconds))
                    killed += run.kill(draw.randrange(self.processes))
                self.start().finish()
                runs += 1
                equal += self.ended_equal(f"random, run {runs}")
                bar.update(killed - bar.n)
        return killed, runs, equal

    def at_operations(self, last: int) -> tuple[int, int]:
        """Kill a run at each operation up to the last one, or to its end; -> runs, those that ended equal."""
        runs = equal = 0
        for operation in tqdm(range(1, last + 1), desc=f"{self.name}: operations", disable=None):
            if self.start(operation).ended()[0] != -signal.SIGKILL:
                shutil.rmtree(self.folder)
                break
            self.start().finish()
            runs += 1
            equal += self.ended_equal(f"operation {operation}")
        return runs, equal


def main(argv: list[str] | None = None) -> int:
    """Print the table; -> how many runs ended otherwise."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--random", type=int, default=50, help="SIGKILLs for each recipe")
    parser.add_argument("--operations", type=int, default=400, help="operations for each recipe")
    parser.add_argument("--recipes", default=None, help="names, separated by commas")
    parser.add_argument("--processes", type=int, default=1, help="of each run")
    given = parser.parse_args(argv)
    wrong = 0
    print("| recipe | SIGKILLs | runs | equal | killed at operation | equal |\n|---|---|---|---|---|---|", flush=True)
    with tempfile.TemporaryDirectory() as made:
        for name, overrides in recipes(Path(made)).items():
            if given.recipes and name not in given.recipes.split(","):
                continue
            recipe = Recipe(name, overrides, Path(made) / "run", given.processes)
            killed, runs, equal = recipe.at_random(given.random)
            stopped, equal_again = recipe.at_operations(given.operations)
            wrong += runs - equal + stopped - equal_again
            print(f"| {name} | {killed} | {runs} | {equal} | {stopped} | {equal_again} |", flush=True)
    return wrong


if __name__ == "__main__":
    sys.exit(main() > 0)
