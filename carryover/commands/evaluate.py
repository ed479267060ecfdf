"""`carryover evaluate RUN`"""

import contextlib
import sys
import tempfile
import time
from pathlib import Path

import typer

from carryover.commands import adapter
from carryover.commands.load import SOURCE, TRUST, is_model, load_any, set_beams
from carryover.data.table import found_at


def evaluate(
    source: str = SOURCE,
    test: list[Path] = typer.Option([], help="A list (CSV, TSV, JSONL) of recordings and texts, or a folder of them, "
                                    "perhaps several times; default: the run's tests"),
    others: list[Path] = typer.Option([], "--out-of-domain", help="The same of other speech than the model was made "
                                      "for, beside --test: marked in the table, and not in the mean"),
    beams: int = typer.Option(None, min=1, help="Beam size; default: the run's test_beams"),
    normaliser: str = typer.Option("run", help="What texts are scored under: run (the run's), whisper (Whisper's own, "
                                   "for published numbers), verbatim (as they stand)"),
    language: str = typer.Option(None, help="What is spoken, where a list does not say it; default: the run's"),
    out: Path = typer.Option(None, help="Folder of the predictions; default: the run's; a model's folder needs one"),
    adapters: list[str] = adapter.OPTION,
    trust: bool = TRUST,
) -> None:  # fmt: skip
    """Test a run's best weights or a model: WER, CER, intervals, kinds of errors, speed, the mean over several sets.

    Predictions go to OUT/predictions_*_evaluate.csv, with --adapter to OUT/predictions_*_adapter-NAME.csv.
    """
    from carryover.commands import test_sets
    from carryover.data import manifest

    folder, lists, model = Path(source), [*test, *others], is_model(source)
    if model:
        for name, given in (("--language", language), ("--out", out), ("--test", lists)):
            if not given:
                raise ValueError(f"{source} is a model, not a run; give {name}, too")
    own = {} if test or model else {f"test_{path.parent.name}": path for path in folder.glob("manifests/*/test.csv")}
    if not (test or model or own) and (folder / "save").is_dir():
        raise FileNotFoundError(
            f"{folder}: no manifests/*/test.csv; repeat the run's command, which makes them, or give a list: --test"
        )
    if language and not lists:
        raise ValueError("--language: the run's own tests say what is spoken in them; give a list, too: --test")
    if out and out.exists() and not out.is_dir():
        raise ValueError(f"--out {out}: {found_at(out)}; expected a folder")
    for path in lists:
        test_sets.require_list(path)
    names = {path: test_sets.name_of(path) for path in lists}
    if len({*names.values(), *own}) < len(lists) + len(own):
        raise ValueError(
            f"--test: two sets are named alike ({', '.join([*own, *map(str, lists)])}); give each once, or rename one"
        )
    asked = adapter.asked(adapters)
    score_by = test_sets.normaliser(normaliser)
    brain, hparams, manifests = load_any(source, trust, language, out)
    hparams |= {"language": language or hparams["language"]}
    brain.evaluation.folder = out or folder
    brain.evaluation.normaliser = score_by or brain.evaluation.normaliser
    set_beams(brain, beams)
    bank = adapter.Adapters(brain, asked)
    loader = {"batch_size": hparams["eval_batch_size"], "num_workers": hparams["num_workers"]}
    results = []
    with tempfile.TemporaryDirectory() as made, contextlib.redirect_stdout(sys.stderr):
        sets = {f"test_{name}": path for name, path in manifests.tests().items()} if own else {}
        sets |= {names[path]: test_sets.prepare(path, hparams, Path(made) / names[path]) for path in lists}
        for name, path in sets.items():
            weights = bank.use_for(path, name)
            predictions = brain.evaluation.folder / f"predictions_{name}_{weights}.csv"
            if predictions.is_symlink():
                raise ValueError(f"{predictions}: a link; what it leads to would be overwritten. Remove it")
            begun = time.perf_counter()
            found, rows = brain.evaluate(brain.read(path), test_loader_kwargs=loader, name=name, weights=weights)
            seconds, audio = time.perf_counter() - begun, sum(float(row["duration"]) for row in rows)
            language = "+".join(sorted({r["language"] for r in rows}))
            results.append(found | {
                "set": name, "language": language, "real_time_factor": seconds / audio,
                "out_of_domain": name in {names[path] for path in others},
            })  # fmt: skip
    left_out = manifest.left_out(manifests.folder) if own else {}  # of a list of one's own it is printed
    typer.echo(test_sets.table(results, brain.evaluation.normaliser.name, left_out) + bank.said())
