"""What `carryover check --measure` predicts, beside the run itself: peak memory and time.

    python -m benchmarks.predictions                     # four embedded YAMLs, shortened as CASES says
    python -m benchmarks.predictions whisper_ft sign     # some of them
    python -m benchmarks.predictions real --whisper FOLDER --speech FOLDER   # a pretrained Whisper on real recordings

Each case is checked and then run to its end, each with an empty cache of frozen states. Predicted and measured are the
seconds from the first test to the last (the making of the corpus is left out), the seconds an update, and the peak
memory of the process (of the card, on one). Where other programs load the machine, `--clock processor` compares the
process's own time instead.
"""

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import fmean

from carryover.commands.check import measured

ROOT = Path(__file__).resolve().parents[1]
SHORT = ["--max_updates", "100", "--valid_every", "50", "--save_every", "50"]
CASES = {
    "whisper_ft": ["hparams/whisper_ft.yaml", *SHORT],
    "ctc": ["hparams/dutch_pretrain.yaml", *SHORT],
    "speech_llm": ["hparams/speech_llm_multitask.yaml", *SHORT, "--sample", "{train: 400, valid: 100, test: 100}"],
    "sign": ["hparams/sign_teacher.yaml", "--epochs", "2"],
    "real": ["hparams/whisper_real.yaml", "--corpus", "!name:local.table.utterances", "--language", "nl"]
    + ["--batch_size", "2", "--grad_accumulation_factor", "1", "--max_updates", "16", "--valid_every", "8"]
    + ["--save_every", "8", "--warmup", "4", "--sample", "{train: 100, valid: 40, test: 40}"]
    + ["--test_before", "False"],
}  # fmt: skip
EMBEDDED = [name for name in CASES if name != "real"]


def predicted(words: list[str], folder: Path, clock: str) -> tuple[float, float, float]:
    """Seconds in all, seconds an update, GiB."""
    import transformers

    from carryover.commands.check import facts as gathered
    from carryover.experiment import Experiment

    transformers.logging.set_verbosity_error()
    experiment, _ = Experiment.parse(words)
    experiment.check()
    with contextlib.redirect_stdout(sys.stderr):
        facts = gathered.gather(experiment, folder / "facts")
    found = measured.measure(facts, words, folder / "trial", clock)
    return found.whole(facts), found.seconds_per_update, found.peak(facts) / 2**30


def ran(words: list[str], folder: Path, clock: str) -> tuple[float, float, float]:
    """The same of the run."""
    out, own = folder / "seen.json", ["--output_folder", str(folder / "run"), "--noprogressbar"]
    folder.mkdir()
    command = [sys.executable, "-m", measured.TRIAL, str(out), "whole", clock, *words, *own]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    seen = json.loads(out.read_text(encoding="utf-8"))
    pace = fmean(seconds for seconds, _ in seen["updates"][measured.WARM :])
    return seen["total"], pace, seen["peak_memory_bytes"] / 2**30


def main(argv: list[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="*", metavar="CASE", help=f"of {', '.join(CASES)}; default: the embedded ones")
    parser.add_argument("--data", help="folder in which the embedded corpora are made; default: the YAMLs'")
    parser.add_argument("--whisper", help="a pretrained Whisper's folder, for the case real")
    parser.add_argument("--speech", help="folder with a manifest.tsv of recordings, for the case real")
    parser.add_argument("--clock", default="wall", choices=["wall", "processor"], help="processor: one's own time")
    parser.add_argument("--device", default="cpu")
    given = parser.parse_args(argv)
    if unknown := set(given.cases) - CASES.keys():
        parser.error(f"{', '.join(sorted(unknown))}: expected {', '.join(CASES)}")
    if "real" in given.cases and not (given.whisper and given.speech):
        parser.error("real: give --whisper FOLDER and --speech FOLDER, too")
    os.chdir(ROOT)
    print("| case | what | predicted | measured | error, % |\n|---|---|--:|--:|--:|", flush=True)
    for name in given.cases or EMBEDDED:
        words = [*CASES[name], "--device", given.device]
        if name == "real":
            words += ["--model", given.whisper, "--data_folder", given.speech]
        elif given.data:
            corpora = (
                ("data_folder", "old_data_folder") if "old_data_folder: data" in Path(words[0]).read_text() else ()
            )
            folder = f"{given.data}/signs" if name == "sign" else f"{given.data}/synthetic"
            words += [word for key in corpora or ("data_folder",) for word in (f"--{key}", folder)]
        found = []
        for what in (predicted, ran):
            with tempfile.TemporaryDirectory() as folder:
                os.environ["CARRYOVER_CACHE"] = f"{folder}/cache"
                found.append(what(words, Path(folder) / "made", given.clock))
        for what, form, *values in zip(
            ("seconds in all", "seconds an update", "peak memory, GiB"), (".1f", ".3f", ".2f"), *found, strict=True
        ):
            error = 100 * (values[0] / values[1] - 1)
            print(f"| {name} | {what} | {values[0]:{form}} | {values[1]:{form}} | {error:+.1f} |", flush=True)


if __name__ == "__main__":
    main()
