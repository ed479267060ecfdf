"""Fine-tuning Whisper with a frozen encoder, side by side: ours, ours with kept states, and what others use.

    python -m benchmarks.training                               # whisper-tiny's size, random weights, embedded corpus
    python -m benchmarks.training --model FOLDER --data FOLDER  # real weights; clips and manifest.tsv
    python -m benchmarks.training --peer hf_trainer --peer speechbrain --json found.json

    ours          recipes/whisper.py, train: decoder, keep_states: null
    kept          the same with keep_states: float32; making the states is timed by itself
    hf_trainer    transformers' Seq2SeqTrainer, model.freeze_encoder(), log-mel features made beforehand (not timed)
    speechbrain   SpeechBrain's Whisper wrapper, freeze_encoder=True, as in its CommonVoice recipe

Everything trained, several clips a window: packing.py.

Same weights, clips, batches and order, AdamW, one precision, no augmentation. Each is its library's own loop in a
thread of its own; they take turns, one update each, so that a busy machine slows all alike. The first two updates of
each are left out. On a CPU, with one thread, time is the processor time of the thread, which others on the machine do
not add to; wall time stands beside it. Intervals: 95 %, bootstrap over rounds. Then a validation with states kept and
without.
"""

import argparse
import json
import os
import platform
import shutil
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from speechbrain import Stage
from transformers import WhisperConfig, WhisperFeatureExtractor, WhisperForConditionalGeneration

from benchmarks.peers import PEERS
from benchmarks.turns import DROPPED, Turn, Turns
from carryover import files
from carryover.config import settings
from carryover.data import audio
from carryover.data.preparation import prepare

ROOT = Path(__file__).parents[1]
TINY = {
    "d_model": 384, "encoder_layers": 4, "decoder_layers": 4, "encoder_attention_heads": 6,
    "decoder_attention_heads": 6, "encoder_ffn_dim": 1536, "decoder_ffn_dim": 1536,
    "max_source_positions": 1500, "max_target_positions": 448, "num_mel_bins": 80,
}  # fmt: skip

# ---- ours ----


def make_ours(args, model: str, folder: Path, name: str, keep: str, train: str = "decoder", **more: str):
    """A Brain of hparams/whisper_ft.yaml and its training and validation sets."""
    whisper = {
        "label_smoothing": "0.0", "ctc": "!new:carryover.losses.ctc.NoCTC", "loss_weights": "{nll: 1.0}",
        "generation_length": "40",
    }  # fmt: skip
    return make_brain(args, "whisper_ft", model, folder, name, keep, train, **(whisper | more))


def make_brain(args, yaml: str, model: str, folder: Path, name: str, keep: str, train: str, **more: str):
    """A Brain of a YAML that trains on Dutch clips, all its updates alike, and its training and validation sets."""
    overrides = {
        "model": model, "language": "nl", "old_language": "null", "output_folder": str(folder / name),
        "train": train, "keep_states": keep, "batch_size": str(args.batch), "max_updates": str(args.updates),
        "warmup": "0.1", "lr": "1.0e-5", "stop_signals": "[]", "log_every": "100000", "augment_prob": "0.0",
        "valid_every": "100000", "save_every": "100000", "precision": args.precision,
    }  # fmt: skip
    overrides |= more
    if args.data:
        overrides |= {"corpus": "!name:local.table.utterances", "data_folder": args.data}
    else:
        corpus = f"!name:local.synthetic.utterances {{hours: {args.hours}}}"
        overrides |= {"corpus": corpus, "data_folder": str(folder / "data")}
    text = (ROOT / "hparams" / f"{yaml}.yaml").read_text(encoding="utf-8")
    hparams = settings.load(text, overrides)
    hparams["forgetting"] = []
    manifests = folder / name / "manifests"
    prepare(hparams["corpus"], hparams["data_folder"], manifests, "nl", ("train", "valid"), hparams["limits"])
    options = {"device": args.device, "noprogressbar": True}
    brain = hparams["brain"](hparams["modules"], hparams["optimizer"], hparams, options, None)
    sets = [brain.read(manifests / f"{split}.csv") for split in ("train", "valid")]
    for dataset, n in zip(sets, (args.clips, args.valid), strict=True):
        dataset.data_ids = dataset.data_ids[:n]
        dataset.data = {ID: dataset.data[ID] for ID in dataset.data_ids}
    return brain, sets


def run_ours(brain, sets, args, turns, name):
    """-> processor and wall seconds of what comes before the first update."""
    brain.methods = [Turn(turns, name)]
    workers = {"num_workers": args.workers}
    brain.fit(
        range(1, 2), sets[0], valid_loader_kwargs=workers | {"batch_size": args.batch},
        train_loader_kwargs=workers | {"batch_size": brain.hparams.batch_size, "shuffle": False},
    )  # fmt: skip
    return brain.methods[0].making


