"""What a run says while it trains: metrics.jsonl, train_log.txt, red flags on the screen."""

import os
import resource
import sys
from collections.abc import Mapping
from pathlib import Path

import torch
from speechbrain.utils.train_logger import FileTrainLogger
from tqdm import tqdm

from carryover import processes
from carryover.runs import energy, flags
from carryover.runs.metrics import MetricsLog
from carryover.training.progress import Progress, new_window


class RunLog:
    """Writes events, and what they show to be going wrong.

    Parameters
    ----------
    folder : str or Path
        The run's.
    tracker : object
        A dashboard (carryover.runs).
    progress : Progress
        Every event carries its `now()`.
    device_type : str
        "cpu" or "cuda": whose peak memory is logged.
    """

    def __init__(self, folder: str | Path, tracker, progress: Progress, device_type: str):
        self.metrics = MetricsLog(Path(folder) / "metrics.jsonl", tracker)
        self.text = FileTrainLogger(str(Path(folder) / "train_log.txt"))
        self.progress, self.device_type = progress, device_type
        self.monitor, self.meter = flags.Monitor(), None

    def seal(self) -> dict:
        """What a checkpoint keeps of both logs, so that a resume can continue from there."""
        text = Path(self.text.save_file)
        return self.metrics.seal() | {"train_log_size": text.stat().st_size if text.exists() else 0}

    @processes.by_the_first
    def cut_back(self, sealed: Mapping | None = None) -> int:
        """Drop what was written after a checkpoint (its `seal`; None: all), for it is made again; -> events dropped."""
        sealed = {"metrics_size": 0, "train_log_size": 0} if sealed is None else sealed
        text, size = Path(self.text.save_file), sealed.get("train_log_size")  # none of an earlier version
        if size is not None and text.exists() and text.stat().st_size > size:
            os.truncate(text, size)
        return self.metrics.truncate(sealed["metrics_size"], sealed.get("metrics_digest"))

    def begin(self, settings: dict) -> None:
        """Training begins or goes on: watch with these settings (`flags.told`), shown what the log holds so far."""
        self.meter = energy.Meter(self.device_type)
        self.monitor = flags.Monitor(**flags.told(settings))
        for event in self.metrics.events():
            self.monitor.see(event)

    def note(self, event: str, **values) -> None:
        """Write an event that no flag looks at."""
        self.metrics.write(event, **self.progress.now(), **values)

    def event(self, event: str, **values) -> None:
        """Write an event into metrics.jsonl, and what it shows to be going wrong."""
        values = self.progress.now() | values
        self.metrics.write(event, **values)
        self.flag(self.monitor.see({"event": event} | values))

    def flag(self, found: list[flags.Flag]) -> None:
        """A line for the screen and both logs, for each flag."""
        for flag in found:
            tqdm.write(flag.line)
            self.note("flag", kind=flag.kind, evidence=flag.evidence, advice=flag.advice, message=flag.line)
            self.text.log_stats(self.progress.now() | {"flag": flag.line})

    def say(self, message: str) -> None:
        """A line about the next update, for the screen and both logs."""
        tqdm.write(f"Update {self.progress.update + 1}: {message}")
        self.note("flag", message=message)
        self.text.log_stats(self.progress.now() | {"flag": message})

    def train(self, lr: float, methods: dict[str, float], penalties: dict[str, float], summary) -> dict[str, float]:
        """Write the train event of the updates since the last one; -> its terms, {} where there was no update.

        Parameters
        ----------
        lr : float
            Of the last update.
        methods, penalties : dict
            What the methods against forgetting log; those of them that are penalties on the weights.
        summary : callable
            Sums of `batch_statistics` -> what the event says of them.
        """
        progress = self.progress
        window, progress.window = progress.window, new_window()
        if not window["updates"]:
            return {}
        terms = {name: value / window["units"] for name, value in window["terms"].items()}
        values = terms | methods
        if penalties:
            values["penalty_ratio"] = sum(penalties.values()) / terms["loss"]
        values |= {"lr": lr, "grad_norm": window["grad_norm"] / window["updates"], **summary(window)}
        values["clipped"] = window["clipped"] / window["updates"]
        values |= {"skipped": progress.skipped, "data_wait_seconds": round(window["data_wait_seconds"], 3)}
        values["peak_memory_bytes"] = peak_memory_bytes(self.device_type)
        if (joules := self.meter.joules()) is not None:
            values["energy_joules"] = joules  # since the event before, validation and all
        self.event("train", **values)
        self.text.log_stats(progress.now() | {"lr": lr}, train_stats=terms)
        return terms

    def scores(self, event: str, found: dict, **labels) -> None:
        """Write a valid or test event, and a line of train_log.txt."""
        self.event(event, **labels, **found)
        kept = {key: found[key] for key in ("loss", "WER", "CER")}
        self.text.log_stats(self.progress.now() | labels, **{f"{event}_stats": kept})


def peak_memory_bytes(device_type: str) -> int:
    """Peak of allocated device memory, or on a CPU of the process's resident memory."""
    if device_type == "cuda":
        return torch.cuda.max_memory_allocated()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
