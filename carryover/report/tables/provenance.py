"""Tables of where numbers come from: settings, data, parameters, runs with their commands, what was found amiss."""

import re
from collections.abc import Mapping, Sequence

from carryover.report.grouping import PLACES, about, method_names, without_seed
from carryover.report.log_reader import LONG_LOG
from carryover.report.phrases import sample
from carryover.report.summary import Summary
from carryover.report.tables.learning import machine
from carryover.report.tables.table import Table

FEW = 6  # experiments that stand beside each other; more stand below each other


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
    return _beside(name, differ, values, caption)


def by_heart_and_in_full(runs: Sequence[Summary]) -> list[Table]:
    """How a handful is learned by heart (--overfit N) beside how the same recipe trains in full; one table a recipe."""
    recipes = {}
    for run in runs:
        recipes.setdefault(run.objects.get("brain", ""), []).append(run)
    found = [same for same in recipes.values() if len({bool(run.settings.get("overfit")) for run in same}) == 2]
    tables = []
    for same in found:
        values = {}
        for name, group in method_names(same).items():
            texts = [_phase(run) for run in group]
            values[name] = {key: " / ".join(dict.fromkeys(one[key] for one in texts)) for key in texts[0]}
        caption = (
            "Learning a handful of utterances by heart and training in full: what was set, and what came of it. Sample "
            "views: training utterances times epochs that were run; warm-up: in updates, below 1 a share of all; "
            "augmentation: share of utterances that are changed; WER in percent, of the best weights, on the training "
            f"utterances by heart and on the test set in full. Where seeds differ, all values. {about(same)}"
        )
        name = "by_heart_and_in_full" + (f"_{len(tables) + 1}" if len(found) > 1 else "")
        tables.append(_beside(name, list(next(iter(values.values()))), values, caption))
    return tables


def _phase(run: Summary) -> dict[str, str]:
    """What one run was for, how it was set, and what it reached."""
    by_heart = run.settings.get("overfit")
    n = by_heart or run.counts.get(run.language, {}).get("valid", {}).get("train")
    epochs = run.by_epoch["epoch"][-1] if "epoch" in run.by_epoch else None
    tested = run.test(run.language, "best")
    keys = {
        "batch size": "batch_size", "accumulation": "grad_accumulation_factor", "epochs planned": "epochs",
        "updates at most": "max_updates", "dropout": "dropout", "rate": "lr", "warm-up": "warmup",
        "weight decay": "weight_decay", "augmentation": "augment_prob", "patience": "early_stopping_patience",
        "clip": "max_grad_norm",
    }  # fmt: skip
    found = {"purpose": f"{by_heart} by heart" if by_heart else "in full", "utterances": n}
    found |= {name: run.settings.get(key) for name, key in keys.items()}
    if seconds := run.settings.get("batch_seconds"):
        found["batch size"] = f"{seconds:g} s"
    found |= {"patience": found["patience"] or "none", "epochs run": None if epochs is None else int(epochs)}
    found |= {"sample views": int(n * epochs) if n and epochs else None}
    found |= {"WER": f"{tested['WER']:.2f}" if tested and "WER" in tested else None}
    return {key: "-" if value is None else _text(value, run.seed) for key, value in found.items()}


def _beside(name: str, keys: Sequence[str], values: Mapping[str, Mapping[str, str]], caption: str) -> Table:
    """Values of some keys of several groups: beside each other where they are few, else below each other."""
    if len(values) <= FEW:
        return Table(
            name, ["key", *values], [[key, *(one.get(key, "-") for one in values.values())] for key in keys], caption
        )
    rows = [[group, *(one.get(key, "-") for key in keys)] for group, one in values.items()]
    return Table(name, ["experiment", *keys], rows, caption)


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
    """What carryover.runs.flags found while training, or finds in the logs."""
    rows = [[run.name, f.kind, f.update, f.evidence, f.advice] for run in runs for f in run.red_flags]
    if not rows:
        return None
    caption = f"Red flags: what the logs show to look at; none of them is a verdict. {about(runs)}"
    notes = [f"{said}." for said in [long_logs(runs)] if said]
    return Table("flags", ("run", "flag", "update", "evidence", "what to try"), rows, caption, notes)


def long_logs(runs: Sequence[Summary]) -> str:
    """How many logs were not looked at again, "" for none: one without a flag need not be sound."""
    long = [run for run in runs if run.long_log]
    flagged = sum(bool(run.red_flags) for run in long)
    return bool(long) * (
        f"{len(long)} of {len(runs)} logs are longer than {LONG_LOG / 1e6:g} MB and were not looked at again: they are "
        f"judged by what training flagged ({flagged} of them have flags; an older version wrote none)"
    )


def problems(runs: Sequence[Summary]) -> Table | None:
    """What of the runs' files could not be read."""
    rows = [[run.name, said] for run in runs for said in run.problems]
    if not rows:
        return None
    caption = f"What could not be read, or was written by an older version; the rest is in the report. {about(runs)}"
    return Table("problems", ("run", "problem"), rows, caption)
