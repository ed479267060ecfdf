"""What a run's files were when the run wrote them: whoever reads one that was changed since, says so."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path

KEY = "sealed"


def sealed(values: Mapping) -> dict:
    """The content of a JSON file with a digest of itself under `sealed`."""
    rest = {key: value for key, value in values.items() if key != KEY}
    return rest | {KEY: _digest(json.dumps(rest, sort_keys=True).encode())}


def broken(values: Mapping) -> bool:
    """Whether such a content was changed since; one without a digest is an earlier version's."""
    return KEY in values and sealed(values)[KEY] != values[KEY]


def of(folder: str | Path, names: Iterable[str]) -> dict[str, str]:
    """Digests of those files of a folder that are there, by name."""
    found = {name: Path(folder) / name for name in names}
    return {name: file_digest(path) for name, path in found.items() if path.is_file()}


def changed(folder: str | Path, recorded: Mapping[str, str]) -> list[str]:
    """A line for each file that is gone, or is not as `of` found it."""
    lines = []
    for name, digest in recorded.items():
        path = Path(folder) / name
        if not path.is_file():
            lines.append(f"{name}: the run wrote it, and it is no file now" if path.exists() else f"{name}: is gone")
        elif file_digest(path) != digest:
            lines.append(f"{name}: was changed since the run wrote it")
    return lines


def file_digest(path: str | Path, size: int | None = None) -> str:
    """Of a file, or of its first `size` bytes."""
    sha = hashlib.blake2b(digest_size=16)
    with open(path, "rb") as file:
        left = Path(path).stat().st_size if size is None else size
        while left > 0 and (part := file.read(min(left, 1 << 20))):
            sha.update(part)
            left -= len(part)
    return sha.hexdigest()


def _digest(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=16).hexdigest()
