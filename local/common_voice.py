"""Mozilla Common Voice, any version: the extracted tarball of one language -> utterances.

The tarball (of Mozilla Data Collective, https://datacollective.mozillafoundation.org) is extracted with `tar -xzf`. It
holds `<release>/<language>/` with clips/*.mp3, train.tsv, dev.tsv and test.tsv. Columns came and went between versions:
2 and 3 have no `locale`, and paths without .mp3. The archive on Zenodo of CL-MASR has the same layout for each of its
languages; the lists that its script makes of it are read by local/cl_masr.py, the hub's parquet files by
local/parquet.py.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from carryover.data.table import found_at, read_table, votes
from carryover.data.utterance import Utterance

COLUMNS = ("client_id", "path", "sentence")  # of some dozen, those the manifests need


def utterances(data_folder: str | Path, language: str, splits: Sequence[str]) -> Iterator[Utterance]:
    """The clips of a Common Voice language.

    The official splits are kept: their speakers do not overlap. Speaker is `client_id`, ID the clip's name without
    .mp3. Clips are mp3 at 32 or 48 kHz and stay as they are; they are resampled when read.

    Parameters
    ----------
    data_folder : path
        `.../cv-corpus-21.0-2025-03-14/de`, or the folder above it.
    language : str
        Common Voice's own code, as in the column `locale`: "de", "nl", "sv-SE".
    splits : sequence of str
        "train", "valid" (dev.tsv) and "test"; any other name is read from `<name>.tsv`, e.g. "other".

    Raises
    ------
    ValueError
        Where the folder is not an extracted Common Voice language, or not that of `language`.
    """
    root = _language_folder(Path(data_folder).expanduser(), language, splits)
    for split in splits:
        yield from _read(root, split, language)


def _tsv(split: str) -> str:
    return "dev.tsv" if split == "valid" else f"{split}.tsv"


def _language_folder(data_folder: Path, language: str, splits: Sequence[str]) -> Path:
    root = data_folder
    if not any((root / _tsv(split)).exists() for split in splits):
        releases = [path for path in sorted(root.glob(f"cv-corpus-*/{language}")) if path.is_dir()]
        if len(releases) > 1:
            names = ", ".join(path.parent.name for path in releases)
            raise ValueError(f"data_folder: '{root}' holds {names}; expected one release; set data_folder to one")
        root = root / language if (root / language).is_dir() else next(iter(releases), root)
    lacking = [name for name in (*map(_tsv, splits), "clips") if not (root / name).exists()]
    if not lacking:
        return root
    holds = found_at(root)
    if root.name.endswith((".tar.gz", ".tar")) or ".tar.gz" in holds:
        advice = (
            f"the archive is still packed; extract it first (tar -xzf) and set data_folder to the folder '{language}'"
        )
    elif root.is_dir() and len(lacking) == len(splits) + 1:  # nothing of it is there
        advice = (
            f"set data_folder to the folder '{language}' of the extracted tarball, and language to the one it holds"
        )
    else:
        advice = "correct data_folder, or extract the tarball again"
    raise ValueError(
        f"data_folder: '{root}' {holds}; expected the Common Voice folder of language '{language}' with "
        f"{', '.join(map(_tsv, splits))} and clips/ (lacking: {', '.join(lacking)}); {advice}"
    )


def _read(root: Path, split: str, language: str) -> Iterator[Utterance]:
    path, locales = root / _tsv(split), Counter()
    for _, row in read_table(path):
        lacking = [column for column in COLUMNS if column not in row]
        if lacking:
            raise ValueError(
                f"data_folder: {path} has no column {', '.join(map(repr, lacking))}; found {', '.join(row)}; expected "
                f"Common Voice's {', '.join(COLUMNS)}; a table of your own is read by local.table.utterances"
            )
        locales[row.get("locale", language)] += 1
        yield Utterance(
            ID=Path(row["path"]).stem,
            audio=str(root / "clips" / (row["path"] if Path(row["path"]).suffix else f"{row['path']}.mp3")),
            language=language,
            speaker=row["client_id"],
            text=row["sentence"].strip(),
            split=split,
            votes=votes(row),
        )
    if not locales:
        raise ValueError(f"data_folder: {path} lists no clip; take '{split}' out of splits, or a larger release")
    if set(locales) != {language}:
        raise ValueError(
            f"language: '{language}' was asked for, but the column 'locale' of {path} holds {dict(locales)}; set "
            f"language to that, or data_folder to the folder of '{language}'"
        )
