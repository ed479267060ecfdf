"""The tables of `carryover data`, and its figure: a histogram of lengths."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import matplotlib
import numpy as np

from carryover.data import account
from carryover.report.figures import style

SHOWN = 60  # characters that are listed


def tables(splits: Mapping[str, Sequence[Mapping]], rejects: Counter) -> Iterator[str]:
    """Lines of Markdown."""
    yield "| split | utterances | hours | speakers | sentences | seconds: least, median, 95 %, most | characters |"
    yield "|---|--:|--:|--:|--:|--:|--:|"
    for name, rows in splits.items():
        s = account.summary(name, rows)
        seconds = ", ".join(f"{value:.1f}" for value in s.seconds)
        yield (
            f"| {name} | {s.utterances} | {s.hours:.2f} | {s.speakers or 'unknown'} | {s.sentences} | {seconds} | "
            f"{s.characters:.0f} each, {s.rate:.1f} a second |"
        )
    yield from _characters(splits)
    if pairs := account.overlaps(splits):
        yield "\n| splits | speakers in both | sentences in both | recordings in both |\n|---|--:|--:|--:|"
        kinds = len(account.SHARED)
        for at in range(0, len(pairs), kinds):
            cells = [f"{n}" + (f" ({of} utterances)" if n else "") for *_, n, of in pairs[at : at + kinds]]
            yield f"| {pairs[at][0]}, {pairs[at][1]} | {' | '.join(cells)} |"
        if any(n for *_, n, _ in pairs):
            yield "Utterances are the second split's: an error rate on them is no test of what was never seen."
    yield f"\nRejected: {sum(rejects.values())}" + ("." if not rejects else "")
    if rejects:
        yield "\n| split | reason | utterances |\n|---|---|--:|"
        for (split, reason), n in sorted(rejects.items(), key=lambda one: (one[0][0], -one[1])):
            yield f"| {split} | {reason.replace('|', chr(92) + '|')} | {n} |"


def _characters(splits: Mapping[str, Sequence[Mapping]]) -> Iterator[str]:
    counts = {name: account.characters(rows) for name, rows in splits.items()}
    total = sum(counts.values(), Counter())
    often = " ".join(f"{_shown(c)} {n}" for c, n in total.most_common(SHOWN))
    more = f" and {len(total) - SHOWN} more" if len(total) > SHOWN else ""
    yield f"\n{len(total)} characters: {often}{more}"
    trained = [found for name, found in counts.items() if name.split("/")[-1] == "train"]
    seen = set().union(*trained)
    for name, found in counts.items():
        if trained and (unseen := sorted(found.keys() - seen)):
            yield f"Of {name}, never in train: {' '.join(map(_shown, unseen))}"


def _shown(c: str) -> str:
    """A character as it can be read: `|` would end a cell, and what prints nothing shows nothing."""
    return c if c.isprintable() and c not in "`|" else f"U+{ord(c):04X}"


def figure(splits: Mapping[str, Sequence[Mapping]], path: Path) -> list[str]:
    """Draw a histogram of lengths, a panel a split with the same bins; -> paths of .svg, .pdf, .png and .csv."""
    path = path.with_suffix("") if path.suffix in (".png", ".svg", ".pdf", ".csv") else path
    path.parent.mkdir(parents=True, exist_ok=True)
    longest = max((row["duration"] for rows in splits.values() for row in rows), default=1.0)
    edges = np.linspace(0, longest, 31)
    rows = []
    with matplotlib.rc_context(style.RC):
        canvas, all_axes = style.canvas(len(splits), high=1.8)
        for axes, (name, found) in zip(all_axes, splits.items(), strict=True):
            counts, _ = np.histogram([row["duration"] for row in found], edges)
            hours = sum(row["duration"] for row in found) / 3600
            axes.stairs(counts, edges, fill=True, color=style.COLOURS[0])
            axes.set(xlabel="seconds", ylabel="utterances", title=f"{name}: {len(found)}, {hours:.2f} h")
            rows += [(name, f"{a:.4f}", f"{b:.4f}", n) for a, b, n in zip(edges[:-1], edges[1:], counts, strict=True)]
    caption = "Lengths of the recordings of each split."
    made = style.save(canvas, path.parent, path.name, caption, ("split", "from", "to", "utterances"), rows)
    return [*made.files, made.csv]
