"""The plan of a study: methods, what is tried of each, and what is chosen by, written before the first run."""

import hashlib
import itertools
import json
from dataclasses import dataclass
from pathlib import Path

from ruamel.yaml import YAML, YAMLError

from carryover.commands.sweep.grid import cell_name
from carryover.config.settings import SettingsError

KEYS = {"experiment", "common", "budget", "seeds", "methods"}
PLAN = "study.json"


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
        {name: its trials}, a trial being {key: value as YAML text}.
    """

    experiment: str
    common: dict[str, str]
    budget: int
    seeds: tuple[int, ...]
    methods: dict[str, tuple[dict[str, str], ...]]

    @classmethod
    def read(cls, path: str | Path) -> "Plan":
        """A plan of a YAML file; of each method a list of trials, or the values of its keys, whose grid is taken.

        Raises
        ------
        SettingsError
            For a file or key that is not there, and for a method with more or fewer trials than the budget.
        """
        try:
            found = YAML(typ="safe", pure=True).load(Path(path).read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, YAMLError) as error:
            raise SettingsError(f"{path}: {error}; expected the YAML file of a plan") from error
        if not isinstance(found, dict) or (wrong := KEYS ^ found.keys()):
            wrong = ", ".join(sorted(wrong)) if isinstance(found, dict) else "no keys"
            raise SettingsError(f"{path}: {wrong}; expected the keys {', '.join(sorted(KEYS))}, and no others")
        methods = {name: tuple(_trials(f"{path}: methods: {name}", of)) for name, of in found["methods"].items()}
        for name, trials in methods.items():
            if len(trials) != found["budget"]:
                raise SettingsError(
                    f"{path}: methods: {name} has {len(trials)} trials, but the budget is {found['budget']} for each: "
                    "methods that are tuned unequally are not compared"
                )
            if len({cell_name(trial) for trial in trials}) < len(trials):
                raise SettingsError(f"{path}: methods: {name} has one trial twice")
        seeds = found["seeds"]
        if not isinstance(seeds, list) or not seeds or len(set(seeds)) < len(seeds):
            raise SettingsError(f"{path}: seeds: {seeds}; expected a list of different whole numbers, e.g. [1, 2, 3]")
        common = {key: text_of(value) for key, value in found["common"].items()}
        return cls(found["experiment"], common, found["budget"], tuple(seeds), methods)

    def keep(self, folder: Path) -> None:
        """Write the plan into the study's folder before its first run, with the YAML's digest.

        Raises
        ------
        SettingsError
            Where another plan stands there: what was planned is not changed once results can be seen.
        """
        of = hashlib.sha256(Path(self.experiment).read_bytes()).hexdigest()
        mine = json.loads(json.dumps(vars(self) | {"experiment_sha256": of, "rule": RULE}))
        path = folder / PLAN
        if path.is_file():
            there = json.loads(path.read_text(encoding="utf-8"))
            if differ := sorted(key for key in mine.keys() | there.keys() if mine.get(key) != there.get(key)):
                raise SettingsError(
                    f"{path}: the study was begun with another plan ({', '.join(differ)} differ). A plan is not "
                    "changed after its first run; give another folder by --out"
                )
            return
        folder.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(mine, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


RULE = "lowest mean of the validation WERs of all languages that are validated; of equal ones the earlier trial"


def text_of(value) -> str:
    """A plan's value as the command line has it."""
    return value if isinstance(value, str) else json.dumps(value)


def _trials(where: str, of) -> list[dict[str, str]]:
    if isinstance(of, list):
        trials = of
    elif isinstance(of, dict) and all(isinstance(values, list) for values in of.values()):
        trials = [dict(zip(of, values, strict=True)) for values in itertools.product(*of.values())]
    else:
        raise SettingsError(f"{where}: expected the keys that are tried, each with a list of its values")
    return [{key: text_of(value) for key, value in trial.items()} for trial in trials]
