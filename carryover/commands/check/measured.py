"""A few updates, validations and tests of the real run, and what the whole will take by them."""

import json
import math
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean

from carryover.checks.facts import Facts
from carryover.models.state_store import SHARD
from carryover.runs import events

WARM, TIMED = 3, 10  # updates
TRIAL = "carryover.commands.check.trial"


@dataclass(frozen=True)
class Measured:
    """What a short run took.

    Attributes
    ----------
    updates : sequence of (float, float)
        Seconds and padded seconds of input of each update; the first `WARM` are no measure of the others.
    scores : sequence of dict
        Each set that was scored: where ("valid" within the training, "end" after it, "test"), language, n (utterances)
        and seconds.
    saves : sequence of float
        Seconds of each checkpoint.
    fill, clips : float, int
        Seconds of computing the states of frozen parts for all clips that were trained on, and their number.
    begin : float
        Seconds of what the methods against forgetting do before the first update.
    peak_memory_bytes : int
    states : dict
        Of frozen parts that were kept: {store: (their number, bytes)}.
    total : float
        Seconds of that short run from its first test to its last.
    watts : float or None
        Mean power while it trained; None where the machine does not report energy.
    """

    updates: Sequence[tuple[float, float]]
    scores: Sequence[Mapping]
    saves: Sequence[float]
    fill: float
    clips: int
    begin: float
    peak_memory_bytes: int
    states: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    total: float = 0.0
    watts: float | None = None

    @property
    def seconds_per_update(self) -> float:
        """Mean of the timed updates; the one with the longest clips, which stand for memory, left out."""
        most = max(frames for _, frames in self.updates)
        timed = [seconds for seconds, frames in self.updates[WARM:] if frames < most]
        return fmean(timed or [seconds for seconds, _ in self.updates[WARM:]])

    def whole(self, facts: Facts) -> float:
        """Seconds from the first test to the last, as the run is planned; the making of the corpus not.

        Every set that was scored is scaled to its size. A first validation may compute states of frozen parts that
        later ones read, so the later ones are scaled by their own number.
        """
        every = facts.every("valid_every")
        validations = facts.updates // every + bool(facts.updates % every)

        def scaled(score: Mapping) -> float:
            split = "test" if score["where"] == "test" else "valid"
            return score["seconds"] * len(facts.rows[score["language"]][split]) / score["n"]

        seconds = facts.updates * self.seconds_per_update + self.begin
        seconds += self.fill * (len(facts.train) / self.clips if self.clips else 0)
        seconds += sum(scaled(score) for score in self.scores if score["where"] != "valid")
        for language in {score["language"] for score in self.scores}:
            first, *later = [scaled(s) for s in self.scores if s["where"] == "valid" and s["language"] == language] or [
                0
            ]
            seconds += first + (validations - 1) * (fmean(later) if later else first)
        saves = max(validations, math.ceil(facts.updates / facts.every("save_every")))
        return seconds + saves * (fmean(self.saves) if self.saves else 0)

    def peak(self, facts: Facts) -> float:
        """Bytes at the peak of the run: those of the trial and, on a CPU, what more kept states take.

        States are mapped from their files when they are read again, and a file of them is in memory twice while it is
        written; a card has neither. Those of training are read again by a run of an epoch or more.
        """
        if not self.states or facts.brain.device_type != "cpu":
            return self.peak_memory_bytes
        each = sum(size / number for number, size in self.states.values())  # bytes of an utterance
        sizes: dict[tuple[str, str], tuple[int, int]] = {}  # of a set: here, in the run
        for score in self.scores:
            split = "test" if score["where"] == "test" else "valid"
            sizes[score["language"], split] = score["n"], len(facts.rows[score["language"]][split])
        kept = max(number for number, _ in self.states.values())
        if facts.updates * facts.batch >= len(facts.train) and kept > sum(n for n, _ in sizes.values()):
            sizes[facts.language, "train"] = self.clips, len(facts.train)
        again = {key for key in sizes if key[1] != "test" or facts.values["test_before"]}

        def taken(at: int) -> float:
            written = min(SHARD, each * max(n[at] for n in sizes.values()))
            return each * sum(sizes[key][at] for key in again) + 2 * written

        return self.peak_memory_bytes + taken(1) - taken(0)


def measure(facts: Facts, argv: list[str], folder: Path, clock: str = "wall") -> Measured:
    """Run `WARM` + `TIMED` updates, two validations and the tests on few utterances (trial.py), in a process of its
    own, in a folder to throw away; timed by the clock, or by the process's own ("processor").

    Raises
    ------
    ValueError
        Where that run does not come to its end; with the end of what it said.
    """
    updates = WARM + TIMED
    own = {
        "max_updates": updates, "log_every": 1, "valid_every": math.ceil(updates / 2), "save_every": updates,
        "save_limit": 2, "output_folder": folder, "early_stopping_patience": 0, "check_audio": "headers",
    }  # fmt: skip
    rest = [word for key, value in own.items() for word in (f"--{key}", str(value))]
    # a run of less than an epoch computes frozen states as clips come, a longer one before its first update
    learns_all = "all" if facts.updates * facts.batch >= len(facts.train) else "some"
    folder.mkdir(parents=True, exist_ok=True)
    out = folder / "seen.json"
    words = [*_without(argv, own), *rest, "--noprogressbar"]
    command = [sys.executable, "-m", TRIAL, str(out), learns_all, clock, *words]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise ValueError(
            f"{updates} updates on trial ended with status {done.returncode}: {done.stderr.strip()[-300:]}"
        )
    return Measured(**json.loads(out.read_text(encoding="utf-8")), watts=_watts(events.read(folder / "metrics.jsonl")))


def _watts(found: Iterable[Mapping]) -> float | None:
    """Energy of the updates after the first by their time: an event's is that since the event before it."""
    told = [e for e in found if e["event"] == "train" and "energy_joules" in e]
    seconds = told[-1]["time"] - told[0]["time"] if len(told) > 1 else 0
    return sum(e["energy_joules"] for e in told[1:]) / seconds if seconds else None


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
