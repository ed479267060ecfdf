"""One experiment, from a command line to its table: parsed once, checked, prepared, trained, tested."""

import time
from contextlib import ExitStack
from functools import cached_property, partial
from pathlib import Path

import torch

from carryover import batch_auto, checksums, files, forgetting, needed_run, processes
from carryover.checks import short
from carryover.config import overfit, presets, profiles, reference, run_options, settings
from carryover.data import manifest, preparation
from carryover.forgetting import carried, mixing
from carryover.runs import identity, lock, run_folder, same_run
from carryover.runs.flags import incomplete, overlap
from carryover.stats import error_rates
from carryover.training import describe, stopping
from carryover.training.brain import Stage
from carryover.training.checkpoint import Checkpointer
from carryover.training.recipe import reads_of
from carryover.training.run_log import peak_memory_bytes

# Keys that are read here; a Brain says in `reads` what it reads itself.
READ = {
    "batch_size", "brain", "corpus", "data_folder", "epochs", "eval_batch_size", "forgetting", "kept", "lambda",
    "language", "limits", "metadata_limits", "modules", "normaliser", "num_workers", "old_data_folder", "old_language",
    "old_splits", "optimizer", "other_tests", "output_folder", "output_root", "overfit", "sample", "sample_seed",
    "stop_signals", "test_before", "workers", "check_audio",
}  # fmt: skip
NEW_SPLITS = ("train", "valid", "test")


