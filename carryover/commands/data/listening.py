"""The page of `carryover data`: clips of each split with their transcripts, to listen to. It holds the recordings."""

import base64
import hashlib
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import jinja2
import soundfile

from carryover import files
from carryover.data import audio

MEGABYTES = 20  # of sound on a page
RATE = 16000

PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; media-src data:; style-src 'unsafe-inline'">
<title>carryover data</title>
<style>body{font:1rem/1.4 sans-serif;margin:1rem auto;max-width:70rem;padding:0 1rem}table{border-collapse:collapse}
td,th{border-top:1px solid #bbb;padding:.3rem .6rem;text-align:left;vertical-align:top}.n{text-align:right}
audio{height:2rem;width:16rem}</style></head>
<body><main><h1>carryover data</h1><p>{{ note }}</p>
{% for name, rows in splits.items() %}<h2>{{ name }}</h2>
<table><thead><tr><th scope="col">why</th><th scope="col">clip</th><th scope="col" class="n">seconds</th>
<th scope="col" class="n">characters a second</th><th scope="col">ID, speaker</th><th scope="col">transcript</th>
</tr></thead>
<tbody>{% for row in rows %}<tr><td>{{ row.why }}</td>
<td>{% if row.sound %}<audio controls preload="none" aria-label="{{ row.ID }}" src="{{ row.sound }}"></audio>
{% else %}{{ row.fault }}{% endif %}</td>
<td class="n">{{ "%.2f" | format(row.duration) }}</td><td class="n">{{ "%.1f" | format(row.rate) }}</td>
<td>{{ row.ID }}<br>{{ row.speaker }}</td><td dir="auto">{{ row.text }}</td></tr>
{% endfor %}</tbody></table>{% endfor %}</main></body></html>
"""


def chosen(rows: Sequence[Mapping], clips: int) -> list[tuple[str, Mapping]]:
    """(why, row): an eighth each of the longest, shortest, fastest and slowest, and a draw by the IDs' SHA-256."""
    few = clips // 8
    by_length = sorted(rows, key=lambda row: row["duration"])
    by_rate = sorted(rows, key=_rate)
    drawn = sorted(rows, key=lambda row: hashlib.sha256(row["ID"].encode()).digest())
    ranked = [("longest", by_length[::-1][:few]), ("shortest", by_length[:few]), ("fastest", by_rate[::-1][:few]),
              ("slowest", by_rate[:few]), ("drawn", drawn)]  # fmt: skip
    found: dict[str, tuple[str, Mapping]] = {}
    for why, some in ranked:
        for row in some:
            if len(found) < clips:
                found.setdefault(row["ID"], (why, row))
    return list(found.values())


def _rate(row: Mapping) -> float:
    return len(row["text"]) / row["duration"] if row["duration"] else 0.0


def write(splits: Mapping[str, Sequence[Mapping]], path: Path, clips: int) -> str:
    """Write the page; -> what was written, in a line.

    Clips are mono flac at 16 kHz, as the models hear them; a part of a long recording is that part alone.
    """
    path = path if path.suffix else path.with_suffix(".html")
    left, sounds, shown = MEGABYTES * 10**6, 0, {}
    for name, rows in splits.items():
        shown[name] = []
        for why, row in chosen(rows, clips):
            sound, fault = _sound(row["audio"], left)
            left -= len(sound)
            sounds += bool(sound)
            about = {key: row[key] for key in ("ID", "speaker", "text", "duration")}
            shown[name].append(about | {"why": why, "rate": _rate(row), "sound": sound, "fault": fault})
    total = sum(map(len, shown.values()))
    note = f"{sounds} of {total} chosen clips can be heard; the page holds {MEGABYTES} MB of sound at most."
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    files.write(path, environment.from_string(PAGE).render(splits=shown, note=note))
    return f"Wrote {path}: {note} It holds recordings: hand it on as you would these."


def _sound(name: str, left: int) -> tuple[str, str]:
    """A clip as a data URI, and why there is none."""
    try:
        wav = audio.read(name, RATE)
    except (OSError, ValueError) as error:
        return "", str(error)
    buffer = io.BytesIO()
    soundfile.write(buffer, wav.numpy(), RATE, format="FLAC")
    sound = "data:audio/flac;base64," + base64.b64encode(buffer.getvalue()).decode()
    return (sound, "") if len(sound) <= left else ("", "the page is full")
