"""What the rules of `carryover check` look at, gathered as a run would gather it, without training."""

import math
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from carryover.data import manifest
from carryover.experiment import Experiment


@dataclass
class Facts:
    """An experiment before its first update.

    Attributes
    ----------
    experiment : Experiment
    brain : carryover.training.brain.RecipeBrain
        With its model made; nothing is trained.
    rows : dict
        Rows of the manifests by language and split, {"nl": {"train": [...], ...}, ...}.
    rejected : dict
        {language: (utterances refused, utterances read)}.
    left_out : dict
        What test sets lost, of `manifest.left_out`.
    """

    experiment: Experiment
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
        """Utterances of an update."""
        return self.values["batch_size"] * self.values["grad_accumulation_factor"]

    @property
    def updates_per_epoch(self) -> int:
        batches = math.ceil(len(self.train) / self.values["batch_size"])
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


def gather(experiment: Experiment, folder: Path) -> Facts:
    """Make manifests (headers are read, recordings not decoded) and the model in a folder that is thrown away.

    Raises
    ------
    ValueError, OSError
        As the run would: no such corpus, nothing usable in a split, weights that do not fit.
    """
    hparams = experiment.hparams
    hparams |= {"output_folder": str(folder), "check_audio": "headers"}
    new, old, others = experiment.prepare(folder / "manifests")
    language, old_language = experiment.values["language"], experiment.values["old_language"]
    rows = {language: {split: list(manifest.load(path).values()) for split, path in new.items()}}
    if old:
        rows[old_language] = {split: list(manifest.load(path).values()) for split, path in old.items()}
    rows |= {name: {"test": list(manifest.load(path).values())} for name, path in others.items()}
    rejected = {}
    for name in rows:
        counts = manifest.read_done(folder / "manifests" / name)
        refused = sum(counts["rejected"].values())
        kept = sum(len(found) for found in rows[name].values())
        rejected[name] = refused, refused + kept
    brain = hparams["brain"](
        modules=hparams["modules"], opt_class=hparams["optimizer"], hparams=hparams, run_opts=experiment.run_options
    )
    return Facts(experiment, brain, rows, rejected, manifest.left_out(folder / "manifests"))


def temporary() -> tempfile.TemporaryDirectory:
    """A folder for `gather`."""
    return tempfile.TemporaryDirectory(prefix="carryover_check_")
