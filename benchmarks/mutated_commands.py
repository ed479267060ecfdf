"""Command lines that benchmarks/mutations.py damages, and what must not begin in them: training, speech, a server."""

import contextlib
import importlib.util
import random
from collections.abc import Iterator
from unittest import mock

from benchmarks.damage import ODD, changed, of_command
from carryover import experiment
from carryover.commands.app import app
from carryover.commands.sequence import sequence
from carryover.commands.study import study
from carryover.commands.sweep import sweep
from carryover.config import settings
from local import synthetic


def command_lines(places, chance: random.Random) -> tuple[str, str]:
    run, other = str(places.run), str(places.run.parent / "2")
    results, out = str(places.run.parents[1]), str(places.fresh() / "out")
    given = [
        (experiment.train, ["hparams/whisper_ft.yaml", "--lr", "1e-3", "--seed", "3", "--preset", "ewc"]),
        (experiment.train, ["hparams/sign_teacher.yaml", "--max_updates", "5", "--overfit", "5"]),
        (experiment.train, ["hparams/german_adaptation.yaml", "--forgetting", "[]", "--profile", "24GB"]),
        (app, ["evaluate", run, "--test", str(places.corpus / "train.tsv"), "--beams", "1"]),
        (app, ["transcribe", run, str(places.corpus / "0.wav"), "--out", out]),
        (app, ["export", run, "--out", out]),
        (app, ["compare", run, other, "--utterances", "3"]),
        (app, ["curve", results, "--figure", out]),
        (app, ["report", str(places.run), "--out", out, "--grid", "lr,warmup,loss", "--rate", "2"]),
        (app, ["data", str(places.corpus), "--page", out]),
        (app, ["cache"]),
    ]
    main, argv = chance.choice(given)
    argv = damaged(argv, chance)
    argv = [part for part in argv if part not in ("--clear", "--trust")]
    if main is app and argv[:1] in (["sweep"], ["study"], ["sequence"], ["watch"]):
        argv = argv[1:]
    outcome, said = of_command(lambda: main(argv))
    return outcome, f"{' '.join(argv)[:300]}\n{said}"


def other_commands(places, chance: random.Random) -> tuple[str, str]:
    """Commands whose runs are not begun, and those on lists, adapters and kept states; or the plan that they read."""
    run, results, lists = str(places.run), str(places.run.parents[1]), str(places.lists)
    out = str(places.fresh() / "out")
    own = ["--corpus", "!name:local.table.utterances", "--data_folder", str(places.corpus), "--language", "nl"]
    given = [
        ["sweep", "hparams/dutch_pretrain.yaml", "--set", "lr=1e-3,1e-4", "--seeds", "1,2", "--out", out, *own],
        ["sweep", "hparams/whisper_ft.yaml", "--set", "preset=plain,ewc", "--set", "lambda=1,10", "--seeds", "1",
         "--baseline", "plain", "--report", "--jobs", "2", "--out", out],
        ["study", "studies/embedded_small.yaml", "--out", out, "--jobs", "2", "--device", "cpu"],
        ["sequence", "studies/sequence.yaml", "--out", out],
        ["check", "hparams/dutch_pretrain.yaml", "--max_updates", "20", *own],
        ["check", "hparams/whisper_ft.yaml", "--old_language", "null", "--lr", "1e-4", *own],
        ["demo", run, "--port", "7861", "--host", "127.0.0.1", "--vad"],
        ["ngram", run, "--order", "2", "--alphas", "0.3,0.6", "--betas", "0,1", "--beams", "8", "--out", out],
        ["evaluate", run, "--adapter", f"nl={run}", "--normaliser", "whisper", "--out", out],
        ["transcribe", run, str(places.corpus), "--adapter", "none", "--format", "csv", "--language", "de"],
        ["data", lists, "--page", out, "--clips", "2", "--figure", f"{out}.figure", "--lhotse", out],
        ["data", f"{lists}/train.csv", run],
        ["cache", "--clear", "all"],
        ["curve", results, "--figure", out],
        ["watch", run, "--once", "--every", "2"],
        ["report", results, "--out", out, "--clips", "--baseline", "plain"],
    ]  # fmt: skip
    argv = chance.choice(given)
    if argv[0] in ("study", "sequence") and chance.random() < 0.5:
        plan = places.work / argv[1].replace("/", "_")
        plan.write_bytes(changed((places.checkout / argv[1]).read_bytes(), chance))
        argv = [argv[0], str(plan), *argv[2:]]
    else:
        argv = damaged(argv, chance)
    argv = [part for part in argv if part not in ("--trust", "--measure")]
    if "watch" in argv and "--once" not in argv:
        argv.append("--once")
    outcome, said = of_command(lambda: app(argv))
    return outcome, f"{' '.join(argv)[:300]}\n{said}"


def damaged(argv: list[str], chance: random.Random) -> list[str]:
    """One to three damages of a command line: an argument less, an odd one more, others changed or elsewhere."""
    for _ in range(chance.randint(1, 3)):
        at = chance.randrange(len(argv) + 1)
        how = chance.randrange(5)
        if how == 0 and argv:
            argv = argv[: at - 1] + argv[at:] if at else argv[1:]
        elif how == 1:
            argv = [
                *argv[:at],
                chance.choice([*ODD, "--help", "--lr", "--to", "--out", "-x", "--seed=", "--a=b"]),
                *argv[at:],
            ]
        elif how == 2 and argv:
            at = chance.randrange(len(argv))
            argv = [*argv[:at], changed(argv[at].encode(), chance).decode(errors="replace"), *argv[at + 1 :]]
        elif how == 3:
            chance.shuffle(argv)
        elif argv:
            argv = [*argv[:at], argv[chance.randrange(len(argv))], *argv[at:]]
    return argv


def _build(self, *_) -> None:
    """In place of a run, whose checks were made before: now and then its objects."""
    if len(self.text) % 7 == 0:
        settings.load(self.text, self.overrides, {"forgetting": self.methods})


def _no_runs(jobs, *_, **__) -> list:
    """In place of the runs of a sweep, a study or a sequence: all of them fail."""
    for job in jobs:
        job.error = "not begun"
    return list(jobs)


def _no_speech(*_, **__) -> None:
    raise ModuleNotFoundError("espeak-ng speaks nothing here", name="espeakng_loader")


@contextlib.contextmanager
def nothing_begins() -> Iterator[None]:
    """Commands check what they are given and stop where the work would begin."""
    served = []
    if importlib.util.find_spec("gradio"):  # without it the demo says so
        served = [(importlib.import_module("carryover.commands.demo.page"), "serve", lambda *_: None)]
    with contextlib.ExitStack() as stack:
        for owner, name, instead in (
            (experiment.Experiment, "run", _build), (experiment.Experiment, "run_first", lambda self: None),
            (sweep, "run_all", _no_runs), (study, "run_all", _no_runs), (sequence, "run_all", _no_runs),
            (synthetic, "_make", _no_speech), *served,
        ):  # fmt: skip
            stack.enter_context(mock.patch.object(owner, name, instead))
        yield
