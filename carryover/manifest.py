"""A corpus as validated manifests: one CSV a split, a list of what was refused, and a marker that says it is complete.

A file in local/ knows one corpus and yields `Utterance`s; `build` does the rest for all of them: it opens every audio
file, asks the recipe's `check` (token limit, window), writes `<split>.csv` and `rejected.csv`, asserts that nothing
disappeared, and writes `.done` last. A folder without `.done` is unfinished and made again.
"""

import csv
import hashlib
import io
import json
import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import soundfile
from tqdm import tqdm

COLUMNS = ("ID", "audio", "duration", "language", "speaker", "text")


@dataclass(frozen=True)
class Utterance:
    """One clip and its transcript, as a corpus lists it.

    Attributes
    ----------
    ID : str
        Unique within its split.
    audio : str
        Path of the audio file, absolute or relative to the working directory.
    language : str
        ISO 639-1 code, e.g. "nl".
    speaker : str
        Speaker's name within the corpus; "" where unknown.
    text : str
        Transcript with the case, digits and punctuation of the corpus.
    split : str
        "train", "valid" or "test".
    duration : float
        Seconds; `build` measures it from the audio, so a corpus need not know it.
    """

    ID: str
    audio: str
    language: str
    speaker: str
    text: str
    split: str
    duration: float = 0.0


def inspect(path: str) -> tuple[float, str, str]:
    """Decode a file and say how long it really is.

    Decoding is the only honest test: a truncated wav opens without complaint, and a text file named .wav fails
    only in the middle of an epoch.

    Returns
    -------
    (duration, form, sha256) : tuple
        Seconds; "16000 Hz x 1" (sampling rate x channels); digest of the file's bytes.

    Raises
    ------
    ValueError
        With the reason in one line, when the file is missing, empty, unreadable or shorter than its header says.
    """
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise ValueError(f"audio cannot be opened: {error.strerror}") from error
    try:
        with soundfile.SoundFile(io.BytesIO(data)) as file:
            promised = _promised_frames(data, file)
            # not file.blocks(): it yields full blocks of stale samples past the end of a cut mp3
            frames = sum(iter(lambda: len(file.read(1 << 16, dtype="float32")), 0))
            rate, channels = file.samplerate, file.channels
    except soundfile.LibsndfileError as error:  # its str() holds a memory address, which differs in every run
        raise ValueError(f"audio cannot be read: {error.error_string}") from error
    if frames == 0:
        raise ValueError("audio is empty (0 samples)")
    if frames < promised:
        raise ValueError(f"audio is truncated: {frames} of {promised} samples that its header promises")
    return frames / rate, f"{rate} Hz x {channels}", hashlib.sha256(data).hexdigest()


def _promised_frames(data: bytes, file: soundfile.SoundFile) -> int:
    """Frames that the header promises, 0 where it promises none.

    libsndfile's own count does not serve for a wav (it is corrected to the bytes that are there) nor for an mp3 without
    a Xing tag (it is a guess from the first frame's bit rate: 491 328 for a clip of 289 152). Ogg has no total at all,
    so a cut one passes as a shorter clip.
    """
    if file.format in ("WAV", "WAVEX") and data[:4] == b"RIFF":
        width = {"PCM_U8": 1, "ULAW": 1, "ALAW": 1, "PCM_16": 2, "PCM_24": 3, "PCM_32": 4, "FLOAT": 4, "DOUBLE": 8}
        at = 12
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


def found_at(path: str | Path) -> str:
    """What stands at a path, in a few words for an error: "is a folder that holds: clips, train.tsv"."""
    path = Path(path)
    if not path.exists():
        parent = next(p for p in path.absolute().parents if p.exists())
        beside = found_at(parent).removeprefix("is a ")
        return f"does not exist; {parent} is a {beside}"
    if not path.is_dir():
        return f"is a file of {path.stat().st_size} bytes"
    names = sorted(p.name for p in path.iterdir())
    if not names:
        return "is an empty folder"
    return f"is a folder that holds: {', '.join(names[:12])}" + (f" and {len(names) - 12} more" * (len(names) > 12))


