"""The report as one index.html that needs nothing else: tables, figures, flags, an error browser, where it came from.

The page asks no network for anything and its policy forbids it to. What is in it is escaped by jinja2 or, as JSON, by
`embedded`; the browser puts texts into the page as text only. The same runs give the same bytes.
"""

import base64
import hashlib
import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePath

import jinja2
from markupsafe import Markup

from carryover import files
from carryover.report import predictions
from carryover.report.figures.style import Figure
from carryover.report.log_reader import to_float
from carryover.report.settings_reader import data_roots
from carryover.report.summary import Summary
from carryover.report.tables import scores
from carryover.report.tables.cells import Bold, clock, lines_of
from carryover.report.tables.table import Table
from carryover.runs import clips as recordings
from carryover.runs.privacy import below, clean, with_home

HERE = Path(__file__).parent
PER_RUN = 600  # utterances of a run that the error browser holds, those with the most errors,
ROWS = 12_000  # and of all runs together: some 3 MB
CLIP_MB = 20  # of audio that clips=True embeds
SHOWN = ("python", "versions", "commit", "dirty", "hardware", "device")  # of run.json, alike for runs made in one place


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


def write(
    path: str | Path,
    summaries: Sequence[Summary],
    tables: Sequence[Table],
    figures: Sequence[Figure],
    flags: Mapping[str, Sequence],
    methods: str,
    clips: bool = False,
) -> Path:
    """Write the report's page.

    Parameters
    ----------
    path : path
        Of the page, e.g. report/index.html.
    summaries : list of Summary
        The runs.
    tables : list of Table
        See carryover.report.table.
    figures : list of Figure
        Their .svg goes into the page; links name all files relative to it.
    flags : dict of list of Flag
        By name of the run, see carryover.runs.flags.
    methods : str
        The methods paragraph, plain text; an empty line parts paragraphs.
    clips : bool
        Embed the clips of the utterances with the most errors, `CLIP_MB` at most; else their paths are shown.

    Returns
    -------
    Path
        That of the page.

    Raises
    ------
    FileNotFoundError
        When the file of a figure is not there.
    """
    path = Path(path)
    script = (HERE / "page.js").read_text(encoding="utf-8")
    style = (HERE / "page.css").read_text(encoding="utf-8")
    errors = collect(summaries, clips)
    tests, marks = _tests(summaries)
    runs = [
        _run(summary, tests[summary.name], len(flags.get(summary.name, ())) + len(summary.messages))
        for summary in summaries
    ]
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE), autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    environment.tests["bold"] = lambda value: isinstance(value, Bold)
    environment.filters["lines"] = lines_of
    html = environment.get_template("page.html").render(
        runs=runs,
        tables=[_table(table) for table in tables],
        figures=[_figure(figure, path.parent) for figure in figures],
        tested=sorted({test for run in runs for test in run["tests"]}),
        marks=marks,
        flags=[(s.name, flags.get(s.name, ()), s.messages) for s in summaries if flags.get(s.name) or s.messages],
        problems=[(s.name, s.problems) for s in summaries if s.problems],
        methods=[part.strip() for part in methods.split("\n\n") if part.strip()],
        places=places(summaries),
        errors=errors,
        data=embedded({k: getattr(errors, k) for k in ("runs", "sets", "speakers", "clips", "rows", "sounds")}),
        clip_mb=CLIP_MB if clips else None,
        script=Markup(script),  # noqa: S704 (ours, not the runs')
        style=Markup(style),  # noqa: S704
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    files.write(path, html)
    return path


def embedded(value) -> Markup:
    """JSON that no text in it can end: `<`, `>` and `&` are escapes, so neither `</script>` nor `<!--` is there."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    for letter in "<>&\u2028\u2029":
        text = text.replace(letter, f"\\u{ord(letter):04x}")
    return Markup(text)  # noqa: S704


def cell(value: float) -> str:
    """A rate to two digits, "-" where it is not known."""
    return "-" if math.isnan(value) else f"{value:.2f}"


# ---- the runs and where they were made ----


def _tests(summaries: Sequence[Summary]) -> tuple[dict[str, dict[str, str]], list[str]]:
    """({run: {set and weights: WER / CER}}, what marks mean): sets of one name are told apart by their digests."""
    found, digests = {}, {}
    for run in summaries:
        for e in run.tests:
            if e.get("weights") in ("before", "best") and "language" in e:
                name, digest = e.get("set", f"test_{e['language']}"), run.test_sets.get(e["language"], "unknown")[:12]
                by_heart = run.settings.get("overfit") and e["language"] == run.language
                found[run.name, name, digest, e["weights"]] = run, e, by_heart  # the last of each
                digests.setdefault(name, set()).update([] if by_heart else [digest])
    mark, notes = scores.marks(run.normaliser for run, *_ in found.values())
    tests = {run.name: {} for run in summaries}
    for (_, name, digest, weights), (run, e, by_heart) in found.items():
        rates = f"{cell(to_float(e.get('WER')))} / {cell(to_float(e.get('CER')))}{mark[run.normaliser]}"
        which = f" {digest}" * (len(digests[name]) > 1 and not by_heart)
        tests[run.name][f"{name}{which} {weights}"] = rates + " of training utterances" * bool(by_heart)
    return tests, notes


def _run(run: Summary, tests: Mapping[str, str], flags: int) -> dict:
    """The row of a run."""
    return {
        "name": run.name,
        "experiment": run.experiment,
        "seed": run.seed,
        "status": run.status,
        "updates": run.last_update,
        "time": clock(run.seconds),
        "tests": tests,
        "flags": flags,
        "command": run.info.get("command", "unknown"),
    }


def places(summaries: Sequence[Summary]) -> list[dict]:
    """Where runs were made: commit, versions, machine and data of those that have them alike.

    Of the machine only the model of its processor and of its GPUs is said, never its name.
    """
    found = {}
    for run in summaries:
        info = {key: run.info.get(key) for key in SHOWN} | {"data": run.info.get("data")}
        found.setdefault(json.dumps(info, sort_keys=True), (info, []))[1].append(run.name)
    places = []
    for info, names in found.values():
        machine, commit = info["hardware"] or {}, info["commit"]
        facts = {
            "commit": (f"{commit}{', with changes that were not committed' * bool(info['dirty'])}") if commit else None,
            "machine": ", ".join(_machine(machine)) or None,
            "device": info["device"],
            "Python": info["python"],
            "packages": ", ".join(f"{k} {v}" for k, v in (info["versions"] or {}).items()) or None,
        }
        for name, data in (info["data"] or {}).items():
            counts = ", ".join(f"{k} {n}" for k, n in (data.get("counts") or {}).items())
            hours = ", ".join(f"{k} {h:.2f} h" for k, h in (data.get("hours") or {}).items())
            facts[f"data {name}"] = "; ".join(filter(None, (counts, hours, f"digest {str(data.get('digest'))[:16]}")))
        places.append({"runs": names, "facts": {k: clean(str(v or "not recorded")) for k, v in facts.items()}})
    return places


def _machine(hardware: Mapping) -> list[str]:
    """Processor, cores and GPUs."""
    found = [str(hardware["cpu"])] if hardware.get("cpu") else []
    found += [f"{hardware['cores']} cores"] if hardware.get("cores") else []
    gpus = [str(gpu.get("name", gpu) if isinstance(gpu, Mapping) else gpu) for gpu in hardware.get("gpus") or ()]
    return found + (gpus or ["no GPU"] * bool(found))


def _table(table: Table) -> tuple[Table, list[list[str]], list[bool]]:
    """A table, its cells as they are read, and which of its columns hold numbers alone."""
    return table, table.rows, table.numeric


def _figure(figure: Figure, folder: Path) -> dict:
    """A figure as an image in the page, and its files as paths from the page."""
    svg = next(Path(f) for f in figure.files if f.endswith(".svg"))
    files = [Path(os.path.relpath(f, folder)).as_posix() for f in (*figure.files, figure.csv)]
    image = base64.b64encode(svg.read_bytes()).decode()
    return {"name": figure.name, "caption": figure.caption, "files": files, "image": image}


# ---- the error browser ----


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
