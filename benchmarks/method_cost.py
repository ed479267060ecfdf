"""What each method against forgetting costs: time of an update, memory, disk, old data, parameters.

    python benchmarks/method_cost.py                     # hparams/whisper_ft.yaml; some minutes on 1 CPU thread
    python benchmarks/method_cost.py --updates 20 --batch 4 --out docs/results/cost_of_methods.md

All methods train the same model on the same batches of the embedded corpus, in one process, and take turns (a b c a b
c ...): a busy machine slows all alike. Time is the process's own processor time; the table gives medians, relative to
plain fine-tuning. Memory is counted, not measured: bytes of the tensors that a method keeps from its beginning on,
beside model, gradients and optimizer. Disk is what it leaves in the run folder and in importance/. SI is given an
importance of random numbers, for its own comes from the run before.
"""

import argparse
import gc
import itertools
import shlex
import statistics
import sys
import tempfile
import textwrap
import time
from pathlib import Path

import torch

from carryover import files
from carryover.experiment import Experiment
from carryover.forgetting import carried, fisher
from carryover.forgetting.si import FILE as SI_FILE

PRESETS = (
    "plain", "averaging", "l2sp", "ewc", "online_ewc", "mas", "si", "lwf", "agem", "replay", "pseudo_replay", "der",
)  # fmt: skip
NEEDS = {
    "ewc": "clips, transcripts", "online_ewc": "clips, transcripts", "mas": "clips (a decoder: transcripts)",
    "agem": "clips, transcripts", "replay": "clips, transcripts", "pseudo_replay": "clips", "der": "clips, transcripts",
    "si": "none, but to be trained with SI", "LoRA": "none",
}  # fmt: skip
LORA = ["--train", "lora", "--lora", "!new:carryover.models.lora.LoRA {rank: 8, alpha: 16}"]


def held() -> int:
    """Bytes of all tensors that are alive, each storage once."""
    gc.collect()
    storages = {}
    for found in gc.get_objects():
        if isinstance(found, torch.Tensor) and found.layout == torch.strided:
            storages[found.untyped_storage().data_ptr()] = found.untyped_storage().nbytes()
    return sum(storages.values())


def disk(folder: Path) -> int:
    """Bytes of a folder's files."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


class Learner:
    """One method's Brain, ready to make updates."""

    def __init__(self, name: str, args, folder: Path):
        self.name, self.times, self.folder = name, [], folder / name
        corpus = f"!name:local.synthetic.utterances {{hours: {args.hours}}}"
        words = {"plain": ["--forgetting", "[]"], "LoRA": [*LORA, "--forgetting", "[]"]}.get(name, ["--preset", name])
        words += [] if name == "LoRA" else ["--train", args.train]
        words += ["--fisher_samples", str(args.samples)] if name in ("ewc", "online_ewc", "mas") else []
        self.experiment, _ = Experiment.parse([
            args.yaml, *words, "--corpus", corpus, "--data_folder", str(args.data), "--old_data_folder", str(args.data),
            "--output_folder", str(self.folder), "--output_root", str(self.folder), "--batch_size", str(args.batch),
            "--noprogressbar", "--device", args.device,
        ])  # fmt: skip
        files.write(self.folder / "metrics.jsonl", "")
        hparams = self.experiment.hparams
        self.methods = self.experiment.methods
        new, old, _ = self.experiment.prepare(self.folder / "manifests")
        self.brain = hparams["brain"](
            hparams["modules"], hparams["optimizer"], hparams, self.experiment.run_options, None
        )
        train = self.brain.read(new["train"])
        self.loader = self.brain.train_loader(train, {"batch_size": args.batch, "shuffle": True})
        self.clips, self.parameters = len(train), self.brain.parameter_counts()
        self.old = self.brain.read(old["train"]) if "train" in old else None

    def begin(self) -> None:
        """What the method does before the first update: its time, and the bytes that it keeps."""
        self.brain.schedule.plan(1000)
        before, start = held(), time.process_time()
        for method in self.methods:
            if method.name == "si":
                trained = {n: p for n, p in self.brain.modules.named_parameters() if p.requires_grad}
                fisher.save(self.folder / "si" / SI_FILE, {n: torch.rand_like(p) for n, p in trained.items()}, {})
                method.carried = self.folder / "si"
            method.begin(self.brain, self.old if method.reads else None)
        self.begin_seconds = time.process_time() - start
        self.kept = held() - before
        self.brain.init_optimizers()
        self.brain.train_mode()
        self.brain.optimisation.zero_grad()
        self.batches = itertools.chain.from_iterable(itertools.repeat(self.loader))

    def step(self, counted: bool) -> None:
        """One update."""
        batch = next(self.batches)
        start = time.process_time()
        self.brain._fit_group([batch])
        if counted:
            self.times.append(time.process_time() - start)

    def leave(self) -> int:
        """Bytes on disk that the method has made."""
        for method in self.methods:
            method.finish(self.brain)
        (self.folder / "left").mkdir()
        carried.leave(self.methods, self.folder / "left")
        mixed = sum(path.stat().st_size for path in self.folder.rglob("train_mixed.csv"))
        return disk(self.folder / "left") + mixed + disk(self.folder / "importance")


