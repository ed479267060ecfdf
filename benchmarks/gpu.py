"""What training costs on this machine's GPU, in under nine minutes: random weights in real shapes, no network.

    sh benchmarks/gpu.sh                            # gpu.json and gpu.md in results/gpu
    python -m benchmarks.gpu --small --out FOLDER   # the same at tiny sizes, on a CPU too

Whisper (small, large-v3) by recipes/whisper.py and wav2vec2-large by recipes/ctc.py on the embedded corpus, in bf16:

    trained        everything
    frozen         the decoder alone; the encoder runs in every update
    states kept    the same, the encoder's states found on the disk (CTC: those below the head, or of the stem)
    packed         everything, several clips a window
    LoRA           adapters of rank 8
    hf_trainer, speechbrain   what others use, the encoder frozen: see peers.py

Then, by ewc_cost.py on wav2vec2-large: EWC in place and as a loss, micro-batches of 2 to 16 with their peak memory, and
Fisher information one utterance at a time and in batches. MFU and what it counts: flops.py. Waiting for data: the share
of the time of updates in which the next batch is not there. Each measurement has its time; what there was no time or
memory for is said in the table, which is written anew after each.
"""

import argparse
import os
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
import transformers
from transformers import Wav2Vec2Config, Wav2Vec2FeatureExtractor

from benchmarks import ewc_cost, flops, gpu_table
from benchmarks.packing import PACKED, Heard
from benchmarks.peers import PEERS
from benchmarks.training import ROOT, clips_of, clock, make_brain, make_ours, make_random, run_ours
from benchmarks.turns import DROPPED, Turns
from carryover import files

STARTER = ROOT / "assets" / "whisper_starter"
LORA = "!new:carryover.models.lora.LoRA {rank: 8, alpha: 16}"
# What a variant of Whisper trains and keeps, and the passes of its encoder and decoder (flops.py)
WHISPER = {
    "trained": ("all", "null", flops.TRAINED, flops.TRAINED),
    "frozen": ("decoder", "null", flops.RUN, flops.TRAINED),
    "states kept": ("decoder", "float16", flops.KEPT, flops.TRAINED),
    "packed": ("all", "null", flops.TRAINED, flops.TRAINED),
    "LoRA": ("lora", "null", flops.ADAPTED, flops.ADAPTED),
}
# The same of wav2vec2: the passes of its stem, and of what is behind
CTC = {
    "trained": ("all_but_stem", "null", flops.RUN, flops.TRAINED),
    "trained, stem kept": ("all_but_stem", "float16", flops.KEPT, flops.TRAINED),
    "LoRA": ("lora", "null", flops.RUN, flops.ADAPTED),
    "head, states kept": ("head", "float16", flops.KEPT, flops.KEPT),
}


def shape(width: int, layers: int, heads: int, bands: int, units: int) -> dict:
    """Keys of a Whisper's config."""
    both = {"layers": layers, "attention_heads": heads, "ffn_dim": 4 * width}
    found = {f"{part}_{key}": n for part in ("encoder", "decoder") for key, n in both.items()}
    return found | {
        "d_model": width, "num_mel_bins": bands, "vocab_size": units, "max_source_positions": 1500,
        "max_target_positions": 448, "init_std": 0.02,
    }  # fmt: skip


