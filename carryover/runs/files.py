"""Files that are there whole or not at all."""

import os
from pathlib import Path


def write(path: str | Path, content: str | bytes) -> None:
    """Write a file beside its place, flush it to disk, rename it; text is UTF-8."""
    path = Path(path)
    partial = path.with_name(f".{path.name}.partial")
    with open(partial, "wb") as file:
        file.write(content.encode() if isinstance(content, str) else content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(partial, path)
    flush(path.parent)


def flush(path: str | Path) -> None:
    """Have a file or a folder's list of names on disk before going on."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
