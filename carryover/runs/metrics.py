"""What a run logs: `metrics.jsonl` (one JSON event a line, what every tool reads) and, if wished, a dashboard."""

import importlib.util
import json
import math
import os
from pathlib import Path


class MetricsLog:
    """Appends events to `metrics.jsonl`, whole lines only, and passes them on to a tracker.

    Parameters
    ----------
    path : path
        The file.
    tracker : object with `log(event: dict)`
        TensorBoard, WandB or NoTracker.
    """

    EVENTS = ("run", "train", "valid", "test", "fisher", "checkpoint", "flag", "resume", "end")

    def __init__(self, path: str | Path, tracker):
        self.path, self.tracker = Path(path), tracker
        self.path.parent.mkdir(parents=True, exist_ok=True)

    def write(self, event: str, **values) -> None:
        """Append one event. Non-finite numbers are written as strings ("nan", "inf"): JSON has none."""
        assert event in self.EVENTS, event
        values = _finite({"event": event} | values)
        line = (json.dumps(values, ensure_ascii=False, allow_nan=False) + "\n").encode()
        file = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            os.write(file, line)  # one call: a reader or a kill sees the line whole or not at all
        finally:
            os.close(file)
        self.tracker.log(values)

    def size(self) -> int:
        """Bytes written so far: a checkpoint keeps it, so that a resume can continue from there."""
        return self.path.stat().st_size if self.path.exists() else 0

    def truncate(self, size: int) -> int:
        """Drop what was logged after a checkpoint, for it will be computed again; returns the lines dropped."""
        if self.size() <= size:
            return 0
        with open(self.path, "r+b") as file:
            file.seek(size)
            dropped = file.read().count(b"\n")
            file.truncate(size)
        return dropped

    def events(self) -> list[dict]:
        """All whole events of the file, in order."""
        if not self.path.exists():
            return []
        lines = self.path.read_bytes().split(b"\n")[:-1]  # bytes: a half-written line can end within a letter
        return [json.loads(line) for line in lines]


class NoTracker:
    """No dashboard: metrics.jsonl and train_log.txt alone."""

    def log(self, event: dict) -> None:
        pass


class TensorBoard:
    """Numbers of train, valid and test events as TensorBoard scalars, `tensorboard --logdir RUN/tensorboard`."""

    def __init__(self, folder: str):
        self.folder, self.writer = folder, None

    def log(self, event: dict) -> None:
        if self.writer is None:  # made with the first event, so that reading a run's YAML writes nothing
            from torch.utils.tensorboard import SummaryWriter

            self.writer = SummaryWriter(self.folder)
        for tag, value in scalars(event).items():
            self.writer.add_scalar(tag, value, event["update"])
        self.writer.flush()


class WandB:
    """The same numbers at Weights & Biases; needs `pip install wandb` and a login, or mode="offline".

    Parameters
    ----------
    **options
        Passed to `wandb.init` (project, name, mode, dir, ...).
    """

    def __init__(self, **options):
        if importlib.util.find_spec("wandb") is None:
            raise ImportError("tracker: WandB needs the package wandb: pip install -e '.[wandb]'")
        self.options, self.run = options, None

    def log(self, event: dict) -> None:
        if self.run is None:
            import wandb

            self.run = wandb.init(**self.options)
        if values := scalars(event):
            self.run.log(values, step=event["update"])


def _finite(value):
    """The same value with "nan", "inf" and "-inf" for the floats that JSON has no number for, at any depth."""
    if isinstance(value, dict):
        return {key: _finite(v) for key, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(v) for v in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def scalars(event: dict) -> dict[str, float]:
    """The plottable numbers of an event as {"valid_de/WER": 12.3}; empty for events that carry no curve."""
    if event["event"] not in ("train", "valid", "test"):
        return {}
    prefix = "_".join(str(event[key]) for key in ("event", "language") if key in event)
    return {
        f"{prefix}/{key}": value
        for key, value in event.items()
        if key not in ("update", "epoch", "time") and isinstance(value, (int, float))
    }
