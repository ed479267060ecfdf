"""Two runs side by side: in what they were set differently, and whether one model is better on the same utterances.

Two runs are two trained models. Whether one method is better than another takes several seeds of each: see the report.
"""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from ruamel.yaml.comments import CommentedBase, TaggedScalar

from carryover.report.normalisers import normalised
from carryover.report.predictions import Utterance
from carryover.report.run_folder import Run, same_normaliser
from carryover.report.system_scores import Scores
from carryover.report.tables.cells import number, points, rate
from carryover.runs.privacy import clean, clean_value
from carryover.stats import bootstrap, conditions, significance
from carryover.stats.systems import Estimate
from carryover.stats.units import Units

PROVENANCE = ("commit", "dirty", "python", "versions", "hardware", "data")  # of run.json; the rest differs always
NAMED = 3  # utterances that an error names
ABSENT = object()
# strings that YAML would read as something else: they are shown in quotes
AMBIGUOUS = re.compile(r"|~|null|true|false|[-+.]?\d[\d_.:e+-]*", re.IGNORECASE)


class Differing(NamedTuple):
    """An utterance that one of the two got better."""

    id: str
    a: Utterance
    b: Utterance


@dataclass
class TestSet:
    """One test set under both runs; WER and CER in percent, differences b - a in points. b won where it made fewer word
    errors.
    """

    language: str
    utterances: int
    words: int
    a: Estimate
    b: Estimate
    difference: Estimate
    a_CER: Estimate
    b_CER: Estimate
    difference_CER: Estimate
    units: Units
    randomisation: significance.Test
    mapsswe: significance.Test
    won: int
    lost: int
    tied: int
    most: list[Differing]

    @property
    def warnings(self) -> list[str]:
        """What a reader has to know beside the numbers."""
        found = [self.mapsswe.warning] if self.mapsswe.warning else []
        if self.units.by_speaker:
            found.append("it takes what one speaker says for independent")
        return [f"{self.language}, MAPSSWE: {warning}." for warning in found]


@dataclass
class Comparison:
    """What `compare` found. `settings`: (key, value in a, value in b) of the keys that differ."""

    a: Path
    b: Path
    weights: str
    settings: list[tuple[str, str, str]]
    sets: list[TestSet]
    notes: list[str]
    caption: str

    def markdown(self) -> str:
        """Settings, rates and tests, and the utterances that differ most; the same text for the same files."""
        # cleaned above the last part, which may be a seed that both have
        a, b = ((Path(clean(str(path.parent))) / path.name).as_posix() for path in (self.a, self.b))
        parts = [f"A: {code(a)}  \nB: {code(b)}  \nWeights: {self.weights}"]
        rows = [(code(key), *map(code, values)) for key, *values in self.settings]
        parts.append(_table(("setting", "A", "B"), rows) if rows else "No setting differs.")
        heads = (
            "test set", "utterances", "words", "A WER [95 %]", "B WER [95 %]", "B - A [95 %]", "A CER [95 %]",
            "B CER [95 %]", "B - A, CER [95 %]", "two models: p randomisation", "two models: p MAPSSWE",
            "utterances B better / worse / equal",
        )  # fmt: skip
        rows = [
            (
                found.language + conditions.mark(found.units.over), found.utterances, found.words, rate(found.a),
                rate(found.b), points(found.difference), rate(found.a_CER), rate(found.b_CER),
                points(found.difference_CER), f"{p_value(found.randomisation)} ({found.units.over})",
                f"{p_value(found.mapsswe)} ({found.mapsswe.n} segments)", f"{found.won} / {found.lost} / {found.tied}",
            )
            for found in self.sets
        ]  # fmt: skip
        parts.append(_table(heads, rows))
        parts.append(" ".join([self.caption, *self.notes, *(text for found in self.sets for text in found.warnings)]))
        for found in self.sets:
            if found.most:
                parts.append(f"Utterances of {found.language} that differ most, as they were scored:")
                parts.append("\n\n".join(_block(one) for one in found.most))
        return "\n\n".join(parts)


def code(text: str) -> str:
    """Text that a Markdown table shows letter by letter: `<seed>` would be taken for HTML."""
    fence = "``" if "`" in text else "`"
    return fence + " ".join(text.split()).replace("|", "\\|") + fence


def p_value(test: significance.Test) -> str:
    """A cell's p-value, never below what the method can tell."""
    lowest = max(0.001, test.resolution)
    return f"< {lowest:.1g}" if test.p < lowest else number(test.p, ".3f")


