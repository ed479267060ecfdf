"""What libsndfile does not read (m4a, mp4, webm, wma, amr), decoded by the program ffmpeg where it is installed."""

import io
import shutil
import subprocess
from functools import lru_cache

KINDS = ((4, b"ftyp"), (0, b"\x1aE\xdf\xa3"), (0, b"\x30\x26\xb2\x75"), (0, b"#!AMR"))  # place and first bytes
SECONDS = 600  # after which a decoder that hangs is stopped


@lru_cache(maxsize=1)
def program() -> str | None:
    """Path of ffmpeg, None where there is none."""
    return shutil.which("ffmpeg")


def needed(path: str) -> bool:
    """Whether a file is of a kind that ffmpeg alone reads, by its first bytes."""
    with open(path, "rb") as file:
        first = file.read(16)
    return any(first[place:].startswith(sign) for place, sign in KINDS)


def source(path: str, part: tuple[float, float] | None = None) -> str | io.BytesIO:
    """What soundfile opens for a recording: its path, or what ffmpeg decodes of it (then of the part alone)."""
    return io.BytesIO(wav(path, part)) if program() and needed(path) else path


def wav(path: str, part: tuple[float, float] | None = None) -> bytes:
    """A recording, or a part of it (seconds), as the bytes of a wav file of float samples at its own rate.

    Raises
    ------
    ValueError
        Where ffmpeg is not installed, or cannot decode the file to its end.
    """
    if program() is None:
        raise ValueError("audio needs ffmpeg, which is not installed: install it, or convert the file first")
    # behind -i: decoded from the beginning and exact; before it, 192 samples of 12 000 were lost
    span = ["-ss", str(part[0]), "-t", str(part[1] - part[0])] if part else []
    # file:, for a name such as concat:... would be another protocol
    command = [program(), "-nostdin", "-v", "error", "-xerror", "-i", f"file:{path}", "-map", "0:a:0", *span]
    try:
        done = subprocess.run(
            [*command, "-c:a", "pcm_f32le", "-f", "wav", "pipe:1"], capture_output=True, timeout=SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        raise ValueError(f"audio cannot be read: ffmpeg did not end in {SECONDS} s") from None
    if done.returncode or done.stderr:
        said = " ".join(done.stderr.decode(errors="replace").replace(path, "the file").split())[-200:]
        raise ValueError(f"audio cannot be read: ffmpeg says {said or done.returncode}")
    return done.stdout
