"""Word and character error rates over a corpus, their intervals, and one row a prediction.

Counts are jiwer's. A rate is the sum of errors over the sum of reference words of the whole set, in percent; it is
given raw (the text as it stands) and normalised (see carryover.text), never averaged over utterances or languages.
"""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import jiwer
import numpy as np

from carryover import files
from carryover.stats import bootstrap, conditions, rates
from carryover.stats.units import units as units_of

COUNTED = ("words", "word_errors", "characters", "character_errors")
COLUMNS = (
    "id", "audio", "language", "speaker", "duration",
    "reference", "hypothesis", "reference_normalised", "hypothesis_normalised",
    "words", "word_errors", "characters", "character_errors",
    "words_raw", "word_errors_raw", "characters_raw", "character_errors_raw",
)  # fmt: skip


def errors(reference: str, hypothesis: str) -> tuple[int, int, int, int]:
    """Reference words, word errors, reference characters, character errors (substitutions + deletions + insertions).

    An empty reference counts every word and character of the hypothesis as an insertion.
    """
    if not reference.split():
        return 0, len(hypothesis.split()), 0, len(" ".join(hypothesis.split()))
    words = jiwer.process_words(reference, hypothesis)
    chars = jiwer.process_characters(reference, hypothesis)
    return (
        words.hits + words.substitutions + words.deletions,
        words.substitutions + words.deletions + words.insertions,
        chars.hits + chars.substitutions + chars.deletions,
        chars.substitutions + chars.deletions + chars.insertions,
    )


def score(row: dict, hypothesis: str, normaliser: Callable[[str, str], str]) -> dict:
    """One prediction as a dict of `COLUMNS`; `row` holds id, audio, language, speaker, duration and text."""
    reference = row["text"]
    normalised = normaliser(reference, row["language"]), normaliser(hypothesis, row["language"])
    kept = {key: row[key] for key in ("id", "audio", "language", "speaker", "duration")}
    texts = (reference, hypothesis, *normalised)
    return kept | dict(zip(COLUMNS[5:], (*texts, *errors(*normalised), *errors(reference, hypothesis)), strict=True))


def totals(rows: list[dict]) -> dict[str, float]:
    """WER, CER, WER_raw and CER_raw in percent, with `words`, `errors` and `utterances`, of one set.

    Raises
    ------
    ValueError
        When the references hold no word at all: a rate would have no denominator.
    """
    total = {key: sum(row[key] for row in rows) for key in COLUMNS[9:]}
    if not total["words"]:
        raise ValueError(f"{len(rows)} utterances without a single reference word cannot be scored")
    return {
        "WER": 100 * total["word_errors"] / total["words"],
        "CER": 100 * total["character_errors"] / total["characters"],
        "WER_raw": 100 * total["word_errors_raw"] / total["words_raw"],
        "CER_raw": 100 * total["character_errors_raw"] / total["characters_raw"],
        "words": total["words"],
        "errors": total["word_errors"],
        "utterances": len(rows),
    }


def is_loop(text: str) -> bool:
    """Whether a text says one thing again and again: some stretch of 2 to 200 letters, 4 times in a row or more.

    Line breaks count as spaces. The bound keeps the time linear in the text: 0.3 s for 10 000 letters.
    """
    return re.search(r"(\S.{0,198}?\S ?)\1{3,}", f"{' '.join(text.split())} ") is not None


def loops(rows: list[dict]) -> int:
    """Utterances whose hypothesis says one thing again and again, which the reference does not."""
    return sum(is_loop(row["hypothesis"]) and not is_loop(row["reference"]) for row in rows)


def language_of(rows: Sequence[Mapping]) -> str:
    """Language of a set of predictions; of a set of several, all of them: "de+nl"."""
    return "+".join(sorted({str(row["language"]) for row in rows}))


class Intervals(NamedTuple):
    """95 % intervals of a set's rates in percent, nan for less than two utterances; `over`: what they are taken over.

    Example
    -------
    over: "6 speakers", or "430 utterances (1 speaker)" where there are too few to speak for others
    """

    WER: tuple[float, float]
    CER: tuple[float, float]
    over: str

    def logged(self) -> dict:
        """As a test event has them."""
        return {"interval": list(self.WER), "interval_CER": list(self.CER), "interval_over": self.over}


