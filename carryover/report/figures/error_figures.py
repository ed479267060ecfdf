"""Figures of where the errors are: WER by duration and by speaker, and characters that are confused."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from zlib import crc32

import numpy as np

from carryover.report import names, predictions
from carryover.report.figures.style import Figure, Line, Styles, draw_heat, draw_lines, save
from carryover.report.summary import Summary

BINS = 5  # of durations, with as many utterances each
SHOWN = 20  # speakers, or pairs of characters, that a figure holds; the .csv has all
ACROSS = 16  # experiments beside each other in a heat map
NOTHING, SPACE = "∅", "␣"


@dataclass
class Errors:
    """What is kept of one run's test: errors and words by bin of duration and by speaker, and confusions."""

    seed: str
    by_duration: np.ndarray  # (bins, 2): errors, words
    by_speaker: dict[str, np.ndarray]  # (2,)
    confusions: Counter
    characters: int


@dataclass
class TestSet:
    """One set of utterances as all experiments that were tested on it did on it.

    Attributes
    ----------
    edges : array, shape (bins + 1,)
        Seconds between which the bins lie.
    tests : dict of list of Errors
        By experiment, one a seed.
    """

    name: str
    utterances: int
    edges: np.ndarray
    tests: dict[str, list[Errors]] = field(default_factory=lambda: defaultdict(list))


def draw(runs: Mapping[str, Sequence[Summary]], styles: Styles, folder: Path) -> list[Figure | None]:
    """All figures of this file; None for one with nothing to show."""
    sets = collect(runs)
    return [by_duration(sets, styles, folder), by_speaker(sets, folder), confusions(sets, folder)]


def collect(runs: Mapping[str, Sequence[Summary]]) -> list[TestSet]:
    """Counts of every test with the best weights; each predictions file is read once and let go.

    Two sets of one name with other utterances (another corpus, a new split) are two sets.
    """
    found = {}
    for experiment, seeds in runs.items():
        for run in seeds:
            for name, rows in predictions.tests(run).items():
                key = name, crc32(repr(sorted((u.id, u.reference) for u in rows)).encode())
                if key not in found:
                    found[key] = TestSet(name, len(rows), edges([u.duration for u in rows]))
                found[key].tests[experiment].append(count(rows, found[key].edges, run.seed))
    several = Counter(s.name for s in found.values())
    sets = list(found.values())
    for i, s in enumerate(sets):
        if several[s.name] > 1:
            s.name = f"{s.name} no. {sum(t.name.split(' no. ')[0] == s.name for t in sets[: i + 1])}"
    return sets


def edges(durations: Sequence[float]) -> np.ndarray:
    """Seconds, rounded to tenths, that part the durations into up to `BINS` bins of as many; the ends hold all."""
    inner = np.quantile(durations, np.arange(1, BINS) / BINS).round(1)
    low, high = np.floor(10 * min(durations)) / 10, np.ceil(10 * max(durations)) / 10
    inner = inner[(inner > low) & (inner < high)]
    return np.unique([low, *inner, max(high, low + 0.1)])


def count(rows: Sequence[predictions.Utterance], edges: np.ndarray, seed: str) -> Errors:
    """One run's test."""
    counts = np.array([(u.errors, u.words) for u in rows])
    bins = np.clip(np.digitize([u.duration for u in rows], edges) - 1, 0, len(edges) - 2)
    found = Errors(seed, np.zeros((len(edges) - 1, 2)), defaultdict(lambda: np.zeros(2)), Counter(), 0)
    np.add.at(found.by_duration, bins, counts)
    for u, both in zip(rows, counts, strict=True):
        found.by_speaker[u.speaker] += both
        found.characters += u.characters
        if u.character_errors:
            found.confusions += predictions.confusions(u.reference, u.hypothesis)
    return found


def rate(counts: np.ndarray) -> np.ndarray:
    """WER in percent of (..., 2) errors and words; nan where there are no words."""
    errors, words = counts[..., 0], counts[..., 1]
    return 100 * np.divide(errors, words, out=np.full(np.shape(errors), np.nan), where=np.asarray(words) > 0)


