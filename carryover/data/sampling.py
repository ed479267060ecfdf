"""A sample of a corpus, which a seed decides and neither the order of its files nor a generator's version does."""

import hashlib
import re
from collections.abc import Callable, Iterable, Mapping

from carryover.data.utterance import SPLITS, Utterance

HOURS = r"\d+(\.\d+)?h"  # 10h, 0.5h


def draw(
    utterances: Iterable[Utterance],
    wanted: Mapping[str, int | str],
    seed: int,
    seconds: Callable[[Utterance], float] | None = None,
) -> list[Utterance]:
    """A sample of some splits, the others whole, in the order given.

    Of a split come the utterances with the smallest SHA-256 of seed, split and ID. So the sample depends neither on
    the order of the corpus's files nor on any generator's version; a larger one with the same seed holds the smaller
    one, and an utterance that a new release adds changes it by one at most.

    Parameters
    ----------
    utterances : iterable of Utterance
        IDs unique within a split.
    wanted : dict
        Utterances by split, or hours ("10h": as many as make them full); all are taken where there are fewer.
    seed : int
        Another seed is another sample.
    seconds : callable, optional
        Utterance -> length of its recording, asked of those that are taken; needed for hours.
    """
    utterances = list(utterances)
    chosen = set()
    for split, n in wanted.items():
        ordered = [u for u in utterances if u.split == split]
        ordered.sort(key=lambda u: hashlib.sha256(f"{seed}\t{split}\t{u.ID}".encode()).digest())
        taken = ordered[:n] if isinstance(n, int) else _until(ordered, 3600 * float(n.removesuffix("h")), seconds)
        chosen.update((split, u.ID) for u in taken)
    return [u for u in utterances if u.split not in wanted or (u.split, u.ID) in chosen]


def _until(ordered: list[Utterance], full: float, seconds: Callable[[Utterance], float]) -> list[Utterance]:
    taken, total = [], 0.0
    for u in ordered:
        if total >= full:
            break
        taken.append(u)
        total += seconds(u)
    return taken


def wanted(sample: Mapping[str, int | str] | int | str | None, splits: Iterable[str]) -> dict[str, int | str]:
    """`sample` by split, without the splits that are not being made."""
    found = dict(sample) if isinstance(sample, Mapping) else {} if sample is None else {"train": sample}
    splits = set(splits)
    for split, n in found.items():
        if split not in splits.union(SPLITS):
            raise ValueError(
                f"sample: there is no split '{split}'; expected {', '.join(sorted(splits.union(SPLITS)))}; "
                "a number alone is for train"
            )
        hours = isinstance(n, str) and re.fullmatch(HOURS, n) and float(n.removesuffix("h")) > 0
        if not hours and (isinstance(n, bool) or not isinstance(n, int) or n < 1):
            raise ValueError(
                f"sample: {n!r} utterances of split '{split}' cannot be drawn; expected a whole number above 0, e.g. "
                "150000, or hours, e.g. 10h, or leave it out to use all"
            )
    return {split: n for split, n in found.items() if split in splits}
