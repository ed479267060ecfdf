"""Transcripts as files: CSV, JSON, plain text, and subtitles (SubRip and WebVTT)."""

import csv
import html
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
        return "".join(_line(row["text"]) + "\n" for row in rows)
    mark = "," if kind == "srt" else "."
    blocks = []
    for row in rows:
        for number, (start, end, text) in enumerate(subtitles(row), 1):
            span = f"{time(start, mark)} --> {time(end, mark)}"
            text = html.escape(_line(text), quote=False) if kind == "vtt" else _line(text)  # < begins a tag there
            blocks.append((f"{number}\n" if kind == "srt" else "") + f"{span}\n{text}\n")
    return "WEBVTT\n\n" * (kind == "vtt") + "\n".join(blocks)


def _line(text: str) -> str:
    """A text as one line: a line break would end it in plain text, and an empty line a subtitle."""
    return " ".join(text.split())


def subtitles(row: dict) -> list[tuple[float, float, str]]:
    """Start, end and text of each: of the words where their times are known, else of the segments.

    Whisper may say that words take no time. No player shows a subtitle that lasts none: it goes on with the next word,
    or to the end of what was heard.
    """
    parts = row.get("segments", [row | {"end": float(row["duration"])}])
    if not all("words" in part for part in parts):
        return [(part["start"], part["end"], part["text"]) for part in parts if part["text"]]
    found = []
    for part in parts:
        groups: list[list[dict]] = []
        for word in _with_spaces(part["text"], part["words"]):
            if groups and _goes_on(groups[-1], word):
                groups[-1].append(word)
            else:
                groups.append([word])
        for words in groups:
            start, end = words[0]["start"], words[-1]["end"]
            found.append((start, end if end > start else part["end"], _joined(words)))
    return found


def _with_spaces(text: str, words: Sequence[dict]) -> list[dict]:
    """Words with what stands before each in their text, as `space`: Chinese and Thai have none between words.

    Where the text is not these words one after the other, all have a blank.
    """
    spaces = []
    for word in words:
        behind = text.lstrip()
        if not behind.startswith(word["text"]):
            spaces = [" "] * len(words)
            break
        spaces.append(text[: len(text) - len(behind)])
        text = behind[len(word["text"]) :]
    return [word | {"space": space} for word, space in zip(words, spaces, strict=True)]


def _joined(words: Sequence[dict]) -> str:
    return "".join(word["space"] + word["text"] for word in words).strip()


def _goes_on(words: list[dict], word: dict) -> bool:
    """Whether a word belongs to the subtitle of those before it."""
    if words[-1]["end"] <= words[0]["start"]:
        return True
    short = len(_joined([*words, word])) <= CHARACTERS and word["end"] - words[0]["start"] <= LONGEST
    return short and word["start"] - words[-1]["end"] < PAUSE


def time(seconds: float, mark: str = ",") -> str:
    """Seconds as hours:minutes:seconds and milliseconds after `mark`: 00:01:02,500."""
    milliseconds = round(1000 * seconds)
    minutes, rest = divmod(milliseconds, 60_000)
    return f"{minutes // 60:02d}:{minutes % 60:02d}:{rest // 1000:02d}{mark}{rest % 1000:03d}"
