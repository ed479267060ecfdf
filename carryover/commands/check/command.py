"""`carryover check YAML`"""

import sys
from pathlib import Path

import typer

from carryover.commands.completion import yamls


def check(
    context: typer.Context,
    path: str = typer.Argument(
        metavar="YAML", autocompletion=yamls, help="An experiment; more arguments are those of train.py"
    ),
    measure: bool = typer.Option(False, "--measure", help="Also try 13 updates and score some clips"),
    rate: float = typer.Option(None, help="Money an hour of the machine costs, for --measure"),
) -> None:
    """Look for mistakes before a long run: settings, data, optimisation, evaluation, checkpoints; status 1 for a FAIL.

    Recordings are not decoded; train.py does that. Nothing of the run's folder is touched.
    """
    sys.path.insert(0, str(Path.cwd()))  # recipes/ and local/ belong to the checkout and are never installed
    import transformers

    from carryover.commands.check import checklist

    transformers.logging.set_verbosity_error()
    raise typer.Exit(checklist.check([path, *context.args], measure, typer.echo, rate))
