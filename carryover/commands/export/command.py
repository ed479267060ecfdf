"""`carryover export RUN`"""

import sys
from pathlib import Path

import typer

from carryover import files
from carryover.commands.load import RUN, TRUST, load_run
from carryover.commands.manifests import Manifests

CLIPS = 8


def export(
    folder: Path = RUN,
    to: str = typer.Option("hf", help="Format: hf (transformers), ctranslate2 (also faster-whisper) or onnx"),
    out: Path = typer.Option(..., help="Folder to write; empty or not there"),
    quantization: str = typer.Option(None, help="Of ctranslate2: int8 or float16; default: float32"),
    parity: int = typer.Option(CLIPS, help="Clips of the run's test list that the export has to decode as the run "
                               "does; 0: none"),
    license: str = typer.Option("unknown", help="The model's licence, in the hub's words, for its card"),
    push: str = typer.Option(None, metavar="OWNER/NAME", help="Upload to this repository of the hub, too"),
    dry_run: bool = typer.Option(False, "--dry-run", help="Say what --push would upload, and upload nothing"),
    trust: bool = TRUST,
) -> None:  # fmt: skip
    """Write the run's best weights for other programs, compared with the run's own decoding, with a model card.

    A sign model and a speech LLM's projector: as this project loads them. Status 1 where the export decodes otherwise
    than the run; nothing is written then.
    """
    from carryover.commands.export.asked import Asked

    asked = Asked(to, quantization, parity, license, push, dry_run)
    asked.require_possible(out)
    from carryover import checksums
    from carryover.commands.export import card, formats
    from carryover.commands.export import parity as compare
    from carryover.commands.export import push as hub

    brain, hparams, manifests = load_run(folder, trust)
    asked.require_model(brain, folder)
    try:
        with files.made_folder(out) as made:
            formats.write(brain, asked, made)
            said = _compared(brain, hparams, asked, made, manifests)
            card.write(made, folder, brain, asked, said)
            checksums.seal(made)
    except compare.Different as error:
        print(f"error: {error}", file=sys.stderr)
        raise typer.Exit(1) from None
    typer.echo(f"Parity: {said}")
    typer.echo(f"Wrote {out}: {', '.join(sorted(p.name for p in out.iterdir()))}")
    if push:
        typer.echo((hub.told if dry_run else hub.push)(out, push, license))


def _compared(brain, hparams: dict, asked, folder: Path, manifests: Manifests) -> str:
    """What the parity check found, in a sentence."""
    from carryover.commands.export import formats, parity

    if not asked.parity:
        return "not checked (--parity 0)"
    decoders = formats.decoders(brain, asked, folder)
    if decoders.tokens is None:
        return "not checked: no other program than this one decodes such a model"
    try:
        tests = manifests.path(hparams["language"], "test")
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{error}; or leave the check out: --parity 0") from None
    exact = asked.quantization is None
    return parity.check(brain, decoders, tests, asked.parity, asked.name, exact)
