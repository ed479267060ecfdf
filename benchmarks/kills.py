"""Kills runs and counts which of them end as the unbroken one.

    python -m benchmarks.kills [--random 50] [--operations 400] [--recipes sign_teacher,whisper_ft]

Prints the table for docs/reliability.md. Small runs of the four recipes (7 updates, two epochs, a checkpoint an update,
tests before and after) are killed by SIGKILL, started again by the same command until they end, and compared with the
run that nothing stopped: events, weights, random state, predictions and the table have to be equal bit for bit.

- random: at a moment drawn evenly from the whole run, several times in one run in a row.
- operations: at the n-th operation on files below the run's folder that Python makes (open for writing, rename, remove,
  make or remove a folder: audit events, before the operation is done), for n = 1, 2, ...
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
from tests.recipes.processes import Process
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


def start(name: str, overrides: dict[str, str], operation: int = 0) -> Process:
    """Start a run that kills itself at its n-th operation (0: never)."""
    words = command(SHORT | overrides, f"hparams/{name}.yaml")[1:]
    return Process([LAUNCH, str(operation), overrides["output_folder"], *words], ROOT)


def finish(name: str, overrides: dict[str, str]) -> None:
    """Run to the end.

    Raises
    ------
    RuntimeError
        Where it ends with another status than 0; with what it said.
    """
    done = start(name, overrides).completed(timeout=600)
    if done.returncode:
        raise RuntimeError(f"{name}: status {done.returncode}: {done.stderr[-2000:]}")


def outcome(folder: Path) -> dict:
    """All that has to be equal of a finished run."""
    last = max(
        (folder / "save").glob("CKPT+*"), key=lambda path: json.loads((path / "brain.json").read_text())["update"]
    )
    weights = {file.name: load_file(file) for file in sorted(last.glob("*.safetensors"))}
    assert weights and not list(folder.rglob("*.partial*")), folder
    return {
        "weights": weights,
        "events": events(folder),
        "random state": json.loads((last / "brain.json").read_text())["random"],
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

    def __init__(self, name: str, overrides: dict[str, str], folder: Path):
        self.name, self.folder, self.overrides = name, folder, overrides | {"output_folder": str(folder)}
        finish(name, self.overrides)  # makes the corpus
        shutil.rmtree(folder)
        begun = time.time()
        finish(name, self.overrides)
        self.seconds = time.time() - begun
        self.whole = outcome(folder)
        shutil.rmtree(folder)

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
                    process = start(self.name, self.overrides)
                    time.sleep(draw.uniform(0.1, self.seconds))
                    if process.poll() is None:
                        process.kill()
                        killed += 1
                    process.wait()
                finish(self.name, self.overrides)
                runs += 1
                equal += self.ended_equal(f"random, run {runs}")
                bar.update(killed - bar.n)
        return killed, runs, equal

    def at_operations(self, last: int) -> tuple[int, int]:
        """Kill a run at each operation up to the last one, or to its end; -> runs, those that ended equal."""
        runs = equal = 0
        for operation in tqdm(range(1, last + 1), desc=f"{self.name}: operations", disable=None):
            if start(self.name, self.overrides, operation).wait(600) != -signal.SIGKILL:
                shutil.rmtree(self.folder)
                break
            finish(self.name, self.overrides)
            runs += 1
            equal += self.ended_equal(f"operation {operation}")
        return runs, equal


def main(argv: list[str] | None = None) -> int:
    """Print the table; -> how many runs ended otherwise."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--random", type=int, default=50, help="SIGKILLs for each recipe")
    parser.add_argument("--operations", type=int, default=400, help="operations for each recipe")
    parser.add_argument("--recipes", default=None, help="names, separated by commas")
    given = parser.parse_args(argv)
    wrong = 0
    print("| recipe | SIGKILLs | runs | equal | killed at operation | equal |\n|---|---|---|---|---|---|", flush=True)
    with tempfile.TemporaryDirectory() as made:
        for name, overrides in recipes(Path(made)).items():
            if given.recipes and name not in given.recipes.split(","):
                continue
            recipe = Recipe(name, overrides, Path(made) / "run")
            killed, runs, equal = recipe.at_random(given.random)
            stopped, equal_again = recipe.at_operations(given.operations)
            wrong += runs - equal + stopped - equal_again
            print(f"| {name} | {killed} | {runs} | {equal} | {stopped} | {equal_again} |", flush=True)
    return wrong


if __name__ == "__main__":
    sys.exit(main() > 0)
