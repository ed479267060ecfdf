"""Tables of what was tested: methods against forgetting, before and after, the test sets.

Rates are the run's own (jiwer's counts over the whole set) and are never averaged over test sets: runs stand in one
table only where ids, durations and texts of their test sets and the normaliser of their scores are the same.
"""

import math
from collections.abc import Iterable, Mapping, Sequence

from carryover.report import predictions
from carryover.report.grouping import BASELINE, about, having, method_names, method_sets, mixed_settings, of_test
from carryover.report.log_reader import to_float
from carryover.report.run_folder import Run
from carryover.report.summary import Summary
from carryover.report.tables import cells, forgetting
from carryover.report.tables.main import main
from carryover.report.tables.table import Table
from carryover.runs.privacy import clean
from carryover.stats import conditions
from carryover.stats.error_rates import Intervals
from carryover.stats.significance import over_seeds
from carryover.stats.systems import Estimate

NONE_OF_A_SET = Intervals(predictions.NO_INTERVAL, predictions.NO_INTERVAL, "")


def said(error: Exception, runs: Sequence[Summary]) -> str:
    """An error's words with the runs' names in place of their folders."""
    text = str(error)
    for run in sorted(runs, key=lambda run: -len(str(run.folder))):
        text = text.replace(str(run.folder), run.name)
    return clean(text)


def methods(runs: Sequence[Summary], baseline: str = BASELINE) -> tuple[list[Table], list[str]]:
    """Methods by languages with forgetting, backward and forward transfer; for each set of comparable runs two tables:
    a narrow one to publish, `main`, and the one with all columns, `methods`.

    Parameters
    ----------
    runs : list of Summary
    baseline : str
        Method that the others are compared with, where it is among them.

    Returns
    -------
    (tables, left_out)
        And what is in none of them, with the reason.
    """
    tables, left_out = [], []
    sets = method_sets(runs)
    for i, (key, found) in enumerate(sets.items(), 1):
        language, old, digests, normaliser = key
        kept = []
        for run in found:
            reason = _unusable(run)
            kept += [] if reason else [run]
            left_out += [f"{run.name} is not among the methods: {reason}"] * bool(reason)
        if not kept:
            continue
        named = {name: [Run.from_summary(run) for run in found] for name, found in method_names(kept).items()}
        try:
            compared = forgetting.table(named, baseline)
        except ValueError as error:
            left_out.append(f"methods, {language} after {old or 'nothing'}: {said(error, kept)}")
            continue
        number = "" if len(sets) == 1 else f"_{i}"
        table = compared.as_table(f"methods{number}")
        forgets = "forgetting [95 %]" in table.columns
        if forgets:
            at = list(table.columns).index("forgetting [95 %]") + 1
            shown = [row for row in compared.rows if row.shown]
            table.columns = [*table.columns[:at], "BWT", *table.columns[at:]]
            table.values = [
                [*values[:at], cells.points(_minus(row.forgetting)), *values[at:]]
                for values, row in zip(table.values, shown, strict=False)  # a long table shows its first rows
            ]
        transfer = [(-r.forgetting.value, -r.forgetting.high, -r.forgetting.low) for r in compared.rows]
        table.csv_columns = [*table.csv_columns, *(f"backward_transfer{end}" for end in ("", "_low", "_high"))]
        table.csv_values = [[*row, *more] for row, more in zip(table.csv_values, transfer, strict=True)]
        table.notes = [
            *["BWT: backward transfer, minus the forgetting."] * forgets,
            f"Test sets {', '.join(digest[:12] for digest in digests)}; normaliser {normaliser or 'unknown'}; "
            + about(kept),
            *mixed_settings(method_names(kept)),
        ]
        tables += [main(compared, about(kept), f"main{number}"), table]
    return tables, left_out


def _minus(e: Estimate) -> Estimate:
    return Estimate(-e.value, -e.high, -e.low)


