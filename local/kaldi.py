"""Kaldi's data directories (https://kaldi-asr.org/doc/data_prep.html) -> utterances.

    data/{train,dev,test}/wav.scp      "RECORDING path"; a command ("... |") is refused, for carryover executes none
                          text         "UTTERANCE transcript"
                          segments     "UTTERANCE RECORDING start end" in seconds; without it a recording each
                          utt2spk      "UTTERANCE speaker"

What one of the files lacks is refused with its reason: an utterance without a recording, a recording without a text.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from carryover.data import parts
from carryover.data.utterance import Utterance
from local.layout import lines, official, root_of

SETS = {"train": "train", "valid": "dev", "test": "test"}


def utterances(
    data_folder: str | Path,
    language: str,
    splits: Sequence[str],
    *,
    sets: Mapping[str, str] | None = None,
) -> Iterator[Utterance]:
    """The utterances of some sets, in the order of `text`.

    Parameters
    ----------
    data_folder : path
        The folder of the sets (usually `data`). Relative paths of wav.scp are looked for from the working directory,
        from this folder and from the one above it, as Kaldi's recipes write them.
    language : str
        Of all utterances.
    splits : sequence of str
        Of "train", "valid" and "test".
    sets : dict, optional
        Directory by split, e.g. {train: train_si284, valid: test_dev93, test: test_eval92}; else train, dev, test.

    Raises
    ------
    ValueError
        Where a set is not there, or a line of it is broken.
    """
    theirs = official(splits, "the Kaldi folder", SETS | dict(sets or {}))
    needed = [f"{name}/{file}" for name in theirs.values() for file in ("wav.scp", "text")]
    root = root_of(data_folder, ["data"], needed, "Kaldi's data directories")
    for split, name in theirs.items():
        yield from _set(root, root / name, split, language)


def _set(root: Path, folder: Path, split: str, language: str) -> Iterator[Utterance]:
    recordings = dict(lines(folder / "wav.scp", None, 2))
    texts = {found[0]: found[1] if len(found) > 1 else "" for found in _texts(folder / "text")}
    speakers = dict(lines(folder / "utt2spk", None, 2)) if (folder / "utt2spk").exists() else {}
    spans = None
    if (folder / "segments").exists():
        spans = {ID: (rec, *times) for ID, rec, *times in lines(folder / "segments", None, 4)}
    for ID in dict.fromkeys([*texts, *(recordings if spans is None else spans)]):
        rec, *times = (ID,) if spans is None else spans.get(ID, ("",))
        audio, refused = _audio(root, recordings.get(rec), times)
        if rec == "":
            refused = "segment is lacking: `segments` has no such utterance"
        elif rec not in recordings:
            refused = f"recording is lacking: wav.scp has no '{rec}'"
        elif ID not in texts:
            refused = "transcript is lacking: `text` has no such utterance"
        yield Utterance(ID, audio, language, speakers.get(ID, ""), texts.get(ID, ""), split, refused=refused)


def _texts(path: Path) -> Iterator[list[str]]:
    for (line,) in lines(path, "\n", 1):
        yield line.split(None, 1)


def _audio(root: Path, entry: str | None, times: Sequence[str]) -> tuple[str, str | None]:
    """What wav.scp and segments name as an utterance's `audio`, and why it cannot be used, or None."""
    if entry is None:
        return "", None
    if entry.endswith("|"):
        return entry, f"recording is made by a command, which is not executed: {entry}"
    path = next((at for at in (Path(entry), root / entry, root.parent / entry) if at.exists()), Path(entry))
    if not times:
        return str(path), None
    try:
        start, end = map(float, times)
    except ValueError:
        return str(path), f"segment has no times: '{' '.join(times)}'"
    if end == -1:
        return str(path), "segment has no end: -1, up to the recording's end, is not read; give its time"
    if not 0 <= start < end < float("inf"):
        return str(path), f"segment is no stretch of time: it begins at {start:g} s and ends at {end:g} s"
    return parts.named(str(path), start, end), None
