"""FLEURS (https://huggingface.co/datasets/google/fleurs): the extracted files of one language -> utterances.

    nl_nl/{train,dev,test}.tsv             id, file name, raw transcript, transcript, characters, samples, gender;
                                           no header, no quoting
    nl_nl/audio/{train,dev,test}.tar.gz    to be extracted beside: audio/train/*.wav

The tar files hold a folder of their split's name. Speakers are not told. The hub's parquet files are read by
local/parquet.py.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

from carryover.data.utterance import Utterance
from local.layout import lines, official, root_of


def utterances(
    data_folder: str | Path, language: str, splits: Sequence[str], *, normalised: bool = False
) -> Iterator[Utterance]:
    """The recordings of one language; the official splits are kept. ID is the file's name: a sentence has several.

    Parameters
    ----------
    data_folder : path
        `nl_nl`, or a folder above it (`data/nl_nl` as on the hub).
    language : str
        "nl", or FLEURS's own code "nl_nl".
    splits : sequence of str
        Of "train", "valid" (their dev) and "test".
    normalised : bool
        Take the corpus's transcript in small letters without punctuation instead of the raw one.

    Raises
    ------
    ValueError
        Where the folder is not the corpus's, or its audio is still packed.
    """
    theirs = official(splits, "FLEURS")
    home = Path(data_folder).expanduser()
    name = language if "_" in language else f"{language}_*"
    needed = [f"{part}.tsv" for part in theirs.values()]
    root = root_of(home, [name, f"data/{name}"], needed, f"FLEURS's folder of '{language}'")
    if "_" in root.name and root.name.split("_")[0] != language.split("_")[0]:
        raise ValueError(f"language: '{language}' was asked for, but data_folder is '{root.name}'; correct one of them")
    for split, part in theirs.items():
        audio = next(
            (root / at for at in (f"audio/{part}/{part}", f"audio/{part}", part) if (root / at).is_dir()), None
        )
        if audio is None:
            raise ValueError(
                f"data_folder: '{root}' holds no audio of {part}; expected audio/{part}/*.wav; extract it first: "
                f"tar -xzf {root}/audio/{part}.tar.gz -C {root}/audio"
            )
        for _, file, raw, text, *_ in lines(root / f"{part}.tsv", "\t", 7):
            yield Utterance(Path(file).stem, str(audio / file), language, "", text if normalised else raw, split)
