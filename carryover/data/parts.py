"""Parts of long recordings, named in place of a path: `talk.wav#t=12.5,15.25`, as the W3C's media fragments have it.

Whatever reads or checks a recording takes such a name; nothing is cut into files.
"""

import re

_PART = re.compile(r"#t=(\d+(?:\.\d+)?),(\d+(?:\.\d+)?)$")


def named(path: str, start: float, end: float) -> str:
    """Name of what lies between two times (seconds); to the millisecond and below where they are given so."""
    return f"{path}#t={_seconds(start)},{_seconds(end)}"


def _seconds(value: float) -> str:
    return f"{value:.6f}".rstrip("0").rstrip(".")


def split(audio: str) -> tuple[str, tuple[float, float] | None]:
    """Path of a recording, and (start, end) in seconds where a part of it is meant."""
    if not (found := _PART.search(audio)):
        return audio, None
    return audio[: found.start()], (float(found[1]), float(found[2]))
