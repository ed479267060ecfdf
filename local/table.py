"""A corpus of your own: a CSV, TSV, JSONL or JSON list of audio files and transcripts -> utterances.

The list is either one file `manifest.tsv` (or .csv, .jsonl, .json) with a column `split`, or one file a split:
`train.tsv`, `valid.tsv` (or `dev.tsv`), `test.tsv`. Names of columns, in upper or lower case; others are named by the
option `columns`, e.g. {audio: filename, text: what_was_said}:

    audio     audio, path, wav, file, audio_filepath or file_name; relative to the list's folder, or absolute
    text      text, sentence, transcript or transcription
    split     split: train; valid, dev or validation; test      (not needed in a file of one split)
    language  language, locale or lang                          (optional; rows of other languages are left out)
    speaker   speaker, client_id or speaker_id                  (optional)
    ID        ID or utt_id                                      (optional; else the audio file's name)
    votes     up_votes, down_votes                              (optional; for metadata_limits)
    start     start, begin, offset, start_time                  (optional; seconds in a long recording)
    end       end, stop, end_time; else start + duration        (with start)

A duration of a whole file is not believed but measured. TSV has no quoting (a quotation mark is part of the text), CSV
has the usual one, JSONL has one object a line, JSON a list of objects or objects by ID; all are UTF-8.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from carryover.data import parts
from carryover.data.json_rows import read_json, read_jsonl
from carryover.data.table import found_at, read_table, votes
from carryover.data.utterance import Utterance

ALIASES = {
    "audio": ("audio", "path", "wav", "file", "audio_filepath", "file_name"),
    "text": ("text", "sentence", "transcript", "transcription"),
    "split": ("split",),
    "language": ("language", "locale", "lang"),
    "speaker": ("speaker", "client_id", "speaker_id"),
    "ID": ("id", "utt_id"),
    "up_votes": ("up_votes",),
    "down_votes": ("down_votes",),
    "start": ("start", "begin", "offset", "start_time"),
    "end": ("end", "stop", "end_time"),
    "duration": ("duration",),
}
SPLITS = {"train": ("train",), "valid": ("valid", "dev", "validation"), "test": ("test",)}
SPLIT_OF = {name: split for split, names in SPLITS.items() for name in names}
ENDINGS = (".tsv", ".csv", ".jsonl", ".json")


def utterances(
    data_folder: str | Path,
    language: str,
    splits: Sequence[str],
    *,
    columns: Mapping[str, str] | None = None,
    only: str | None = None,
) -> Iterator[Utterance]:
    """What a CSV, TSV, JSONL or JSON list of one's own holds.

    Parameters
    ----------
    data_folder : path
        The list itself, or the folder that holds it.
    language : str
        Code as the list's column `language` has it, e.g. "nl"; without that column, the language of all rows.
    splits : sequence of str
        Of "train", "valid" and "test", those to read; rows of others are left out, and counted.
    columns : dict, optional
        The list's own name of a field, e.g. {"text": "what_was_said"}; fields as in `ALIASES`.
    only : str, optional
        The split of all rows of a list that has no such column; `local.new_splits` deals it.

    Raises
    ------
    ValueError
        Where the list, a column, a split or the language is not there, or a line of it is broken.
    """
    for _, utterance in of_rows(rows(data_folder, language, splits, mapped(columns), only), language):
        yield utterance


def mapped(columns: Mapping[str, str] | None) -> dict[str, tuple[str, ...]]:
    """`ALIASES` with a list's own names, which are then the only ones of their fields."""
    if strange := sorted(set(columns or {}) - set(ALIASES)):
        raise ValueError(f"columns: there is no field '{strange[0]}'; expected of {', '.join(ALIASES)}")
    return ALIASES | {field: (str(name).strip().lower(),) for field, name in (columns or {}).items()}


