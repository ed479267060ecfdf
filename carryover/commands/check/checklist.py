"""The checklist of `carryover check`: every rule's verdict, one line each."""

import contextlib
import sys
from collections.abc import Callable
from pathlib import Path

import torch

from carryover.checks import memory, rules
from carryover.checks.rules import FAIL, PASS, WARN, Found
from carryover.commands.check import facts as gathered
from carryover.commands.check import measured
from carryover.config import run_first
from carryover.experiment import Experiment
from carryover.report.tables.cells import clock


def check(argv: list[str], measure: bool = False, say: Callable[[str], None] = print, rate: float | None = None) -> int:
    """Print the checklist of train.py's arguments; -> 1 where something fails, else 0.

    `rate` is the money that an hour of the machine costs.
    """
    found = findings(argv, measure, say, rate)
    count = {verdict: sum(one.verdict == verdict for _, one in found) for verdict in (PASS, WARN, FAIL)}
    say(f"\n{count[PASS]} passed, {count[WARN]} to look at, {count[FAIL]} failed")
    return int(count[FAIL] > 0)


def findings(
    argv: list[str], measure: bool = False, say: Callable[[str], None] = print, rate: float | None = None
) -> list[tuple[str, Found]]:
    """(rule, what it found) of all rules, each said when it is known; those that pass have no advice."""
    found = []

    def tell(name: str, one: Found) -> None:
        found.append((name, one))
        advice = f"; {one.advice}" if one.advice else ""
        say(f"{one.verdict:4}  {name}: {one.evidence}{advice}")

    with gathered.temporary() as folder:
        try:
            experiment, _ = Experiment.parse(argv)
            experiment.check()
            if made := run_first.missing(experiment.values):
                raise ValueError(
                    f"{made} is not there; train.py makes it by {experiment.values['run_first']}: run that first"
                )
            tell("settings", Found(PASS, "understood, and do not contradict each other", ""))
            with contextlib.redirect_stdout(sys.stderr):
                facts = gathered.gather(experiment, Path(folder) / "run")
        except (ValueError, ImportError, OSError) as error:
            tell("settings" if not found else "data and model", Found(FAIL, str(error), ""))
            return found
        hours = sum(float(row["duration"]) for row in facts.train) / 3600
        trained, every = facts.parameters
        said = f"{len(facts.train)} utterances ({hours:.2f} h) to train on; {trained:,} of {every:,} parameters trained"
        tell("data and model", Found(PASS, f"{said}; {facts.updates} updates, {facts.epochs:.1f} epochs", ""))
        parts = memory.parts(facts.brain)
        tell("memory", Found(PASS, memory.said(parts), ""))
        for area, of_area in rules.RULES.items():
            wrong = [(rule.__name__.replace("_", " "), rule(facts)) for rule in of_area]
            for name, one in wrong:
                if one:
                    tell(f"{area}: {name}", one)
            passed = sum(one is None for _, one in wrong)
            if passed:
                tell(area, Found(PASS, f"{passed} of {len(wrong)} rules have nothing to say", ""))
        if measure:
            try:
                short = measured.measure(facts, argv, Path(folder) / "measured")
            except ValueError as error:
                tell("trial", Found(FAIL, str(error), ""))
                return found
            peak, seconds = short.peak(facts), short.whole(facts)
            said = (
                f"{short.seconds_per_update:.2f} s an update, {clock(seconds)} in all with validations and tests, peak "
                f"memory {peak / 2**30:.2f} GiB"
            )
            tell("trial", Found(PASS, said + cost(seconds, short.watts, rate), ""))
            if facts.brain.device_type == "cuda" and (one := rules.left_free(peak, torch.cuda.mem_get_info()[1])):
                tell("memory: left free", one)
    return found


def cost(seconds: float, watts: float | None, rate: float | None) -> str:
    """Energy and money of a run's time, where they are known."""
    hours = seconds / 3600
    energy = "" if watts is None else f"; {hours * watts / 1000:.3g} kWh at {watts:.0f} W"
    return energy + ("" if rate is None else f"; {hours * rate:.2f} in money at {rate:g} an hour")
