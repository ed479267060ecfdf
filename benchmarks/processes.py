"""One process against two that train together (torchrun), at the same batch in all: how much faster two are.

    python -m benchmarks.processes                     # whisper-tiny's width, random weights, embedded corpus; minutes
    python -m benchmarks.processes --processes 4 --json found.json

Runs of train.py take turns: one process with batch N x B, N processes with batch B each; one thread a process. The time
of an update is the median of what metrics.jsonl has between updates; the first ones are left out. It shows what summing
gradients through gloo costs on one machine. It says nothing about GPUs, NCCL or a network.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from benchmarks.training import make_tiny

ROOT = Path(__file__).parents[1]
DROPPED = 2  # updates of each run that warm it up


def seconds(args, model: str, folder: Path, processes: int) -> list[float]:
    """Seconds of each update of a run."""
    script = ["-m", "torch.distributed.run", f"--nproc_per_node={processes}", "--standalone", "train.py"]
    overrides = {
        "model": model, "train": "all", "keep_states": "null",
        "corpus": "!name:local.synthetic.utterances {hours: 0.1}",
        "data_folder": folder.parent / "data", "output_folder": folder, "old_language": "null", "log_every": 1,
        "batch_size": args.batch // processes, "max_updates": args.updates, "valid_every": 10**6, "save_every": 10**6,
        "test_before": False, "generation_length": 10, "warmup": 0.1, "lr": 1e-5, "num_workers": 0,
    }  # fmt: skip
    words = [f"--{key}={value}" for key, value in overrides.items()]
    command = [sys.executable, *script, "hparams/whisper_ft.yaml", "--train_only", "--noprogressbar", "--device=cpu"]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run([*command, *words], cwd=ROOT, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    lines = (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    times = [event["time"] for event in map(json.loads, lines) if event["event"] == "train"]
    return [after - before for before, after in zip(times, times[1:], strict=False)][DROPPED - 1 :]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokenizer", default=str(ROOT / "assets/whisper_starter"), help="a Whisper: its tokenizer")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--batch", type=int, default=8, help="clips of an update, of all processes together")
    parser.add_argument("--updates", type=int, default=8, help=f"of each run, {DROPPED} of them to warm up")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", help="write what was found here, too")
    args = parser.parse_args()
    if args.batch % args.processes:
        parser.error(f"--batch {args.batch} is no multiple of --processes {args.processes}")
    numbers, times = (1, args.processes), {1: [], args.processes: []}
    with tempfile.TemporaryDirectory() as folder:
        model = make_tiny(Path(folder), Path(args.tokenizer))
        for repetition in range(args.rounds):
            for n in numbers:
                found = seconds(args, model, Path(folder) / f"{n}_{repetition}", n)
                times[n].append(statistics.median(found))
    one, many = (np.array(times[n]) for n in numbers)
    found = {
        "machine": f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, one thread a process",
        "processes": args.processes, "batch": args.batch, "updates": args.updates,
        "seconds_an_update": {"one": times[1], "several": times[args.processes]},
        "faster": round(float(one.mean() / many.mean()), 3),
        "faster_range_over_rounds": [round(float(x), 3) for x in ((one / many).min(), (one / many).max())],
    }  # fmt: skip
    print(json.dumps(found, indent=1))
    if args.json:
        Path(args.json).write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
