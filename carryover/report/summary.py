"""One run in little: one pass over its files, into what a report of hundreds of runs can keep in memory.

All that a report knows of a run comes from here, so metrics.jsonl has one reader. A file that is cut off, older than
this version or missing costs what stood in it and nothing else, and is named in `Summary.problems`.
"""

import csv
import hashlib
import json
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from carryover import seals
from carryover.report.log_reader import METRICS, Log, read_log
from carryover.report.settings_reader import read_settings
from carryover.runs.privacy import clean, clean_paths

PREDICTIONS = re.compile(r"predictions_(.+?)_(before|best|last|evaluate|adapter(?:-.+)?|average_.+)\.csv")
INFO = {"command": str, "data": dict, "methods": dict, "hardware": dict, "versions": dict}  # types in run.json
STEPS = {"available": "available", "passed the metadata": "passed", "sampled": "sampled", "valid audio": "valid"}


@dataclass
class Summary(Log):
    """What is kept of a run; of its log see `Log`.

    Attributes
    ----------
    folder : Path
        As it was given.
    name : str
        Path below the folder that was searched, e.g. german_adaptation/1234; no two of a report are alike.
    experiment : str
        Name of the YAML, e.g. german_adaptation.
    seed : str
    settings : dict
        Plain values of the YAML's top level under the overrides, and what refers to one of them.
    objects : dict
        Values with a tag, and lists of them, by their key, as text: {"optimizer": "!name:torch.optim.AdamW", ...}.
    asked : dict
        The overrides alone, as text: what was changed on the command line or by a preset.
    info : dict
        run.json; {} where it is not there.
    status : str
        "finished", or "unfinished": killed or still running, without its results.md or its `end` event.
    counts : dict
        By language: {"available": {split: n}, "passed": ..., "sampled": ..., "valid": ..., "rejected": {reason: n},
        "refused": n, "hours": {split: h}, "digest", "corpus", "sample", "sample_seed"}, from the manifests' .done.
    test_sets : dict
        By language a digest of the test set's ids, durations and texts; of run.json's data, where the manifest is gone.
    predictions : dict
        Files by (set, weights), e.g. ("test_de", "best").
    """

    folder: Path
    name: str
    experiment: str = ""
    seed: str = ""
    settings: dict = field(default_factory=dict)
    objects: dict[str, str] = field(default_factory=dict)
    asked: dict[str, str] = field(default_factory=dict)
    info: dict = field(default_factory=dict)
    status: str = "unfinished"
    counts: dict[str, dict] = field(default_factory=dict)
    test_sets: dict[str, str] = field(default_factory=dict)
    predictions: dict[tuple[str, str], Path] = field(default_factory=dict)

    @property
    def normaliser(self) -> str:
        """Of the scores: its name in run.json, else the YAML's object; "" where neither says."""
        return str(self.info.get("normaliser") or self.objects.get("normaliser", "").removeprefix("!new:"))

    @property
    def messages(self) -> list[tuple[int, str]]:
        """(update, message) of what the run itself flagged, without the red flags, which `red_flags` has."""
        said = [e for e in self.flags if "message" in e and "kind" not in e and not e["message"].startswith("red flag")]
        return [(e.get("update", 0), clean(str(e["message"]))) for e in said]

    @property
    def methods(self) -> dict[str, list[str]]:
        """What the run's objects say of themselves by section, citations as @[key]; {} where run.json has none."""
        return self.info.get("methods", {})

    @property
    def language(self) -> str:
        return str(self.settings.get("language") or "")

    @property
    def old_language(self) -> str:
        return str(self.settings.get("old_language") or "")


def run_name(folder: Path, roots: Sequence[Path] = ()) -> str:
    """A run's path below the first folder it was found in; of one right below it, or given itself, two parts."""
    below = [folder.relative_to(root) for root in roots if folder.is_relative_to(root)]
    if below and len(below[0].parts) > 1:
        return below[0].as_posix()
    return "/".join(folder.resolve().parts[-2:])


def summarise(folder: str | Path, name: str | None = None) -> Summary:
    """Read a run folder.

    Raises
    ------
    FileNotFoundError
        When there is no metrics.jsonl.
    ValueError
        For a byte that is no UTF-8, and a value that is of another kind than the run wrote; names the file.
    """
    folder = Path(folder)
    if not (folder / METRICS).is_file():
        raise FileNotFoundError(f"{folder}: no {METRICS}; expected the folder of a run that train.py made")
    name = name or run_name(folder)
    try:
        _require_own(folder)
        return _summarise(folder, name)
    except (OSError, ValueError, TypeError, KeyError, AttributeError, IndexError, ArithmeticError) as error:
        frame, kept = error.__traceback__, folder
        while frame is not None:  # the file that was being read, where a frame knows it
            kept = next((v for v in frame.tb_frame.f_locals.values() if isinstance(v, Path) and v.is_file()), kept)
            frame = frame.tb_next
        what = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        raise ValueError(f"{name}: {kept.name if kept != folder else 'its files'} cannot be read ({what})") from error