def rows(
    data_folder: str | Path,
    language: str,
    splits: Sequence[str],
    aliases: Mapping[str, tuple[str, ...]] = ALIASES,
    only: str | None = None,
) -> list[dict[str, str]]:
    """What a corpus lists of one language and some splits; what it leaves out is counted in a printed line.

    Parameters
    ----------
    data_folder, language, splits
        As `utterances`.
    only : str, optional
        As `utterances`.
    aliases : dict
        Names of columns by field; a corpus that is no audio has more of them (local/landmarks.py).

    Returns
    -------
    rows : list of dict
        Values by field, with `file`, the path as it can be opened; in the order of `splits`, then of the list.

    Raises
    ------
    ValueError
        As `utterances`.
    """
    data_folder = Path(data_folder).expanduser()
    listed = [row for path, split in _lists(data_folder, splits) for row in _rows(path, split or only, aliases)]
    left_out, used = Counter(), []
    for row in listed:
        if row["split"] not in splits:
            left_out[f"of split '{row['split']}'"] += 1
        elif row.setdefault("language", language).lower() != language.lower():
            left_out[f"in language '{row['language']}'"] += 1
        else:
            used.append(row)
    parts = [f"{data_folder}: {len(listed)} rows, {len(used)} used", *(f"{n} {what}" for what, n in left_out.items())]
    print(", left out ".join(parts))

    for split in splits:
        if not any(row["split"] == split for row in listed):
            raise ValueError(
                f"data_folder: '{data_folder}' lists no row of split '{split}'; looked for {_values(split)} in the "
                f"column 'split', found {dict(Counter(row['split'] for row in listed))}; correct the list, or take "
                f"'{split}' out of splits"
            )
        if not any(row["split"] == split for row in used):
            languages = Counter(row["language"] for row in listed if row["split"] == split)
            raise ValueError(
                f"language: '{language}' was asked for, but split '{split}' of '{data_folder}' holds "
                f"{dict(languages)}; set language to one of these, or correct the column"
            )
    return sorted(used, key=lambda row: list(splits).index(row["split"]))  # stable: the list's order within a split


def _values(split: str) -> str:
    return " or ".join(f"'{name}'" for name in SPLITS.get(split, (split,)))


def _lists(data_folder: Path, splits: Sequence[str]) -> list[tuple[Path, str | None]]:
    """The files to read, each with the split that its name says, None where a column says it."""
    holds = found_at(data_folder)
    expected = "expected a .tsv, .csv, .jsonl or .json file, or a folder with manifest.tsv or train, valid and test.tsv"
    if data_folder.is_file() and data_folder.suffix.lower() in ENDINGS:
        return [(data_folder, None)]
    if not data_folder.is_dir():
        packed = data_folder.name.endswith((".tar.gz", ".tgz", ".zip", ".tar"))
        advice = "extract it first" if packed else "correct data_folder"
        raise ValueError(f"data_folder: '{data_folder}' {holds}; {expected}; {advice}")

    def present(*names: str) -> list[Path]:
        return [path for name in names for end in ENDINGS if (path := data_folder / f"{name}{end}").exists()]

    whole = present("manifest")
    single = {split: present(*names) for split, names in SPLITS.items()}
    if not whole and not any(single.values()):
        raise ValueError(
            f"data_folder: '{data_folder}' {holds}; {expected} (or .csv, .jsonl, .json); put the list there, or set "
            "data_folder to the file itself"
        )
    for rivals in (whole + sum(single.values(), []) if whole else [], *single.values()):
        if len(rivals) > 1:
            names = " and ".join(path.name for path in rivals)
            raise ValueError(
                f"data_folder: '{data_folder}' holds {names}; expected one list; remove the others, or set data_folder "
                "to the one meant"
            )
    if whole:
        return [(whole[0], None)]
    for split in splits:
        if not single.get(split):
            raise ValueError(
                f"data_folder: '{data_folder}' has no list of split '{split}'; looked for {_values(split)} with "
                f"{', '.join(ENDINGS)}; found {', '.join(p.name for ps in single.values() for p in ps)}; add it, or "
                f"take '{split}' out of splits"
            )
    return [(single[split][0], split) for split in splits]


