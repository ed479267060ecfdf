"""Miniatures of official layouts: a few clips of noise each, made on the spot."""

import functools
import gzip
import json
from pathlib import Path

import numpy as np
import soundfile

TEXTS = ("Dag, wereld.", "'s Morgens regent het.", "Vier en twintig huizen.")


def clip(path, seconds: float = 0.3, seed: int = 0, rate: int = 16000) -> Path:
    """A recording of noise; its ending says its kind."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    samples = 0.1 * np.random.default_rng(seed).standard_normal(round(seconds * rate))
    kind = {"format": "OGG", "subtype": "OPUS"} if path.suffix == ".opus" else {}
    soundfile.write(path, samples, rate, **kind)
    return path


def write(path, *rows, sign: str = "\t") -> Path:
    """A text of rows; a row is a text or its fields."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = (row if isinstance(row, str) else sign.join(map(str, row)) for row in rows)
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


def common_voice(root, version: str):
    """cv-corpus-<version>/nl; version 2 has no locale and no .mp3, 23 the columns of today."""
    home = root / f"cv-corpus-{version}" / "nl"
    columns = {"2": "client_id path sentence up_votes down_votes age gender accent", "6.1": "client_id path sentence "
               "up_votes down_votes age gender accent locale segment", "23.0": "client_id path sentence_id sentence "
               "sentence_domain up_votes down_votes age gender accents variant locale segment"}  # fmt: skip
    columns = columns[version].split()
    for part in ("train", "dev", "test"):
        rows = [columns]
        for n, text in enumerate(TEXTS):
            name = f"common_voice_nl_{part}{n}"
            clip(home / "clips" / f"{name}.mp3", seed=n, rate=48000)
            given = {"client_id": f"{part}-{n}", "path": name if version == "2" else f"{name}.mp3", "sentence": text}
            rows.append([{"locale": "nl", "up_votes": 2, "down_votes": n}.get(c, given.get(c, "")) for c in columns])
        write(home / f"{part}.tsv", *rows)
    return root


def librispeech(root):
    for part in ("train-clean-100", "dev-clean", "test-clean"):
        folder = root / "LibriSpeech" / part / "84" / "121123"
        for n in range(3):
            clip(folder / f"84-121123-000{n}.flac", seed=n)
        write(folder / "84-121123.trans.txt", *(f"84-121123-000{n} GO DO YOU HEAR {n}" for n in range(3)))
    return root


def mls(root, ending: str = ".flac"):
    home = root / ("mls_dutch" + "_opus" * (ending == ".opus"))
    for part in ("train", "dev", "test"):
        IDs = [f"1724_1459_00000{n}" for n in range(3)]
        for n, ID in enumerate(IDs):
            clip(home / part / "audio" / "1724" / "1459" / f"{ID}{ending}", seed=n, rate=16000)
        write(home / part / "transcripts.txt", *((ID, text.lower()) for ID, text in zip(IDs, TEXTS, strict=True)))
    limited = home / "train" / "limited_supervised"
    for n in range(6):
        write(limited / "1hr" / str(n) / "handles.txt", *(["1724_1459_000000"] if n == 0 else []))
    write(limited / "9hr" / "handles.txt", "1724_1459_000002")
    return root


def fleurs(root):
    home = root / "nl_nl"
    for part in ("train", "dev", "test"):
        rows = []
        for n, text in enumerate(TEXTS):
            name = f"1{n}047.wav"
            clip(home / "audio" / part / name, seed=n)
            rows.append(
                (7, name, f'"{text}', text.lower(), "d a g |", 4800, "FEMALE")
            )  # a stray quote, one sentence ID
        write(home / f"{part}.tsv", *rows)
    return root


def voxpopuli(root):
    home = root / "transcribed_data" / "nl"
    for part in ("train", "dev", "test"):
        rows = ["id raw_text normalized_text speaker_id split gender is_gold_transcript accent".split()]
        for n, text in enumerate(TEXTS):
            ID = f"20100210-0900-PLENARY-3-nl_20100210-09:06:4{n}_{n}"
            clip(home / "2010" / f"{ID}.ogg", seed=n)
            raw = "" if n == 1 else text
            rows.append((ID, raw, text.lower(), "None" if n == 2 else 1122, part, "female", n != 1, "None"))
        write(home / f"asr_{part}.tsv", *rows)
    return root


def cl_masr(root):
    for part in ("train", "dev", "test"):
        rows, own = [("ID", "mp3", "wrd", "locale", "duration")], [("client_id", "path", "sentence", "locale")]
        for language in ("nl", "eo"):
            for n, text in enumerate(TEXTS):
                name = f"common_voice_{language}_{part}{n}"
                clip(root / language / "clips" / f"{name}.mp3", seed=n, rate=32000)
                wrd = text.replace(",", " ").replace("'", " ").strip()
                rows.append((name, f"$data_root/{language}/clips/{name}.mp3", wrd, language, 0.3))
                own += [(f"{part}{n}", f"{name}.mp3", text, "nl")] if language == "nl" and n < 2 else []
        write(root / f"{part}.csv", *rows, sign=",")
        write(root / "nl" / f"{part}.tsv", *own)
    return root


