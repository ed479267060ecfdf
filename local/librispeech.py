"""LibriSpeech (https://www.openslr.org/12): the extracted archives -> utterances.

    LibriSpeech/<part>/<speaker>/<chapter>/<speaker>-<chapter>-<nnnn>.flac
                                           <speaker>-<chapter>.trans.txt      "ID TEXT" a line, in capitals

Parts are train-clean-100, train-clean-360, train-other-500, dev-clean, dev-other, test-clean and test-other.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from carryover.data.utterance import Utterance
from local.layout import lines, official, recording, root_of

PARTS = {
    "train": ("train-clean-100", "train-clean-360", "train-other-500"),
    "valid": ("dev-clean",),
    "test": ("test-clean",),
}


def utterances(
    data_folder: str | Path,
    language: str,
    splits: Sequence[str],
    *,
    parts: Mapping[str, Sequence[str]] | None = None,
) -> Iterator[Utterance]:
    """The utterances of some parts; ID and speaker are the corpus's own.

    Parameters
    ----------
    data_folder : path
        `LibriSpeech`, or the folder above it.
    language : str
        "en"; nothing in the corpus says so.
    splits : sequence of str
        Of "train", "valid" and "test".
    parts : dict, optional
        Parts by split, e.g. {train: [train-clean-100], test: [test-clean, test-other]}; else those training parts that
        are there, dev-clean and test-clean.

    Raises
    ------
    ValueError
        Where a part is not there, or a line of its transcripts is broken.
    """
    home = Path(data_folder).expanduser()
    there = [name for name in PARTS["train"] if (home / name).is_dir() or (home / "LibriSpeech" / name).is_dir()]
    known = PARTS | {"train": tuple(there) or PARTS["train"][:1]} | {k: tuple(v) for k, v in (parts or {}).items()}
    wanted = official(splits, "LibriSpeech", known)
    root = root_of(home, ["LibriSpeech"], sorted({part for names in wanted.values() for part in names}), "LibriSpeech")
    for split, names in wanted.items():
        for part in names:
            for path in sorted((root / part).glob("*/*/*.trans.txt")):
                for ID, text in lines(path, None, 2):
                    speaker = ID.split("-")[0]
                    yield Utterance(ID, recording(path.parent / ID), language, speaker, text, split)
