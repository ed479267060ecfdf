"""What commands on a run folder share: its best weights, loaded."""

import contextlib
import sys
from pathlib import Path

import typer

RUN = typer.Argument(help="Run folder, e.g. results/whisper_ft/1234")
TRUST = typer.Option(False, "--trust", help="Run whatever the folder's YAML says, also what may do harm")


def load_run(folder: Path, trusted: bool = False):
    """Brain of a run with its best weights loaded, its values, and its manifest folder.

    Raises
    ------
    ValueError
        For a folder that is not `trusted` and wants more than a run's folder may; see `run_folder.load`.
    """
    sys.path.insert(0, str(Path.cwd()))  # recipes/ and local/ belong to the checkout and are never installed
    import transformers

    from carryover.runs import identity, run_folder
    from carryover.training.checkpoint import Checkpointer

    transformers.logging.set_verbosity_error()  # generate warns at every call of arguments that it passes itself
    with contextlib.redirect_stdout(sys.stderr):  # what is said of the loading is no part of a command's result
        if trusted:
            print(f"--trust: what {folder}'s YAML says is run without a look at it")
        hparams = run_folder.load(folder, trusted)
        checkpointer = Checkpointer(folder / "save", clean=False, belongs_to=identity.of_run(folder))
        brain = hparams["brain"](hparams["modules"], None, hparams, {}, checkpointer)
        brain.evaluation.load_best()
    return brain, hparams, folder / "manifests"


def set_beams(brain, beams: int | None) -> None:
    """Decode with another beam size than the run's test."""
    if beams is None:
        return
    if not hasattr(brain.hparams, "test_beams"):
        raise ValueError("--beams: this recipe has no test_beams; its decoder is a line of the YAML")
    brain.hparams.test_beams = beams
