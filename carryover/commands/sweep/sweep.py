"""The sweep from its grid to its table and report."""

from collections.abc import Callable, Sequence
from pathlib import Path

from carryover import files
from carryover.commands.sweep.execute import checked, run_all, say_failed
from carryover.commands.sweep.grid import cell_name, grid, method_name, parse_seeds
from carryover.commands.sweep.jobs import Job, default_folder, plan
from carryover.config.settings import SettingsError
from carryover.report.tables import forgetting


def sweep(
    path: str,
    sets: Sequence[str],
    seeds: str,
    jobs: int = 1,
    out: str | Path | None = None,
    extra: Sequence[str] = (),
    command: Sequence[str] | None = None,
    say: Callable[[str], None] = print,
    baseline: str = forgetting.BASELINE,
    report: bool = False,
) -> int:
    """Run a grid from the checkout's root and write OUT/table.md and OUT/table.csv.

    A run stands in OUT/<cell>/<seed>, what it printed in OUT/<cell>/<seed>.log. One whose run.json says so and whose
    tests are all there is done; the others are started with the same command again, and train.py goes on from its last
    checkpoint. The same command given several times, on machines that share OUT, shares the runs.

    Parameters
    ----------
    path : str
        The YAML.
    sets : list of str
        `key=a,b,c`; `preset` is a key like those of the YAML.
    seeds : str
        `1,2,3`.
    jobs : int
        Runs at a time. Each gets cores // jobs threads, unless OMP_NUM_THREADS is set.
    out : path, optional
        Default: <output_root>/<name of the YAML>_sweep, output_root as the YAML or `extra` has it, else results.
    extra : list of str
        More arguments for every run.
    command : list of str, optional
        What is run instead of `python train.py`.
    say : callable
        Prints a line.
    baseline : str
        Method (preset or cell) that the table compares the others with.
    report : bool
        Also make the report of all runs in OUT, with figures, in OUT/report.

    Returns
    -------
    status : int
        0; 1 when a run failed or there is no table, or no report where one is asked for; 130 when stopped.

    Raises
    ------
    SettingsError
        Before the first run, for contradictory arguments.
    """
    command = checked(command, jobs)
    out = Path(out) if out else default_folder(path, extra)
    cells = grid(sets)
    folders = {method_name(cell): cell_name(cell) for cell in cells}
    if baseline not in (forgetting.BASELINE, *folders):
        raise SettingsError(f"--baseline {baseline}: no such method here; expected one of {', '.join(folders)}")
    runs = plan(path, cells, parse_seeds(seeds), out, extra)
    return _run(runs, folders, out, jobs, command, say, baseline, report)


def _run(
    runs: Sequence[Job],
    folders: dict[str, str],
    out: Path,
    jobs: int,
    command: Sequence[str],
    say: Callable[[str], None],
    baseline: str,
    report: bool,
) -> int:
    done = sum(job.done for job in runs)
    say(f"{out}: {len(folders)} cells, {len(runs)} runs, {done} of them done; {jobs} at a time")
    try:
        failed = run_all(runs, jobs, command)
    except KeyboardInterrupt:
        say("stopped; the same command goes on")
        return 130
    made = _write_table(runs, folders, out, say, baseline)
    if report and made:
        made = _make_report(out, say, folders.get(baseline, baseline))
    say_failed(failed, len(runs), out, say)
    return int(bool(failed) or not made)


def _make_report(out: Path, say: Callable[[str], None], baseline: str) -> bool:
    """Make the report of the runs; False where there is none to be made, e.g. where all runs of the baseline failed."""
    from carryover.report import build  # draws: matplotlib

    try:
        say(f"\n{build.report([out], out / 'report', baseline=baseline).said()}")
    except (FileNotFoundError, ValueError) as error:
        say(f"No report: {error}")
        return False
    return True


def _write_table(
    jobs: Sequence[Job], folders: dict[str, str], out: Path, say: Callable[[str], None], baseline: str
) -> bool:
    """Write the table of the finished runs, `folders`: {method: its cell}; False where there is none to be made."""
    methods = {name: [job.folder for job in jobs if job.cell == cell and job.done] for name, cell in folders.items()}
    methods = {name: done for name, done in methods.items() if done}
    if not methods:
        return False
    try:
        table = forgetting.table(methods, baseline)
    except (FileNotFoundError, ValueError) as error:
        say(f"No table: {error}")
        return False
    missing = [job.name for job in jobs if not job.done]
    note = f"\n\nNot in it, for they failed: {', '.join(missing)}." if missing else ""
    text = table.markdown() + note
    files.write(out / "table.md", text + "\n")
    files.write(out / "table.csv", table.csv())
    say(f"\n{text}\n\nWrote {out / 'table.md'} and {out / 'table.csv'}")
    return True
