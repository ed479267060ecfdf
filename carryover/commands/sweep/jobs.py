"""The runs of a grid, checked before the first one starts."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from carryover.commands.sweep.grid import OURS, cell_name
from carryover.config import presets, run_first, settings
from carryover.config.given import quoted
from carryover.config.settings import SettingsError
from carryover.runs import run_folder


@dataclass
class Job:
    """One run: a cell of the grid with one seed, by the YAML whose text is `text`.

    `waits_for` is the model that a `run_first` has to make first, None where it is there or nothing is needed.
    """

    cell: str
    seed: int
    folder: Path
    words: list[str]
    text: str
    waits_for: str | None = None
    error: str = ""

    @property
    def name(self) -> str:
        return f"{self.cell}/{self.seed}"

    @property
    def log(self) -> Path:
        return self.folder.with_name(f"{self.seed}.log")

    @property
    def claim(self) -> Path:
        """Locked by the worker that makes this run: several share a sweep."""
        return self.folder.with_name(f"{self.seed}.claim")

    @property
    def done(self) -> bool:
        return run_folder.finished(self.folder)


def default_folder(path: str, extra: Sequence[str]) -> Path:
    """Where a sweep goes if it is not told: beside the other runs of its YAML."""
    _, overrides, _, _ = settings.parse([path, *presets.take(list(extra))[1]], settings.FLAGS)
    known = settings.resolved(Path(path).read_text(encoding="utf-8"), overrides)
    return Path(known.get("output_root", "results")) / f"{Path(path).stem}_sweep"


def plan(path: str, cells: Sequence[dict], seeds: Sequence[int], out: Path, extra: Sequence[str]) -> list[Job]:
    """All runs, checked: the first seed's through all cells, then the next seed's.

    Raises
    ------
    SettingsError
        For a key or preset that is not there (naming the nearest), a key that is given twice, and a folder that
        holds a run of other settings.
    """
    names, rest = presets.take(list(extra))
    _, given, _, _ = settings.parse([path, *rest], settings.FLAGS)
    for key, where in [*OURS.items(), *((key, "--set") for key in cells[0])]:
        if key in given:
            raise SettingsError(f"--{key} {given[key]}: {key} is given by {where} here")
    text = Path(path).read_text(encoding="utf-8")
    plain, made = presets.scalars(text), []
    quiet = [] if any(word.startswith("--noprogressbar") for word in extra) else ["--noprogressbar"]  # logs are read
    for values in cells:
        keys = {key: value for key, value in values.items() if key != "preset"}
        preset = ["--preset", values["preset"].strip("\"'")] if "preset" in values else []
        _, own, _, _ = settings.parse([path, *(f"--{key}={value}" for key, value in keys.items())], settings.FLAGS)
        overrides = presets.apply(names + presets.take(preset)[0], plain) | given | own
        settings.require_values(text, overrides, path=path)
        made.append((cell_name(values), [path, *extra, *preset], keys, overrides))
    jobs = []
    for seed, (cell, words, keys, overrides) in itertools.product(seeds, made):
        own = {"seed": str(seed), "output_folder": str(out / cell / str(seed))}
        last = [word for key, value in (keys | own).items() for word in (f"--{key}", value)]
        job = Job(cell, seed, out / cell / str(seed), [*words, *last, *quiet], text)
        own["output_folder"] = quoted("output_folder", own["output_folder"])
        run_folder.require_same_settings(job.folder, text, overrides | own)  # else its digits would be another's
        if "run_first" in plain and not job.done:
            job.waits_for = run_first.missing(settings.resolved(text, overrides | own))
        jobs.append(job)
    return jobs
