"""`carryover evaluate RUN`"""

import contextlib
import sys
import tempfile
from pathlib import Path

import typer

from carryover.commands.load import RUN, TRUST, load_run, set_beams


def evaluate(
    folder: Path = RUN,
    test: Path = typer.Option(None, help="A list (CSV, TSV, JSONL) of recordings and texts; default: the run's tests"),
    beams: int = typer.Option(None, help="Beam size; default: the run's test_beams"),
    trust: bool = TRUST,
) -> None:
    """Test the run's best weights again; predictions go to RUN/predictions_*_evaluate.csv."""
    from carryover.commands import test_sets
    from carryover.data import manifest
    from carryover.stats import error_rates

    if test is None and not any(folder.glob("manifests/*/test.csv")) and (folder / "save").is_dir():
        raise FileNotFoundError(
            f"{folder}: no manifests/*/test.csv; repeat the run's command, which makes them, or give a list: --test"
        )
    if test is not None:
        test_sets.require_list(test)
    brain, hparams, manifests = load_run(folder, trust)
    set_beams(brain, beams)
    loader = {"batch_size": hparams["eval_batch_size"], "num_workers": hparams["num_workers"]}
    results = []
    with tempfile.TemporaryDirectory() as made, contextlib.redirect_stdout(sys.stderr):
        sets = [test_sets.prepare(test, hparams, Path(made))] if test else sorted(manifests.glob("*/test.csv"))
        for path in sets:
            if not test and not trust:
                test_sets.require_below(path, hparams)
            name = f"{(test or path).stem}_{(test or path).absolute().parent.name}"
            out = folder / f"predictions_{name}_evaluate.csv"
            if out.is_symlink():
                raise ValueError(f"{out}: a link; what it leads to would be overwritten. Remove it")
            found, rows = brain.evaluate(brain.read(path), test_loader_kwargs=loader, name=name, weights="evaluate")
            results.append(found | {"language": "+".join(sorted({r["language"] for r in rows})), "weights": "best"})
    left_out = {} if test else manifest.left_out(manifests)  # of a list of one's own it is printed
    typer.echo(error_rates.before_after(results, hparams["normaliser"].name, left_out))
