"""`carryover evaluate|transcribe|export|watch RUN`, `sweep YAML`, `curve SWEEP`, `compare A B`, `report RESULTS`."""

import sys

import typer

from carryover.commands.compare import compare
from carryover.commands.curve import curve
from carryover.commands.evaluate import evaluate
from carryover.commands.export import export
from carryover.commands.report import report
from carryover.commands.sweep.command import sweep
from carryover.commands.transcribe import transcribe
from carryover.commands.watch import watch

app = typer.Typer(add_completion=False, no_args_is_help=True, help=__doc__, pretty_exceptions_enable=False)
<<<<<<< HEAD

RUN = typer.Argument(help="Run folder, e.g. results/whisper_ft/1234")


def load_run(folder: Path):
    """Brain of a run with its best weights loaded, its values, and its manifest folder."""
    sys.path.insert(0, str(Path.cwd()))  # recipes/ and local/ belong to the checkout and are never installed
    import transformers

    from carryover.runs import run_folder
    from carryover.training.checkpoint import Checkpointer

    transformers.logging.set_verbosity_error()  # generate warns at every call of arguments that it passes itself
    with contextlib.redirect_stdout(sys.stderr):  # what is said of the loading is no part of a command's result
        hparams = run_folder.load(folder)
        brain = hparams["brain"](hparams["modules"], None, hparams, {}, Checkpointer(folder / "save", clean=False))
        brain.evaluation.load_best()
    return brain, hparams, folder / "manifests"


@app.command()
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
    typer.echo(error_rates.before_after(results))


@app.command()
def transcribe(
    folder: Path = RUN,
    paths: list[Path] = typer.Argument(metavar="AUDIO...", help="Recordings, or folders of them"),
    out: Path = typer.Option(None, help="CSV to write; default: the screen"),
    language: str = typer.Option(None, help="What is spoken; default: the run's language"),
    beams: int = typer.Option(None, help="Beam size, where the recipe has one; default: the run's test_beams"),
) -> None:
    """Write down recordings with the run's best weights: audio, duration in seconds, text; what is refused is said."""
    from carryover.commands import transcription

    brain, hparams, _ = load_run(folder)
    set_beams(brain, beams)
    files = transcription.find(paths, brain.endings)
    rows, refused = transcription.transcribe(
        brain, hparams["limits"], files, language or hparams["language"], hparams["eval_batch_size"],
        hparams["num_workers"],
    )  # fmt: skip
    if out:
        with open(out, "w", newline="", encoding="utf-8") as file:
            transcription.write(rows, file)
    else:
        transcription.write(rows, sys.stdout)
    typer.echo(f"{len(rows)} of {len(files)} recordings transcribed" + (f" into {out}" if out else ""), err=True)
    for path, reason in refused.items():
        typer.echo(f"refused: {path}: {reason}", err=True)
    raise typer.Exit(int(bool(refused)))


def set_beams(brain, beams: int | None) -> None:
    """Decode with another beam size than the run's test."""
    if beams is None:
        return
    if not hasattr(brain.hparams, "test_beams"):
        raise ValueError("--beams: this recipe has no test_beams; its decoder is a line of the YAML")
    brain.hparams.test_beams = beams


@app.command()
def export(
    folder: Path = RUN,
    to: str = typer.Option("hf", help="Format: hf (transformers)"),
    out: Path = typer.Option(..., help="Folder to write"),
) -> None:
    """Write the run's best weights as transformers loads them (a sign model and a projector: as this project does)."""
    if to != "hf":
        raise typer.BadParameter(f"--to {to}: only hf is there so far")
    brain, _, _ = load_run(folder)
    brain.export(out)
    typer.echo(f"Wrote {out}: {', '.join(sorted(p.name for p in out.iterdir()))}")


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def sweep(
    context: typer.Context,
    path: str = typer.Argument(metavar="YAML", help="Experiment, e.g. hparams/german_adaptation.yaml"),
    sets: list[str] = typer.Option(
        ..., "--set", metavar="KEY=A,B,C", help="Values of a key, or of preset; several --set make a grid"
    ),
    seeds: str = typer.Option(..., help="Seeds of every cell, e.g. 1,2,3"),
    jobs: int = typer.Option(1, help="Runs at a time"),
    out: Path = typer.Option(None, help="Folder of the runs; default: OUTPUT_ROOT/<name of the YAML>_sweep"),
    baseline: str = typer.Option("plain", help="Method that the table compares the others with"),
    report: bool = typer.Option(False, "--report", help="Make a report of the runs, too: OUT/report"),
) -> None:
    """Run a grid and make its table; the same command goes on where it stopped. Other --key value go to all runs."""
    from carryover.commands import sweep

    raise typer.Exit(sweep.sweep(path, sets, seeds, jobs, out, context.args, baseline=baseline, report=report))


