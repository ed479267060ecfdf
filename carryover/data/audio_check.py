"""Whether a recording can be used: it is decoded to its end, and compared to what its header promises."""

import hashlib
import io
import os
from pathlib import Path
from typing import NamedTuple

import soundfile

from carryover.data import audio_kinds, ffmpeg, parts
from carryover.data.samples import Samples

RATES = (1000, 768_000)  # Hz; what lies outside is a broken header
SHORTEST = 0.02  # seconds; no sound of speech is shorter


class Inspected(NamedTuple):
    """What a file holds: seconds, form, SHA-256 of its bytes (of a part of one: of its samples), and what to know of
    it though it can be used."""

    duration: float
    form: str
    sha256: str
    remark: str | None = None


def inspect(path: str) -> Inspected:
    """Decode a file and say how long it really is.

    Decoding is the only honest test: a truncated wav opens without complaint, and a text file named .wav fails
    only in the middle of an epoch.

    Returns
    -------
    (duration, form, sha256, remark) : Inspected
        Seconds; "16000 Hz x 1" (sampling rate x channels); digest of the file's bytes; clipping and the like, or None.

    Raises
    ------
    ValueError
        With the reason in one line, when the file is missing, empty, unreadable, shorter than its header says, silent,
        or holds samples that are no numbers.
    """
    path, part = parts.split(path)
    _require_file(Path(path))
    if part:
        return _inspect_part(path, part)
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise ValueError(f"audio cannot be opened: {error.strerror}") from error
    sha, converted = hashlib.sha256(data).hexdigest(), False
    if ffmpeg.program() and ffmpeg.needed(path):
        data, converted = ffmpeg.wav(path), True
    try:
        with soundfile.SoundFile(io.BytesIO(data)) as file:
            promised = _promised_frames(data, file)
            # not file.blocks(): it yields full blocks of stale samples past the end of a cut mp3
            samples = Samples()
            frames = sum(iter(lambda: samples.add(file.read(1 << 16, dtype="float32", always_2d=True)), 0))
            rate, channels = file.samplerate, file.channels
    except soundfile.LibsndfileError as error:  # its str() holds a memory address, which differs in every run
        cut = _cut_ogg(data) if data[:4] == b"OggS" else None
        known = f"audio is truncated: {cut}" if cut else audio_kinds.said(Path(path), data)
        raise ValueError(known or f"audio cannot be read: {error.error_string}") from error
    if data[:4] == b"OggS" and (cut := _cut_ogg(data)):
        raise ValueError(f"audio is truncated: {cut}")
    if frames == 0:
        lost = " though the file has more: its header was never finished" if len(data) > 4096 else ""
        raise ValueError(f"audio is empty (0 samples){lost}")
    if frames < promised:
        raise ValueError(f"audio is truncated: {frames} of {promised} samples that its header promises")
    return _found(samples, rate, channels, sha, ", by ffmpeg" if converted else "")


def _found(samples: Samples, rate: int, channels: int, sha: str, how: str = "") -> Inspected:
    """What samples are found to be, or ValueError where they cannot be used."""
    if not RATES[0] <= rate <= RATES[1]:
        raise ValueError(f"audio has an impossible sampling rate: {rate} Hz; expected {RATES[0]} to {RATES[1]}")
    if samples.frames / rate < SHORTEST:
        raise ValueError(f"audio is too short: {samples.frames / rate:.4f} s, less than any sound of speech")
    if fault := samples.fault(rate):
        raise ValueError(fault)
    return Inspected(samples.frames / rate, f"{rate} Hz x {channels}{how}", sha, samples.remark(rate))


def header(path: str) -> Inspected:
    """What a file's header says, and whether the file is as long as that; nothing is decoded.

    A recording that is silent, clipped or damaged in its middle passes, and the length of an mp3 without a Xing tag is
    an estimate. `sha256` is of the file's size and first bytes.

    Raises
    ------
    ValueError
        As `inspect`, for what a header tells.
    """
    path, part = parts.split(path)
    _require_file(Path(path))
    try:
        with open(path, "rb") as file:
            size, data = os.fstat(file.fileno()).st_size, file.read(4096)
    except OSError as error:
        raise ValueError(f"audio cannot be opened: {error.strerror}") from error
    if ffmpeg.program() and ffmpeg.needed(path):
        return inspect(path if part is None else parts.named(path, *part))
    try:
        with soundfile.SoundFile(path) as file:
            frames, rate, channels, promised = file.frames, file.samplerate, file.channels, _promised_frames(data, file)
    except soundfile.LibsndfileError as error:
        known = audio_kinds.said(Path(path), data)
        raise ValueError(known or f"audio cannot be read: {error.error_string}") from error
    if frames == 0:
        raise ValueError("audio is empty (0 samples)")
    if frames < promised:
        raise ValueError(f"audio is truncated: {frames} of {promised} samples that its header promises")
    if not RATES[0] <= rate <= RATES[1]:
        raise ValueError(f"audio has an impossible sampling rate: {rate} Hz; expected {RATES[0]} to {RATES[1]}")
    length = frames / rate
    if part:
        if part[1] > length + SHORTEST:
            raise ValueError(f"segment ends behind its recording: at {part[1]:g} s of {length:.2f} s")
        length = part[1] - part[0]
    if length < SHORTEST:
        raise ValueError(f"audio is too short: {length:.4f} s, less than any sound of speech")
    sha = hashlib.sha256(f"{size} {part}".encode() + data).hexdigest()
    return Inspected(length, f"{rate} Hz x {channels}", sha)


