"""What the error browser of a report's page holds: test utterances with their aligned words, and clips."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePath

from carryover.report import predictions
from carryover.report.settings_reader import data_roots
from carryover.report.summary import Summary
from carryover.runs import clips as recordings
from carryover.runs.privacy import below, clean, with_home

PER_RUN = 600  # utterances of a run that the error browser holds, those with the most errors,
ROWS = 12_000  # and of all runs together: some 3 MB
CLIP_MB = 20  # of audio that clips=True embeds


@dataclass
class Errors:
    """What the error browser holds.

    Attributes
    ----------
    runs, sets, speakers, clips : list of str
        Names, numbered by their place. A clip's name is its path relative to the run's data folder.
    rows : list of list
        [run, set, id, clip, speaker, seconds, aligned words]; the words are texts where both sides agree, else pairs
        [reference, hypothesis] with "" where there is none.
    sounds : dict
        Data URIs of clips by number.
    notes : list of str
        What is left out, in sentences.
    """

    runs: list[str] = field(default_factory=list)
    sets: list[str] = field(default_factory=list)
    speakers: list[str] = field(default_factory=list)
    clips: list[str] = field(default_factory=list)
    rows: list[list] = field(default_factory=list)
    sounds: dict[int, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def collect(summaries: Sequence[Summary], clips: bool = False) -> Errors:
    """Utterances of all tests with the best weights, those with the most errors first."""
    found = Errors()
    number_of = {kind: {} for kind in ("sets", "speakers", "clips")}
    cut, tested, clip_run = [], 0, {}

    def place(kind: str, name: str | tuple) -> int:
        return number_of[kind].setdefault(name, len(number_of[kind]))

    per_run = min(PER_RUN, max(20, ROWS // max(1, len(summaries))))
    for run in summaries:
        tests = predictions.tests(run)
        found.runs.append(run.name)
        for name, rows in tests.items():
            tested += len(rows)
            kept = sorted(rows, key=lambda u: (-u.errors, -u.errors / max(1, u.words), u.id))[: per_run // len(tests)]
            if len(kept) < len(rows):
                cut.append((len(kept), len(rows)))
            for u in kept:
                clip_run.setdefault(u.audio, run)
                clip = place("clips", (u.audio, clip_name(u.audio, run)))  # two corpora may name a clip alike
                pairs = [a if a == b else [a, b] for a, b in predictions.words(u.reference, u.hypothesis)]
                place_of = (place("sets", name), u.id, clip, place("speakers", u.speaker))
                found.rows.append([len(found.runs) - 1, *place_of, round(u.duration, 2), pairs])
    found.sets, found.speakers = list(number_of["sets"]), list(number_of["speakers"])
    found.clips = [name for _, name in number_of["clips"]]
    found.rows.sort(key=lambda row: (-_count(row), row[2], row[0]))
    if cut:
        shares = sorted(set(cut))
        of = f"{shares[0][0]} of {shares[0][1]}" if len(shares) == 1 else f"{min(shares)[0]} to {max(shares)[0]}"
        found.notes.append(
            f"To stay quick this page holds {len(found.rows)} of {tested} tested utterances: of each run and test set "
            f"those with the most word errors ({of}). All of them are in the runs' predictions_*.csv."
        )
    if clips:
        roots = {audio: data_roots(run.folder) for audio, run in clip_run.items()}
        found.notes += _embed(found, [(with_home(audio), roots[audio]) for audio, _ in number_of["clips"]])
    return found


def _count(row: list) -> int:
    """Errors of a row."""
    return sum(isinstance(pair, list) for pair in row[-1])


def clip_name(audio: str, run: Summary) -> str:
    """Path of a clip relative to the run's data folder; of one that lies elsewhere its last part, for no path of a
    person's machine goes into a page that is handed on.

    Example
    -------
    With data_folder: data/synthetic the clip data/synthetic/de/test/1.wav is de/test/1.wav.
    """
    for key in ("data_folder", "old_data_folder"):
        folder = str(run.settings.get(key) or "")
        # an absolute data folder was shortened to …/de when the settings were read: its last part has to do
        name = PurePath(folder).name
        parts = PurePath(audio).parts
        if folder and PurePath(audio).is_relative_to(folder):
            return PurePath(audio).relative_to(folder).as_posix()
        if folder.startswith("…") and name in parts[:-1]:
            return PurePath(*parts[parts.index(name) + 1 :]).as_posix()
    return PurePath(audio).name if PurePath(audio).is_absolute() else clean(audio)


def _embed(found: Errors, sounds: Sequence[tuple[str, list[Path]]]) -> list[str]:
    """Take clips into the page in the order of the rows, until they are `CLIP_MB`; says what was left out.

    A row of predictions may name any file: only a recording below the run's data folders is taken.
    """
    left, missing, skipped, outside = CLIP_MB * 10**6, 0, 0, 0
    for clip in dict.fromkeys(row[3] for row in found.rows):
        name, roots = sounds[clip]
        if not recordings.file(name).is_file():
            missing += 1
            continue
        size = recordings.size(name) if below(name, roots) else None
        if size is None:
            outside += 1
            continue
        if size > left:
            skipped += 1
            continue
        left -= size
        data, kind = recordings.content(name)
        found.sounds[clip] = f"data:{kind};base64,{base64.b64encode(data).decode()}"
    notes = [
        f"{len(found.sounds)} clips are in this page, of the utterances with the most errors, {CLIP_MB} MB at most."
    ]
    if skipped:
        notes.append(f"{skipped} clips are not: they would not have fitted; their paths are shown.")
    if outside:
        notes.append(f"{outside} clips are not: they are no recordings below the run's data_folder.")
    if missing:
        notes.append(
            f"{missing} clips were not found from the folder in which the report was made; their paths are shown."
        )
    return notes