def compare(
    a: str | Path,
    b: str | Path,
    weights: str = "best",
    utterances: int = 10,
    resamples: int = bootstrap.RESAMPLES,
    seed: int = bootstrap.SEED,
) -> Comparison:
    """Compare two finished runs on every test set that both have.

    Parameters
    ----------
    a, b : path
        Run folders.
    weights : str
        Which weights' predictions: best, before, last or average_<share>.
    utterances : int
        How many of the utterances that differ most are shown for each set.
    resamples, seed : int
        Of bootstrap and randomisation.

    Raises
    ------
    FileNotFoundError
        For a folder that is no run's, and for missing predictions.
    ValueError
        For one folder twice, runs without a common test set, and sets with other utterances, references or normaliser:
        these are not compared. The message names what differs.
    """
    run_a, run_b = Run(Path(a)), Run(Path(b))
    if run_a.folder.resolve() == run_b.folder.resolve():
        raise ValueError(f"{a} and {b} are one folder; expected two runs")
    tested = _test_sets(run_a, weights), _test_sets(run_b, weights)
    common = [language for language in tested[0] if language in tested[1]]
    if not common:
        found = (f"{run.folder} has {_tests(run)}" for run in (run_a, run_b))
        raise ValueError(f"no test set in common with weights {weights}: {'; '.join(found)}. Give other --weights")
    same_normaliser(run_a, run_b)
    notes = [
        f"Tested in {name} alone, not compared: {', '.join(only)}."
        for name, (here, there) in {"A": tested, "B": tested[::-1]}.items()
        if (only := [language for language in here if language not in there])
    ]
    recorded = {name: _provenance(run) for name, run in (("A", run_a), ("B", run_b))}
    notes += [
        f"{name} has no run.json: its commit and versions are unknown." for name in recorded if not recorded[name]
    ]
    settings = _differences("", run_a.settings, run_b.settings)
    if all(recorded.values()):
        settings += _differences("", recorded["A"], recorded["B"])
    sets = [_test_set(language, run_a, run_b, weights, utterances, resamples, seed) for language in common]
    caption = _caption({found.language: found.units.over for found in sets}, resamples, normalised([run_a, run_b]))
    return Comparison(run_a.folder, run_b.folder, weights, settings, sets, notes, caption)


def _test_sets(run: Run, weights: str) -> list[str]:
    """Languages of the run's own test sets that were tested with these weights."""
    found = dict.fromkeys(e["language"] for e in run.of("test", weights=weights))
    return [language for language in found if run.of("test", set=f"test_{language}", weights=weights)]


def _tests(run: Run) -> str:
    return ", ".join(dict.fromkeys(f"{e['language']} ({e['weights']})" for e in run.of("test"))) or "no test yet"


def _provenance(run: Run) -> dict:
    """What run.json says of code, machine and data; empty where there is none (a folder that was copied in part)."""
    path = run.folder / "run.json"
    if not path.is_file():
        return {}
    info = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(info, dict):
        raise ValueError(f"{path}: expected keys and values, found {str(info)[:80]!r}; the file is damaged")
    return {key: info[key] for key in PROVENANCE if key in info}


def _differences(key: str, a, b) -> list[tuple[str, str, str]]:
    """Keys whose values differ, with both as text, clean; into objects as long as their tags agree."""
    if isinstance(a, list) and isinstance(b, list) and all(map(_tag, [*a, *b])):
        a, b = _by_class(a), _by_class(b)
    if isinstance(a, dict) and isinstance(b, dict) and _tag(a) == _tag(b):
        names = dict.fromkeys([*a, *b])
        inner = ((f"{key}.{n}" if key else str(n), a.get(n, ABSENT), b.get(n, ABSENT)) for n in names)
        return [row for values in inner for row in _differences(*values)]
    texts = _text(a), _text(b)
    return [] if texts[0] == texts[1] else [(key, *(clean_value(key, text) for text in texts))]


def _by_class(objects: list) -> dict | list:
    """A list of objects, as under `forgetting`, by their classes; as it stands where two are of one class."""
    found = {_tag(value).rpartition(".")[2]: value for value in objects}
    return found if len(found) == len(objects) else objects


def _tag(value) -> str:
    """`!new:...` of a value that has a tag."""
    return (value.tag.value or "") if isinstance(value, CommentedBase) else ""


def _text(value) -> str:
    """A value on one line, as a YAML could have it; 1.0e-3 and 0.001 are one text."""
    if value is ABSENT:
        return "(not there)"
    if isinstance(value, TaggedScalar):
        return f"{value.tag.value} {value.value}".strip()
    if isinstance(value, dict):
        return f"{_tag(value)} {{{', '.join(f'{k}: {_text(v)}' for k, v in value.items())}}}".strip()
    if isinstance(value, list):
        return f"{_tag(value)} [{', '.join(map(_text, value))}]".strip()
    if value is None:
        return "null"
    if isinstance(value, float):
        return repr(float(value)).removesuffix(".0")
    if isinstance(value, str) and AMBIGUOUS.fullmatch(value):
        return json.dumps(value)
    return str(value)


