"""States of frozen models on disk: safetensors files of up to 64 MB, mapped into memory, shared by all runs.

    FOLDER/<kind>-<digest of what made them>/about.json               weights, settings, versions, precision
                                             <digest of names>.safetensors

FOLDER is $CARRYOVER_CACHE, else ~/.cache/carryover. A file is written beside and renamed, under a name that says what
is in it: two runs that write at once write the same. What cannot be read, trusted or written is computed instead.
"""

import errno
import hashlib
import json
import os
import shutil
import time
import zlib
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from tqdm import tqdm

from carryover import files

SHARD = 64e6  # bytes of a file
RESERVE = 1e9  # bytes of the disk that are left to checkpoints
ABOUT = "about.json"


def root() -> Path:
    """The folder of all kept states."""
    return Path(os.environ.get("CARRYOVER_CACHE") or Path.home() / ".cache" / "carryover").expanduser()


@dataclass
class Kind:
    """Kept states of one frozen model, as `carryover cache` lists them."""

    folder: Path
    about: dict
    shards: list[Path]

    @property
    def bytes(self) -> int:
        return sum(size(path) for path in self.shards)

    @property
    def used(self) -> float:
        """When states of it were last read or written, seconds since 1970."""
        return max((used(path) for path in self.shards), default=0.0)


