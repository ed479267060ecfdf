"""What elastic weight consolidation costs: a training step without it, with it, and as others write it.

    python benchmarks/ewc_cost.py                        # wav2vec2-base's shape (94 M); some minutes on 1 CPU thread
    python benchmarks/ewc_cost.py --shape large          # 315 M; on a GPU also peak memory for micro-batches of 2 to 16
    python benchmarks/ewc_cost.py --model assets/ctc_small --clip-seconds 3

A step is four micro-batches of CTC, forward and backward, and an update of AdamW, in float32 with random weights:

    (a) without  no penalty
    (b) in place lambda F (theta - theta*) added to the gradient once per update: carryover.forgetting.ewc as it is used
    (c) as loss  the same penalty in each micro-batch's loss, by autograd (CL-MASR's way)

The three take turns (a b c a b c ...) on one model, and the table gives medians: a busy machine slows all three alike.
Then the Fisher information of utterances, one at a time.
On a CPU the time is the process's own processor time, which others on the machine do not add to; with one thread it
is the wall time of an idle machine.
"""

import argparse
import gc
import statistics
import time

import torch
from transformers import AutoConfig, AutoModelForCTC, Wav2Vec2Config

from carryover.forgetting import L2SP, fisher
from carryover.losses import ctc
from carryover.models.wav2vec2 import CTCModel

ACCUMULATION = 4
SYMBOLS_PER_SECOND = 10
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


def log_likelihood(model: CTCModel, batch: tuple) -> torch.Tensor:
    """(B,) log p(y|x); blank is 0."""
    inputs, lengths, targets, target_lengths = batch
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
            loss = -log_likelihood(self.model, batch).mean()
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


def table(head: list[str], rows: list[list]) -> None:
    """Print aligned columns."""
    rows = [head, *[[str(cell) for cell in row] for row in rows]]
    widths = [max(len(row[i]) for row in rows) for i in range(len(head))]
    for row in rows:
        print("  " + "  ".join(cell.rjust(w) if i else cell.ljust(w) for i, (cell, w) in enumerate(zip(row, widths))))  # noqa: B905
    print(flush=True)


def step_time(args) -> None:
    """Medians of interleaved steps, and their ratio to a step without a penalty."""
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
        f"{args.threads} thread(s), {args.repetitions} of each"
    )
    times = {variant: [] for variant in VARIANTS}
    for i in range(-1, args.repetitions):  # the first round warms up
        for variant in VARIANTS:
            start = clock(args.device)
            trainer.step(variant, group)
            if i >= 0:
                times[variant].append(clock(args.device) - start)
    ratios = {v: [t / a for t, a in zip(times[v], times["a"], strict=True)] for v in VARIANTS}
    held = trainer.held_bytes() / 2**20
    table(
        ["", "median s", "fastest s", "median / (a)", "paired ratios", "F + theta* MiB"],
        [
            [
                f"({v}) {name}", f"{statistics.median(times[v]):.3f}", f"{min(times[v]):.3f}",
                f"{statistics.median(times[v]) / statistics.median(times['a']):.3f}",
                f"{min(ratios[v]):.3f} {statistics.median(ratios[v]):.3f} {max(ratios[v]):.3f}",
                f"{held if v != 'a' else 0:.0f}",
            ]
            for v, name in VARIANTS.items()
        ],
    )  # fmt: skip
    times = []
    for p in trainer.trained.values():
        p.grad = torch.zeros_like(p)
    trainer.penalty.gradient = "in_place"
    for _ in range(args.repetitions):
        start = clock(args.device)
        trainer.penalty.add_gradient()
        times.append(clock(args.device) - start)
    print(f"  add_gradient alone: {statistics.median(times):.3f} s\n", flush=True)


def peak_memory(args) -> None:
    """Peak of allocated GPU memory for each variant and micro-batch."""
    print("Peak memory in MiB by micro-batch (weights, gradients, AdamW, activations, F and theta*)")
    rows = []
    for variant, name in VARIANTS.items():
        trainer = Trainer(args)
        trainer.model.train()
        if variant != "a":
            trainer.hold()
        row = [f"({variant}) {name}"]
        for size in (2, 4, 8, 16):
            group = [
                make_batch(trainer.model, [args.clip_seconds] * size, range(i, i + size)) for i in range(ACCUMULATION)
            ]
            trainer.step(variant, group)
            torch.cuda.reset_peak_memory_stats()
            trainer.step(variant, group)
            row.append(f"{torch.cuda.max_memory_allocated() / 2**20:.0f}")
        rows.append(row)
        del trainer, group
        gc.collect()
        torch.cuda.empty_cache()
    table(["", "2", "4", "8", "16"], rows)


def fisher_time(args) -> None:
    """Fisher information, one utterance at a time."""
    model = make_model(args).eval()
    parameters = {n: p for n, p in model.named_parameters() if p.requires_grad}
    batches = [make_batch(model, [args.clip_seconds], [1000 + i]) for i in range(args.utterances)]
    start = clock(args.device)
    fisher.fisher(parameters, lambda batch: log_likelihood(model, batch), batches)
    seconds = clock(args.device) - start
    print(f"Fisher information: {seconds / args.utterances:.2f} s an utterance of {args.clip_seconds:g} s")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", choices=("base", "large"), default="base", help="of wav2vec2, random weights")
    parser.add_argument("--model", help="folder or hub name whose config.json to take instead; random weights")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--batch", type=int, default=2, help="clips in a micro-batch")
    parser.add_argument("--clip-seconds", type=float, default=1.0, help="short clips make the penalty look dear")
    parser.add_argument("--repetitions", type=int, default=9)
    parser.add_argument("--storage", choices=("device", "half", "host"), default="device")
    parser.add_argument("--utterances", type=int, default=16, help="of the Fisher information; 0: not measured")
    args = parser.parse_args()
    args.shape = LARGE if args.shape == "large" else {}
    torch.set_num_threads(args.threads)
    if args.repetitions:
        step_time(args)
    if args.repetitions and args.device != "cpu":
        peak_memory(args)
    if args.utterances:
        fisher_time(args)


if __name__ == "__main__":
    main()
