"""`carryover transcribe MODEL AUDIO...`"""

import contextlib
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import typer

from carryover import files
from carryover.commands import adapter
from carryover.commands.load import SOURCE, TRUST, load_any, set_beams
from carryover.data.table import found_at

DETECT = "detect"  # as a language: the one that the model hears
STDIN = "-"


def transcribe(
    source: str = SOURCE,
    paths: list[Path] = typer.Argument(metavar="AUDIO...", help="Recordings, folders of them, or - for one that comes "
                                       "through a pipe"),
    out: Path = typer.Option(None, help="File to write; default: the screen"),
    format_: str = typer.Option(None, "--format", help="csv, json, txt, srt or vtt; default: by the ending of --out"),
    vad: bool = typer.Option(False, "--vad", help="Find speech first (extra: vad): recordings of any length; silence "
                             "has no words"),
    words: bool = typer.Option(False, "--words", help="Say when each word is said, in json, srt and vtt"),
    language: str = typer.Option(None, help=f"What is spoken, or '{DETECT}' (Whisper); default: the "
                                 "language that the model was trained for, where it is known"),
    hotwords: str = typer.Option(None, help="Names and terms that are likely to come (Whisper): 'Zwolle, IJssel'"),
    beams: int = typer.Option(None, min=1, help="Beam size, where the recipe has one; default: the run's test_beams"),
    adapters: list[str] = adapter.OPTION,
    trust: bool = TRUST,
) -> None:  # fmt: skip
    """Write down recordings: audio, duration in seconds, text; what is refused is said."""
    from carryover.commands import transcription, transcripts

    kind = format_ or (out.suffix[1:] if out else "") or "csv"
    if kind not in transcripts.FORMATS:
        where = "--format" if format_ else f"--out {out}"
        raise ValueError(
            f"{where}: '{kind}' is no format of transcripts; give --format {', '.join(transcripts.FORMATS)}"
        )
    subtitles = kind in transcripts.SUBTITLES
    if subtitles and not (vad or words):
        raise ValueError(f"--format {kind} needs times; give --vad (of segments) or --words, too")
    if words and not subtitles and kind != "json":
        raise ValueError(f"--words: {kind} has no place for times; give --format json, srt or vtt")
    if out and out.exists() and not out.is_file():
        raise ValueError(f"--out {out}: {found_at(out)}; expected the name of a file")
    asked = adapter.asked(adapters)
    brain, hparams, _ = load_any(source, trust, None if language == DETECT else language)
    set_beams(brain, beams)
    language = None if language == DETECT else language or hparams["language"]
    if hotwords:
        brain.expect(hotwords)
    bank = adapter.Adapters(brain, asked)
    if language is not None:
        bank.use(language)
    listener = transcription.Listener(
        brain, hparams["limits"], language, hparams["eval_batch_size"], hparams["num_workers"], words, bank
    )
    with _from_pipe(paths) as (paths, names):
        recordings = transcription.find(paths, brain.endings)
        if subtitles and len(recordings) > 1:
            raise ValueError(f"--format {kind}: {len(recordings)} recordings, but subtitles are of one; give one")
        rows, refused = (listener.speech if vad else listener.clips)(recordings)
    for row in rows:
        row["audio"] = names.get(row["audio"], row["audio"])
    if rows:
        text = transcripts.written(rows, kind)
        if out:
            files.write(out, text)
        else:
            typer.echo(text, nl=False)
    _say(rows, {names.get(str(path), path): reason for path, reason in refused.items()}, out)
    faults = [reason for reason in refused.values() if not reason.startswith(transcription.NO_RECORDING)]
    raise typer.Exit((1 if rows else 2) if faults else 0)


def _say(rows: Sequence[dict], refused: dict, out: Path | None) -> None:
    """How many recordings were transcribed, and what became of the others."""
    from carryover.commands.transcription import NO_RECORDING

    into = f" into {out}" if out and rows else ""
    typer.echo(f"{len(rows)} of {len(rows) + len(refused)} files transcribed{into}", err=True)
    for row in rows:
        if "reason" in row:
            typer.echo(f"no words: {row['audio']}: {row['reason']}", err=True)
    for path, reason in refused.items():
        beside = reason.startswith(NO_RECORDING)
        hint = "; --vad takes recordings of any length" if "audio is longer than" in reason else ""
        typer.echo(f"{NO_RECORDING}: {path}" if beside else f"refused: {path}: {reason}{hint}", err=True)


@contextlib.contextmanager
def _from_pipe(paths: Sequence[Path]) -> Iterator[tuple[list[Path], dict[str, str]]]:
    """Within, what comes through a pipe is a file; -> the paths with it, and what it is called."""
    if Path(STDIN) not in paths:
        yield list(paths), {}
        return
    with tempfile.TemporaryDirectory() as folder:
        piped = Path(folder) / "recording"
        files.write(piped, sys.stdin.buffer.read())
        yield [piped if path == Path(STDIN) else path for path in paths], {str(piped): STDIN}
