"""How long a report of many long runs takes, and how much memory: python benchmarks/report_speed.py [--runs 500]

Makes run folders in a temporary folder, 25 methods with 20 seeds, each with 10 000 train events as recipes/ctc.py
writes them, 20 validations and two test sets of 100 utterances, and runs `carryover report` on them in a process of its
own. The seeds of a method differ in their tests alone. Some 2 GB on the disk while it runs. Prints wall seconds and the
peak of the memory of all its processes together. Goal: 60 s and 1 GB on 2 cores.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np

from carryover.stats import error_rates
from carryover.text import Normaliser

ROOT = Path(__file__).parents[1]
SEEDS, UTTERANCES, VALIDATIONS = 20, 100, 20
WORDS = "zet de lamp aan in keuken om zeven uur morgen graag een licht uit".split()


def log(method: int, events: int) -> str:
    """Train and valid events of a run."""
    rng, lines = np.random.default_rng(method), []
    for i in range(1, events + 1):
        loss = 150 / (1 + i / 100) + rng.normal()
        event = {
            "event": "train", "update": 50 * i, "epoch": 1 + i // 200, "time": round(9.1 * i, 3), "loss": loss,
            "ctc": loss, "ewc": 0.01 * method * loss, "penalty_ratio": 0.01 * method, "lr": 2e-3 * (1 - i / events),
            "grad_norm": 20 + rng.normal(), "audio_seconds": 1837.148, "padding": 0.27 + 0.01 * rng.random(),
            "blank_ratio": 0.3 + 0.01 * rng.random(), "skipped": 0, "data_wait_seconds": 0.318,
            "peak_memory_bytes": 1319755776,
        }  # fmt: skip
        lines.append(json.dumps(event))
        if i % (events // VALIDATIONS) == 0:
            for language in ("de", "nl"):
                valid = {"event": "valid", "update": 50 * i, "epoch": 1 + i // 200, "time": 9.1 * i + 1, "set": "valid"}
                valid |= {"language": language, "loss": loss, "ctc": loss, "WER": 20 + rng.random(), "CER": 5.0}
                lines.append(json.dumps(valid | {"words": 586, "errors": 120, "utterances": 100}))
    return "\n".join(lines) + "\n"


def test(folder: Path, language: str, weights: str, errors: float, rng: np.random.Generator) -> str:
    """Write predictions of a test set; the line of its event."""
    rows = []
    for i in range(UTTERANCES):
        # the same texts in all runs
        text = [WORDS[(i * 7 + j * 3) % len(WORDS)] for j in range(4 + i % 5)]
        said = [word if rng.random() > errors else "fout" for word in text]
        row = {"id": f"{language}{i}", "audio": f"{language}/{i}.wav", "language": language, "speaker": f"s{i % 9}"}
        rows.append(error_rates.score(row | {"duration": 2.0, "text": " ".join(text)}, " ".join(said), Normaliser()))
    error_rates.write_predictions(folder / f"predictions_test_{language}_{weights}.csv", rows)
    labels = {"event": "test", "update": 0, "set": f"test_{language}", "language": language, "weights": weights}
    return json.dumps(labels | error_rates.totals(rows) | {"interval": [0.0, 100.0]}) + "\n"


def make(root: Path, runs: int, events: int) -> None:
    """Run folders results/preset=NAME/SEED."""
    yaml = (ROOT / "hparams" / "german_adaptation.yaml").read_text(encoding="utf-8")
    info = {
        "command": "python train.py hparams/german_adaptation.yaml",
        "hardware": {"cpu": "x", "cores": 2, "gpus": []},
    }
    for n in range(runs):
        method, seed = divmod(n, SEEDS)
        folder = root / f"preset={'plain' if method == 0 else f'm{method}'}" / str(seed)
        folder.mkdir(parents=True)
        (folder / "as_written.yaml").write_text(yaml, encoding="utf-8")
        (folder / "overrides.yaml").write_text(f"seed: {seed}\nlambda: {10.0 * method}")
        (folder / "run.json").write_text(json.dumps(info))
        (folder / "results.md").write_text("")
        if seed == 0:
            trained = log(method, events)
        rng = np.random.default_rng(n)
        tests = [("de", "best", 0.2), ("nl", "before", 0.1), ("nl", "best", 0.5)]
        lines = trained + "".join(test(folder, *which, rng) for which in tests)
        end = {
            "event": "end",
            "update": 50 * events,
            "epoch": 51,
            "time": 9.1 * events + 2,
            "reason": "all updates done",
        }
        (folder / "metrics.jsonl").write_text(lines + json.dumps(end) + "\n")


def memory(pid: int) -> int:
    """Bytes of a process and its children: resident, what they share counted once (Linux)."""
    total = 0
    try:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            total += int(line.split()[1]) * 1024 if line.startswith("Pss:") else 0
        for task in Path(f"/proc/{pid}/task").iterdir():
            total += sum(memory(int(child)) for child in (task / "children").read_text().split())
    except (FileNotFoundError, ProcessLookupError):
        return total  # it has just ended
    return total


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=500)
    parser.add_argument("--events", type=int, default=10_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as root:
        results, out = Path(root) / "results", Path(root) / "report"
        make(results, options.runs, options.events)
        code = "from carryover.commands.app import main; main()"
        command = [sys.executable, "-c", code, "report", str(results), "--out", str(out), "--workers", "2"]
        before, start = os.times(), time.perf_counter()
        process = subprocess.Popen(command, cwd=ROOT)
        peaks, done = [0], threading.Event()

        def watch():
            while not done.wait(0.2):
                peaks.append(memory(process.pid))

        watcher = threading.Thread(target=watch)
        watcher.start()
        status = process.wait()
        done.set()
        watcher.join()
        wall, after = time.perf_counter() - start, os.times()
        busy = after.children_user + after.children_system - before.children_user - before.children_system
        print(
            f"{options.runs} runs of {options.events} events: {wall:.1f} s ({busy:.1f} s of processors), "
            f"{max(peaks) / 2**20:.0f} MB at the most, status {status}"
        )
    sys.exit(status)


if __name__ == "__main__":
    main()
