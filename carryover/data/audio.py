"""Reading audio as every model here wants it: mono, float32, at one sampling rate."""

import torch
import torchaudio
from speechbrain.dataio.audio_io import load

ENDINGS = (".wav", ".flac", ".mp3", ".ogg", ".opus", ".aiff", ".aif", ".aifc", ".au", ".snd", ".w64", ".caf", ".oga")


def read(path: str, sample_rate: int = 16000) -> torch.Tensor:
    """Read one file; channels are averaged and other rates resampled.

    Parameters
    ----------
    path : str
        One of `ENDINGS` (read by soundfile through SpeechBrain).
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
        wav, rate = load(path)  # (channels, samples)
    except (OSError, RuntimeError) as error:  # of soundfile, whose error a worker process cannot pass on
        raise ValueError(f"{path}: {error}; the file changed since its manifest was made") from error
    if wav.numel() == 0:
        raise ValueError(f"{path}: no samples; the file changed since its manifest was made")
    wav = wav.mean(dim=0)
    if rate != sample_rate:
        wav = torchaudio.functional.resample(wav, rate, sample_rate)
    return wav
