"""Lhotse's manifests (https://lhotse.readthedocs.io) -> utterances: recordings with supervisions, or cuts.

    [prefix_]recordings_train.jsonl.gz and [prefix_]supervisions_train.jsonl.gz
    [prefix_]cuts_train.jsonl.gz

.jsonl is read, too. Parts are train, dev (or valid) and test; others are named by the option `parts`. What is not a
file (a command, a url, memory), a mixed or padded cut, and one channel of several are refused, each with its reason.
The other way, `carryover data MANIFEST --lhotse FOLDER` writes recordings and supervisions.
"""

import gzip
import json
import re
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from carryover.data import parts as parts_of
from carryover.data.table import found_at
from carryover.data.utterance import Utterance

PARTS = {"train": ("train",), "valid": ("dev", "valid", "validation"), "test": ("test",)}

LONGEST = 16_000_000  # bytes of a line


def utterances(
    data_folder: str | Path,
    language: str,
    splits: Sequence[str],
    *,
    parts: Mapping[str, Sequence[str]] | None = None,
) -> Iterator[Utterance]:
    """One utterance a supervision; ID, text, speaker and times are the supervision's.

    Parameters
    ----------
    data_folder : path
        Folder of the manifests. Relative paths in them are looked for from the working directory, then from here.
    language : str
        What the run calls it; lhotse's own names ("Dutch") are not compared.
    splits : sequence of str
        Of "train", "valid" and "test".
    parts : dict, optional
        Parts by split, e.g. {train: [train-clean-100, train-clean-360], valid: [dev-clean]}.

    Raises
    ------
    ValueError
        Where a manifest is lacking or broken.
    """
    home = Path(data_folder).expanduser()
    for split in splits:
        wanted = (parts or {}).get(split)
        for part in wanted or [name for name in PARTS.get(split, (split,)) if _files(home, name)][:1]:
            yield from _part(home, part, split, language)
        if not wanted and not any(_files(home, name) for name in PARTS.get(split, (split,))):
            raise _lacking(home, PARTS.get(split, (split,)))


def _files(home: Path, part: str) -> dict[str, Path]:
    """The manifests of a part by kind."""
    pattern = re.compile(rf"(?:.*[_.-])?(recordings|supervisions|cuts)[_.-]{re.escape(part)}\.jsonl(\.gz)?")
    return {m[1]: path for path in sorted(home.glob("*.jsonl*")) if (m := pattern.fullmatch(path.name))}


def _lacking(home: Path, names: Sequence[str]) -> ValueError:
    return ValueError(
        f"data_folder: '{home}' {found_at(home)}; expected lhotse's recordings_{names[0]}.jsonl.gz and "
        f"supervisions_{names[0]}.jsonl.gz, or cuts_{names[0]}.jsonl.gz (or {', '.join(names[1:]) or 'option parts'})"
    )


def _part(home: Path, part: str, split: str, language: str) -> Iterator[Utterance]:
    files = _files(home, part)
    if {"recordings", "supervisions"} <= files.keys():
        recordings = {recording["id"]: recording for recording in _read(files["recordings"])}
        for supervision in _read(files["supervisions"]):
            recording = recordings.get(supervision["recording_id"])
            yield _utterance(home, split, language, supervision, recording, 0.0)
    elif "cuts" in files:
        for cut in _read(files["cuts"]):
            yield from _cut(home, split, language, cut)
    else:
        raise _lacking(home, [part])


def _cut(home: Path, split: str, language: str, cut: dict) -> Iterator[Utterance]:
    kind = cut.get("type", "MonoCut")
    if kind not in ("MonoCut", "MultiCut"):
        texts = [s.get("text") or "" for track in cut.get("tracks", ()) for s in track["cut"].get("supervisions", ())]
        yield Utterance(
            cut["id"], "", language, "", " ".join(texts), split, refused=f"cut is not one stretch of a file: {kind}"
        )
    elif not cut.get("supervisions"):
        yield Utterance(
            cut["id"], "", language, "", "", split, refused="transcript is lacking: a cut without supervision"
        )
    else:
        for supervision in cut["supervisions"]:
            yield _utterance(home, split, language, supervision, cut.get("recording"), cut["start"])


def _utterance(
    home: Path, split: str, language: str, supervision: dict, recording: dict | None, offset: float
) -> Utterance:
    audio, refused = _audio(home, supervision, recording, offset)
    return Utterance(
        ID=supervision["id"],
        audio=audio,
        language=language,
        speaker=supervision.get("speaker") or "",
        text=(supervision.get("text") or "").strip(),
        split=split,
        refused=refused,
    )


def _audio(home: Path, supervision: dict, recording: dict | None, offset: float) -> tuple[str, str | None]:
    """`audio` of a supervision, and why it cannot be used, or None."""
    if recording is None:
        return "", f"recording is lacking: no '{supervision.get('recording_id')}'"
    sources = recording["sources"]
    if len(sources) != 1 or sources[0]["type"] != "file":
        return "", f"recording is not one file: {', '.join(source['type'] for source in sources)}"
    if recording.get("transforms"):
        return "", "recording is transformed, e.g. in speed: write it to a file first"
    meant = supervision.get("channel", 0)
    meant = set(meant) if isinstance(meant, list) else {meant}
    if meant != set(sources[0]["channels"]):
        return (
            "",
            f"channel {sorted(meant)} of {sources[0]['channels']}: channels are averaged; write it to a file first",
        )
    path = Path(sources[0]["source"])
    path = path if path.exists() else home / path
    start = offset + supervision["start"]
    if start < 1e-6 and abs(supervision["duration"] - recording["duration"]) < 1e-3:
        return str(path), None
    if start < 0 or supervision["duration"] <= 0:
        return str(path), f"segment is no stretch of time: it begins at {start:g} s, for {supervision['duration']:g} s"
    return parts_of.named(str(path), start, start + supervision["duration"]), None


def _lines(path: Path) -> Iterator[bytes]:
    """Lines of a file, unpacked as they are read: a few bytes of gzip can hold gigabytes."""
    try:
        with (gzip.open if path.suffix == ".gz" else open)(path, "rb") as file:
            while line := file.readline(LONGEST + 1):
                if len(line) > LONGEST:
                    raise ValueError(f"{path}: a line of more than {LONGEST:,} bytes; no list of lhotse's has such")
                yield line
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(f"{path}: {error}; it is cut or no gzip: write it again") from error


def _read(path: Path) -> Iterator[dict]:
    for number, line in enumerate(_lines(path), start=1):
        if line.strip():
            try:
                row = json.loads(line)
                row["id"], row.get("sources"), row.get("supervisions")
            except (ValueError, TypeError, KeyError, AttributeError) as error:
                raise ValueError(f"{path}:{number}: no object of lhotse's ({error}); correct that line") from None
            yield row
