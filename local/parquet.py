"""Parquet files of the hub's versions, downloaded -> utterances: Common Voice, MLS, FLEURS, VoxPopuli and the like.

    data/train-00000-of-00002.parquet    or <configuration>/train-*.parquet, or <configuration>/train/0000.parquet

One column holds the clips ({bytes, path}, as `datasets.Audio` keeps them), the others are named as in local/table.py or
by the option `columns`. Needs pyarrow (extra: parquet). Each clip is written to a file once, below `cache`, because one
row cannot be read without the thousand around it; the bytes stay as they are.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

from carryover import files
from carryover.data.table import found_at, votes
from carryover.data.utterance import Utterance
from local.made_once import make_once

SPLITS = {"train": ("train", "training"), "valid": ("validation", "valid", "dev"), "test": ("test",)}
TEXTS = ("sentence", "transcription", "transcript", "text", "raw_text")  # the first that is there
SPEAKERS = ("client_id", "speaker_id", "speaker")


def utterances(
    data_folder: str | Path,
    language: str,
    splits: Sequence[str],
    *,
    columns: Mapping[str, str] | None = None,
    cache: str | Path | None = None,
) -> Iterator[Utterance]:
    """The clips of some splits, in the order of files and rows. ID is the clip's name, or file and row without one.

    Parameters
    ----------
    data_folder : path
        Folder of one configuration: that with the files, or the one above `data` or `<language>`.
    language : str
        What the run calls it; rows are not compared with it.
    splits : sequence of str
        Of "train", "valid" (their validation or dev) and "test".
    columns : dict, optional
        {"audio", "text", "speaker", "ID": column}, e.g. VoxPopuli's raw_text or normalized_text.
    cache : path, optional
        Gets the clips, a folder a file; made again where the file's size or time is another. Else the folder
        `carryover_clips` in `data_folder`.

    Raises
    ------
    ModuleNotFoundError
        Without pyarrow.
    ValueError
        Where a split or column is not there, or a file is broken.
    """
    parquet = _reader()
    home = Path(data_folder).expanduser()
    found = {split: _files(home, language, split) for split in splits}
    if missing := [split for split in splits if not found[split]]:
        raise ValueError(
            f"data_folder: '{home}' {found_at(home)}; expected {' or '.join(SPLITS[missing[0]])}-*.parquet of split "
            f"'{missing[0]}' here, in data/ or in {language}/; correct data_folder or take it out of splits"
        )
    for split, paths in found.items():
        for path in paths:
            stat = path.stat()
            name = f"{path.stem}-{hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:12]}"
            about = {"size": stat.st_size, "mtime_ns": stat.st_mtime_ns, "columns": dict(columns or {})}
            folder = Path(cache or home / "carryover_clips") / split / name
            make_once(folder, about, partial(_write, parquet, path, columns or {}))
            for line in (folder / "list.jsonl").read_text(encoding="utf-8").splitlines():
                row = json.loads(line)
                audio = (folder / row["file"]).as_posix() if row["file"] else ""
                refused = None if row["file"] else "recording is lacking: the row holds no bytes"
                counted = votes({key: str(row.get(key, "")) for key in ("up_votes", "down_votes")})
                yield Utterance(
                    row["ID"], audio, language, row["speaker"], row["text"], split, votes=counted, refused=refused
                )


def _reader():
    try:
        import pyarrow.parquet as parquet
    except ImportError as error:
        raise ModuleNotFoundError(
            "corpus: local.parquet needs pyarrow, which is not installed; pip install pyarrow (or carryover[parquet])"
        ) from error
    return parquet


def _files(home: Path, language: str, split: str) -> list[Path]:
    """A split's files of the first folder that has any."""
    for folder in (home, home / "data", home / language):
        names = SPLITS.get(split, (split,))
        found = [path for name in names for pattern in (f"{name}-*.parquet", f"{name}.parquet", f"{name}/*.parquet")
                 for path in sorted(folder.glob(pattern))]  # fmt: skip
        if found:
            return found
    return []


def _columns(path: Path, names: Sequence[str], kinds: Mapping[str, object], given: Mapping[str, str]) -> dict[str, str]:
    if strange := sorted(set(given) - {"audio", "text", "speaker", "ID"}):
        raise ValueError(f"columns: there is no field '{strange[0]}'; expected of audio, text, speaker, ID")
    clips = [name for name in names if "bytes" in str(kinds[name])]
    found = {
        "audio": next(iter(clips), None),
        "text": next((name for name in TEXTS if name in names), None),
        "speaker": next((name for name in SPEAKERS if name in names), None),
        "ID": None,
    } | dict(given)
    for field, name in found.items():
        if (name is None and field in ("audio", "text")) or (name is not None and name not in names):
            raise ValueError(
                f"{path}: no column {repr(name) if name else 'for'} {field}; found {', '.join(names)}; name it by "
                f"columns: {{{field}: ...}}"
            )
    return {field: name for field, name in found.items() if name}


def _write(parquet, path: Path, given: Mapping[str, str], folder: Path) -> None:
    """Write a file's clips, and list.jsonl: ID, file, text, speaker and votes of each row."""
    try:
        file = parquet.ParquetFile(path)
    except (OSError, ValueError) as error:  # pyarrow's are of these
        raise _broken(path, error) from error
    schema = file.schema_arrow
    columns = _columns(path, schema.names, {field.name: field.type for field in schema}, given)
    kept = [*dict.fromkeys(columns.values()), *({"up_votes", "down_votes"} & set(schema.names))]
    rows, taken = [], {"list.jsonl"}
    try:
        for batch in file.iter_batches(batch_size=64, columns=kept):
            for row in batch.to_pylist():
                clip = row[columns["audio"]] or {}
                name = Path(clip.get("path") or f"{path.stem}-{len(rows):06d}").name
                target = f"{len(rows):06d}-{name}" if name in taken else name
                taken.add(target)
                if clip.get("bytes"):
                    (folder / target).write_bytes(clip["bytes"])
                rows.append(
                    {
                        "ID": str(row[columns["ID"]]) if "ID" in columns else Path(name).stem,
                        "file": target if clip.get("bytes") else "",
                        "text": str(row[columns["text"]] or "").strip(),
                        "speaker": str(row.get(columns.get("speaker")) or ""),
                        "up_votes": row.get("up_votes"), "down_votes": row.get("down_votes"),
                    }
                )  # fmt: skip
    except (OSError, ValueError) as error:
        raise _broken(path, error) from error
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    files.write(folder / "list.jsonl", text)


def _broken(path: Path, error: Exception) -> ValueError:
    said = " ".join(str(error).split())[:200]
    return ValueError(f"{path}: no whole parquet file ({said}); download it again")
