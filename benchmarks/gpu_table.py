"""The ratios and the Markdown of what gpu.py has found."""

import numpy as np

from benchmarks.training import ratio

EWC_GOAL, FISHER_GOAL, FROZEN_GOAL = "at most 1.02", "at least 3", "at least 4"
NAMES = {"hf_trainer": "frozen, by transformers' Seq2SeqTrainer", "speechbrain": "frozen, by SpeechBrain's recipe"}
NOTES = (
    "Batch: clips of an update; of Whisper its windows of 30 s, packed: with several clips each.",
    "MFU: operations of an update by closed forms (benchmarks/flops.py) over the card's peak in dense bf16; aim: 45 % "
    "for wav2vec2-large and whisper-large-v3 trained.",
    "Waiting: share of the updates' time in which the next batch was not there; aim: at most 2 %.",
    "Intervals: 95 %, bootstrap over updates; EWC: the smallest and largest of the paired steps.",
)


def ratios(found: dict) -> list[dict]:
    """What can be compared of the measurements that are there: {what, model, value, interval, goal}."""
    rows = {(row["model"], row["variant"]): row for row in found["rows"] if row["not_measured"] is None}
    said = []

    def add(what: str, model: str, of: str, to: str, goal: str = "", by_audio: bool = False) -> None:
        both = [rows.get((model, variant)) for variant in (of, to)]
        if None in both:
            return
        per = [row["audio_seconds"] if by_audio else 1.0 for row in both]
        value, low, high = ratio(*(np.array(row["seconds"]) / x for row, x in zip(both, per, strict=True)))
        said.append({"what": what, "model": model, "value": value, "interval": [low, high], "goal": goal})

    for model in dict.fromkeys(row["model"] for row in found["rows"]):
        add("states kept, faster than the encoder in every update", model, "frozen", "states kept")
        add("states kept, faster than transformers' Seq2SeqTrainer", model, "hf_trainer", "states kept", FROZEN_GOAL)
        add("states kept, faster than SpeechBrain's recipe", model, "speechbrain", "states kept", FROZEN_GOAL)
        add("packed, faster for as much audio", model, "trained", "packed", by_audio=True)
        add("stem kept, faster than the stem in every update", model, "trained", "trained, stem kept")
        add("LoRA, faster than training all", model, "trained", "LoRA")
    for name, (value, low, high) in found["ewc"].get("times_as_long", {}).items():
        goal = EWC_GOAL if name == "in place" else ""
        interval = [low, high]
        said.append(
            {"what": f"EWC {name}, times as long", "model": "", "value": value, "interval": interval, "goal": goal}
        )
    batches = {n: s for n, s in found["fisher"].get("in_batches", {}).items() if s}
    for n, seconds in batches.items():
        value = found["fisher"]["one_by_one"] / seconds
        said.append({
            "what": f"Fisher information in batches of {n}, faster", "model": "", "value": value, "interval": None,
            "goal": FISHER_GOAL,
        })  # fmt: skip
    return said


def markdown(found: dict) -> str:
    """All tables; what was not measured is said in its place."""
    peak = found["peak_teraflops"]
    card = f"{found['card'] or 'No GPU'}" + (f", {found['memory_GiB']:.0f} GiB" if found["card"] else "")
    known = f"peak {peak:g} TFLOP/s" if peak else "its peak is not known, so no MFU"
    sizes = "TINY SIZES, which show that the command works and nothing else" if found["small"] else "random weights"
    models = [row["model"] for row in found["rows"]]
    lines = [
        f"{card} ({known}); {found['precision']}, {sizes}; torch {found['torch']}, transformers "
        f"{found['transformers']}; measured in {found['seconds']:.0f} s.\n",
        "| model | trained | batch | s an update | audio s a second | peak memory | MFU | waiting |",
        "|---|---|--:|--:|--:|--:|--:|--:|",
        *map(update, sorted(found["rows"], key=lambda row: models.index(row["model"]))),
        "",
        *(f"- {note}" for note in NOTES),
        "",
        "| compared | model | ratio | aim |",
        "|---|---|--:|---|",
        *map(compared, found["ratios"]),
        *(f"\n{name}: not measured, {why}." for name, why in missing(found)),
    ]
    return "\n".join([*lines, *micro_batches(found["micro_batches"].get("rows", [])), ""])


def update(row: dict) -> str:
    """A line of the table of updates."""
    if why := row["not_measured"]:
        return f"| {row['model']} | {NAMES.get(row['variant'], row['variant'])} | not measured: {why} | | | | | |"
    peak, MFU, waits = (row.get(key) for key in ("peak_MiB", "MFU", "waits_for_data"))
    cut = f" in {2 ** row['halvings']} pieces" if row.get("halvings") else ""
    cells = [
        row["model"], NAMES.get(row["variant"], row["variant"]),
        f"{row['batch']:.3g}{cut}", f"{np.mean(row['seconds']):.3f}",
        f"{row['audio_seconds_a_second']:.1f}", "" if peak is None else f"{peak / 1024:.1f} GiB",
        "" if MFU is None else f"{MFU:.1%}", "" if waits is None else f"{waits:.1%}",
    ]  # fmt: skip
    return f"| {' | '.join(cells)} |"


def compared(row: dict) -> str:
    """A line of the table of ratios."""
    interval = "" if row["interval"] is None else " [{:.2f}, {:.2f}]".format(*row["interval"])
    return f"| {row['what']} | {row['model']} | {row['value']:.2f}{interval} | {row['goal']} |"


def missing(found: dict) -> list[tuple[str, str]]:
    """Parts beside the table of updates that were not measured, and why."""
    parts = {"ewc": "EWC", "micro_batches": "Micro-batches", "fisher": "Fisher information"}
    return [(name, why) for key, name in parts.items() if (why := found[key].get("not_measured"))]


def micro_batches(rows: list[dict]) -> list[str]:
    """Seconds of a step and peak memory by micro-batch: a column a size."""
    sizes = list(dict.fromkeys(row["micro_batch"] for row in rows))
    if not rows:
        return []

    def cell(row: dict) -> str:
        peak = row["peak_MiB"]
        memory = peak if isinstance(peak, str) else "" if peak is None else f"{peak / 1024:.1f} GiB"
        seconds = "" if row["seconds"] is None else f"{row['seconds']:.3f} s"
        return ", ".join(filter(None, (seconds, memory)))

    lines = ["", f"| EWC; clips in a micro-batch | {' | '.join(map(str, sizes))} |", "|---|" + "--:|" * len(sizes)]
    for variant in dict.fromkeys(row["variant"] for row in rows):
        cells = [cell(row) for row in rows if row["variant"] == variant]
        lines.append(f"| {variant} | {' | '.join(cells)} |")
    return lines
