"""The methods paragraph of a thesis, from what the runs' files say; what they do not say is left out.

What was done, a run's objects say of themselves in its run.json (`describe()`); what came of it is counted here.

One paragraph a YAML, from all its runs: a value that varies between them is given as the list of its values.
"""

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from carryover.report import methods_of_old_runs as old_runs
from carryover.report.citations import BIBTEX
from carryover.report.grouping import BASELINE, method_names, method_sets, of_test, seeds_of, without_seed
from carryover.report.phrases import grouped, listed, sample
from carryover.report.summary import Summary
from carryover.report.tables.latex import escape
from carryover.report.tables.learning import GiB, machine
from carryover.stats import bootstrap
from carryover.stats.jackknife import MIN_SEEDS
from carryover.stats.units import MIN_SPEAKERS

OUT_OF_MEMORY = "Out of memory with micro-batches"  # so begins what carryover.training.micro_batches says
SECTIONS = ("model", "loss", "data", "optimisation", "forgetting")  # of run.json's "methods"
NUMBER = re.compile(r"(?<![\w.-])\d+(?:\.\d+)?(?:e[-+]?\d+)?(?!\w|\.\d)")
FEW = 4  # methods that a sentence names
CITE = re.compile(r"@\[([\w, ]+)\]")  # in the sentences here: @[key, key]


@dataclass
class Methods:
    """Paragraphs under their heads (name of the YAML, text with @[keys])."""

    paragraphs: list[tuple[str, str]]

    @property
    def keys(self) -> list[str]:
        """What is cited, sorted."""
        found = {key for _, text in self.paragraphs for group in CITE.findall(text) for key in group.split(", ")}
        return sorted(found)

    def text(self) -> str:
        """Without mark-up; citations by their keys."""
        return "\n\n".join(f"{name}: " + CITE.sub(r"[\1]", text) for name, text in self.paragraphs)

    def markdown(self) -> str:
        """Pandoc's Markdown, citations as [@key]."""

        def cite(match) -> str:
            return f"[{'; '.join(f'@{key}' for key in match[1].split(', '))}]"

        parts = [f"## {name}\n\n{CITE.sub(cite, text)}" for name, text in self.paragraphs]
        return "\n\n".join(["# Methods", *parts]) + "\n"

    def latex(self) -> str:
        r"""Citations as \cite{key}."""
        found = []
        for name, text in self.paragraphs:
            pieces = CITE.split(text)  # text, keys, text, ...
            body = "".join(escape(p) if i % 2 == 0 else f"\\cite{{{p.replace(' ', '')}}}" for i, p in enumerate(pieces))
            found.append(f"\\paragraph{{{escape(name)}}} " + body.replace(" \\cite", "~\\cite"))
        return "\n\n".join(found) + "\n"

    def bibtex(self) -> str:
        """Entries of what is cited."""
        unknown = "% {}: cited by a run, but not in carryover/report/citations.py"
        return "\n\n".join(BIBTEX.get(key, unknown.format(key)) for key in self.keys) + "\n"


def describe(runs: Sequence[Summary], baseline: str = BASELINE) -> Methods:
    """Write the paragraphs of these runs, one a YAML.

    Parameters
    ----------
    runs : list of Summary
    baseline : str
        Method that the tables compare the others with, where it is among them.
    """
    yamls = {}
    for run in runs:
        yamls.setdefault(run.experiment, []).append(run)
    tables = [method_names(found) for found in method_sets(runs).values()]  # a table may hold runs of several YAMLs

    def of_tables(same):
        names = {run.name for run in same}
        mine = [named for named in tables if names & {run.name for found in named.values() for run in found}]
        return statistics(same, mine, baseline)

    found = []
    for name, same in yamls.items():
        if all(run.methods for run in same):
            described = {section: partial(said_of_itself, section=section) for section in SECTIONS}
            parts = (
                described["model"], parameters, described["loss"], data, described["data"], described["optimisation"],
                memory, described["forgetting"], length, seeds_and_machines, scoring, of_tables, software,
            )  # fmt: skip
        else:
            parts = (
                old_runs.model, parameters, data, old_runs.batches, memory, old_runs.optimisation,
                old_runs.against_forgetting, length, old_runs.stopping, seeds_and_machines, old_runs.tested, scoring,
                of_tables, software,
            )  # fmt: skip
        found.append((name, " ".join(s for part in parts for s in part(same))))
    return Methods(found)


