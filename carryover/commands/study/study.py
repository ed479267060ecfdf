"""A study from its plan to its tables: trials, choice on validation, the chosen ones with all seeds."""

import math
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from carryover import files
from carryover.commands.study.plan import Plan
from carryover.commands.sweep.execute import checked, run_all, say_failed
from carryover.commands.sweep.jobs import Job, plan
from carryover.config.settings import SettingsError
from carryover.report.run_folder import Run
from carryover.report.tables import forgetting
from carryover.runs import lock


def study(
    path: str | Path,
    out: str | Path,
    jobs: int = 1,
    extra: Sequence[str] = (),
    command: Sequence[str] | None = None,
    say: Callable[[str], None] = print,
) -> int:
    """Run a plan from the checkout's root; the same command goes on where it stopped.

    A trial is trained and validated with the first seed, in OUT/trials/<method>/<trial>/<seed>, and never tested. What
    is chosen of each method is trained with all seeds and tested, in OUT/chosen/<method>/<trial>/<seed>. OUT/trials.csv
    has the validation WERs of all trials, OUT/table.md the test results of the chosen ones. A run's checkpoints are
    removed when it is done; of the chosen runs the exported models stay.

    Parameters
    ----------
    path : path
        The plan, see `Plan.read`.
    out : path
        Folder of the study.
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
        Before the first run: a broken plan, or another one than the folder's.
    """
    command = checked(command, jobs)
    out, asked = Path(out), Plan.read(path)

    def words(cell: dict) -> list[str]:
        """What a trial does not set itself."""
        common = {key: value for key, value in asked.common.items() if key not in cell}
        return [word for key, value in common.items() for word in (f"--{key}", value)] + list(extra)

    def runs(trials: dict[str, Sequence[dict]], seeds: Sequence[int], where: Path, *flags: str) -> dict[str, list[Job]]:
        """Jobs of each method's trials below a folder, checked."""
        found = {}
        for name, cells in trials.items():
            # trials of one method may set different keys
            found[name] = [
                job
                for cell in cells
                for job in plan(asked.experiment, [cell], seeds, where / name, [*words(cell), *flags])
            ]
        return found

    first = runs(asked.methods, asked.seeds[:1], out / "trials", "--train_only")
    with lock.held(out):
        asked.keep(out)
        say(f"{out}: {len(asked.methods)} methods with {asked.budget} trials each, seeds {list(asked.seeds)}")
        try:
            failed = _run(first, out, jobs, command, say)
            if failed:
                return 1
            chosen = {name: _choose(jobs_of) for name, jobs_of in first.items()}
            _write_trials(first, chosen, out)
            trials = {name: [asked.methods[name][first[name].index(job)]] for name, job in chosen.items()}
            final = runs(trials, asked.seeds, out / "chosen")
            failed = _run(final, out, jobs, command, say)
        except KeyboardInterrupt:
            say("stopped; the same command goes on")
            return 130
        if failed:
            return 1
        table = forgetting.table({name: [job.folder for job in jobs_of] for name, jobs_of in final.items()})
        files.write(out / "table.md", table.markdown() + "\n")
        files.write(out / "table.csv", table.csv())
        say(f"\n{table.markdown()}\n\nWrote {out / 'trials.csv'}, {out / 'table.md'} and {out / 'table.csv'}")
        return 0


def _run(
    trials: dict[str, list[Job]], out: Path, at_once: int, command: Sequence[str], say: Callable[[str], None]
) -> bool:
    """Run what is not done yet of all methods; -> whether a run failed, which is said."""
    jobs = [job for jobs_of in trials.values() for job in jobs_of]
    failed = run_all(jobs, at_once, command, lambda job: shutil.rmtree(job.folder / "save", ignore_errors=True))
    say_failed(failed, len(jobs), out, say)
    return bool(failed)


def validation(folder: Path) -> float:
    """Mean of the validation WERs of the languages that a run validated, in percent, of what it is tested by.

    Of a run that tests averages of weights the best share counts. nan where a language was not validated.
    """
    run = Run(folder)
    new, old = run.languages
    languages = [name for name in (new, old) if name and run.of("valid", language=name)]
    found = []
    for weights in run.averages or ["best"]:
        WERs = [run.validation_WER(name, weights) for name in languages]
        found.append(sum(WERs) / len(WERs))
    return min(found) if found and not any(map(math.isnan, found)) else math.nan


def _choose(jobs: Sequence[Job]) -> Job:
    """The trial with the lowest validation, the earlier of equal ones."""
    scores = [validation(job.folder) for job in jobs]
    if any(map(math.isnan, scores)):
        unknown = jobs[[math.isnan(score) for score in scores].index(True)]
        raise SettingsError(
            f"{unknown.folder}: no validation of its languages to choose by; give valid in old_splits, and valid_every"
        )
    return jobs[scores.index(min(scores))]


def _write_trials(trials: dict[str, list[Job]], chosen: dict[str, Job], out: Path) -> None:
    """trials.csv: every trial of every method, its validation WERs, and whether it was chosen."""
    rows = []
    for name, jobs in trials.items():
        for job in jobs:
            run = Run(job.folder)
            new, old = run.languages
            each = [run.validation_WER(language) if language else math.nan for language in (new, old)]
            cells = ["" if math.isnan(value) else f"{value:.4f}" for value in (*each, validation(job.folder))]
            rows.append([name, job.cell, *cells, job is chosen[name]])
    files.write_csv(out / "trials.csv", ["method", "trial", "valid_new", "valid_old", "valid_mean", "chosen"], rows)
