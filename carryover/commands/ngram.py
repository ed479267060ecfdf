"""`carryover ngram RUN`"""

import contextlib
import importlib.util
import sys
from pathlib import Path

import typer

from carryover.commands.load import RUN, TRUST, load_run
from carryover.commands.options import numbers_in


def ngram(
    folder: Path = RUN,
    order: int = typer.Option(3, min=1, max=6, help="Words of the longest n-gram"),
    text: list[Path] = typer.Option([], help="More text, a sentence a line, perhaps several times"),
    alphas: str = typer.Option("0.2,0.4,0.6,0.8,1.0", help="Weights of the language model to try"),
    betas: str = typer.Option("0,0.5,1,1.5,2", help="Worths of a word to try"),
    beams: int = typer.Option(50, min=1, help="Texts kept after each frame"),
    utterances: int = typer.Option(500, min=1, help="Validation utterances to tune on, at most"),
    out: Path = typer.Option(None, help="Folder to write; default: RUN/ngram"),
    trust: bool = TRUST,
) -> None:
    """Let an n-gram model of the training text help a CTC run: tuned on validation, tested beside greedy decoding.

    Needs the extra lm (kenlm). Writes the model (lm.arpa), ngram.json and predictions into OUT.
    """
    if missing := [name for name in ("kenlm", "pygtrie") if importlib.util.find_spec(name) is None]:
        raise ImportError(f"carryover ngram needs {' and '.join(missing)}: pip install -e '.[lm]'")
    weights = {"--alphas": numbers("--alphas", alphas), "--betas": numbers("--betas", betas)}
    for path in text:
        if not path.is_file():
            raise ValueError(f"--text {path}: no such file; expected a text with a sentence a line")
    brain, hparams, manifests = load_run(folder, trust)
    from carryover.commands import fusion

    fusion.require_spelling(brain, folder)
    out = out or folder / "ngram"
    with contextlib.redirect_stdout(sys.stderr):
        found = fusion.fuse(
            brain, manifests, hparams["language"], out, order=order, more=text, alphas=weights["--alphas"],
            betas=weights["--betas"], beams=beams, most=utterances,
        )  # fmt: skip
    typer.echo(fusion.table(found))
    decoder = f"lm: {out / 'lm.arpa'}, alpha: {found['alpha']:g}, beta: {found['beta']:g}, beam_size: {beams}"
    typer.echo(
        "\nTo test a run with it:\n  --decoder '!new:carryover.decoding.BeamSearch {tokenizer: !ref <tokenizer>, "
        f"{decoder}}}'\n{out / 'ngram.json'} has every pair."
    )


def numbers(name: str, given: str) -> list[float]:
    """Numbers of 0 or more with commas between them, or ValueError."""
    found = numbers_in(given)
    if not found or min(found) < 0:
        raise ValueError(f"{name}: '{given}'; expected numbers of 0 or more, e.g. 0.4,0.8")
    return found
