"""What is tried of a method: a list of trials, a grid of values, or draws from ranges."""

import itertools
import json
import zlib
from collections.abc import Mapping

from scipy.stats import qmc

from carryover.commands.sweep.grid import cell_name
from carryover.config.keys import is_finite
from carryover.config.settings import SettingsError

RANGE = {"low", "high", "scale"}
SCALES = ("log", "linear")
DIGITS = 3  # of a value that is drawn


def text_of(value) -> str:
    """A plan's value as the command line has it."""
    return value if isinstance(value, str) else json.dumps(value)


def trials(where: str, of, budget: int, seed: int) -> tuple[dict[str, str], ...]:
    """Trials of one method as {key: value as YAML text}.

    Parameters
    ----------
    where : str
        The method's place in the plan, for messages.
    of : list of dict, or dict
        The trials themselves; or by key a list of values or a range {low: 1.0e-4, high: 1.0e-2, scale: log}. Without
        a range the grid of all values is taken, with one `budget` points of a Latin hypercube over ranges and lists.
    budget : int
        Trials that a method has.
    seed : int
        Of the draws; each method has draws of its own, which others do not change.

    Raises
    ------
    SettingsError
        For a broken space, one trial twice, and for more or fewer trials than the budget.
    """
    if isinstance(of, list):
        found = of
    elif isinstance(of, dict) and all(isinstance(values, (list, dict)) for values in of.values()):
        if any(isinstance(values, dict) for values in of.values()):
            found = _drawn(where, of, budget, seed)
        else:
            found = [dict(zip(of, values, strict=True)) for values in itertools.product(*of.values())]
    else:
        raise SettingsError(
            f"{where}: expected the keys that are tried, each with a list of its values or a range, "
            "e.g. {low: 1.0e-4, high: 1.0e-2}"
        )
    found = tuple({key: text_of(value) for key, value in trial.items()} for trial in found)
    if len(found) != budget:
        raise SettingsError(
            f"{where} has {len(found)} trials, but the budget is {budget} for each: methods that are tuned unequally "
            "are not compared"
        )
    if len({cell_name(trial) for trial in found}) < len(found):
        raise SettingsError(f"{where} has one trial twice")
    return found


def _drawn(where: str, of: Mapping, budget: int, seed: int) -> list[dict]:
    """Points of a Latin hypercube (McKay et al. 1979): each range and list is cut into `budget` parts, all are met."""
    for key, values in of.items():
        if isinstance(values, dict):
            _require_range(f"{where}: {key}", values)
        elif not values:
            raise SettingsError(f"{where}: {key}: an empty list")
    draws = qmc.LatinHypercube(len(of), rng=[seed, zlib.crc32(where.rpartition(": ")[2].encode())]).random(budget)
    return [{key: _at(values, u) for (key, values), u in zip(of.items(), row, strict=True)} for row in draws]


def _require_range(where: str, given: Mapping) -> None:
    low, high, scale = given.get("low"), given.get("high"), given.get("scale", "log")
    numbers = all(isinstance(x, (int, float)) and not isinstance(x, bool) and is_finite(x) for x in (low, high))
    if given.keys() - RANGE or scale not in SCALES or not numbers or not low < high or (scale == "log" and low <= 0):
        raise SettingsError(
            f"{where}: {dict(given)}; expected {{low: A, high: B, scale: log or linear}} with A < B, both above 0 "
            "where the scale is log, the default"
        )


def _at(values, u: float):
    """The value at a share 0 <= u < 1 of a list or range."""
    if isinstance(values, list):
        return values[int(u * len(values))]
    low, high = values["low"], values["high"]
    if values.get("scale", "log") == "log":
        value = low * (high / low) ** u
    else:
        value = low + u * (high - low)
    return float(f"{value:.{DIGITS}g}")
