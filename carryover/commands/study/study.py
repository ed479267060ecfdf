"""A study from its plan to its tables: trials, choice on validation, the chosen ones with all seeds."""

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from carryover.commands.study import choice
from carryover.commands.study.plan import Order, Plan
from carryover.commands.sweep.execute import checked, run_all, say_failed
from carryover.commands.sweep.jobs import Job, plan
from carryover.config.settings import SettingsError
from carryover.experiment import Experiment
from carryover.report import study as report
from carryover.runs import lock
from carryover.stats.jackknife import MIN_SEEDS


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
    is chosen of each method is trained with all seeds and tested, in OUT/chosen/<method>/<trial>/<seed>. Of a plan with
    orders all this stands in OUT/<order>, beside OUT/<order>/start, the model that the order starts from. OUT/study.md
    has the results (see `carryover.report.study`). A run's checkpoints are removed when it is done; of the chosen runs
    the exported models stay.

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
        Before the first run: a broken plan, another one than the folder's, a method that the experiment cannot have,
        and an old language that is not validated.
    """
    command = checked(command, jobs)
    out, asked = Path(out), Plan.read(path)
    orders = [_Runs(asked, name, order, out, extra) for name, order in asked.orders.items()]
    for runs in orders:
        runs.check()
    with lock.held(out):
        asked.keep(out)
        say(f"{out}: {len(asked.methods)} methods with {asked.budget} trials each, seeds {list(asked.seeds)}")
        if len(asked.seeds) < MIN_SEEDS:
            say(f"seeds: {len(asked.seeds)}; it takes {MIN_SEEDS} for intervals over seeds and for p-values")
        try:
            for stage in (_Runs.starts, _Runs.trials, _Runs.chosen):
                todo = [job for runs in orders for job in stage(runs)]
                # a model that others start from stays, as does its checkpoint's export
                failed = run_all(
                    todo, jobs, command, lambda job: shutil.rmtree(job.folder / "save", ignore_errors=True)
                )
                say_failed(failed, len(todo), out, say)
                if failed:
                    return 1
        except KeyboardInterrupt:
            say("stopped; the same command goes on")
            return 130
        written = report.write([runs.results() for runs in orders], out)
        say(f"\nWrote {written}")
        return 0


@dataclass
class _Runs:
    """All runs of one order."""

    plan: Plan
    name: str
    order: Order
    out: Path
    extra: Sequence[str]

    def __post_init__(self):
        self.folder = self.out / self.name
        self.start = self._start()
        seed = self.plan.seeds[:1]
        self.first = {
            method: [job for cell in cells for job in self._jobs(method, cell, seed, "trials", "--train_only")]
            for method, cells in self.plan.methods.items()
        }
        self.final: dict[str, list[list[Job]]] = {}

    def _start(self) -> list[Job]:
        start = self.order.start
        if start is None:
            return []
        cell = {key: value for key, value in start.given.items() if key != "seed"}
        seed = int(start.given.get("seed", self.plan.seeds[0]))
        words = [word for key, value in cell.items() for word in (f"--{key}", value)]
        return plan(start.experiment, [{}], [seed], self.folder / "start", [*words, *self.extra])

    def _jobs(self, method: str, cell: dict, seeds: Sequence[int], where: str, *flags: str) -> list[Job]:
        """Runs of one trial, checked."""
        common = self.plan.common | self.order.given
        if self.start:
            common |= {"model": str(self.start[0].folder / "model")}
            common |= {"run_first": "null"} if "\nrun_first:" in Path(self.plan.experiment).read_text() else {}
        common = {key: value for key, value in common.items() if key not in cell}
        words = [word for key, value in common.items() for word in (f"--{key}", value)]
        folder = self.folder / where / method
        return plan(self.plan.experiment, [cell], seeds, folder, [*words, *self.extra, *flags])

    def check(self) -> None:
        """Make each method's first trial as train.py would, up to its models.

        Raises
        ------
        SettingsError, ValueError
            Naming the order and method.
        """
        for method, (job, *_) in self.first.items():
            where = f"{self.name + ': ' if self.name else ''}{method}"
            try:
                found, _ = Experiment.parse(job.words)
                found.check()
            except (ValueError, ImportError) as error:
                raise SettingsError(f"{where}: {error}") from error
            if found.values["old_language"] and "valid" not in found.old_splits:
                raise SettingsError(
                    f"{where}: {found.values['old_language']}, the old language, is not validated, and nothing is "
                    "chosen on a test set; give old_splits: [valid, test] in the plan's common"
                )

    def starts(self) -> list[Job]:
        return self.start

    def trials(self) -> list[Job]:
        return [job for jobs in self.first.values() for job in jobs]

    def chosen(self) -> list[Job]:
        """Runs of what is chosen of each method, known once the trials are done."""
        for method, jobs in self.first.items():
            cells = [self.plan.methods[method][i] for i in choice.choose([j.folder for j in jobs], self.plan.points)]
            self.final[method] = [self._jobs(method, cell, self.plan.seeds, "chosen") for cell in cells]
        return [job for of_method in self.final.values() for jobs in of_method for job in jobs]

    def results(self) -> report.Order:
        return report.Order(
            self.name,
            {
                method: report.Method(
                    {job.cell: job.folder for job in jobs},
                    {of_cell[0].cell: [job.folder for job in of_cell] for of_cell in self.final[method]},
                )
                for method, jobs in self.first.items()
            },
        )