def _unusable(run: Summary) -> str:
    """Why the predictions of a run cannot be compared, noted among its problems; "" where they can."""
    try:
        reader = Run.from_summary(run)
        for language in filter(None, (run.language, run.old_language)):
            weights = {e["weights"] for e in reader.of("test", language=language)} - {"evaluate"} | {"best"}
            for name in sorted(weights):
                reader.predictions(language, name)
    except ValueError as error:
        return predictions.tell(run, error)
    except (FileNotFoundError, KeyError) as error:  # the summary has told of it
        return said(error, [run]).replace(f"{run.name}/", "")
    return ""


def marks(normalisers: Iterable[str]) -> tuple[dict[str, str], list[str]]:
    """(marks, notes): asterisks behind what was scored with each normaliser, none for the first; what they mean."""
    names = sorted(set(normalisers))
    notes = [f"{'*' * i}: scored with {name or 'an unknown normaliser'}." for i, name in enumerate(names) if i]
    if notes:
        without = names[0] or "an unknown normaliser"
        notes.insert(0, f"Rates of different normalisers cannot be compared; without a mark: {without}.")
    return {name: "*" * i for i, name in enumerate(names)}, notes


def before_after(runs: Sequence[Summary]) -> Table | None:
    """Each run's test sets before and after training; None where no run has been tested."""
    rows, intervals, over, whose = [], predictions.intervals(runs), {}, []
    for run in runs:
        for name, language in dict.fromkeys((e.get("set", "test"), e.get("language", "")) for e in run.tests):
            before, after = run.test(language, "before"), run.test(language, "best")
            known = after or before
            if known is None or "WER" not in known:
                continue
            values = [run.name, run.status, name, language, _count(known, "utterances"), _count(known, "words")]
            of_row = ""
            for event in (before, after):
                found = intervals.get((run.name, name, (event or {}).get("weights")), NONE_OF_A_SET)
                values += [rate(event, "WER"), *found.WER, rate(event, "CER"), *found.CER, rate(event, "WER_raw")]
                over.setdefault(name, {})[found.over] = None
                of_row = found.over or of_row
            whose.append(of_row)
            change = rate(after, "WER") - rate(before, "WER")
            rows.append([*values, change, run.test_sets.get(language, "unknown")[:12], run.normaliser])
    if not rows:
        return None
    columns = ["run", "status", "set", "language", "utterances", "words"]
    for when in ("before", "after"):
        columns += [f"{what} {when}" for what in ("WER", "low", "high", "CER", "CER low", "CER high", "raw WER")]
    columns += ["difference", "test set", "normaliser"]
    mark, notes = marks({row[-1] for row in rows})
    shown = [
        [row[0], f"{row[2]}{conditions.mark(of_row)}{mark[row[-1]]}", row[5],
         *(_with_interval(row[i : i + 3]) for i in (6, 9, 13, 16)), row[20]]
        for row, of_row in zip(rows, whose, strict=True)
    ]  # fmt: skip
    heads = (
        "run", "set", "words", "WER before [95 %]", "CER before [95 %]", "WER after [95 %]", "CER after [95 %]",
        "difference",
    )  # fmt: skip
    caption = (
        "Test sets before and after training, of the weights that validation of the new language chose. WER and CER in "
        f"percent over the set, normalised (jiwer). {' '.join(conditions.said(_joined(over)))} Difference: WER after "
        f"minus before, in points. {about(having(runs, rows))}"
    )
    forms = {"difference": "+.2f"}
    return Table("before_after", heads, shown, caption, notes, forms, csv_columns=columns, csv_values=rows)


