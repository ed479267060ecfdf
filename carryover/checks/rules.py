"""Rules of `carryover check`: each looks at the facts and returns what it found, or None; thresholds in one table."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from carryover.checks.facts import Facts
from carryover.runs.flags import Thresholds, overlap

PASS, WARN, FAIL = "pass", "warn", "FAIL"


class Found(NamedTuple):
    """What a rule found: its verdict, the numbers, and what to do."""

    verdict: str
    evidence: str
    advice: str


@dataclass(frozen=True)
class Usual:
    """Ranges outside which a value is unusual; from guides to fine-tuning and the recipes' own runs.

    A share `rejected` or `missing` of a corpus is worth a look, `broken` of it is a fault.
    """

    epochs: tuple[float, float] = (3, 20)
    batch: tuple[int, int] = (4, 32)
    weight_decay: tuple[float, float] = (0.0, 0.1)
    max_grad_norm: tuple[float, float] = (0.5, 5.0)
    dropout: tuple[float, float] = (0.0, 0.3)
    warmup: float = 0.3  # share of all updates
    rate: float = 10.0  # times what is usual for the model
    random: float = 0.01  # share of the trained parameters that begin at random
    rejected: float = 0.05
    broken: float = 0.5
    speakers: int = 2
    cpu: int = 50_000_000  # parameters that a CPU trains in a reasonable time
    valid_words: int = 500  # a word is 0.2 points of WER
    left_free: float = 6.0  # GiB of a card: longer clips come, and others use it


USUAL, THRESHOLDS = Usual(), Thresholds()


def outside(name: str, value: float, low: float, high: float, advice: str) -> Found | None:
    """A warning where a value is not between two others."""
    if low <= value <= high:
        return None
    return Found(WARN, f"{name} {value:.4g}; usual are {low:g} to {high:g}", advice)


# ---- data ----


def rejected(facts: Facts) -> Found | None:
    shares = {name: refused / read for name, (refused, read) in facts.rejected.items() if read}
    name = max(shares, key=shares.get)
    if shares[name] <= USUAL.rejected:
        return None
    refused, read = facts.rejected[name]
    verdict = FAIL if shares[name] > USUAL.broken else WARN
    return Found(
        verdict, f"{name}: {refused} of {read} utterances are refused ({100 * shares[name]:.0f} %)",
        "look into manifests/*/rejected.csv of a run, and mend the list or the recordings",
    )  # fmt: skip


def texts_in_training(facts: Facts) -> Found | None:
    return _overlap(facts, "texts in training")


def speakers_in_training(facts: Facts) -> Found | None:
    return _overlap(facts, "speakers in training")


def _overlap(facts: Facts, kind: str) -> Found | None:
    if "test" not in facts.rows[facts.language]:
        return None
    found = overlap(facts.train, facts.rows[facts.language]["test"], f"test_{facts.language}")
    return next((Found(WARN, flag.evidence, flag.advice) for flag in found if flag.kind == kind), None)


def few_speakers(facts: Facts) -> Found | None:
    speakers = {row["speaker"] for row in facts.train} - {""}
    if len(speakers) >= USUAL.speakers:
        return None
    said = f"training has {len(speakers)} known speaker{'s' * (len(speakers) != 1)}"
    return Found(WARN, said, "give a column speaker; a model of one voice knows one voice")


def small_sets(facts: Facts) -> Found | None:
    for split, least in (("test", THRESHOLDS.words), ("valid", USUAL.valid_words)):
        for language, splits in facts.rows.items():
            rows = splits.get(split)
            if not rows:
                continue
            words = sum(len(row["text"].split()) for row in rows)
            if words < least or len(rows) < THRESHOLDS.utterances:
                said = f"{split} of {language} has {len(rows)} utterances and {words} words"
                return Found(WARN, said, "take more before settings or methods are compared by it")
    return None


def test_set_incomplete(facts: Facts) -> Found | None:
    if not facts.left_out:
        return None
    said = "; ".join(f"test_{name}: {what}" for name, what in facts.left_out.items())
    return Found(WARN, said, "mend these recordings, or report the share")


def batch_larger_than_set(facts: Facts) -> Found | None:
    if facts.batch <= len(facts.train):
        return None
    return Found(FAIL, f"a batch of {facts.batch}, but {len(facts.train)} utterances", "lower batch_size")


# ---- optimisation ----


def epochs(facts: Facts) -> Found | None:
    said = f"{facts.updates} updates of {facts.batch} on {len(facts.train)} utterances, epochs:"
    return outside(said, facts.epochs, *USUAL.epochs, "change max_updates or epochs")


def rate(facts: Facts) -> Found | None:
    usual = facts.brain.usual_rate()
    if usual is None or facts.values["lr"] is None:
        return None
    times = facts.values["lr"] / usual
    if 1 / USUAL.rate <= times <= USUAL.rate:
        return None
    said = f"lr {facts.values['lr']:g} is {times:.3g} x what is usual for this kind and size of model, {usual:.2g}"
    return Found(WARN, said, f"try {usual:.0e}")


def warmup(facts: Facts) -> Found | None:
    if facts.warmup >= facts.updates:
        said = f"warm-up {facts.warmup:g} of {facts.updates} updates: the peak rate is never reached"
        return Found(FAIL, said, "try warmup: 0.1, a share of all updates")
    if facts.warmup > USUAL.warmup * facts.updates:
        said = f"warm-up {facts.warmup:g} of {facts.updates} updates"
        return Found(WARN, said, "5 to 10 % are usual: warmup: 0.1")
    return None


def batch(facts: Facts) -> Found | None:
    return outside("effective batch", facts.batch, *USUAL.batch, "change batch_size x grad_accumulation_factor")


def weight_decay(facts: Facts) -> Found | None:
    return _range(facts, "weight_decay")


def dropout(facts: Facts) -> Found | None:
    return _range(facts, "dropout")


def clipping(facts: Facts) -> Found | None:
    return _range(facts, "max_grad_norm")


def _range(facts: Facts, key: str) -> Found | None:
    value = facts.values.get(key)
    return None if value is None else outside(key, value, *getattr(USUAL, key), f"change {key}")


def random_parts(facts: Facts) -> Found | None:
    trained, _ = facts.parameters
    share = facts.random / trained
    if not USUAL.random < share < 1:  # all of them: nothing is carried over
        return None
    said = f"{facts.random:,} of {trained:,} trained parameters begin at random beside pretrained ones"
    return Found(WARN, said, "a rate of their own (lr_of) or a longer warm-up; leave out a head that you do not need")


def smoothing_with_ctc(facts: Facts) -> Found | None:
    smoothing, weights = facts.values.get("label_smoothing"), facts.values["loss_weights"]
    if not smoothing or weights.get("nll"):
        return None
    return Found(FAIL, f"label_smoothing {smoothing:g}, but no loss that it smooths", "label_smoothing: 0.0")


# ---- evaluation ----


def validated_once(facts: Facts) -> Found | None:
    every = facts.every("valid_every")
    if every <= facts.updates:
        return None
    said = f"valid_every {every} of {facts.updates} updates: the end alone is validated"
    return Found(WARN, said, "lower valid_every: the best of several checkpoints is tested")


def patience(facts: Facts) -> Found | None:
    validations = facts.values["early_stopping_patience"]
    if not validations or validations * facts.every("valid_every") < facts.updates:
        return None
    said = (
        f"early_stopping_patience {validations} x valid_every {facts.every('valid_every')} of {facts.updates} updates"
    )
    return Found(WARN, said, "it cannot act; lower one of them, or say 0")


def old_language_unseen(facts: Facts) -> Found | None:
    old = facts.values["old_language"]
    if not old or "valid" in facts.experiment.old_splits:
        return None
    return Found(WARN, f"{old} is not validated", "old_splits: [valid, test]: nothing is chosen on a test set")


def untested_before(facts: Facts) -> Found | None:
    if not facts.values["old_language"] or facts.values["test_before"]:
        return None
    said = f"{facts.values['old_language']} is not tested before the training"
    return Found(WARN, said, "test_before: True, or forgetting cannot be told")


def hypotheses_cut(facts: Facts) -> Found | None:
    rows = [row for splits in facts.rows.values() for row in splits.get("test", ())]
    cut = facts.brain.cut_off(rows)
    if not cut:
        return None
    said = (
        f"generation_length {facts.values['generation_length']}, but {len(cut)} of {len(rows)} test texts are longer, "
        f"up to {max(cut)} tokens"
    )
    return Found(WARN, said, f"generation_length: {max(cut)}, or they count as deletions")


# ---- checkpoints, logging, machine ----


def no_checkpoint(facts: Facts) -> Found | None:
    every = min(facts.every("save_every"), facts.every("valid_every"))
    if every < facts.updates:
        return None
    said = f"save_every and valid_every are {every} or more, of {facts.updates} updates"
    return Found(WARN, said, "a run that is stopped begins anew; lower save_every")


def nothing_logged(facts: Facts) -> Found | None:
    if facts.every("log_every") <= facts.updates:
        return None
    said = f"log_every {facts.every('log_every')} of {facts.updates} updates: no training loss is logged"
    return Found(WARN, said, "lower log_every")


def disk(facts: Facts) -> Found | None:
    folder = Path(str(facts.values["output_folder"])).absolute()
    there = next(path for path in (folder, *folder.parents) if path.exists())
    free = shutil.disk_usage(there).free
    needed = ((facts.values["save_limit"] or facts.updates // facts.every("save_every")) + 2) * facts.checkpoint_bytes
    if needed < free:
        return None
    return Found(FAIL, f"{needed / 1e9:.1f} GB of checkpoints, {free / 1e9:.1f} GB free in {there}", "save_limit: 1")


def left_free(peak: float, card: float) -> Found | None:
    """Of a card of so many bytes, at a peak of so many; known only after a trial."""
    left = (card - peak) / 2**30
    if left >= USUAL.left_free:
        return None
    evidence = f"{left:.1f} of {card / 2**30:.0f} GiB; 6 to 8 are usual"
    return Found(WARN, evidence, "halve batch_size and double grad_accumulation_factor: the update stays what it is")


def large_on_cpu(facts: Facts) -> Found | None:
    trained, _ = facts.parameters
    if facts.brain.device_type != "cpu" or trained <= USUAL.cpu:
        return None
    return Found(WARN, f"{trained:,} parameters are trained on a CPU", "take a GPU, or freeze more (train)")


def readers(facts: Facts) -> Found | None:
    if facts.brain.device_type != "cuda" or facts.values["num_workers"]:
        return None
    return Found(WARN, "num_workers 0 beside a GPU", "num_workers: 4, or it waits for its clips")


RULES: dict[str, tuple[Callable[[Facts], Found | None], ...]] = {
    "data": (
        rejected, batch_larger_than_set, texts_in_training, speakers_in_training, few_speakers, small_sets,
        test_set_incomplete,
    ),
    "optimisation": (
        epochs, rate, warmup, batch, weight_decay, dropout, clipping, random_parts, smoothing_with_ctc,
    ),
    "evaluation": (
        validated_once, patience, old_language_unseen, untested_before, hypotheses_cut,
    ),
    "checkpoints and logs": (no_checkpoint, nothing_logged, disk),
    "machine": (large_on_cpu, readers),
}  # fmt: skip
test_set_incomplete.__test__ = False  # no test of pytest's
