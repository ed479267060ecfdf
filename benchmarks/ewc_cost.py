"""What elastic weight consolidation costs: a training step without it, with it, and as others write it.

    python benchmarks/ewc_cost.py                        # wav2vec2-base's shape (94 M); some minutes on 1 CPU thread
    python benchmarks/ewc_cost.py --shape large          # 315 M; on a GPU also peak memory for micro-batches of 2 to 16
    python benchmarks/ewc_cost.py --model assets/ctc_small --clip-seconds 3

A step is four micro-batches of CTC, forward and backward, and an update of AdamW, with random weights:

    (a) without  no penalty
    (b) in place lambda F (theta - theta*) added to the gradient once per update: carryover.forgetting.ewc as it is used
    (c) as loss  the same penalty in each micro-batch's loss, by autograd (CL-MASR's way)

The three take turns (a b c a b c ...) on one model, and the table gives medians: a busy machine slows all three alike.
Then the Fisher information of utterances, one at a time as it is used, and in batches: gradients of single utterances
of one length out of one pass (torch.func.vmap).
On a CPU the time is the process's own processor time, which others on the machine do not add to; with one thread it
is the wall time of an idle machine.
"""

import argparse
import gc
import math
import statistics
import time
from collections.abc import Iterator

import torch
from transformers import AutoConfig, AutoModelForCTC, Wav2Vec2Config

from carryover.forgetting import L2SP, fisher
from carryover.losses import ctc
from carryover.models.wav2vec2 import CTCModel

ACCUMULATION = 4
SYMBOLS_PER_SECOND = 10
MICRO_BATCHES = (2, 4, 8, 16)
VARIANTS = {"a": "without", "b": "in place", "c": "as loss"}
LARGE = dict(
    hidden_size=1024, num_hidden_layers=24, num_attention_heads=16, intermediate_size=4096,
    feat_extract_norm="layer", do_stable_layer_norm=True, conv_bias=True,
)  # fmt: skip


def make_model(args) -> CTCModel:
    """Random weights in the shape asked for, the convolutions over the waveform frozen as recipes do."""
    torch.manual_seed(0)
    config = AutoConfig.from_pretrained(args.model) if args.model else Wav2Vec2Config(**args.shape)
    config.apply_spec_augment, config.layerdrop = False, 0.0  # the same work in every step
    model = AutoModelForCTC.from_config(config)
    if hasattr(model, "freeze_feature_encoder"):
        model.freeze_feature_encoder()
    return CTCModel(model, []).to(args.device)


def make_batch(model: CTCModel, seconds: list[float], seeds: list[int]) -> tuple:
    """Noise of these durations and random symbols, by seed: inputs, lengths, targets, target lengths."""
    bank = model.hf.config.model_type == "wav2vec2-bert"
    width = model.hf.config.feature_projection_input_dim if bank else 0  # 80 bands x frames of 10 ms side by side
    rows, targets = [], []
    for s, seed in zip(seconds, seeds, strict=True):
        generator = torch.Generator().manual_seed(seed)
        rows.append(
            torch.randn((round(100 * 80 / width * s), width) if bank else (round(16_000 * s),), generator=generator)
        )
        symbols = (max(1, int(SYMBOLS_PER_SECOND * s)),)
        targets.append(torch.randint(1, model.hf.config.vocab_size, symbols, generator=generator))
    batch = (
        torch.nn.utils.rnn.pad_sequence(rows, batch_first=True), torch.tensor([len(r) for r in rows]),
        torch.nn.utils.rnn.pad_sequence(targets, batch_first=True), torch.tensor([len(y) for y in targets]),
    )  # fmt: skip
    return tuple(t.to(next(model.parameters()).device) for t in batch)


