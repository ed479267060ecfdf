"""What checksums, flushing and comparisons cost a run: python benchmarks/safety_cost.py [--clips 20000] [--json F]

A checkpoint of whisper-tiny's size (37.8 M weights and AdamW's two states) is written by us and, in turns, by the same
library calls alone; the newest is found and loaded with its checksums and without; starting weights are digested; a
corpus's list and files are compared with what they were. Seconds: medians over rounds. Share: of a run of 5 000 updates
with a checkpoint each 500, begun once and resumed once, at so many seconds an update; in processor seconds, and for
flushing in wall seconds.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

import torch
from safetensors.torch import save_model
from training import ROOT, make_tiny
from transformers import WhisperForConditionalGeneration

from carryover import checksums
from carryover.data import listed, manifest
from carryover.data.limits import Limits
from carryover.data.utterance import Utterance
from carryover.runs import same_run
from carryover.training import checkpoint

UPDATES, EVERY = 5000, 500
STARTER = ROOT / "assets" / "whisper_starter"


class Watch:
    """Wall and processor seconds by name."""

    def __init__(self):
        self.found: dict[str, list[tuple[float, float]]] = {}

    @contextmanager
    def of(self, name: str):
        begun = time.perf_counter(), time.process_time()
        yield
        spent = time.perf_counter() - begun[0], time.process_time() - begun[1]
        self.found.setdefault(name, []).append(spent)

    def wrapped(self, name: str, function):
        def timed(*args, **kwargs):
            with self.of(name):
                return function(*args, **kwargs)

        return timed

    def summed(self, name: str, function):
        """The same of a function that is called several times in a round: their sum is one value."""
        self.found.setdefault(name, []).append((0.0, 0.0))

        def timed(*args, **kwargs):
            with self.of("one"):
                found = function(*args, **kwargs)
            spent = self.found.pop("one")[0]
            self.found[name][-1] = tuple(map(sum, zip(self.found[name][-1], spent, strict=True)))
            return found

        return timed

    def medians(self) -> dict[str, dict[str, float]]:
        def median(values, i):
            return round(statistics.median(v[i] for v in values), 4)

        return {name: {"wall": median(v, 0), "processor": median(v, 1)} for name, v in self.found.items()}


def checkpoints(folder: Path, rounds: int, watch: Watch) -> None:
    """Write, find and load a checkpoint, ours and bare in turns."""
    model = WhisperForConditionalGeneration.from_pretrained(make_tiny(folder, STARTER))
    optimizer = torch.optim.AdamW(model.parameters())
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    ours = checkpoint.Checkpointer(folder / "save", belongs_to={"run": "a"})
    ours.add_module("whisper", model)
    ours.add_optimizer("optimizer", optimizer)
    bare = folder / "bare"
    bare.mkdir()
    for n in range(rounds):
        with watch.of("bare checkpoint"):
            save_model(model, str(bare / "model.safetensors"))
            torch.save(optimizer.state_dict(), bare / "optimizer.pt")
        flush = watch.summed("of it: flushing to the disk", checkpoint.flush)
        with (
            mock.patch.object(checksums, "seal", watch.wrapped("of it: checksums", checksums.seal)),
            mock.patch.object(checkpoint, "flush", flush),
            watch.of("checkpoint"),
        ):
            ours.save_checkpoint({"update": n + 1, "epoch": 1}, verbosity=10)
        last = sorted((folder / "save").glob("CKPT*"))[-1]
        with watch.of("checksums of a checkpoint at resume"):
            assert not checksums.faults(last)
        with watch.of("loading it"):
            checkpoint._load_weights(model, last / "whisper.safetensors", True)
            checkpoint._load_tensors(optimizer, last / "optimizer.pt", True)
        with watch.of("digest of the starting weights"):
            same_run.starting_weights(folder, {}, {"whisper": model})


def corpus(folder: Path, clips: int, rounds: int, watch: Watch) -> None:
    """Compare a corpus with its list, and manifests with their digests, as each start of a run does."""
    folder.mkdir()
    utterances = []
    for n in range(clips):
        path = folder / f"{n}.wav"
        path.write_bytes(b"RIFF")
        utterances.append(
            Utterance(str(n), str(path), "nl", f"s{n % 50}", f"zin {n} van deze lijst", "train", duration=3)
        )
    contents = {("train", u.ID): u.ID for u in utterances}
    listed.write(folder, utterances, contents)
    steps = {step: {"train": clips} for step in manifest.STEPS}
    manifest.write(folder, {"train": utterances}, [], steps, {"settings": {}, "counts": {}, "forms": {}})
    for _ in range(rounds):
        with watch.of("manifests against their digests"):
            assert manifest.read_done(folder)
        with watch.of("list and files of the corpus against what they were"):
            assert listed.changes(folder, utterances, Limits().inspect)[0] == []


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--update", type=float, nargs="*", default=[2.652, 0.1], help="seconds an update")
    parser.add_argument("--json")
    args = parser.parse_args()
    torch.set_num_threads(1)
    watch = Watch()
    with tempfile.TemporaryDirectory() as folder:
        checkpoints(Path(folder), args.rounds, watch)
        corpus(Path(folder) / "corpus", args.clips, args.rounds, watch)
    seconds = watch.medians()
    own = {name: of["processor"] for name, of in seconds.items()}  # others on the machine do not add to it
    flushing = seconds["of it: flushing to the disk"]["wall"]
    written = own["checkpoint"] - own["bare checkpoint"] + flushing
    start = own["digest of the starting weights"] + own["manifests against their digests"]
    start += own["list and files of the corpus against what they were"]
    added = UPDATES / EVERY * written + 2 * start + own["checksums of a checkpoint at resume"]
    found = {
        "machine": f"{os.cpu_count()} cores, 1 thread, load {os.getloadavg()[0]:.1f}", "clips": args.clips,
        "rounds": args.rounds, "seconds": seconds, "added_seconds_of_a_run": round(added, 2),
        "share_of_a_run": {f"{u} s an update": round(added / (UPDATES * u), 5) for u in args.update},
    }  # fmt: skip
    json.dump(found, sys.stdout, indent=1)
    if args.json:
        Path(args.json).write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