# ---- measuring ----


def ratio(of: np.ndarray, to: np.ndarray) -> list[float]:
    """Mean of one over mean of the other, and its 95 % interval over rounds."""
    n = min(len(of), len(to))
    drawn = np.random.default_rng(0).integers(0, n, (10_000, n))
    many = of[:n][drawn].mean(axis=1) / to[:n][drawn].mean(axis=1)
    return [round(float(x), 3) for x in (of[:n].mean() / to[:n].mean(), *np.percentile(many, [2.5, 97.5]))]


def make_tiny(folder: Path, source: Path) -> str:
    """whisper-tiny's shape with random weights and the tokenizer of another model."""
    return make_random(folder / "tiny", source, TINY)


def make_random(folder: Path, source: Path, shape: dict, weights: bool = True) -> str:
    """A Whisper of a shape (a config's keys) with random weights, or with none, and the tokenizer of another model.

    Where `shape` has a vocab_size, units without a text fill the tokenizer up.
    """
    torch.manual_seed(0)
    config = WhisperConfig.from_pretrained(source, **shape)
    if weights:
        WhisperForConditionalGeneration(config).save_pretrained(folder)
    else:
        config.save_pretrained(folder)
    seconds = config.max_source_positions // 50
    WhisperFeatureExtractor(config.num_mel_bins, chunk_length=seconds).save_pretrained(folder)
    tokenizer = json.loads((source / "tokenizer.json").read_text(encoding="utf-8"))
    vocabulary = tokenizer["model"]["vocab"]
    vocabulary |= {token["content"]: token["id"] for token in tokenizer["added_tokens"]}  # else they are renumbered
    vocabulary |= {f"<unit {n}>": n for n in range(len(vocabulary), shape.get("vocab_size", 0))}
    files.write_json(folder / "tokenizer.json", tokenizer)
    shutil.copy(source / "tokenizer_config.json", folder)
    return str(folder)


def clips_of(dataset) -> list[tuple[torch.Tensor, list[int]]]:
    """Waveform and tokens of each clip, for the peers."""
    items = [dataset[i] for i in range(len(dataset))]
    return [(audio.read(item["row"]["audio"]), item["tokens"].tolist()) for item in items]


def add_place(parser: argparse.ArgumentParser) -> None:
    """Options that say where and in what precision to compute."""
    parser.add_argument("--device", default="cpu", help="or cuda")
    parser.add_argument("--precision", default="fp32", choices=("fp32", "bf16"))
    parser.add_argument("--workers", type=int, default=0, help="processes that read clips")
    parser.add_argument("--hours", type=float, default=0.1, help="of training audio of the embedded corpus")


def clock(args) -> int:
    """Which of a turn's times counts: 0 the thread's processor time, 1 wall time."""
    return 0 if args.threads == 1 and args.device == "cpu" else 1


def validations(brains: dict, sets: dict, args) -> dict:
    """Seconds of validations in turns, with kept states (made by a first one) and without; the same hypotheses?"""
    seconds, said = {name: [] for name in brains}, {}
    for repetition in range(args.repetitions + 1):
        for name, brain in brains.items():
            loader = brain.make_dataloader(sets[name], Stage.VALID, ckpt_prefix=None, batch_size=args.batch)
            start = time.process_time(), time.perf_counter()
            _, rows = brain.evaluation.score(loader, Stage.VALID)
            spent = time.process_time() - start[0], time.perf_counter() - start[1]
            said[name] = [row["hypothesis"] for row in rows]
            if repetition:
                seconds[name].append(spent)
    cpu, wall = ({name: np.array(s)[:, k] for name, s in seconds.items()} for k in (0, 1))
    return {
        "clips": len(said["kept"]), "same_hypotheses": said["kept"] == said["ours"],
        "seconds": {name: round(float(s.mean()), 2) for name, s in cpu.items()},
        "faster": ratio(cpu["ours"], cpu["kept"]), "faster_wall": ratio(wall["ours"], wall["kept"]),
    }  # fmt: skip


