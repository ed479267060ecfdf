"""Mutates what people and accidents give to carryover, and counts what becomes of it.

    python -m benchmarks.mutations --count 10000 [--seed 1] [--kinds manifests,yamls] [--json mutations.json]

Manifests, command lines, YAMLs, logs, run folders and recordings are damaged by a seeded random change, and given to
what reads them, in this process. Each is accepted or refused with one message. What must not be: a traceback, an end
without a message, more than `LIMIT` seconds, a row of a list that is neither kept nor refused.
"""

import argparse
import csv
import io
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import traceback
from collections import Counter
from pathlib import Path

import numpy as np
import soundfile
from tqdm import tqdm

from benchmarks.damage import ACCEPTED, BAD, HANG, LOST, REFUSED, TRACEBACK, changed, of_command
from benchmarks.mutated_commands import command_lines, nothing_begins, other_commands
from carryover import experiment
from carryover.commands.app import app
from carryover.data import audio
from carryover.data.audio_check import inspect
from carryover.data.limits import Limits
from carryover.data.preparation import prepare
from carryover.report import find_runs
from carryover.report.tables import all_tables
from local.table import utterances
from tests.conftest import ROOT
from tests.unit import made_runs

LIMIT, PATIENCE = 60, 600  # seconds of the processor, which others on the machine do not add to; and in all
ROWS = 8


class Hang(BaseException):
    """The time is over."""


class Places:
    """What all mutations begin with, and where they are made."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.home = folder / "home"
        self.corpus, self.work = folder / "corpus", folder / "work"
        self.corpus.mkdir(parents=True)
        chance = np.random.default_rng(1)
        for i in range(ROWS):
            sound = 0.3 * np.sin(np.arange(4800) * (0.02 + 0.01 * i)) + 0.01 * chance.standard_normal(4800)
            soundfile.write(self.corpus / f"{i}.wav", sound, 16000)
        for form in ("flac", "ogg", "mp3"):
            soundfile.write(self.corpus / f"a.{form}", sound, 16000)
        self.run = made_runs.make(folder / "results" / "run" / "1", penalty=0.1)
        made_runs.make(folder / "results" / "run" / "2", seed=2)
        # of a real run, for the commands that make its model
        shutil.copy(ROOT / "hparams" / "whisper_ft.yaml", self.run / "as_written.yaml")
        (self.run / "save").mkdir()
        self.checkout = folder / "checkout"  # what a mutated command line writes beside it stays out of the real one
        shutil.copytree(ROOT / "hparams", self.checkout / "hparams")
        shutil.copytree(ROOT / "studies", self.checkout / "studies")
        (self.checkout / "assets").symlink_to(ROOT / "assets")
        (self.checkout / "train.py").touch()
        head, *rows = lists()["train.tsv"].decode().splitlines()
        splits = ["train"] * 4 + ["valid"] * 2 + ["test"] * 2
        rows = [f"{head}\tsplit", *(f"{row}\t{split}" for row, split in zip(rows, splits, strict=True))]
        (self.corpus / "manifest.tsv").write_text("\n".join(rows) + "\n")
        self.lists = folder / "lists" / "nl"
        prepare(utterances, self.corpus, self.lists, "nl", ["train", "valid", "test"], Limits(), workers=1)
        self.yamls = sorted((ROOT / "hparams").glob("*.yaml"))

    def fresh(self) -> Path:
        """An empty folder."""
        shutil.rmtree(self.work, ignore_errors=True)
        self.work.mkdir()
        return self.work


# ---- what is mutated ----


def lists() -> dict[str, bytes]:
    """A list of the corpus in each format."""
    rows = [{"audio": f"{i}.wav", "text": f"dit is zin {i}", "speaker": f"s{i % 3}"} for i in range(ROWS)]
    table = [list(rows[0]), *([*row.values()] for row in rows)]
    made = {
        "train.tsv": "\n".join("\t".join(row) for row in table) + "\n",
        "train.csv": "\n".join(",".join(row) for row in table) + "\n",
        "train.jsonl": "\n".join(map(json.dumps, rows)) + "\n",
        "train.json": json.dumps(rows, indent=1),
    }
    return {name: text.encode() for name, text in made.items()}


def listed(name: str, data: bytes) -> int | None:
    """How many rows a list has, counted by other code; None where that cannot read it."""
    try:
        text = data.decode("utf-8-sig")
        if name.endswith(".json"):
            return len(json.loads(text))
        lines = [line for line in text.replace("\r\n", "\n").split("\n") if line.strip()]
        if name.endswith(".csv"):
            return len([row for row in csv.reader(io.StringIO(text, newline="")) if any(row)]) - 1
        return len(lines) - (not name.endswith(".jsonl"))
    except (ValueError, csv.Error):
        return None


def manifests(places: Places, chance: random.Random) -> tuple[str, str]:
    name, data = chance.choice(sorted(lists().items()))
    data = changed(data, chance)
    folder = places.fresh()
    for recording in places.corpus.glob("*.wav"):
        os.link(recording, folder / recording.name)
    (folder / name).write_bytes(data)
    counts = {}

    def main():
        counts.update(prepare(utterances, folder, folder / "out", "nl", ["train"], Limits(), workers=1))

    outcome, said = of_command(main)
    if outcome == ACCEPTED and (n := listed(name, data)) is not None and sum(counts.values()) != n:
        return LOST, f"{name}: {n} rows, {counts}"
    return outcome, said


def yamls(places: Places, chance: random.Random) -> tuple[str, str]:
    source = chance.choice(places.yamls)
    path = places.fresh() / source.name
    path.write_bytes(changed(source.read_bytes(), chance))
    return of_command(lambda: experiment.train([str(path)]))


def tables(run: Path) -> None:
    """All that a report's tables, flags and intervals read of a run."""
    unreadable = []
    all_tables.make(find_runs.load([run.parent], unreadable=unreadable))
    if unreadable:
        print("; ".join(unreadable), file=sys.stderr)


