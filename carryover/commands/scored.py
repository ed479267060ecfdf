"""What `carryover evaluate` prints, and the normalisers that it can score by."""

from collections.abc import Callable, Mapping
from pathlib import Path

NORMALISERS = ("run", "ours", "whisper", "raw")


def require_normaliser(name: str) -> None:
    """Raise ValueError for a normaliser that there is not."""
    if name not in NORMALISERS:
        raise ValueError(f"--normaliser {name}: expected one of {', '.join(NORMALISERS)}")


def normaliser(name: str, own: Callable, folder: Path) -> Callable:
    """The normaliser of a name.

    Parameters
    ----------
    name : str
        Of `NORMALISERS`.
    own : callable
        The run's.
    folder : Path
        Of the run or the model: a Whisper's spelling table is taken from it where it has one.
    """
    from carryover.text.normaliser import Normaliser, Verbatim
    from carryover.text.whisper_normaliser import WhisperNormaliser

    if name == "whisper":
        tables = [path for path in (folder / "normalizer.json", folder / "model" / "normalizer.json") if path.is_file()]
        return WhisperNormaliser(str(tables[0]) if tables else None)
    return {"run": own, "ours": Normaliser(), "raw": Verbatim()}[name]


def table(results: list[dict], normaliser: str, left_out: Mapping[str, str]) -> str:
    """Markdown: one row a set, and the mean over sets below where there are several.

    Parameters
    ----------
    results : list of dict
        Of `Evaluation.test`, with set (its name) and real_time_factor (seconds of work for one of audio).
    normaliser : str
        Its name and version.
    left_out : mapping
        What of a set was refused when it was prepared, in words.
    """
    from carryover.stats import conditions, error_rates

    lines = [
        "| test set | words | WER [95 %] | CER [95 %] | substitutions | deletions | insertions | real-time factor |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for r in results:
        rates = " | ".join(
            error_rates.with_interval(r[rate], r[key]) for rate, key in (("WER", "interval"), ("CER", "interval_CER"))
        )
        edits = " | ".join(str(r[key]) for key in ("substitutions", "deletions", "insertions"))
        lines.append(f"| {r['set']} | {r['words']} | {rates} | {edits} | {r['real_time_factor']:.3f} |")
    if len(results) > 1:
        wer, cer = (sum(r[rate] for r in results) / len(results) for rate in ("WER", "CER"))
        lines.append(f"| mean of {len(results)} sets | | {wer:.2f} | {cer:.2f} | | | | |")
    over = {r["set"]: r["interval_over"] for r in results if r["interval_over"]}
    note = (
        f"WER and CER in percent, normalised by {normaliser}; errors in words. Real-time factor: seconds of reading, "
        f"loss, decoding and scoring for one second of audio. {' '.join(conditions.said(over))}"
    )
    out = "".join(f"\n\nNot the whole test set of {name}: {what}." for name, what in left_out.items())
    return "\n".join(lines) + f"\n\n{note}{out}"
