"""The one door to training: YAML -> objects -> Brain -> fit -> evaluate.

python train.py hparams/whisper_ft.yaml [--key value ...] [--preset NAME] [--profile 24GB] [--overfit 5]
    [--deterministic]
"""

import subprocess
import sys
import time
from pathlib import Path

import torch
import transformers

from carryover.config import needs, overfit, presets, profiles, settings
from carryover.data import manifest, preparation
from carryover.forgetting import ewc, replay
from carryover.losses import distillation
from carryover.runs import run_folder
from carryover.runs.flags import overlap
from carryover.stats.error_rates import before_after
from carryover.training.brain import Stage, peak_memory_bytes
from carryover.training.checkpoint import Checkpointer

CORPUS = ("data_folder", "language", "glosses", "layout", "fps", "differences")  # keys that say what is learned from


def main(argv: list[str]) -> int:
    """Train, test and print the table; returns the exit status."""
    transformers.logging.set_verbosity_error()  # generate warns at every call of arguments that it passes itself
    names, rest = presets.take(argv)
    profile, rest = profiles.take(rest)
    path, overrides, run_options, flags = settings.parse(rest, flags=("deterministic", "needs_only"))
    if "deterministic" in flags:
        torch.use_deterministic_algorithms(True)
    text = Path(path).read_text(encoding="utf-8")
    # what a machine can hold comes after a preset's batch; an explicit --key wins over both
    written = presets.scalars(text)
    asked, overrides = overrides, presets.apply(names, written) | profiles.overrides(profile) | overrides
    gate = overfit.overrides(asked.get("overfit"), written, settings.resolved(text, overrides))
    overrides |= gate | asked  # the gate switches off what a preset switched on
    for method in (ewc, distillation, replay):
        method.check(text, overrides)
    run_what_it_needs(settings.resolved(text, overrides), asked, run_options)
    if "needs_only" in flags:  # a sweep makes what its runs share before it starts them
        return 0
    hparams = settings.load(text, overrides)
    folder = run_folder.create(hparams["output_folder"], path, overrides, hparams["brain"], ["train.py", *argv])

    manifests = folder / "manifests"
    new, old = prepare(hparams, manifests)
    if hparams["overfit"]:
        new = overfit.subset(new["train"], hparams["overfit"])
    run_folder.write_info(
        folder, {"data": run_folder.data_digests(manifests), "normaliser": hparams["normaliser"].name}
    )

    brain = hparams["brain"](
        modules=hparams["modules"],
        opt_class=hparams["optimizer"],
        hparams=hparams,
        run_opts=run_options,
        checkpointer=Checkpointer(folder / "save"),
    )
    trainable, parameters = brain.parameter_counts()
    run_folder.write_info(folder, {"parameters": parameters, "trainable": trainable, "device": str(brain.device)})
    loader = {"num_workers": hparams["num_workers"], "batch_size": hparams["eval_batch_size"]}
    language, old_language = hparams["language"], hparams["old_language"]
    tests = {language: brain.read(new["test"])} | ({old_language: brain.read(old["test"])} if "test" in old else {})
    valid = {language: brain.read(new["valid"])} | ({old_language: brain.read(old["valid"])} if "valid" in old else {})
    results = []

    def test(weights: str) -> None:
        for language, dataset in tests.items():
            name = f"{'overfit' if hparams['overfit'] else 'test'}_{language}"
            found, _ = brain.evaluate(dataset, test_loader_kwargs=loader, name=name, weights=weights)
            brain.log_test(found, name, language, weights)
            results.append(found | {"language": language, "weights": weights})

    fresh = brain.checkpointer.last() is None
    if fresh:
        brain.metrics.truncate(0)  # a run that ended before its first checkpoint begins anew
        if not hparams["overfit"]:  # which tests what it has learned, and is meant to
            train_rows, test_rows = (manifest.load(new[split]).values() for split in ("train", "test"))
            brain.raise_flags(overlap(train_rows, test_rows, f"test_{language}"))
    if hparams["test_before"] and fresh:
        test("before")
    elif hparams["test_before"]:
        results += [
            event for event in brain.metrics.events() if event["event"] == "test" and event["weights"] == "before"
        ]
    brain.fit(
        range(1, hparams["epochs"] + 1),
        brain.read(hparams["replay"].mix(new["train"], old.get("train"))),
        valid[language],
        train_loader_kwargs=loader | {"batch_size": hparams["batch_size"], "shuffle": True},
        valid_loader_kwargs=loader,
        old_set=brain.read(old["train"]) if "train" in old else None,
        old_valid_sets={name: dataset for name, dataset in valid.items() if name != language},
    )
    test("best")
    brain.export(folder / "model")
    for weights in hparams["averaging"].variants(brain):
        for name, dataset in valid.items():
            brain.validate(
                brain.make_dataloader(dataset, Stage.VALID, ckpt_prefix=None, **loader), name, weights=weights
            )
        test(weights)
    table = before_after(results)
    (folder / "results.md").write_text(table + "\n", encoding="utf-8")
    print(
        f"\n{table}\n\nRun folder: {folder}; total time {time.strftime('%H:%M:%S', time.gmtime(brain.now()['time']))}; "
        f"peak memory {peak_memory_bytes(brain.device_type) / 2**30:.2f} GiB"
    )
    if not hparams["overfit"]:
        return 0
    by_heart = next(found for found in results if found["weights"] == "best" and found["language"] == language)
    said = overfit.verdict(by_heart, brain.metrics.events())
    brain.text_log.log_stats(brain.now() | {"overfit": said})
    print(said)
    return int(by_heart["WER"] > 0)


