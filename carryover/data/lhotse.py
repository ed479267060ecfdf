"""Lhotse's manifests (https://lhotse.readthedocs.io): a run's manifest written as recordings and supervisions."""

import gzip
import json
from collections.abc import Iterable, Mapping
from pathlib import Path

import soundfile

from carryover import files
from carryover.data import parts


def write(rows: Iterable[Mapping], folder: str | Path, name: str) -> tuple[int, int]:
    """Write `recordings_<name>.jsonl.gz` and `supervisions_<name>.jsonl.gz`.

    Parameters
    ----------
    rows : iterable of dict
        Of `carryover.data.manifest.load`: ID, audio, duration, language, speaker, text.
    folder : path
        Made where it is not there.
    name : str
        E.g. "train".

    Returns
    -------
    (recordings, supervisions) : (int, int)
        How many were written: a recording of several segments once.

    Raises
    ------
    ValueError
        Where a recording cannot be opened.
    """
    recordings, supervisions = {}, []
    for row in rows:
        path, part = parts.split(row["audio"])
        path = str(Path(path).resolve())
        ID = row["ID"] if part is None else Path(path).stem
        if path not in recordings:
            if any(other["id"] == ID for other in recordings.values()):
                ID = f"{ID}-{len(recordings)}"
            recordings[path] = _recording(path, ID)
        start = part[0] if part else 0.0
        duration = part[1] - part[0] if part else recordings[path]["duration"]
        channels = recordings[path]["channel_ids"]
        supervisions.append(
            {
                "id": row["ID"], "recording_id": recordings[path]["id"], "start": round(start, 6),
                "duration": round(duration, 6), "channel": channels if len(channels) > 1 else 0,
                "text": row["text"], "language": row["language"], "speaker": row["speaker"],
            }
        )  # fmt: skip
    for kind, found in (("recordings", recordings.values()), ("supervisions", supervisions)):
        text = "".join(json.dumps(one, ensure_ascii=False) + "\n" for one in found)
        files.write(Path(folder) / f"{kind}_{name}.jsonl.gz", gzip.compress(text.encode(), mtime=0))
    return len(recordings), len(supervisions)


def _recording(path: str, ID: str) -> dict:
    try:
        about = soundfile.info(path)
    except (OSError, RuntimeError) as error:
        raise ValueError(f"{path}: {error}; the file changed since its manifest was made") from error
    channels = list(range(about.channels))
    return {
        "id": ID, "sources": [{"type": "file", "channels": channels, "source": path}],
        "sampling_rate": about.samplerate, "num_samples": about.frames,
        "duration": about.frames / about.samplerate, "channel_ids": channels,
    }  # fmt: skip
