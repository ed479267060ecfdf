"""Transcripts as files: CSV, JSON, plain text, and subtitles (SubRip and WebVTT)."""

import csv
import io
import json
from collections.abc import Sequence

FORMATS = ("csv", "json", "txt", "srt", "vtt")
SUBTITLES = ("srt", "vtt")  # which need times: of segments or words
PAUSE, LONGEST, CHARACTERS = 0.5, 6.0, 84  # between two subtitles of words, in one, seconds; two lines of 42


def written(rows: Sequence[dict], kind: str) -> str:
    """Rows of `carryover.commands.transcription` in one of `FORMATS`.

    CSV and JSON hold all recordings; of the others the text of one after the other, each from time 0.
    """
    if kind == "csv":
        text = io.StringIO()
        detected = ["language"] * any("language" in row for row in rows)
        writer = csv.DictWriter(text, ["audio", "duration", *detected, "text"], extrasaction="ignore")
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
        for number, (start, end, text) in enumerate(subtitles(row), 1):
            span = f"{time(start, mark)} --> {time(end, mark)}"
            blocks.append((f"{number}\n" if kind == "srt" else "") + f"{span}\n{text}\n")
    return "WEBVTT\n\n" * (kind == "vtt") + "\n".join(blocks)


def subtitles(row: dict) -> list[tuple[float, float, str]]:
    """Start, end and text of each: of the words where their times are known, else of the segments."""
    parts = row.get("segments", [row])
    if not all("words" in part for part in parts):
        return [(part["start"], part["end"], part["text"]) for part in parts if part["text"]]
    found: list[list[dict]] = []
    for part in parts:
        for number, word in enumerate(part["words"]):
            if number and _goes_on(found[-1], word):
                found[-1].append(word)
            else:
                found.append([word])
    return [(words[0]["start"], words[-1]["end"], " ".join(word["text"] for word in words)) for words in found]


def _goes_on(words: list[dict], word: dict) -> bool:
    """Whether a word belongs to the subtitle of those before it."""
    text = " ".join(one["text"] for one in (*words, word))
    short = len(text) <= CHARACTERS and word["end"] - words[0]["start"] <= LONGEST
    return short and word["start"] - words[-1]["end"] < PAUSE


def time(seconds: float, mark: str = ",") -> str:
    """Seconds as hours:minutes:seconds and milliseconds after `mark`: 00:01:02,500."""
    milliseconds = round(1000 * seconds)
    minutes, rest = divmod(milliseconds, 60_000)
    return f"{minutes // 60:02d}:{minutes % 60:02d}:{rest // 1000:02d}{mark}{rest % 1000:03d}"
