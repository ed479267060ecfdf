"""Files that are whole or not there: written beside, flushed to the disk, renamed.

A kill or a full disk in the middle of `open(path, "w")` leaves an empty or half file in place of a whole one. Every
file that is written under its final name goes through here; tests/unit/test_files.py finds what does not.
"""

import csv
import errno
import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PARTIAL = ".partial"  # ending of a file or folder that is being written
NUMBER = re.compile(r"\(os error (\d+)\)")  # in what safetensors says


@contextmanager
def beside(path: str | Path) -> Iterator[Path]:
    """Name beside `path` for what another library writes, a file or a folder; it gets its own name at the end.

    A folder takes the place of nothing or of an older folder, whose files of other names stay. After an error nothing
    has changed.

    Raises
    ------
    ValueError
        For a device or a pipe: the name would be taken from it, for root even that of /dev/null.
    """
    path = Path(path)
    _require_replaceable(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # the ending stays: savefig and np.savez look at it
    partial = path.with_name(f".{path.stem}.{os.getpid()}{PARTIAL}{path.suffix}")
    try:
        with system_errors(path):
            yield partial
        _flush_tree(partial)
        _take_place(partial, path)
        flush(path.parent)
    finally:
        if partial.is_dir():
            shutil.rmtree(partial, ignore_errors=True)
        else:
            partial.unlink(missing_ok=True)


@contextmanager
def writing(path: str | Path, newline: str | None = "") -> Iterator:
    """A text file (UTF-8) to write into, a line at a time; `newline` as `open` has it."""
    with beside(path) as partial, open(partial, "w", encoding="utf-8", newline=newline) as file:
        yield file


def write(path: str | Path, content: str | bytes) -> None:
    """Write a whole file; of a text, line ends stay as they are."""
    with beside(path) as partial:
        partial.write_bytes(content.encode("utf-8") if isinstance(content, str) else content)


def write_json(path: str | Path, values, indent: int | None = 1) -> None:
    """Write values as JSON."""
    write(path, json.dumps(values, indent=indent, ensure_ascii=False) + "\n")


def write_csv(path: str | Path, columns, rows, **kwargs) -> None:
    """Write a CSV: rows are sequences, or dicts whose keys are `columns`; keywords as csv.writer's."""
    with writing(path) as file:
        rows = list(rows)
        if rows and isinstance(rows[0], dict):
            writer = csv.DictWriter(file, columns, **kwargs)
            writer.writeheader()
        else:
            writer = csv.writer(file, **kwargs)
            writer.writerow(columns)
        writer.writerows(rows)


@contextmanager
def made_folder(folder: str | Path) -> Iterator[Path]:
    """A folder beside, to be filled with files; they take their places when all of them are there."""
    with beside(folder) as partial:
        partial.mkdir()
        yield partial


def copy(source: str | Path, path: str | Path) -> None:
    """Copy a file."""
    write(path, Path(source).read_bytes())


@contextmanager
def system_errors(path: str | Path) -> Iterator[None]:
    """Raise as OSError, naming `path`, what libraries make of a full or read-only disk.

    safetensors raises an error of its own with the system's number in its text, torch.save a RuntimeError about a
    position in the file; where it writes into a file of Python's, the system's error is the context of that.
    """
    try:
        yield
    except OSError as error:
        if error.errno is None or error.filename is not None:
            raise
        raise OSError(error.errno, os.strerror(error.errno), str(path)) from error
    except Exception as error:
        number = _number(error)
        if number is None:
            raise
        raise OSError(number, os.strerror(number), str(path)) from error


def flush(path: str | Path) -> None:
    """Have the disk hold a file, or the names in a folder."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove_partial(folder: str | Path) -> None:
    """Remove what killed processes left half written directly in a folder; only under its lock."""
    for left in Path(folder).glob(f".*{PARTIAL}*"):
        if left.is_dir():
            shutil.rmtree(left)
        else:
            left.unlink()


def remove_folder(folder: str | Path) -> None:
    """Remove a folder and what is in it; what another process removes meanwhile is no error."""
    shutil.rmtree(folder, ignore_errors=True)


def _require_replaceable(path: Path) -> None:
    special = path.exists() and not (path.is_file() or path.is_dir())
    if special or path.absolute().parent.resolve() == Path("/dev"):
        raise ValueError(f"{path}: a device or a pipe, which a file would replace; give the name of a file")


def _flush_tree(path: Path) -> None:
    if path.is_dir():
        for part in path.iterdir():
            _flush_tree(part)
    flush(path)


def _take_place(partial: Path, path: Path) -> None:
    if partial.is_dir() and path.is_dir():
        for part in list(partial.iterdir()):
            _take_place(part, path / part.name)
        flush(path)
    elif path.is_dir() and not path.is_symlink():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))  # os.replace names the partial one
    else:
        os.replace(partial, path)


def _number(error: Exception) -> int | None:
    """The system's number of what safetensors or torch.save raised; None for any other error."""
    if type(error).__name__ == "SafetensorError":
        found = NUMBER.search(str(error))
        return int(found[1]) if found else None
    cause = error if "inline_container" in str(error) else None  # torch's own writer
    while cause is not None and getattr(cause, "errno", None) is None:
        cause = cause.__cause__ or cause.__context__
    return cause.errno if cause is not None else None