def kinds(folder: Path) -> list[Kind]:
    """What lies in the folder of all kept states, what was used last first."""
    found = []
    for about in folder.glob(f"*/{ABOUT}"):
        try:
            said = json.loads(about.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            said = {}
        found.append(Kind(about.parent, said, shards(about.parent)))
    return sorted(found, key=lambda kind: -kind.used)


def shards(folder: Path) -> list[Path]:
    """Whole files of states below a folder."""
    return [path for path in folder.rglob("*.safetensors") if not path.name.startswith(".")]


def size(path: Path) -> int:
    """Bytes of a file; 0 once another process has removed it."""
    try:
        return path.stat().st_size
    except OSError:
        return 0


def used(path: Path) -> float:
    """When a file of states was last used: its time is set when a process first reads from it."""
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


class Store:
    """Tensors of one frozen model by name.

    Parameters
    ----------
    folder : Path
        Of all kept states.
    about : dict
        All that decides a tensor besides its input: weights, settings, versions, precision. Its digest is the key.
    limit : float
        Bytes that all kept states together may take. What was not used for longest is removed first, but nothing that
        this process has used: to remove the oldest of its own would remove, in every epoch, what is asked for next.

    Attributes
    ----------
    full : str
        Why nothing more is kept, "" while it is.
    """

    def __init__(self, folder: Path, about: dict, limit: float):
        self.root, self.about, self.limit = folder, about, limit
        self.key = hashlib.blake2b(json.dumps(about, sort_keys=True).encode(), digest_size=12).hexdigest()
        self.folder = folder / f"{about['kind']}-{self.key}"
        self.full = ""
        self._where: dict[str, tuple[Path, int]] = {}  # file and checksum
        self._files: dict[Path, safe_open] = {}
        self._pending: dict[str, torch.Tensor] = {}
        self._mine: set[Path] = set()  # files that this process has read or written
        self._checked: set[str] = set()
        self._seen = None

    # ---- reading ----

    def get(self, name: str) -> torch.Tensor | None:
        """A tensor of this process's or another's, mapped from its file; None where there is none that is whole."""
        if (found := self._pending.get(name)) is not None:
            return found
        if name not in self._where:
            self._look()
        if name not in self._where:
            return None
        path, checksum = self._where[name]
        tensor = self._files[path].get_tensor(name)
        if name not in self._checked:  # once a process: a bit that the disk has lost would be a wrong number
            if crc(tensor) != checksum:
                self._drop(path, "its checksum is wrong")
                return None
            self._checked.add(name)
        if path not in self._mine:
            self._mine.add(path)
            touch(path)
        return tensor

    def _look(self) -> None:
        """Open the files that were written since the last look, by whatever process."""
        try:
            now = self.folder.stat().st_mtime_ns
        except OSError:
            return
        if now == self._seen:
            return
        self._seen = now
        for path in shards(self.folder):
            if path not in self._files:
                self._open(path)

    def _open(self, path: Path) -> None:
        try:
            file = safe_open(path, framework="pt")
            said = file.metadata() or {}
            checksums = json.loads(said.get("checksums", "{}"))
            if said.get("key") != self.key or set(checksums) != set(file.keys()):
                raise ValueError("it is of another model or other settings")
        except FileNotFoundError:
            return
        except (SafetensorError, OSError, ValueError) as error:
            return self._drop(path, str(error))
        self._files[path] = file
        self._where |= {name: (path, checksum) for name, checksum in checksums.items()}

    def _drop(self, path: Path, why: str) -> None:
        tqdm.write(f"Kept states: {path} is removed and computed again: {why}")
        self._files.pop(path, None)
        self._where = {name: where for name, where in self._where.items() if where[0] != path}
        self._mine.discard(path)
        try:
            path.unlink(missing_ok=True)
        except OSError:
            self._stop(f"{path} is damaged and cannot be removed")

    # ---- writing ----

    def put(self, name: str, tensor: torch.Tensor) -> None:
        """Keep a tensor (on the CPU); it is on the disk after `flush`."""
        if self.full:
            return
        self._pending[name] = tensor.contiguous().clone()  # a slice would keep the whole window's memory
        if sum(t.nbytes for t in self._pending.values()) >= SHARD:
            self.flush()

    def flush(self) -> None:
        """Write what is pending; where that cannot be, nothing more is kept."""
        pending, self._pending = self._pending, {}
        if not pending or self.full:
            return
        name = hashlib.blake2b("".join(sorted(pending)).encode(), digest_size=12).hexdigest()
        path = self.folder / f"{name}.safetensors"
        said = {"key": self.key, "checksums": json.dumps({name: crc(tensor) for name, tensor in pending.items()})}
        try:
            self._make_room(sum(tensor.nbytes for tensor in pending.values()))
            if self.full:
                return
            if not (self.folder / ABOUT).is_file():
                self.root.mkdir(parents=True, exist_ok=True)
                self.folder.mkdir(mode=0o700, exist_ok=True)  # what a model hears can tell what was said
                files.write_json(self.folder / ABOUT, self.about)
            with files.beside(path) as partial:
                save_file(pending, partial, metadata=said)
            self._open(path)
            self._mine.add(path)
        except (OSError, SafetensorError) as error:
            full = getattr(error, "errno", None) == errno.ENOSPC or "No space left" in str(error)
            self._stop("the disk is full" if full else str(error))

    def _make_room(self, wanted: int) -> None:
        """Remove files that were not used for longest until `wanted` bytes fit; `full` is set where they cannot."""
        for left in self.root.rglob(f".*{files.PARTIAL}*"):  # of a process that was killed while it wrote
            if time.time() - used(left) > 3600:
                left.unlink(missing_ok=True)
        present = sorted(shards(self.root), key=used)
        total = sum(map(size, present))
        while total + wanted > self.limit:
            oldest = next((path for path in present if path not in self._mine), None)
            if oldest is None:
                return self._stop(f"their limit of {said_bytes(self.limit)} is reached; raise `limit` under kept")
            present.remove(oldest)
            total -= size(oldest)
            oldest.unlink(missing_ok=True)
            if not shards(oldest.parent):
                files.remove_folder(oldest.parent)
        if self.free() < wanted + RESERVE:
            self._stop(f"the disk of {self.root} is full but for {said_bytes(RESERVE)}, left to checkpoints")

    def free(self) -> float:
        """Bytes that the disk has left."""
        there = next(folder for folder in (self.root, *self.root.parents) if folder.is_dir())
        return shutil.disk_usage(there).free

    def _stop(self, why: str) -> None:
        self.full = why
        tqdm.write(
            f"Kept states: nothing more is kept, {why}. What is not kept is computed whenever it is asked for, with "
            "the same numbers; `carryover cache` lists what is kept, CARRYOVER_CACHE names another folder"
        )

    # ---- sets that are kept whole ----

    def is_filled(self, what: str) -> bool:
        """Whether `mark_filled` was called for a set."""
        return (self.folder / f"{what}.filled").is_file()

    def mark_filled(self, what: str) -> None:
        """Note that a set is kept whole, so that the next run need not go through it."""
        if not self.full and self.folder.is_dir():
            try:
                files.write(self.folder / f"{what}.filled", "")
            except OSError as error:
                self._stop(str(error))


def touch(path: Path) -> None:
    """Set a file's time to now, where that is allowed."""
    try:
        os.utime(path, (time.time(), time.time()))
    except OSError:
        pass


def crc(tensor: torch.Tensor) -> int:
    """CRC-32 of a tensor's bytes and shape."""
    return zlib.crc32(tensor.contiguous().view(torch.uint8).numpy(), zlib.crc32(str(tuple(tensor.shape)).encode()))


def said_bytes(n: float) -> str:
    """E.g. "6.1 GB"."""
    return f"{n / 1e9:.1f} GB" if n >= 1e8 else f"{n / 1e6:.1f} MB"
