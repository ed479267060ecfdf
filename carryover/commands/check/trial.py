"""A short run with stopwatches: `python -m carryover.commands.check.trial OUT.json HOW CLOCK YAML [--key value ...]`.

It is the experiment itself on a few utterances of each set, from preparation to test, in a process of its own, so that
its peak memory is that of the run. The longest utterances are among them: they decide how much memory is needed.

HOW is "all" (frozen states of the training set are computed before the first update), "some" (the run ends within an
epoch, so they are not) or "whole" (nothing is shortened: what benchmarks/predictions.py compares with). CLOCK is "wall"
or "processor", the process's own time, for a machine that others load.
"""

import math
import random
import sys
import time
from pathlib import Path
from statistics import fmean

import torch

from carryover import batch_auto, exits, files, processes
from carryover.data import manifest
from carryover.experiment import Experiment
from carryover.models.state_store import Store
from carryover.training import kept_states, stopping
from carryover.training.evaluation import Stage
from carryover.training.run_log import peak_memory_bytes

SCORED = 32  # utterances of a validation or test set, or the multiple of eval_batch_size above it
CLOCKS = {"wall": time.perf_counter, "processor": time.process_time}


def chosen(rows: list[dict], n: int, longest: int) -> list[dict]:
    """n rows in the set's order: its `longest`, and others drawn at random, always the same."""
    if n >= len(rows):
        return rows
    by_length = sorted(range(len(rows)), key=lambda i: -float(rows[i]["duration"]))
    kept = by_length[:longest] + random.Random(1).sample(by_length[longest:], max(0, n - longest))
    return [rows[i] for i in sorted(kept[:n])]


class Timed(Experiment):
    """The experiment; `seen` says what took how long, in seconds of `clock`: see carryover.commands.check.measured."""

    clock = staticmethod(time.perf_counter)

    def train_and_test(self, brain, *sets):
        self.seen = {"updates": [], "scores": [], "saves": [], "fill": 0.0, "begin": 0.0, "clips": 0, "states": {}}
        seen, clock, since = self.seen, self.clock, {}

        def timed(owner, name: str, note) -> None:
            was = getattr(owner, name)

            def measured(*args, **kwargs):
                begun = clock()
                try:
                    return was(*args, **kwargs)
                finally:
                    note(clock() - begun, args)

            setattr(owner, name, measured)

        def scored(seconds: float, args: tuple) -> None:
            data = list(args[0].dataset.data.values())
            where = "test" if args[1] == Stage.TEST else "valid" if brain.progress.validating else "end"
            seen["scores"].append({"where": where, "language": data[0]["language"], "n": len(data), "seconds": seconds})

        def filled(seconds: float, args: tuple) -> None:
            seen["fill"], seen["clips"], since["fill"] = seconds, len(args[1]), clock()

        def updated(seconds: float, args: tuple) -> None:
            frames = sum(max(row["duration"] for row in batch.row) * len(batch.row) for batch in args[0])
            seen["updates"].append([clock() - since.get("group", clock() - seconds), frames])  # reading is in it

        def kept(_, args: tuple) -> None:
            store, _, tensor = args
            number, size = seen["states"].get(store.key, (0, 0))
            seen["states"][store.key] = number + 1, size + tensor.nbytes

        timed(Store, "put", kept)
        timed(brain.evaluation, "score", scored)
        timed(kept_states, "fill", filled)
        timed(brain, "begin", lambda *_: seen.update(begin=clock() - since["fill"]))
        timed(brain, "_fit_group", updated)
        timed(brain, "_after_group", lambda *_: since.update(group=clock()))
        timed(brain, "_save_checkpoint", lambda seconds, _: seen["saves"].append(seconds))
        begun = clock()
        results = super().train_and_test(brain, *sets)
        seen["total"] = clock() - begun
        self.finish(brain, Path(sets[1]["train"]))
        seen["peak_memory_bytes"] = peak_memory_bytes(brain.device_type)
        return results

    def finish(self, brain, train: Path) -> None:
        """What is done after the run, before its memory is looked at."""


class Trial(Timed):
    """On few utterances; `learns_all`: the run makes an epoch or more."""

    learns_all = True

    def finish(self, brain, train):
        """Gradients of the longest batch again: an augmentation that slows speech down makes it longer by chance."""
        if not self.values.get("augment_prob"):
            return
        dataset = brain.read(train)
        lengths = [row["duration"] for row in dataset.data.values()]
        size, n = self.batch(lengths)
        longest = sorted(range(len(lengths)), key=lambda i: -lengths[i])[:n]
        size = n if self.values.get("batch_seconds") else size
        others = [i for i in range(len(lengths)) if i not in longest][: size - n]
        brain.train_mode()
        batch_auto.fit_often(brain, lambda: brain.hparams.collate([dataset[i] for i in longest + others]))

    def batch(self, lengths: list[float]) -> tuple[int, int]:
        """Utterances of a training batch, and how many of the longest, whose lengths are given, one can have."""
        size, seconds = self.values["batch_size"], self.values.get("batch_seconds")
        if seconds:
            return math.ceil(seconds / fmean(lengths)), max(1, int(seconds / max(lengths)))
        return size, size if self.values["group_by_length"] else 1

    def prepare(self, manifests):
        new, old, others = super().prepare(manifests)
        values = self.values
        each = values["eval_batch_size"]

        def shortened(path: Path, split: str) -> Path:
            rows = [row["row"] for row in manifest.load(path).values()]
            if split == "train":
                size, longest = self.batch([float(row["duration"]) for row in rows])
                more = 0 if self.learns_all else size  # less than an epoch, as the run
                train = values["max_updates"] * size * values["grad_accumulation_factor"]
                rows = chosen(rows, max(train, longest) + more, longest)
            else:
                rows = chosen(rows, math.ceil(SCORED / each) * each, 1)
            out = manifests.parent / "shortened" / path.parent.name / path.name
            columns = [key for key in rows[0] if key != "id"]
            files.write_csv(out, columns, [[row[key] for key in columns] for row in rows])
            return out

        new = {split: shortened(path, split) for split, path in new.items()}
        # an importance is estimated on as many utterances as in the run
        old = {split: path if split == "train" else shortened(path, split) for split, path in old.items()}
        return new, old, {name: shortened(path, "test") for name, path in others.items()}


def main(argv: list[str]) -> int:
    """Run it and write what was seen."""
    out, how, clock, *words = argv
    run, flags = (Timed if how == "whole" else Trial).parse(words)
    run.learns_all, run.clock = how == "all", CLOCKS[clock]
    if "deterministic" in flags:
        torch.use_deterministic_algorithms(True)
    run.check()
    with stopping.at_once(run.values["stop_signals"]), processes.joined(run.run_options.get("device")):
        run.run(["train.py", *words])
    files.write_json(Path(out), run.seen)
    return 0


if __name__ == "__main__":
    import transformers

    transformers.logging.set_verbosity_error()
    sys.exit(exits.run(lambda: main(sys.argv[1:])))
