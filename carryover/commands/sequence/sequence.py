"""A sequence from its plan to its table by stage."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

from carryover import files
from carryover.commands.sequence.plan import Plan
from carryover.commands.sweep.execute import checked, run_all, say_failed
from carryover.commands.sweep.jobs import Job, plan
from carryover.config import presets
from carryover.report.tables import stages
from carryover.runs import lock

FIRST, ALONE = "first", "alone"  # folders of runs that belong to several methods


def sequence(
    path: str | Path,
    out: str | Path,
    jobs: int = 1,
    extra: Sequence[str] = (),
    command: Sequence[str] | None = None,
    say: Callable[[str], None] = print,
) -> int:
    """Run a plan from the checkout's root; the same command goes on where it stopped.

    Stage k of a method stands in OUT/<method>/<k>_<language>/<seed> and starts from stage k - 1's `model/`, with what
    that run has left in `carried/`. The first stage is one run for all methods that do not set anything in it
    (OUT/first). OUT/stages.md and .csv hold the table.

    Parameters
    ----------
    path : path
        The plan, see `Plan.read`.
    out : path
        Folder of the sequence.
    jobs : int
        Runs at a time.
    extra : list of str
        More arguments for every run that change no result (--device cuda:0).
    command : list of str, optional
        What is run instead of `python train.py`.
    say : callable
        Prints a line.

    Returns
    -------
    status : int
        0; 1 when a run failed; 130 when stopped.

    Raises
    ------
    SettingsError
        Before the first run: a broken plan, a key that a YAML does not have, a folder with a run of other settings.
    """
    command = checked(command, jobs)
    out, asked = Path(out), Plan.read(path)
    runs = _Runs(asked, out, list(extra))
    by_stage = [runs.of_stage(k) for k in range(1, len(asked.sequence) + 1)]  # all are checked before one starts
    with lock.held(out):
        say(f"{out}: {' -> '.join(asked.sequence)}, {len(asked.methods)} methods, seeds {list(asked.seeds)}")
        try:
            for k, todo in enumerate(by_stage, 1):
                if not todo:
                    continue
                say(f"stage {k}, {asked.sequence[k - 1]}: {len(todo)} runs")
                failed = run_all(todo, jobs, command)
                say_failed(failed, len(todo), out, say)
                if failed:
                    return 1
        except KeyboardInterrupt:
            say("stopped; the same command goes on")
            return 130
        table = stages.table(
            asked.sequence,
            {name: [runs.folders(name, seed) for seed in asked.seeds] for name in asked.methods},
            [runs.references(seed) for seed in asked.seeds] if asked.alone else None,
        )
        files.write(out / "stages.md", table.markdown() + "\n")
        files.write(out / "stages.csv", table.csv())
        say(f"\n{table.markdown()}\n\nWrote {out / 'stages.md'} and {out / 'stages.csv'}")
        return 0


class _Runs:
    """Folders and jobs of a plan's runs."""

    def __init__(self, asked: Plan, out: Path, extra: list[str]):
        self.asked, self.out, self.extra = asked, out, extra

    def place(self, who: str, k: int) -> Path:
        """Folder of the seeds of stage k (from 1)."""
        return self.out / who / f"{k}_{self.asked.sequence[k - 1]}"

    def first_of(self, method: str) -> str:
        """Whose first stage a method starts from."""
        return method if "first" in self.asked.methods.get(method, {}) else FIRST

    def model(self, method: str, k: int, seed: int) -> str:
        """The model after stage k."""
        if k == 1 and not self.asked.trains_first:
            return self.asked.first
        who = self.first_of(method) if k == 1 else method
        return str(self.place(who, k) / str(seed) / "model")

    def folders(self, method: str, seed: int) -> list[Path | None]:
        """A method's run folder of each stage; None of a first stage that is a model."""
        first = self.place(self.first_of(method), 1) / str(seed) if self.asked.trains_first else None
        return [first, *(self.place(method, k) / str(seed) for k in range(2, len(self.asked.sequence) + 1))]

    def references(self, seed: int) -> list[Path]:
        """Run folders of the languages from the second on, each learned alone."""
        return [self.place(ALONE, k) / str(seed) for k in range(2, len(self.asked.sequence) + 1)]

    def of_stage(self, k: int) -> list[Job]:
        """Jobs of stage k, checked."""
        if k == 1:
            if not self.asked.trains_first:
                return []
            owners = dict.fromkeys(self.first_of(name) for name in self.asked.methods)
            return [job for who in owners for job in self._first(who)]
        made = [job for name in self.asked.methods for seed in self.asked.seeds for job in self._later(name, k, seed)]
        if self.asked.alone:
            made += [job for seed in self.asked.seeds for job in self._later(ALONE, k, seed)]
        return made

    def _first(self, who: str) -> list[Job]:
        own = self.asked.methods.get(who, {}).get("first", {})
        language = self.asked.sequence[0]
        keys = {"language": language, "data_folder": self.asked.data[language]}
        keys |= self.asked.first_common | own
        return self._plan(self.asked.first, keys, self.asked.seeds, self.place(who, 1))

    def _later(self, method: str, k: int, seed: int) -> list[Job]:
        languages, data = self.asked.sequence, self.asked.data
        alone = method == ALONE
        before = {name: data[name] for name in languages[: k - 2]}
        text = Path(self.asked.experiment).read_text(encoding="utf-8")
        written = presets.scalars(text)
        keys = {
            ("start_from" if "start_from" in written else "model"): self.model(method, 1 if alone else k - 1, seed),
            "language": languages[k - 1], "data_folder": data[languages[k - 1]],
            "old_language": languages[0 if alone else k - 2], "old_data_folder": data[languages[0 if alone else k - 2]],
            "other_tests": "{}" if alone else json.dumps(before),
        }  # fmt: skip
        keys |= {"run_first": "null"} if "run_first" in written else {}
        own = {"forgetting": "[]"} if alone else self.asked.methods[method]
        own = {key: value for key, value in own.items() if key != "first"}
        return self._plan(self.asked.experiment, keys | self.asked.common | own, [seed], self.place(method, k))

    def _plan(self, yaml: str, keys: dict[str, str], seeds: Sequence[int], place: Path) -> list[Job]:
        words = [word for key, value in keys.items() for word in (f"--{key}", value)]
        return plan(yaml, [{}], seeds, place, words + self.extra)
