"""`carryover transcribe RUN AUDIO...`"""

from pathlib import Path

import typer

from carryover import files
from carryover.commands import adapter
from carryover.commands.load import RUN, TRUST, load_run, set_beams


def transcribe(
    folder: Path = RUN,
    paths: list[Path] = typer.Argument(metavar="AUDIO...", help="Recordings, or folders of them"),
    out: Path = typer.Option(None, help="File to write; default: the screen"),
    format_: str = typer.Option(None, "--format", help="csv, json, txt, srt or vtt; default: by the ending of --out"),
    vad: bool = typer.Option(False, "--vad", help="Find speech first (extra: vad): recordings of any length; silence "
                             "has no words; srt and vtt need it"),
    language: str = typer.Option(None, help="What is spoken; default: the run's language"),
    beams: int = typer.Option(None, help="Beam size, where the recipe has one; default: the run's test_beams"),
    adapters: list[str] = adapter.OPTION,
    trust: bool = TRUST,
) -> None:  # fmt: skip
    """Write down recordings with the run's best weights: audio, duration in seconds, text; what is refused is said."""
    from carryover.commands import transcription, transcripts

    kind = format_ or (out.suffix[1:] if out else "") or "csv"
    if kind not in transcripts.FORMATS:
        where = "--format" if format_ else f"--out {out}"
        raise ValueError(
            f"{where}: '{kind}' is no format of transcripts; give --format {', '.join(transcripts.FORMATS)}"
        )
    if kind in transcripts.TIMED and not vad:
        raise ValueError(f"--format {kind} needs times; give --vad, too")
    asked = adapter.asked(adapters)
    brain, hparams, _ = load_run(folder, trust)
    set_beams(brain, beams)
    adapter.Adapters(brain, asked).use(language or hparams["language"])
    recordings = transcription.find(paths, brain.endings)
    if kind in transcripts.TIMED and len(recordings) > 1:
        raise ValueError(f"--format {kind}: {len(recordings)} recordings, but subtitles are of one; give one at a time")
    language, batch_size = language or hparams["language"], hparams["eval_batch_size"]
    if vad:
        rows, refused = transcription.transcribe_speech(brain, hparams["limits"], recordings, language, batch_size)
    else:
        rows, refused = transcription.transcribe(
            brain, hparams["limits"], recordings, language, batch_size, hparams["num_workers"]
        )
    text = transcripts.written(rows, kind)
    if out:
        files.write(out, text)
    else:
        typer.echo(text, nl=False)
    typer.echo(f"{len(rows)} of {len(recordings)} files transcribed" + (f" into {out}" if out else ""), err=True)
    for path, reason in refused.items():
        beside = reason.startswith(transcription.NO_RECORDING)
        hint = "; --vad takes recordings of any length" if "audio is longer than" in reason else ""
        typer.echo(f"{reason.split(':')[0]}: {path}" if beside else f"refused: {path}: {reason}{hint}", err=True)
    raise typer.Exit(int(not all(reason.startswith(transcription.NO_RECORDING) for reason in refused.values())))
