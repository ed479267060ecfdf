"""Which runs stand together: the seeds of one method, the methods of one table; and how a caption names them."""

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePath

from carryover.report.summary import Summary
from carryover.report.what_ran import by_method
from carryover.runs.privacy import clean

BASELINE, FROM_SCRATCH = "plain", "new_only"  # methods that others are compared with, where they are there
SWEPT_APART = ("seed", "pretrain_seed", "output_folder", "output_root")  # differ without making another method
# says where a run reads and writes, or follows from its seed; `needs`: the name of `run_first` in old run folders
PLACES = {*SWEPT_APART, "modules", "run_first", "needs"}
SETS = 3  # corpora that a caption names


def of_test(runs: Sequence[Summary]) -> list[Summary]:
    """Finished runs with a test of their own; learning a handful by heart (--overfit) has none."""
    return [run for run in runs if run.status == "finished" and run.tests and not run.settings.get("overfit")]


def comparable(runs: Sequence[Summary]) -> dict[tuple, list[Summary]]:
    """Runs by what they were tested on: (language, old language, digests of both test sets, normaliser)."""
    found = {}
    for run in of_test(runs):
        digests = tuple(run.test_sets.get(name, "unknown") for name in (run.language, run.old_language) if name)
        found.setdefault((run.language, run.old_language, digests, run.normaliser), []).append(run)
    return found


def method_sets(runs: Sequence[Summary]) -> dict[tuple, list[Summary]]:
    """Those of which a table of methods is made: with an old language, or of several methods."""
    return {key: found for key, found in comparable(runs).items() if key[1] or len(groups(found)) > 1}


def seeds_of(runs: Sequence[Summary]) -> str:
    """Seeds in words.

    Example
    -------
    "seed 1234", "seeds 1, 2, 3"
    """
    found = sorted({run.seed for run in runs}, key=lambda seed: (len(seed), seed))
    return f"seed{'s' * (len(found) > 1)} {', '.join(found)}"


def data_of(runs: Sequence[Summary]) -> str:
    """What the runs learned from, a corpus by its kind and its folder's last part, with languages; "" where unknown.

    Example
    -------
    "synthetic (de, nl)", "common_voice (de), manifest nl_nathalie (nl)"
    """
    found = {}
    for run in runs:
        for language, folder in ((run.language, "data_folder"), (run.old_language, "old_data_folder")):
            parts = run.counts.get(language, {}).get("corpus") or "", run.settings.get(folder) or ""
            names = [clean(PurePath(str(part)).name) for part in parts]
            name = " ".join(dict.fromkeys(part for part in names if part not in ("", "…", language)))
            if language and name:
                found.setdefault(name, set()).add(language)
    named = [f"{name} ({', '.join(sorted(languages))})" for name, languages in sorted(found.items())]
    return ", ".join(named[:SETS] + [f"{len(named) - SETS} more"] * (len(named) > SETS))


def without_seed(value, seed: str) -> str:
    """A value as text; a path that holds the run's seed is the same for all seeds."""
    return re.sub(rf"(?<=/){re.escape(seed)}(?=/|$)", "SEED", str(value))


def about(runs: Sequence[Summary]) -> str:
    """Runs, seeds and data of a table, for its caption."""
    data = data_of(runs)
    return f"{len(runs)} run{'s' * (len(runs) != 1)}, {seeds_of(runs)}{f'; data: {data}' * bool(data)}."


def groups(summaries: Iterable[Summary]) -> dict[str, list[Summary]]:
    """Runs that differ in their seed alone, by the folder that they are in: its last part where no two have the same.

    Example
    -------
    Runs lambda/preset=ewc/1, lambda/preset=ewc/2 and lambda/preset=mas/1 give the groups preset=ewc and preset=mas.
    """
    found = {}
    for run in summaries:
        folder, _, last = run.name.rpartition("/")
        found.setdefault(folder if folder and last == run.seed else run.name, []).append(run)
    short = [_folder(name) for name in found]
    return dict(zip(short if len(set(short)) == len(short) else found, found.values(), strict=True))


def _folder(name: str) -> str:
    """The last part of a run's path; the last two where that is a number alone, which says nothing."""
    last = name.rpartition("/")[2]
    return "/".join(name.split("/")[-2:]) if last.isdigit() else last


def method_name(folder: str) -> str:
    """What a folder of a sweep's cell is called: preset=ewc,lambda=10 is ewc,lambda=10."""
    return folder.replace("preset=", "")


def baseline_of(runs: Sequence[Summary], asked: str) -> str:
    """The method's name that `asked` means: a method, or the folder of a sweep's cell.

    Raises
    ------
    ValueError
        No run is of it; BASELINE may be missing.
    """
    known = {name for found in (runs, *method_sets(runs).values()) for name in method_names(found)}
    for name in (asked, method_name(asked)):
        if name in known or name == BASELINE:
            return name
    raise ValueError(f"--baseline {asked}: no run is of it; expected one of {', '.join(sorted(known))}")


def method_names(runs: Sequence[Summary]) -> dict[str, list[Summary]]:
    """Runs by method, called by what ran (`what_ran.by_method`); the seeds of one lie in one folder."""
    named = groups(runs)
    short = [method_name(folder) for folder in named]
    named = by_method(dict(zip(short if len(set(short)) == len(short) else named, named.values(), strict=True)))
    return dict(sorted(named.items(), key=lambda item: _natural(item[0])))


def _natural(name: str) -> list:
    """A key that sorts lambda=1e2 before lambda=1e10."""
    parts = re.split(r"((?<=[=,])\d[\d.]*(?:e[-+]?\d+)?)", name)
    return [(0, float(part), "") if i % 2 else (1, 0.0, part) for i, part in enumerate(parts)]


def having(runs: Sequence[Summary], rows: Sequence[Sequence]) -> list[Summary]:
    """Runs that have a row, which begins with the run's name."""
    names = {row[0] for row in rows}
    return [run for run in runs if run.name in names]


def mixed_settings(named: Mapping[str, Sequence[Summary]]) -> list[str]:
    """What the seeds of one method were set differently in, where they were."""
    said = []
    for name, runs in named.items():
        values = [{**run.settings, **run.objects} for run in runs]
        keys = {key for value in values for key in value} - PLACES - {"model"}
        differ = sorted(k for k in keys if len({str(v.get(k)) for v in values}) > 1)
        said += [f"The runs of {name} differ in more than the seed: {', '.join(differ)}."] * bool(differ)
    return said
