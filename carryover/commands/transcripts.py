"""Transcripts as files: CSV, JSON, plain text, and subtitles (SubRip and WebVTT)."""

import csv
import io
import json
from collections.abc import Sequence

FORMATS = ("csv", "json", "txt", "srt", "vtt")
TIMED = ("srt", "vtt")  # which need segments


def written(rows: Sequence[dict], kind: str) -> str:
    """Rows of `carryover.commands.transcription` in one of `FORMATS`.

    CSV and JSON hold all recordings; of the others the text of one after the other, each from time 0.
    """
    if kind == "csv":
        text = io.StringIO()
        writer = csv.DictWriter(text, ["audio", "duration", "text"], extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)
        return text.getvalue()
    if kind == "json":
        return json.dumps(list(rows), ensure_ascii=False, indent=1) + "\n"
    if kind == "txt":
        return "".join(row["text"] + "\n" for row in rows)
    mark = "," if kind == "srt" else "."
    blocks = []
    for row in rows:
        spoken = [segment for segment in row["segments"] if segment["text"]]
        for number, segment in enumerate(spoken, 1):
            span = f"{time(segment['start'], mark)} --> {time(segment['end'], mark)}"
            blocks.append((f"{number}\n" if kind == "srt" else "") + f"{span}\n{segment['text']}\n")
    return "WEBVTT\n\n" * (kind == "vtt") + "\n".join(blocks)


def time(seconds: float, mark: str = ",") -> str:
    """Seconds as hours:minutes:seconds and milliseconds after `mark`: 00:01:02,500."""
    milliseconds = round(1000 * seconds)
    minutes, rest = divmod(milliseconds, 60_000)
    return f"{minutes // 60:02d}:{minutes % 60:02d}:{rest // 1000:02d}{mark}{rest % 1000:03d}"
