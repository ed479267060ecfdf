"""Transcribes clips one by one, and joined into one recording.

    python -m benchmarks.long_recordings RUN MANIFEST [--clips 120]

MANIFEST is a list of recordings and texts (columns path, text, split); its test clips are taken. The joined recording
has pauses of 0.5 to 5 seconds between them, with a room's faint noise, and is read by `carryover transcribe --vad`.
Printed as tables for docs/guides/transcribing.md: WER of both with the difference, peak memory so far, the words that
are heard in 60 seconds of silence, of white noise, and of music (chords of plucked strings with a beat), and the peak
memory after an hour.
"""

import argparse
import resource
import tempfile
from pathlib import Path

import numpy as np
import soundfile

from carryover.commands import transcription
from carryover.commands.load import load_run, set_beams
from carryover.stats import error_rates
from local.table import utterances

RATE = 16_000


def room(seconds: float, draw: np.random.Generator) -> np.ndarray:
    """Faint noise of a quiet room, (samples,)."""
    return draw.normal(0, 2e-4, round(seconds * RATE))


def music(seconds: float, draw: np.random.Generator) -> np.ndarray:
    """Chords of plucked strings, two a second, over a beat; (samples,) within -0.5 and 0.5."""
    length = RATE // 2
    time = np.arange(length) / RATE
    bars = []
    for _ in range(round(2 * seconds)):
        root = 110 * 2 ** (draw.choice([0, 3, 5, 7, 10]) / 12)
        strings = [root * 2 ** (step / 12) for step in (0, 4, 7, 12)]
        chord = sum(np.sin(2 * np.pi * hz * k * time) / k**2 for hz in strings for k in range(1, 7))
        beat = draw.normal(0, 1, length) * np.exp(-time * 60)
        bars.append(chord * np.exp(-time * 5) + beat)
    whole = np.concatenate(bars)
    return 0.5 * whole / np.abs(whole).max()


def peak_gib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def main(argv: list[str] | None = None) -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("manifest", type=Path, help="a list of recordings and texts, or its folder")
    parser.add_argument("--clips", type=int, default=120)
    parser.add_argument("--beams", type=int, default=1)
    given = parser.parse_args(argv)
    brain, hparams, _ = load_run(given.run)
    set_beams(brain, given.beams)
    language, normalise, draw = hparams["language"], hparams["normaliser"], np.random.default_rng(1)
    folder = given.manifest if given.manifest.is_dir() else given.manifest.parent
    clips = [u for u in utterances(folder, language, ["test"]) if u.split == "test"][: given.clips]

    def scored(text: str, heard: str) -> dict:
        row = {"id": "", "audio": "", "speaker": "", "duration": 0, "language": language, "text": text}
        return error_rates.score(row, heard, normalise)

    def line(what: str, minutes: float, segments: int, rates: dict) -> None:
        cells = f"{minutes:.1f} | {segments} | {rates['WER']:.2f} | {rates['CER']:.2f} | {peak_gib():.2f}"
        print(f"| {what} | {cells} |", flush=True)

    def speech(path: Path) -> list[dict]:
        rows, refused = transcription.Listener(brain, hparams["limits"], language, 4).speech([path])
        assert not refused, refused
        return rows[0]["segments"]

    with tempfile.TemporaryDirectory() as made:
        long, parts = Path(made) / "long.wav", []
        for clip in clips:
            samples, rate = soundfile.read(clip.audio)
            assert rate == RATE, clip.audio
            parts += [room(draw.uniform(0.5, 5), draw), samples]
        soundfile.write(long, np.concatenate(parts), RATE)
        print(
            "| recording | minutes | segments | WER | CER | peak memory, GiB |\n|---|---|---|---|---|---|", flush=True
        )

        listener = transcription.Listener(brain, hparams["limits"], language, hparams["eval_batch_size"])
        rows, refused = listener.clips([Path(c.audio) for c in clips])
        assert not refused, refused
        each = error_rates.totals([scored(c.text, r["text"]) for c, r in zip(clips, rows, strict=True)])
        line("clips one by one", sum(float(row["duration"]) for row in rows) / 60, len(clips), each)
        segments = speech(long)
        heard = " ".join(segment["text"] for segment in segments if segment["text"])
        joined = error_rates.totals([scored(" ".join(clip.text for clip in clips), heard)])
        line("joined, with pauses", soundfile.info(long).duration / 60, len(segments), joined)
        print(f"\nDifference {joined['WER'] - each['WER']:+.2f} points of WER.\n", flush=True)
        print("| 60 s of | words |\n|---|---|", flush=True)
        for name, samples in (
            ("silence", np.zeros(60 * RATE)),
            ("a quiet room", room(60, draw)),
            ("white noise", draw.normal(0, 0.1, 60 * RATE)),
            ("music", music(60, draw)),
        ):
            path = Path(made) / "other.wav"
            soundfile.write(path, samples, RATE, subtype="FLOAT")
            try:
                words = " ".join(segment["text"] for segment in speech(path)) or "none"
            except AssertionError as reason:
                words = f"none; refused: {str(reason).partition(': ')[2]}"
            print(f"| {name} | {words} |", flush=True)
        with soundfile.SoundFile(long, "w", RATE, 1) as file:  # an hour: the same room, two clips a minute
            for minute in range(60):
                samples = [soundfile.read(clips[(2 * minute + k) % len(clips)].audio)[0] for k in range(2)]
                for part in samples:
                    file.write(part)
                    file.write(room(30 - len(part) / RATE, draw))
        segments = speech(long)
        print(
            f"\nAn hour with 120 clips in it: {len(segments)} segments, peak memory {peak_gib():.2f} GiB.", flush=True
        )


if __name__ == "__main__":
    main()
