"""Tables of where numbers come from: settings, data, parameters, runs with their commands, what was found amiss."""

import re
from collections.abc import Mapping, Sequence

from carryover.report.learning import machine
from carryover.report.methods import sample
from carryover.report.scores import SWEPT_APART, about, method_names, without_seed
from carryover.report.summary import Summary
from carryover.report.table import Table

FEW = 6  # experiments that stand beside each other; more stand below each other
# says where a run reads and writes, or follows from its seed
PLACES = {*SWEPT_APART, "modules", "needs"}


def hyperparameters(runs: Sequence[Summary]) -> list[Table]:
    """In what YAMLs differ, and in what the runs of each YAML were set differently; without what is all alike."""
    yamls = {}
    for run in runs:
        yamls.setdefault(run.experiment, []).append(run)
    found = [differences("hyperparameters", yamls, "YAMLs")]
    for name, same in yamls.items():
        found.append(
            differences(
                f"hyperparameters_{re.sub(r'[^A-Za-z0-9_-]', '_', name)}",
                method_names(same),
                f"experiments with {name}.yaml",
            )
        )
    return [table for table in found if table is not None]


def differences(name: str, named: Mapping[str, Sequence[Summary]], what: str) -> Table | None:
    """Keys in which named groups of runs differ; what varies within a group is said to."""
    values = {}
    for group, same in named.items():
        everything = [
            {key: _text(value, run.seed) for key, value in {**run.settings, **run.objects}.items()} for run in same
        ]
        keys = dict.fromkeys(key for one in everything for key in one if key not in PLACES)
        texts = {key: list(dict.fromkeys(one.get(key, "-") for one in everything)) for key in keys}
        values[group] = {key: found[0] if len(found) == 1 else "varied" for key, found in texts.items()}
    keys = dict.fromkeys(key for one in values.values() for key in one)
    differ = [key for key in keys if len({one.get(key, "-") for one in values.values()}) > 1]
    if len(values) < 2 or not differ:
        return None
    caption = (
        f"Values, under the overrides, in which {what} differ; seeds, and folders that are written to, left out. "
        f"'-': no such key; varied: not the same in all its runs. {about([r for same in named.values() for r in same])}"
    )
    if len(values) <= FEW:
        rows = [[key, *(one.get(key, "-") for one in values.values())] for key in differ]
        return Table(name, ["key", *values], rows, caption)
    rows = [[group, *(one.get(key, "-") for key in differ)] for group, one in values.items()]
    return Table(name, ["experiment", *differ], rows, caption)


def _text(value, seed: str) -> str:
    """A value as the YAML has it, without the seed."""
    if isinstance(value, list):
        return f"[{', '.join(_text(part, seed) for part in value)}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{key}: {_text(part, seed)}' for key, part in value.items())}}}"
    text = "null" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
    return without_seed(text, seed)


def parameters(runs: Sequence[Summary]) -> Table | None:
    """Parameters of each experiment's model, where the runs say: `parameters` and `trainable`, in run.json or in a
    `run` event.
    """
    rows, used = [], []
    for name, same in method_names(runs).items():
        for run in same[:1]:
            said = run.info | {key: value for event in run.runs for key, value in event.items()}
            if "parameters" in said and "trainable" in said:
                total, trainable = int(said["parameters"]), int(said["trainable"])
                rows.append([name, str(run.settings.get("model", "")), total, trainable, 100 * trainable / total])
                used += same
    if not rows:
        return None
    columns = ("experiment", "model", "parameters", "trainable", "trainable (%)")
    caption = f"Parameters, tied weights counted once, and those that are trained. {about(used)}"
    return Table("parameters", columns, rows, caption)


def data(runs: Sequence[Summary]) -> Table | None:
    """What became of each corpus: available, allowed by its metadata, sampled, valid, refused, and why."""
    corpora = {}
    for run in runs:
        for language, counts in run.counts.items():
            corpora.setdefault((language, counts["digest"]), (counts, []))[1].append(run)
    rows, used = [], {}
    for (language, digest), (counts, mine) in sorted(corpora.items()):
        used |= {run.name: run for run in mine}
        for split, valid in counts["valid"].items():
            left = [counts[step].get(split) if step in counts else None for step in ("available", "passed", "sampled")]
            refused = None
            if None not in left:
                refused = left[0] - left[1] + left[2] - valid
            corpus = counts["corpus"]
            rows.append([language, corpus, digest[:12], split, *left, valid, refused, counts["hours"].get(split)])
    if not rows:
        return None
    columns = (
        "language", "corpus", "digest", "split", "available", "passed metadata", "sampled", "valid", "refused", "hours"
    )  # fmt: skip
    notes = []
    for (language, digest), (counts, _) in sorted(corpora.items()):
        reasons = ", ".join(f"{reason} {n}" for reason, n in sorted(counts["rejected"].items(), key=lambda x: -x[1]))
        said = f"{language} {digest[:12]}: {counts['refused']} refused{f' ({reasons})' * bool(reasons)}"
        if counts["sample"]:
            said += f"; a sample of {sample(counts['sample'])} was asked for, drawn with seed {counts['sample_seed']}"
        notes.append(f"{said}.")
    caption = (
        "Data: utterances listed by the corpus, allowed by their metadata, sampled, with valid audio and accepted by "
        f"the recipe; refused in all, and hours of what was used. {about(list(used.values()))}"
    )
    return Table("data", columns, rows, caption, notes)


def provenance(runs: Sequence[Summary]) -> Table:
    """Each run with its command, commit, machine and versions."""
    packages = ("torch", "speechbrain", "transformers", "jiwer")
    rows = []
    for run in runs:
        versions = run.info.get("versions") or {}
        commit = run.info.get("commit")
        rows.append(
            [run.name, run.experiment, run.seed, run.status, run.last_update, run.seconds / 60,
             str(commit)[:12] if commit else None, run.info.get("dirty"), machine(run.info) or None,
             run.info.get("python"), *(versions.get(p) for p in packages), run.info.get("command")]
        )  # fmt: skip
    columns = (
        "run", "experiment", "seed", "status", "updates", "minutes", "commit", "uncommitted changes", "machine",
        "python", *packages, "command",
    )  # fmt: skip
    caption = (
        "Runs: what was run, on what, from which commit. A run is unfinished where it was killed or still runs. "
        f"Absolute paths and tokens are cut out of commands. {about(runs)}"
    )
    return Table("runs", columns, rows, caption, forms={"minutes": ".1f"})


def flags(runs: Sequence[Summary]) -> Table | None:
    """What carryover.flags finds in the logs, or found while training."""
    rows = [[run.name, f.kind, f.update, f.evidence, f.advice] for run in runs for f in run.red_flags]
    if not rows:
        return None
    caption = f"Red flags: what the logs show to look at; none of them is a verdict. {about(runs)}"
    return Table("flags", ("run", "flag", "update", "evidence", "what to try"), rows, caption)


def problems(runs: Sequence[Summary]) -> Table | None:
    """What of the runs' files could not be read."""
    rows = [[run.name, said] for run in runs for said in run.problems]
    if not rows:
        return None
    caption = f"What could not be read, or was written by an older version; the rest is in the report. {about(runs)}"
    return Table("problems", ("run", "problem"), rows, caption)
