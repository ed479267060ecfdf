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
from pathlib import Path

import jinja2
from markupsafe import Markup

from carryover import files
from carryover.report.figures.style import Figure
from carryover.report.log_reader import to_float
from carryover.report.page import errors
from carryover.report.summary import Summary
from carryover.report.tables import scores
from carryover.report.tables.cells import Bold, clock, lines_of
from carryover.report.tables.table import Table
from carryover.runs.privacy import clean

HERE = Path(__file__).parent
SHOWN = ("python", "versions", "commit", "dirty", "hardware", "device")  # of run.json, alike for runs made in one place


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
        Embed the clips of the utterances with the most errors, `errors.CLIP_MB` at most; else their paths are shown.

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
    found = errors.collect(summaries, clips)
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
        summary=_summary(summaries, flags),
        first=[_table(table) for table in tables if _first(table, tables)],
        tables=[_table(table) for table in tables if not _first(table, tables)],
        figures=[_figure(figure, path.parent) for figure in figures],
        tested=sorted({test for run in runs for test in run["tests"]}),
        marks=marks,
        flags=[(s.name, flags.get(s.name, ()), s.messages) for s in summaries if flags.get(s.name) or s.messages],
        problems=[(s.name, s.problems) for s in summaries if s.problems],
        methods=[part.strip() for part in methods.split("\n\n") if part.strip()],
        places=places(summaries),
        errors=found,
        data=embedded({k: getattr(found, k) for k in ("runs", "sets", "speakers", "clips", "rows", "sounds")}),
        clip_mb=errors.CLIP_MB if clips else None,
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


# ---- what stands first ----


def _summary(summaries: Sequence[Summary], flags: Mapping[str, Sequence]) -> list[str]:
    """How many runs there are, and what of them asks for a look."""
    unfinished = sum(run.status != "finished" for run in summaries)
    amiss, flagged = sum(bool(run.problems) for run in summaries), sum(bool(found) for found in flags.values())
    several = f"{len(summaries)} run{'s' * (len(summaries) != 1)}"
    parts = (f"{unfinished} not finished", f"{flagged} with flags", f"{amiss} with files that could not be read")
    told = [part for part, n in zip(parts, (unfinished, flagged, amiss), strict=True) if n]
    return [f"{several}: {', '.join(told)}." if told else f"{several}, all finished, without flags."]


def _first(table: Table, tables: Sequence[Table]) -> bool:
    """Whether a table belongs to the summary: a main one or, where there is none, before and after."""
    main = any(other.name.startswith("main") for other in tables)
    return table.name.startswith("main") if main else table.name == "before_after"


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
