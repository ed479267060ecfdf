"""Folders of corpora that make their own files (synthetic_sign.py, fingerspelling.py): made once, and whole."""

import hashlib
import json
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from carryover import files


def make_once(target: Path, settings: dict, make: Callable[[Path], None]) -> str:
    """Fill a folder, unless it is there already and was made with the same settings; -> digest of its files.

    It is filled under another name and gets its own, with a marker `.done`, when it is complete: a killed process
    leaves no half corpus, and the old folder stays until the new one is there.

    Parameters
    ----------
    target : Path
        E.g. data/synthetic_sign/train.
    settings : dict
        All that the files depend on, JSON-serialisable.
    make : callable
        Writes the files into the folder it is given.
    """

    def done() -> dict | None:
        marker = target / ".done"
        return json.loads(marker.read_text(encoding="utf-8")) if marker.exists() else None

    settings = json.loads(json.dumps(settings))
    if (found := done()) and found["settings"] == settings:
        return found["sha256"]
    if found:
        print(f"{target} was made with other settings; making it again")
    target.parent.mkdir(parents=True, exist_ok=True)
    for litter in target.parent.glob(".making-*"):  # of a killed process; an hour leaves others that run now alone
        if time.time() - litter.stat().st_mtime > 3600:
            shutil.rmtree(litter, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=".making-", dir=target.parent) as temporary:
        made = Path(temporary) / target.name
        made.mkdir()
        make(made)
        sha = hashlib.sha256()
        for file in sorted(made.iterdir()):
            sha.update(f"{file.name} {hashlib.sha256(file.read_bytes()).hexdigest()}\n".encode())
        marker = {"settings": settings, "sha256": sha.hexdigest()}
        files.write_json(made / ".done", marker)
        if done() == marker:  # another process was faster, and may be reading its files
            return sha.hexdigest()
        if target.exists():  # removed under another name, so that no half-removed folder keeps its marker
            target.rename(Path(temporary) / "old")
        made.rename(target)
    return sha.hexdigest()