REAL = {
    "whisper": {
        "whisper-small": (shape(768, 12, 12, 80, 51865), {"batch": 16, "updates": 12, "seconds": 10, "least": 25}),
        "whisper-large-v3": (shape(1280, 32, 20, 128, 51866), {"batch": 8, "updates": 12, "seconds": 12, "least": 60}),
    },
    "peers": "whisper-small",
    "ctc": ("wav2vec2-large", ewc_cost.LARGE, {"batch": 32, "updates": 20, "seconds": 10, "least": 25}),
    "fill": 10, "hours": 1.2, "workers": 8, "precision": "bf16",
    "ewc": {"batch": 4, "clip_seconds": 5.0, "repetitions": 20, "seconds": 20.0, "utterances": 32, "least": 30},
}  # fmt: skip
SMALL = {
    "whisper": {
        "whisper-small": (shape(32, 2, 2, 80, 320), {"batch": 2, "updates": 4, "seconds": 5, "least": 0}),
        "whisper-large-v3": (shape(48, 2, 2, 128, 330), {"batch": 2, "updates": 4, "seconds": 5, "least": 0}),
    },
    "peers": "whisper-small",
    "ctc": (
        "wav2vec2-large",
        ewc_cost.LARGE
        | {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64,
           "conv_dim": (16,) * 7, "num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 4},
        {"batch": 2, "updates": 4, "seconds": 5, "least": 0},
    ),
    "fill": 3, "hours": 0.02, "workers": 0, "precision": "fp32",
    "ewc": {"batch": 2, "clip_seconds": 1.0, "repetitions": 2, "seconds": 5.0, "utterances": 8, "least": 0},
}  # fmt: skip


class Measurements:
    """What is planned and what was found; each is given up where it fails, or there is no time, and that is said."""

    def __init__(self, args, folder: Path):
        self.args, self.folder, self.sizes = args, folder, SMALL if args.small else REAL
        self.begun, self.until = time.monotonic(), time.monotonic() + args.minutes * 60
        on_gpu = args.device == "cuda"
        card = torch.cuda.get_device_name() if on_gpu else None
        self.peak = flops.peak(card) if on_gpu else None
        self.plan: list[tuple[dict, Callable, float]] = []
        self.found = {
            "card": card, "peak_teraflops": self.peak and self.peak / 1e12, "small": args.small,
            "memory_GiB": torch.cuda.get_device_properties(0).total_memory / 2**30 if on_gpu else None,
            "precision": self.sizes["precision"], "torch": torch.__version__, "transformers": transformers.__version__,
            "seconds": 0.0, "rows": [], "ewc": {}, "micro_batches": {}, "fisher": {},
        }  # fmt: skip

    def add(self, row: dict, function: Callable[[], dict], least: float) -> None:
        """Plan a measurement that is put into `row` and takes `least` seconds or more."""
        row["not_measured"] = "no time was left"
        self.plan.append((row, function, least))

    def add_row(self, function: Callable, model: str, source: str, variant: str, given: dict) -> None:
        """Plan a row of the table of updates, which `function` makes of these."""
        row = {"model": model, "variant": variant}
        self.found["rows"].append(row)
        self.add(row, partial(function, self, model, source, variant, given), given["least"])

    def run(self) -> None:
        """Measure all that there is time for."""
        self.write()
        for row, function, least in self.plan:
            if self.left() < least:
                continue
            print(f"\n---- {' '.join(str(v) for k, v in row.items() if k != 'not_measured')}", flush=True)
            try:
                row |= function() | {"not_measured": None}
            except Exception as error:
                cause = error.__cause__ or error
                out = isinstance(cause, (torch.OutOfMemoryError, MemoryError))
                said = " ".join(f"{type(cause).__name__}: {cause}".replace("|", "/").split())  # a cell of a table
                row["not_measured"] = "out of memory" if out else said[:300]
            ewc_cost.empty()
            self.write()

    def left(self) -> float:
        """Seconds."""
        return self.until - time.monotonic()

    def write(self) -> None:
        """Write gpu.json and gpu.md."""
        self.found["seconds"] = round(time.monotonic() - self.begun, 1)
        self.found["ratios"] = gpu_table.ratios(self.found)
        files.write_json(Path(self.args.out) / "gpu.json", self.found)
        files.write(Path(self.args.out) / "gpu.md", gpu_table.markdown(self.found))

    def options(self, given: dict, **more):
        """Arguments of training.py's functions."""
        ours = {
            "data": None, "hours": self.sizes["hours"], "valid": 0, "threads": 1, "device": self.args.device,
            "precision": self.sizes["precision"], "workers": self.sizes["workers"], "train": "decoder",
            "batch": given["batch"], "updates": given["updates"], "clips": given["batch"] * given["updates"],
        }  # fmt: skip
        return argparse.Namespace(**(ours | more))

    def timed(self, name: str, loop: Callable, seconds: float, args) -> dict:
        """Run a loop; -> its updates' seconds, of wall time in all, and peak memory."""
        on_gpu = args.device == "cuda"
        if on_gpu:
            torch.cuda.reset_peak_memory_stats()
        turns = Turns([name], limit=min(seconds, max(1.0, self.left() - 5)))
        turns.run(lambda _: loop(turns), args.threads)
        return {
            "seconds": [round(spent[clock(args)], 5) for spent in turns.seconds[name][DROPPED:]],
            "wall_seconds": sum(wall for _, wall in turns.seconds[name][DROPPED:]),
            "peak_MiB": torch.cuda.max_memory_allocated() / 2**20 if on_gpu else None,
        }  # fmt: skip


def update(measured: Measurements, args, made: tuple, name: str, seconds: float, of_batch: Callable) -> dict:
    """A row of a Brain's updates; of_batch(what was heard) -> FLOPs of all of it."""
    brain, sets = made
    heard = Heard(brain)
    found = measured.timed(name, lambda turns: run_ours(brain, sets, args, turns, name), seconds, args)
    waited = brain.methods[0].waited
    updates, rate = len(waited), len(found["seconds"]) / sum(found["seconds"])
    operations, audio = of_batch(heard) / updates, sum(heard.seconds) / updates
    return found | {
        "batch": sum(heard.windows) / updates, "halvings": brain.progress.halvings,
        "audio_seconds": audio, "audio_seconds_a_second": audio * rate,
        "waits_for_data": (waited[-1] - waited[DROPPED - 1]) / found["wall_seconds"], "flops": operations,
        "MFU": measured.peak and operations * rate / measured.peak,
    }  # fmt: skip


def whisper(measured: Measurements, model: str, source: str, variant: str, given: dict) -> dict:
    """Updates of a Whisper."""
    train, keep, encoder, decoder = WHISPER[variant]
    many = given["batch"] * (measured.sizes["fill"] if variant == "packed" else 1)
    args = measured.options(given, clips=many * given["updates"])
    more = {"from_scratch": "True", "batch_size": str(many)}
    more |= {"collate": PACKED} if variant == "packed" else {"lora": LORA} if variant == "LoRA" else {}
    name = f"{model} {variant}"
    made = make_ours(args, source, measured.folder, name, keep, train, **more)
    brain, _ = made
    config, prompt = brain.modules.whisper.config, brain.hparams.tokenizer.prompt_length

    def operations(heard: Heard) -> float:
        batches = zip(heard.windows, heard.tokens, strict=True)
        return sum(n * flops.whisper(config, t - 1, t - prompt, encoder, decoder) for n, t in batches)

    return update(measured, args, made, name, given["seconds"], operations)


def ctc(measured: Measurements, model: str, source: str, variant: str, given: dict) -> dict:
    """Updates of a wav2vec2."""
    train, keep, stem, encoder = CTC[variant]
    args, name = measured.options(given), f"{model} {variant}"
    more = {"from_scratch": "True", "layerdrop": "0.0", "group_by_length": "False"}
    more |= {"lora": LORA} if variant == "LoRA" else {}
    made = make_brain(args, "ctc_real", source, measured.folder, name, keep, train, **more)
    config = made[0].modules.acoustic.hf.config

    def operations(heard: Heard) -> float:
        batches = zip(heard.windows, heard.padded, strict=True)
        return sum(n * flops.wav2vec2(config, 16_000 * s / n, stem, encoder) for n, s in batches)

    return update(measured, args, made, name, given["seconds"], operations)


def peer(measured: Measurements, model: str, source: str, name: str, given: dict) -> dict:
    """Updates of another library's loop on the same clips."""
    args = measured.options(given)
    _, sets = make_ours(args, source, measured.folder, f"{model} {name}", "null", from_scratch="True")
    rows = clips_of(sets[0])
    found = measured.timed(name, lambda turns: PEERS[name](source, rows, args, turns, name), given["seconds"], args)
    heard, n = sum(len(wav) for wav, _ in rows) / 16_000 / args.updates, len(found["seconds"])
    more = {"batch": args.batch, "audio_seconds": heard, "audio_seconds_a_second": heard * n / sum(found["seconds"])}
    return found | more


def plan(measured: Measurements) -> None:
    """What is measured, in this order: what is asked for most comes first."""
    sizes, folder = measured.sizes, measured.folder
    ctc_model, ctc_shape, given = sizes["ctc"]
    ewc = argparse.Namespace(
        model=None, shape=ctc_shape, device=measured.args.device, threads=1, storage="device", fisher_batches=[4, 8],
        precision=sizes["precision"], **sizes["ewc"],
    )  # fmt: skip
    measured.add(measured.found["ewc"], partial(ewc_cost.step_time, ewc), ewc.least)
    measured.add(measured.found["micro_batches"], lambda: {"rows": ewc_cost.by_micro_batch(ewc)}, ewc.least)
    measured.add(measured.found["fisher"], partial(ewc_cost.fisher_time, ewc), ewc.least)
    source = folder / ctc_model
    Wav2Vec2Config(**ctc_shape).save_pretrained(source)
    Wav2Vec2FeatureExtractor(return_attention_mask=True).save_pretrained(source)
    for variant in CTC:
        measured.add_row(ctc, ctc_model, str(source), variant, given)
    sources = {
        model: make_random(folder / model, STARTER, keys, weights=model == sizes["peers"])
        for model, (keys, _) in sizes["whisper"].items()
    }
    for variant in WHISPER:
        for model, (_, given) in sizes["whisper"].items():
            measured.add_row(whisper, model, sources[model], variant, given)
    for name in PEERS:
        measured.add_row(peer, sizes["peers"], sources[sizes["peers"]], name, sizes["whisper"][sizes["peers"]][1])


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", default="results/gpu", help="folder of gpu.json and gpu.md")
    parser.add_argument("--small", action="store_true", help="tiny sizes")
    device = "cuda" if torch.cuda.is_available() else "cpu"
    parser.add_argument("--device", choices=("cpu", "cuda"), default=device)
    parser.add_argument("--minutes", type=float, default=8.5, help="after which nothing more is begun")
    args = parser.parse_args(argv)
    if args.device == "cpu" and not args.small:
        parser.error("there is no GPU: --small is the form for a CPU")
    torch.set_num_threads(1 if args.device == "cpu" else torch.get_num_threads())
    with TemporaryDirectory() as folder:
        os.environ["CARRYOVER_CACHE"] = str(Path(folder) / "cache")
        measured = Measurements(args, Path(folder))
        plan(measured)
        try:
            measured.run()
        except KeyboardInterrupt:  # gpu.sh's own limit
            print("Ended by a signal.")
    print(f"\n{gpu_table.markdown(measured.found)}\n{args.out}/gpu.json, {args.out}/gpu.md")


if __name__ == "__main__":
    main()