def _summarise(folder: Path, name: str) -> Summary:
    found = Summary(folder, name)
    problems = found.problems
    found.settings, found.objects, found.asked = read_settings(folder, problems)
    found.info = _read_json(folder / "run.json", problems)
    for key, kind in INFO.items():
        if not isinstance(found.info.get(key), (kind, type(None))):
            problems.append(f"run.json: {key}: expected a {kind.__name__}, found {found.info.pop(key)!r}; left out")
    if "command" in found.info:
        found.info["command"] = clean(found.info["command"])
    if "methods" in found.info:
        found.info["methods"] = {k: [clean_paths(s) for s in said] for k, said in found.info["methods"].items()}
    found.experiment = _experiment(found, folder)
    found.seed = str(found.settings.get("seed", folder.name))
    read_log(found, folder / METRICS, found.settings)
    recorded = found.info.get("files")
    if found.info.get("finished") and isinstance(recorded, dict):
        problems += seals.changed(folder, {str(name): digest for name, digest in recorded.items()})
    results = (folder / "results.md").is_file()
    found.status = "finished" if results and found.end is not None else "unfinished"
    for made in sorted(folder.glob("manifests/*/")):
        if not (made / ".done").exists():
            problems.append(f"manifests/{made.name}/.done: not there; what was made of the corpus is unknown")
    for done in sorted(folder.glob("manifests/*/.done")):  # written last: a preparation without it was not finished
        about = _read_json(done, problems)
        found.counts[done.parent.name] = _counts(about)
        problems += _changed(done.parent, about.get("files"))
        if (done.parent / "test.csv").is_file():
            found.test_sets[done.parent.name] = _test_digest(done.parent / "test.csv")
    for language, data in (found.info.get("data") or {}).items():
        found.test_sets.setdefault(language, str(data.get("digest")))
    for path in sorted(folder.glob("predictions_*.csv")):
        if match := PREDICTIONS.fullmatch(path.name):
            found.predictions[match[1], match[2]] = path
        else:
            problems.append(f"{path.name}: no file of a test: expected predictions_SET_WEIGHTS.csv")
    for e in found.tests:
        if "set" in e and "weights" in e and (e["set"], e["weights"]) not in found.predictions:
            problems.append(f"predictions_{e['set']}_{e['weights']}.csv: not there, though {METRICS} has that test")
    return found


def _require_own(folder: Path) -> None:
    """Raise ValueError where a file that is read here is a link out of the folder: a report is handed on."""
    home = folder.resolve()
    for path in (path for pattern in ("*", "manifests/*", "manifests/*/*") for path in folder.glob(pattern)):
        if path.is_symlink() and path.name != "save" and not path.resolve().is_relative_to(home):
            raise ValueError(f"{path.relative_to(folder)}: a link that leads out of the run folder; put the file there")


def _experiment(found: Summary, folder: Path) -> str:
    """The YAML's name, from the command; else from the YAML's first line; else the folder's."""
    try:
        words = shlex.split(found.info.get("command", ""))
    except ValueError:  # a quotation that a token was cut out of, say
        words = []
    if not words and (folder / "as_written.yaml").is_file():
        first = (folder / "as_written.yaml").read_text(encoding="utf-8").split("\n", 1)[0]
        words = first.split() if first.startswith("#") else []
    named = [word for word in words if word.endswith(".yaml")]
    return Path(named[0]).stem if named else found.name.split("/")[0]


def _read_json(path: Path, problems: list[str]) -> dict:
    if not path.is_file():
        problems.append(f"{path.name}: not there; what it says of the run is unknown")
        return {}
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(found, dict):
            if seals.broken(found):
                problems.append(f"{path.name}: was changed since the run wrote it")
            return found
        problems.append(f"{path.name}: expected keys and values, found {type(found).__name__}")
    except ValueError as error:
        problems.append(f"{path.name}: no JSON: {error}")
    return {}


def _counts(done: dict) -> dict:
    """What became of a corpus, from its `.done`; an older one has no steps."""
    settings, steps = done.get("settings", {}), done.get("steps", {})
    found = {mine: steps[theirs] for theirs, mine in STEPS.items() if theirs in steps}
    counts = done.get("counts", {})
    found.setdefault("valid", {split: n for split, n in counts.items() if split in done.get("hours", {})})
    found |= {"rejected": done.get("rejected", {}), "refused": counts.get("rejected", 0)}
    corpus = settings.get("corpus") or ""
    corpus = corpus[0] if isinstance(corpus, list) else corpus  # beside it the options that the YAML gives it
    # local.common_voice.utterances is common_voice, as early versions wrote it
    corpus = str(corpus).removeprefix("local.").removesuffix(".utterances")
    found |= {"hours": done.get("hours", {}), "digest": done.get("digest", ""), "corpus": corpus}
    return found | {"sample": settings.get("sample"), "sample_seed": settings.get("sample_seed")}


def _changed(folder: Path, recorded) -> list[str]:
    """What of a manifest folder is gone; of the test set, which is read here, also that it was changed."""
    if not isinstance(recorded, dict):  # of an early version
        return []
    where = f"manifests/{folder.name}"
    lines = [f"{where}/{name}: is gone" for name in recorded if not (folder / str(name)).is_file()]
    test = folder / "test.csv"
    if test.is_file() and recorded.get(test.name) not in (None, hashlib.sha256(test.read_bytes()).hexdigest()):
        lines.append(f"{where}/{test.name}: was changed since the run wrote it")
    return lines


def _test_digest(path: Path) -> str:
    """Of a test set's ids, durations and texts: neither where it lies nor what was trained on changes it."""
    sha = hashlib.sha256()
    with open(path, newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            sha.update(json.dumps([row.get(k) for k in ("ID", "duration", "language", "text")]).encode())
    return sha.hexdigest()
