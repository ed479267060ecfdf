"""What the readers of official layouts share: names of splits, and the folder in which a corpus is found."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from carryover.data.table import found_at

THEIRS = {"train": "train", "valid": "dev", "test": "test"}  # of most corpora
KINDS = (".flac", ".opus", ".ogg", ".mp3", ".wav", ".m4a")


def official(splits: Sequence[str], corpus: str, names: dict[str, str] = THEIRS) -> dict[str, str]:
    """Their names by ours, of the splits that are asked for; ValueError for one that the corpus has not."""
    if unknown := [split for split in splits if split not in names]:
        raise ValueError(f"splits: found '{unknown[0]}'; {corpus} has {', '.join(names)}")
    return {split: names[split] for split in splits}


def root_of(data_folder: str | Path, below: Iterable[str], needed: Sequence[str], corpus: str) -> Path:
    """The first of a folder and of what matches `below` in it (patterns) that holds all of `needed`.

    Raises
    ------
    ValueError
        Naming what is lacking in the folder that holds the most of it.
    """
    home = Path(data_folder).expanduser()
    found = [home, *(path for pattern in below for path in sorted(home.glob(pattern)) if path.is_dir())]
    found = list(dict.fromkeys(found))

    def lacking(root: Path) -> list[str]:
        return [name for name in needed if not (root / name).exists()]

    best = min(found, key=lambda root: len(lacking(root)))
    if not lacking(best):
        return best
    holds = found_at(best)
    packed = best.is_file() or any(end in holds for end in (".tar.gz", ".tgz", ".zip", ".tar"))
    advice = "extract the archive first (tar -xzf)" if packed else "correct data_folder, or extract the archive again"
    raise ValueError(
        f"data_folder: '{best}' {holds}; expected {corpus} with {', '.join(needed)} (lacking: "
        f"{', '.join(lacking(best))}); {advice}"
    )


def lines(path: Path, sign: str | None, fields: int) -> Iterator[list[str]]:
    """Lines of a text without a header, cut into `fields` by a sign (None: blanks; the last field is the rest).

    Raises
    ------
    ValueError
        With file and line, where there are fewer, or the file is not UTF-8.
    """
    for number, line in enumerate(path.read_bytes().split(b"\n"), start=1):
        if not line.strip():
            continue
        try:
            found = line.decode("utf-8-sig").rstrip("\r").split(sign, fields - 1)
        except UnicodeDecodeError as error:
            raise ValueError(f"{path}:{number}: not UTF-8 ({error}); save the file as UTF-8") from error
        if len(found) < fields:
            raise ValueError(f"{path}:{number}: {len(found)} fields; expected {fields}; correct that line")
        yield [field.strip() for field in found]


def recording(stem: Path) -> str:
    """Path of the recording of a name without its ending; where there is none, the .flac that is missed."""
    # not with_suffix: names hold dots and times
    found = (stem.parent / f"{stem.name}{end}" for end in KINDS)
    return str(next((path for path in found if path.exists()), stem.parent / f"{stem.name}{KINDS[0]}"))