def _same_references(language: str, run_a: Run, run_b: Run, a: dict[str, Utterance], b: dict[str, Utterance]) -> None:
    """Refuse what is not one test set."""
    where = f"{run_a.folder} (A) and {run_b.folder} (B) were not tested on the same {language} set"
    only = {"A": [name for name in a if name not in b], "B": [name for name in b if name not in a]}
    if any(only.values()):
        found = [f"{len(names)} only in {run}: {_named(names)}" for run, names in only.items() if names]
        raise ValueError(f"{where}: of {len(a)} and {len(b)} utterances, {'; '.join(found)}. Sets are never cut to fit")
    for what, kind in (("raw", "reference"), ("reference", "normalised reference")):
        other = [name for name in a if getattr(a[name], what) != getattr(b[name], what)]
        if other:
            first = other[0]
            why = "; the normalisers differ" if what == "reference" else ""
            raise ValueError(
                f"{where}: {len(other)} of {len(a)} utterances have another {kind}{why}, first {first}: "
                f"{getattr(a[first], what)!r} in A, {getattr(b[first], what)!r} in B"
            )


def _named(names: list[str]) -> str:
    return ", ".join(names[:NAMED]) + ", ..." * (len(names) > NAMED)


def _test_set(language: str, run_a: Run, run_b: Run, weights: str, shown: int, resamples: int, seed: int) -> TestSet:
    """Rates, tests and utterances of one set; intervals draw what `forgetting.table` draws, so the digits are its."""
    a, b = (run.predictions(language, weights) for run in (run_a, run_b))
    _same_references(language, run_a, run_b, a, b)
    names = sorted(a)
    a, b = [a[name] for name in names], [b[name] for name in names]
    keys = ("A", weights), ("B", weights)
    scores = Scores(language, {keys[0]: [run_a], keys[1]: [run_b]}, resamples, seed)
    segments = significance.segments([u.reference for u in a], [u.hypothesis for u in b], [u.hypothesis for u in a])
    errors = [sum(u.errors for u in one) for one in (b, a)]
    if segments.sum(axis=0).tolist() != errors:
        raise ValueError(
            f"{language}: the texts of {run_a.folder} and {run_b.folder} hold {segments.sum(axis=0).tolist()[::-1]} "
            f"word errors, their counts say {errors[::-1]}: predictions_test_{language}_{weights}.csv was edited or "
            "made by another version. Run the tests again"
        )
    errors_a, errors_b = ([u.errors for u in one] for one in (a, b))
    gained = [x - y for x, y in zip(errors_b, errors_a, strict=True)]
    differing = sorted((i for i, d in enumerate(gained) if d), key=lambda i: (-abs(gained[i]), names[i]))
    units, draws = scores.units, bootstrap.generator(seed, language, "randomisation")
    return TestSet(
        language, len(names), sum(u.words for u in a),
        *(get for one in (scores.WER, scores.CER)
          for get in (one.rate(keys[0]), one.rate(keys[1]), one.difference(keys[1], keys[0]))),
        units,
        significance.approximate_randomisation(
            units.sums(errors_b), units.sums(errors_a), draws, resamples, units.kind
        ),
        significance.mapsswe(segments),
        sum(d < 0 for d in gained), sum(d > 0 for d in gained), sum(d == 0 for d in gained),
        [Differing(names[i], a[i], b[i]) for i in differing[:shown]],
    )  # fmt: skip


def _caption(over: dict[str, str], resamples: int, by: str) -> str:
    return " ".join([
        f"WER and CER in percent over the test set, {by}; B - A in points, below 0 where B is better, on the same "
        "utterances.",
        *conditions.said(over, resamples=resamples),
        "p, two-sided and not corrected, of these two models: whether they would differ on other speech of the kind, "
        "not of the methods, for which it takes several seeds. Two tests of one difference (name the one you chose "
        f"beforehand): randomisation over speakers or utterances (Noreen 1989), at most {resamples} resamples; "
        "MAPSSWE, the matched pairs sentence-segment word error test (Gillick and Cox 1989), segments between two or "
        "more words that both have right.",
    ])  # fmt: skip


def _table(heads, rows) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)


def _block(one: Differing) -> str:
    """An utterance as an indented block, in which Markdown reads nothing."""
    speaker = f", speaker {one.a.speaker}" if one.a.speaker else ""
    lines = [f"{one.id}{speaker}: {one.a.words} words, errors A {one.a.errors}, B {one.b.errors}"]
    lines += [f"  reference  {one.a.reference}", f"  A          {one.a.hypothesis}", f"  B          {one.b.hypothesis}"]
    return "\n".join("    " + line.rstrip() for line in lines)