def listed(path: Path, aliases: Mapping[str, tuple[str, ...]] = ALIASES) -> Iterator[dict[str, str]]:
    """Rows of one file by field, with `file`; `split` is "" where it has no such column."""
    return _rows(path, "", aliases)


def _rows(path: Path, split: str | None, aliases: Mapping[str, tuple[str, ...]]) -> Iterator[dict[str, str]]:
    """Rows by field instead of by column; `file` is the audio's path as it can be opened."""
    read = {".jsonl": read_jsonl, ".json": read_json}.get(path.suffix.lower())
    lines, keys, columns = read is not None, None, {}
    known = {name for names in aliases.values() for name in names}
    for number, row in read(path, known) if lines else read_table(path):
        if keys != row.keys():  # once for a table; a JSON line may differ from the one above it
            keys = row.keys()
            columns = _columns(f"{path}:{number}" if lines else str(path), tuple(keys), split, aliases)
        found = {field: row[column].strip() for field, column in columns.items()}
        if not found["audio"]:
            raise ValueError(
                f"{path}:{number}: '{columns['audio']}' is empty; expected a path; add it or drop the line"
            )
        stated = found["split"].lower() if "split" in found else split
        found["split"] = SPLIT_OF.get(stated, stated)
        if split and split != found["split"]:
            raise ValueError(
                f"{path}:{number}: '{columns['split']}' is '{stated}', but the file's name says '{split}'; rename the "
                f"file to manifest{path.suffix} if it holds several splits, or correct the line"
            )
        found["file"] = str(path.parent / found["audio"])
        if found.get("start"):
            found["file"] = parts.named(found["file"], *_times(f"{path}:{number}", found))
        yield found


def _times(where: str, row: Mapping[str, str]) -> tuple[float, float]:
    """Start and end of a segment, in seconds."""
    try:
        start = float(row["start"])
        end = float(row["end"]) if row.get("end") else start + float(row.get("duration") or "")
    except ValueError:
        raise ValueError(
            f"{where}: start '{row['start']}', end '{row.get('end', '')}', duration '{row.get('duration', '')}'; "
            "expected a start and an end (or a duration) in seconds, e.g. 12.5; correct that line"
        ) from None
    if not 0 <= start < end < float("inf"):
        raise ValueError(f"{where}: a segment from {start:g} s to {end:g} s; expected 0 <= start < end")
    return start, end


def _columns(
    where: str, names: Sequence[str], split: str | None, aliases: Mapping[str, tuple[str, ...]]
) -> dict[str, str]:
    """Which of a list's columns holds which field."""
    columns = {}
    for field, known in aliases.items():
        found = [name for name in names if name.strip().lower() in known]
        if len(found) > 1:
            raise ValueError(
                f"{where}: columns {' and '.join(map(repr, found))} both mean {field}; expected one; rename the other"
            )
        if found:
            columns[field] = found[0]
        elif field in ("audio", "text") or (field == "split" and split is None):
            raise ValueError(
                f"{where}: no column for {field}; found {', '.join(map(repr, names))}; expected one of "
                f"{', '.join(known)}; rename a column (a .tsv is separated by tabs, a .csv by commas)"
            )
    return columns


def of_rows(rows: Sequence[dict[str, str]], language: str) -> Iterator[tuple[dict[str, str], Utterance]]:
    """Rows, each with its utterance."""
    # the file's name is the ID people recognise; where folders repeat it (spk1/001, spk2/001) the folder is needed too
    files = {(row["split"], row["audio"]) for row in rows}
    stems = Counter((split, Path(audio).stem) for split, audio in files)
    for row in rows:
        path = Path(row["audio"])
        folders = [part for part in path.with_suffix("").parts if part not in ("/", "..")]
        own = path.stem if stems[row["split"], path.stem] == 1 else "-".join(folders)
        if row.get("start"):
            own += "-" + row["start"] + ("-" + row["end"] if row.get("end") else "")
        yield (
            row,
            Utterance(
                ID=row.get("ID") or own,
                audio=row["file"],
                language=language,
                speaker=row.get("speaker", ""),
                text=row["text"],
                split=row["split"],
                votes=votes(row),
            ),
        )
