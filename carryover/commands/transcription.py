"""Transcripts of recordings without a text, by the best weights of a run."""

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path

import torch
from speechbrain import Stage
from torch.utils.data import DataLoader
from tqdm import tqdm

from carryover.data import audio_kinds
from carryover.data.limits import Limits
from carryover.data.table import found_at
from carryover.data.utterance import Utterance

NO_RECORDING = "no recording"  # of what stands beside recordings: said, but no fault
COLUMNS = ("audio", "duration", "text")


def find(paths: Iterable[str | Path], endings: Sequence[str]) -> list[Path]:
    """Files as they are given, and all that lies below folders, in alphabetical order, each once.

    Whatever a folder holds is accounted for: what is no recording is refused by `transcribe`, with its reason.

    Raises
    ------
    FileNotFoundError
        For a path that is not there, and a folder without a recording.
    """
    files = []
    for path in map(Path, paths):
        if not path.exists():
            raise FileNotFoundError(f"{path}: {found_at(path)}; expected a recording or a folder of recordings")
        below = [path] if not path.is_dir() else sorted(p for p in path.rglob("*") if not _is_folder(p, endings))
        if not any(p.suffix.lower() in endings or not audio_kinds.beside(p) for p in below):
            raise FileNotFoundError(f"{path}: {found_at(path)}; expected recordings: {', '.join(endings)}")
        files += below
    return list(dict.fromkeys(files))


def _is_folder(path: Path, endings: Sequence[str]) -> bool:
    """A folder that is not named like a recording; its files are found by themselves."""
    return path.is_dir() and path.suffix.lower() not in endings


def transcribe(
    brain, limits: Limits, files: Sequence[Path], language: str, batch_size: int, workers: int = 0
) -> tuple[list[dict], dict[Path, str]]:
    """What a model hears in each recording.

    Parameters
    ----------
    brain : carryover.training.brain.RecipeBrain
        With the weights to be used loaded.
    limits : Limits
        The recipe's; `limits.recording(utterance)` is the reason to refuse a recording, or None.
    files : sequence of path
    language : str
        What is spoken, for a model whose prompt says so.
    batch_size : int
        Recordings at a time, of similar length.
    workers : int
        Processes that read.

    Returns
    -------
    rows : list of dict
        `COLUMNS` of each recording that was transcribed, in the order of `files`.
    refused : dict
        Reason by file.
    """
    utterances, refused = [], {}
    for path in tqdm(files, desc="Checking", unit="file", delay=2):
        try:
            if audio_kinds.beside(path) and path.suffix.lower() not in brain.endings:
                raise ValueError(f"{NO_RECORDING}: a file with the ending '{path.suffix or path.name}'")
            seconds, *_ = brain.inspect(str(path))
        except ValueError as error:
            refused[path] = str(error)
            continue
        utterance = Utterance(str(path), str(path), language, "", "", "", seconds)
        if reason := limits.recording(utterance):
            refused[path] = reason
        else:
            utterances.append(utterance)

    said: dict[str, str] = {}
    if not utterances:
        return [], refused
    for batch in tqdm(_batches(brain, utterances, batch_size, workers), desc="Transcribing", unit="batch"):
        with torch.no_grad(), brain.evaluation_ctx:
            said.update(zip(batch.id, brain.hear(batch.to(brain.device)), strict=True))
    rows = [{"audio": u.audio, "duration": f"{u.duration:.2f}", "text": said[u.ID]} for u in utterances]
    return rows, refused


def _batches(brain, utterances: Sequence[Utterance], batch_size: int, workers: int) -> DataLoader:
    """Batches of recordings of similar length, the longest first: where memory is short, that shows at once."""
    brain.modules.eval()
    data = {
        u.ID: {"audio": u.audio, "language": u.language, "row": vars(u) | {"id": u.ID}}
        for u in sorted(utterances, key=lambda u: -u.duration)
    }
    dataset = brain.dataset(data, [brain.recording()])
    return brain.make_dataloader(dataset, Stage.TEST, ckpt_prefix=None, batch_size=batch_size, num_workers=workers)


def write(rows: Sequence[dict], file) -> None:
    """Write rows as CSV, columns `COLUMNS`."""
    writer = csv.DictWriter(file, COLUMNS)
    writer.writeheader()
    writer.writerows(rows)