def said_of_itself(runs: Sequence[Summary], section: str) -> Iterator[str]:
    """Sentences of run.json's "methods", each once; where runs differ in numbers alone, one with the list of them.

    What not all runs say gets the names of the methods that do.

    Example
    -------
    Runs with lambda = 1 and with lambda = 10 give "..., with lambda = 1 or 10."
    """
    alike = {}
    for run in runs:
        for sentence in run.methods.get(section, ()):
            text = without_seed(sentence, run.seed)
            texts, names = alike.setdefault(NUMBER.sub("#", text), ({}, set()))
            texts[text] = NUMBER.findall(text)
            names.add(run.name)
    for texts, names in alike.values():
        text, *_ = texts
        between = NUMBER.split(text)
        columns = [listed(sorted(set(column), key=float), "or") for column in zip(*texts.values(), strict=True)]
        text = "".join(part for pair in zip(between, [*columns, ""], strict=True) for part in pair)
        yield text if len(names) == len(runs) else f"{text.removesuffix('.')} ({_which(names, runs)})."


def _which(names: set[str], runs: Sequence[Summary]) -> str:
    """Some runs by their methods, where these are few."""
    methods = {name: {run.name for run in found} for name, found in method_names(runs).items()}
    mine = [name for name, found in methods.items() if found <= names]
    whole = set().union(*(methods[name] for name in mine)) == names
    return listed(mine) if whole and len(mine) <= FEW else f"{len(names)} of {len(runs)} runs"


def parameters(runs):
    """How many there are."""
    counts = {(r.info["parameters"], r.info["trainable"]) for r in runs if {"parameters", "trainable"} <= r.info.keys()}
    counts |= {
        (e["parameters"], e["trainable"]) for r in runs for e in r.runs if {"parameters", "trainable"} <= e.keys()
    }
    if len(counts) == 1:
        total, trainable = next(iter(counts))
        yield f"It has {grouped(total)} parameters, of which {grouped(trainable)} are trained."


def data(runs):
    """Hours and utterances, and what was refused."""
    corpora = {}
    for run in runs:
        for language, counts in run.counts.items():
            corpora[language, counts["digest"]] = counts
    languages = [language for language, _ in corpora]
    for (language, digest), counts in sorted(corpora.items()):
        splits = []
        for split, name in (("train", "training"), ("valid", "validation"), ("test", "test")):
            if split in counts["valid"]:
                hours = f" ({counts['hours'][split]:.2f} h)" if split in counts["hours"] else ""
                splits.append(f"{grouped(counts['valid'][split])} utterances{hours} for {name}")
        if not splits:
            continue
        corpus = counts["corpus"]
        cite = " @[ardila2020common]" * corpus.lower().replace(" ", "_").startswith("common_voice")
        kind = f"{corpus.replace('_', ' ')} corpus{cite}" if corpus else "corpus"
        which = f", {digest[:12]}" * (languages.count(language) > 1)
        text = f"The {kind} ({language}{which}) has {listed(splits)}"
        if counts["sample"]:
            text += f", after a sample of {sample(counts['sample'])} was drawn with seed {counts['sample_seed']}"
        reasons = listed([f"{reason} {n}" for reason, n in sorted(counts["rejected"].items())])
        yield f"{text}; {grouped(counts['refused'])} were refused{f' ({reasons})' * bool(reasons)}."


def memory(runs):
    """Its peak, and whether it ran out."""
    peaks = {}
    for run in runs:
        if not math.isnan(run.peak_memory_bytes):
            peaks[machine(run.info)] = max(run.peak_memory_bytes / GiB, peaks.get(machine(run.info), 0))
    if peaks:
        where = [f"{peak:.1f} GiB{f' ({name})' * bool(name)}" for name, peak in sorted(peaks.items())]
        yield f"Peak memory, of the GPU or, without one, of the process, was {listed(where)}."
    if halved := [run for run in runs if any(e.get("message", "").startswith(OUT_OF_MEMORY) for e in run.flags)]:
        yield (
            f"In {len(halved)} of {len(runs)} runs memory ran out: micro-batches were halved until they fitted, the "
            "effective batch stayed."
        )