def read_table(path: str | Path) -> Iterator[tuple[int, dict[str, str]]]:
    """Rows of a .csv file (usual quoting) or a .tsv file (no quoting: transcripts hold stray quotes), UTF-8.

    Yields
    ------
    (line, row) : tuple
        Line number in the file, for errors, and the row by column name.

    Raises
    ------
    ValueError
        With file and line, where a row has more or fewer fields than the header or the file is not UTF-8.
    """
    tab = Path(path).suffix.lower() == ".tsv"
    how = {"delimiter": "\t", "quoting": csv.QUOTE_NONE} if tab else {"strict": True}
    with open(path, newline="", encoding="utf-8-sig") as file:
        reader = csv.reader(file, **how)
        try:
            header = next(reader, [])
            for fields in reader:
                if fields and len(fields) != len(header):
                    raise ValueError(
                        f"{path}:{reader.line_num}: {len(fields)} fields, but the header names {len(header)} "
                        f"({', '.join(header)}); correct that line"
                        + (" (a tab inside a text?)" if tab else " (a text with a comma needs quotes around it)")
                    )
                if fields:
                    yield reader.line_num, dict(zip(header, fields, strict=True))
        except csv.Error as error:
            raise ValueError(f"{path}:{reader.line_num}: {error}; correct that line, or save it as .tsv") from error
        except UnicodeDecodeError as error:
            raise ValueError(
                f"{path} is not UTF-8 (byte 0x{error.object[error.start]:02x} after line {reader.line_num}); save it "
                f"as UTF-8, e.g. iconv -f windows-1252 -t utf-8"
            ) from error


def listing_digest(utterances: Sequence[Utterance]) -> str:
    """Digest of what a corpus lists (IDs, paths, texts, file sizes), cheap enough to check at every start."""
    sha = hashlib.sha256()
    for u in utterances:
        size = os.path.getsize(u.audio) if os.path.exists(u.audio) else -1
        sha.update("\t".join((u.split, u.ID, u.audio, u.language, u.speaker, u.text, str(size))).encode() + b"\n")
    return sha.hexdigest()


