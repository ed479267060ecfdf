"""Clips a second of preparation by headers and decoded, its memory, and what kills leave; beside two others.

    python benchmarks/preparation.py                       # 100 000 clips by headers, 10 000 decoded: about 3 minutes
    python benchmarks/preparation.py --kills 20            # SIGKILLs at random, then the manifests' bytes are compared
    python benchmarks/preparation.py --clips 2000          # a short form

Clips are wav files of 4 s of noise at 16 kHz (and mp3 of 48 kHz for one row); the 100 000 are ten hard links to each of
10 000, all in the page cache: what is measured is the program, not the disk. Each measurement is a process of its own.
SpeechBrain's row is the logic of its recipes' prepare_common_voice (read_audio_info of each clip through parallel_map);
datasets' is `map` with soundfile.info, where the library is installed.
"""

import argparse
import json
import os
import random
import resource
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import soundfile

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
SECONDS, RATE, LINKS = 4, 16000, 10


def make(folder: Path, clips: int) -> None:
    """`clips` distinct files, ten names of each, and the lists all.tsv, tenth.tsv and mp3.tsv."""
    chance = np.random.default_rng(1)
    noise = (3000 * chance.standard_normal(60 * RATE)).astype(np.int16)
    (folder / "clips").mkdir(parents=True)
    lists = {"all": [], "tenth": [], "mp3": []}
    for i in range(clips):
        start = int(chance.integers(0, 56 * RATE))
        path = folder / "clips" / f"{i:06d}-0.wav"
        soundfile.write(path, noise[start : start + SECONDS * RATE], RATE)
        for n in range(1, LINKS):
            os.link(path, folder / "clips" / f"{i:06d}-{n}.wav")
        lists["all"] += [f"clips/{i:06d}-{n}.wav\tzin {i} {n}\ts{i % 99}\ttrain" for n in range(LINKS)]
        lists["tenth"].append(lists["all"][-LINKS])
        if i < clips // 10:
            soundfile.write(folder / "clips" / f"{i:06d}.mp3", noise[start : start + SECONDS * RATE], 48000)
            lists["mp3"].append(f"clips/{i:06d}.mp3\tzin {i}\ts{i % 99}\ttrain")
    for name, rows in lists.items():
        (folder / f"{name}.tsv").write_text("path\ttext\tspeaker\tsplit\n" + "\n".join(rows) + "\n")


def ours(folder: Path, name: str, check: str, workers: int, out: Path) -> int:
    from carryover.data import Limits, preparation
    from local import table

    where = table.utterances, folder / f"{name}.tsv", out, "nl", ["train"], Limits()
    return preparation.prepare(*where, workers=workers, check_audio=check)["train"]


def speechbrain(folder: Path, name: str, check: str, workers: int, out: Path) -> int:
    import csv

    from speechbrain.dataio.dataio import read_audio_info
    from speechbrain.utils.parallel import parallel_map

    rows = (folder / f"{name}.tsv").read_text().splitlines()[1:]
    with open(out.with_suffix(".csv"), "w", newline="") as file:
        writer = csv.writer(file)
        for ID, duration, path, text in parallel_map(_Line(folder, read_audio_info), rows, process_count=workers):
            writer.writerow([ID, duration, path, text])
    return len(rows)


class _Line:
    """process_line of SpeechBrain's recipe."""

    def __init__(self, folder, info):
        self.folder, self.info = folder, info

    def __call__(self, line):
        path, text, *_ = line.split("\t")
        about = self.info(str(self.folder / path))
        return Path(path).stem, about.num_frames / about.sample_rate, path, text.upper()


def with_datasets(folder: Path, name: str, check: str, workers: int, out: Path) -> int:
    import datasets

    datasets.disable_caching()
    rows = [line.split("\t") for line in (folder / f"{name}.tsv").read_text().splitlines()[1:]]
    found = datasets.Dataset.from_dict({"path": [str(folder / row[0]) for row in rows], "text": [r[1] for r in rows]})
    found = found.map(_header if check == "headers" else _decoded, num_proc=workers)
    found.to_csv(out.with_suffix(".csv"))
    return len(found)


