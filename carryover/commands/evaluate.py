"""`carryover evaluate RUN`"""

from pathlib import Path

import typer

from carryover.commands.load import RUN, load_run, set_beams


def evaluate(
    folder: Path = RUN,
    test: Path = typer.Option(None, help="A manifest CSV; default: the test sets of the run"),
    beams: int = typer.Option(None, help="Beam size; default: the run's test_beams"),
) -> None:
    """Test the run's best weights again; predictions go to RUN/predictions_*_evaluate.csv."""
    from carryover.stats import error_rates

    brain, hparams, manifests = load_run(folder)
    set_beams(brain, beams)
    sets = [test] if test else sorted(manifests.glob("*/test.csv"))
    loader = {"batch_size": hparams["eval_batch_size"], "num_workers": hparams["num_workers"]}
    results = []
    for path in sets:
        name = f"{path.stem}_{path.parent.name}"
        found, rows = brain.evaluate(brain.read(path), test_loader_kwargs=loader, name=name, weights="evaluate")
        results.append(found | {"language": "+".join(sorted({row["language"] for row in rows})), "weights": "best"})
    typer.echo(error_rates.before_after(results, hparams["normaliser"].name))