def speakers(runs: Sequence[Summary]) -> Table | None:
    """WER of each finished run and how it scatters between speakers."""
    rows, used, over, intervals = [], {}, {}, predictions.intervals(of_test(runs))
    for run in of_test(runs):
        logged = {event.get("set"): event for event in run.tests if event.get("weights") == predictions.WEIGHTS}
        for name, utterances in predictions.tests(run).items():
            event = logged.get(name)
            if event is None:
                continue
            errors, words = ([getattr(u, key) for u in utterances] for key in ("errors", "words"))
            between = intervals[run.name, name, predictions.WEIGHTS]
            of_each = speaker_rates(errors, words, [u.speaker for u in utterances])
            spread = over_seeds(of_each).sd if of_each else math.nan
            ends = (min(of_each), max(of_each)) if len(of_each) > 1 else (math.nan, math.nan)
            wer = 100 * sum(errors) / sum(words) if sum(words) else math.nan
            rows.append([run.name, name, len(utterances), len(of_each), wer, *between.WER, spread, *ends, between.over])
            over.setdefault(name, {})[between.over] = None
            used[run.name] = run
    if not rows:
        return None
    columns = (
        "run", "set", "utterances", "speakers", "WER", "low", "high", "SD between speakers", "lowest speaker",
        "highest speaker", "interval over",
    )  # fmt: skip
    shown = [
        [row[0], f"{row[1]}{conditions.mark(row[-1])}", *row[2:4], _with_interval(row[4:7]), *row[7:]] for row in rows
    ]
    heads = (*columns[:4], "WER [95 %]", *columns[7:])
    caption = (
        f"WER in percent, normalised, of the best weights. {' '.join(conditions.said(_joined(over)))} Beside "
        "it WERs of single speakers: their standard deviation (n - 1), the lowest and the highest. "
        f"{about(list(used.values()))}"
    )
    return Table("speakers", heads, shown, caption, csv_columns=columns, csv_values=rows)


def _joined(over: Mapping[str, Iterable[str]]) -> dict[str, str]:
    """What intervals are over by test set; where sets of one name differ, all of it."""
    found = {name: conditions.OR.join(filter(None, said)) for name, said in over.items()}
    return {name: said for name, said in found.items() if said}


def speaker_rates(errors: Sequence[int], words: Sequence[int], speakers: Sequence[str]) -> list[float]:
    """WER of each known speaker who says a word, in percent."""
    found = {}
    for speaker, made, said_words in zip(speakers, errors, words, strict=True):
        total = found.setdefault(speaker, [0, 0])
        total[0], total[1] = total[0] + made, total[1] + said_words
    return [100 * made / total for speaker, (made, total) in found.items() if speaker and total]


def rate(event: Mapping | None, key: str) -> float:
    """A rate of a test event, nan where there is none."""
    return math.nan if event is None else to_float(event.get(key))


def _count(event: Mapping, key: str) -> int | None:
    return int(event[key]) if key in event else None


def _with_interval(values: Sequence[float]) -> str:
    return cells.rate(Estimate(*values))


def test_sets(runs: Sequence[Summary]) -> Table | None:
    """Which test sets there are, and how many runs were scored on each under which normaliser."""
    found = {}
    for run in of_test(runs):
        for event in {(e.get("set"), e.get("language")): e for e in run.tests}.values():
            language = event.get("language", "")
            key = (language, run.test_sets.get(language, "unknown"), run.normaliser or "unknown")
            found.setdefault(key, (event, {}))[1][run.name] = run
    if not found:
        return None
    rows = [
        [language, digest[:12], normaliser, _count(event, "utterances"), _count(event, "words"), len(tested)]
        for (language, digest, normaliser), (event, tested) in sorted(found.items())
    ]
    languages = [row[0] for row in rows]
    notes = [
        f"{language}: {languages.count(language)} test sets or normalisers; their rates are in no table together."
        for language in dict.fromkeys(languages) if languages.count(language) > 1
    ]  # fmt: skip
    caption = (
        "Test sets: digest of ids, durations and texts (of the whole corpus where the manifest is gone), normaliser of "
        f"the scores, sizes, and finished runs that were tested on them. {about(of_test(runs))}"
    )
    heads = ("language", "test set", "normaliser", "utterances", "words", "runs")
    return Table("test_sets", heads, rows, caption, notes)
