"""Sentences of a methods paragraph that hold for every recipe; citations as @[key] (carryover/report/citations.py)."""

from functools import partial

from carryover.models.trained import is_lora
from carryover.runs.privacy import clean_paths

SCHEDULES = {"noam": " @[vaswani2017attention]"}
OPTIMIZERS = {"AdamW": " @[loshchilov2019decoupled]"}


def started_from(source: str | None, random: bool) -> str:
    """What the first weights are."""
    if source is None:
        return "Training starts from random weights."
    return f"Training starts from {'random weights in the shape of ' * random}{source}."


def trained(train: str, model) -> str:
    """What the key `train` says of a model; w2v-BERT has no stem that could be frozen."""
    if adapters := [name for name, p in model.named_parameters() if p.requires_grad and is_lora(name)]:
        dora = any("lora_magnitude_vector" in name for name in adapters)
        what = "weight-decomposed low-rank adapters @[liu2024dora]" if dora else "low-rank adapters @[hu2022lora]"
        head = any(p.requires_grad and "lm_head" in name for name, p in model.named_parameters())
        rank = next(p.shape[0] for name, p in model.named_parameters() if "lora_A" in name)
        return f"In it {what} of rank {rank} are trained{' and its head' * head}; the rest is frozen."
    if train == "all" or (train == "all_but_stem" and all(p.requires_grad for p in model.parameters())):
        return "All of its parameters are trained."
    if train == "all_but_stem":
        return "Its convolutional feature encoder is frozen."
    if train.startswith("encoder_top_"):
        n = train.removeprefix("encoder_top_")
        return f"Of its encoder the last {n} layers are trained and what comes behind them; the rest is frozen."
    return f"Its {train} alone is trained; the rest is frozen."


def targets(target_text) -> str:
    """What becomes of transcripts."""
    verbatim = target_text.name == "verbatim"
    return "Targets are the transcripts " + ("as they stand." if verbatim else f"normalised by {target_text.name}.")


def augmentation(share: float, what: str) -> list[str]:
    """[] without augmentation."""
    return [f"In training {100 * share:g} % of {what} are augmented."] if share else []


def optimisation(brain) -> list[str]:
    """Batches, optimizer, schedule, length and the checkpoint that is tested, of a Brain that is about to train."""
    h, k, schedule = brain.hparams, brain.grad_accumulation_factor, brain.hparams.schedule
    size, what = (brain.batch_seconds, "seconds") if brain.batch_seconds else (h.batch_size, "utterances")
    batch = f"Updates are made of batches of {size:g} {what}" + ", padding counted" * bool(brain.batch_seconds)
    whole = f"{size * k:g}" + " seconds" * bool(brain.batch_seconds)
    batch += f", accumulated over {k} steps (an effective batch of {whole})." if k > 1 else "."
    opt = brain.opt_class.func if isinstance(brain.opt_class, partial) else brain.opt_class
    options = brain.opt_class.keywords if isinstance(brain.opt_class, partial) else {}
    name = f"{opt.__name__}{OPTIMIZERS.get(opt.__name__, '')}"
    rates = "".join(f", {rate:g} for the {module}" for module, rate in h.lr_of.items())
    optimizer = f"The optimizer is {name} with a peak learning rate of {schedule.lr:g}{rates}"
    if decay := options.get("weight_decay", 0):
        optimizer += f" and weight decay {decay:g}" + " (none for biases and norms)" * bool(h.no_decay_for_vectors)
    optimizer += f"; gradients are clipped to a norm of {brain.max_grad_norm:g}." if brain.max_grad_norm else "."
    rate = f"The schedule is {schedule.name}{SCHEDULES.get(schedule.name, '')}"
    if schedule.warmup:
        share = schedule.warmup < 1
        rate += f" after a warm-up of {100 * schedule.warmup:g} % of the" if share else f" after {schedule.warmup:g}"
        rate += " updates" + " of warm-up" * (not share)
    length = f"{h.max_updates} updates" if h.max_updates else f"{h.epochs} epoch{'s' * (h.epochs > 1)}"
    length = f"Training takes at most {length} in {brain.precision}"
    if h.early_stopping_patience:
        length += f" and stops after {h.early_stopping_patience} validations without a lower WER"
    tested = f"Tested is the checkpoint with the lowest validation WER of {h.language}."
    return [batch, optimizer, f"{rate}.", f"{length}.", tested]


def methods(brain) -> dict[str, list[str]]:
    """Sentences of a methods paragraph by section, citations as @[key]: what each object of a run says of itself."""
    found = {"model": [], "loss": []} | brain.describe() | {"optimisation": optimisation(brain)}
    found["model"] = [*found["model"], *brain.hparams.kept.describe()]
    found["forgetting"] = [method.describe() for method in brain.methods]
    return {section: [clean_paths(sentence) for sentence in said] for section, said in found.items()}
