"""Sentences about runs whose run.json does not describe them, from their settings: early versions wrote none."""

import re

from carryover.report.grouping import without_seed
from carryover.report.phrases import listed, said, values
from carryover.report.what_ran import KEYS, joint

OPTIMIZERS = {"AdamW": "@[loshchilov2019decoupled]"}
AGAINST = {  # by the class that the YAML names
    "EWC": "elastic weight consolidation @[kirkpatrick2017overcoming], the loss plus lambda / 2 times the sum over "
    "parameters of the Fisher information times the squared distance to the old weights",
    "MAS": "memory aware synapses @[aljundi2018memory]",
    "L2SP": "an L2 penalty on the distance to the old weights @[li2018explicit]",
    "LwF": "learning without forgetting @[li2018learning]",
    "Replay": "replay of the old language's utterances @[rolnick2019experience]",
    "Averaging": "averages of the old and the new weights @[vandereeckt2023weight]",
}


def classes(runs, *keys: str) -> list[str]:
    """Names of the classes that the YAMLs give for some keys, those of the first key first."""
    found = {}
    for key in keys:
        names = {name for run in runs for name in re.findall(r"!\w+:([\w.]+)", run.objects.get(key, ""))}
        found |= dict.fromkeys(sorted(name.rsplit(".", 1)[-1] for name in names))
    return list(found)


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


def batches(runs):
    """Micro-batches and accumulation."""
    batch, factor = values(runs, "batch_size"), values(runs, "grad_accumulation_factor")
    if len(batch) == 1 and len(factor) == 1:
        one = f"Batches of {batch[0]} utterances"
        more = f" are accumulated over {factor[0]} steps, an effective batch of {batch[0] * factor[0]}"
        yield f"{one}{more}." if factor[0] != 1 else f"{one} are used, without accumulation."
    elif batch:
        yield f"The batch size is {said(runs, 'batch_size')} utterances."


def optimisation(runs):
    """Optimizer, schedule, precision."""
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
    apart = [run for run in runs if not joint(run)]
    kinds = [kind for kind in classes(runs, *KEYS) if kind != "Replay" or kind in classes(apart, *KEYS)]
    if together := len(runs) - len(apart):
        some = f"In {together} of {len(runs)} runs" if apart else "In training"
        yield f"{some} all training utterances of both languages are used together (joint training)."
    kinds = [AGAINST[kind] for kind in kinds if kind in AGAINST]
    if kinds:
        yield f"Against forgetting, {'we compare ' if len(kinds) > 1 else 'we use '}{listed(kinds)}."
    strengths = []
    for name in ("EWC", "MAS", "L2SP"):
        weighed = [run for run in runs if name in classes([run], *KEYS)]
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


def stopping(runs):
    """What ends training early."""
    if patience := [p for p in values(runs, "early_stopping_patience") if p]:
        yield f"It stops after {listed([str(p) for p in patience], 'or')} validations without a lower WER."


def tested(runs):
    """Which checkpoint is used."""
    if any("WER" in e for run in runs for e in run.valid) and any(
        e.get("weights") == "best" for r in runs for e in r.tests
    ):
        language = said(runs, "language")
        of = f" of the new language ({language})" * bool(language)
        yield f"Tested is the checkpoint with the lowest validation WER{of}."