def prepare(hparams: dict, manifests: Path) -> tuple[dict[str, Path], dict[str, Path]]:
    """Make the manifests of the new language (all splits) and of the old one (`old_splits`); {split: path} of each."""

    settings = {key: hparams[key] for key in ("sample", "sample_seed", "workers", "metadata_limits")}

    def make(data_folder, language: str, splits: tuple[str, ...]) -> dict[str, Path]:
        folder = manifests / language
        preparation.prepare(hparams["corpus"], data_folder, folder, language, splits, hparams["limits"], **settings)
        return {split: manifests / language / f"{split}.csv" for split in splits}

    new = make(hparams["data_folder"], hparams["language"], ("train", "valid", "test"))
    if not hparams["old_language"]:
        return new, {}
    if hparams["old_language"] == hparams["language"]:
        raise ValueError(f"old_language: '{hparams['language']}' is the new language, too; give another, or null")
    return new, make(hparams["old_data_folder"], hparams["old_language"], tuple(hparams["old_splits"]))


def run_what_it_needs(values: dict, asked: dict[str, str], run_options: dict) -> None:
    """Make the run whose result this one starts from (the YAML's `needs`), where it is not there.

    It gets this run's seed for it (`pretrain_seed`) and output root, and what the command line (`asked`) says of
    max_updates, of SpeechBrain's options, and of the corpus: the old language's, or its own where there is no old one.
    """
    model = needs.missing(values)
    if model is None:
        return
    print(f"{model} is not there; running {values['needs']} first, which makes it", flush=True)
    argv = [values["needs"], "--seed", values["pretrain_seed"], "--output_root", values["output_root"]]
    corpus = {"old_data_folder": "data_folder"} if values["old_language"] else dict(zip(CORPUS, CORPUS, strict=True))
    same = ("max_updates", "corpus", "sample", "sample_seed", "workers", "metadata_limits")
    for mine, its in (dict(zip(same, same, strict=True)) | corpus).items():
        argv += [f"--{its}", asked[mine]] if mine in asked else []
    for key, value in run_options.items():
        argv += [f"--{key}", value]
    subprocess.run([sys.executable, __file__, *map(str, argv)], check=True)
    if not Path(model).exists():
        raise FileNotFoundError(f"needs: {values['needs']} has been run and made no {model}")


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except (settings.SettingsError, FileNotFoundError, ValueError, MemoryError, ImportError) as error:
        sys.exit(f"error: {error}")
    except subprocess.CalledProcessError as error:
        sys.exit(f"error: the run that is needed first ended with status {error.returncode}; its message stands above")
    except KeyboardInterrupt:
        sys.exit("stopped; the same command continues from the last checkpoint")
