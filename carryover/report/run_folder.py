"""One run as its files tell it: settings, events of metrics.jsonl, predictions."""

import math
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from ruamel.yaml import YAML

from carryover.report.log_reader import to_float
from carryover.report.predictions import Utterance, read_checked
from carryover.report.summary import Summary, summarise


def same_normaliser(a: "Run", b: "Run") -> None:
    """Refuse two runs of which it is known that they were scored under different normalisers.

    Known is the name in run.json; beside it, or where one of the two has none, the YAML's object.

    Raises
    ------
    ValueError
        Naming both.
    """
    for said in ("info", "objects"):
        one, other = (getattr(run.summary, said).get("normaliser") for run in (a, b))
        if one and other and one != other:
            raise ValueError(
                f"normaliser is {one} in {a.folder} and {other} in {b.folder}: rates under two normalisers are not "
                "compared. Test one of them again under the other's"
            )


@dataclass(frozen=True)
class Run:
    """A finished run.

    Parameters
    ----------
    folder : Path
        Run folder, e.g. results/german_adaptation/1234.

    Raises
    ------
    FileNotFoundError
        When a file that train.py writes is not there.
    """

    folder: Path

    def __post_init__(self):
        missing = [name for name in ("as_written.yaml", "metrics.jsonl") if not (self.folder / name).is_file()]
        if missing:
            raise FileNotFoundError(
                f"{self.folder}: no {' and no '.join(missing)}; expected the folder of a run that train.py made, "
                "e.g. results/german_adaptation/1234"
            )

    @cached_property
    def settings(self) -> dict:
        """The YAML's top level under the run's overrides; a key with a tag (!ref, !new, ...) is no plain value."""
        found = {}
        for name in ("as_written.yaml", "overrides.yaml"):  # overrides win
            path = self.folder / name
            said = (YAML().load(path.read_text(encoding="utf-8")) or {}) if path.is_file() else {}
            if not isinstance(said, dict):
                raise ValueError(f"{path}: expected keys and values, found {str(said)[:80]!r}; the file is damaged")
            found |= said
        return found

    @property
    def seed(self) -> str:
        return self.summary.seed

    @property
    def languages(self) -> tuple[str, str | None]:
        """The new language and the old one; None where the YAML has none."""
        settings = self.summary.settings
        if "language" not in settings:
            raise ValueError(f"{self.folder}/as_written.yaml: no key language; expected the language that was learned")
        return settings["language"], settings.get("old_language") or None

    @cached_property
    def summary(self) -> Summary:
        """What the run logged; a table of digits to be trusted is not made of a log with holes in it."""
        return self._whole(summarise(self.folder))

    @classmethod
    def from_summary(cls, summary: Summary) -> "Run":
        """The run of a summary that was read before."""
        run = cls(summary.folder)
        vars(run)["summary"] = run._whole(summary)
        return run

    def _whole(self, found: Summary) -> Summary:
        if found.unreadable:
            lines = ", ".join(map(str, found.unreadable[:5]))
            raise ValueError(f"{self.folder}/metrics.jsonl: line {lines}: no event; expected one as JSON on each line")
        return found

    def of(self, kind: str, **labels) -> list[dict]:
        """Test or valid events whose keys have the values asked for."""
        events = {"test": self.summary.tests, "valid": self.summary.valid}[kind]
        return [e for e in events if all(e.get(k) == v for k, v in labels.items())]

    def tested(self, language: str, weights: str) -> bool:
        return bool(self.of("test", language=language, weights=weights))

    @property
    def averages(self) -> list[str]:
        """Names of averaged weights that were tested: average_<share>."""
        found = dict.fromkeys(e["weights"] for e in self.of("test"))
        return [name for name in found if name.startswith("average_")]

    def predictions(self, language: str, weights: str) -> dict[str, Utterance]:
        """Each utterance of a test set by its id; their counts are checked against the run's test event.

        Raises
        ------
        FileNotFoundError
            When the predictions are not there.
        ValueError
            When they cannot be read, hold no utterance, an id twice, or another WER than metrics.jsonl says.
        """
        path = self.folder / f"predictions_test_{language}_{weights}.csv"
        if not path.is_file():
            raise FileNotFoundError(f"{path}: not there; expected it from the run's test. Repeat the run's command")
        tests = self.of("test", language=language, weights=weights)
        if not tests:
            raise ValueError(
                f"{self.folder}/metrics.jsonl: no test of {language} with weights {weights}, though {path.name} is "
                "there; the run has not come to its end: repeat its command"
            )
        # the last: a finished run that is started again tests again
        return {u.id: u for u in read_checked(path, tests[-1])}

    def validation_WER(self, language: str, weights: str = "best") -> float:
        """Validation WER of the weights that were tested, in percent; nan where it was not taken.

        For the best weights: at the first update with the lowest WER of the new language, as they were chosen.
        """
        labelled = self.of("valid", language=language, weights=weights)
        if labelled:
            return to_float(labelled[-1].get("WER"))
        plain = [e for e in self.of("valid", language=self.languages[0]) if "weights" not in e]
        rates = [(to_float(e.get("WER")), e["update"]) for e in plain if "update" in e]
        rates = [rate for rate in rates if not math.isnan(rate[0])]  # of a damaged log
        if weights != "best" or not rates:
            return math.nan
        found = [e for e in self.of("valid", language=language, update=min(rates)[1]) if "weights" not in e]
        return to_float(found[-1].get("WER")) if found else math.nan

    @property
    def lambda_mean(self) -> float:
        """Lambda times the mean importance of a parameter, by which penalties are compared; nan without one."""
        return to_float(self.summary.fisher[-1].get("lambda_mean")) if self.summary.fisher else math.nan

    @property
    def penalty_ratio(self) -> float:
        """Penalty / task loss at the last train event; nan without a penalty."""
        ratios = self.summary.train.get("penalty_ratio", ())
        return to_float(ratios[-1]) if len(ratios) else math.nan
