"""The overfit gate: what cannot learn a handful of utterances by heart has a fault, and this finds it in minutes.

`--overfit N` trains, validates and tests on the same first N utterances of the training split, and fails unless the
WER reaches 0 within the budget (`max_updates`). A YAML whose own `overfit` is a number is made for it, and its values
stand; elsewhere everything that keeps a model from learning by heart is switched off.
"""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

from carryover import files

# What keeps a model from learning by heart, and what a handful of utterances has no use for; an explicit --key wins.
OFF = {
    "dropout": "0.0", "attention_dropout": "0.0", "activation_dropout": "0.0", "layerdrop": "0.0",
    "encoder_layerdrop": "0.0", "decoder_layerdrop": "0.0", "mask_time_prob": "0.0", "mask_feature_prob": "0.0",
    "augment_prob": "0.0", "weight_decay": "0.0", "label_smoothing": "0.0", "early_stopping_patience": "0",
    "old_language": "null", "old_splits": "[]", "test_before": "False", "teacher": "null",
    "batch_seconds": "null", "forgetting": "[]", "lambda": "0", "distillation": "!new:carryover.losses.NoDistillation",
}  # fmt: skip
BUDGET = 1000  # updates where the YAML counts in epochs, which are one update long here
VALID_EVERY = 25  # updates; the run ends at the first validation without an error


def overrides(n: str | None, written: Mapping, resolved: Mapping) -> dict[str, str]:
    """Overrides that `--overfit N` brings along, {key: YAML text}; an explicit --key wins over them.

    Parameters
    ----------
    n : str or None
        What the command line says of `overfit`.
    written : dict
        The YAML's plain values (`presets.scalars`).
    resolved : dict
        The same under a preset's and the command line's overrides, references resolved.

    Raises
    ------
    ValueError
        For an N that is no whole number above 0.
    """
    if n is None or n in ("null", "None"):
        return {}
    if not n.isdecimal() or int(n) < 1:
        raise ValueError(f"--overfit {n}: expected the number of utterances to learn by heart, e.g. 5")
    folder = Path(resolved["output_folder"])
    if written["overfit"] is not None:
        return {}
    found = {key: value for key, value in OFF.items() if key in written}
    found |= {"valid_every": str(VALID_EVERY), "log_every": str(VALID_EVERY)}
    found |= {"save_every": str(resolved["max_updates"] or BUDGET)}
    if resolved["max_updates"] is None:
        found["max_updates"] = str(BUDGET)
    # a folder of its own: the run that the YAML means may be there already
    return found | {"output_folder": str(folder.parent.with_name(f"{folder.parent.name}_overfit{n}") / folder.name)}


def subset(train: Path, n: int) -> dict[str, Path]:
    """Write the first `n` utterances of a training manifest beside it; {split: that file} for all three splits.

    Raises
    ------
    ValueError
        When the manifest has fewer.
    """
    with open(train, newline="", encoding="utf-8") as file:
        header, *rows = csv.reader(file)
    if len(rows) < n:
        raise ValueError(f"overfit: {n} utterances asked for, but {train} has {len(rows)}")
    path = train.with_name(f"overfit{n}.csv")
    files.write_csv(path, header, rows[:n])
    return dict.fromkeys(("train", "valid", "test"), path)


def require_written(cut: Sequence[int]) -> None:
    """Raise ValueError where texts are longer than the longest hypothesis, so that WER 0 cannot be reached.

    Parameters
    ----------
    cut : sequence of int
        Tokens of each, of `Recipe.cut_off`.
    """
    if cut:
        raise ValueError(
            f"--overfit: {len(cut)} of its utterances have up to {max(cut)} tokens, and a hypothesis ends after "
            f"generation_length; give --generation_length {max(cut)}"
        )


def verdict(found: Mapping[str, float], events: Sequence[Mapping]) -> str:
    """What the gate says: passed, or what to suspect, from the run's train events.

    Parameters
    ----------
    found : dict
        WER (percent) and loss of the test on the training utterances.
    events : sequence of dict
        Events of metrics.jsonl.
    """
    trained = [event for event in events if event["event"] == "train"]
    updates = trained[-1]["update"] if trained else 0
    if found["WER"] == 0:
        return f"Overfit gate passed: WER 0 and loss {found['loss']:.4g} after {updates} updates"
    said = f"Overfit gate FAILED: WER {found['WER']:.2f} after {updates} updates. "
    if not trained:
        return said + "No update was made: see `skipped` and the messages above"
    first, last = float(trained[0]["loss"]), float(trained[-1]["loss"])
    if all(event["lr"] == 0 for event in trained):
        return said + "The rate was 0 in every update: see lr, lr_schedule and warmup"
    if all(float(event["grad_norm"]) == 0 for event in trained):
        return said + "No gradient reached the trained parameters: see what is frozen, and .detach() on the way"
    if not last < 0.5 * first:
        return said + (
            f"The loss hardly fell ({first:.4g} -> {last:.4g}): suspect lr (try 3 x and a third), targets that "
            "belong to other inputs, inputs that are all alike, or a frozen part that would have to learn"
        )
    if float(trained[-1].get("blank_ratio", 0)) > 0.98:
        return said + "It writes blanks alone: CTC needs more updates or a higher lr before it begins to write"
    if last < 0.05:
        return said + (
            f"The loss is low ({last:.4g}), so the text is lost on its way out: suspect the decoder, its length limit, "
            "the tokenizer's round trip, or a normaliser that differs between targets and scoring"
        )
    return said + f"The loss is still falling ({first:.4g} -> {last:.4g}): raise max_updates, then lr"


def gate(run_log, results: Sequence[Mapping], language: str) -> int:
    """Say on the screen and in a run's log whether the gate was passed; -> the exit status.

    Parameters
    ----------
    run_log : carryover.training.run_log.RunLog
    results : sequence of mapping
        What was found in each test.
    language : str
        The one that was learned.
    """
    by_heart = next(r for r in results if r["weights"] == "best" and r["language"] == language)
    said = verdict(by_heart, run_log.metrics.events())
    run_log.text.log_stats(run_log.progress.now() | {"overfit": said})
    print(said)
    return int(by_heart["WER"] > 0)
