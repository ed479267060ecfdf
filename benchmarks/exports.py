"""Decodes a run's whole test list with the run, transformers' pipeline, CTranslate2 and ONNX Runtime.

    python -m benchmarks.exports RUN [--folder FOLDER] [--threads 1]

Printed as a table for docs/guides/exporting.md: WER of each against that of the run, clips whose tokens (for the
pipeline: whose text) are the run's, seconds of decoding for a second of audio, and the size of what was written.
CTranslate2 in int8 and float16 stands beside float32.
"""

import argparse
import tempfile
import time
from pathlib import Path

import torch

from carryover.commands.export import formats, parity
from carryover.commands.export.asked import Asked
from carryover.commands.load import load_run
from carryover.stats import error_rates

ASKED = [("hf", None), ("ctranslate2", None), ("ctranslate2", "int8"), ("ctranslate2", "float16"), ("onnx", None)]


def size(folder: Path) -> float:
    """MB of a folder's files."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--folder", type=Path, help="where the exports are made; default: a temporary folder")
    parser.add_argument("--threads", type=int, default=1, help="of torch; the others take OMP_NUM_THREADS")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    brain, hparams, manifests = load_run(args.run, trusted=True)
    tokenizer, score = brain.hparams.tokenizer, brain.evaluation.normaliser
    path = manifests.path(hparams["language"], "test")
    begun = time.perf_counter()
    clips = list(parity.heard(brain, path, 10**9))
    audio = sum(len(clip.wav) for clip in clips) / 16000
    own = (time.perf_counter() - begun) / 2 / audio  # each clip is decoded twice, for tokens and for text

    def row(name: str, texts: list[str], same: list[bool], factor: float, megabytes: float | None) -> str:
        found = error_rates.totals([error_rates.score(c.row, t, score) for c, t in zip(clips, texts, strict=True)])
        cells = [name, f"{found['WER']:.2f}", f"{found['CER']:.2f}", f"{sum(same)} of {len(same)}", f"{factor:.3f}"]
        return "| " + " | ".join([*cells, "-" if megabytes is None else f"{megabytes:.1f}"]) + " |"

    print(f"{path}: {len(clips)} clips, {sum(len(c.ids) for c in clips)} tokens, {audio:.0f} s of audio")
    print("| decoded by | WER | CER | clips with the run's tokens | real-time factor | MB |\n|---|---|---|---|---|---|")
    print(row("the run", [tokenizer.decode(c.ids) for c in clips], [True] * len(clips), own, None), flush=True)
    with tempfile.TemporaryDirectory() as made:
        for to, quantization in ASKED:
            asked = Asked(to, quantization, 0, "unknown", None, False)
            folder = (args.folder or Path(made)) / asked.name.replace(" ", "_")
            folder.mkdir(parents=True)
            formats.write(brain, asked, folder)
            found = formats.decoders(brain, asked, folder)
            for name, decode in ((f"{asked.name}, greedy", found.tokens), ("transformers' pipeline", found.text)):
                if decode is None:
                    continue
                begun = time.perf_counter()
                said = [decode(clip.wav) for clip in clips]
                factor = (time.perf_counter() - begun) / audio
                if decode is found.text:
                    texts, same = said, [text == clip.text for text, clip in zip(said, clips, strict=True)]
                else:
                    texts = [tokenizer.decode(one) for one in said]
                    same = [one == clip.ids for one, clip in zip(said, clips, strict=True)]
                print(row(name, texts, same, factor, size(folder)), flush=True)


if __name__ == "__main__":
    main()