def interval(rows: Sequence[Mapping], resamples: int = bootstrap.RESAMPLES, seed: int = bootstrap.SEED) -> Intervals:
    """95 % confidence intervals of the normalised WER and CER of one trained model.

    Over speakers where there are at least five, none with more than half of the words: Student's t on a jackknife. Else
    over utterances, BCa bootstrap: then they say nothing about other speakers. They say nothing about other seeds.

    Parameters
    ----------
    rows : list of dict
        Predictions, of which id, language, speaker, words, word_errors, characters and character_errors are read; their
        order is of no account.
    """
    return intervals([rows], resamples, seed)[0]


def intervals(
    sets: Sequence[Sequence[Mapping]], resamples: int = bootstrap.RESAMPLES, seed: int = bootstrap.SEED
) -> list[Intervals]:
    """`interval` of many sets; sets of one language and size share their resamples, which take most of the time."""
    nothing = math.nan, math.nan
    found, alike = [Intervals(nothing, nothing, "")] * len(sets), {}
    for i, rows in enumerate(sets):
        if len(rows) > 1:
            alike.setdefault((language_of(rows), len(rows)), []).append(i)
    for (language, _), which in alike.items():
        counts = []
        for i in which:
            rows = sorted(sets[i], key=lambda row: str(row["id"]))
            column = {key: np.array([row[key] for row in rows]) for key in COUNTED}
            units = units_of([str(row["speaker"]) for row in rows], column["words"])
            for errors, totals in (("word_errors", "words"), ("character_errors", "characters")):
                counts.append(rates.Counts(column[errors][:, None], column[totals], units, ("",)))
        ends = rates.intervals(language, counts, resamples, seed)
        for place, i in enumerate(which):
            found[i] = Intervals(*ends[2 * place : 2 * place + 2], counts[2 * place].units.over)
    return found


def write_predictions(path: str | Path, rows: list[dict]) -> None:
    """Write predictions_<set>.csv, columns `COLUMNS`."""
    files.write_csv(path, COLUMNS, rows)


def before_after(results: list[dict], normaliser: str = "", left_out: Mapping[str, str] | None = None) -> str:
    """Markdown table of test events: one row a language, WER and CER with their intervals, before and after.

    Parameters
    ----------
    results : list of dict
        `totals` of each test with language, weights ("before" or "best") and `Intervals.logged`.
    normaliser : str
        Its name and version.
    left_out : dict, optional
        What of a test set was refused when it was prepared, in words, by language.
    """
    found = {(r["language"], r["weights"]): r for r in results}
    over = {r["language"]: r["interval_over"] for r in results if r.get("interval_over")}

    def cells(r: dict | None) -> str:
        if r is None:
            return "- | -"
        ends = {"WER": "interval", "CER": "interval_CER"}
        return " | ".join(_with_interval(r[rate], r.get(key)) for rate, key in ends.items())

    lines = [
        "| test set | words | WER before [95 %] | CER before [95 %] | WER after [95 %] | CER after [95 %] |",
        "|---|---|---|---|---|---|",
    ]
    for language in dict.fromkeys(r["language"] for r in results):
        before, after = found.get((language, "before")), found.get((language, "best"))
        words = (after or before)["words"]
        name = f"{language}{conditions.mark(over.get(language, ''))}"
        lines.append(f"| {name} | {words} | {cells(before)} | {cells(after)} |")
        others = [r for r in results if r["language"] == language and r["weights"] not in ("before", "best")]
        lines += [f"| {name}, {r['weights']} | {words} | {cells(before)} | {cells(r)} |" for r in others]
    by = f" by {normaliser}" if normaliser else ""
    note = f"WER and CER in percent, normalised{by}. {' '.join(conditions.said(over))}"
    out = "".join(f"\n\nNot the whole test set of {name}: {what}." for name, what in (left_out or {}).items())
    return "\n".join(lines) + f"\n\n{note}{out}"


def _with_interval(rate: float, ends: Sequence | None) -> str:
    if ends is None:
        return f"{rate:.2f}"
    low, high = map(float, ends)  # metrics.jsonl writes nan as a string
    return f"{rate:.2f} [{low:.2f}, {high:.2f}]"