def _inspect_part(path: str, part: tuple[float, float]) -> Inspected:
    """The same of a part of a recording, which alone is decoded."""
    start, end = part
    if end - start < SHORTEST:
        raise ValueError(f"segment is no stretch of time: it begins at {start:g} s and ends at {end:g} s")
    try:
        source = ffmpeg.source(path)
        with soundfile.SoundFile(source) as file:
            rate, seconds = file.samplerate, file.frames / file.samplerate
            if end > seconds + SHORTEST:
                raise ValueError(f"segment ends behind its recording: at {end:g} s of {seconds:.2f} s")
            file.seek(round(start * rate))
            samples, sha, left = Samples(), hashlib.sha256(), min(round(end * rate), file.frames) - round(start * rate)
            while left and len(block := file.read(min(left, 1 << 16), dtype="float32", always_2d=True)):
                sha.update(block.tobytes())
                left -= samples.add(block)
            channels = file.channels
    except OSError as error:
        raise ValueError(f"audio cannot be opened: {error.strerror}") from error
    except soundfile.LibsndfileError as error:
        known = audio_kinds.said(Path(path), Path(path).read_bytes()) if Path(path).exists() else None
        raise ValueError(known or f"audio cannot be read: {error.error_string}") from error
    if left:
        raise ValueError(f"audio is truncated: {left} samples of the segment's end are lacking")
    return _found(samples, rate, channels, sha.hexdigest(), ", by ffmpeg" if source is not path else "")


def seconds(path: str) -> float:
    """Length of a recording as its header says, 0 where it cannot be read; nothing is decoded, save by ffmpeg."""
    path, part = parts.split(path)
    if part:
        return part[1] - part[0]
    try:
        about = soundfile.info(path)
        return about.frames / about.samplerate
    except (OSError, RuntimeError):
        try:
            return inspect(path).duration
        except ValueError:
            return 0.0


def _require_file(path: Path) -> None:
    """Raise ValueError for what is no file; a pipe would be waited for without end."""
    if path.is_symlink() and not path.exists():
        raise ValueError(f"audio cannot be opened: a link to what is not there ({os.readlink(path)})")
    if path.is_dir():
        raise ValueError("audio cannot be opened: a folder, no file")
    if path.exists() and not path.is_file():
        raise ValueError("audio cannot be opened: a pipe or device, no file")


def _cut_ogg(data: bytes) -> str | None:
    """What is lacking at the end of an Ogg file, or None: its last page is whole, and says that it is the last."""
    at = data.rfind(b"OggS")
    segments = data[at + 26] if at + 27 <= len(data) else 0
    table = data[at + 27 : at + 27 + segments]
    if at + 27 > len(data) or len(table) < segments or at + 27 + segments + sum(table) > len(data):
        return "its last page is cut"
    return None if data[at + 5] & 4 else "it has no last page"


def _promised_frames(data: bytes, file: soundfile.SoundFile) -> int:
    """Frames that the header promises, 0 where it promises none.

    libsndfile's own count does not serve for a wav (it is corrected to the bytes that are there) nor for an mp3 without
    a Xing tag (it is a guess from the first frame's bit rate: 491 328 for a clip of 289 152). Ogg has no total at all,
    so a cut one passes as a shorter clip.
    """
    if file.format in ("WAV", "WAVEX") and data[:4] == b"RIFF":
        width = {"PCM_U8": 1, "ULAW": 1, "ALAW": 1, "PCM_16": 2, "PCM_24": 3, "PCM_32": 4, "FLOAT": 4, "DOUBLE": 8}
        at = 12  # behind RIFF, size, WAVE
        while at + 8 <= len(data) and file.subtype in width:
            name, size = data[at : at + 4], int.from_bytes(data[at + 4 : at + 8], "little")
            if name == b"data":  # who writes to a pipe cannot know: SoX leaves 0x7FFFF000 there, ffmpeg 0xFFFFFFFF
                return 0 if size >= 0x7FFFF000 else size // (width[file.subtype] * file.channels)
            at += 8 + size + size % 2
        return 0
    if file.format in ("MP3", "MPEG"):
        size = data[6:10] if data[:3] == b"ID3" else b""  # an ID3 tag's size: 7 bits a byte
        start = 10 + sum(byte << 7 * (3 - n) for n, byte in enumerate(size)) if size else 0
        first = data[start : start + 256]
        return file.frames if b"Xing" in first or b"Info" in first else 0
    return file.frames