def length(runs):
    """Updates."""
    ended = [run for run in runs if run.end is not None]
    updates = sorted({run.last_update for run in ended})
    if updates:
        reach = f"{updates[0]}" if len(updates) == 1 else f"{updates[0]} to {updates[-1]}"
        epochs = {run.end.get("epoch") for run in ended} - {None}
        yield f"Training took {reach} updates" + (f" ({max(epochs)} epochs begun)." if len(epochs) == 1 else ".")
    shorter = {run.name: run.info["planned_before"] for run in runs if run.info.get("planned_before")}
    if shorter:
        plans = {
            f"{n} {key.removeprefix('max_')}" for plan in shorter.values() for step in plan for key, n in step.items()
        }
        yield (
            f"{len(shorter)} of {len(runs)} runs were planned for {listed(sorted(plans), 'or')} and trained on "
            "afterwards: until there their rates are those of the shorter plan."
        )


def seeds_and_machines(runs):
    """What the results are of."""
    yield f"Results are of {seeds_of(runs)}."
    if machines := sorted({machine(run.info) for run in runs} - {""}):
        yield f"Runs were made on {listed(machines)}."


def scoring(runs):
    """Rates, normaliser, statistics."""
    tested = of_test(runs)
    if not tested:
        return
    jiwer = sorted({(run.info.get("versions") or {}).get("jiwer") for run in tested} - {None})
    normalisers = sorted({run.normaliser for run in tested} - {""})
    text = "WER and CER are those of the test set (sum of errors over sum of reference words or characters"
    text += f"), counted by jiwer {listed(jiwer)}" if jiwer else ")"
    yield text + (f", after normalisation by {listed(normalisers)}." if normalisers else ".")


def statistics(runs, tables, baseline):
    """Intervals and p-values; tables: the methods, {name: runs}, of each table of methods that these runs are in."""
    if not tables and not any("interval" in e for run in of_test(runs) for e in run.tests):
        return
    yield (
        f"Intervals of 95 % are taken over speakers where a test set has at least {MIN_SPEAKERS}, none with more than "
        "half of the words, by Student's t on a jackknife @[efron1981jackknife]; else over utterances, which says "
        "nothing about other speakers, for a rate by the BCa bootstrap @[bisani2004bootstrap, efron1987better] with "
        f"{grouped(bootstrap.RESAMPLES)} resamples."
    )
    seeds = {len(found) for named in tables for found in named.values()}
    several = max(seeds, default=1) >= MIN_SEEDS
    if several:
        yield (
            "Of methods with several seeds the variance between seeds is added, with Satterthwaite's degrees of "
            "freedom @[satterthwaite1946approximate], in pairs of equal seeds for a difference."
        )
    if min(seeds, default=1) < MIN_SEEDS:
        yield (
            f"With fewer than {MIN_SEEDS} seeds an interval is of the trained model as it is: the scatter "
            "of other seeds is not in it, and no p-value is given."
        )
    against = [named for named in tables if len(named.get(baseline, ())) >= MIN_SEEDS]
    weights = [e.get("weights", "") for named in against for run in named[baseline] for e in run.tests]
    others = any(len(found) >= MIN_SEEDS for named in against for name, found in named.items() if name != baseline)
    if others or any(name.startswith("average_") for name in weights):
        yield (
            f"p-values against {baseline} are two-sided, the larger of this t's and of those over seeds alone, and "
            "corrected after Holm over all comparisons of a table @[holm1979simple]."
        )


def software(runs):
    """Versions."""
    cite = {"speechbrain": " @[ravanelli2021speechbrain]", "transformers": " @[wolf2020transformers]"}
    names = {"speechbrain": "SpeechBrain", "transformers": "transformers", "torch": "PyTorch"}
    found = []
    for package, name in names.items():
        versions = {(run.info.get("versions") or {}).get(package) for run in runs} - {None, "not installed"}
        found += [f"{name} {listed(sorted(versions), 'or')}{cite.get(package, '')}"] * bool(versions)
    if found:
        yield f"The software is {listed(found)}."
    commits = {run.info.get("commit") for run in runs} - {None}
    if commits and not any(math.isnan(run.last_update) for run in runs):
        dirty = " with changes that were not committed" * any(run.info.get("dirty") for run in runs)
        yield f"The code is carryover at {listed(sorted(c[:12] for c in commits))}{dirty}."