def _of_run(run: Path, places: Places, chance: random.Random) -> tuple[str, str]:
    commands = (
        ["compare", str(run), str(places.run.parent / "2")],
        ["watch", str(run), "--once"],
        ["evaluate", str(run)],
        ["export", str(run), "--out", str(places.work / "out")],
        ["transcribe", str(run), str(places.corpus / "0.wav")],
        ["report", str(run), "--out", str(places.work / "report")],
    )
    if chance.random() < 0.7:
        return of_command(lambda: tables(run))
    argv = chance.choices(commands, weights=[4, 4, 4, 4, 4, 1])[0]
    outcome, said = of_command(lambda: app(argv))
    return outcome, f"{argv[0]}: {said}"


def logs(places: Places, chance: random.Random) -> tuple[str, str]:
    run = places.fresh() / "run" / "1"
    shutil.copytree(places.run, run)
    path = run / "metrics.jsonl"
    path.write_bytes(changed(path.read_bytes(), chance))
    return _of_run(run, places, chance)


def run_folders(places: Places, chance: random.Random) -> tuple[str, str]:
    run = places.fresh() / "run" / "1"
    shutil.copytree(places.run, run)
    path = chance.choice(sorted(p for p in run.rglob("*") if p.is_file()))
    how = chance.randrange(10)
    if how < 7:
        path.write_bytes(changed(path.read_bytes(), chance))
    else:
        path.unlink()
        if how == 8:
            path.mkdir()
        elif how == 9:
            path.symlink_to(chance.choice(["/etc/passwd", "nothing", str(run), "/dev/null"]))
    return _of_run(run, places, chance)


def recordings(places: Places, chance: random.Random) -> tuple[str, str]:
    source = chance.choice(
        [places.corpus / f"a.{form}" for form in ("flac", "ogg", "mp3")] + [places.corpus / "0.wav"] * 3
    )
    data = source.read_bytes()
    head = chance.choice([44, 200, len(data)])
    path = places.fresh() / source.name
    path.write_bytes(changed(data[:head], chance) + data[head:])

    def main():
        inspect(str(path))
        audio.read(str(path))

    outcome, said = of_command(main)
    (places.work / "train.tsv").write_text(f"audio\ttext\n{path.name}\tja\n{places.corpus / '1.wav'}\tnee\n")
    counts = {}

    def list_it():
        counts.update(prepare(utterances, places.work, places.work / "out", "nl", ["train"], Limits(), workers=1))

    of_list, more = of_command(list_it)
    if of_list in BAD:
        return of_list, more
    if of_list == ACCEPTED and sum(counts.values()) != 2:
        return LOST, f"{path.name}: {counts}"
    return outcome, said


