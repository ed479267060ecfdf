"""Transcripts of recordings without a text, by the best weights of a run."""

import itertools
from collections.abc import Iterable, Sequence
from pathlib import Path

import torch
from speechbrain import Stage
from speechbrain.utils.data_pipeline import DynamicItem
from tqdm import tqdm

from carryover.data import audio_kinds, speech_segments
from carryover.data.audio import ENDINGS
from carryover.data.limits import Limits
from carryover.data.table import found_at
from carryover.data.utterance import Utterance

NO_RECORDING = "no recording"  # of what stands beside recordings: said, but no fault


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
        audio, duration (seconds) and text of each recording that was transcribed, in the order of `files`.
    refused : dict
        Reason by file.
    """
    utterances, refused = [], {}
    for path in tqdm(files, desc="Checking", unit="file", delay=2):
        try:
            seconds = _seconds(brain, path)
        except ValueError as error:
            refused[path] = str(error)
            continue
        utterance = Utterance(str(path), str(path), language, "", "", "", seconds)
        if reason := limits.recording(utterance):
            refused[path] = reason
        else:
            utterances.append(utterance)

    if not utterances:
        return [], refused
    loader = _batches(brain, [(u, u.audio) for u in utterances], brain.recording(), batch_size, workers)
    said = _heard(brain, tqdm(loader, desc="Transcribing", unit="batch"))
    rows = [{"audio": u.audio, "duration": f"{u.duration:.2f}", "text": said[u.ID]} for u in utterances]
    return rows, refused


def transcribe_speech(
    brain, limits: Limits, files: Sequence[Path], language: str, batch_size: int
) -> tuple[list[dict], dict[Path, str]]:
    """What a model hears where somebody speaks in recordings of any length, see `carryover.data.speech_segments`.

    Parameters and results as of `transcribe`; a row has `segments` too, a list of {start, end, text} in seconds. A
    recording in which nobody speaks has none, and an empty text.

    Raises
    ------
    ValueError
        For a recipe that does not hear.
    """
    if brain.endings != ENDINGS:
        raise ValueError("--vad: this recipe reads no audio, so there is no speech to be found in it")
    piece = DynamicItem(["piece"], lambda piece: piece, ["wav"])
    rows, refused = [], {}
    for path in tqdm(files, desc="Transcribing", unit="file"):
        try:
            seconds = _seconds(brain, path)
        except ValueError as error:
            refused[path] = str(error)
            continue
        segments: list[dict] = []
        found = speech_segments.find(str(path), limits.longest)
        while batch := list(itertools.islice(found, batch_size)):
            pairs = []
            for segment in batch:
                ID, span = f"{len(segments) + len(pairs)}", segment.end - segment.start
                pairs.append((Utterance(ID, str(path), language, "", "", "", span), segment.wav))
            said = _heard(brain, _batches(brain, pairs, piece, batch_size))
            segments += [
                {"start": segment.start, "end": segment.end, "text": said[utterance.ID]}
                for segment, (utterance, _) in zip(batch, pairs, strict=True)
            ]
        text = " ".join(segment["text"] for segment in segments if segment["text"])
        rows.append({"audio": str(path), "duration": f"{seconds:.2f}", "text": text, "segments": segments})
    return rows, refused


def _seconds(brain, path: Path) -> float:
    """Length of a recording.

    Raises
    ------
    ValueError
        The reason to refuse it.
    """
    if audio_kinds.beside(path) and path.suffix.lower() not in brain.endings:
        raise ValueError(f"{NO_RECORDING}: a file with the ending '{path.suffix or path.name}'")
    return brain.inspect(str(path))[0]


def _batches(brain, recordings: Sequence[tuple[Utterance, object]], item, batch_size: int, workers: int = 0):
    """Batches of recordings of similar length, the longest first: where memory is short, that shows at once.

    `item` of the reading pipeline opens what stands beside each utterance: its path, or its samples.
    """
    brain.modules.eval()
    (name,) = item.takes
    data = {
        u.ID: {name: recording, "language": u.language, "row": vars(u) | {"id": u.ID}}
        for u, recording in sorted(recordings, key=lambda pair: -pair[0].duration)
    }
    dataset = brain.dataset(data, [item])
    return brain.make_dataloader(dataset, Stage.TEST, ckpt_prefix=None, batch_size=batch_size, num_workers=workers)


def _heard(brain, loader) -> dict[str, str]:
    """Text by ID."""
    said: dict[str, str] = {}
    for batch in loader:
        with torch.no_grad(), brain.evaluation_ctx:
            said.update(zip(batch.id, brain.hear(batch.to(brain.device)), strict=True))
    return said
