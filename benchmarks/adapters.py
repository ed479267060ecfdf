"""Full tuning against LoRA, for Whisper and CTC: memory, time of an update, bytes saved, WER of both languages.

    python -m benchmarks.adapters --dutch results/dutch_pretrain/1234/model       # extra: lora
    python -m benchmarks.adapters --dutch ... --updates 200 --out results/adapters --threads 1
    python -m benchmarks.adapters --models whisper_real --whisper FOLDER --speech FOLDER --updates 20

Each method makes one run of the same number of updates and batches. On the embedded corpus: the starter Whisper by
hparams/whisper_ft.yaml and the Dutch CTC model by hparams/german_adaptation.yaml, German after Dutch. With
whisper_real: a Whisper of transformers by hparams/whisper_real.yaml, Dutch beside German, whose clips and
manifest.tsv lie in nl_nathalie and de_kerstin of --speech. Runs that are finished are taken as they are. Time and
memory are measured in processes of their own, in turns: time is the median of a process's own processor time for an
update; memory is its highest resident size during updates, less that before the first one, with the model loaded. So
it holds gradients, the optimizer's moments, activations and what the allocator keeps.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks.real_whisper import ON_A_CPU
from carryover.report import predictions

ROUNDS = 2  # processes a method, in turns
OF_WHISPER = "q_proj, k_proj, v_proj, out_proj, fc1, fc2"
OF_CTC = "linear_q, linear_k, linear_v, linear_out, intermediate_dense, output_dense"


@dataclass(frozen=True)
class Setup:
    """A model, its YAML, where adapters go, and the languages."""

    yaml: str
    layers: str
    rates: dict[str, str]  # by method
    new: str = "de"
    old: str = "nl"


SETUPS = {
    "whisper": Setup("hparams/whisper_ft.yaml", OF_WHISPER, {"full": "1.5e-3", "lora": "5.0e-3"}),  # untuned
    "ctc": Setup("hparams/german_adaptation.yaml", OF_CTC, {"full": "3.0e-3", "lora": "5.0e-3"}),  # untuned
    # of docs/results/real: the best of four rates each
    "whisper_real": Setup("hparams/whisper_real.yaml", OF_WHISPER, {"full": "2.0e-5", "lora": "1.0e-3"}, "nl", "de"),
}
REAL = ON_A_CPU | {"batch_size": "4", "warmup": "0.1", "keep_states": "null"}


def of_data(kind: str, args) -> dict[str, str]:
    """The keys that say what is learned from, and from which model."""
    if kind == "whisper_real":
        old = f"{{de: {args.speech / 'de_kerstin'}}}"
        names = {"model": str(args.whisper), "data_folder": str(args.speech / "nl_nathalie"), "language": "nl"}
        return REAL | names | {"other_tests": old}
    found = {"data_folder": str(args.data), "old_data_folder": str(args.data)}
    return found | ({"model": str(args.dutch)} if kind == "ctc" else {})


def words(kind: str, method: str, args) -> list[str]:
    """train.py's arguments."""
    setup, half = SETUPS[kind], str(max(1, args.updates // 2))
    lora = f"!new:carryover.models.lora.LoRA {{rank: {args.rank}, alpha: {2 * args.rank}, targets: [{setup.layers}]}}"
    values = of_data(kind, args) | {"lr": setup.rates[method], "max_updates": str(args.updates), "valid_every": half}
    values |= {"save_every": half, "early_stopping_patience": "0", "test_before": "True", "device": "cpu"}
    values |= {"output_folder": str(args.out / kind / method)} | ({"sample": args.sample} if args.sample else {})
    values |= {"train": "lora", "lora": lora} if method == "lora" else {"train": "all"}
    return [setup.yaml, "--noprogressbar", *(f"--{key}={value}" for key, value in values.items())]


def measured(kind: str, method: str, args) -> dict:
    """Time and memory of `args.steps` updates in this process."""
    import torch

    from carryover.experiment import Experiment

    torch.set_num_threads(args.threads)
    experiment, _ = Experiment.parse(words(kind, method, args))
    hparams = experiment.hparams
    run = args.out / kind / method
    brain = hparams["brain"](hparams["modules"], hparams["optimizer"], hparams, experiment.run_options, None)
    train = brain.read(run / "manifests" / hparams["language"] / "train.csv")
    loader = iter(brain.train_loader(train, {"batch_size": hparams["batch_size"], "shuffle": True}))
    batches = [next(loader) for _ in range(args.steps + 1)]
    brain.schedule.plan(1000)
    before = resident("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the highest size is counted from now on
    brain.init_optimizers()
    brain.train_mode()
    brain.optimisation.zero_grad()
    times = []
    for batch in batches:
        start = time.process_time()
        brain._fit_group([batch])
        times.append(time.process_time() - start)
    trained, every = brain.parameter_counts()
    return {"times": times[1:], "memory": resident("VmHWM") - before, "trained": trained, "parameters": every}


def resident(what: str) -> int:
    """Bytes of this process: VmRSS now, VmHWM at most."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(what))
    return int(line.split()[1]) * 1024


def size(*paths: Path) -> int:
    """Bytes of files."""
    return sum(path.stat().st_size for path in paths)


def saved(run: Path, method: str) -> int:
    """Bytes of what a new language adds beside the base: the whole model, or the adapters."""
    folder = run / "model" / "adapter" if method == "lora" else run / "model"
    return size(*folder.glob("*.safetensors"))


def errors(run: Path) -> dict[tuple[str, str], float]:
    """WER by language and weights."""
    lines = (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    tests = [event for event in map(json.loads, lines) if event["event"] == "test"]
    return {(event["language"], event["weights"]): event["WER"] for event in tests}


def base_alone(run: Path, old: str, args) -> float:
    """WER of language `old` by the run's base, its adapters switched off."""
    subprocess.run(
        [sys.executable, "-m", "carryover.commands.app", "evaluate", str(run), "--adapter", "none"],
        check=True, stdout=subprocess.DEVNULL, env=environment(args),
    )  # fmt: skip
    rows = predictions.read(run / f"predictions_test_{old}_adapter-none.csv")
    return 100 * sum(row.errors for row in rows) / sum(row.words for row in rows)


def environment(args) -> dict[str, str]:
    return os.environ | {"OMP_NUM_THREADS": str(args.threads)}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", choices=SETUPS, default=["whisper", "ctc"])
    parser.add_argument("--sample", help="the key of that name: fewer clips, for a shorter run")
    parser.add_argument(
        "--dutch",
        type=Path,
        default=Path("results/dutch_pretrain/1234/model"),
        help="model/ of a run of hparams/dutch_pretrain.yaml",
    )
    parser.add_argument("--whisper", type=Path, help="with whisper_real: a Whisper of transformers")
    parser.add_argument("--speech", type=Path, help="with whisper_real: holds nl_nathalie and de_kerstin")
    parser.add_argument("--data", type=Path, default=Path("data/synthetic"))
    parser.add_argument("--out", type=Path, default=Path("results/adapters"))
    parser.add_argument("--updates", type=int, default=200)
    parser.add_argument("--steps", type=int, default=6, help="updates that are timed in each process")
    parser.add_argument("--rank", type=int, default=16)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--measure", nargs=2, metavar=("MODEL", "METHOD"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.measure:
        print(json.dumps(measured(*args.measure, args)))
        return
    from carryover.runs import run_folder

    pairs = [(kind, method) for kind in args.models for method in ("full", "lora")]
    for kind, method in pairs:
        if not run_folder.finished(args.out / kind / method):
            command = [sys.executable, "train.py", *words(kind, method, args)]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=environment(args))
    found = {pair: [] for pair in pairs}
    for _ in range(ROUNDS):
        for pair in pairs:
            command = [sys.executable, "-m", "benchmarks.adapters", *sys.argv[1:], "--measure", *pair]
            done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment(args))
            found[pair].append(json.loads(done.stdout.splitlines()[-1]))
    heads = ["model", "method", "trained", "memory of training (MiB)", "s an update", "bytes saved", "WER new before",
             "WER new after", "WER old before", "WER old after", "WER old, adapters off"]  # fmt: skip
    print("\n".join(f"| {' | '.join(line)} |" for line in (heads, ["---"] * len(heads))))
    for (kind, method), rounds in found.items():
        run, setup = args.out / kind / method, SETUPS[kind]
        wer = errors(run)
        cells = [
            kind, method, f"{rounds[0]['trained']:,} of {rounds[0]['parameters']:,}",
            " / ".join(f"{r['memory'] / 2**20:.0f}" for r in rounds),
            f"{statistics.median(t for r in rounds for t in r['times']):.3f}", f"{saved(run, method):,}",
            *(f"{wer[language, weights]:.2f}" for language in (setup.new, setup.old) for weights in ("before", "best")),
            f"{base_alone(run, setup.old, args):.2f}" if method == "lora" else "-",
        ]  # fmt: skip
        print(f"| {' | '.join(cells)} |")
    print(f"\nLoad of the machine over 1, 5 and 15 minutes: {', '.join(f'{x:.1f}' for x in os.getloadavg())}, "
          f"{os.cpu_count()} cores.")  # fmt: skip


if __name__ == "__main__":
    main()
