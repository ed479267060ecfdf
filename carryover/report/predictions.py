"""Predictions of a test, read from predictions_SET_WEIGHTS.csv, and their alignment with the references.

The alignments are kaldialign's, over the normalised texts and with the lowest number of edits: so there are as many
errors in them as jiwer counted for the run. Of alignments with as many edits it takes one that keeps more words.
"""

import csv
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import kaldialign

from carryover.report.log_reader import to_float
from carryover.report.summary import Summary
from carryover.runs.privacy import clean
from carryover.stats import error_rates

NO_INTERVAL = math.nan, math.nan
WEIGHTS = "best"  # whose errors are looked at


class Utterance(NamedTuple):
    """One row; texts normalised, `raw` the reference as the corpus has it."""

    id: str
    audio: str
    speaker: str
    duration: float
    reference: str
    hypothesis: str
    words: int
    errors: int
    characters: int
    character_errors: int
    raw: str
    language: str = ""


def read(path: Path) -> list[Utterance]:
    """Rows of a predictions file.

    Raises
    ------
    ValueError
        For a file that lacks a column, or a row that is cut off or holds no number where one belongs.
    """
    found = []
    with open(path, newline="", encoding="utf-8") as file:
        try:
            for row in csv.DictReader(file):
                found.append(
                    Utterance(
                        row["id"], row["audio"], row["speaker"], float(row["duration"]),
                        row["reference_normalised"], row["hypothesis_normalised"],
                        *(int(row[c]) for c in ("words", "word_errors", "characters", "character_errors")),
                        row["reference"], row["language"],
                    )
                )  # fmt: skip
        except (KeyError, TypeError, ValueError, csv.Error) as error:
            raise ValueError(
                f"{path}: row {len(found) + 1} cannot be read ({type(error).__name__}: {error}); expected all columns "
                "of stats.error_rates.COLUMNS, counts as whole numbers. Delete the file and repeat the run's command, "
                "which tests again"
            ) from error
    return found


def read_checked(path: Path, event: Mapping) -> list[Utterance]:
    """The same of a test that the run logged.

    Raises
    ------
    ValueError
        As `read`; for a file without utterances or with an id twice; and for other counts than the test event has.
    """
    found = read(path)
    ids = {u.id for u in found}
    if not found or len(ids) < len(found):
        raise ValueError(f"{path}: {len(found)} rows with {len(ids)} different ids; expected one row an utterance")
    errors, words = sum(u.errors for u in found), sum(u.words for u in found)
    if (errors, words) != (event.get("errors"), event.get("words")):
        raise ValueError(
            f"{path}: {errors} errors in {words} words, but metrics.jsonl says {event.get('errors')} in "
            f"{event.get('words')}: the two are not of one test, so tables show the logged numbers. Delete the folder "
            "and run again"
        )
    return found


def tests(run: Summary) -> dict[str, list[Utterance]]:
    """Utterances of a run's test sets with its best weights.

    Of a file that cannot be read, or that is not of the test that the run logged, `run.problems` tells.
    """
    logged = {(event.get("set"), event.get("weights")): event for event in run.tests if "errors" in event}
    found = {}
    for (name, weights), path in run.predictions.items():
        if weights != WEIGHTS:
            continue
        event = logged.get((name, weights))
        try:
            if rows := read(path) if event is None else read_checked(path, event):
                found[name] = rows
        except ValueError as error:
            tell(run, error)
    return found


def intervals(runs: Sequence[Summary]) -> dict[tuple[str, str, str], error_rates.Intervals]:
    """95 % intervals of the rates that runs logged, by (run, set, weights).

    They are computed from the predictions, so that all tables, and runs of all versions, agree. Where these are not
    there, cannot be read or are not those of the logged test, the logged interval is taken, and `run.problems` tells.
    """
    found, sets = {}, {}
    for run in runs:
        for key, event in {(e.get("set", ""), e.get("weights", "")): e for e in run.tests}.items():
            ends = (tuple(map(to_float, event.get(k, NO_INTERVAL))) for k in ("interval", "interval_CER"))
            found[run.name, *key] = error_rates.Intervals(*ends, str(event.get("interval_over", "")))
            path = run.predictions.get(key)
            if path is None:
                continue
            try:
                rows = read_checked(path, event)
            except ValueError as error:
                tell(run, error)
            else:
                sets[run.name, *key] = list(map(row_of, rows))
    return found | dict(zip(sets, error_rates.intervals(list(sets.values())), strict=True))


def row_of(u: Utterance) -> dict:
    """What `error_rates.intervals` reads of an utterance."""
    return {
        "id": u.id, "language": u.language, "speaker": u.speaker, "words": u.words, "word_errors": u.errors,
        "characters": u.characters, "character_errors": u.character_errors,
    }  # fmt: skip


def tell(run: Summary, error: Exception) -> str:
    """Note once in `run.problems` what is wrong with a file of the run; returns the words, without the run's folder."""
    said = clean(str(error).replace(f"{run.folder}/", "").replace(str(run.folder), run.name))
    if said not in run.problems:
        run.problems.append(said)
    return said


def words(reference: str, hypothesis: str) -> list[tuple[str, str]]:
    """Pairs (word of the reference, word of the hypothesis), "" where there is none.

    Example
    -------
    >>> words("zet de lamp aan", "zet lamp uit nu")
    [('zet', 'zet'), ('de', ''), ('lamp', 'lamp'), ('aan', 'uit'), ('', 'nu')]
    """
    return kaldialign.align(reference.split(), hypothesis.split(), "")


def confusions(reference: str, hypothesis: str) -> Counter:
    """Counts of (character of the reference, of the hypothesis) that differ, "" where there is none."""
    return Counter(pair for pair in kaldialign.align(reference, hypothesis, "") if pair[0] != pair[1])