def build(
    utterances: Iterable[Utterance],
    folder: str | Path,
    check: Callable[[Utterance], str | None],
    settings: dict,
    workers: int = 2,
) -> dict[str, int]:
    """Validate a corpus and write its manifests into `folder`.

    Parameters
    ----------
    utterances : iterable of Utterance
        All that the corpus lists for the splits asked for.
    folder : path
        Gets `<split>.csv` (columns `COLUMNS`, durations in seconds), `rejected.csv` (split, ID, audio, reason) and
        `.done` (JSON: settings, listing, digest of the accepted audio and texts, counts).
    check : callable
        Takes an Utterance with its measured duration; returns the reason to refuse it, or None.
    settings : dict
        What the manifests depend on (corpus folder, limits, seed), JSON-serialisable. If `.done` holds the same
        settings and listing (and a `check` that reads the same), nothing is done again.
    workers : int
        Threads that decode audio.

    Returns
    -------
    counts : dict
        {"train": kept, ..., "rejected": refused}; kept + refused equals what the corpus listed.

    Raises
    ------
    ValueError
        When an ID occurs twice in a split, or nothing at all is left of a split.
    """
    utterances, folder = list(utterances), Path(folder)
    if not utterances:
        raise ValueError(f"{settings}: the corpus lists no utterance; check data_folder, language and splits")
    twice = [key for key, n in Counter((u.split, u.ID) for u in utterances).items() if n > 1]
    if twice:
        split, ID = twice[0]
        files = [u.audio for u in utterances if (u.split, u.ID) == twice[0]]
        raise ValueError(
            f"ID '{ID}' occurs {len(files)} times in split '{split}' ({', '.join(files[:3])}); IDs must be unique: "
            f"remove the repeated rows or give each its own ID ({len(twice)} such IDs in all)"
        )

    settings = json.loads(json.dumps(settings, sort_keys=True, default=str))
    listing = listing_digest(utterances)
    # a partial's repr shows its limits: a changed one must be asked again; an address would differ in every run
    asked = re.sub(r" at 0x[0-9a-fA-F]+", "", repr(check))
    done = read_done(folder)
    if done and (done["settings"], done["listing"], done.get("check")) == (settings, listing, asked):
        print(f"Manifests in {folder} are up to date: {summary(done)}")
        return done["counts"]

    kept: dict[str, list[Utterance]] = {u.split: [] for u in utterances}
    rejected, forms, sha = [], Counter(), hashlib.sha256()
    # closing: an error or Ctrl-C cancels what is still queued instead of waiting until the whole corpus is decoded
    with ThreadPoolExecutor(workers) as pool, closing(pool.map(_inspect_or_reason, utterances)) as examined:
        for u, (found, reason) in tqdm(
            zip(utterances, examined, strict=True), total=len(utterances), desc=f"Checking {folder.name}", unit="clip"
        ):
            if reason is None:
                duration, form, digest = found
                forms[form] += 1
                u = replace(u, duration=duration)
                reason = "transcript is empty" if not u.text.strip() else check(u)
            if reason is not None:
                rejected.append((u.split, u.ID, u.audio, reason))
                continue
            sha.update(f"{u.split}\t{u.ID}\t{digest}\t{u.text}\n".encode())
            kept[u.split].append(u)

    counts = {split: len(rows) for split, rows in kept.items()} | {"rejected": len(rejected)}
    assert sum(counts.values()) == len(utterances), (counts, len(utterances))

    folder.mkdir(parents=True, exist_ok=True)
    (folder / ".done").unlink(missing_ok=True)
    with open(folder / "rejected.csv", "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("split", "ID", "audio", "reason"), *rejected])
    reasons = Counter(reason.split(":")[0] for *_, reason in rejected)
    for split, rows in kept.items():
        if not rows:
            raise ValueError(
                f"no utterance of split '{split}' is usable: {dict(reasons)}; see {folder / 'rejected.csv'}"
            )
        with open(folder / f"{split}.csv", "w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(COLUMNS)
            writer.writerows((u.ID, u.audio, f"{u.duration:.4f}", u.language, u.speaker, u.text) for u in rows)
    done = {
        "settings": settings,
        "listing": listing,
        "check": asked,
        "digest": sha.hexdigest(),
        "counts": counts,
        "hours": {split: round(sum(u.duration for u in rows) / 3600, 4) for split, rows in kept.items()},
        "rejected": dict(reasons),
        "forms": dict(forms),
    }
    (folder / ".done").write_text(json.dumps(done, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print(f"Manifests in {folder}: {summary(done)}")
    return counts


def _inspect_or_reason(utterance: Utterance) -> tuple[tuple[float, str, str] | None, str | None]:
    try:
        return inspect(utterance.audio), None
    except ValueError as error:
        return None, str(error)


def read_done(folder: str | Path) -> dict | None:
    """The `.done` marker of a manifest folder, or None where preparation has not finished or a manifest is gone."""
    marker = Path(folder) / ".done"
    if not marker.exists():
        return None
    done = json.loads(marker.read_text(encoding="utf-8"))
    return done if all((marker.parent / f"{split}.csv").exists() for split in done["hours"]) else None


def summary(done: dict) -> str:
    """One line for people: kept per split with hours, rejected with reasons, what will be mixed or resampled."""
    parts = [f"{split} {done['counts'][split]} ({hours:.2f} h)" for split, hours in done["hours"].items()]
    parts.append(f"rejected {done['counts']['rejected']}" + (f" {done['rejected']}" if done["rejected"] else ""))
    other = {form: n for form, n in done["forms"].items() if form != "16000 Hz x 1"}
    if other:
        parts.append(f"mixed to mono or resampled to 16 kHz when read: {other}")
    return ", ".join(parts)


def load(path: str | Path) -> dict[str, dict]:
    """Rows of a manifest for SpeechBrain's DynamicItemDataset: {ID: row}, with the whole row again under "row".

    SpeechBrain's own CSV reader takes a `$5` in a transcript for a variable and stops with a KeyError.
    """
    with open(path, newline="", encoding="utf-8") as file:
        rows = {row["ID"]: row | {"duration": float(row["duration"])} for row in csv.DictReader(file)}
    return {ID: row | {"row": row | {"id": ID}} for ID, row in rows.items()}
