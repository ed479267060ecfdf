"""RWTH-PHOENIX-Weather 2014: German Sign Language of televised weather forecasts -> utterances.

The release (https://www-i6.informatik.rwth-aachen.de/~koller/RWTH-PHOENIX/) is read as it is extracted:

    phoenix2014-release/
      phoenix-2014-multisigner/
        annotations/manual/{train,dev,test}.corpus.csv      id|folder|signer|annotation
        features/fullFrame-210x260px/{train,dev,test}/      the video, a png a frame, 25 frames a second
      phoenix-2014-signerindependent-SI5/
        annotations/manual/{train,dev,test}.SI5.corpus.csv  the same columns; dev and test are signer 05 alone

A row is `01April_2010_Thursday_heute_default-0|01April_2010_Thursday_heute_default-0/1/*.png|Signer04|__ON__ LIEB
ZUSCHAUER ABEND WINTER GESTERN loc-NORD`. The multisigner set has 5 672, 540 and 629 sentences by 9 signers, who are the
same in all three. Landmarks are not part of the release: they are extracted from the frames (`local.landmarks.extract`
of a video made of them, or pose-format) and expected as `landmarks/{train,dev,test}/<id>.npz`, .npy or .pose.

Glosses stand here as annotated, `__ON__` and `loc-` among them. Published error rates are of the release's evaluation
script, which removes or merges some of these in reference and hypothesis: a rate of ours is not comparable to them.
PHOENIX-2014-T, the translation corpus, has other columns (name|video|start|end|speaker|orth|translation); its rows
can be listed for local/landmarks.py.
"""

import csv
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from carryover.data.table import found_at
from carryover.data.utterance import Utterance
from local.landmarks import vocabulary

COLUMNS = ("id", "folder", "signer", "annotation")
NAMES = {"train": "train", "valid": "dev", "test": "test"}  # ours and theirs
MULTISIGNER = Path("phoenix-2014-multisigner")


def utterances(
    data_folder: str | Path,
    language: str,
    splits: Sequence[str],
    *,
    landmarks: str | Path = "landmarks",
    fps: float = 25.0,
) -> Iterator[Utterance]:
    """The sentences of PHOENIX-2014; the official splits are kept. `audio` is the landmark file's path.

    Parameters
    ----------
    data_folder : path
        `phoenix-2014-multisigner` or `phoenix-2014-signerindependent-SI5`; of the folders above, the multisigner set is
        taken.
    language : str
        What the manifests call it, e.g. "gsg" (ISO 639-3 for German Sign Language).
    splits : sequence of str
        Of "train", "valid" (their dev) and "test".
    landmarks : path
        Folder of the landmark files, absolute or relative to the corpus; holds train/, dev/ and test/.
    fps : float
        Frames a second where the file does not tell; the corpus has 25.

    Raises
    ------
    ValueError
        Where the folder is not the corpus's, it has no landmarks, or a line is broken.
    """
    root = _root(Path(data_folder).expanduser(), splits)
    home = root / landmarks
    if lacking := [NAMES[split] for split in splits if not (home / NAMES[split]).is_dir()]:
        raise ValueError(
            f"landmarks: '{home}' {found_at(home)}; expected folders {', '.join(lacking)} with a "
            "landmark file <id>.npz, .npy or .pose for each sentence; the release holds video frames alone: extract "
            "them first (local.landmarks.extract), or set landmarks to where they are"
        )
    for split in splits:
        for row in _rows(root, split):
            yield Utterance(
                ID=row["id"],
                audio=str(_file(home / NAMES[split], row["id"])),
                language=language,
                speaker=row["signer"],
                text=row["annotation"].strip(),
                split=split,
                fps=fps,
            )


def glosses(data_folder: str | Path, language: str, *, target_text: Callable[[str], str] = str) -> list[str]:
    """The training split's glosses, sorted; arguments as `local.landmarks.glosses`."""
    root = _root(Path(data_folder).expanduser(), ["train"])
    return vocabulary(target_text(row["annotation"]) for row in _rows(root, "train"))


def _list(root: Path, split: str) -> Path:
    """The annotation file of a split, of the multisigner set unless that of the signer-independent one is there."""
    manual = root / "annotations" / "manual"
    independent = manual / f"{NAMES[split]}.SI5.corpus.csv"
    return independent if independent.exists() else manual / f"{NAMES[split]}.corpus.csv"


def _root(data_folder: Path, splits: Sequence[str]) -> Path:
    if unknown := [split for split in splits if split not in NAMES]:
        raise ValueError(f"splits: found '{unknown[0]}'; PHOENIX-2014 has {', '.join(NAMES)}")
    for root in (data_folder, data_folder / MULTISIGNER, data_folder / "phoenix2014-release" / MULTISIGNER):
        if all(_list(root, split).exists() for split in splits):
            return root
    raise ValueError(
        f"data_folder: '{data_folder}' {found_at(data_folder)}; expected PHOENIX-2014's folder "
        f"{MULTISIGNER} with annotations/manual/{NAMES[splits[0]]}.corpus.csv; correct data_folder, or extract the "
        "release (PHOENIX-2014-T is another corpus: list its rows for local.landmarks.utterances)"
    )


def _rows(root: Path, split: str) -> Iterator[dict[str, str]]:
    path = _list(root, split)
    with open(path, newline="", encoding="utf-8-sig") as file:
        reader = csv.reader(file, delimiter="|", quoting=csv.QUOTE_NONE)
        header = next(reader, [])
        if tuple(header) != COLUMNS:
            raise ValueError(
                f"{path}: columns {'|'.join(header)}; expected {'|'.join(COLUMNS)}, as PHOENIX-2014 has them"
            )
        for fields in reader:
            if len(fields) != len(COLUMNS):
                raise ValueError(
                    f"{path}:{reader.line_num}: {len(fields)} fields; expected {len(COLUMNS)} ({'|'.join(COLUMNS)}); "
                    "correct that line"
                )
            yield dict(zip(COLUMNS, fields, strict=True))


def _file(home: Path, name: str) -> Path:
    """The landmark file of a sentence; where there is none, the .npz that is missed."""
    files = [home / f"{name}{ending}" for ending in (".npz", ".npy", ".pose")]
    return next((file for file in files if file.exists()), files[0])