def measure(args, folder: Path) -> dict:
    """All variants in turns."""
    os.environ["CARRYOVER_CACHE"] = str(folder / "cache")
    model = args.model or make_tiny(folder, Path(args.tokenizer))
    ours = {name: make_ours(args, model, folder, name, keep) for name, keep in (("ours", "null"), ("kept", args.keep))}
    rows = clips_of(ours["ours"][1][0])
    names = [*ours, *args.peer]
    turns, making = Turns(names), {}

    def loop(name):
        if name in ours:
            making[name] = run_ours(*ours[name], args, turns, name)[clock(args)]
        else:
            PEERS[name](model, rows, args, turns, name)

    turns.run(loop, args.threads)
    seconds = {name: np.array(turns.seconds[name])[DROPPED:] for name in names}
    column = clock(args)
    audio_seconds = sum(len(wav) for wav, _ in rows) / 16000 / len(rows) * args.batch
    epoch = len(rows) / args.batch  # updates

    def whole(name, epochs):
        return making["kept"] * (name == "kept") + epochs * epoch * seconds[name][:, column].mean()

    found = {
        "machine": f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, {args.threads} thread(s)",
        "device": args.device, "precision": args.precision,
        "model": Path(args.model).name if args.model else "whisper-tiny's size, random weights", "batch": args.batch,
        "clips": len(rows), "updates": args.updates, "keep_states": args.keep, "audio_seconds_an_update": audio_seconds,
        "making_seconds_a_clip": making["kept"] / len(rows), "variants": {},
    }  # fmt: skip
    for name in names:
        cpu, wall = seconds[name].T
        found["variants"][name] = {
            "seconds_an_update": float(seconds[name][:, column].mean()), "wall": float(wall.mean()),
            "audio_seconds_a_second": audio_seconds / float(seconds[name][:, column].mean()),
            "kept_is_faster": ratio(seconds[name][:, column], seconds["kept"][:, column]),
            "kept_is_faster_wall": ratio(wall, seconds["kept"][:, 1]),
            "whole_run_3_epochs": round(whole(name, 3) / whole("kept", 3), 2),
            "whole_run_10_epochs": round(whole(name, 10) / whole("kept", 10), 2),
        }  # fmt: skip
    if args.valid:
        torch.set_num_threads(args.threads)
        brains = {name: brain for name, (brain, _) in ours.items()}
        found["validation"] = validations(brains, {name: sets[1] for name, (_, sets) in ours.items()}, args)
    return found


def table(found: dict) -> str:
    """Markdown."""
    lines = [
        f"{found['model']}, batches of {found['batch']} ({found['audio_seconds_an_update']:.1f} s of audio), "
        f"{found['updates']} updates each in turns; {found['machine']}; states kept in {found['keep_states']}, "
        f"made in {found['making_seconds_a_clip']:.2f} s a clip\n",
        "| | s an update | audio s a second | kept is faster by | by wall time | over 3 epochs | over 10 |",
        "|---|--:|--:|--:|--:|--:|--:|",
    ]
    for name, v in found["variants"].items():
        by, wall = ("{:.2f} [{:.2f}, {:.2f}]".format(*v[key]) for key in ("kept_is_faster", "kept_is_faster_wall"))
        lines.append(
            f"| {name} | {v['seconds_an_update']:.2f} | {v['audio_seconds_a_second']:.1f} | {by} | {wall} "
            f"| {v['whole_run_3_epochs']:.2f} | {v['whole_run_10_epochs']:.2f} |"
        )
    if v := found.get("validation"):
        lines.append(
            f"\nValidation of {v['clips']} clips, greedy: {v['seconds']['ours']:.1f} s, kept "
            f"{v['seconds']['kept']:.1f} s: "
            + "{:.2f} [{:.2f}, {:.2f}] times as fast".format(*v["faster"])
            + f"; the same hypotheses: {'yes' if v['same_hypotheses'] else 'NO'}"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", help="folder of a Whisper; default: whisper-tiny's size with random weights")
    starter = ROOT / "assets" / "whisper_starter"
    parser.add_argument(
        "--tokenizer", default=starter, help="without --model: folder of the Whisper whose tokenizer it has"
    )
    parser.add_argument("--data", help="folder with manifest.tsv; default: the embedded corpus")
    parser.add_argument("--peer", action="append", choices=PEERS, help="default: all")
    parser.add_argument("--keep", default="float32", choices=("float32", "float16"))
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--clips", type=int, default=40)
    parser.add_argument("--updates", type=int, default=12, help=f"of each variant, {DROPPED} of them to warm up")
    parser.add_argument("--valid", type=int, default=16, help="clips of the validation; 0: none")
    parser.add_argument("--repetitions", type=int, default=3, help="of the validation")
    parser.add_argument("--threads", type=int, default=1)
    add_place(parser)
    parser.add_argument("--json", help="write what was found here, too")
    args = parser.parse_args()
    args.peer, args.train = list(PEERS) if args.peer is None else args.peer, "decoder"
    torch.set_num_threads(args.threads)
    with tempfile.TemporaryDirectory() as folder:
        found = measure(args, Path(folder))
    print(table(found))
    if args.json:
        Path(args.json).write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
