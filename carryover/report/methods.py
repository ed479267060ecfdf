"""The methods paragraph of a thesis, from what the runs' files say; what they do not say is left out.

One paragraph a YAML, from all its runs: a value that varies between them is given as the list of its values.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from carryover.report.citations import BIBTEX
from carryover.report.grouping import BASELINE, method_names, method_sets, of_test, seeds_of, without_seed
from carryover.report.summary import Summary
from carryover.report.tables.learning import GiB, machine
from carryover.report.tables.table import escape
from carryover.stats import bootstrap

OUT_OF_MEMORY = "Out of memory with micro-batches"  # so begins what carryover.training.micro_batches says
CITE = re.compile(r"@\[([\w, ]+)\]")  # in the sentences here: @[key, key]

OPTIMIZERS = {"AdamW": "@[loshchilov2019decoupled]"}
AGAINST = {  # by the class that the YAML names
    "EWC": "elastic weight consolidation @[kirkpatrick2017overcoming], the loss plus lambda / 2 times the sum over "
    "parameters of the Fisher information times the squared distance to the old weights",
    "MAS": "memory aware synapses @[aljundi2018memory]",
    "L2SP": "an L2 penalty on the distance to the old weights @[li2018explicit]",
    "LwF": "learning without forgetting @[li2018learning]",
    "Replay": "replay of the old language's utterances",
    "Averaging": "averages of the old and the new weights",
}


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
        return "\n\n".join(BIBTEX[key] for key in self.keys) + "\n"


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

    def statistics(same):
        names = {run.name for run in same}
        mine = [named for named in tables if names & {run.name for found in named.values() for run in found}]
        return resampling(same, mine, baseline)

    parts = (model, data, training, against_forgetting, length, scoring, statistics, software)
    return Methods([(name, " ".join(s for part in parts for s in part(same) if s)) for name, same in yamls.items()])


def values(runs: Sequence[Summary], key: str) -> list:
    """Different values of a key, sorted; [] where a run does not have it."""
    if not all(key in run.settings for run in runs):
        return []
    found = {str(run.settings[key]): run.settings[key] for run in runs}.values()
    numbers = all(isinstance(v, (int, float)) for v in found)
    return sorted(found, key=(lambda v: v) if numbers else str)


def said(runs: Sequence[Summary], key: str) -> str:
    """The same as words: "8" or "4, 8 or 16"; "" where it is unknown or null."""
    found = [f"{v:g}" if isinstance(v, float) else str(v) for v in values(runs, key) if v is not None]
    return listed(found, "or")


def listed(parts: Sequence[str], last: str = "and") -> str:
    """Parts in a sentence.

    Example
    -------
    >>> listed(["a", "b", "c"])
    'a, b and c'
    """
    parts = list(parts)
    return f" {last} ".join([", ".join(parts[:-1]), parts[-1]]) if len(parts) > 1 else "".join(parts)


def classes(runs: Sequence[Summary], key: str) -> list[str]:
    """Names of the classes that the YAMLs give for a key."""
    found = {re.match(r"!\w+:([\w.]+)", run.objects.get(key, "")) for run in runs if key in run.objects}
    return sorted({match[1].rsplit(".", 1)[-1] for match in found if match})


def model(runs):
    """What is trained."""
    sources, scratch, brain = said(runs, "model"), values(runs, "from_scratch"), classes(runs, "brain")
    if sources:
        shared = dict.fromkeys(without_seed(run.settings["model"], run.seed) for run in runs)
        where = {(True,): "random weights in the shape of ", (False,): "", (): ""}.get(tuple(scratch))
        said_where = "" if where is None else f"Training starts from {where}{listed(list(shared), 'or')}."
        yield said_where or f"Training starts from {listed(list(shared), 'or')}, or from random weights in that shape."
    if brain == ["WhisperBrain"]:
        yield "The model is a Whisper encoder-decoder @[radford2023robust]."
    elif brain == ["CTCBrain"]:
        yield "The model is trained with connectionist temporal classification @[graves2006connectionist]."
    counts = {(r.info["parameters"], r.info["trainable"]) for r in runs if {"parameters", "trainable"} <= r.info.keys()}
    counts |= {
        (e["parameters"], e["trainable"]) for r in runs for e in r.runs if {"parameters", "trainable"} <= e.keys()
    }
    if len(counts) == 1:
        total, trainable = next(iter(counts))
        yield f"It has {_grouped(total)} parameters, of which {_grouped(trainable)} are trained."


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
                splits.append(f"{_grouped(counts['valid'][split])} utterances{hours} for {name}")
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
        yield f"{text}; {_grouped(counts['refused'])} were refused{f' ({reasons})' * bool(reasons)}."


def training(runs):
    """Batch, optimizer, schedule, precision."""
    batch, factor = values(runs, "batch_size"), values(runs, "grad_accumulation_factor")
    if len(batch) == 1 and len(factor) == 1:
        one = f"Batches of {batch[0]} utterances"
        more = f" are accumulated over {factor[0]} steps, an effective batch of {batch[0] * factor[0]}"
        yield f"{one}{more}." if factor[0] != 1 else f"{one} are used, without accumulation."
    elif batch:
        yield f"The batch size is {said(runs, 'batch_size')} utterances."
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
    optimizer, rate = classes(runs, "optimizer"), said(runs, "lr")
    if optimizer:
        names = listed([f"{name} {OPTIMIZERS[name]}" if name in OPTIMIZERS else name for name in optimizer], "or")
        decay, clip = said(runs, "weight_decay"), said(runs, "max_grad_norm")
        text = f"The optimizer is {names}" + (f" with a peak learning rate of {rate}" if rate else "")
        text += f" and weight decay {decay}" if decay else ""
        yield text + (f"; gradients are clipped to a norm of {clip}." if clip not in ("", "0", "0.0") else ".")
    schedule, warmup = said(runs, "lr_schedule"), values(runs, "warmup")
    if schedule:
        cite = " @[vaswani2017attention]" * (schedule == "noam")
        amounts = [f"{w:g} updates" if w >= 1 else f"{100 * w:g} % of the updates" for w in warmup if w]
        yield f"The schedule is {schedule}{cite}" + (
            f" after a warm-up of {listed(amounts, 'or')}." if amounts else "."
        )
    if precision := said(runs, "precision"):
        yield f"Training runs in {precision}."


def against_forgetting(runs):
    """What is done against forgetting."""
    kinds = [name for key in ("penalty", "distillation", "replay", "averaging") for name in classes(runs, key)]
    kinds = [AGAINST[kind] for kind in kinds if kind in AGAINST]
    if kinds:
        yield f"Against forgetting, {'we compare ' if len(kinds) > 1 else 'we use '}{listed(kinds)}."
    strengths = []
    for name in ("EWC", "MAS", "L2SP"):
        weighed = [run for run in runs if name in classes([run], "penalty")]
        strengths += [f"{said(weighed, 'lambda')} ({name})"] * bool(weighed and said(weighed, "lambda"))
    if strengths:
        yield f"The weight lambda of the penalty is {listed(strengths)}."
    estimated = {
        (e["method"], e["samples"], e.get("labels"))
        for r in runs
        for e in r.fisher
        if {"method", "samples"} <= e.keys()
    }
    for method, samples, labels in sorted(estimated, key=str):
        how = {"gold": " with the transcripts as labels (the empirical Fisher)", "sampled": " with sampled labels"}
        yield f"The importance of {method.upper()} is estimated from {samples} utterances{how.get(labels, '')}."


def length(runs):
    """Updates, seeds, hardware, and which checkpoint is used."""
    ended = [run for run in runs if run.end is not None]
    updates = sorted({run.last_update for run in ended})
    if updates:
        reach = f"{updates[0]}" if len(updates) == 1 else f"{updates[0]} to {updates[-1]}"
        epochs = {run.end.get("epoch") for run in ended} - {None}
        yield f"Training takes {reach} updates" + (f" ({max(epochs)} epochs begun)." if len(epochs) == 1 else ".")
    if patience := [p for p in values(runs, "early_stopping_patience") if p]:
        yield f"It stops after {listed([str(p) for p in patience], 'or')} validations without a lower WER."
    yield f"Results are of {seeds_of(runs)}."
    if machines := sorted({machine(run.info) for run in runs} - {""}):
        yield f"Runs were made on {listed(machines)}."
    if any("WER" in e for run in runs for e in run.valid) and any(
        e.get("weights") == "best" for r in runs for e in r.tests
    ):
        language = said(runs, "language")
        of = f" of the new language ({language})" * bool(language)
        yield f"Tested is the checkpoint with the lowest validation WER{of}."


def scoring(runs):
    """Rates, normaliser, statistics."""
    tested = of_test(runs)
    if not tested:
        return
    jiwer = sorted({(run.info.get("versions") or {}).get("jiwer") for run in tested} - {None})
    normalisers = sorted({run.normaliser for run in tested} - {""})
    text = "WER and CER are those of the whole test set (sum of errors over sum of reference words or characters"
    text += f"), counted by jiwer {listed(jiwer)}" if jiwer else ")"
    yield text + (f", after normalisation by {listed(normalisers)}." if normalisers else ".")


def resampling(runs, tables, baseline):
    """Intervals and p-values; tables: the methods, {name: runs}, of each table of methods that these runs are in."""
    if tables or any("interval" in e for run in of_test(runs) for e in run.tests):
        seeds = any(len(found) > 1 for named in tables for found in named.values())
        yield (
            f"Intervals are 95 % percentile intervals of {_grouped(bootstrap.RESAMPLES)} bootstrap resamples of the "
            "utterances @[bisani2004bootstrap]"
            + ", where a method has several seeds of utterances and seeds together" * seeds
            + "; differences are resampled in pairs."
        )
    against = [named for named in tables if baseline in named]
    weights = [e.get("weights", "") for named in against for run in named[baseline] for e in run.tests]
    if any(len(named) > 1 for named in against) or any(name.startswith("average_") for name in weights):
        yield (
            f"p-values against {baseline} are two-sided, of the same resamples, and corrected after Holm "
            "@[holm1979simple]."
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


def sample(asked: int | dict) -> str:
    """What was asked for: "60" or "60 (train)"."""
    return listed([f"{n} ({split})" for split, n in asked.items()]) if isinstance(asked, dict) else str(asked)


def _grouped(n: int) -> str:
    """An integer with its thousands apart.

    Example
    -------
    >>> _grouped(12345)
    '12 345'
    """
    return f"{n:,}".replace(",", " ")
