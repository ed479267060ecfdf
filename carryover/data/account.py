"""What manifests hold: hours, speakers, lengths, characters, rejects, and what their splits have in common."""

import csv
import itertools
import statistics
import unicodedata
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from carryover.data import manifest, parts
from carryover.data.splitting import sentence
from carryover.data.table import found_at, read_table
from carryover.data.utterance import COLUMNS, SPLITS

# What two splits should not have in common; a speaker or a text that is not known is no common one.
SHARED: dict[str, Callable[[Mapping], str]] = {
    "speakers": lambda row: row["speaker"],
    "sentences": lambda row: sentence(row["text"]),
    "recordings": lambda row: parts.split(row["audio"])[0],
}


@dataclass(frozen=True)
class Summary:
    """A split in numbers.

    Attributes
    ----------
    name : str
        Of the split.
    utterances, speakers, sentences : int
        How many there are; speakers and sentences that differ ("" is no speaker).
    hours : float
    seconds : (float, float, float, float)
        Shortest, median, 95th percentile and longest recording.
    characters : float
        Mean of an utterance, blanks among them.
    rate : float
        Median of characters a second.
    """

    name: str
    utterances: int
    hours: float
    speakers: int
    sentences: int
    seconds: tuple[float, float, float, float]
    characters: float
    rate: float


def read(paths: Sequence[Path]) -> dict[str, list[dict]]:
    """Rows of manifests; arguments, names and errors as `lists`."""
    return {name: list(manifest.load(file).values()) for name, file in lists(paths).items()}


def lists(paths: Sequence[Path]) -> dict[str, Path]:
    """Manifests by split (and by language, where there are several folders).

    Parameters
    ----------
    paths : sequence of path
        Manifests (.csv), folders of them, or run folders.

    Raises
    ------
    FileNotFoundError
        Where one of them is none of these.
    """
    folders = []
    for path in paths:
        runs = sorted(marker.parent for marker in (path / "manifests").glob("*/.done"))
        folders += runs or [path]
    found: dict[str, Path] = {}
    for path in folders:
        there = [path] if path.is_file() else sorted((p for p in path.glob("*.csv") if _is_manifest(p)), key=_order)
        if not there:
            raise FileNotFoundError(
                f"{path}: {found_at(path)}; expected a manifest ({', '.join(COLUMNS)}), a folder of them, such as "
                "results/NAME/1/manifests/nl, or a run folder"
            )
        for file in there:
            name = file.stem if len(folders) == 1 else f"{file.parent.name}/{file.stem}"
            if name in found:
                raise ValueError(f"{file}: a second manifest named {name}; give them one at a time")
            found[name] = file
    return found


def _is_manifest(path: Path) -> bool:
    try:
        return set(COLUMNS) <= set(next(iter(read_table(path)), (0, {}))[1])
    except ValueError:
        return False


def _order(path: Path) -> tuple[int, str]:
    return (SPLITS.index(path.stem) if path.stem in SPLITS else len(SPLITS), path.stem)


def summary(name: str, rows: Sequence[Mapping]) -> Summary:
    """A split in numbers; of an empty one, zeros."""
    seconds = sorted(row["duration"] for row in rows) or [0.0]
    rates = [len(row["text"]) / row["duration"] for row in rows if row["duration"] > 0]
    late = seconds[min(len(seconds) - 1, int(0.95 * len(seconds)))]
    return Summary(
        name=name,
        utterances=len(rows),
        hours=sum(row["duration"] for row in rows) / 3600,
        speakers=len({row["speaker"] for row in rows} - {""}),
        sentences=len({sentence(row["text"]) for row in rows}),
        seconds=(seconds[0], statistics.median(seconds), late, seconds[-1]),
        characters=statistics.fmean(len(row["text"]) for row in rows) if rows else 0.0,
        rate=statistics.median(rates) if rates else 0.0,
    )


def characters(rows: Sequence[Mapping]) -> Counter:
    """How often each character is written, in Unicode's composed form; blanks are not counted."""
    return Counter(c for row in rows for c in unicodedata.normalize("NFC", row["text"]) if not c.isspace())


def overlaps(splits: Mapping[str, Sequence[Mapping]]) -> list[tuple[str, str, str, int, int]]:
    """(first, second, what, how many they share, utterances of the second that these are in) of each pair of splits."""
    found = []
    for (first, ours), (second, theirs) in itertools.combinations(splits.items(), 2):
        for what, of in SHARED.items():
            both = ({of(row) for row in ours} & {of(row) for row in theirs}) - {""}
            found.append((first, second, what, len(both), sum(of(row) in both for row in theirs)))
    return found


def rejects(paths: Sequence[Path]) -> Counter:
    """(split, reason without its details) of what stands in rejected.csv beside the manifests."""
    found: Counter = Counter()
    for path in paths:
        folder = path if path.is_dir() else path.parent
        for file in [*folder.glob("rejected.csv"), *folder.glob("manifests/*/rejected.csv")]:
            with open(file, newline="", encoding="utf-8") as opened:
                for row in csv.DictReader(opened):
                    found[row["split"], row["reason"].split(":")[0]] += 1
    return found
