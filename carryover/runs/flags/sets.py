"""Rules over validation and test sets; each returns its evidence or None."""

import math
from collections.abc import Mapping
from statistics import median

from carryover.runs.flags.state import Log, number


def nonfinite(log: Log, event: Mapping) -> str | None:
    found = [f"{key} {event[key]}" for key in ("loss", "grad_norm") if not math.isfinite(number(event, key) or 0)]
    # a scale of 2^16 is halved 16 times at most until it fits, and doubled on trial every 2000 updates
    tolerated = 16 + 0.01 * log.update if log.scaled else 0
    if event["event"] == "train" and log.newly_skipped > 0 and log.skipped > tolerated:
        found.append(f"{log.skipped:.0f} updates skipped so far")
    return f"{name(event)}: {', '.join(found)}" if found else None


def small_set(log: Log, event: Mapping) -> str | None:
    words, utterances = number(event, "words"), number(event, "utterances")
    few = words is not None and words < max(1, log.limits.words)
    few |= utterances is not None and utterances < max(1, log.limits.utterances)
    if not few:
        return None
    sizes = [f"{n:.0f} {name}" for n, name in ((utterances, "utterances"), (words, "words")) if n is not None]
    if 0 in (words, utterances):
        return f"{name(event)} is empty ({', '.join(sizes)}): its rates say nothing"
    worth = f", a word is {100 / words:.2g} points of WER" if words else ""
    return f"{name(event)} has {' and '.join(sizes)}{worth}"


def overfitting(log: Log, event: Mapping) -> str | None:
    if not log.judged(event) or not math.isfinite(number(event, "loss") or math.nan):
        return None
    k = log.limits.validations
    finite = [v for v in log.validated if v[1] is not None and math.isfinite(v[1])]
    best = min(range(len(finite)), key=lambda i: finite[i][1])
    (_, lowest, WER_then, train_then), (_, now, WER_now, train_now) = finite[best], finite[-1]
    passed = len(finite) - 1 - best
    if passed < k or min(now, median(v[1] for v in finite[-k:])) < (1 + log.limits.rise) * lowest:
        return None
    if None in (train_then, train_now) or train_now > (1 - log.limits.fall) * train_then:
        return None
    WERs = [math.inf if v[2] is None else v[2] for v in finite]
    if min(WERs[-k:]) < min(WERs[:-k]):  # over-confident, but the words still get better
        return None
    words = f", WER {WER_then:.1f} -> {WER_now:.1f}" if None not in (WER_then, WER_now) else ""
    return (
        f"valid loss {lowest:.3g} -> {now:.3g} in {passed} validations, train loss {train_then:.3g} -> "
        f"{train_now:.3g}{words}"
    )


def looping(log: Log, event: Mapping) -> str | None:
    if not log.judged(event) or len(log.validated) < log.limits.loops or log.looped.events < 2:
        return None
    return repetitions(event)


def looping_in_test(log: Log, event: Mapping) -> str | None:
    return repetitions(event) if is_final(log, event) and log.loops_often(event) else None


def over_100(log: Log, event: Mapping) -> str | None:
    if not log.judged(event) or len(log.validated) < log.limits.loops:
        return None
    high = all(WER is not None and WER > 100 for _, _, WER, _ in log.validated[-2:])
    return insertions(event) if high else None


def over_100_in_test(log: Log, event: Mapping) -> str | None:
    return insertions(event) if is_final(log, event) and (number(event, "WER") or 0) > 100 else None


def is_final(log: Log, event: Mapping) -> bool:
    """Whether a test is the run's result: the new language, the weights that training ends with."""
    return event.get("weights", "best") in ("best", "last") and event.get("language") == log.language


def name(event: Mapping) -> str:
    """What an event is about: "train", "valid de", "test_de"."""
    name, language = event.get("set", event["event"]), event.get("language")
    return name if language is None or name.endswith(f"_{language}") else f"{name} {language}"


def insertions(event: Mapping) -> str:
    """What a WER over 100 says: substitutions and deletions make 100 at most, the rest are inserted words."""
    words, errors = number(event, "words"), number(event, "errors")
    more = f", at least {errors - words:.0f} words too many to {words:.0f}" if None not in (words, errors) else ""
    return f"{name(event)} has WER {number(event, 'WER'):.1f}{more}"


def repetitions(event: Mapping) -> str:
    loops, utterances = number(event, "loops"), number(event, "utterances")
    return f"{name(event)}: {loops:.0f} of {utterances:.0f} hypotheses say one thing again and again"
