"""`carryover sequence PLAN --out FOLDER`"""

from pathlib import Path

import typer

from carryover.commands.completion import plans


def sequence(
    context: typer.Context,
    path: str = typer.Argument(
        metavar="PLAN", autocompletion=plans, help="Plan of the sequence, e.g. studies/sequence.yaml"
    ),
    out: Path = typer.Option(None, help="Folder of its runs; default: results/NAME_OF_PLAN"),
    jobs: int = typer.Option(1, help="Runs at a time"),
) -> None:
    """Learn several languages one after the other, by each method, with a table by stage; the same command goes on."""
    from carryover.commands.sequence import sequence

    raise typer.Exit(sequence.sequence(path, out or Path("results") / Path(path).stem, jobs, context.args))
