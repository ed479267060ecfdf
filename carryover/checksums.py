"""Checksums of a folder's files: checkpoints and exported models are whole or not used.

`checksums.json` is written last and holds length and digest of every file, what the folder belongs to, and a digest of
all this. Files whose names begin with a dot are nobody's: file systems and desktops leave them.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from carryover import files

NAME = "checksums.json"
ASIDE = "set_aside+"


def seal(folder: str | Path, belongs_to: dict | None = None) -> None:
    """Write checksums.json of what a folder holds; it is whole from now on.

    Parameters
    ----------
    belongs_to : dict, optional
        What it is worth nothing without, JSON-serialisable, e.g. {"run": an ID}.
    """
    folder = Path(folder)
    about = {name: {"bytes": path.stat().st_size, "blake2b": d} for name, path, d in _digests(_files(folder))}
    content = {"files": about, "belongs_to": belongs_to or {}}
    # no newline: cut off by one byte is cut off
    files.write(folder / NAME, json.dumps(content | {"set": _digest_of(content)}, indent=1))


def faults(folder: str | Path, hashed: str | None = None) -> list[str]:
    """What of a folder is not as `seal` left it, one line each, by the file's name; [] where it is whole.

    Of all files that are there with their lengths, only `hashed` is read, where one is named.
    """
    folder = Path(folder)
    try:
        content = json.loads((folder / NAME).read_text(encoding="utf-8"))
        said = content.pop("set")
        recorded = {name: (about["bytes"], about["blake2b"]) for name, about in content["files"].items()}
    except FileNotFoundError:
        return [f"{NAME} is missing: it was not written to its end, or by an earlier version"]
    except (ValueError, KeyError, TypeError, AttributeError):
        return [f"{NAME} cannot be read: it is cut off or was changed"]
    if said != _digest_of(content):
        return [f"{NAME} was changed since it was written"]
    found = _files(folder)
    lines = [f"{name} is missing" for name in sorted(recorded.keys() - found.keys())]
    lines += [f"{name} does not belong there" for name in sorted(found.keys() - recorded.keys())]
    same_length = {}
    for name in sorted(found.keys() & recorded.keys()):
        length, expected = found[name].stat().st_size, recorded[name][0]
        if found[name].is_symlink():
            lines.append(f"{name} is a link to another place")
        elif length != expected:
            lines.append(f"{name} has {length} bytes of {expected}")
        else:
            same_length[name] = found[name]
    if lines:  # it is broken whatever the rest is, and hashing that takes longest
        return lines
    return [
        f"{name} holds other bytes than were written" for name, _, d in _digests(same_length) if d != recorded[name][1]
    ]


def belongs_to(folder: str | Path) -> dict:
    """What a whole folder says it belongs to."""
    return json.loads((Path(folder) / NAME).read_text(encoding="utf-8"))["belongs_to"]


def require_whole(what: str, folder: str | Path) -> None:
    """Raise ValueError naming what is wrong with a sealed folder; one without checksums is somebody else's."""
    # os.path: a YAML's long text, such as a prompt, is no path, and no error
    if os.path.exists(Path(folder) / NAME) and (found := faults(folder)):
        raise ValueError(
            f"{what}: {folder} is not as it was written: {'; '.join(found)}. Bring back a whole copy, or export it "
            f"again from its run; if it was changed on purpose, delete {Path(folder) / NAME}"
        )


def set_aside(folder: str | Path) -> Path:
    """Rename a folder to set_aside+NAME, so that nothing reads it and nothing is lost; -> where it lies now."""
    folder, n = Path(folder), 1
    while (to := folder.with_name(f"{ASIDE}{folder.name}" + (f"+{n}" if n > 1 else ""))).exists():
        n += 1
    return folder.rename(to)


@contextmanager
def made(folder: str | Path, belongs_to: dict) -> Iterator[Path]:
    """A folder beside to write a model into, which is sealed and takes its place; of what was there the broken is set
    aside, the whole goes."""
    folder = Path(folder)
    with files.made_folder(folder) as partial:
        yield partial
        seal(partial, belongs_to)
        if folder.exists() and faults(folder):
            print(f"{folder} is not whole; it lies in {set_aside(folder)} now")
        elif folder.exists():
            shutil.rmtree(folder)


def _files(folder: Path) -> dict[str, Path]:
    found = {path.relative_to(folder): path for path in folder.rglob("*") if path.is_symlink() or not path.is_dir()}
    kept = {name: path for name, path in found.items() if not any(part.startswith(".") for part in name.parts)}
    return {name.as_posix(): path for name, path in kept.items() if name.as_posix() != NAME}


def _digests(files: dict[str, Path]) -> Iterator[tuple[str, Path, str]]:
    """(name, path, digest) of files, hashed side by side: hashlib lets other threads run."""

    def digest(path: Path) -> str:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=32)).hexdigest()

    with ThreadPoolExecutor(4) as threads:
        yield from zip(files, files.values(), threads.map(digest, files.values()), strict=True)


def _digest_of(content: dict) -> str:
    return hashlib.blake2b(json.dumps(content, sort_keys=True).encode(), digest_size=32).hexdigest()
