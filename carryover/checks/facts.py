"""What the rules of a check look at: an experiment, its sets and its model before the first update."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from carryover import processes
from carryover.data import manifest
from carryover.data.batching import FilledBatches


@dataclass
class Facts:
    """An experiment before its first update.

    Attributes
    ----------
    experiment : carryover.experiment.Experiment
    brain : carryover.training.brain.RecipeBrain
        With its model made; nothing is trained.
    rows : dict
        Rows of the manifests by language and split, {"nl": {"train": [...], ...}, ...}.
    rejected : dict
        {language: (utterances refused, utterances read)}.
    left_out : dict
        What test sets lost, of `manifest.left_out`.
    """

    experiment: object
    brain: object
    rows: Mapping[str, Mapping[str, Sequence[dict]]]
    rejected: Mapping[str, tuple[int, int]]
    left_out: Mapping[str, str] = field(default_factory=dict)

    @property
    def values(self) -> dict:
        return self.experiment.values

    @property
    def language(self) -> str:
        return self.values["language"]

    @property
    def train(self) -> Sequence[dict]:
        return self.rows[self.language]["train"]

    @property
    def batch(self) -> int:
        """Utterances of an update, of all processes; their mean where batches are filled by seconds."""
        if self.values.get("batch_seconds"):
            return round(len(self.train) / self.updates_per_epoch)
        return self.values["batch_size"] * processes.count() * self.values["grad_accumulation_factor"]

    @cached_property
    def updates_per_epoch(self) -> int:
        if seconds := self.values.get("batch_seconds"):
            batches = len(FilledBatches([float(row["duration"]) for row in self.train], seconds * processes.count(), 0))
        else:
            batches = math.ceil(len(self.train) / (self.values["batch_size"] * processes.count()))
        return math.ceil(batches / self.values["grad_accumulation_factor"])

    @property
    def updates(self) -> int:
        """Planned in all."""
        return self.values["max_updates"] or self.updates_per_epoch * self.values["epochs"]

    @property
    def epochs(self) -> float:
        return self.updates / self.updates_per_epoch

    @property
    def warmup(self) -> float:
        """Updates."""
        given = self.values["warmup"]
        return given * self.updates if 0 < given < 1 else given

    def every(self, key: str) -> int:
        """Updates between two events of valid_every, save_every or log_every."""
        return self.updates_per_epoch if self.values[key] == "epoch" else self.values[key]

    @cached_property
    def parameters(self) -> tuple[int, int]:
        """Trained, all."""
        return self.brain.parameter_counts()

    @cached_property
    def random(self) -> int:
        """Parameters that begin at random beside others that do not."""
        mine = dict(self.brain.modules.named_parameters())
        found = self.brain.new_parameters()
        return sum(mine[name].numel() for name, rows in found.items() if rows is None and mine[name].requires_grad)

    @property
    def checkpoint_bytes(self) -> int:
        """Weights of all modules, and two moments of AdamW of what is trained, in float32 or as they are."""
        weights = sum(p.numel() * p.element_size() for p in self.brain.modules.parameters())
        return weights + 8 * self.parameters[0]


def refused(manifests: Path, languages: Iterable[str]) -> dict[str, tuple[int, int]]:
    """{language: (utterances refused, utterances read)} of a folder of manifests."""
    counts = {name: manifest.read_done(manifests / name) for name in languages}
    kept = {name: sum(done["counts"][split] for split in done["hours"]) for name, done in counts.items()}
    lost = {name: sum(done["rejected"].values()) for name, done in counts.items()}
    return {name: (lost[name], lost[name] + kept[name]) for name in counts}
