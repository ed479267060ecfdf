"""`carryover evaluate RUN`"""

import contextlib
import sys
import tempfile
import time
from pathlib import Path

import typer

from carryover.commands.load import TRUST, load_any, set_beams


def evaluate(
    folder: Path = typer.Argument(help="Run folder, or the folder of a Whisper model (hub format, or an export)"),
    test: list[Path] = typer.Option(
        [],
        help="A list (CSV, TSV, JSONL) of recordings and texts; may be given several times; default: the run's tests",
    ),
    normaliser: str = typer.Option("run", help="Of the rates: run (the run's own), ours, whisper, raw"),
    language: str = typer.Option(None, help="What is spoken, where a list does not say it; default: the run's"),
    out: Path = typer.Option(None, help="Folder of the predictions; default: the run's; a model folder needs one"),
    beams: int = typer.Option(None, help="Beam size; default: the run's test_beams, 1 of a model folder"),
    trust: bool = TRUST,
) -> None:
    """Test a run's best weights again, or a model; predictions go to OUT/predictions_*_evaluate*.csv."""
    from carryover.commands import scored, test_sets
    from carryover.data import manifest
    from carryover.stats import error_rates

    if not test and not any(folder.glob("manifests/*/test.csv")) and (folder / "save").is_dir():
        raise FileNotFoundError(
            f"{folder}: no manifests/*/test.csv; repeat the run's command, which makes them, or give a list: --test"
        )
    test_sets.require_lists(test)
    scored.require_normaliser(normaliser)
    brain, hparams, manifests = load_any(folder, trust, language, out, bool(test))
    set_beams(brain, beams)
    hparams |= {"language": language or hparams["language"]}
    loader = {"batch_size": hparams["eval_batch_size"], "num_workers": hparams["num_workers"]}
    evaluation, own = brain.evaluation, hparams["normaliser"]
    evaluation.folder, evaluation.normaliser = out or folder, scored.normaliser(normaliser, own, folder)
    weights = "evaluate" if normaliser == "run" else f"evaluate_{normaliser}"
    results = []
    with tempfile.TemporaryDirectory() as made, contextlib.redirect_stdout(sys.stderr):
        if test:
            sets = {path: test_sets.prepare(path, hparams, Path(made) / str(i)) for i, path in enumerate(test)}
        else:
            sets = {path: path for path in sorted(manifests.glob("*/test.csv"))}
        for path, listed in sets.items():
            if not test and not trust:
                test_sets.require_below(listed, hparams)
            name = test_sets.name_of(path)
            predictions = evaluation.folder / f"predictions_{name}_{weights}.csv"
            if predictions.is_symlink():
                raise ValueError(f"{predictions}: a link; what it leads to would be overwritten. Remove it")
            dataset, begun = brain.read(listed), time.perf_counter()
            found, rows = brain.evaluate(dataset, test_loader_kwargs=loader, name=name, weights=weights)
            seconds = time.perf_counter() - begun
            results.append(
                found | {
                    "set": error_rates.language_of(rows) if not test else name,
                    "real_time_factor": seconds / sum(float(row["duration"]) for row in rows),
                }
            )  # fmt: skip
    left_out = {} if test else manifest.left_out(manifests)  # of a list of one's own it is printed
    typer.echo(scored.table(results, evaluation.normaliser.name, left_out))
