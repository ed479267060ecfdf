"""Test sets of `carryover evaluate`: the run's own, and a list of one's own under the checks of preparation."""

import csv
import importlib
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import fmean

from carryover.data import audio_kinds, parts, preparation
from carryover.data.home import with_home
from carryover.data.table import found_at
from carryover.data.utterance import Utterance
from carryover.stats import conditions
from carryover.text import Verbatim
from carryover.text.whisper_normaliser import WhisperNormaliser

SHOWN = 10  # rejected rows that are printed
OUT = " (out of domain)"
LISTS = (".csv", ".tsv", ".jsonl", ".json")
NAMES = ("test", "manifest", "metadata")  # of the list of a folder


def name_of(path: Path) -> str:
    """What the set of a list or folder is called: its name and that of the folder it lies in."""
    path = Path(os.path.abspath(path))  # of . and .. their folders'
    return f"{path.name if path.is_dir() else path.stem}_{path.parent.name}"


def require_list(path: Path) -> None:
    """Raise ValueError where a path holds no recordings and texts, before a model is loaded."""
    if path.is_dir() and (_list_of(path) or _pairs(path)[0]):
        return
    if not path.is_file() or path.suffix.lower() not in LISTS:
        raise ValueError(
            f"--test {path}: {found_at(path)}; expected a {', '.join(LISTS)} file of recordings and texts, or a folder "
            f"with one ({', '.join(NAMES)}) or with a text file beside each recording (a.wav, a.txt)"
        )


def _list_of(folder: Path) -> Path | None:
    """The list that lies in a folder."""
    for name in NAMES:
        found = [path for ending in LISTS if (path := folder / f"{name}{ending}").is_file()]
        if len(found) > 1:
            names = " and ".join(path.name for path in found)
            raise ValueError(f"--test {folder}: holds {names}; expected one list; give the one meant")
        if found:
            return found[0]
    return None


def _pairs(folder: Path) -> tuple[list[dict[str, str]], list[Path]]:
    """Rows of recordings below a folder that have a text file of the same name, and the files that have no other."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    texts = {path.with_suffix(""): path for path in files if path.suffix.lower() == ".txt"}
    clips = [path for path in files if not audio_kinds.beside(path)]
    rows = [
        {"file": str(clip), "audio": str(clip), "ID": str(clip.relative_to(folder)), "split": "", "text": _text(text)}
        for clip in clips if (text := texts.get(clip.with_suffix("")))
    ]  # fmt: skip
    single = texts.keys() ^ {clip.with_suffix("") for clip in clips}
    return rows, [path for path in (*clips, *texts.values()) if path.with_suffix("") in single]


def _text(path: Path) -> str:
    """The transcript in a text file; its line breaks are spaces."""
    try:
        return " ".join(path.read_text(encoding="utf-8-sig").split())
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not UTF-8 (byte 0x{error.object[error.start]:02x}); save it as UTF-8") from None


def _rows(path: Path) -> list[dict[str, str]]:
    """Rows of a list or folder that belong to the test; what is left out is printed."""
    listed = path if path.is_file() else _list_of(path)
    if listed is None:
        rows, single = _pairs(path)
        if single:
            some = ", ".join(str(file.relative_to(path)) for file in single[:SHOWN]) + ", ..." * (len(single) > SHOWN)
            print(f"{len(single)} files of {path} are left out, without a recording or text of the same name: {some}")
        return rows
    rows = list(importlib.import_module("local.table").listed(listed))
    splits = Counter(row["split"] for row in rows if row["split"] not in ("", "test"))
    if rows and splits.total() == len(rows):
        raise ValueError(f"{listed}: no row of split 'test'; found {dict(splits)}; correct the list's column 'split'")
    if splits:
        print(f"{splits.total()} of {len(rows)} rows of {listed} are left out, of other splits: {dict(splits)}")
    return [row for row in rows if row["split"] in ("", "test")]


def prepare(path: Path, hparams: dict, folder: Path) -> Path:
    """The manifest of a list of one's own, checked as preparation checks a corpus; what is rejected is printed.

    Columns as in local/table.py, without a need for `split`: where there is one, its rows of `test`. A path is
    relative to the list's folder or, as in a run's own manifests, to the working directory. Of a folder it is the list
    in it, else its recordings with a text file beside each.

    Raises
    ------
    ValueError
        For a broken list, an ID that is there twice, and where no row is left.
    """
    table = importlib.import_module("local.table")  # by name, as a YAML does: the library imports no corpus

    def corpus(_, language: str, splits) -> Iterator[Utterance]:
        rows = _rows(path)
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


def normaliser(name: str):
    """What `--normaliser` names; None for the run's own."""
    made = {"run": lambda: None, "whisper": WhisperNormaliser, "verbatim": Verbatim}
    if name not in made:
        raise ValueError(f"--normaliser: '{name}'; expected one of: {', '.join(made)}")
    return made[name]()


def table(results: Sequence[Mapping], normaliser: str, left_out: Mapping[str, str]) -> str:
    """Markdown of what was found of each set, and of their mean where there are several.

    Parameters
    ----------
    results : list of dict
        What `Evaluation.test` found, with set, language, real_time_factor and out_of_domain: whether the set is
        marked and left out of the mean.
    normaliser : str
        Its name.
    left_out : dict
        Of `manifest.left_out`.
    """
    heads = ["set", "language", "utterances", "words", "WER [95 %]", "CER [95 %]", "substituted", "deleted", "inserted",
             "real-time factor"]  # fmt: skip
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]

    def with_interval(rate: float, ends: Sequence[float]) -> str:
        return f"{rate:.2f} [{ends[0]:.2f}, {ends[1]:.2f}]"

    for r in results:
        kinds = (f"{100 * r[kind] / r['words']:.2f}" for kind in ("substitutions", "deletions", "insertions"))
        cells = [
            r["set"] + conditions.mark(r["interval_over"]) + OUT * r["out_of_domain"],
            r["language"], r["utterances"], r["words"],
            with_interval(r["WER"], r["interval"]), with_interval(r["CER"], r["interval_CER"]), *kinds,
            f"{r['real_time_factor']:.3f}",
        ]  # fmt: skip
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    own = [r for r in results if not r["out_of_domain"]]
    if len(own) > 1:
        means = [f"{fmean(r[rate] for r in own):.2f}" for rate in ("WER", "CER")]
        lines.append("| " + " | ".join([f"mean of the {len(own)} sets", *[""] * 3, *means, *[""] * 4]) + " |")
    said = conditions.said({r["set"]: r["interval_over"] for r in results})
    out = "".join(f"\n\nNot the whole test set of {name}: {what}." for name, what in left_out.items())
    return (
        "\n".join(lines) + f"\n\nWER and CER in percent, normalised by {normaliser}; kinds of errors in percent of the "
        "words. Real-time factor: seconds of this machine for a second of audio, reading and scoring included. "
        + " ".join(said) + out
    )  # fmt: skip
