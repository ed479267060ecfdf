"""`carryover compare RUN_A RUN_B`"""

from pathlib import Path

import typer


def compare(
    a: Path = typer.Argument(metavar="RUN_A", help="Run folder, e.g. results/german_adaptation/1234"),
    b: Path = typer.Argument(metavar="RUN_B", help="Run folder that is compared with it"),
    weights: str = typer.Option("best", help="Of both runs: best, before, last or average_<share>"),
    utterances: int = typer.Option(10, min=0, help="Utterances shown for each test set, those that differ most"),
) -> None:
    """Print what two runs were set differently and whether one is better on the same test utterances."""
    from carryover.report import compare

    typer.echo(compare.compare(a, b, weights, utterances).markdown())