def log_likelihood(model: CTCModel, batch: tuple, precision: str = "fp32") -> torch.Tensor:
    """(B,) log p(y|x); blank is 0."""
    inputs, lengths, targets, target_lengths = batch
    with torch.autocast(inputs.device.type, torch.bfloat16, enabled=precision == "bf16"):
        logits, frames = model(inputs, lengths)
    return ctc.log_likelihood(logits.float().log_softmax(-1), frames, targets, target_lengths, blank=0)


class Trainer:
    """One model, one optimizer, and a step of each variant."""

    def __init__(self, args):
        self.args, self.model = args, make_model(args)
        self.trained = {n: p for n, p in self.model.named_parameters() if p.requires_grad}
        self.optimizer = torch.optim.AdamW(self.trained.values(), lr=1e-6, fused=True)
        self.penalty = None

    def hold(self):
        """An importance of random numbers: what it costs does not depend on its values."""
        self.penalty = L2SP(0.4, storage=self.args.storage)
        self.penalty.hold(self.trained, {n: torch.rand_like(p) for n, p in self.trained.items()})

    def held_bytes(self) -> int:
        """F and theta*."""
        return self.penalty.held_bytes() if self.penalty else 0

    def step(self, variant: str, group: list[tuple]) -> None:
        """An update as carryover.training.brain makes it."""
        penalty = self.penalty if variant != "a" else None
        if penalty:
            penalty.gradient = "in_place" if variant == "b" else "autograd"
        for batch in group:
            loss = -log_likelihood(self.model, batch, self.args.precision).mean()
            if penalty:
                loss = loss + sum(penalty.terms(None, batch).values())
            (loss / len(group)).backward()
        if penalty:
            penalty.add_gradient()
        torch.nn.utils.clip_grad_norm_(self.trained.values(), 5.0)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)


def clock(device: str) -> float:
    """Seconds: of this process's work on a CPU, of the wall on a GPU."""
    if device == "cpu":
        return time.process_time()
    torch.cuda.synchronize()
    return time.perf_counter()


def rounds(args) -> Iterator[int]:
    """-1, which warms up, 0, 1, ... `args.repetitions` of them; fewer, but one, where `args.seconds` are over."""
    until = time.perf_counter() + args.seconds
    for i in range(-1, args.repetitions):
        yield i
        if i >= 0 and time.perf_counter() > until:
            return


def table(head: list[str], rows: list[list]) -> None:
    """Print aligned columns."""
    rows = [head, *[[str(cell) for cell in row] for row in rows]]
    widths = [max(len(row[i]) for row in rows) for i in range(len(head))]
    for row in rows:
        print("  " + "  ".join(cell.rjust(w) if i else cell.ljust(w) for i, (cell, w) in enumerate(zip(row, widths))))  # noqa: B905
    print(flush=True)


