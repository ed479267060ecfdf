"""Writes `metrics.jsonl`: one JSON event a line, as carryover.runs.events has them."""

import errno
import json
import math
import os
from pathlib import Path

from carryover import processes, seals
from carryover.files import system_errors
from carryover.runs import events


class MetricsLog:
    """Appends events to `metrics.jsonl`, whole lines only, and passes them on to a tracker.

    Parameters
    ----------
    path : path
        The file.
    tracker : object with `log(event: dict)`
        See carryover.runs.trackers.
    """

    def __init__(self, path: str | Path, tracker):
        self.path, self.tracker = Path(path), tracker
        self.path.parent.mkdir(parents=True, exist_ok=True)

    def write(self, event: str, **values) -> None:
        """Append one event. Non-finite numbers are written as strings ("nan", "inf"): JSON has none.

        Raises
        ------
        ValueError
            When the event is not as the schema has it; nothing is written then.
        OSError
            When the disk is full; nothing is written then.
        """
        events.check(event, values)
        if not processes.is_first():
            return
        values = _finite({"event": event} | values)
        line = (json.dumps(values, ensure_ascii=False, allow_nan=False) + "\n").encode()
        with system_errors(self.path):
            self._append(line, durable=event == "checkpoint")  # the disk has the lines before the checkpoint
        self.tracker.log(values)

    def _append(self, line: bytes, durable: bool) -> None:
        file = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            # one call: a reader or a kill sees the line whole or not at all
            if (n := os.write(file, line)) < len(line):  # a disk that is nearly full takes a part and says nothing
                os.ftruncate(file, os.fstat(file).st_size - n)
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.path))
            if durable:
                os.fsync(file)
        finally:
            os.close(file)

    def size(self) -> int:
        """Bytes written so far: a checkpoint keeps it, so that a resume can continue from there."""
        return self.path.stat().st_size if self.path.exists() else 0

    def seal(self) -> dict:
        """What a checkpoint keeps of the log as it is: its size, and a digest."""
        digest = seals.file_digest(self.path) if self.path.exists() else None
        return {"metrics_size": self.size(), "metrics_digest": digest}

    @processes.by_the_first
    def truncate(self, size: int, digest: str | None = None) -> int:
        """Drop what was logged after a checkpoint, for it will be computed again; returns the lines dropped.

        What is before it, and has another digest than at the checkpoint, is said.
        """
        if digest is not None and self.size() >= size and digest != seals.file_digest(self.path, size):
            print(f"{self.path} was changed since the checkpoint was made: what reads this log sees other numbers")
        if self.size() < size:
            print(
                f"{self.path} has {self.size()} bytes, but {size} were there at the checkpoint: lines are lost, and "
                "what reads this log will not see them"
            )
            self._cut_half_line()
        if self.size() <= size:
            return 0
        with open(self.path, "r+b") as file:
            file.seek(size)
            dropped = file.read().count(b"\n")
            file.truncate(size)
        return dropped

    def _cut_half_line(self) -> None:
        """Take off what stands behind the last line end: the next event would be glued to it, and neither be read."""
        if self.path.exists():
            with open(self.path, "r+b") as file:
                file.truncate(file.read().rfind(b"\n") + 1)

    def events(self) -> list[dict]:
        """All whole events of the file, in order."""
        return events.read(self.path) if self.path.exists() else []


def _finite(value):
    """The same value with "nan", "inf" and "-inf" for the floats that JSON has no number for, at any depth."""
    if isinstance(value, dict):
        return {key: _finite(v) for key, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(v) for v in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
