"""`carryover study PLAN --out FOLDER`"""

from pathlib import Path

import typer

from carryover.commands.completion import plans


def study(
    context: typer.Context,
    path: str = typer.Argument(
        metavar="PLAN", autocompletion=plans, help="Plan of the study, e.g. studies/real_dutch.yaml"
    ),
    out: Path = typer.Option(None, help="Folder of its runs; default: results/NAME_OF_PLAN"),
    jobs: int = typer.Option(1, help="Runs at a time"),
) -> None:
    """Compare methods, each with the same number of trials, chosen on validation; the same command goes on."""
    from carryover.commands.study import study

    raise typer.Exit(study.study(path, out or Path("results") / Path(path).stem, jobs, context.args))
