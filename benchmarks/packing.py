"""Training all of Whisper on short clips, side by side: one clip a window, several in one, and what others use.

    python -m benchmarks.packing                               # whisper-tiny's size, random weights, embedded corpus
    python -m benchmarks.packing --model FOLDER --data FOLDER  # real weights; clips and manifest.tsv

    ours          recipes/whisper.py, train: all, one clip a window
    packed        the same with `collate: !apply:recipes.whisper.packing`: as many windows an update, filled with clips
    hf_trainer    transformers' Seq2SeqTrainer, log-mel features made beforehand (not timed)
    speechbrain   SpeechBrain's Whisper wrapper, as in its CommonVoice recipe

Same weights and optimizer, one precision, no augmentation; turns and times as in training.py. What counts is how many
seconds of audio are learned from in a second.
"""

import argparse
import json
import os
import tempfile
from pathlib import Path

import numpy as np
import torch

from benchmarks.peers import PEERS
from benchmarks.training import ROOT, add_place, clips_of, clock, make_ours, make_tiny, ratio, run_ours
from benchmarks.turns import DROPPED, Turns

PACKED = "!apply:recipes.whisper.packing [!ref <tokenizer>, !ref <whisper>]"


class Heard:
    """Counts what each micro-batch of a Brain holds: seconds of audio, with padding too, windows, longest target."""

    def __init__(self, brain):
        self.seconds, self.padded, self.windows, self.tokens = [], [], [], []
        statistics = brain.batch_statistics

        def counted(output, batch):
            found = statistics(output, batch)
            self.seconds.append(found["audio_seconds"])
            self.padded.append(found["frames"])
            self.windows.append(len(batch.row))
            self.tokens.append(batch.tokens.data.shape[1])
            return found

        brain.batch_statistics = counted


def measure(args, folder: Path) -> dict:
    """All variants in turns."""
    os.environ["CARRYOVER_CACHE"] = str(folder / "cache")
    model = args.model or make_tiny(folder, Path(args.tokenizer))
    many = str(args.batch * args.fill)
    ours = {
        "ours": make_ours(args, model, folder, "ours", "null", "all"),
        "packed": make_ours(args, model, folder, "packed", "null", "all", collate=PACKED, batch_size=many),
    }
    heard = {name: Heard(brain) for name, (brain, _) in ours.items()}
    rows = clips_of(ours["ours"][1][0])
    names = [*ours, *args.peer]
    turns = Turns(names)

    def loop(name):
        if name in ours:
            run_ours(*ours[name], args, turns, name)
        else:
            PEERS[name](model, rows, args, turns, name)

    turns.run(loop, args.threads)
    column = clock(args)
    lengths = np.array([len(wav) / 16000 for wav, _ in rows])
    spent = {name: np.array(turns.seconds[name])[DROPPED:, column] for name in names}
    n = min(map(len, spent.values()))
    learned = {name: np.array(heard[name].seconds)[DROPPED : DROPPED + n] for name in ours}
    learned |= dict.fromkeys(args.peer, learned["ours"])  # the same clips in the same order
    rate = {name: learned[name][:n].sum() / spent[name][:n].sum() for name in names}
    # seconds that a second of audio takes, update by update
    each = {name: spent[name][:n] / learned[name][:n] for name in names}
    return {
        "model": Path(args.model).name if args.model else "whisper-tiny's size, random weights",
        "clip_seconds": float(lengths.mean()), "updates": n, "threads": args.threads,
        "windows": {name: float(np.mean(heard[name].windows[DROPPED : DROPPED + n])) for name in ours},
        "audio_seconds_an_update": {name: float(learned[name].mean()) for name in names},
        "seconds_an_update": {name: float(spent[name][:n].mean()) for name in names},
        "audio_seconds_a_second": {name: float(x) for name, x in rate.items()},
        "packed_is_faster": {name: ratio(each[name], each["packed"]) for name in names},
    }  # fmt: skip


def table(found: dict) -> str:
    """Markdown."""
    lines = [
        f"{found['model']}, clips of {found['clip_seconds']:.1f} s on average, {found['updates']} updates of each in "
        f"turns, {found['threads']} thread(s); windows an update: {found['windows']['ours']:.1f}, packed "
        f"{found['windows']['packed']:.1f}\n",
        "| | s an update | audio s an update | audio s a second | packed learns from as much audio faster by |",
        "|---|--:|--:|--:|--:|",
    ]
    for name, by in found["packed_is_faster"].items():
        values = (
            found[key][name] for key in ("seconds_an_update", "audio_seconds_an_update", "audio_seconds_a_second")
        )
        lines.append("| {} | {:.2f} | {:.1f} | {:.2f} | {:.2f} [{:.2f}, {:.2f}] |".format(name, *values, *by))
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", help="folder of a Whisper; default: whisper-tiny's size with random weights")
    starter = ROOT / "assets" / "whisper_starter"
    parser.add_argument("--tokenizer", default=starter, help="without --model: of which Whisper the tokenizer is")
    parser.add_argument("--data", help="folder with manifest.tsv; default: the embedded corpus")
    parser.add_argument("--peer", action="append", choices=PEERS, help="default: all")
    parser.add_argument("--batch", type=int, default=2, help="windows an update")
    parser.add_argument("--fill", type=int, default=10, help="clips for each window, of which as many are put as fit")
    parser.add_argument("--clips", type=int, default=240)
    parser.add_argument("--updates", type=int, default=10, help=f"of each variant, {DROPPED} of them to warm up")
    parser.add_argument("--threads", type=int, default=1)
    add_place(parser)
    parser.add_argument("--json", help="write what was found here, too")
    args = parser.parse_args()
    args.peer, args.train, args.valid = list(PEERS) if args.peer is None else args.peer, "all", 4
    torch.set_num_threads(args.threads)
    with tempfile.TemporaryDirectory() as folder:
        found = measure(args, Path(folder))
    print(table(found))
    if args.json:
        Path(args.json).write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
