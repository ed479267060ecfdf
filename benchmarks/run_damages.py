"""Damages the files of real run folders and says what came of it: python -m benchmarks.run_damages [--other 120]

Prints the table for docs/reliability.md. A small CTC run (small_runs.Place) that was killed after its fourth
checkpoint, and one that has ended, each meet one damage of one file; then `carryover report` and `carryover evaluate`
read the folder, and the run's command is given again. Each has to give what it gives of the whole folder, or to name
the file; a run that stops has to end as the unbroken one once the file is brought back.
"""

import argparse
import json
import random
import re
import shutil
import sys
import tempfile
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from subprocess import CompletedProcess

from tqdm import tqdm

from benchmarks.kills import difference
from benchmarks.small_runs import LAUNCH, Place
from tests.conftest import ROOT
from tests.recipes.processes import Process

# ---- damages of a file ----


def missing(file: Path, draw: random.Random) -> None:
    file.unlink()


def empty(file: Path, draw: random.Random) -> None:
    file.write_bytes(b"")


def cut(file: Path, draw: random.Random) -> None:
    data = file.read_bytes()
    file.write_bytes(data[: draw.randrange(len(data) // 4, max(1, len(data)))])


def flipped_bit(file: Path, draw: random.Random) -> None:
    data = bytearray(file.read_bytes())
    data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
    file.write_bytes(data)


def zeros(file: Path, draw: random.Random) -> None:
    file.write_bytes(bytes(file.stat().st_size))


def foreign_file(file: Path, draw: random.Random) -> None:
    others = [path for path in sorted(file.parent.iterdir()) if path.is_file() and path.stat().st_size and path != file]
    file.write_bytes(draw.choice(others).read_bytes())


def link(file: Path, draw: random.Random) -> None:
    """It lies out of the run's folder now."""
    run = next(folder for folder in file.parents if (folder / "run.json").is_file())
    to = file.rename(run.parent / "elsewhere")
    file.symlink_to(to)


def folder_in_its_place(file: Path, draw: random.Random) -> None:
    file.unlink()
    file.mkdir()


def edited_value(file: Path, draw: random.Random) -> None:
    """A digit is another one; of a file without digits a byte."""
    data = bytearray(file.read_bytes())
    digits = [i for i, byte in enumerate(data) if byte in b"0123456789"] or range(len(data))
    at = draw.choice(digits)
    data[at] = draw.choice([digit for digit in b"123456789" if digit != data[at]])
    file.write_bytes(data)


def not_UTF8(file: Path, draw: random.Random) -> None:
    data = file.read_bytes()
    at = draw.randrange(len(data))
    file.write_bytes(data[:at] + b"\xff" + data[at:])


DAMAGES = (
    missing, empty, cut, flipped_bit, zeros, foreign_file, link, folder_in_its_place, edited_value, not_UTF8,
)  # fmt: skip

# ---- files of a run folder: (kind, pattern), as a killed run and one that has ended have them ----

SETTINGS = ["run.json", "as_written.yaml", "overrides.yaml", "hyperparams.yaml", "ctc.py"]
LISTS = [f"manifests/nl/{name}" for name in (".done", "train.csv", "valid.csv", "test.csv", "listed.csv",
                                             "rejected.csv", "remarks.csv", "counts.md")]  # fmt: skip
LOGS = ["metrics.jsonl", "train_log.txt"]
KILLED = [*SETTINGS, *LISTS, *LOGS, "save/kept.json"]
MODEL = [f"model/{name}" for name in ("config.json", "model.safetensors", "preprocessor_config.json", "vocab.json",
                                      "tokenizer_config.json", "checksums.json")]  # fmt: skip
ENDED = ["results.md", "predictions_test_nl_best.csv", *MODEL, *SETTINGS[:4], *LISTS[:4], *LOGS]
CHECKPOINT = ["acoustic.safetensors", "optimizer.pt", "brain.json", "dataloader-TRAIN.ckpt", "CKPT.yaml",
              "checksums.json"]  # fmt: skip
EQUAL, SAID, STOPPED = "equal", "said", "stopped, said"
SILENT, UNCLEAR, TRACEBACK, NOT_AFTER = "other, and not a word", "stopped, file not named", "traceback", "not after it"
WRONG = (SILENT, UNCLEAR, TRACEBACK, NOT_AFTER)


@dataclass
class Row:
    """What came of a damage: of each command one of the outcomes above, and what was said."""

    file: str
    damage: str
    state: str
    outcomes: dict[str, str]
    words: dict[str, str]

    @property
    def right(self) -> bool:
        return not set(self.outcomes.values()) & set(WRONG)


class Folders:
    """A killed and an ended run, what commands give of them, and one folder in which each is damaged."""

    def __init__(self, place: Place):
        self.place, self.whole = place, {}
        self.states = {"killed": place.folder / "killed", "ended": place.kept}
        shutil.rmtree(place.run)
        place.start("killed", {}).wait(300)
        place.run.rename(self.states["killed"])
        for state in self.states:
            self.whole[state] = {}
            for name, command in self.commands(state, MODEL[0]).items():
                self.restore(state)
                self.whole[state][name] = command()

    def restore(self, state: str) -> Path:
        """A run folder that is whole."""
        shutil.rmtree(self.place.run, ignore_errors=True)
        shutil.copytree(self.states[state], self.place.run, symlinks=True)
        return self.place.run

    def commands(self, state: str, name: str) -> dict:
        """What reads a file."""
        found = {"report": self.report} if state == "ended" else {}
        found |= {"another run": self.next_run} if name in MODEL and state == "ended" else {}
        return found | {"evaluate": self.evaluate, "train": self.train}

    # ---- commands: (what they ended with, what they made) ----

    def carryover(self, *words: str | Path) -> CompletedProcess:
        argv = [LAUNCH, "nothing", str(self.place.run), "-m", "carryover.commands.app", *map(str, words)]
        return Process(argv, ROOT).completed(timeout=300)

    def train(self) -> tuple[CompletedProcess, object]:
        done = self.place.start("nothing", {}).completed(timeout=300)
        if done.returncode:
            return done, None
        numbers = (self.place.run / "metrics.jsonl").read_text().splitlines()
        kept = [[e.get(k) for k in ("event", "update", "loss", "WER")] for e in map(json.loads, numbers)]
        return done, self.place.outcome() | {"log": [e for e in kept if e[0] in ("train", "valid", "test")]}

    def evaluate(self) -> tuple[CompletedProcess, object]:
        for left in self.place.run.glob("predictions_*_evaluate.csv"):
            left.unlink()
        done = self.carryover("evaluate", self.place.run)
        table = re.sub(r"[\d.]+ \|$", "", done.stdout, flags=re.MULTILINE)  # its last column is a speed
        made = [path.read_text() for path in sorted(self.place.run.glob("predictions_*_evaluate.csv"))]
        return done, [table, *made]

    def next_run(self) -> tuple[CompletedProcess, object]:
        """A run that starts from this one's model: its losses."""
        out = self.place.folder / "next"
        shutil.rmtree(out, ignore_errors=True)
        own = {"model": str(self.place.run / "model"), "output_folder": str(out), "max_updates": "1"}
        done = self.place.start("nothing", own).completed(timeout=300)
        log = out / "metrics.jsonl"
        return done, [json.loads(line).get("loss") for line in log.read_text().splitlines()] if log.exists() else []

    def report(self) -> tuple[CompletedProcess, object]:
        out = self.place.folder / "report"
        shutil.rmtree(out, ignore_errors=True)
        done = self.carryover("report", self.place.run, "--out", out)
        made = {p.relative_to(out): p.read_text() for p in sorted(out.rglob("*")) if p.suffix in (".csv", ".md")}
        problems = made.pop(Path("tables/problems.md"), "")
        made.pop(Path("tables/problems.csv"), None)
        return CompletedProcess(done.args, done.returncode, done.stdout + problems, done.stderr), made

    # ---- one damage ----

    def meet(self, state: str, name: str, damage, seed: int) -> Row:
        """Damage a file, have each command read the folder, bring the file back where the run stopped."""
        outcomes, words = {}, {}
        for of, command in self.commands(state, name).items():
            file = self.restore(state) / name
            damage(file, random.Random(seed))
            found = command()
            outcomes[of], words[of] = self.judged(found, self.whole[state][of], file)
            if of == "train" and found[0].returncode:
                self.bring_back(state, name)
                again = command()
                if again[0].returncode or differs(again[1], self.whole[state][of][1]):
                    outcomes[of], words[of] = NOT_AFTER, f"{words[of]} / {again[0].stderr[-600:]}"
        return Row(kind(name), damage.__name__.replace("_", " "), state, outcomes, words)

    def bring_back(self, state: str, name: str) -> None:
        """The whole file; a checkpoint that was set aside gets its name again."""
        for aside in self.place.run.glob("save/set_aside+*"):
            shutil.rmtree(aside)
        at = Path(name).parent if name.startswith("save/CKPT") else Path(name)
        for path in (self.place.run / at, self.place.run / f"{at}.damaged"):
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink(missing_ok=True)
        whole, to = self.states[state] / at, self.place.run / at
        shutil.copytree(whole, to) if whole.is_dir() else shutil.copy2(whole, to)

    def judged(self, found, whole, file: Path) -> tuple[str, str]:
        (done, made), (healthy, expected) = found, whole
        said = done.stdout + done.stderr
        if "Traceback (most recent call last)" in said:
            return TRACEBACK, done.stderr[-1500:]
        usual = set((healthy.stdout + healthy.stderr).splitlines())
        new = [line for line in said.splitlines() if line not in usual]
        names = (file.name, file.parent.name) if file.parent.parent.name == "save" else (file.name,)
        names = (*names, "model") if file.parent.name == "model" else names
        naming = [line for line in new if any(name in line for name in names)]
        if done.returncode:
            return (STOPPED, naming[-1]) if naming else (UNCLEAR, said[-600:])
        if differs(made, expected):
            return (SAID, naming[-1]) if naming else (SILENT, "\n".join(new)[-600:])
        return EQUAL, naming[-1] if naming else ""


def differs(made, expected) -> bool:
    if isinstance(expected, dict) and "weights" in expected:
        return bool(difference(expected, made))
    return made != expected


def kind(name: str) -> str:
    return f"save/CKPT/{Path(name).name}" if name.startswith("save/CKPT") else name


def newest(folder: Path) -> Path:
    """The newest checkpoint of a run folder."""
    return max(folder.glob("save/CKPT+*"), key=lambda c: json.loads((c / "brain.json").read_text())["update"])


def drawn(folders: Folders, other: int, checkpoints: int, seed: int) -> list[tuple]:
    """(state, file, damage, seed) of so many damages of other files and of checkpoints, each file in its turn."""
    draw = random.Random(seed)

    def some(files: list[tuple[str, str]], n: int) -> list[tuple]:
        pairs = [(place, draw.sample(DAMAGES, len(DAMAGES))) for place in files]
        turns = [(*place, damages[turn]) for turn in range(len(DAMAGES)) for place, damages in pairs]
        return turns[:n]

    ckpt = newest(folders.states["killed"]).relative_to(folders.states["killed"])
    places = [("killed", name) for name in KILLED] + [("ended", name) for name in ENDED]
    wanted = some(places, other) + some([("killed", str(ckpt / name)) for name in CHECKPOINT], checkpoints)
    return [(*one, number) for number, one in enumerate(wanted)]


def table(rows: list[Row]) -> str:
    """Markdown: what became of the commands, by the kind of file."""
    heads = ("file", "damages", "commands", EQUAL, SAID, STOPPED, *WRONG)
    files = list(dict.fromkeys(row.file for row in rows))
    lines = [f"| {' | '.join(heads)} |", "|---|" + "--:|" * (len(heads) - 1)]
    total = Counter()
    for file in files:
        of = [row for row in rows if row.file == file]
        counts = Counter(outcome for row in of for outcome in row.outcomes.values())
        counts |= Counter({"damages": len(of), "commands": sum(len(row.outcomes) for row in of)})
        total += counts
        lines.append(f"| {file} | {' | '.join(str(counts[name]) for name in heads[1:])} |")
    return "\n".join([*lines, f"| all | {' | '.join(str(total[name]) for name in heads[1:])} |"])


def main(argv: list[str] | None = None) -> int:
    """Print the table and what is wrong; -> how many damages are not told."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--other", type=int, default=120, help="damages of files that are no checkpoint's")
    parser.add_argument("--checkpoints", type=int, default=42, help="damages of checkpoints' files")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", default="", help="a part of files' names")
    parser.add_argument("--json", type=Path, help="write the rows here, too")
    given = parser.parse_args(argv)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        folders = Folders(Place(Path(folder)))
        wanted = drawn(folders, given.other, given.checkpoints, given.seed)
        for one in tqdm([one for one in wanted if given.only in one[1]], unit="damage", disable=None):
            rows.append(row := folders.meet(*one))
            if not row.right:
                print(json.dumps(asdict(row), indent=1, ensure_ascii=False), flush=True)
            if given.json:
                about = [asdict(row) for row in rows]
                given.json.write_text(json.dumps(about, indent=1, ensure_ascii=False) + "\n")
    print(table(rows))
    return sum(not row.right for row in rows)


if __name__ == "__main__":
    sys.exit(main() > 0)