def _header(row: dict) -> dict:
    about = soundfile.info(row["path"])
    return {"duration": about.frames / about.samplerate}


def _decoded(row: dict) -> dict:
    samples, rate = soundfile.read(row["path"], dtype="float32")
    return {"duration": len(samples) / rate}


WAYS = {"carryover": ours, "speechbrain": speechbrain, "datasets": with_datasets}


def measure(folder: Path, way: str, name: str, check: str, workers: int) -> dict | None:
    """Clips a second and peak memory of one preparation in a process of its own; None where a library is lacking."""
    command = [sys.executable, __file__, "--one", way, name, check, str(workers), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        print(f"{way}: {done.stderr.strip().splitlines()[-1]}")
        return None
    return json.loads(done.stdout.splitlines()[-1])


def one(way: str, name: str, check: str, workers: int, folder: Path) -> None:
    with tempfile.TemporaryDirectory() as out:
        import carryover.data.preparation  # noqa: F401  imports are not measured

        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        start = time.perf_counter()
        clips = WAYS[way](folder, name, check, workers, Path(out) / "m")
        seconds = time.perf_counter() - start
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    print(json.dumps({"clips": clips, "per_second": clips / seconds, "mib": grown / 1024}))


def kills(folder: Path, times: int, workers: int) -> None:
    """SIGKILL a preparation `times` times at random, let it end, and compare the bytes of all that it wrote."""
    out = {name: folder / name for name in ("whole", "killed")}

    def start(name: str) -> subprocess.Popen:
        code = (
            "import sys; from pathlib import Path; from benchmarks.preparation import ours; "
            f"ours(Path({str(folder)!r}), 'tenth', 'decoded', {workers}, Path({str(out[name])!r}))"
        )
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        return subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, **quiet)

    began = time.perf_counter()
    assert start("whole").wait() == 0
    whole, chance, killed = time.perf_counter() - began, random.Random(7), 0
    while killed < times:
        process = start("killed")
        try:
            process.wait(chance.uniform(0.3, 1.0) * whole)
            (out["killed"] / ".done").unlink(missing_ok=True)  # it came to its end: begin anew
            continue
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
            killed += 1
    assert start("killed").wait() == 0
    names = sorted(path.name for path in out["whole"].iterdir())
    differing = [name for name in names if (out["whole"] / name).read_bytes() != (out["killed"] / name).read_bytes()]
    print(f"{killed} SIGKILLs: {len(names)} files ({', '.join(names)}), differing: {differing or 'none'}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=10_000, help="distinct clips; ten names each by headers")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--kills", type=int, default=0)
    parser.add_argument("--folder", type=Path, default=None, help="where clips are made (default: a temporary folder)")
    parser.add_argument("--one", nargs=5, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.one:
        way, name, check, workers, folder = asked.one
        one(way, name, check, int(workers), Path(folder))
        return
    with tempfile.TemporaryDirectory(dir=asked.folder) as home:
        folder = Path(home) / "corpus"
        make(folder, asked.clips)
        if asked.kills:
            kills(folder, asked.kills, asked.workers)
            return
        print("| what | clips | check | workers | clips a second | memory grown by, MiB |\n|---|--:|---|--:|--:|--:|")
        rows = [("carryover", "tenth", "headers"), ("carryover", "all", "headers"), ("speechbrain", "all", "headers"),
                ("datasets", "all", "headers"), ("carryover", "mp3", "headers"), ("carryover", "tenth", "decoded"),
                ("carryover", "mp3", "decoded"), ("datasets", "tenth", "decoded")]  # fmt: skip
        for way, name, check in rows:
            if (found := measure(folder, way, name, check, asked.workers)) is not None:
                kind = "mp3" if name == "mp3" else "wav"
                print(
                    f"| {way} | {found['clips']} {kind} | {check} | {asked.workers} | {found['per_second']:.0f} | "
                    f"{found['mib']:.0f} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
