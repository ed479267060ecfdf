"""The one door to training: YAML -> objects -> Brain -> fit -> evaluate.

python train.py hparams/whisper_ft.yaml [--key value ...] [--preset NAME] [--deterministic]
"""

import sys
import time
from pathlib import Path

import torch
import transformers

from carryover import presets, run, settings
from carryover.checkpoint import Checkpointer
from carryover.scoring import before_after


def main(argv: list[str]) -> int:
    """Train, test and print the table; returns the exit status."""
    transformers.logging.set_verbosity_error()  # generate warns at every call of arguments that it passes itself
    names, rest = presets.take(argv)
    path, overrides, run_options, flags = settings.parse(rest, flags=("deterministic",))
    if "deterministic" in flags:
        torch.use_deterministic_algorithms(True)
    text = Path(path).read_text(encoding="utf-8")
    overrides = presets.apply(names, presets.scalars(text)) | overrides  # an explicit --key wins over a preset
    hparams = settings.load(text, overrides)
    folder = run.create(hparams["output_folder"], path, overrides, hparams["brain"], ["train.py", *argv])

    manifests = folder / "manifests"
    languages = prepare(hparams, manifests)
    run.write_info(folder, {"data": run.data_digests(manifests)})

    brain = hparams["brain"](
        modules=hparams["modules"],
        opt_class=hparams["optimizer"],
        hparams=hparams,
        run_opts=run_options,
        checkpointer=Checkpointer(folder / "save"),
    )
    new = manifests / hparams["language"]
    loader = {"num_workers": hparams["num_workers"], "batch_size": hparams["eval_batch_size"]}
    tests = {language: brain.read(manifests / language / "test.csv") for language in languages}
    results = []

    def test(weights: str) -> None:
        for language, dataset in tests.items():
            name = f"test_{language}"
            found, _ = brain.evaluate(dataset, test_loader_kwargs=loader, name=name, weights=weights)
            brain.log_test(found, name, language, weights)
            results.append(found | {"language": language, "weights": weights})

    fresh = brain.checkpointer.last() is None
    if fresh:
        brain.metrics.truncate(0)  # a run that ended before its first checkpoint begins anew
    if hparams["test_before"] and fresh:
        test("before")
    elif hparams["test_before"]:
        results += [
            event for event in brain.metrics.events() if event["event"] == "test" and event["weights"] == "before"
        ]
    brain.fit(
        range(1, hparams["epochs"] + 1),
        brain.read(new / "train.csv"),
        brain.read(new / "valid.csv"),
        train_loader_kwargs=loader | {"batch_size": hparams["batch_size"], "shuffle": True},
        valid_loader_kwargs=loader,
    )
    test("best")
    table = before_after(results)
    (folder / "results.md").write_text(table + "\n", encoding="utf-8")
    print(
        f"\n{table}\n\nRun folder: {folder}; total time {time.strftime('%H:%M:%S', time.gmtime(brain.now()['time']))}"
    )
    return 0


def prepare(hparams: dict, manifests: Path) -> list[str]:
    """Make the manifests of the new language (all splits) and of the old one (test); returns the languages to test."""
    hparams["prepare"](
        hparams["data_folder"],
        manifests / hparams["language"],
        hparams["language"],
        ("train", "valid", "test"),
        hparams["check"],
    )
    if not hparams["old_language"]:
        return [hparams["language"]]
    hparams["prepare"](
        hparams["old_data_folder"],
        manifests / hparams["old_language"],
        hparams["old_language"],
        ("test",),
        hparams["check"],
    )
    return [hparams["language"], hparams["old_language"]]


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except (settings.SettingsError, FileNotFoundError, ValueError) as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit("stopped; the same command continues from the last checkpoint")
