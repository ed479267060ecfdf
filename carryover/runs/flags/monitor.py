"""Asks every rule about every event of a run, while training writes it or when the log is read later."""

import math
from collections.abc import Callable, Iterable, Mapping

from carryover.runs.flags import penalty, sets, training
from carryover.runs.flags.flag import ADVICE, Flag
from carryover.runs.flags.state import Log
from carryover.runs.flags.thresholds import Thresholds

Rule = Callable[[Log, Mapping], str | None]  # evidence, or None where nothing is wrong

SLOW: dict[str, Rule] = {
    "all blank": training.all_blank,
    "plateau": training.plateau,
    "penalty negligible": penalty.negligible,
    "clipped": training.clipped,
    "one term": training.one_term,
}
SETS: dict[str, Rule] = {"non-finite": sets.nonfinite, "small set": sets.small_set}
# The rules that are asked about an event, by its name, in this order: a plateau asks what has been said before it.
RULES: dict[str, dict[str, Rule]] = {
    "train": {
        "non-finite": sets.nonfinite,
        "divergence": training.divergence,
        "gradient spikes": training.spiking,
        "rate too high": training.rate_too_high,
        "loss zero": training.loss_zero,
        "no gradient": training.no_gradient,
        "rate zero": training.rate_zero,
        "rate stuck": training.rate_stuck,
        "waiting for data": training.waiting,
        "many epochs": training.many_epochs,
        **SLOW,
    },
    "valid": {
        **SETS,
        "by heart": sets.by_heart,
        "overfitting": sets.overfitting,
        "WER rises": sets.WER_rises,
        "deletions grow": sets.deletions_grow,
        "loops": sets.looping,
        "prompt echo": sets.echoing,
        "WER over 100": sets.over_100,
        "penalty dominates": penalty.dominating,
    },
    "test": {
        **SETS,
        "loops": sets.looping_in_test,
        "prompt echo": sets.echoing_in_test,
        "WER over 100": sets.over_100_in_test,
    },
    "end": {**SLOW, "warm-up unfinished": training.unfinished},
}


class Monitor:
    """Watches the events of one run, in order.

    Each kind is said once for the training and once for each set: a fault that goes away and comes back is the same
    fault, and a line that is repeated is not read. Its state comes from the events alone, so that a resumed run is
    watched on by showing a new Monitor the log so far; `flag` events in it are passed over. Keys that an event lacks
    (another version's) cost the kinds that need them.

    Parameters
    ----------
    language : str, optional
        The language that is learned; default: that of the first validation or test, where train.py puts it. Only its
        WER and validation loss are judged: an old language's are forgetting, which has tables of its own.
    schedule : str, optional
        Name of the schedule (lr_schedule): a rate that stands still is a fault with some only. Not judged if unknown.
    warmup : int, optional
        Its warm-up in updates, where known.
    total : int, optional
        Updates that are planned, where known.
    scaled : bool
        Whether the loss is scaled (fp16): the first overflows are then how the scale is found.
    rate, usual_rate : float, optional
        Peak rate (lr), and the one that is usual for a model of this kind and size; not judged if unknown.
    weights : dict, optional
        Of the loss terms by name (loss_weights): they are logged unweighed.
    **thresholds
        See `Thresholds`.
    """

    def __init__(
        self,
        *,
        language: str | None = None,
        schedule: str | None = None,
        warmup: int | None = None,
        total: int | None = None,
        scaled: bool = False,
        rate: float | None = None,
        usual_rate: float | None = None,
        weights: Mapping[str, float] | None = None,
        **thresholds,
    ):
        limits = Thresholds(**thresholds)
        self.state = Log(limits, language, schedule, warmup, total, scaled, rate, usual_rate, weights or {})
        self.said = set()

    def see(self, event: Mapping) -> list[Flag]:
        """What the next event of the log shows that has not been said yet.

        Parameters
        ----------
        event : dict
            As metrics.jsonl has it: non-finite numbers are the strings "nan", "inf" and "-inf" there.
        """
        kind, state = event.get("event"), self.state
        if kind == "flag":
            return []
        state.keep(event)
        found = []
        for name, rule in RULES.get(kind, {}).items():
            evidence, key = rule(state, event), (name, event.get("set"), event.get("language"))
            if evidence is not None and key not in self.said:
                self.said.add(key)
                state.named.add(name)
                found.append(Flag(name, state.update, evidence, ADVICE[name]))
        state.previous = event
        return found


def find(events: Iterable[Mapping], **options) -> list[Flag]:
    """All flags of a log, in order.

    Parameters
    ----------
    events : iterable of dict
        Events of metrics.jsonl.
    **options
        Of `Monitor`; for a finished run `told(settings)`.
    """
    monitor = Monitor(**options)
    return [flag for event in events for flag in monitor.see(event)]


def told(settings: Mapping) -> dict:
    """What a Monitor is told of a run, {parameter: value}, from the plain values of its YAML under its overrides.

    `usual_rate` beside them is what `Recipe.usual_rate` says. A share of warm-up is of max_updates; where the epochs
    decide, it stays unknown. A run that learns a handful of utterances by heart (`overfit`) has small sets, and many
    epochs of them, on purpose.
    """
    total, warmup = settings.get("max_updates"), settings.get("warmup")
    if warmup is not None:  # as carryover.training.schedule counts it
        share = 0 < warmup < 1
        warmup = int(warmup) if not share else max(1, round(warmup * total)) if total else None
    found = {
        "language": settings.get("language"),
        "schedule": settings.get("lr_schedule"),
        "warmup": warmup,
        "total": total,
        "scaled": settings.get("precision") == "fp16",
        "rate": settings.get("lr"),
        "usual_rate": settings.get("usual_rate"),  # of no YAML: a recipe's Brain says it of its model
        "weights": _numbers(settings.get("loss_weights")),
    }
    return found | ({"words": 0, "utterances": 0, "epochs": math.inf} if settings.get("overfit") else {})


def _numbers(found: object) -> dict[str, float]:
    """{name: number} of a mapping; what else a YAML may hold there is left out."""
    pairs = found.items() if isinstance(found, Mapping) else ()
    return {name: float(value) for name, value in pairs if isinstance(value, (int, float))}
