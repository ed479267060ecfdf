"""What the training loop costs beside a bare PyTorch loop, and how long a run takes to its first update.

    python -m benchmarks.overhead                        # the embedded starter, the smallest model: the most overhead
    python -m benchmarks.overhead --tiny --updates 12    # whisper-tiny's size, random weights
    python -m benchmarks.overhead --json found.json

    ours   recipes/whisper.py: RecipeBrain.fit, with its log, checks, schedule, scaler and clipping; no method
    bare   for batch in loader: features, encoder, decoder, cross-entropy, backward, clip_grad_norm_, AdamW, zero_grad

Same weights, clips, batches, order, reading pipeline and optimizer, float32, everything trained. They take turns in
threads, one update each, and the time is the thread's own processor time (one thread). Interval: 95 %, bootstrap over
rounds. Start-up: `train.py` in a new process until metrics.jsonl has its first update, the corpus made beforehand; and
how much of importing is whose (`python -X importtime`, self times by package).
"""

import argparse
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np
import torch

from benchmarks.training import ROOT, make_ours, make_tiny, ratio, run_ours
from benchmarks.turns import DROPPED, Turns

IMPORTS = "import transformers, carryover.experiment, recipes.whisper, local.synthetic"


def run_bare(brain, sets, args, turns: Turns, name: str) -> None:
    """A loop as PyTorch's tutorials have it, over the recipe's model, features and batches."""
    model, log_mel, prompt = brain.modules.whisper, brain.hparams.log_mel, brain.hparams.tokenizer.prompt_length
    loader = torch.utils.data.DataLoader(sets[0], batch_size=args.batch, collate_fn=brain.hparams.collate)
    optimizer = brain.opt_class(model.parameters(), lr=1e-5)
    model.train()
    turns.done(name, counts=False)
    for n in range(args.updates):
        if n % len(loader) == 0:
            batches = iter(loader)
        batch = next(batches)
        wavs, lengths = batch.wav
        tokens, token_lengths = batch.tokens
        features = log_mel(wavs, torch.round(lengths * wavs.shape[1]).long())
        states = model.model.encoder(features).last_hidden_state
        hidden = model.model.decoder(input_ids=tokens[:, :-1], encoder_hidden_states=states, use_cache=False)
        logits = model.proj_out(hidden.last_hidden_state[:, prompt - 1 :])
        targets = tokens[:, prompt:]
        counts = torch.round(token_lengths * tokens.shape[1]).long() - prompt
        targets = targets.masked_fill(torch.arange(targets.shape[1]) >= counts[:, None], -100)
        torch.nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=-100).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 2.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        turns.done(name)


def loops(args, folder: Path) -> dict:
    """Seconds of updates of both, in turns."""
    model = make_tiny(folder, Path(args.model)) if args.tiny else args.model
    made = {name: make_ours(args, model, folder, name, "null", train="all") for name in ("ours", "bare")}
    turns = Turns(list(made))
    turns.run(lambda name: (run_ours if name == "ours" else run_bare)(*made[name], args, turns, name))
    seconds = {name: np.array(turns.seconds[name])[DROPPED:, 0] for name in made}
    return {
        "model": "whisper-tiny's size" if args.tiny else Path(args.model).name, "batch": args.batch,
        "updates": args.updates, "seconds_an_update": {name: round(float(s.mean()), 5) for name, s in seconds.items()},
        "ours_to_bare": ratio(seconds["ours"], seconds["bare"]),
        "median_of_ratios": round(float(np.median(seconds["ours"] / seconds["bare"])), 4),
    }  # fmt: skip


def start_up(args, folder: Path) -> dict:
    """Seconds to the first update, and seconds of importing by package."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    found, processor = [], []
    for repetition in range(args.starts + 1):  # the first one makes the corpus
        out = folder / f"start_{repetition}"
        words = ["hparams/whisper_ft.yaml", f"--model={args.model}", "--old_language=null", f"--output_folder={out}"]
        words += ["--corpus=!name:local.synthetic.utterances {hours: 0.1}", f"--data_folder={folder / 'data'}"]
        words += ["--max_updates=1", "--log_every=1", "--batch_size=8", "--train_only", "--test_before=False"]
        words += ["--noprogressbar", "--device=cpu", "--stop_signals=[]", "--valid_every=1000000", "--warmup=0"]
        start, log = time.perf_counter(), out / "metrics.jsonl"
        command = [sys.executable, "train.py", *words]
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        while not log.exists() or b'"event": "train"' not in log.read_bytes():
            if process.poll() is not None:
                raise RuntimeError(process.stdout.read()[-2000:].decode())
            time.sleep(0.005)
        found.append(time.perf_counter() - start)
        ticks = (Path("/proc") / str(process.pid) / "stat").read_text().rpartition(")")[2].split()[11:13]
        processor.append(sum(map(int, ticks)) / os.sysconf("SC_CLK_TCK"))
        process.communicate()
    command = [sys.executable, "-X", "importtime", "-c", IMPORTS]
    said = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True).stderr
    packages = Counter()
    for self_time, name in re.findall(r"import time:\s+(\d+) \|\s+\d+ \|\s+(\S+)", said):
        packages[name.split(".")[0]] += int(self_time) / 1e6
    ours = sum(packages[name] for name in ("carryover", "recipes", "local"))
    return {
        "seconds_to_first_update": [round(x, 2) for x in found[1:]],
        "processor_seconds_to_first_update": [round(x, 2) for x in processor[1:]],
        "importing": round(sum(packages.values()), 2), "importing_ours": round(ours, 3),
        "importing_most": {name: round(s, 2) for name, s in packages.most_common(8)},
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=str(ROOT / "assets/whisper_starter"), help="folder of a Whisper")
    parser.add_argument("--tiny", action="store_true", help="whisper-tiny's size, with the tokenizer of --model")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--updates", type=int, default=42, help=f"of each loop, {DROPPED} of them to warm up")
    parser.add_argument("--starts", type=int, default=3, help="0: start-up is not measured")
    parser.add_argument("--json", help="write what was found here, too")
    args = parser.parse_args()
    args.data, args.hours, args.clips, args.valid = None, 0.1, 40, 4
    args.device, args.precision, args.workers = "cpu", "fp32", 0
    machine = platform.processor() or platform.machine()
    found = {"machine": f"{machine}, {os.cpu_count()} cores, 1 thread, load {os.getloadavg()[0]:.1f}"}
    with tempfile.TemporaryDirectory() as folder:
        found["loop"] = loops(args, Path(folder))
        if args.starts:
            found["start_up"] = start_up(args, Path(folder))
    print(json.dumps(found, indent=1))
    if args.json:
        Path(args.json).write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
