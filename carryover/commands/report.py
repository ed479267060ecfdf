"""`carryover report RESULTS...`"""

from pathlib import Path

import typer


def report(
    results: list[Path] = typer.Argument(metavar="RESULTS...", help="Run folders, or folders with runs below them"),
    out: Path = typer.Option("report", help="Folder to write"),
    rate: float = typer.Option(None, help="Money an hour of the machine costs, for the table of costs"),
    grid: list[str] = typer.Option([], metavar="ROWS,COLUMNS,METRIC", help="A pivot, e.g. 'lr,batch_size,test WER'"),
    clips: bool = typer.Option(False, "--clips", help="Embed the audio of the worst utterances into the page"),
    workers: int = typer.Option(2, min=1, help="Processes that read runs"),
    baseline: str = typer.Option("plain", help="Method that the tables compare the others with"),
) -> None:
    """Make a thesis's tables (CSV, Markdown, LaTeX), figures, methods paragraph and one page from run folders."""
    from carryover.report import build

    grids = [tuple(part.strip() for part in text.split(",")) for text in grid]
    if wrong := [text for text, parts in zip(grid, grids, strict=True) if len(parts) != 3]:
        raise typer.BadParameter(
            f"--grid '{wrong[0]}': expected two keys of the YAML and a metric, with commas between"
        )
    made = build.report(results, out, rate, grids, clips, workers, baseline)
    typer.echo(made.said())
    raise typer.Exit(int(bool(made.unreadable)))  # the others are in it
