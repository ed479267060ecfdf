"""A few updates and one validation of the real run, and what the whole will take by them."""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from carryover.commands.check.facts import Facts
from carryover.data import manifest

WARM, TIMED = 3, 10  # updates
SCORED = 32  # validation utterances of a language that are timed


@dataclass(frozen=True)
class Measured:
    """Seconds and bytes of a short run; `whole` is what the run is predicted to take."""

    seconds_per_update: float
    seconds_per_utterance: float  # of a validation
    peak_memory_bytes: int

    def whole(self, facts: Facts) -> float:
        """Seconds of training, all validations and all tests; the making of the corpus and of kept states not."""
        validations = facts.updates // facts.every("valid_every") + bool(facts.updates % facts.every("valid_every"))
        scored = validations * sum(len(splits.get("valid", ())) for splits in facts.rows.values())
        tests = sum(len(splits.get("test", ())) for splits in facts.rows.values())
        scored += tests * (1 + bool(facts.values["test_before"]))
        return facts.updates * self.seconds_per_update + scored * self.seconds_per_utterance


def measure(facts: Facts, argv: list[str], folder: Path) -> Measured:
    """Run `WARM` + `TIMED` updates and a validation by train.py, in a process of its own, in a folder to throw away.

    Raises
    ------
    ValueError
        Where that run does not come to its end; with the end of what it said.
    """
    updates = WARM + TIMED
    own = {
        "max_updates": updates, "log_every": 1, "valid_every": updates, "save_every": updates, "save_limit": 1,
        "output_folder": folder, "sample": json.dumps({"valid": SCORED}), "early_stopping_patience": 0,
    }  # fmt: skip
    rest = [word for key, value in own.items() for word in (f"--{key}", str(value))]
    words = [*_without(argv, own), *rest, "--train_only", "--noprogressbar"]
    done = subprocess.run([sys.executable, "train.py", *words], capture_output=True, text=True)
    if done.returncode:
        raise ValueError(
            f"{updates} updates on trial ended with status {done.returncode}: {done.stderr.strip()[-300:]}"
        )
    events = [json.loads(line) for line in (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    train = {e["update"]: e for e in events if e["event"] == "train"}
    valid = [e for e in events if e["event"] == "valid" and "weights" not in e]
    scored = sum(len(manifest.load(path)) for path in (folder / "manifests").glob("*/valid.csv"))
    pace = (train[updates]["time"] - train[WARM]["time"]) / TIMED
    seconds = valid[-1]["time"] - train[updates]["time"]
    return Measured(pace, seconds / scored, train[updates]["peak_memory_bytes"])


def _without(argv: list[str], keys) -> list[str]:
    """A command line without some of its keys."""
    found, words = [], list(argv)
    while words:
        word = words.pop(0)
        key, equals, _ = word.removeprefix("--").partition("=")
        if word.startswith("--") and key in keys:
            if not equals and words:
                words.pop(0)
            continue
        found.append(word)
    return found