KINDS = {
    "manifests": (manifests, 25), "command lines": (command_lines, 15), "other commands": (other_commands, 15),
    "yamls": (yamls, 15), "logs": (logs, 15), "run folders": (run_folders, 15), "recordings": (recordings, 15),
}  # fmt: skip


def alarm(*_):
    raise Hang


def mutate(count: int, seed: int = 1, kinds: list[str] | None = None, bar: bool = False) -> tuple[dict, list[dict]]:
    """-> ({kind: Counter of outcomes}, what must not be: kind, number, outcome, words)."""
    kinds = kinds or list(KINDS)
    numbers = [kind for kind in kinds for _ in range(round(count * KINDS[kind][1] / sum(KINDS[k][1] for k in kinds)))]
    found, wrong = {kind: Counter() for kind in kinds}, []
    before = {"cache": os.environ.get("CARRYOVER_CACHE"), "cwd": os.getcwd()}
    for number in (signal.SIGALRM, signal.SIGPROF):
        signal.signal(number, alarm)
    with tempfile.TemporaryDirectory() as folder, nothing_begins():
        places = Places(Path(folder))
        os.environ["CARRYOVER_CACHE"] = str(places.folder / "cache")
        os.chdir(places.checkout)
        try:
            for number, kind in enumerate(tqdm(numbers, disable=not bar, unit="mutation")):
                outcome, said = one(kind, random.Random(f"{seed} {kind} {number}"), places)
                found[kind][outcome] += 1
                if outcome in BAD:
                    wrong.append({"kind": kind, "number": number, "outcome": outcome, "words": said})
        finally:
            os.chdir(before["cwd"])
            os.environ.pop("CARRYOVER_CACHE")
            if before["cache"] is not None:
                os.environ["CARRYOVER_CACHE"] = before["cache"]
    return found, wrong


def one(kind: str, chance: random.Random, places: Places) -> tuple[str, str]:
    signal.alarm(PATIENCE)
    signal.setitimer(signal.ITIMER_PROF, LIMIT)
    try:
        return KINDS[kind][0](places, chance)
    except Hang:
        return HANG, f"more than {LIMIT} s of the processor, or {PATIENCE} s"
    except Exception:
        return TRACEBACK, traceback.format_exc()
    finally:
        signal.alarm(0)
        signal.setitimer(signal.ITIMER_PROF, 0)


def table(found: dict[str, Counter]) -> str:
    heads = ("mutated", "number", ACCEPTED, REFUSED, *BAD)
    rows = [(kind, counts.total(), *(counts[name] for name in heads[2:])) for kind, counts in found.items()]
    rows.append(("all", *(sum(row[i] for row in rows) for i in range(1, len(heads)))))
    lines = [f"| {' | '.join(heads)} |", "|---|" + "--:|" * (len(heads) - 1)]
    return "\n".join(lines + [f"| {' | '.join(map(str, row))} |" for row in rows])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--kinds", default=",".join(KINDS))
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    kinds = [kind for kind in asked.kinds.split(",") if kind]
    if unknown := [kind for kind in kinds if kind not in KINDS]:
        parser.error(f"--kinds: {', '.join(unknown)}; expected some of {', '.join(KINDS)}")
    found, wrong = mutate(asked.count, asked.seed, kinds, bar=True)
    print(table(found))
    for case in wrong[:50]:
        print(f"\n{case['kind']} {case['number']}: {case['outcome']}\n{case['words'][-1500:]}")
    if asked.json:
        asked.json.write_text(json.dumps({"found": found, "wrong": wrong}, indent=1))
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
