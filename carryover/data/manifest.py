"""The files of a prepared corpus: a CSV a split, what was refused, counts, and a marker that says it is complete.

`preparation.prepare` writes them, in `write`'s order: `.done` last. A folder without it is unfinished and made again.
"""

import csv
import hashlib
import json
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from carryover import files
from carryover.data.utterance import COLUMNS, Utterance

STEPS = ("available", "passed the metadata", "sampled", "valid audio")  # each counts a part of the one before it


def write(
    folder: Path,
    kept: dict[str, list[Utterance]],
    rejected: Sequence[tuple[Utterance, str]],
    steps: dict[str, dict[str, int]],
    done: dict,
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
        [(u.split, u.ID, u.audio, reason) for u, reason in rejected],
    )
    files.write(folder / "counts.md", _steps_table(steps, done["settings"]))
    reasons = Counter(reason.split(":")[0] for _, reason in rejected)
    for split, rows in kept.items():
        if not rows:
            raise ValueError(
                f"no utterance of split '{split}' is usable: {dict(reasons)}; see {folder / 'rejected.csv'}"
            )
        values = [(u.ID, u.audio, f"{u.duration:.4f}", u.language, u.speaker, u.text) for u in rows]
        files.write_csv(folder / f"{split}.csv", COLUMNS, values)
    done = done | {
        "hours": {split: round(sum(u.duration for u in rows) / 3600, 4) for split, rows in kept.items()},
        "steps": steps,
        "rejected": dict(reasons),
        "files": {f"{split}.csv": _sha256(folder / f"{split}.csv") for split in kept},
    }
    files.write_json(folder / ".done", done)
    return done


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
    if not marker.exists():
        return None
    try:
        done = json.loads(marker.read_bytes())
        manifests = [marker.parent / f"{split}.csv" for split in done["hours"]]
    except (ValueError, TypeError, KeyError):
        print(f"{marker} is damaged; the manifests beside it are made again")
        return None
    if not all(path.exists() for path in manifests):
        return None
    for path in manifests:
        if done.get("files", {}).get(path.name) not in (None, _sha256(path)):  # None: an earlier version's
            print(f"{path} is not as it was written; the manifests beside it are made again")
            return None
    return done


def summary(done: dict) -> str:
    """One line for people: kept per split with hours, rejected with reasons, what will be mixed or resampled."""
    parts = [f"{split} {done['counts'][split]} ({hours:.2f} h)" for split, hours in done["hours"].items()]
    parts.append(f"rejected {done['counts']['rejected']}" + (f" {done['rejected']}" if done["rejected"] else ""))
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

    SpeechBrain's own CSV reader takes a `$5` in a transcript for a variable and stops with a KeyError.
    """
    with open(path, newline="", encoding="utf-8") as file:
        rows = {row["ID"]: row | {"duration": float(row["duration"])} for row in csv.DictReader(file)}
    return {ID: row | {"row": row | {"id": ID}} for ID, row in rows.items()}
