"""What a corpus listed when its manifests were made, and what of it has changed since, by name.

A file's size and time are looked at first; only where they differ it is read again, so that a copied or touched corpus
is the same corpus. A file of other content with the old size and the old time is not found out.
"""

import csv
import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from carryover import files
from carryover.data import parts
from carryover.data.utterance import Utterance

FILE = "listed.csv"
COLUMNS = ("split", "ID", "row", "size", "mtime_ns", "content")
REFUSED = "refused"  # the content of a recording that could not be used
SHOWN = 3  # names of each kind in a message


def _row(u: Utterance) -> str:
    """Digest of what the corpus says of an utterance."""
    fields = (u.audio, u.language, u.speaker, u.text, u.votes, u.fps) + ((u.refused,) if u.refused else ())
    return hashlib.sha256("\t".join(map(str, fields)).encode()).hexdigest()[:16]


def size_and_time(path: str) -> tuple[str, str]:
    """Bytes and nanoseconds of a file, as text; empty where there is none."""
    try:
        stat = os.stat(parts.split(path)[0])
    except OSError:
        return "", ""
    return str(stat.st_size), str(stat.st_mtime_ns)


def write(folder: Path, utterances: Sequence[Utterance], contents: Mapping[tuple[str, str], str]) -> None:
    """Write `listed.csv`; `contents` by (split, ID): digest of a recording, `REFUSED`, none where it was not opened."""
    rows = ((u.split, u.ID, _row(u), *size_and_time(u.audio), contents.get((u.split, u.ID), "")) for u in utterances)
    files.write_csv(folder / FILE, COLUMNS, rows)


def changes(
    folder: Path, utterances: Sequence[Utterance], inspect: Callable[[Utterance], tuple]
) -> tuple[list[str], dict[tuple[str, str], str]] | None:
    """What differs from `listed.csv`, a line a kind of change, and the contents as it has them; None without the file.

    Parameters
    ----------
    inspect : callable
        Utterance -> (duration, form, digest of its recording, ...), or ValueError; of `Limits`.
    """
    if not (folder / FILE).is_file():
        return None
    with open(folder / FILE, newline="", encoding="utf-8") as file:
        then = {(row["split"], row["ID"]): row for row in csv.DictReader(file)}
    now = {(u.split, u.ID): u for u in utterances}
    found = {
        "gone from the list": sorted(then.keys() - now.keys()),
        "new in the list": sorted(now.keys() - then.keys()),
        "with another transcript, speaker, path or vote": [],
        "with another recording": [],
    }
    for key in then.keys() & now.keys():
        was, u = then[key], now[key]
        if was["row"] != _row(u):
            found["with another transcript, speaker, path or vote"].append(key)
        elif was["content"] and (was["size"], was["mtime_ns"]) != size_and_time(u.audio):
            try:
                content = inspect(u)[2]
            except ValueError:
                content = REFUSED
            if content != was["content"]:
                found["with another recording"].append(key)
    lines = []
    for what, keys in found.items():
        names = [f"{ID} ({split})" for split, ID in sorted(keys)[:SHOWN]]
        more = ", ..." if len(keys) > SHOWN else ""
        lines += [f"{len(keys)} {what}: {', '.join(names)}{more}"] if keys else []
    return lines, {key: row["content"] for key, row in then.items()}
