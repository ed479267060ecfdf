"""Tables that people wrote: .csv and .tsv files row by row, and what stands at a path, for errors."""

import csv
from collections.abc import Iterator, Mapping
from pathlib import Path


def found_at(path: str | Path) -> str:
    """What stands at a path, in a few words for an error: "is a folder that holds: clips, train.tsv"."""
    path = Path(path)
    if not path.exists():
        parent = next(p for p in path.absolute().parents if p.exists())
        beside = found_at(parent).removeprefix("is a ")
        return f"does not exist; {parent} is a {beside}"
    if not path.is_dir():
        return f"is a file of {path.stat().st_size} bytes"
    names = sorted(p.name for p in path.iterdir())
    if not names:
        return "is an empty folder"
    return f"is a folder that holds: {', '.join(names[:12])}" + (f" and {len(names) - 12} more" * (len(names) > 12))


def read_table(path: str | Path) -> Iterator[tuple[int, dict[str, str]]]:
    """Rows of a .csv file (usual quoting) or a .tsv file (no quoting: transcripts hold stray quotes), UTF-8.

    Yields
    ------
    (line, row) : tuple
        Line number in the file, for errors, and the row by column name.

    Raises
    ------
    ValueError
        With file and line, where a row has more or fewer fields than the header or the file is not UTF-8.
    """
    tab = Path(path).suffix.lower() == ".tsv"
    how = {"delimiter": "\t", "quoting": csv.QUOTE_NONE} if tab else {"strict": True}
    with open(path, newline="", encoding="utf-8-sig") as file:
        reader = csv.reader(file, **how)
        try:
            header = next(reader, [])
            _require_header(path, header, "\t" if tab else ",")
            for fields in reader:
                if fields and len(fields) != len(header):
                    raise ValueError(
                        f"{path}:{reader.line_num}: {len(fields)} fields, but the header names {len(header)} "
                        f"({', '.join(header)}); correct that line"
                        + (" (a tab inside a text?)" if tab else " (a text with a comma needs quotes around it)")
                    )
                if fields:
                    yield reader.line_num, dict(zip(header, fields, strict=True))
        except csv.Error as error:
            raise ValueError(f"{path}:{reader.line_num}: {error}; correct that line, or save it as .tsv") from error
        except UnicodeDecodeError as error:
            raise ValueError(
                f"{path} is not UTF-8 (byte 0x{error.object[error.start]:02x} after line {reader.line_num}); save it "
                f"as UTF-8, e.g. iconv -f windows-1252 -t utf-8"
            ) from error


def _require_header(path: str | Path, header: list[str], delimiter: str) -> None:
    """Raise ValueError where a header names a column twice or not at all, or is separated by another sign."""
    names = [name.strip().lower() for name in header]
    if not any(names):
        raise ValueError(f"{path}:1: no header; expected the columns' names in the first line; add it")
    if twice := sorted({name for name in names if name and names.count(name) > 1}):
        raise ValueError(
            f"{path}:1: column {', '.join(map(repr, twice))} stands {names.count(twice[0])} times in the header; which "
            "one is meant cannot be known: rename or remove the others"
        )
    if "" in names:
        raise ValueError(
            f"{path}:1: column {names.index('') + 1} of {len(names)} has no name; give it one, or remove the column"
        )
    signs = {sign: header[0].count(sign) for sign in "\t;,|" if sign != delimiter}
    if len(header) == 1 and any(signs.values()):
        sign = max(signs, key=signs.get)
        raise ValueError(
            f"{path}:1: the header is separated by {sign!r}, expected {delimiter!r}; save it with "
            "that, or rename the file (a .tsv is separated by tabs, a .csv by commas)"
        )


def votes(row: Mapping[str, str]) -> tuple[int, int] | None:
    """Votes of a row with the columns up_votes and down_votes (Common Voice's names), None where they are not there."""
    up, down = (row.get(column, "").strip() for column in ("up_votes", "down_votes"))
    return (int(up), int(down)) if up.isdecimal() and down.isdecimal() else None