class Experiment:
    """A YAML, what was asked of it, and its values.

    Parameters
    ----------
    path : str
        The YAML.
    text : str
        Its text.
    overrides : dict
        YAML text by key: of presets, profile, gate and command line together.
    asked : dict
        Those of the command line alone.
    run_options : dict
        SpeechBrain's (device, noprogressbar, ...).

    Attributes
    ----------
    values : dict
        Plain values, references resolved.
    methods : list of carryover.forgetting.Method
    hparams : dict
        All values and objects; made when it is first asked for.
    batch_auto : bool
        Whether the micro-batch is found by trial.
    """

    batch_auto = False

    def __init__(self, path: str, text: str, overrides: dict[str, str], asked: dict[str, str], run_options: dict):
        self.path, self.text, self.overrides, self.asked, self.run_options = path, text, overrides, asked, run_options
        settings.require_present_keys(text)
        settings.require_values(text, overrides, path=path)
        self.values = settings.resolved(text, overrides)
        self.methods = settings.make("forgetting", text, overrides, path) or []
        for method in self.methods:
            if isinstance(method, forgetting.Method):
                method.carried = carried.folder_of(self.values)

    @classmethod
    def parse(cls, argv: list[str]) -> tuple["Experiment", set[str]]:
        """-> the experiment of train.py's arguments, and those of `settings.FLAGS` that are given.

        A machine's profile wins over a preset's batch, an explicit --key over both; the gate (`--overfit N`) switches
        off what a preset switched on.

        Raises
        ------
        carryover.config.settings.SettingsError
            For what cannot be understood, naming the nearest key.
        """
        names, rest = presets.take(argv)
        auto, rest = batch_auto.take(rest)
        profile, rest = profiles.take(rest)
        path, asked, run_options, flags = settings.parse(rest, settings.FLAGS)
        text = settings.read(path)
        settings.require_present_keys(text)
        written = presets.scalars(text)
        overrides = presets.apply(names, written) | profiles.overrides(profile) | asked
        gate = overfit.overrides(asked.get("overfit"), written, settings.resolved(text, overrides))
        overrides |= gate | asked
        overrides |= batch_auto.overrides(auto, settings.resolved(text, overrides))
        found = cls(path, text, overrides, asked, run_options)
        found.batch_auto = auto
        if "forgetting" in presets.apply(names, written) and (was := settings.make("forgetting", text, {}, path)):
            gone, given = forgetting.names(was), forgetting.names(found.methods)
            print(f"forgetting: {gone} of {path} gives way to {given} (--preset)")
        return found, flags

    @cached_property
    def hparams(self) -> dict:
        return settings.load(self.text, self.overrides, {"forgetting": self.methods})

    @property
    def old_splits(self) -> tuple[str, ...]:
        """Splits of the old language that `old_splits` names or a method against forgetting reads."""
        read = {*(self.values["old_splits"] or []), *(split for method in self.methods for split in method.reads)}
        return tuple(split for split in NEW_SPLITS if split in read)

    # ---- before anything costs time ----

    def check(self) -> None:
        """Raise ValueError for settings that are not given or contradict each other."""
        brain = settings.make("brain", self.text, self.overrides, self.path)
        settings.require_values(self.text, self.overrides, READ | reads_of(brain, self.path), self.path)
        run_options.require_device(self.run_options.get("device") or "cpu")
        profiles.require_one_size(self.values, self.overrides)
        if self.batch_auto:
            batch_auto.require_possible(self.run_options.get("device"), self.methods)
        self._require_corpora()
        stopping.numbers(self.values["stop_signals"])
        used = forgetting.names(self.methods)
        for key, is_given in (
            ("lambda", "lambda" in self.overrides and self.values["lambda"]),
            ("fisher_samples", "fisher_samples" in self.overrides),
        ):
            if is_given and not settings.is_read(key, self.text, self.overrides):
                raise ValueError(
                    f"{key}: {self.values[key]}, but nothing reads it (forgetting: {used}); take a method that does "
                    "(--preset ewc, mas or l2sp), or leave it out"
                )
        forgetting.check(self.methods, self.values)
        if self.values.get("old_language") and not self.old_splits:
            raise ValueError(
                f"old_language: {self.values['old_language']}, but nothing reads it (old_splits: []); give old_splits: "
                "[test] to see what is lost, or old_language: null"
            )
        learned = {self.values["language"], self.values.get("old_language")}
        if twice := sorted(learned & set(self.values["other_tests"])):
            raise ValueError(f"other_tests: {', '.join(twice)} is tested as the new or old language; leave it out")
        if self.values.get("old_language") == self.values["language"]:
            raise ValueError(
                f"old_language: '{self.values['language']}' is the new language, too; give another, or null"
            )

    def _require_corpora(self) -> None:
        """Raise ValueError where a corpus or its language is not given: hparams/*_real.yaml leave them open."""
        wanted = ["data_folder", "language"]
        if self.values.get("old_language"):
            wanted.append("old_data_folder")
        elif "old_language" not in self.overrides and self.overrides.get("old_data_folder", "null") != "null":
            wanted.append("old_language")
        for key in wanted:
            if self.values.get(key) is None:
                what = "the corpus's folder" if key.endswith("folder") else "the code of the language, e.g. nl"
                raise ValueError(f"{key}: give {what}, at the top of {self.path} or as --{key} on the command line")

    def run_first(self) -> None:
        """Make the run whose result this one starts from, where it is not there: see carryover/needed_run.py."""
        needed_run.make(self.path, self.values, self.asked, self.run_options)

    # ---- the run ----

    def run(self, command: list[str], train_only: bool = False) -> int:
        """Prepare, train and test; prints the table and returns the exit status.

        A run that is trained only tests and exports nothing: its validations alone can be chosen by.
        """
        with ExitStack() as stack:
            processes.first_does(lambda: stack.enter_context(lock.held(str(self.values["output_folder"]))))
            return self._run(command, train_only)

    def _run(self, command: list[str], train_only: bool) -> int:
        folder, was, data, (new, old, others) = processes.first_does(self._begin, command)
        hparams = self.hparams  # the first process has made it before: what it downloads is there
        weights = same_run.starting_weights(folder, was, hparams["modules"])
        processes.require_same({"weights that the training starts from": weights})
        belongs_to = processes.first_does(identity.of, folder, self.values, data, weights)
        checkpointer = Checkpointer(folder / "save", belongs_to=belongs_to)
        brain = hparams["brain"](hparams["modules"], hparams["optimizer"], hparams, self.run_options, checkpointer)
        trainable, parameters = brain.parameter_counts()
        about = {"parameters": parameters, "trainable": trainable, "device": str(brain.device)}
        about |= {"starting_weights": weights, "methods": describe.methods(brain)}
        run_folder.write_info(folder, about)
        same_run.say_changes(folder, was)
        run_folder.write_info(folder, {"finished": None})
        # of the last time; its log is cut back to the checkpoint now
        processes.first_does(lambda: (folder / "results.md").unlink(missing_ok=True))
        results = self.train_and_test(brain, folder, new, old, others, train_only)
        left_out = manifest.left_out(folder / "manifests")
        table = (
            "Trained, not tested."
            if train_only
            else error_rates.before_after(results, hparams["normaliser"].name, left_out)
        )
        processes.first_does(files.write, folder / "results.md", table + "\n")
        run_folder.finish(folder, [[f"{self.test_name}_{r['language']}", r["weights"]] for r in results])
        seconds = time.strftime("%H:%M:%S", time.gmtime(brain.progress.now()["time"]))
        memory = peak_memory_bytes(brain.device_type) / 2**30
        print(f"\n{table}\n\nRun folder: {folder}; total time {seconds}; peak memory {memory:.2f} GiB")
        return overfit.gate(brain.run_log, results, hparams["language"]) if hparams["overfit"] else 0

    def _begin(self, command: list[str]) -> tuple[Path, dict, dict, tuple]:
        """Make the run folder and its manifests; -> the folder, what run.json said, digests of the data, the sets."""
        hparams = self.hparams
        was = run_folder.read_info(hparams["output_folder"])
        folder = run_folder.create(hparams["output_folder"], self.path, self.overrides, hparams["brain"], command)
        sets = self.prepare(folder / "manifests")
        data = run_folder.data_digests(folder / "manifests")
        same_run.require_same_data(folder, was, data)
        run_folder.write_info(folder, {"data": data, "normaliser": hparams["normaliser"].name})
        return folder, was, data, sets

    def prepare(self, manifests: Path) -> tuple[dict[str, Path], dict[str, Path], dict[str, Path]]:
        """Make the manifests of the new language (all splits) and of the old one, {split: path} of each, and the test
        sets of `other_tests`, {language: path}.

        Of the old language those splits are made that `old_splits` names and that the methods against forgetting read.
        """
        hparams = self.hparams
        sampling = {
            "sample": hparams["sample"], "sample_seed": hparams["sample_seed"], "workers": hparams["workers"],
            "metadata_limits": hparams["metadata_limits"], "begun": run_folder.begun(manifests.parent),
            "check_audio": hparams["check_audio"],
        }  # fmt: skip

        def make(data_folder, language: str, splits: tuple[str, ...]) -> dict[str, Path]:
            folder = manifests / language
            preparation.prepare(hparams["corpus"], data_folder, folder, language, splits, hparams["limits"], **sampling)
            return {split: manifests / language / f"{split}.csv" for split in splits}

        new = make(hparams["data_folder"], hparams["language"], NEW_SPLITS)
        if hparams["overfit"]:
            return overfit.subset(new["train"], hparams["overfit"]), {}, {}
        others = {name: make(folder, name, ("test",))["test"] for name, folder in hparams["other_tests"].items()}
        if not hparams["old_language"]:
            return new, {}, others
        old = make(hparams["old_data_folder"], hparams["old_language"], self.old_splits)
        return new | {"train": mixing.mixed(self.methods, new["train"], old.get("train"))}, old, others

    @property
    def test_name(self) -> str:
        """What its test sets are called, before _<language>."""
        return "overfit" if self.values["overfit"] else "test"

    def train_and_test(
        self, brain, folder: Path, new: dict[str, Path], old: dict[str, Path], others: dict[str, Path], train_only: bool
    ) -> list[dict]:
        """Train from where the run stands; -> what was found in each test, before and after."""
        hparams, log = self.hparams, brain.run_log
        loader = {"num_workers": hparams["num_workers"], "batch_size": hparams["eval_batch_size"]}
        language, old_language = hparams["language"], hparams["old_language"]
        tests, valid = (
            {language: brain.read(new[split])} | ({old_language: brain.read(old[split])} if split in old else {})
            for split in ("test", "valid")
        )
        tests |= {name: brain.read(path) for name, path in others.items()}
        train, results = brain.read(new["train"]), []

        def test(weights: str) -> None:
            for language, dataset in tests.items():
                name = f"{self.test_name}_{language}"
                found, _ = brain.evaluate(dataset, test_loader_kwargs=loader, name=name, weights=weights)
                log.scores("test", found, set=name, language=language, weights=weights)
                results.append(found | {"language": language, "weights": weights})

        fresh, needed = brain.checkpointer.last() is None, {s for method in self.methods for s in method.reads}
        if fresh:
            same_run.require_checkpoints(folder, log.metrics.events())
            log.cut_back()  # a run that ended before its first checkpoint begins anew
            if hparams["overfit"]:
                overfit.require_written(brain.cut_off(list(train.data.values())))
            else:  # the gate tests what it has learned, and is meant to
                train_rows, test_rows = (manifest.load(new[split]).values() for split in ("train", "test"))
                log.flag(overlap(train_rows, test_rows, f"test_{language}"))
                log.flag(incomplete(manifest.left_out(folder / "manifests")))
                processes.first_does(short.say, self, brain, folder / "manifests", train, valid, tests)
        before = hparams["test_before"] and not train_only
        if before and fresh:
            test("before")
        elif before:
            results += [e for e in log.metrics.events() if e["event"] == "test" and e["weights"] == "before"]
            if len(results) < len(tests):
                raise ValueError(
                    f"{log.metrics.path}: {len(results)} of {len(tests)} tests before the training are left in it, so "
                    "there is nothing to compare with; start a new run with --output_folder or --seed"
                )
        if self.batch_auto:
            brain.ready = partial(batch_auto.find, brain, folder)
        brain.fit(
            range(1, hparams["epochs"] + 1),
            train,
            valid[language],
            train_loader_kwargs=loader | {"batch_size": hparams["batch_size"], "shuffle": True},
            valid_loader_kwargs=loader,
            old_sets={split: brain.read(path) for split, path in old.items() if split in needed},
            old_valid_sets={name: dataset for name, dataset in valid.items() if name != language},
        )
        exported = next((method.exported for method in self.methods if method.exported), "best")

        def export() -> None:
            with checksums.made(folder / "model", identity.of_run(folder)) as model:  # one that is there is whole
                brain.export(model)

        def tested(weights: str) -> None:
            """Test the weights that are loaded, and export them where they are the run's model."""
            if train_only:
                return
            test(weights)
            if weights == exported:
                processes.first_does(export)

        if train_only:
            brain.evaluation.load_best()
        tested("best")
        for weights in brain.evaluation.variants(self.methods):
            for name, dataset in valid.items():
                data = brain.make_dataloader(dataset, Stage.VALID, ckpt_prefix=None, **loader)
                brain.evaluation.validate(data, name, weights=weights)
            tested(weights)
        if not train_only:
            processes.first_does(carried.leave, self.methods, folder)
            run_folder.write_info(folder, {"exported": exported})
        return results


def train(argv: list[str]) -> int:
    """What `python train.py ...` does; returns the exit status."""
    if said := reference.asked(argv):
        print(said)
        return 0
    experiment, flags = Experiment.parse(argv)
    if "deterministic" in flags:
        torch.use_deterministic_algorithms(True)
    experiment.check()
    with stopping.at_once(experiment.values["stop_signals"]), processes.joined(experiment.run_options.get("device")):
        same = {"YAML": experiment.text, "settings": experiment.overrides, "code": processes.code()}
        processes.require_same(same | {f"version of {name}": v for name, v in run_folder.versions().items()})
        processes.first_does(experiment.run_first)
        for key, value in experiment.values.items():
            if isinstance(value, str):
                checksums.require_whole(key, value)  # a model of another run
        if "run_first_only" in flags:  # a sweep makes what its runs share before it starts them
            return 0
        return experiment.run(["train.py", *argv], "train_only" in flags)
