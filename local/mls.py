"""Multilingual LibriSpeech (https://www.openslr.org/94): the extracted archive of one language -> utterances.

    mls_dutch/{train,dev,test}/transcripts.txt                      "ID<tab>text" a line, in small letters
                               audio/<speaker>/<book>/<ID>.flac     .opus in mls_dutch_opus
    mls_dutch/train/limited_supervised/{9hr,1hr/0,...,1hr/5}/handles.txt   IDs of the official ten hours

The hub's parquet files are read by local/parquet.py.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

from carryover.data.utterance import Utterance
from local.layout import lines, official, recording, root_of

NAMES = {
    "de": "german", "en": "english", "es": "spanish", "fr": "french", "it": "italian", "nl": "dutch", "pl": "polish",
    "pt": "portuguese",
}  # fmt: skip
LIMITED = {"10min": ["1hr/0"], "1h": ["1hr/*"], "10h": ["9hr", "1hr/*"]}  # nested; the hour is six times ten minutes


def utterances(
    data_folder: str | Path, language: str, splits: Sequence[str], *, limited: str | None = None
) -> Iterator[Utterance]:
    """The utterances of one language; the official splits are kept. Speaker is the reader's number, in the ID.

    Parameters
    ----------
    data_folder : path
        `mls_dutch` or `mls_dutch_opus`, or the folder above it.
    language : str
        ISO 639-1, e.g. "nl".
    splits : sequence of str
        Of "train", "valid" (their dev) and "test".
    limited : str, optional
        "10h", "1h" or "10min" of training data, by the official lists.

    Raises
    ------
    ValueError
        Where the folder is not the corpus's or another language's.
    """
    theirs = official(splits, "Multilingual LibriSpeech")
    if language not in NAMES:
        raise ValueError(f"language: '{language}'; Multilingual LibriSpeech has {', '.join(NAMES)}")
    if limited not in (None, *LIMITED):
        raise ValueError(f"limited: '{limited}'; expected {', '.join(LIMITED)} or null")
    name = f"mls_{NAMES[language]}"
    needed = [f"{part}/{file}" for part in theirs.values() for file in ("transcripts.txt", "audio")]
    root = root_of(data_folder, [name, f"{name}_opus"], needed, f"Multilingual LibriSpeech's {name}")
    if root.name.startswith("mls_") and root.name not in (name, f"{name}_opus"):
        raise ValueError(f"language: '{language}' was asked for, but data_folder is '{root.name}'; correct one of them")
    for split, part in theirs.items():
        chosen = _handles(root, limited) if limited and split == "train" else None
        for ID, text in lines(root / part / "transcripts.txt", "\t", 2):
            if chosen is None or ID in chosen:
                speaker, book, *_ = ID.split("_")
                yield Utterance(
                    ID, recording(root / part / "audio" / speaker / book / ID), language, speaker, text, split
                )


def _handles(root: Path, limited: str) -> set[str]:
    patterns = [f"train/limited_supervis*/{part}/handles.txt" for part in LIMITED[limited]]
    files = [path for pattern in patterns for path in sorted(root.glob(pattern))]
    if not files:
        raise ValueError(
            f"limited: '{root}' has no {' or '.join(patterns)}; extract the archive again, or leave it out"
        )
    return {ID for path in files for (ID,) in lines(path, None, 1)}
