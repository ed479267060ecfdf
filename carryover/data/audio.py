"""Reading audio as every model here wants it: mono, float32, at one sampling rate."""

import io

import soundfile
import torch
import torchaudio
from speechbrain.dataio.audio_io import load

from carryover.data import ffmpeg, parts

ENDINGS = (".wav", ".flac", ".mp3", ".ogg", ".opus", ".aiff", ".aif", ".aifc", ".au", ".snd", ".w64", ".caf", ".oga")
SAMPLE_RATE = 16000  # of every model here


def read(path: str, sample_rate: int = SAMPLE_RATE) -> torch.Tensor:
    """Read one file; channels are averaged and other rates resampled.

    Parameters
    ----------
    path : str
        One of `ENDINGS` (read by soundfile through SpeechBrain), what ffmpeg reads where it is installed, or a part of
        such a file (`carryover.data.parts`).
    sample_rate : int
        Rate of the result in Hz.

    Returns
    -------
    wav : torch.Tensor
        (samples,) float32 in [-1, 1].

    Raises
    ------
    ValueError
        When the file is gone, cannot be read or holds no sample: it was changed since preparation.
    """
    try:
        wav, rate = _load(*parts.split(path))  # (channels, samples)
    except (OSError, RuntimeError, ValueError) as error:  # of soundfile, whose error a worker process cannot pass on
        raise ValueError(f"{path}: {error}; the file changed since its manifest was made") from error
    if wav.numel() == 0:
        raise ValueError(f"{path}: no samples; the file changed since its manifest was made")
    wav = wav.mean(dim=0)
    if rate != sample_rate:
        wav = torchaudio.functional.resample(wav, rate, sample_rate)
    return wav


def _load(path: str, part: tuple[float, float] | None) -> tuple[torch.Tensor, int]:
    try:
        if part is None:
            return load(path)
        with soundfile.SoundFile(path) as file:
            return _frames(file, part)
    except (OSError, RuntimeError):
        if not ffmpeg.needed(path):
            raise
    with soundfile.SoundFile(io.BytesIO(ffmpeg.wav(path, part))) as file:
        return _frames(file, None)


def _frames(file: soundfile.SoundFile, part: tuple[float, float] | None) -> tuple[torch.Tensor, int]:
    first, last = (round(second * file.samplerate) for second in part) if part else (0, -1)
    file.seek(first)
    samples = file.read(last - first if part else -1, dtype="float32", always_2d=True)
    return torch.from_numpy(samples.T), file.samplerate