def step_time(args) -> dict:
    """Print medians of interleaved steps, and their ratio to a step without a penalty; -> them."""
    trainer = Trainer(args)
    trainer.model.train()
    trainer.hold()
    size = sum(p.numel() for p in trainer.model.parameters())
    group = [
        make_batch(trainer.model, [args.clip_seconds] * args.batch, range(i, i + args.batch))
        for i in range(ACCUMULATION)
    ]
    print(
        f"Step of {ACCUMULATION} x {args.batch} clips of {args.clip_seconds:g} s, {size / 1e6:.1f} M parameters "
        f"({sum(p.numel() for p in trainer.trained.values()) / 1e6:.1f} M trained), {args.device}, "
        f"{args.precision}, {args.threads} thread(s)"
    )
    times = {variant: [] for variant in VARIANTS}
    for i in rounds(args):
        for variant in VARIANTS:
            start = clock(args.device)
            trainer.step(variant, group)
            if i >= 0:
                times[variant].append(clock(args.device) - start)
    ratios = {v: [t / a for t, a in zip(times[v], times["a"], strict=True)] for v in VARIANTS}
    held, medians = trainer.held_bytes() / 2**20, {v: statistics.median(times[v]) for v in VARIANTS}
    table(
        ["", "median s", "fastest s", "median / (a)", "paired ratios", "F + theta* MiB"],
        [
            [
                f"({v}) {name}", f"{medians[v]:.3f}", f"{min(times[v]):.3f}", f"{medians[v] / medians['a']:.3f}",
                f"{min(ratios[v]):.3f} {statistics.median(ratios[v]):.3f} {max(ratios[v]):.3f}",
                f"{held if v != 'a' else 0:.0f}",
            ]
            for v, name in VARIANTS.items()
        ],
    )  # fmt: skip
    alone = []
    for p in trainer.trained.values():
        p.grad = torch.zeros_like(p)
    trainer.penalty.gradient = "in_place"
    for _ in range(args.repetitions):
        start = clock(args.device)
        trainer.penalty.add_gradient()
        alone.append(clock(args.device) - start)
    print(f"  add_gradient alone: {statistics.median(alone):.3f} s\n", flush=True)
    return {
        "clip_seconds": args.clip_seconds, "micro_batch": args.batch, "accumulation": ACCUMULATION,
        "seconds": {VARIANTS[v]: medians[v] for v in VARIANTS},
        "times_as_long": {VARIANTS[v]: [statistics.median(ratios[v]), min(ratios[v]), max(ratios[v])] for v in "bc"},
        "held_MiB": held, "steps": len(times["a"]),
    }  # fmt: skip


def by_micro_batch(args) -> list[dict]:
    """Print seconds of a step and peak of allocated GPU memory for each variant and micro-batch; -> them.

    A size that does not fit into the memory has the peak "out of memory"; without a GPU it is None.
    """
    print("Peak memory in MiB by micro-batch (weights, gradients, AdamW, activations, F and theta*), s a step")
    found, on_gpu = [], args.device != "cpu"
    for variant, name in VARIANTS.items():
        trainer = Trainer(args)
        trainer.model.train()
        if variant != "a":
            trainer.hold()
        for size in MICRO_BATCHES:
            row = {"variant": name, "micro_batch": size, "seconds": None, "peak_MiB": None}
            try:
                group = [
                    make_batch(trainer.model, [args.clip_seconds] * size, range(i, i + size))
                    for i in range(ACCUMULATION)
                ]
                trainer.step(variant, group)
                if on_gpu:
                    torch.cuda.reset_peak_memory_stats()
                start = clock(args.device)
                trainer.step(variant, group)
                row["seconds"] = clock(args.device) - start
                row["peak_MiB"] = torch.cuda.max_memory_allocated() / 2**20 if on_gpu else None
            except torch.OutOfMemoryError:
                row["peak_MiB"] = "out of memory"
                trainer.optimizer.zero_grad(set_to_none=True)
            found.append(row)
        del trainer, group
        empty()
    rows = [[f"({v}) {n}", *(cell(row) for row in found if row["variant"] == n)] for v, n in VARIANTS.items()]
    table(["", *map(str, MICRO_BATCHES)], rows)
    return found


def cell(row: dict) -> str:
    """Memory and time of a micro-batch."""
    peak = row["peak_MiB"]
    said = peak if isinstance(peak, str) else "" if peak is None else f"{peak:.0f} MiB"
    return ", ".join(filter(None, (said, "" if row["seconds"] is None else f"{row['seconds']:.3f} s")))


def empty() -> None:
    """Give back what nothing holds any more."""
    gc.collect()
    if torch.cuda.is_initialized():
        torch.cuda.empty_cache()


