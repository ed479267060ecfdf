"""What commands on a run folder share: its best weights, loaded."""

import contextlib
import sys
from pathlib import Path

import typer

from carryover.commands.manifests import Manifests

RUN = typer.Argument(help="Run folder, e.g. results/whisper_ft/1234")
SOURCE = typer.Argument(
    metavar="MODEL", help="Run folder, a model's folder (Whisper, CTC; e.g. an exported one), or its name on the hub"
)
TRUST = typer.Option(False, "--trust", help="Run whatever the folder's YAML says, also what may do harm")


def load_run(folder: Path, trusted: bool = False):
    """Brain of a run with its best weights loaded, its values, and its `Manifests`.

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
        if not run_folder.finished(folder):
            print(f"{folder}: this run has not come to its end; these are the best weights that it has so far")
    return brain, hparams, Manifests(folder, trusted)


WHISPER, CTC = "hparams/whisper_real.yaml", "hparams/ctc_real.yaml"  # how a model is heard that no run belongs to
GENERATED = 225  # tokens of an answer, where the model has room for them
UNKNOWN = "und"  # the code of a language that nobody names


def load_any(source: str, trusted: bool, language: str | None = None, out: Path | None = None):
    """As `load_run`, also of a model that no run belongs to: a Whisper, or one with a head for CTC.

    Parameters
    ----------
    source : str
        A run's folder; a folder in transformers' format, or a name on the hub.
    language : str, optional
        What is spoken; of a model without one it is that of its generation settings, if any, and None for a Whisper
        whose settings have none.
    out : Path, optional
        Where predictions go.

    Raises
    ------
    ValueError
        For another model, one without a head, and for a language that it does not know.
    """
    folder = Path(source)
    if not is_model(source):
        return load_run(folder, trusted)
    sys.path.insert(0, str(Path.cwd()))
    import transformers

    from carryover import checksums
    from carryover.experiment import Experiment
    from carryover.models.kinds import require_ctc

    transformers.logging.set_verbosity_error()
    asked: dict = {"model": source, "data_folder": source, "output_folder": str(out or source), "num_workers": 0}
    asked |= {"train": "none", "keep_states": "null"}  # nothing is learned, and states of one hearing are of no use
    config = require_ctc(source)
    checksums.require_whole("model", source)
    if config["model_type"] == "whisper" and "WhisperForCTC" not in (config.get("architectures") or []):
        yaml, (language, more) = WHISPER, _generation(source, language, config.get("max_target_positions", 448))
        asked |= more
    else:
        yaml, language = CTC, language or UNKNOWN
        asked |= {"alphabet": _alphabet(source), "layerdrop": 0.0, "mask_time_prob": 0.0}
    asked["language"] = language or UNKNOWN
    with contextlib.redirect_stdout(sys.stderr):
        experiment, _ = Experiment.parse([yaml, *(word for key, x in asked.items() for word in (f"--{key}", str(x)))])
        hparams = experiment.hparams
        brain = hparams["brain"](hparams["modules"], None, hparams, {}, None)
    return brain, hparams | {"language": language}, Manifests(folder, trusted)


def is_model(source: str) -> bool:
    """Whether a source is a model by itself: a folder in transformers' format that is no run's, or a hub's name."""
    folder = Path(source)
    if folder.exists():
        return not (folder / "as_written.yaml").exists() and (folder / "config.json").is_file()
    return source.count("/") == 1 and not source.startswith((".", "/", "~", "results/"))


def _alphabet(source: str) -> str:
    """The characters that a CTC model's head can write."""
    from carryover.models.ctc_head import old_symbols

    if (symbols := old_symbols(source)) is None:
        raise ValueError(f"{source}: the model has no head for CTC, or no vocab.json that says what it writes")
    return "".join({char for label in symbols.labels if len(char := label.strip("▁ ")) == 1})


def _generation(source: str, language: str | None, positions: int) -> tuple[str | None, dict]:
    """What a Whisper's generation settings say: the language where none is asked for, limit and beams of an answer."""
    from transformers import GenerationConfig
    from transformers.models.whisper.tokenization_whisper import TO_LANGUAGE_CODE

    from carryover.models.whisper import Tokenizer

    try:
        config = GenerationConfig.from_pretrained(source)
    except OSError:  # it has none
        config = GenerationConfig()
    tokenizer, where = Tokenizer(source), ""
    if language is None and (named := config.to_dict().get("language")):
        # <|de|>, de or german: transformers takes all of them
        language, where = named.strip("<|>").lower(), f"{source}/generation_config.json: "
        language = TO_LANGUAGE_CODE.get(language, language)
    if language is not None:
        try:
            tokenizer.code(language)  # before anything is written
        except ValueError as error:
            raise ValueError(f"{where}{error}") from None
    longest = min(positions, config.max_length or positions) - tokenizer.prompt_length
    if longest < 1:
        raise ValueError(
            f"{source}/generation_config.json: max_length: {config.max_length}; expected more than the "
            f"{tokenizer.prompt_length} tokens of a prompt, e.g. {positions}; correct it"
        )
    return language, {"generation_length": min(longest, GENERATED), "test_beams": config.num_beams or 1}


def set_beams(brain, beams: int | None) -> None:
    """Decode with another beam size than the run's test."""
    if beams is None:
        return
    if not hasattr(brain.hparams, "test_beams"):
        raise ValueError("--beams: this recipe has no test_beams; its decoder is a line of the YAML")
    brain.hparams.test_beams = beams
