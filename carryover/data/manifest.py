"""A corpus as validated manifests: one CSV a split, a list of what was refused, and a marker that says it is complete.

A file in local/ knows one corpus and yields `Utterance`s; `build` does the rest for all of them: it refuses what the
metadata alone rule out, draws a sample if one is asked for, opens every audio file of it, asks the recipe's `check`
(token limit, window), writes `<split>.csv`, `rejected.csv` and `counts.md`, asserts that nothing disappeared, and
writes `.done` last. A folder without `.done` is unfinished and made again.
"""

import csv
import hashlib
import io
import json
import os
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import soundfile
from tqdm import tqdm

COLUMNS = ("ID", "audio", "duration", "language", "speaker", "text")
SPLITS = ("train", "valid", "test")
STEPS = ("available", "passed the metadata", "sampled", "valid audio")  # each counts a part of the one before it


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
    votes : (int, int) or None
        Listeners who found clip and transcript right, and wrong; None where the corpus has no votes.
    """

    ID: str
    audio: str
    language: str
    speaker: str
    text: str
    split: str
    duration: float = 0.0
    votes: tuple[int, int] | None = None


@dataclass(frozen=True)
class MetadataLimits:
    """A `metadata_check`: the reason to refuse an utterance whose audio nobody has opened yet, or None.

    Attributes
    ----------
    min_characters, max_characters : int, optional
        Length of the transcript as listed, both allowed.
    alphabet : str, optional
        Letters that a transcript may hold, in lower case; digits, spaces and punctuation are not looked at.
    min_up_votes, max_down_votes : int, optional
        Both allowed; an utterance without votes is refused where one of them is given.
    """

    min_characters: int | None = None
    max_characters: int | None = None
    alphabet: str | None = None
    min_up_votes: int | None = None
    max_down_votes: int | None = None

    def __call__(self, utterance: Utterance) -> str | None:
        length = len(utterance.text)
        if self.min_characters is not None and length < self.min_characters:
            return f"transcript is shorter than {self.min_characters} characters: {length}"
        if self.max_characters is not None and length > self.max_characters:
            return f"transcript is longer than {self.max_characters} characters: {length}"
        if self.alphabet is not None:
            known = set(unicodedata.normalize("NFC", self.alphabet.lower()))
            letters = unicodedata.normalize("NFC", utterance.text.lower())
            if strange := sorted({letter for letter in letters if letter.isalpha()} - known):
                return f"transcript has letters outside the alphabet: {' '.join(strange)}"
        if self.min_up_votes is None and self.max_down_votes is None:
            return None
        if utterance.votes is None:
            return "no votes are listed"
        up, down = utterance.votes
        if self.min_up_votes is not None and up < self.min_up_votes:
            return f"fewer than {self.min_up_votes} up-votes: {up}"
        if self.max_down_votes is not None and down > self.max_down_votes:
            return f"more than {self.max_down_votes} down-votes: {down}"
        return None


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


def votes(row: Mapping[str, str]) -> tuple[int, int] | None:
    """Votes of a row with the columns up_votes and down_votes (Common Voice's names), None where they are not there."""
    up, down = (row.get(column, "").strip() for column in ("up_votes", "down_votes"))
    return (int(up), int(down)) if up.isdecimal() and down.isdecimal() else None


def listing_digest(utterances: Sequence[Utterance]) -> str:
    """Digest of what a corpus lists (IDs, paths, texts, file sizes), cheap enough to check at every start."""
    sha = hashlib.sha256()
    for u in utterances:
        size = os.path.getsize(u.audio) if os.path.exists(u.audio) else -1
        fields = (u.split, u.ID, u.audio, u.language, u.speaker, u.text, str(size), *map(str, u.votes or ()))
        sha.update("\t".join(fields).encode() + b"\n")
    return sha.hexdigest()


def draw(utterances: Iterable[Utterance], wanted: Mapping[str, int], seed: int) -> list[Utterance]:
    """A sample of some splits, the others whole, in the order given.

    Of a split come the utterances with the smallest SHA-256 of seed, split and ID. So the sample depends neither on
    the order of the corpus's files nor on any generator's version; a larger one with the same seed holds the smaller
    one, and an utterance that a new release adds changes it by one at most.

    Parameters
    ----------
    utterances : iterable of Utterance
        IDs unique within a split.
    wanted : dict
        Utterances by split; all are taken where there are fewer.
    seed : int
        Another seed is another sample.
    """
    utterances = list(utterances)
    chosen = set()
    for split, n in wanted.items():
        IDs = [u.ID for u in utterances if u.split == split]
        IDs.sort(key=lambda ID: hashlib.sha256(f"{seed}\t{split}\t{ID}".encode()).digest())
        chosen.update((split, ID) for ID in IDs[:n])
    return [u for u in utterances if u.split not in wanted or (u.split, u.ID) in chosen]


def _wanted(sample: Mapping[str, int] | int | None, splits: Iterable[str]) -> dict[str, int]:
    """`sample` by split, without the splits that are not being made."""
    wanted = dict(sample) if isinstance(sample, Mapping) else {} if sample is None else {"train": sample}
    splits = set(splits)
    for split, n in wanted.items():
        if split not in splits.union(SPLITS):
            raise ValueError(
                f"sample: there is no split '{split}'; expected {', '.join(sorted(splits.union(SPLITS)))}; "
                "a number alone is for train"
            )
        if isinstance(n, bool) or not isinstance(n, int) or n < 1:
            raise ValueError(
                f"sample: {n!r} utterances of split '{split}' cannot be drawn; expected a whole number above 0, e.g. "
                "150000, or leave it out to use all"
            )
    return {split: n for split, n in wanted.items() if split in splits}


def build(
    utterances: Iterable[Utterance],
    folder: str | Path,
    check: Callable[[Utterance], str | None],
    settings: dict,
    workers: int = 2,
    *,
    inspect: Callable[[str], tuple[float, str, str]] = inspect,
    sample: Mapping[str, int] | int | None = None,
    sample_seed: int = 42,
    metadata_check: Callable[[Utterance], str | None] | None = None,
) -> dict[str, int]:
    """Validate a corpus and write its manifests into `folder`.

    Four steps, each counted: what the corpus lists; what its metadata allow (the transcript is not empty, and passes
    `metadata_check` and `check.metadata`); of that a sample, if one is asked for; of that what has valid audio and
    passes `check`. Audio is opened in the last step alone.

    Parameters
    ----------
    utterances : iterable of Utterance
        All that the corpus lists for the splits asked for.
    folder : path
        Gets `<split>.csv` (columns `COLUMNS`, durations in seconds), `rejected.csv` (split, ID, audio, reason; what was
        not sampled is counted, not listed), `counts.md` (utterances left after each of `STEPS`) and `.done` (JSON:
        settings, listing, digest of the accepted audio and texts, counts, steps).
    check : callable
        Takes an Utterance with its measured duration; returns the reason to refuse it, or None. It may have a method
        `metadata` of the same form for what needs no audio (token limit): that is asked first, of all that is listed
        and with a duration of 0, so that a sample is not spent on what would be refused anyhow. `check` itself is asked
        in any case, and has to refuse all that it cannot take.
    settings : dict
        What the manifests depend on (corpus folder, limits, seed), JSON-serialisable. If `.done` holds the same
        settings and listing (and a `check` that reads the same), nothing is done again.
    workers : int
        Threads that decode audio.
    inspect : callable
        What is asked of each file: path -> (seconds, form, sha256), or ValueError with the reason to refuse it. A
        corpus that is no audio (landmarks of a signer) gives its own.
    sample : dict or int, optional
        Utterances by split to draw, or of train alone. All are used where there are not as many. A split that is not
        among the utterances is passed over: one setting serves the new language and the old one, of which only the
        test set is made.
    sample_seed : int
        Decides which (see `draw`). It is not the run's seed, so that runs with several seeds learn from one sample.
    metadata_check : callable, optional
        As `check.metadata`, but the corpus's or the experiment's, e.g. `MetadataLimits`.

    Returns
    -------
    counts : dict
        {"train": kept, ..., "rejected": refused}, and "not_sampled" where a sample was asked for; together they are
        what the corpus listed.

    Raises
    ------
    ValueError
        When an ID occurs twice in a split, nothing at all is left of a split, or a sample cannot be meant.
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
    kept: dict[str, list[Utterance]] = {u.split: [] for u in utterances}
    wanted = _wanted(sample, kept)

    if wanted:
        settings = settings | {"sample": wanted, "sample_seed": sample_seed}
    settings = json.loads(json.dumps(settings, sort_keys=True, default=str))
    listing = listing_digest(utterances)
    # a partial's repr shows its limits: a changed one must be asked again; an address would differ in every run
    asked = "; ".join(re.sub(r" at 0x[0-9a-fA-F]+", "", repr(c)) for c in (check, metadata_check) if c is not None)
    done = read_done(folder)
    same = done and (done["settings"], done["listing"], done.get("check")) == (settings, listing, asked)
    if same and "steps" in done:  # a marker of an earlier version has none
        print(f"Manifests in {folder} are up to date: {summary(done)}")
        return done["counts"]

    refused: dict[tuple[str, str], str] = {}  # (split, ID): reason
    checks = [c for c in (metadata_check, getattr(check, "metadata", None)) if c is not None]
    for u in tqdm(utterances, desc=f"Metadata of {folder.name}", unit="clip", delay=2):
        if not u.text.strip():
            reason = "transcript is empty"
        else:
            reason = next((reason for c in checks if (reason := c(u)) is not None), None)
        if reason is not None:
            refused[u.split, u.ID] = reason
    passed = [u for u in utterances if (u.split, u.ID) not in refused]
    drawn = draw(passed, wanted, sample_seed)

    forms, sha = Counter(), hashlib.sha256()
    # closing: an error or Ctrl-C cancels what is still queued instead of waiting until the whole corpus is decoded
    examine = partial(_inspect_or_reason, inspect)
    with ThreadPoolExecutor(workers) as pool, closing(pool.map(examine, drawn)) as examined:
        for u, (found, reason) in tqdm(
            zip(drawn, examined, strict=True), total=len(drawn), desc=f"Checking {folder.name}", unit="clip"
        ):
            if reason is None:
                duration, form, digest = found
                forms[form] += 1
                u = replace(u, duration=duration)
                reason = check(u)
            if reason is not None:
                refused[u.split, u.ID] = reason
                continue
            sha.update(f"{u.split}\t{u.ID}\t{digest}\t{u.text}\n".encode())
            kept[u.split].append(u)

    counts = {split: len(rows) for split, rows in kept.items()} | {"rejected": len(refused)}
    if wanted:
        counts["not_sampled"] = len(passed) - len(drawn)
    assert sum(counts.values()) == len(utterances), (counts, len(utterances))
    left = [Counter(u.split for u in us) for us in (utterances, passed, drawn, sum(kept.values(), []))]
    steps = {step: {split: n[split] for split in kept} for step, n in zip(STEPS, left, strict=True)}
    for split in kept:
        available, allowed, sampled, valid = (steps[step][split] for step in STEPS)
        here = sum(1 for name, _ in refused if name == split)
        assert available >= allowed >= sampled >= valid, (split, steps)
        assert sampled == min(allowed, wanted.get(split, allowed)), (split, steps, wanted)
        assert available - valid == here + (allowed - sampled), (split, steps, here)

    folder.mkdir(parents=True, exist_ok=True)
    (folder / ".done").unlink(missing_ok=True)
    rejected = [(u.split, u.ID, u.audio, refused[u.split, u.ID]) for u in utterances if (u.split, u.ID) in refused]
    with open(folder / "rejected.csv", "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("split", "ID", "audio", "reason"), *rejected])
    (folder / "counts.md").write_text(_steps_table(steps, wanted, sample_seed), encoding="utf-8")
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
        "steps": steps,
        "hours": {split: round(sum(u.duration for u in rows) / 3600, 4) for split, rows in kept.items()},
        "rejected": dict(reasons),
        "forms": dict(forms),
    }
    (folder / ".done").write_text(json.dumps(done, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print(f"Manifests in {folder}: {summary(done)}")
    return counts


def _steps_table(steps: dict[str, dict[str, int]], wanted: dict[str, int], seed: int) -> str:
    """`counts.md`: utterances of each split that are left after each step."""
    splits = list(steps[STEPS[0]])
    rows = [["step", *splits], ["---", *("---:" for _ in splits)]]
    rows += [[step, *(str(n) for n in steps[step].values())] for step in STEPS]
    table = "".join(f"| {' | '.join(row)} |\n" for row in rows)
    drawn = ", ".join(f"{n} of {split}" for split, n in wanted.items())
    return (
        f"{table}\nUtterances left after each step. "
        + (f"A sample was asked for: {drawn}, seed {seed}. " if wanted else "No sample was asked for. ")
        + "Valid audio: decoded to its end, and accepted by the recipe.\n"
    )


def _inspect_or_reason(
    inspect: Callable[[str], tuple[float, str, str]], utterance: Utterance
) -> tuple[tuple[float, str, str] | None, str | None]:
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
    if "not_sampled" in done["counts"]:
        sampled = {split: done["steps"]["sampled"][split] for split in done["settings"]["sample"]}
        available = {split: done["steps"]["available"][split] for split in sampled}
        parts.append(f"sampled {sampled} of {available} with seed {done['settings']['sample_seed']}")
    audio = {form: n for form, n in done["forms"].items() if re.fullmatch(r"\d+ Hz x \d+", form)}
    if other := {form: n for form, n in audio.items() if form != "16000 Hz x 1"}:
        parts.append(f"mixed to mono or resampled to 16 kHz when read: {other}")
    return ", ".join(parts)


def load(path: str | Path) -> dict[str, dict]:
    """Rows of a manifest for SpeechBrain's DynamicItemDataset: {ID: row}, with the whole row again under "row".

    SpeechBrain's own CSV reader takes a `$5` in a transcript for a variable and stops with a KeyError.
    """
    with open(path, newline="", encoding="utf-8") as file:
        rows = {row["ID"]: row | {"duration": float(row["duration"])} for row in csv.DictReader(file)}
    return {ID: row | {"row": row | {"id": ID}} for ID, row in rows.items()}
