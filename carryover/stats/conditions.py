"""What an interval is taken over and conditional on, in the words that stand beneath every table."""

from collections.abc import Mapping

from carryover.stats import bootstrap
from carryover.stats.jackknife import MIN_SEEDS
from carryover.stats.units import MIN_SPEAKERS

# Below, an interval of a rate over utterances is too short: of 10 it held the truth in 0.87 to 0.91 of simulated
# corpora, of 20 in 0.90 to 0.95, of 50 in 0.92 to 0.96 (benchmarks/interval_coverage.py).
FEW_UTTERANCES = 50
OR = " or "  # between what the intervals of several sets of one name are over


def said(
    over: Mapping[str, str], seeds: Mapping[str, int] | None = None, resamples: int = bootstrap.RESAMPLES
) -> list[str]:
    """Sentences for a caption.

    Parameters
    ----------
    over : dict
        `Units.over` by test set; of several sets of one name all of them, joined by `OR`.
    seeds : dict, optional
        Number of seeds by system; without it all are single trained models.
    resamples : int
        Of the bootstrap.
    """
    seeds, over = seeds or {}, {name: whose for name, whose in over.items() if whose}  # of one utterance there is none
    few = [name for name, n in seeds.items() if n < MIN_SEEDS]
    several = len(few) < len(seeds)
    found = []
    if several:
        found.append(
            "In brackets 95 % intervals of the methods: Student's t over seeds and test set together (jackknife, "
            "Satterthwaite's degrees of freedom); differences are paired, by seed where both have the same seeds."
        )
    else:
        found.append(
            f"In brackets 95 % intervals of these trained models as they are: with fewer than {MIN_SEEDS} seeds each "
            "(--seeds 1,2,3), other seeds are not in them, and no p-value of a method is given."
        )
    if several and few:
        found.append(
            f"{', '.join(few)}: fewer than {MIN_SEEDS} seeds, so these intervals, and those of differences to them, "
            "are of the trained models as they are: other seeds are not in them, and there is no p-value."
        )
    if MIN_SEEDS in seeds.values():
        found.append(f"With {MIN_SEEDS} seeds they held the truth in 0.92 to 0.97 of simulated studies.")
    if over:
        found.append(f"They are taken over {'; '.join(f'{whose} of {name}' for name, whose in over.items())}.")
    every = [(name, whose) for name, several_sets in over.items() for whose in several_sets.split(OR)]
    narrow = [(name, whose) for name, whose in every if not is_over_speakers(whose)]
    if narrow:
        by = f" (a rate by BCa bootstrap, {resamples} resamples; a difference by Student's t on a jackknife)"
        found.append(
            f"† over utterances{by if few or not several else ''}: such an interval says nothing about other speakers; "
            f"it takes {MIN_SPEAKERS} speakers, none with more than half of the words, to speak for others."
        )
    if not several and len(narrow) < len(every):
        found.append("Over speakers: Student's t on a jackknife.")
    short = dict.fromkeys(name for name, whose in narrow if int(whose.split()[0]) < FEW_UTTERANCES)
    if short:
        found.append(
            f"{', '.join(short)}: fewer than {FEW_UTTERANCES} utterances; intervals of such rates held the truth in "
            "0.87 to 0.95 of simulated test sets, not in 0.95."
        )
    return found


def mark(whose: str) -> str:
    """Behind the name of a test set with too few speakers."""
    return "" if not whose or is_over_speakers(whose) else " †"


def is_over_speakers(whose: str) -> bool:
    return "utterance" not in whose
