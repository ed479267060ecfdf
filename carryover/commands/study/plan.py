"""The plan of a study: methods, what is tried of each, and what is chosen by, written before the first run."""

import hashlib
import json
import re
from dataclasses import dataclass, field
from pathlib import Path

from carryover import files
from carryover.commands import plan_file
from carryover.commands.study import space
from carryover.commands.study.space import text_of
from carryover.config.settings import SettingsError

NEEDED = {"experiment", "common", "budget", "seeds", "methods"}
MORE = {"points", "draws", "orders"}
PLAN = "study.json"
MOST = 10_000  # trials
RULE = "lowest mean of the validation WERs of all languages that are validated; of equal ones the earlier trial"
MORE_POINTS = "then the trial that adds most to the area that the method's points dominate on validation"
BASELINE = "plain"


@dataclass(frozen=True)
class Start:
    """The model that an order starts from, where it is trained first: a YAML under {key: value as YAML text}."""

    experiment: str
    given: dict[str, str]


@dataclass(frozen=True)
class Order:
    """Languages one after the other: what its runs set, and what they start from (None: what the YAML says)."""

    given: dict[str, str] = field(default_factory=dict)
    start: Start | None = None


@dataclass(frozen=True)
class Plan:
    """What a study runs.

    Attributes
    ----------
    experiment : str
        The YAML that all runs are of.
    common : dict
        {key: value as YAML text} of every run.
    budget : int
        Trials of each method.
    seeds : tuple of int
        The first is the trials'; what is chosen of each method is run with all of them.
    methods : dict
        {name: its trials}, a trial being {key: value as YAML text}; see `space.trials`.
    points : int
        How many trials of a method are chosen: the first by `RULE`, the others by `MORE_POINTS`.
    orders : dict
        `Order` by name, "" where the plan has none.
    """

    experiment: str
    common: dict[str, str]
    budget: int
    seeds: tuple[int, ...]
    methods: dict[str, tuple[dict[str, str], ...]]
    points: int = 1
    orders: dict[str, Order] = field(default_factory=lambda: {"": Order()})

    @classmethod
    def read(cls, path: str | Path) -> "Plan":
        """A plan of a YAML file.

        Raises
        ------
        SettingsError
            For a file or key that is not there, a value that it cannot have, and for a method with more or fewer
            trials than the budget.
        """
        found = plan_file.read(path, "a plan", NEEDED, MORE)
        for key in ("budget", "points", "draws"):
            value = found.get(key, 1)
            if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= MOST:
                raise SettingsError(f"{path}: {key}: {value}; expected a whole number, 1 to {MOST}")
        seeds, budget, points = found["seeds"], found["budget"], found.get("points", 1)
        if points > budget:
            raise SettingsError(f"{path}: points: {points} cannot be chosen from {budget} trials")
        for key in ("common", "methods"):
            _require_keys(f"{path}: {key}", found[key])
        methods = {
            name: space.trials(f"{path}: methods: {name}", of, budget, found.get("draws", 1))
            for name, of in found["methods"].items()
        }
        common = {key: text_of(value) for key, value in found["common"].items()}
        orders = _orders(f"{path}: orders", found["orders"]) if "orders" in found else {"": Order()}
        return cls(found["experiment"], common, budget, tuple(seeds), methods, points, orders)

    def keep(self, folder: Path) -> None:
        """Write the plan into the study's folder before its first run, with the YAMLs' digests and the rules.

        Raises
        ------
        SettingsError
            Where another plan stands there: what was planned is not changed once results can be seen.
        """
        mine = json.loads(json.dumps(self._written(), default=vars))
        path = folder / PLAN
        if path.is_file():
            try:
                there = dict(json.loads(path.read_bytes()))
            except (ValueError, TypeError):
                raise SettingsError(f"{path} is damaged; bring it back, or give another folder by --out") from None
            if differ := sorted(key for key in mine.keys() | there.keys() if mine.get(key) != there.get(key)):
                raise SettingsError(
                    f"{path}: the study was begun with another plan ({', '.join(differ)} differ). A plan is not "
                    "changed after its first run; give another folder by --out"
                )
            return
        files.write_json(path, mine)

    def _written(self) -> dict:
        found = vars(self) | {"experiment_sha256": _digest(self.experiment), "rule": RULE}
        if self.points == 1:
            del found["points"]
        else:
            found["rule"] += f"; {MORE_POINTS}"
        if self.orders == {"": Order()}:
            del found["orders"]
        elif starts := sorted({order.start.experiment for order in self.orders.values() if order.start}):
            found["starts_sha256"] = {name: _digest(name) for name in starts}
        return found


def _digest(path: str) -> str:
    try:
        return hashlib.sha256(Path(path).read_bytes()).hexdigest()
    except OSError as error:
        raise SettingsError(f"{path}: {error.strerror}; expected the YAML of an experiment") from error


def _require_keys(where: str, given) -> None:
    if not isinstance(given, dict):
        raise SettingsError(f"{where}: {given!r}; expected keys with their values")


def _orders(where: str, given) -> dict[str, Order]:
    _require_keys(where, given)
    found = {}
    for name, of in given.items():
        if not re.fullmatch(r"[A-Za-z0-9_.-]+", str(name)):
            raise SettingsError(f"{where}: {name!r}; expected a name of a folder, e.g. nl_to_de")
        _require_keys(f"{where}: {name}", of)
        start = of.get("start")
        if start is not None:
            _require_keys(f"{where}: {name}: start", start)
            if "experiment" not in start:
                raise SettingsError(f"{where}: {name}: start: no experiment; expected the YAML that makes the model")
            given_there = {key: text_of(value) for key, value in start.items() if key != "experiment"}
            start = Start(start["experiment"], given_there)
        found[str(name)] = Order({key: text_of(value) for key, value in of.items() if key != "start"}, start)
    if not found:
        raise SettingsError(f"{where}: none; expected a name and what its runs set, or leave orders out")
    return found
