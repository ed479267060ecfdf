"""Run folders below some folders, and the summaries of them all."""

import sys
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

from carryover.report.log_reader import METRICS
from carryover.report.summary import Summary, run_name, summarise

SMALL = 20_000_000  # bytes of logs that are read sooner than processes are started


def find(paths: Sequence[str | Path]) -> list[Path]:
    """Run folders in and below these, sorted, each once.

    Raises
    ------
    FileNotFoundError
        When a path is not there or has no run in it.
    """
    found = {}
    for path in map(Path, paths):
        if not path.is_dir():
            raise FileNotFoundError(f"{path}: no such folder; expected run folders such as results/whisper_ft/1234")
        here = sorted(p.parent for p in path.rglob(METRICS))
        if not here:
            raise FileNotFoundError(f"{path}: no run in it: no {METRICS} in it or below; expected what train.py made")
        found |= {p.resolve(): p for p in here if p.resolve() not in found}
    return sorted(found.values())


def load(paths: Sequence[str | Path], workers: int = 2, unreadable: list[str] | None = None) -> list[Summary]:
    """Summaries of all runs in and below `paths`, in the order of their names.

    A run whose files cannot be read is told in `unreadable`, one sentence each; the others are read.

    Raises
    ------
    FileNotFoundError
        As `find`.
    ValueError
        When two runs have one name, or no run can be read.
    """
    names = {}
    for folder in find(paths):
        name = run_name(folder, list(map(Path, paths)))
        if name in names:
            raise ValueError(
                f"two runs are called {name}: {names[name]} and {folder}; give the folder that both are in, or rename "
                "one of them"
            )
        names[name] = folder
    jobs = sorted(names.items())
    if workers < 2 or sum((folder / METRICS).stat().st_size for _, folder in jobs) < SMALL:
        return _readable(map(_summarise_job, jobs), unreadable)
    # forked where that is the custom: a spawned process would run a user's script or notebook once more
    context = get_context("fork" if sys.platform == "linux" else None)
    with ProcessPoolExecutor(workers, mp_context=context) as pool:
        found = pool.map(_summarise_job, jobs, chunksize=max(1, min(8, len(jobs) // (4 * workers))))
        return _readable(found, unreadable)


def _summarise_job(job: tuple[str, Path]) -> Summary | str:
    """A run's summary, or what is wrong with it."""
    name, folder = job
    try:
        return summarise(folder, name)
    except (OSError, ValueError) as error:
        return str(error)


def _readable(found: Iterable[Summary | str], unreadable: list[str] | None) -> list[Summary]:
    found = list(found)
    runs, said = [one for one in found if isinstance(one, Summary)], [one for one in found if isinstance(one, str)]
    if said and (not runs or unreadable is None):
        raise ValueError("; ".join(said))
    if said:
        unreadable += said
    return runs
