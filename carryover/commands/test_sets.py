"""Test sets of `carryover evaluate`: the run's own, and a list of one's own under the checks of preparation."""

import csv
import importlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from carryover.data import manifest, parts, preparation
from carryover.data.home import below, data_roots, with_home
from carryover.data.table import found_at
from carryover.data.utterance import Utterance

SHOWN = 10  # rejected rows that are printed


def name_of(path: Path) -> str:
    """What a set's predictions are called: its file's name and its folder's."""
    return f"{path.stem}_{path.absolute().parent.name}"


def require_lists(paths: Sequence[Path]) -> None:
    """Raise ValueError where a path is no list of recordings, or two have one name, before a model is loaded."""
    for path in paths:
        _require_list(path)
    names = [name_of(path) for path in paths]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(
            f"--test: two lists are called {', '.join(twice)} (file and folder); their predictions would overwrite "
            "each other: rename one, or give them to two commands"
        )


def _require_list(path: Path) -> None:
    if not path.is_file() or path.suffix.lower() not in (".csv", ".tsv", ".jsonl", ".json"):
        raise ValueError(
            f"--test {path}: {found_at(path)}; expected a .csv, .tsv, .jsonl or .json file of recordings and texts"
        )


def prepare(path: Path, hparams: dict, folder: Path) -> Path:
    """The manifest of a list of one's own, checked as preparation checks a corpus; what is rejected is printed.

    Columns as in local/table.py, without a need for `split`: where there is one, its rows of `test`. A path is
    relative to the list's folder or, as in a run's own manifests, to the working directory.

    Raises
    ------
    ValueError
        For a broken list, an ID that is there twice, and where no row is left.
    """
    table = importlib.import_module("local.table")  # by name, as a YAML does: the library imports no corpus

    def corpus(_, language: str, splits) -> Iterator[Utterance]:
        rows = [row for row in table.listed(path) if row["split"] in ("", *splits)]
        for row in rows:
            (beside, part), given = parts.split(row["file"]), with_home(parts.split(row["audio"])[0])
            file = given if Path(given).exists() and not Path(beside).exists() else beside
            row["file"] = parts.named(file, *part) if part else str(Path(file))
            row["split"] = "test"
        for row, utterance in table.of_rows(rows, language):
            yield Utterance(**vars(utterance) | {"language": row.get("language") or language})

    try:
        preparation.prepare(
            corpus, path, folder, hparams["language"], ["test"], hparams["limits"],
            workers=hparams["workers"], metadata_limits=hparams["metadata_limits"],
        )  # fmt: skip
    except ValueError as error:
        _say_rejected(path, folder)
        raise ValueError(f"--test {path}: {str(error).partition('; see ')[0]}") from error
    _say_rejected(path, folder)
    return folder / "test.csv"


def _say_rejected(path: Path, folder: Path) -> None:
    if not (folder / "rejected.csv").is_file():
        return
    with open(folder / "rejected.csv", newline="", encoding="utf-8") as file:
        rejected = list(csv.DictReader(file))
    for row in rejected[:SHOWN]:
        print(f"rejected: {row['ID']} ({row['audio']}): {row['reason']}")
    if rejected:
        print(f"{len(rejected)} rows of {path} are rejected, and not in the table")


def require_below(path: Path, hparams: dict) -> None:
    """Raise ValueError where a run's manifest names a recording outside of the run's data folders."""
    others = (hparams.get("other_tests") or {}).values()
    mixed = getattr(hparams.get("corpus"), "keywords", {}).get("corpora", ())  # of local.mixed
    mixed = [one.get("data_folder") for one in mixed]
    roots = data_roots([hparams.get("data_folder"), hparams.get("old_data_folder"), *others, *mixed])
    for ID, row in manifest.load(path).items():
        if not below(row["audio"], roots):
            raise ValueError(
                f"{path}: '{row['audio']}' of ID '{ID}' does not lie below the run's data_folder "
                f"({', '.join(map(str, roots)) or 'none'}); if the list is your own, give --trust"
            )
