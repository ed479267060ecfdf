"""Facts for the rules of `carryover check`, gathered as a run would gather them, without training."""

import tempfile
from pathlib import Path

from carryover.checks.facts import Facts, refused
from carryover.data import manifest
from carryover.experiment import Experiment


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
    rejected = refused(folder / "manifests", rows)
    brain = hparams["brain"](
        modules=hparams["modules"], opt_class=hparams["optimizer"], hparams=hparams, run_opts=experiment.run_options
    )
    return Facts(experiment, brain, rows, rejected, manifest.left_out(folder / "manifests"))


def temporary() -> tempfile.TemporaryDirectory:
    """A folder for `gather`."""
    return tempfile.TemporaryDirectory(prefix="carryover_check_")
