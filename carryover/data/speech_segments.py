"""Where somebody speaks in a recording of any length, and the samples of it, by Silero's voice-activity detector."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import soundfile
import torch
import torchaudio

from carryover.data import ffmpeg
from carryover.data.audio import SAMPLE_RATE

CHUNK = 300.0  # seconds that are in memory at a time
PAUSE = 0.5  # seconds of silence that part two segments
PAD = 0.2  # seconds that are kept before and after speech


@dataclass(frozen=True)
class Segment:
    """Speech between two pauses.

    Attributes
    ----------
    start, end : float
        Seconds from the recording's beginning.
    wav : torch.Tensor
        (samples,) float32 at 16 kHz.
    """

    start: float
    end: float
    wav: torch.Tensor


def find(path: str, longest: float) -> Iterator[Segment]:
    """Segments of a recording in their order; none where nobody speaks.

    Parameters
    ----------
    path : str
        A recording that soundfile reads, of any length and rate; channels are averaged.
    longest : float
        Seconds of the longest segment; longer speech is cut at its longest pause.

    Raises
    ------
    ModuleNotFoundError
        Without the package silero-vad.
    """
    rest, begin = torch.zeros(0), 0.0  # speech that goes on over a chunk's end; where it begins, in seconds
    for wav, last in _chunks(path):
        wav = torch.cat([rest, wav])
        found = _speech(wav, longest)
        # what touches the chunk's end may go on in the next one, unless it is as long as a segment can be
        open_ = [span for span in found if not last and span[1] >= len(wav) - PAUSE * SAMPLE_RATE]
        for start, end in found[: len(found) - len(open_)]:
            yield Segment(begin + start / SAMPLE_RATE, begin + end / SAMPLE_RATE, wav[start:end].clone())
        cut = open_[0][0] if open_ else max(0, len(wav) - round(PAUSE * SAMPLE_RATE))
        rest, begin = wav[cut:], begin + cut / SAMPLE_RATE


def _chunks(path: str) -> Iterator[tuple[torch.Tensor, bool]]:
    """Samples at 16 kHz of `CHUNK` seconds each, and whether they are the last ones."""
    with soundfile.SoundFile(ffmpeg.source(path)) as file:
        frames = round(CHUNK * file.samplerate)
        while True:
            wav = torch.from_numpy(file.read(frames, dtype="float32", always_2d=True))
            # not by file.frames alone, which of an mp3 without a Xing tag is a guess: it may promise what never comes
            last = len(wav) < frames or file.tell() >= file.frames
            wav = wav.mean(dim=1)
            yield torchaudio.functional.resample(wav, file.samplerate, SAMPLE_RATE) if len(wav) else wav, last
            if last:
                return


def _speech(wav: torch.Tensor, longest: float) -> list[tuple[int, int]]:
    """First and last sample of each segment."""
    detect, model = _detector()
    found = detect(
        wav, model, sampling_rate=SAMPLE_RATE, max_speech_duration_s=longest - 2 * PAD,
        min_silence_duration_ms=round(1000 * PAUSE), speech_pad_ms=round(1000 * PAD),
    )  # fmt: skip
    return [(span["start"], span["end"]) for span in found]


@lru_cache(maxsize=1)
def _detector():
    threads = torch.get_num_threads()
    try:
        import silero_vad
    except ImportError as error:
        raise ModuleNotFoundError(
            "--vad: the voice-activity detector is not installed; pip install silero-vad (or carryover[vad])"
        ) from error
    model = silero_vad.load_silero_vad()
    torch.set_num_threads(threads)  # importing silero_vad sets it to 1
    return silero_vad.get_speech_timestamps, model