def fisher_time(args) -> dict:
    """Print seconds an utterance of the Fisher information, one at a time and in batches; -> them."""
    model = make_model(args).eval()
    parameters = {n: p for n, p in model.named_parameters() if p.requires_grad}
    found = {"clip_seconds": args.clip_seconds, "one_by_one": math.inf, "in_batches": {}}
    batches = [make_batch(model, [args.clip_seconds], [1000 + i]) for i in range(args.utterances)]
    for _ in range(2):  # the first one warms up
        start = clock(args.device)
        fisher.fisher(parameters, lambda batch: log_likelihood(model, batch), batches)
        found["one_by_one"] = min(found["one_by_one"], (clock(args.device) - start) / args.utterances)
    until = time.perf_counter() + args.seconds
    for size in (size for size in args.fisher_batches if size <= args.utterances):
        if time.perf_counter() > until:
            break
        groups = [range(1000 + i, 1000 + i + size) for i in range(0, args.utterances - size + 1, size)]
        batches = [make_batch(model, [args.clip_seconds] * size, seeds) for seeds in groups]
        try:
            with fisher.no_tf32():
                fisher_in_batches(model, parameters, batches[:1])
                start = clock(args.device)
                fisher_in_batches(model, parameters, batches)
                found["in_batches"][size] = (clock(args.device) - start) / (size * len(groups))
        except torch.OutOfMemoryError:
            found["in_batches"][size] = None
        empty()
    print(
        f"Fisher information, s an utterance of {args.clip_seconds:g} s: one by one {found['one_by_one']:.3f}", end=""
    )
    for size, seconds in found["in_batches"].items():
        said = "out of memory" if seconds is None else f"{seconds:.3f} ({found['one_by_one'] / seconds:.2f} x as fast)"
        print(f", batches of {size} {said}", end="")
    print()
    return found


def fisher_in_batches(model: CTCModel, parameters: dict, batches: list[tuple]) -> dict[str, torch.Tensor]:
    """fisher.fisher out of batches of utterances that are equally long."""

    def log_p(parameters, inputs, targets, lengths, target_lengths):
        batch = inputs[None], lengths, targets[None], target_lengths
        return torch.func.functional_call(Likelihood(model), parameters, (batch,)).squeeze()

    each = torch.func.vmap(torch.func.grad(log_p), in_dims=(None, 0, 0, None, None))
    sums = {name: torch.zeros_like(p) for name, p in parameters.items()}
    values = {f"model.{name}": p.detach() for name, p in parameters.items()}
    for inputs, lengths, targets, target_lengths in batches:
        gradients = each(values, inputs, targets, lengths[:1], target_lengths[:1])
        for name, total in sums.items():
            total.add_(gradients[f"model.{name}"].square().sum(dim=0))
    return {name: total / sum(len(batch[0]) for batch in batches) for name, total in sums.items()}


class Likelihood(torch.nn.Module):
    """`log_likelihood` as a module."""

    def __init__(self, model: CTCModel):
        super().__init__()
        self.model = model

    def forward(self, batch: tuple) -> torch.Tensor:
        return log_likelihood(self.model, batch)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", choices=("base", "large"), default="base", help="of wav2vec2, random weights")
    parser.add_argument("--model", help="folder or hub name whose config.json to take instead; random weights")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--batch", type=int, default=2, help="clips in a micro-batch")
    parser.add_argument("--clip-seconds", type=float, default=1.0, help="short clips make the penalty look dear")
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32", help="of the steps")
    parser.add_argument("--repetitions", type=int, default=9)
    parser.add_argument("--seconds", type=float, default=math.inf, help="for the steps, and for Fisher in batches")
    parser.add_argument("--storage", choices=("device", "half", "host"), default="device")
    parser.add_argument("--utterances", type=int, default=16, help="of the Fisher information; 0: not measured")
    parser.add_argument("--fisher-batches", type=int, nargs="*", default=[4, 8], help="utterances in one pass")
    args = parser.parse_args()
    args.shape = LARGE if args.shape == "large" else {}
    torch.set_num_threads(args.threads)
    if args.repetitions:
        step_time(args)
    if args.repetitions and args.device != "cpu":
        by_micro_batch(args)
    if args.utterances:
        fisher_time(args)


if __name__ == "__main__":
    main()
