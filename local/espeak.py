"""espeak-ng through ctypes: clips of a plan, spoken and written as wav files; a process of its own for each shard.

    python -m local.espeak job.json

espeak-ng is GPL-3; it comes as a wheel, is called through ctypes, and is used only to make audio: none of it is part
of this project.
"""

import ctypes
import hashlib
import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

WHEEL = "espeakng-loader==0.2.4"
RATE = 16_000


@dataclass(frozen=True)
class Clip:
    """How one sentence is spoken: words a minute, espeak-ng's pitch and pitch range (0 to 99), level in dBFS."""

    ID: str
    text: str
    voice: str
    rate: int
    pitch: int
    range: int
    level: float  # of the highest peak
    noise: float  # dBFS, rms of white noise: silence of a real microphone is never digital zero
    lead: float  # seconds of silence before the speech
    trail: float
    noise_seed: int


class Espeak:
    """espeak-ng through ctypes; one process holds one engine."""

    SYNCHRONOUS, UTF8 = 2, 1  # AUDIO_OUTPUT_SYNCHRONOUS, espeakCHARS_UTF8
    PARAMETERS = {"rate": 1, "pitch": 3, "range": 4}

    def __init__(self) -> None:
        import espeakng_loader  # here, because a corpus that is already made needs no engine

        self.lib = ctypes.CDLL(espeakng_loader.get_library_path())
        self.lib.espeak_Synth.argtypes = [
            ctypes.c_char_p,
            ctypes.c_size_t,
            ctypes.c_uint,
            ctypes.c_int,
            ctypes.c_uint,
            ctypes.c_uint,
            ctypes.c_void_p,
            ctypes.c_void_p,
        ]
        data = espeakng_loader.get_data_path()
        self.rate = self.lib.espeak_Initialize(self.SYNCHRONOUS, 0, os.fsencode(data), 0)
        if self.rate <= 0:
            raise RuntimeError(f"espeak-ng does not start with the voices in {data}: pip install {WHEEL}")
        self.chunks: list[bytes] = []
        # espeak_Initialize seeds its own generator with the clock; breathy voices (f2, f3, sandro) draw noise from it.
        self.lib.espeak_ng_SetRandSeed(ctypes.c_long(1))
        form = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p)
        self.callback = form(self._collect)  # kept, or the garbage collector frees it under espeak-ng
        self.lib.espeak_SetSynthCallback(self.callback)

    def _collect(self, samples: int | None, count: int, events: int | None) -> int:
        if samples and count > 0:
            self.chunks.append(ctypes.string_at(samples, 2 * count))
        return 0

    def speak(self, text: str, voice: str, **parameters: int) -> np.ndarray:
        """Samples as float64 in [-1, 1) at `self.rate`; parameters are rate (words a minute), pitch and range."""
        if self.lib.espeak_SetVoiceByName(voice.encode()):
            raise RuntimeError(f"espeak-ng has no voice '{voice}': pip install {WHEEL}")
        for name, value in parameters.items():
            self.lib.espeak_SetParameter(self.PARAMETERS[name], value, 0)
        self.chunks.clear()
        data = text.encode()
        if self.lib.espeak_Synth(data, len(data) + 1, 0, 1, 0, self.UTF8, None, None):
            raise RuntimeError(f"espeak-ng cannot speak '{text}' as {voice}")
        self.lib.espeak_Synchronize()
        return np.frombuffer(b"".join(self.chunks), np.int16) / 32768


def finish(speech: np.ndarray, clip: Clip) -> np.ndarray:
    """Trim to the clip's silences, set its level, add its noise; 16 kHz, float64 to int16."""
    loud = np.flatnonzero(np.abs(speech) > 0.01 * np.abs(speech).max())
    speech = speech[loud[0] : loud[-1] + 1]
    speech = speech * (10 ** (clip.level / 20) / np.abs(speech).max())
    speech = np.pad(speech, (round(clip.lead * RATE), round(clip.trail * RATE)))
    noise = np.random.default_rng(clip.noise_seed).standard_normal(len(speech), dtype=np.float32)
    return np.round((speech + 10 ** (clip.noise / 20) * noise) * 32767).astype(np.int16)


def speak_shard(job: dict) -> None:
    """Write a shard's wav files and report each on stdout: ID, seconds, SHA-256."""
    from scipy.signal import firwin, resample_poly  # here, because its import costs the caller a second

    espeak = Espeak()
    common = np.gcd(RATE, espeak.rate)
    up, down = int(RATE // common), int(espeak.rate // common)
    taps = firwin(20 * max(up, down) + 1, 1 / max(up, down), window=("kaiser", 5.0))  # resample_poly's own, made once
    for clip in (Clip(**c) for c in job["clips"]):
        speech = espeak.speak(clip.text, clip.voice, rate=clip.rate, pitch=clip.pitch, range=clip.range)
        samples = finish(resample_poly(speech, up, down, window=taps), clip)
        path = Path(job["folder"], clip.ID + ".wav")
        soundfile.write(path, samples, RATE, subtype="PCM_16")
        print(clip.ID, len(samples) / RATE, hashlib.sha256(path.read_bytes()).hexdigest(), flush=True)


if __name__ == "__main__":
    speak_shard(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
