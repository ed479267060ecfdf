"""`carryover transcribe RUN AUDIO...`"""

import sys
from pathlib import Path

import typer

from carryover import files
from carryover.commands.load import RUN, TRUST, load_run, set_beams


def transcribe(
    folder: Path = RUN,
    paths: list[Path] = typer.Argument(metavar="AUDIO...", help="Recordings, or folders of them"),
    out: Path = typer.Option(None, help="CSV to write; default: the screen"),
    language: str = typer.Option(None, help="What is spoken; default: the run's language"),
    beams: int = typer.Option(None, help="Beam size, where the recipe has one; default: the run's test_beams"),
    trust: bool = TRUST,
) -> None:
    """Write down recordings with the run's best weights: audio, duration in seconds, text; what is refused is said."""
    from carryover.commands import transcription

    brain, hparams, _ = load_run(folder, trust)
    set_beams(brain, beams)
    recordings = transcription.find(paths, brain.endings)
    rows, refused = transcription.transcribe(
        brain, hparams["limits"], recordings, language or hparams["language"], hparams["eval_batch_size"],
        hparams["num_workers"],
    )  # fmt: skip
    if out:
        with files.writing(out) as file:
            transcription.write(rows, file)
    else:
        transcription.write(rows, sys.stdout)
    typer.echo(f"{len(rows)} of {len(recordings)} files transcribed" + (f" into {out}" if out else ""), err=True)
    for path, reason in refused.items():
        beside = reason.startswith(transcription.NO_RECORDING)
        typer.echo(f"{reason.split(':')[0]}: {path}" if beside else f"refused: {path}: {reason}", err=True)
    raise typer.Exit(int(not all(reason.startswith(transcription.NO_RECORDING) for reason in refused.values())))
