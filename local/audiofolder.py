"""A folder as the library `datasets` reads it (audiofolder): clips beside metadata.csv or metadata.jsonl -> utterances.

    folder/train/metadata.csv           file_name, transcription, ...; file_name is relative to the list
    folder/{validation,test}/metadata.csv
    folder/metadata.jsonl               or one list, whose file_name begins with the split's folder

`data/` may stand between. Names of splits are those that datasets knows; columns are local/table.py's.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from carryover.data.table import found_at
from carryover.data.utterance import Utterance
from local import table

SPLITS = {"train": ("train", "training"), "valid": ("validation", "valid", "dev", "val"),
          "test": ("test", "testing", "eval", "evaluation")}  # fmt: skip
LISTS = ("metadata.csv", "metadata.jsonl")


def utterances(
    data_folder: str | Path,
    language: str,
    splits: Sequence[str],
    *,
    columns: Mapping[str, str] | None = None,
    only: str | None = None,
) -> Iterator[Utterance]:
    """The clips that a folder's lists name.

    Parameters
    ----------
    data_folder : path
        The folder that `load_dataset("audiofolder", data_dir=...)` is given.
    language : str
        Of all clips that no column `language` says otherwise of.
    splits : sequence of str
        Of "train", "valid" and "test".
    columns, only
        As `local.table.utterances`.

    Raises
    ------
    ValueError
        Where there is no list, or none of a split that is asked for.
    """
    home = Path(data_folder).expanduser()
    aliases = table.mapped({"audio": "file_name"} | dict(columns or {}))
    lists = [path for name in LISTS for path in sorted(home.glob(f"**/{name}"))]
    rows = [row | {"split": _split(row, home) or only} for path in lists for row in table.listed(path, aliases)]
    for split in splits:
        if not any(row["split"] == split for row in rows):
            raise ValueError(
                f"data_folder: '{home}' {found_at(home)}; expected {' or '.join(LISTS)} with clips of split '{split}' "
                f"in a folder named {', '.join(SPLITS[split])}; correct data_folder, or take '{split}' out of splits"
            )
    used = [row for row in rows if row["split"] in splits and row.get("language", language) == language]
    print(f"{home}: {len(rows)} rows, {len(used)} used, {len(rows) - len(used)} of other splits or languages left out")
    for _, utterance in table.of_rows(sorted(used, key=lambda row: list(splits).index(row["split"])), language):
        yield utterance


def _split(row: Mapping[str, str], home: Path) -> str | None:
    """The split that a column or a folder between `home` and the clip names."""
    stated = [row["split"]] if row.get("split") else Path(row["file"]).relative_to(home).parts[:-1]
    return next((split for part in stated for split, names in SPLITS.items() if part.lower() in names), None)