def table(learners: list[Learner]) -> list[list[str]]:
    """Rows of cells."""
    plain = next(learner for learner in learners if learner.name == "plain")
    base, rows = statistics.median(plain.times), []
    for learner in learners:
        reads = any(method.reads for method in learner.methods)
        more = learner.clips - plain.clips
        rows.append([
            learner.name,
            f"{statistics.median(learner.times) / base:.2f}",
            f"{learner.begin_seconds:.1f}",
            f"{more / plain.clips:+.0%}" if more else "0",
            f"{learner.kept / 2**20:.1f}",
            f"{learner.leave() / 2**20:.2f}",
            NEEDS.get(learner.name, "clips, transcripts" if reads else "none"),
            f"{learner.parameters[1] - plain.parameters[1]:,}",
        ])  # fmt: skip
    return rows


def markdown(rows: list[list[str]], learners: list[Learner], args) -> str:
    """The table with what it is of."""
    plain = learners[0]
    heads = [
        "method", "time of an update", "before the first update (s)", "more clips an epoch", "kept in memory (MiB)",
        "on disk (MiB)", "old data needed", "more parameters",
    ]  # fmt: skip
    lines = [heads, ["---"] * len(heads), *rows]
    text = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    trained, every = plain.parameters
    about = (
        f"{args.yaml}, {trained:,} of {every:,} parameters trained (LoRA: {learners[-1].parameters[0]:,}), batches of "
        f"{args.batch} clips, {len(plain.times)} updates of each in turns, {args.device}, float32, "
        f"{torch.get_num_threads()} thread; Fisher information and sensitivity of {args.samples} clips. Time: median "
        f"of the process's own processor time, relative to plain ({statistics.median(plain.times):.2f} s). Kept: "
        "tensors that the method holds beside the model, gradients and optimizer; SI needs twice the trained "
        "parameters more during an update, and A-GEM once. Disk: what the method leaves for itself and for a next "
        "language. Replay's cost is in the clips: an epoch is that much longer, an update is not. Averages are made "
        "after training and cost one validation and test each. A penalty's 2 to 3 % are of this model and batch: "
        "with more speech an update they shrink (benchmarks/ewc_cost.py)."
    )
    command = " ".join(["python benchmarks/method_cost.py", *args.given])
    return f"# What each method costs\n\nMade by `{command}`.\n\n{text}\n\n{textwrap.fill(about, 118)}\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--yaml", default="hparams/whisper_ft.yaml")
    parser.add_argument("--train", default="all")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--data", type=Path, default=Path("data/method_cost"))
    parser.add_argument("--hours", type=float, default=0.1, help="of training audio of each language")
    parser.add_argument("--updates", type=int, default=9)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--samples", type=int, default=40, help="clips that an importance is estimated from")
    parser.add_argument("--out", type=Path, help="Markdown file to write")
    args = parser.parse_args()
    args.given = [shlex.quote(word) for word in sys.argv[1:] if word]
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        learners = [Learner(name, args, Path(folder)) for name in (*PRESETS, "LoRA")]
        for learner in learners:
            learner.begin()
        for i in range(-1, args.updates):  # the first round warms up
            for learner in learners:
                learner.step(counted=i >= 0)
        text = markdown(table(learners), learners, args)
    print(text)
    if args.out:
        files.write(args.out, text)


if __name__ == "__main__":
    main()
