"""Recordings that predictions name, for a page: a whole file as it is, a part of a long recording as a wav."""

import io
import mimetypes
from pathlib import Path

import soundfile

from carryover.data import parts


def file(name: str) -> Path:
    """The file that a clip is, or is a part of."""
    return Path(parts.split(name)[0])


def size(name: str) -> int | None:
    """Bytes that `content` has, None where the file is no recording."""
    path, part = parts.split(name)
    try:
        about = soundfile.info(path)
    except (OSError, soundfile.LibsndfileError):
        return None
    if about.frames <= 0:
        return None
    return Path(path).stat().st_size if part is None else 44 + 2 * about.channels * len(_frames(about, part))


def content(name: str) -> tuple[bytes, str]:
    """A recording's bytes and their media type; a part is cut out, in 16 bits."""
    path, part = parts.split(name)
    if part is None:
        return Path(path).read_bytes(), mimetypes.guess_type(path)[0] or "audio/wav"
    with soundfile.SoundFile(path) as opened:
        frames = _frames(opened, part)
        opened.seek(frames.start)
        samples, buffer = opened.read(len(frames), dtype="int16"), io.BytesIO()
        soundfile.write(buffer, samples, opened.samplerate, format="WAV", subtype="PCM_16")
    return buffer.getvalue(), "audio/wav"


def _frames(about, part: tuple[float, float]) -> range:
    first, last = (min(about.frames, round(second * about.samplerate)) for second in part)
    return range(first, last)
