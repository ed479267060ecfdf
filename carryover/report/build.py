"""`carryover report`: from run folders to a folder with tables, figures, the methods paragraph and one page of it all.

The same logs give the same bytes: no date, no absolute path and no name of a machine comes into a report.
"""

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from carryover import files
from carryover.report import find_runs, methods
from carryover.report.figures import all_figures
from carryover.report.figures.style import Figure
from carryover.report.grouping import BASELINE, baseline_of
from carryover.report.page import page
from carryover.report.summary import Summary
from carryover.report.tables import all_tables
from carryover.report.tables.grids import require_grids
from carryover.report.tables.table import Table
from carryover.runs.privacy import clean

TABLES, FIGURES, INDEX = "tables", "figures", "index.md"
LINK = re.compile(r"\]\(((?:tables|figures)/[\w.,=+-]+)\)")


@dataclass
class Report:
    """What was made.

    Attributes
    ----------
    out : Path
        Its folder.
    runs : list of Summary
    tables : list of Table
    figures : list of Figure
    left_out : list of str
        What is not in it, one sentence each.
    unreadable : list of str
        Runs that could not be read, and why.
    """

    out: Path
    runs: list[Summary]
    tables: list[Table]
    figures: list[Figure]
    left_out: list[str]
    unreadable: list[str] = field(default_factory=list)

    def said(self) -> str:
        """What to tell on the screen."""
        unfinished = sum(run.status != "finished" for run in self.runs)
        amiss = sum(len(run.problems) for run in self.runs)
        lines = [
            f"{len(self.runs)} runs ({unfinished} unfinished): {len(self.tables)} tables, {len(self.figures)} figures.",
            *(f"Left out: {reason}" for reason in self.left_out),
            *([f"{amiss} problems in the runs' files: see {self.out / TABLES / 'problems.md'}"] * bool(amiss)),
            f"Wrote {self.out / INDEX} and {self.out / 'index.html'}",
        ]
        return "\n".join(lines)


def report(
    paths: Sequence[str | Path],
    out: str | Path,
    rate: float | None = None,
    grids: Sequence[tuple[str, str, str]] = (),
    clips: bool = False,
    workers: int = 2,
    baseline: str = BASELINE,
) -> Report:
    """Make a report of all runs in and below some folders.

    Parameters
    ----------
    paths : list of path
        Run folders, or folders with runs below.
    out : path
        Gets tables/NAME.csv|md|tex, figures/, methods.md|tex, references.bib, index.md and index.html. What an
        earlier report has put there and this one does not is removed: nothing old stands among the new.
    rate : float, optional
        Money an hour of the machine costs.
    grids : list of (row key, column key, metric), optional
        See `grids.grids`.
    clips : bool
        Embed the audio of the worst utterances into the page.
    workers : int
        Processes that read runs.
    baseline : str
        Method that the others are compared with; the default, where it is among them.

    Raises
    ------
    FileNotFoundError, ValueError
        See `find_runs.load`; or no run is of the baseline that was asked for.
    """
    out = Path(out)
    unreadable = []
    runs = find_runs.load(paths, workers, unreadable)
    require_grids(runs, grids)
    baseline = baseline_of(runs, baseline)
    (out / TABLES).mkdir(parents=True, exist_ok=True)
    before = _files_of(out)
    drawn = all_figures.draw(
        runs, out / FIGURES, baseline
    )  # first: it tells in a run's problems what it could not read
    made, left_out = all_tables.make(runs, rate, grids, baseline)
    left_out = [*(f"run {said}" for said in unreadable), *left_out]
    for table in made:
        for suffix, text in ((".csv", table.csv()), (".md", table.markdown() + "\n"), (".tex", table.latex())):
            _write(out / TABLES / f"{table.name}{suffix}", text)
    described = methods.describe(runs, baseline)
    _write(out / "methods.md", described.markdown())
    _write(out / "methods.tex", described.latex())
    _write(out / "references.bib", described.bibtex())
    flags = {run.name: run.red_flags for run in runs}
    page.write(out / "index.html", runs, made, drawn, flags, described.text(), clips)
    command = ["carryover", "report", *map(str, paths), "--out", str(out)]
    command += [] if rate is None else ["--rate", f"{rate:g}"]
    command += [word for grid in grids for word in ("--grid", ",".join(grid))]
    command += ["--clips"] * clips + ["--baseline", baseline] * (baseline != BASELINE)
    _write(out / INDEX, _index(clean(shlex.join(command)), out, runs, made, drawn, left_out))
    for name in before - _files_of(out):
        (out / name).unlink(missing_ok=True)
    return Report(out, runs, made, drawn, left_out, unreadable)


def _write(path: Path, text: str) -> None:
    files.write(path, text)


def _files_of(out: Path) -> set[str]:
    """Tables and figures that the folder's index names."""
    index = out / INDEX
    return set(LINK.findall(index.read_text(encoding="utf-8"))) if index.is_file() else set()


def _index(
    command: str,
    out: Path,
    runs: Sequence[Summary],
    made: Sequence[Table],
    drawn: Sequence[Figure],
    left_out: Sequence[str],
) -> str:
    """The list of all that was made."""
    unfinished = [f"`{run.name}` ({run.last_update} updates)" for run in runs if run.status != "finished"]
    lines = [
        "# Report", "", f"Made by `{command}` of {len(runs)} runs; the same command makes it again.", "",
        "[Everything on one page](index.html), [methods](methods.md) ([LaTeX](methods.tex), "
        "[references](references.bib)).", "",
    ]  # fmt: skip
    if unfinished:
        lines += [f"Not finished (killed or running), with what they logged so far: {', '.join(unfinished)}.", ""]
    if any(run.problems for run in runs):
        lines += [f"Some files could not be read as a whole: [problems]({TABLES}/problems.md).", ""]
    lines += ["## Tables", ""]
    for table in made:
        files = [f"[{table.name}]({TABLES}/{table.name}.md)"]
        files += [f"[{suffix}]({TABLES}/{table.name}.{suffix})" for suffix in ("csv", "tex")]
        lines.append(f"- {', '.join(files)}: {table.caption}")
    lines += ["", "## Figures", ""]
    for figure in drawn:
        places = [Path(file).relative_to(out).as_posix() for file in (*figure.files, figure.csv)]
        files = [f"[{place.rsplit('.', 1)[-1]}]({place})" for place in places]
        lines.append(f"- {figure.name} ({', '.join(files)}): {figure.caption}")
    lines += ["", "## Left out", "", *(f"- {reason}" for reason in left_out)]
    return "\n".join(lines) + "\n"
