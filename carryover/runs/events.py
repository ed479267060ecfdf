"""The schema of metrics.jsonl: every event that a run writes, its fields, and how the file is read.

One event is one line of JSON. Non-finite numbers are the strings "nan", "inf" and "-inf", for JSON has none.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

TYPES = {"int": int, "float": (int, float), "str": str, "bool": bool, "list": (list, tuple)}
NOT_FINITE = ("nan", "inf", "-inf")
FIRST = "0.1"  # version of carryover that first wrote a field


@dataclass(frozen=True)
class Field:
    """One field of an event.

    Attributes
    ----------
    name : str
    type : str
        One of `TYPES`.
    unit : str
        "" where it has none.
    meaning : str
    required : bool
        Every such event has it; else it is left out, or null, where it does not apply.
    since : str
        Version of carryover that first wrote it.
    """

    name: str
    type: str
    unit: str
    meaning: str
    required: bool = True
    since: str = FIRST

    def takes(self, value) -> bool:
        """Whether a value, not null, is of this type; lists are of two numbers."""
        if not isinstance(value, TYPES[self.type]):
            return False
        return self.type != "list" or (len(value) == 2 and all(isinstance(end, TYPES["float"]) for end in value))


@dataclass(frozen=True)
class Event:
    """One kind of event.

    Attributes
    ----------
    name, meaning : str
    fields : tuple of Field
    open : tuple of Field
        Groups of fields whose names depend on the run, such as "<term>"; an event without one has `fields` only.
    """

    name: str
    meaning: str
    fields: tuple[Field, ...]
    open: tuple[Field, ...] = ()


NOW = (
    Field("update", "int", "updates", "optimizer updates done"),
    Field("epoch", "int", "", "epoch, counted from 1; 0 before training"),
    Field("time", "float", "s", "since the run began, without the time that it was stopped"),
)
TERM = Field("<term>", "float", "per unit", "a loss term (nll, ctc, kd): mean per token or utterance", False)
LOSS = Field("loss", "float", "per unit", "weighted sum of the loss terms: mean per token (NLL) or utterance (CTC)")
SET = (
    Field("set", "str", "", "valid, or the test set's name"),
    Field("language", "str", "", "language of the set"),
)
SCORES = (
    LOSS,
    Field("WER", "float", "%", "word error rate over the set, normalised texts"),
    Field("CER", "float", "%", "character error rate over the set, normalised texts"),
    Field("WER_raw", "float", "%", "the same of the texts as they are"),
    Field("CER_raw", "float", "%", "the same of the texts as they are"),
    Field("words", "int", "words", "in the normalised references"),
    Field("errors", "int", "words", "substituted, deleted and inserted"),
    Field("substitutions", "int", "words", "of one shortest alignment", False),
    Field("deletions", "int", "words", "the same", False),
    Field("insertions", "int", "words", "the same", False),
    Field("utterances", "int", "utterances", "of the set"),
    Field("loops", "int", "utterances", "whose hypothesis repeats one thing again and again"),
    Field("echoes", "int", "utterances", "speech LLM: whose hypothesis repeats the prompt", False),
    Field("empty", "int", "utterances", "speech LLM: without a hypothesis", False),
    Field("unended", "int", "utterances", "speech LLM: stopped by the audio's length", False),
)
SCORE = Field("<task>_accuracy", "float", "%", "share of right answers in another task of the recipe", False)

EVENTS = (
    Event("run", "Start of a run; in logs of early versions only.", (), (Field("<key>", "str", "", "any", False),)),
    Event(
        "train",
        "Means over the updates since the last train event.",
        (
            *NOW,
            LOSS,
            Field("lr", "float", "", "learning rate of the last update"),
            Field("grad_norm", "float", "", "mean norm of the gradient before clipping"),
            Field("clipped", "float", "share", "of the updates whose gradient was clipped", False),
            Field("audio_seconds", "float", "s", "audio trained on"),
            Field("padding", "float", "share", "of the input that is padding"),
            Field("skipped", "int", "updates", "skipped so far because something was not finite"),
            Field("data_wait_seconds", "float", "s", "spent waiting for batches"),
            Field("peak_memory_bytes", "int", "bytes", "peak of the device's memory, on a CPU of the process"),
            Field("energy_joules", "float", "J", "used by the machine, where it reports that", False),
            Field("penalty_ratio", "float", "", "penalties on the weights / loss", False),
            Field("blank_ratio", "float", "share", "CTC: of the frames whose likeliest symbol is blank", False),
        ),
        (TERM, Field("<method>", "float", "", "what a method against forgetting logs, e.g. ewc: its penalty", False)),
    ),
    Event(
        "valid",
        "Scores of a validation set.",
        (*NOW, *SET, *SCORES, Field("weights", "str", "", "only where they are not those of this update", False)),
        (TERM, SCORE),
    ),
    Event(
        "test",
        "Scores of a test set.",
        (
            *NOW,
            *SET,
            *SCORES,
            Field("weights", "str", "", "before, best, last, or a variant such as average_0.5"),
            Field("interval", "list", "%", "95 % confidence interval of the WER: lower, upper"),
            Field("interval_CER", "list", "%", "the same of the CER", False),
            Field("interval_over", "str", "", "what they are taken over, e.g. 6 speakers", False),
        ),
        (TERM, SCORE),
    ),
    Event(
        "fisher",
        "Importance of the old weights was estimated, or read from a file.",
        (
            *NOW,
            Field("method", "str", "", "ewc, mas, ..."),
            Field("file", "str", "", "where the importance is kept"),
            Field("reused", "bool", "", "whether it was read from the file"),
            Field("seconds", "float", "s", "that this took"),
            Field("mean", "float", "", "of the importance over all weights"),
            Field("lambda", "float", "", "weight of the penalty", False),
            Field("lambda_mean", "float", "", "lambda x mean: by this, not by lambda, penalties are compared", False),
        ),
        (Field("<definition>", "str", "", "what was estimated: statistic, labels, samples, data", False),),
    ),
    Event(
        "checkpoint",
        "A checkpoint is about to be written.",
        (*NOW, Field("WER", "float", "%", "of the new language, if validated at this update", False)),
    ),
    Event(
        "flag",
        "Something to look at: a red flag, or a message such as micro-batches that were halved.",
        (
            *NOW,
            Field("message", "str", "", "the line on the screen"),
            Field("kind", "str", "", "red flags: one of flags.KINDS", False),
            Field("evidence", "str", "", "red flags: the numbers that show it", False),
            Field("advice", "str", "", "red flags: what to try", False),
        ),
    ),
    Event(
        "resume",
        "Training goes on from a checkpoint.",
        (
            *NOW,
            Field("checkpoint", "str", "", "name of its folder"),
            Field("events_dropped", "int", "lines", "logged after it, which are made again"),
        ),
    ),
    Event(
        "end",
        "Training is over.",
        (
            *NOW,
            Field("reason", "str", "", "why it stopped early, null or empty where it did not", False),
            Field("skipped", "int", "updates", "skipped in all because something was not finite"),
        ),
    ),
)
SCHEMA = {event.name: event for event in EVENTS}


def check(event: str, values: Mapping) -> None:
    """Raise ValueError where an event is not as the schema has it."""
    if event not in SCHEMA:
        raise ValueError(f"event '{event}' is not in the schema; expected one of {', '.join(SCHEMA)}")
    fields = {field.name: field for field in SCHEMA[event].fields}
    for name, field in fields.items():
        value = values.get(name)
        if value is None:
            if field.required:
                raise ValueError(f"event '{event}': field '{name}' is missing")
        elif not field.takes(value):
            raise ValueError(f"event '{event}': field '{name}' is {value!r}, expected {field.type}")
    if not SCHEMA[event].open and (unknown := [name for name in values if name not in fields]):
        raise ValueError(f"event '{event}': field '{unknown[0]}' is not in the schema; declare it in runs/events.py")


def wrong(event) -> str:
    """What of a line's JSON is not as the schema has it, "" where nothing is.

    Fields that are not there, and events and fields that the schema does not know, are right: an older version wrote
    them. A number may be one of the strings for those that are not finite.
    """
    if not isinstance(event, dict) or not isinstance(event.get("event"), str):
        return "no event of a run"
    known = SCHEMA.get(event["event"])
    for field in known.fields if known else ():
        value = event.get(field.name)
        if value is not None and not field.takes(value if field.type == "str" else _number(value)):
            expected = "two numbers" if field.type == "list" else field.type
            return f"{event['event']}: {field.name} is {value!r:.40}, expected {expected}"
    return ""


def _number(value):
    """A value as it was logged: the strings of `NOT_FINITE`, alone and in a list, were numbers."""
    if isinstance(value, list):
        return [_number(one) for one in value]
    return float(value) if value in NOT_FINITE else value


def read(path: str | Path) -> list[dict]:
    """All whole events of a metrics.jsonl, in order; a half-written last line is left out.

    Raises
    ------
    ValueError
        Naming the line that is no JSON.
    """
    lines = Path(path).read_bytes().split(b"\n")[:-1]  # bytes: a half-written line can end within a letter
    events = []
    for number, line in enumerate(lines, 1):
        try:
            events.append(json.loads(line))
        except ValueError as error:
            raise ValueError(f"{path} line {number}: expected an event in JSON, found {line[:40]!r}") from error
    return events


def markdown() -> str:
    """The reference of all events, a table for each."""
    parts = []
    for event in EVENTS:
        rows = [
            f"| `{f.name}` | {f.type} | {f.unit} | {f.meaning} | {'yes' if f.required else 'no'} | {f.since} |"
            for f in event.fields + event.open
        ]
        head = ["| field | type | unit | meaning | always | since |", "| --- | --- | --- | --- | --- | --- |"]
        parts.append("\n".join([f"## {event.name}", "", event.meaning, "", *head, *rows]))
    return "\n\n".join(parts) + "\n"