def by_duration(sets: Sequence[TestSet], styles: Styles, folder: Path) -> Figure | None:
    """WER over the middle of each bin of durations."""
    lines, rows = {}, []
    for s in sets:
        middle = (s.edges[:-1] + s.edges[1:]) / 2
        for experiment, tests in s.tests.items():
            WERs = np.stack([rate(t.by_duration) for t in tests])  # (seeds, bins)
            good = ~np.isnan(WERs).any(0)
            if len(s.edges) < 3 or good.sum() < 2:
                continue
            lines.setdefault(_title(s), {})[experiment] = Line.of([(middle[good], w[good]) for w in WERs])
            for i in np.flatnonzero(good):
                words = tests[0].by_duration[i, 1]
                bounds = WERs[:, i].mean(), WERs[:, i].min(), WERs[:, i].max()
                rows.append((_title(s), experiment, s.edges[i], s.edges[i + 1], int(words), *bounds, len(tests)))
    if not lines:
        return None
    figure = draw_lines(lines, styles, "duration (s)", "WER (%)")
    caption = (
        f"WER by duration on the test sets, best weights, normalised; up to {BINS} bins with as many utterances each, "
        "drawn at their middles (bounds in the .csv). Mean over seeds; band: lowest to highest seed."
    )
    columns = ("set", "experiment", "from_seconds", "to_seconds", "words", "WER", "WER_low", "WER_high", "seeds")
    return save(figure, folder, "WER_by_duration", caption, columns, rows)


def by_speaker(sets: Sequence[TestSet], folder: Path) -> Figure | None:
    """WER of each speaker and experiment, errors and words summed over seeds."""
    blocks, rows, cut = [], [], []
    for s in sets:
        speakers = sorted({speaker for tests in s.tests.values() for t in tests for speaker in t.by_speaker})
        if len(speakers) < 2:
            continue
        pooled = {e: {v: sum(t.by_speaker[v] for t in tests) for v in speakers} for e, tests in s.tests.items()}
        values = np.array([[rate(pooled[e][v]) for e in pooled] for v in speakers], float)
        order = np.argsort(-np.nan_to_num(np.nanmean(values, axis=1)), kind="stable")
        rows += [
            (_title(s), speakers[i], e, int(pooled[e][speakers[i]][1]), values[i, j])
            for i in order
            for j, e in enumerate(pooled)
        ]
        if len(speakers) > SHOWN:
            cut.append(f"{SHOWN} of {len(speakers)} of {s.name}")
        shown = order[:SHOWN]
        blocks += _blocks(_title(s), [speakers[i] or "unknown" for i in shown], list(pooled), values[shown])
    if not blocks:
        return None
    caption = (
        "WER in percent by speaker on the test sets, best weights, normalised; errors and words summed over seeds; the "
        "speakers with the highest mean first" + (f" ({', '.join(cut)}; all in the .csv)." if cut else ".")
    )
    figure = draw_heat(blocks, "WER (%)")
    return save(figure, folder, "WER_by_speaker", caption, ("set", "speaker", "experiment", "words", "WER"), rows)


def confusions(sets: Sequence[TestSet], folder: Path) -> Figure | None:
    """The commonest pairs of characters, reference -> hypothesis, by experiment, per 1000 characters."""
    blocks, rows = [], []
    for s in sets:
        counted = {
            e: (sum((t.confusions for t in ts), Counter()), sum(t.characters for t in ts)) for e, ts in s.tests.items()
        }
        every = sorted({pair for pairs, _ in counted.values() for pair in pairs})
        if not every:
            continue
        values = np.array([[1000 * pairs[pair] / total for pairs, total in counted.values()] for pair in every])
        order = np.argsort(-values.mean(1), kind="stable")
        rows += [
            (_title(s), *map(_seen, every[i]), e, counted[e][0][every[i]], values[i, j])
            for i in order
            for j, e in enumerate(counted)
            if counted[e][0][every[i]]
        ]
        shown = order[:SHOWN]
        pairs = [" → ".join(map(_seen, every[i])) for i in shown]
        blocks += _blocks(_title(s), pairs, list(counted), values[shown])
    if not blocks:
        return None
    caption = (
        f"The {SHOWN} commonest confusions of characters, reference → hypothesis, per 1000 characters of the "
        f"references, all seeds together; best weights, normalised, aligned by kaldialign. {NOTHING}: nothing, so "
        f"{NOTHING} → x is an insertion, x → {NOTHING} a deletion; {SPACE}: space. All in the .csv."
    )
    columns = ("set", "reference", "hypothesis", "experiment", "count", "per_1000_characters")
    return save(draw_heat(blocks, "per 1000 characters"), folder, "confusions", caption, columns, rows)


def _blocks(title: str, rows: list[str], columns: list[str], values: np.ndarray) -> list[tuple]:
    """Blocks of at most `ACROSS` columns."""
    columns = [names.method(name) for name in columns]
    parts = range(0, len(columns), ACROSS)
    return [(title, rows, columns[i : i + ACROSS], values[:, i : i + ACROSS]) for i in parts]


def _title(s: TestSet) -> str:
    return f"{s.name}, {s.utterances} utterances"


def _seen(character: str) -> str:
    """A character as it can be read."""
    return {"": NOTHING, " ": SPACE}.get(character, character)