def audiofolder(root, jsonl: bool = False):
    rows = []
    for part in ("train", "validation", "test"):
        rows += [(f"{part}/{n}.wav", text, f"s{n}") for n, text in enumerate(TEXTS)]
        for n in range(3):
            clip(root / "data" / part / f"{n}.wav", seed=n)
        if not jsonl:
            own = ((f"{n}.wav", f'"{text}"') for n, text in enumerate(TEXTS))
            write(root / "data" / part / "metadata.csv", "file_name,transcription", *own, sign=",")
    if jsonl:
        lines = (json.dumps({"file_name": f, "what": text, "speaker": s}) for f, text, s in rows)
        write(root / "data" / "metadata.jsonl", *lines)
    return root


def kaldi(root, segments: bool = False):
    """Without segments a row of each kind that cannot be used: no text, no recording, a command."""
    for part in ("train", "dev", "test"):
        folder, audio = root / "data" / part, root / "audio" / part
        if segments:
            clip(audio / "talk.wav", 3.0)
            write(folder / "wav.scp", f"talk audio/{part}/talk.wav")
            write(
                folder / "segments",
                "talk-0 talk 0 0.5",
                "talk-1 talk 0.5 1.25",
                "talk-2 talk 2.9 9.5",
                "talk-3 talk 1 2",
            )
            write(folder / "text", *(f"talk-{n} {text}" for n, text in enumerate(TEXTS)))
            write(folder / "utt2spk", *(f"talk-{n} anna" for n in range(4)))
        else:
            for n in range(3):
                clip(audio / f"{n}.flac", seed=n)
            files = [f"utt{n} {audio}/{n}.flac" for n in range(3)]
            write(folder / "wav.scp", *files, "utt3 /none/3.wav", f"utt5 sox {audio}/0.flac -t wav - |")
            write(folder / "text", "utt0  Dag,  wereld.", "utt1 Ja.", "utt4 Nee.", "utt5 Toch.", "utt6")
            write(folder / "utt2spk", "utt0 anna", "utt1 ben")
    return root


def lhotse(root, cuts: bool = False):
    for part in ("train", "dev", "test"):
        path = clip(root / "audio" / f"{part}.wav", 3.0)
        recording = {
            "id": "r", "sources": [{"type": "file", "channels": [0], "source": str(path)}], "sampling_rate": 16000,
            "num_samples": 48000, "duration": 3.0,
        }  # fmt: skip
        command = recording | {"id": "c", "sources": [{"type": "command", "channels": [0], "source": "rm -rf /"}]}
        spans = ((0.0, 0.5, "r"), (0.5, 0.75, "r"), (0.0, 1.0, "c"))
        supervisions = [
            {"id": f"s{n}", "recording_id": r, "start": start, "duration": length, "channel": 0, "text": TEXTS[n],
             "speaker": "anna", "language": "Dutch"} for n, (start, length, r) in enumerate(spans)
        ]  # fmt: skip
        if cuts:
            inside = supervisions[1] | {"start": -0.25}  # relative to its cut
            one = {"id": "cut", "type": "MonoCut", "start": 0.75, "duration": 2.0, "channel": 0, "recording": recording}
            rows = [one | {"supervisions": [inside]}, one | {"id": "empty", "supervisions": []},
                    {"id": "mix", "type": "MixedCut", "tracks": []}]  # fmt: skip
            found = {f"ours_cuts_{part}.jsonl": rows}
        else:
            found = {f"recordings_{part}.jsonl.gz": [recording, command], f"supervisions_{part}.jsonl.gz": supervisions}
        for name, rows in found.items():
            data = "".join(json.dumps(row) + "\n" for row in rows).encode()
            (root / name).write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    return root


def parquet(root, columns: dict[str, list], part: str = "train", folder: str = "data", shards: int = 1):
    """A hub version's files: `columns` without the audio, which is {bytes, path} of three clips."""
    import pyarrow
    from pyarrow import parquet as pq

    clips = []
    for n in range(3):
        path = clip(root / "made" / f"{n}.wav", seed=n)
        clips.append({"bytes": path.read_bytes(), "path": f"clip_{n}.wav"})
    table = pyarrow.table({"audio": clips} | columns)
    (root / folder).mkdir(parents=True, exist_ok=True)
    for shard in range(shards):
        rows = table.slice(shard * 3 // shards, 3 // shards)
        pq.write_table(rows, root / folder / f"{part}-{shard:05d}-of-{shards:05d}.parquet")
    return root


LAYOUTS = {
    "common_voice of version 2": functools.partial(common_voice, version="2"),
    "common_voice of version 6.1": functools.partial(common_voice, version="6.1"),
    "common_voice of version 23": functools.partial(common_voice, version="23.0"),
    "librispeech": librispeech,
    "mls": mls,
    "mls of opus": functools.partial(mls, ending=".opus"),
    "fleurs": fleurs,
    "voxpopuli": voxpopuli,
    "cl_masr": cl_masr,
    "audiofolder": audiofolder,
    "kaldi": kaldi,
    "kaldi with segments": functools.partial(kaldi, segments=True),
    "lhotse": lhotse,
    "lhotse of cuts": functools.partial(lhotse, cuts=True),
}
