"""Mozilla Common Voice: the extracted tarball of one language -> validated manifests.

The tarball (https://commonvoice.mozilla.org/datasets) is extracted with `tar -xzf`. It holds `<release>/<language>/`
with clips/*.mp3, train.tsv, dev.tsv and test.tsv.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from carryover.data import manifest
from carryover.data.manifest import Utterance

COLUMNS = ("client_id", "path", "sentence", "locale")  # of some dozen, those the manifests need; votes can be absent


def prepare(
    data_folder: str | Path,
    folder: str | Path,
    language: str,
    splits: Sequence[str],
    check: Callable[[Utterance], str | None],
    seed: int = 1234,
    workers: int = 2,
    *,
    sample: Mapping[str, int] | int | None = None,
    sample_seed: int = 42,
    metadata_check: Callable[[Utterance], str | None] | None = None,
) -> dict[str, int]:
    """Write the manifests of a Common Voice language.

    The official splits are kept: their speakers do not overlap. Speaker is `client_id`, ID the clip's name without
    .mp3. Clips are mp3 at 32 or 48 kHz and stay as they are; they are resampled when read.

    Parameters
    ----------
    data_folder : path
        `.../cv-corpus-21.0-2025-03-14/de`, or the folder above it.
    folder : path
        Gets the manifests; see `carryover.data.manifest.build`.
    language : str
        Common Voice's own code, as in the column `locale`: "de", "nl", "sv-SE".
    splits : sequence of str
        "train", "valid" (dev.tsv) and "test"; any other name is read from `<name>.tsv`, e.g. "other".
    check : callable
        Returns the reason to refuse an Utterance, or None.
    seed : int
        Not used, for `sample_seed` decides a sample. train.py calls every `prepare` alike.
    workers : int
        Threads that decode audio.
    sample, sample_seed, metadata_check
        Utterances to draw of what passes the metadata, before audio is opened: a number for train, or a dict by split;
        see `carryover.data.manifest.build`. In a YAML:
        `prepare: !name:local.common_voice.prepare {sample: 150000, sample_seed: 42}`.

    Returns
    -------
    counts : dict
        {"train": kept, ..., "rejected": refused}, with a sample also "not_sampled".

    Raises
    ------
    ValueError
        Where the folder is not an extracted Common Voice language, or not that of `language`.
    """
    root = _language_folder(Path(data_folder).expanduser(), language, splits)
    settings = {"corpus": "common_voice", "data_folder": root, "language": language, "splits": list(splits)}
    utterances = [u for split in splits for u in _read(root, split, language)]
    drawn = {"sample": sample, "sample_seed": sample_seed, "metadata_check": metadata_check}
    return manifest.build(utterances, folder, check, settings, workers, **drawn)


def _tsv(split: str) -> str:
    return "dev.tsv" if split == "valid" else f"{split}.tsv"


def _language_folder(data_folder: Path, language: str, splits: Sequence[str]) -> Path:
    root = data_folder
    if not any((root / _tsv(split)).exists() for split in splits) and (root / language).is_dir():
        root = root / language
    lacking = [name for name in (*map(_tsv, splits), "clips") if not (root / name).exists()]
    if not lacking:
        return root
    holds = manifest.found_at(root)
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
    for _, row in manifest.read_table(path):
        lacking = [column for column in COLUMNS if column not in row]
        if lacking:
            raise ValueError(
                f"data_folder: {path} has no column {', '.join(map(repr, lacking))}; found {', '.join(row)}; expected "
                f"Common Voice's {', '.join(COLUMNS)}; a table of your own is read by local.manifest.prepare"
            )
        locales[row["locale"]] += 1
        yield Utterance(
            ID=Path(row["path"]).stem,
            audio=str(root / "clips" / row["path"]),
            language=language,
            speaker=row["client_id"],
            text=row["sentence"].strip(),
            split=split,
            votes=manifest.votes(row),
        )
    if not locales:
        raise ValueError(f"data_folder: {path} lists no clip; take '{split}' out of splits, or a larger release")
    if set(locales) != {language}:
        raise ValueError(
            f"language: '{language}' was asked for, but the column 'locale' of {path} holds {dict(locales)}; set "
            f"language to that, or data_folder to the folder of '{language}'"
        )