@app.command()
def curve(
    outs: list[Path] = typer.Argument(metavar="SWEEP...", help="Folders of sweeps over preset and lambda"),
    figure: Path = typer.Option(None, help="Draw FIGURE.png and FIGURE.svg, numbers in FIGURE.csv"),
) -> None:
    """Print forgetting and WER over lambda, and the lambda that validation chooses; draw them if wished."""
    from carryover.report import curve

    lines, points, key, unfinished = curve.find(outs)
    found = curve.curves(lines, points, key)
    typer.echo(found.markdown())
    if unfinished:
        typer.echo(f"\nNot in it, not finished: {', '.join(map(str, unfinished))}")
    if figure:
        typer.echo(f"\nWrote {', '.join(map(str, curve.figure(found, figure)))}")


@app.command()
def compare(
    a: Path = typer.Argument(metavar="RUN_A", help="Run folder, e.g. results/german_adaptation/1234"),
    b: Path = typer.Argument(metavar="RUN_B", help="Run folder that is compared with it"),
    weights: str = typer.Option("best", help="Of both runs: best, before, last or average_<share>"),
    utterances: int = typer.Option(10, min=0, help="Utterances shown for each test set, those that differ most"),
) -> None:
    """Print what two runs were set differently and whether one is better on the same test utterances."""
    from carryover.report import compare

    typer.echo(compare.compare(a, b, weights, utterances).markdown())


@app.command()
def watch(
    folder: Path = RUN,
    once: bool = typer.Option(False, "--once", help="Print one frame and end, as it does where no terminal is"),
    every: float = typer.Option(5.0, min=0.5, help="Seconds between two looks"),
) -> None:
    """Show a running job: progress, loss and WER as curves, time left, flags; it may also not have begun or be over."""
    from carryover.report import watch

    watch.watch(folder, once, every)


@app.command()
def report(
    results: list[Path] = typer.Argument(metavar="RESULTS...", help="Run folders, or folders with runs below them"),
    out: Path = typer.Option("report", help="Folder to write"),
    rate: float = typer.Option(None, help="Money an hour of the machine costs, for the table of costs"),
    grid: list[str] = typer.Option([], metavar="ROWS,COLUMNS,METRIC", help="A pivot, e.g. 'lr,batch_size,test WER'"),
    clips: bool = typer.Option(False, "--clips", help="Embed the audio of the worst utterances into the page"),
    workers: int = typer.Option(2, min=1, help="Processes that read runs"),
    baseline: str = typer.Option("plain", help="Method that the tables compare the others with"),
) -> None:
    """Make a thesis's tables (CSV, Markdown, LaTeX), figures, methods paragraph and one page from run folders."""
    from carryover.report import build

    grids = [tuple(part.strip() for part in text.split(",")) for text in grid]
    if wrong := [text for text, parts in zip(grid, grids, strict=True) if len(parts) != 3]:
        raise typer.BadParameter(
            f"--grid '{wrong[0]}': expected two keys of the YAML and a metric, with commas between"
        )
    typer.echo(build.report(results, out, rate, grids, clips, workers, baseline).said())
=======
for command in (evaluate, transcribe, export, curve, compare, watch, report):
    app.command()(command)
app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})(sweep)
>>>>>>> refs/heads/runs


def main() -> None:
    """Entry point of the console command; a wrong input ends in one line, not in a traceback."""
    try:
        app()
    except (FileNotFoundError, ValueError, ImportError) as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()


if __name__ == "__main__":
    main()
