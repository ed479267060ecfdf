"""What windows filled with clips do to WER, after equal audio: of single clips, and of clips joined to long recordings.

    python -m benchmarks.packing_accuracy                                          # hparams/whisper_ft.yaml, German
    python -m benchmarks.packing_accuracy --model FOLDER --data FOLDER --language nl --updates 30 --lr 2.0e-5

Two runs with the same clips in each update, everything trained, no augmentation: one clip a window, and packed (a
fifth of the windows with one clip). FOLDER: a Whisper of transformers; clips and their manifest.tsv. Joined: the test
clips of a speaker, one after the other with pauses of 0.3 s, up to five sixths of the window (25 of 30 s). Printed for
docs/performance.md: WER with intervals, and the paired difference.
"""

import argparse
import csv
import subprocess
import sys
from itertools import groupby
from pathlib import Path

import numpy as np
import soundfile

from benchmarks.real_whisper import ON_A_CPU
from carryover import files
from carryover.report import predictions
from carryover.stats.systems import Estimate, Systems
from carryover.stats.units import units

ROOT = Path(__file__).resolve().parents[1]
RATE, PAUSE, SHARE = 16_000, 0.3, 5 / 6
VARIANTS = {
    "one clip a window": "!new:carryover.data.packing.OneClipAWindow",
    "packed": "!apply:recipes.whisper.packing [!ref <tokenizer>, !ref <whisper>, 0.2]",
}
COMMON = {
    "train": "all", "augment_prob": "0.0", "old_language": "null", "test_before": "False", "forgetting": "[]",
    "early_stopping_patience": "0",
}  # fmt: skip
REAL = ON_A_CPU | {"batch_size": "24", "save_every": "1000", "log_every": "5", "sample": "{valid: 60}"}


def call(*words: str) -> None:
    subprocess.run([sys.executable, *words], cwd=ROOT, check=True)


def train(args, name: str, folder: Path) -> None:
    """One variant to its end."""
    values = COMMON | {"collate": VARIANTS[name], "seed": str(args.seed), "output_folder": str(folder)}
    if args.model:
        yaml = "hparams/whisper_real.yaml"
        values |= REAL | {"model": args.model, "data_folder": args.data, "language": args.language, "lr": args.lr}
        values |= {"max_updates": str(args.updates), "valid_every": str(args.updates), "warmup": str(args.updates // 6)}
    else:
        yaml = "hparams/whisper_ft.yaml"
        values |= {"valid_every": "200"}
    call("train.py", yaml, "--noprogressbar", *(f"--{key}={value}" for key, value in values.items()))


def join(test: Path, folder: Path, longest: float) -> Path:
    """-> a list of recordings of up to `longest` seconds, each of the test clips of one speaker."""
    with open(test, encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    joined = []
    for speaker, of_speaker in groupby(sorted(rows, key=lambda row: row["speaker"]), lambda row: row["speaker"]):
        parts: list[list[dict]] = [[]]
        for row in of_speaker:
            seconds = sum(float(one["duration"]) + PAUSE for one in [*parts[-1], row])
            if parts[-1] and seconds > longest:
                parts.append([])
            parts[-1].append(row)
        for part in parts:
            path = folder / f"{speaker or 'one'}_{len(joined):03}.wav"
            silence = np.zeros(round(PAUSE * RATE))
            samples = [x for row in part for x in (soundfile.read(row["audio"])[0], silence)]
            soundfile.write(path, np.concatenate(samples), RATE)
            joined.append([path.name, " ".join(row["text"] for row in part), speaker, "test"])
    files.write_csv(folder / "joined.csv", ["path", "text", "speaker", "split"], joined)
    return folder / "joined.csv"


def compared(language: str, paths: dict[str, Path]) -> tuple[int, Systems]:
    """Utterances, and both variants on one test set, from the files of their predictions."""
    found = {name: sorted(predictions.read(path), key=lambda row: row.id) for name, path in paths.items()}
    rows = next(iter(found.values()))
    if any([row.id for row in other] != [row.id for row in rows] for other in found.values()):
        raise ValueError(f"{', '.join(map(str, paths.values()))}: not of the same recordings")
    errors = {name: np.array([[row.errors] for row in of]) for name, of in found.items()}
    over = units([row.speaker for row in rows], [row.words for row in rows])
    seeds = dict.fromkeys(found, ["1"])
    return len(rows), Systems(language, [row.words for row in rows], errors, seeds, over)


def cell(found: Estimate, sign: str = "") -> str:
    return f"{found.value:{sign}.2f} [{found.low:{sign}.2f}, {found.high:{sign}.2f}]"


def main(argv: list[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", help="a Whisper of transformers; default: the embedded starter")
    parser.add_argument("--data", help="folder of clips and manifest.tsv")
    parser.add_argument("--language", default="de")
    parser.add_argument("--updates", type=int, default=30, help="of 24 clips each, with --model")
    parser.add_argument("--lr", default="2.0e-5", help="with --model")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("results/packing_accuracy"))
    args = parser.parse_args(argv)
    runs = {name: args.out / name.replace(" ", "_") / str(args.seed) for name in VARIANTS}
    for name, folder in runs.items():
        train(args, name, folder.resolve())
    lists = args.out / "joined"
    lists.mkdir(exist_ok=True)
    first = next(iter(runs.values()))
    window = 30 if args.model else 10  # of the starter
    joined = join(first / "manifests" / args.language / "test.csv", lists, SHARE * window)
    for folder in runs.values():
        call("-m", "carryover.commands.app", "evaluate", str(folder), "--test", str(joined))
    heads = ["test", "recordings", *VARIANTS, "packed - one clip a window", "intervals"]
    print(f"| {' | '.join(heads)} |\n|---|--:|--:|--:|--:|---|")
    for what, name in (("single clips", f"test_{args.language}_best"), ("joined", "joined_joined_evaluate")):
        n, found = compared(args.language, {key: folder / f"predictions_{name}.csv" for key, folder in runs.items()})
        rates = [cell(found.rate(key)) for key in VARIANTS]
        difference = cell(found.difference("packed", "one clip a window"), "+")
        print(f"| {what} | {n} | {' | '.join([*rates, difference])} | over {found.units.over} |")


if __name__ == "__main__":
    main()
