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
    from carryover.training.recipe import reads_of

    transformers.logging.set_verbosity_error()  # generate warns at every call of arguments that it passes itself
    with contextlib.redirect_stdout(sys.stderr):  # what is said of the loading is no part of a command's result
        if trusted:
            print(f"--trust: what {folder}'s YAML says is run without a look at it")
        hparams = run_folder.load(folder, trusted)
        where = str(folder / run_folder.AS_WRITTEN)
        lacking = {"modules", *reads_of(hparams.get("brain"), where)} - hparams.keys()
        if lacking:
            raise ValueError(
                f"{where} lacks the keys {', '.join(sorted(lacking))}, read by name; "
                "it was edited, or made by an early version: repeat the run's command, which writes it again"
            )
        checkpointer = Checkpointer(folder / "save", clean=False, belongs_to=identity.of_run(folder))
        brain = hparams["brain"](hparams["modules"], None, hparams, {}, checkpointer)
        brain.evaluation.load_best()
    return brain, hparams, folder / "manifests"


WHISPER = "hparams/whisper_real.yaml"  # how a Whisper is heard that no run belongs to
GENERATED = 225  # tokens of an answer, where the model has room for them


def load_any(folder: Path, trusted: bool, language: str | None, out: Path | None, listed: bool):
    """As `load_run`, also of a folder that holds a Whisper model and no run.

    Parameters
    ----------
    language : str, optional
        What is spoken; a model folder must be told.
    out : Path, optional
        Where predictions go; a model folder must be told.
    listed : bool
        Whether test sets are given; a model folder has none of its own.

    Raises
    ------
    ValueError
        For a model folder where one of these is not given, for another model than a Whisper, and for a language
        that it does not know.
    """
    if (folder / "as_written.yaml").exists() or not (folder / "config.json").is_file():
        return load_run(folder, trusted)
    for name, given in (("--language", language), ("--out", out), ("--test", listed)):
        if not given:
            raise ValueError(f"{folder} is a model folder, not a run's; give {name}, too")
    sys.path.insert(0, str(Path.cwd()))
    import transformers

    from carryover.experiment import Experiment
    from carryover.models.kinds import require_whisper
    from carryover.models.whisper import Tokenizer

    transformers.logging.set_verbosity_error()
    require_whisper(str(folder))
    Tokenizer(str(folder)).code(language)  # before anything is written
    asked = {"model": folder, "language": language, "data_folder": folder, "output_folder": out}
    asked |= {"train": "none", "keep_states": "null"}  # nothing is learned, and states of one hearing are of no use
    longest = transformers.AutoConfig.from_pretrained(folder).max_target_positions - 4  # a prompt's tokens
    asked["generation_length"] = min(longest, GENERATED)
    with contextlib.redirect_stdout(sys.stderr):
        experiment, _ = Experiment.parse(
            [WHISPER, *(word for key, x in asked.items() for word in (f"--{key}", str(x)))]
        )
        hparams = experiment.hparams
        brain = hparams["brain"](hparams["modules"], None, hparams, {}, None)
    return brain, hparams, folder / "manifests"


def set_beams(brain, beams: int | None) -> None:
    """Decode with another beam size than the run's test."""
    if beams is None:
        return
    if not hasattr(brain.hparams, "test_beams"):
        raise ValueError("--beams: this recipe has no test_beams; its decoder is a line of the YAML")
    brain.hparams.test_beams = beams
