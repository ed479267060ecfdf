"""`carryover sweep YAML --set KEY=A,B,C --seeds 1,2,3`"""

from pathlib import Path

import typer

from carryover.commands.completion import yamls


def sweep(
    context: typer.Context,
    path: str = typer.Argument(
        metavar="YAML", autocompletion=yamls, help="Experiment, e.g. hparams/german_adaptation.yaml"
    ),
    sets: list[str] = typer.Option(
        ..., "--set", metavar="KEY=A,B,C", help="Values of a key, or of preset; several --set make a grid"
    ),
    seeds: str = typer.Option(..., help="Seeds of every cell, e.g. 1,2,3"),
    jobs: int = typer.Option(1, help="Runs at a time"),
    out: Path = typer.Option(None, help="Folder of the runs; default: OUTPUT_ROOT/<name of the YAML>_sweep"),
    baseline: str = typer.Option("plain", help="Method that the table compares the others with"),
    report: bool = typer.Option(False, "--report", help="Make a report of the runs, too: OUT/report"),
) -> None:
    """Run a grid and make its table; the same command goes on where it stopped, and given on several machines that
    share OUT it shares the runs among them. Other --key value go to all runs."""
    from carryover.commands.sweep import sweep

    raise typer.Exit(sweep.sweep(path, sets, seeds, jobs, out, context.args, baseline=baseline, report=report))
