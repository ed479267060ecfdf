"""The files of a prepared corpus: a CSV a split, what was refused, counts, and a marker that says it is complete.

`preparation.prepare` writes them, in `write`'s order: `.done` last. A folder without it is unfinished and made again.
"""

import hashlib
import json
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from carryover import files, seals
from carryover.data import listed
from carryover.data.home import as_tilde, with_home
from carryover.data.table import read_table
from carryover.data.utterance import COLUMNS, Utterance

REMARKS = "remarks.csv"  # what is kept, with what is to be known of it: clipped, not writable, ...
BESIDE = ("rejected.csv", REMARKS, "counts.md", listed.FILE)
STEPS = ("available", "passed the metadata", "sampled", "valid audio")  # each counts a part of the one before it


def write(
    folder: Path,
    kept: dict[str, list[Utterance]],
    rejected: Sequence[tuple[Utterance, str]],
    steps: dict[str, dict[str, int]],
    done: dict,
    remarks: Sequence[tuple[Utterance, str]] = (),
) -> dict:
    """Write a folder's files.

    Parameters
    ----------
    folder : Path
        Gets `<split>.csv` (columns `COLUMNS`, durations in seconds), `rejected.csv` (split, ID, audio, reason; what was
        not sampled is counted, not listed), `counts.md` (utterances left after each of `STEPS`) and `.done` (JSON).
    kept : dict
        Utterances by split.
    rejected : sequence of (Utterance, str)
        With the reason.
    steps : dict
        {step: {split: utterances left}}.
    done : dict
        What `.done` is to hold besides counts, hours and reasons: settings, listing, digest.
    remarks : sequence of (Utterance, str)
        What is to be known of utterances that are kept; they get `remarks.csv` and are counted by kind.

    Returns
    -------
    done : dict
        All that `.done` holds.

    Raises
    ------
    ValueError
        When nothing at all is left of a split; what was refused is written then, and no marker.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / ".done").unlink(missing_ok=True)
    files.write_csv(
        folder / "rejected.csv",
        ("split", "ID", "audio", "reason"),
        [(u.split, u.ID, as_tilde(u.audio), as_tilde(reason)) for u, reason in rejected],
    )
    files.write_csv(
        folder / REMARKS,
        ("split", "ID", "audio", "remark"),
        [(u.split, u.ID, as_tilde(u.audio), as_tilde(what)) for u, what in remarks],
    )
    files.write(folder / "counts.md", _steps_table(steps, done["settings"]))
    reasons = Counter(reason.split(":")[0] for _, reason in rejected)
    for split, rows in kept.items():
        if not rows:
            raise ValueError(
                f"no utterance of split '{split}' is usable: {dict(reasons)}; see {folder / 'rejected.csv'}"
            )
        values = [(u.ID, as_tilde(u.audio), f"{u.duration:.4f}", u.language, u.speaker, u.text) for u in rows]
        files.write_csv(folder / f"{split}.csv", COLUMNS, values)
    done = done | {
        "hours": {split: round(sum(u.duration for u in rows) / 3600, 4) for split, rows in kept.items()},
        "steps": steps,
        "rejected": dict(reasons),
        "remarks": dict(Counter(what.split(":")[0] for _, what in remarks)),
    }
    mark(folder, done)
    return done


def mark(folder: Path, done: dict) -> None:
    """Write `.done`, with digests of the files that it stands for and of itself."""
    names = [*(f"{split}.csv" for split in done["hours"]), *BESIDE]
    digests = {name: _sha256(folder / name) for name in names}
    files.write_json(folder / ".done", seals.sealed(done | {"files": digests}))


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _steps_table(steps: dict[str, dict[str, int]], settings: dict) -> str:
    """`counts.md`: utterances of each split that are left after each step."""
    splits = list(steps[STEPS[0]])
    rows = [["step", *splits], ["---", *("---:" for _ in splits)]]
    rows += [[step, *(str(n) for n in steps[step].values())] for step in STEPS]
    table = "".join(f"| {' | '.join(row)} |\n" for row in rows)
    asked = "No sample was asked for."
    if sample := settings.get("sample"):
        drawn = ", ".join(f"{n} of {split}" for split, n in sample.items())
        asked = f"A sample was asked for: {drawn}, seed {settings['sample_seed']}."
    return (
        f"{table}\nUtterances left after each step. {asked} "
        "Valid audio: decoded to its end, and accepted by the recipe.\n"
    )


def read_done(folder: str | Path) -> dict | None:
    """The `.done` marker of a manifest folder; None where preparation has not finished, a manifest is gone, or one of
    these files is not as it was written (which is said)."""
    marker = Path(folder) / ".done"
    again = "the run's command makes the manifests beside it again"
    if not marker.exists():
        return None
    try:
        done = json.loads(marker.read_bytes())
        manifests = [marker.parent / f"{split}.csv" for split in done["hours"]]
        others = [marker.parent / name for name in done.get("files", {})]
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        done = None
    if done is None or seals.broken(done):
        print(f"{marker} is damaged; {again}")
        return None
    if not all(path.exists() for path in manifests):
        return None
    for path in {*manifests, *others}:
        # None: an earlier version's
        if not path.is_file() or done.get("files", {}).get(path.name) not in (None, _sha256(path)):
            print(f"{path} is not as it was written; {again}")
            return None
    return done


def require_as_written(path: Path) -> None:
    """Raise ValueError where a manifest is not as the preparation of its folder wrote it."""
    try:
        recorded = json.loads((path.parent / ".done").read_bytes())["files"].get(path.name)
    except (OSError, ValueError, TypeError, KeyError, AttributeError):  # gone, damaged, an earlier version's
        return
    if recorded not in (None, _sha256(path)):
        raise ValueError(
            f"{path} is not as it was written; repeat the run's command, which makes it again, or give --trust where "
            "you changed it yourself"
        )


def left_out(manifests: str | Path) -> dict[str, str]:
    """What of each language's test set was refused: {language: "2 of 102 listed utterances are refused (...)"}.

    A sample that was asked for is no loss.
    """
    found = {}
    for marker in sorted(Path(manifests).glob("*/.done")):
        done = read_done(marker.parent)
        steps = (done or {}).get("steps", {})
        if "test" not in steps.get("available", {}):
            continue
        listed, passed, sampled, valid = (steps[step]["test"] for step in STEPS)
        if lost := listed - passed + sampled - valid:
            where = f"{marker.parent.name}/rejected.csv"
            found[marker.parent.name] = f"{lost} of {listed} listed utterances are refused ({where} says why)"
    return found


def summary(done: dict) -> str:
    """One line for people: kept per split with hours, rejected with reasons, what will be mixed or resampled."""
    parts = [f"{split} {done['counts'][split]} ({hours:.2f} h)" for split, hours in done["hours"].items()]
    parts.append(f"rejected {done['counts']['rejected']}" + (f" {done['rejected']}" if done["rejected"] else ""))
    if done.get("remarks"):
        parts.append(f"kept, but see {REMARKS}: {done['remarks']}")
    if "not_sampled" in done["counts"]:
        sampled = {split: done["steps"]["sampled"][split] for split in done["settings"]["sample"]}
        available = {split: done["steps"]["available"][split] for split in sampled}
        parts.append(f"sampled {sampled} of {available} with seed {done['settings']['sample_seed']}")
    audio = {form: n for form, n in done["forms"].items() if re.fullmatch(r"\d+ Hz x \d+", form)}
    if other := {form: n for form, n in audio.items() if form != "16000 Hz x 1"}:
        parts.append(f"mixed to mono or resampled to 16 kHz when read: {other}")
    return ", ".join(parts)


def load(path: str | Path) -> dict[str, dict]:
    """Rows of a manifest for SpeechBrain's DynamicItemDataset: {ID: row}, with the whole row again under "row".

    A home folder is `~` in the file and in "row", which predictions are written from.

    Raises
    ------
    ValueError
        For a file that lacks a column, and for an ID that is there twice.

    SpeechBrain's own CSV reader takes a `$5` in a transcript for a variable and stops with a KeyError.
    """
    rows = {}
    for line, row in read_table(path):
        if missing := [column for column in COLUMNS if column not in row]:
            raise ValueError(
                f"{path}: no column {', '.join(missing)}; expected those of a run's manifest: {', '.join(COLUMNS)}"
            )
        if row["ID"] in rows:
            raise ValueError(f"{path}:{line}: ID '{row['ID']}' is there twice; give each row its own, or remove one")
        try:
            rows[row["ID"]] = row | {"duration": float(row["duration"])}
        except ValueError:
            raise ValueError(f"{path}:{line}: duration '{row['duration']}'; expected seconds") from None
    return {ID: row | {"audio": with_home(row["audio"]), "row": row | {"id": ID}} for ID, row in rows.items()}
