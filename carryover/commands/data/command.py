"""`carryover data MANIFEST...`"""

from pathlib import Path

import typer

from carryover.commands.manifests import require_below, run_of


def data(
    manifests: list[Path] = typer.Argument(
        metavar="MANIFEST...", help="Manifests, folders of them (results/NAME/1/manifests/nl) or run folders"
    ),
    figure: Path = typer.Option(None, help="Draw lengths as FIGURE.svg, .pdf and .png, numbers in FIGURE.csv"),
    page: Path = typer.Option(None, help="Write a page (PAGE.html) with clips of each split, to listen to"),
    clips: int = typer.Option(
        20, min=1, help="Clips of each split on the page: longest, shortest, fastest, and a draw"
    ),
    lhotse: Path = typer.Option(None, help="Write the manifests as lhotse's into this folder"),
    trust: bool = typer.Option(False, "--trust", help="Open recordings outside of a run's data folders, too"),
) -> None:
    """Print what manifests hold: hours, speakers, lengths, characters, rejects, and what their splits share."""
    from carryover.commands.data import lengths, listening
    from carryover.data import account
    from carryover.data import lhotse as lhotse_manifests

    if (page or lhotse) and not trust:  # which open the recordings
        for file in account.lists(manifests).values():
            if run := run_of(file):
                require_below(file, run)
    splits = account.read(manifests)
    for line in lengths.tables(splits, account.rejects(manifests)):
        typer.echo(line)
    if figure:
        typer.echo(f"\nWrote {', '.join(map(str, lengths.figure(splits, figure)))}")
    if page:
        typer.echo(f"\n{listening.write(splits, page, clips)}")
    if lhotse:
        for name, rows in splits.items():
            found = lhotse_manifests.write(rows, lhotse, name.replace("/", "_"))
            typer.echo(f"Wrote {name}: {found[0]} recordings and {found[1]} supervisions in {lhotse}")
