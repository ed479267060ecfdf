"""Noise and rooms of one's own recordings for the augmentation: SpeechBrain's classes, with draws of the run's seed.

    augmentations:
        - !new:carryover.data.noise.Noise {folder: /data/musan/noise, snr_low: 0, snr_high: 15}
        - !new:carryover.data.noise.Rooms {folder: /data/RIRS_NOISES/simulated_rirs}

SpeechBrain mixes and reverberates. Its loaders of files go through a list whose place no checkpoint holds, so that a
resumed run would hear other noise than an unbroken one: here each batch draws its files from torch's generator, which
is saved.
White noise needs no file: !new:speechbrain.augment.time_domain.AddNoise {snr_low: 0, snr_high: 15}.
"""

from pathlib import Path

import soundfile
import torch
from speechbrain.augment.time_domain import AddNoise, AddReverb

from carryover.data import audio, parts
from carryover.data.table import found_at


def recordings(folder: str | Path, key: str) -> list[str]:
    """All recordings below a folder, in alphabetical order.

    Raises
    ------
    FileNotFoundError
        Where there is none, naming the key.
    """
    found = sorted(str(path) for path in Path(folder).expanduser().rglob("*") if path.suffix.lower() in audio.ENDINGS)
    if not found:
        raise FileNotFoundError(f"{key}: {folder} {found_at(folder)}; expected recordings: {', '.join(audio.ENDINGS)}")
    return found


class Noise(AddNoise):
    """Adds a recording of noise to each clip, at a ratio drawn anew for each.

    Parameters
    ----------
    folder : path
        Recordings of noise of any rate (MUSAN: Snyder et al. 2015, arXiv 1510.08484); a short one is repeated.
    snr_low, snr_high : float
        Signal to noise in dB, drawn evenly between both.
    normalize : bool
        Scale a clip that goes beyond full scale back to it.
    sample_rate : int
        Of the clips, in Hz.
    """

    def __init__(
        self,
        folder: str | Path,
        snr_low: float = 0.0,
        snr_high: float = 15.0,
        normalize: bool = False,
        sample_rate: int = 16000,
    ):
        if snr_low > snr_high:
            raise ValueError(f"Noise: snr_low {snr_low:g} is above snr_high {snr_high:g}; exchange them")
        super().__init__(csv_file=str(folder), snr_low=snr_low, snr_high=snr_high, normalize=normalize)
        self.files, self.sample_rate = recordings(folder, "Noise: folder"), sample_rate

    def _load_noise(self, lengths: torch.Tensor, max_length: int) -> tuple[torch.Tensor, torch.Tensor]:
        """One recording a clip (B, max_length) and the clips' own lengths (B, 1), as SpeechBrain's AddNoise asks."""
        found = torch.stack([self._draw(max_length) for _ in range(len(lengths))]).to(lengths.device)
        # none in the padding: SpeechBrain takes the amplitude of the whole row over the clip's own length, which made
        # the noise of a clip half as long as its batch 3 dB too quiet
        return found * (torch.arange(max_length, device=lengths.device) < lengths), lengths

    def _draw(self, samples: int) -> torch.Tensor:
        """A stretch (samples,) of a recording, both drawn; only the stretch is read."""
        path = self.files[int(torch.randint(len(self.files), (1,)))]
        about = soundfile.info(path)
        length, wanted = about.frames / about.samplerate, samples / self.sample_rate
        place = float(torch.rand(1))
        if length > wanted + 0.1:
            start = place * (length - wanted - 0.1)
            wav = audio.read(parts.named(path, start, start + wanted + 0.1), self.sample_rate)
        else:
            wav = audio.read(path, self.sample_rate)
            wav = wav.roll(int(place * len(wav)))
        return wav.repeat(-(-samples // len(wav)))[:samples]


class Rooms(AddReverb):
    """Puts each batch into a room: convolves it with an impulse response.

    Parameters
    ----------
    folder : path
        Impulse responses (simulated: Ko et al. 2017, https://www.openslr.org/28).
    rir_scale_factor : float
        Below 1 shortens the response (less reverberation), above 1 lengthens it.
    sample_rate : int
        Of the clips, in Hz.
    """

    def __init__(self, folder: str | Path, rir_scale_factor: float = 1.0, sample_rate: int = 16000):
        super().__init__(csv_file=str(folder), rir_scale_factor=rir_scale_factor)
        self.files, self.sample_rate = recordings(folder, "Rooms: folder"), sample_rate

    def _load_rir(self, waveforms: torch.Tensor) -> torch.Tensor:
        """One response (1, samples, 1): SpeechBrain's AddReverb asks for it."""
        wav = audio.read(self.files[int(torch.randint(len(self.files), (1,)))], self.sample_rate)
        return wav[None, :, None].to(waveforms)
