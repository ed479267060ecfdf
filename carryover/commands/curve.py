"""`carryover curve SWEEP...`"""

from pathlib import Path

import typer


def curve(
    outs: list[Path] = typer.Argument(metavar="SWEEP...", help="Folders of sweeps over preset and lambda"),
    figure: Path = typer.Option(None, help="Draw FIGURE.svg, .pdf and .png, numbers in FIGURE.csv"),
) -> None:
    """Print forgetting and WER over lambda, and the lambda that validation chooses; draw them if wished."""
    from carryover.report.figures import curve

    lines, points, key, unfinished = curve.find(outs)
    found = curve.curves(lines, points, key)
    typer.echo(found.markdown())
    if unfinished:
        typer.echo(f"\nNot in it, not finished: {', '.join(map(str, unfinished))}")
    if figure:
        typer.echo(f"\nWrote {', '.join(map(str, curve.figure(found, figure)))}")
