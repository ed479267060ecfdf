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
    if not log.judged(event) or not math.isfinite(number(event, "loss") or math.nan) or "by heart" in log.named:
        return None
    k = log.limits.validations
    finite = [v for v in log.validated if v.loss is not None and math.isfinite(v.loss)]
    best = min(range(len(finite)), key=lambda i: finite[i].loss)
    (_, lowest, WER_then, train_then, *_), (_, now, WER_now, train_now, *_) = finite[best], finite[-1]
    passed = len(finite) - 1 - best
    if passed < k or min(now, median(v.loss for v in finite[-k:])) < (1 + log.limits.rise) * lowest:
        return None
    if None in (train_then, train_now) or train_now > (1 - log.limits.fall) * train_then:
        return None
    WERs = [math.inf if v.WER is None else v.WER for v in finite]
    if min(WERs[-k:]) < min(WERs[:-k]):  # over-confident, but the words still get better
        return None
    words = f", WER {WER_then:.1f} -> {WER_now:.1f}" if None not in (WER_then, WER_now) else ""
    return (
        f"valid loss {lowest:.3g} -> {now:.3g} in {passed} validations, train loss {train_then:.3g} -> "
        f"{train_now:.3g}{words}"
    )


def by_heart(log: Log, event: Mapping) -> str | None:
    k, WERs = log.limits.validations, [math.inf if v.WER is None else v.WER for v in log.validated]
    if not log.judged(event) or not log.by_heart() or len(WERs) <= k or min(WERs[-k:]) < min(WERs[:-k]):
        return None
    now = log.validated[-1]
    words = f", WER {now.WER:.1f}, {min(WERs):.1f} at best" if now.WER is not None else ""
    return f"train loss {now.train:.3g}, valid loss {now.loss:.3g}{words}"


def WER_rises(log: Log, event: Mapping) -> str | None:
    k, known = log.limits.validations, [v for v in log.validated if None not in (v.loss, v.WER, v.errors)]
    if not log.judged(event) or len(known) <= k or not all(math.isfinite(v.loss) for v in known):
        return None
    then, now = min(known[:-k], key=lambda v: v.errors), known[-1]
    errors = min(now.errors, median(v.errors for v in known[-k:]))
    if errors < more(log, then.errors, log.limits.WER_rise) or now.loss > (1 - log.limits.fall) * then.loss:
        return None
    if min(v.errors for v in known[-k:]) < then.errors:
        return None
    return (
        f"WER {then.WER:.1f} -> {now.WER:.1f} since update {then.update}, while valid loss {then.loss:.3g} -> "
        f"{now.loss:.3g}"
    )


def deletions_grow(log: Log, event: Mapping) -> str | None:
    k, known = log.limits.validations, [v for v in log.validated if None not in v[4:]]
    if not log.judged(event) or len(known) <= k:
        return None
    then, now, last = min(known[:-k], key=lambda v: v.deletions), known[-1], known[-k:]
    deletions = min(now.deletions, median(v.deletions for v in last))
    grown = deletions >= more(log, then.deletions, log.limits.deletions_rise)
    if not grown or deletions < log.limits.deletions * now.words or min(v.errors for v in last) < then.errors:
        return None
    if max(now.insertions, median(v.insertions for v in last)) > then.insertions:
        return None
    return (
        f"{then.deletions:.0f} -> {now.deletions:.0f} of {now.words:.0f} words deleted since update {then.update}, "
        f"insertions {then.insertions:.0f} -> {now.insertions:.0f}"
    )


def more(log: Log, count: float, share: float) -> float:
    """What a count of errors has to reach to be more by a share, and by more than chance makes it."""
    return max((1 + share) * count, count + log.limits.deviations * math.sqrt(count + 1))


def echoing(log: Log, event: Mapping) -> str | None:
    if not log.judged(event) or len(log.validated) < log.limits.loops or log.echoed.events < 2:
        return None
    return echoes(event)


def echoing_in_test(log: Log, event: Mapping) -> str | None:
    return echoes(event) if is_final(log, event) and log.often("echoes", event) else None


def looping(log: Log, event: Mapping) -> str | None:
    if not log.judged(event) or len(log.validated) < log.limits.loops or log.looped.events < 2:
        return None
    return repetitions(event)


def looping_in_test(log: Log, event: Mapping) -> str | None:
    return repetitions(event) if is_final(log, event) and log.often("loops", event) else None


def over_100(log: Log, event: Mapping) -> str | None:
    if not log.judged(event) or len(log.validated) < log.limits.loops:
        return None
    high = all(v.WER is not None and v.WER > 100 for v in log.validated[-2:])
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


def echoes(event: Mapping) -> str:
    said, utterances = number(event, "echoes"), number(event, "utterances")
    return f"{name(event)}: {said:.0f} of {utterances:.0f} hypotheses repeat the prompt"
