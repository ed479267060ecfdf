"""A sample of a corpus, which a seed decides and neither the order of its files nor a generator's version does."""

import hashlib
from collections.abc import Iterable, Mapping

from carryover.data.utterance import SPLITS, Utterance


def draw(utterances: Iterable[Utterance], wanted: Mapping[str, int], seed: int) -> list[Utterance]:
    """A sample of some splits, the others whole, in the order given.

    Of a split come the utterances with the smallest SHA-256 of seed, split and ID. So the sample depends neither on
    the order of the corpus's files nor on any generator's version; a larger one with the same seed holds the smaller
    one, and an utterance that a new release adds changes it by one at most.

    Parameters
    ----------
    utterances : iterable of Utterance
        IDs unique within a split.
    wanted : dict
        Utterances by split; all are taken where there are fewer.
    seed : int
        Another seed is another sample.
    """
    utterances = list(utterances)
    chosen = set()
    for split, n in wanted.items():
        IDs = [u.ID for u in utterances if u.split == split]
        IDs.sort(key=lambda ID: hashlib.sha256(f"{seed}\t{split}\t{ID}".encode()).digest())
        chosen.update((split, ID) for ID in IDs[:n])
    return [u for u in utterances if u.split not in wanted or (u.split, u.ID) in chosen]


def wanted(sample: Mapping[str, int] | int | None, splits: Iterable[str]) -> dict[str, int]:
    """`sample` by split, without the splits that are not being made."""
    found = dict(sample) if isinstance(sample, Mapping) else {} if sample is None else {"train": sample}
    splits = set(splits)
    for split, n in found.items():
        if split not in splits.union(SPLITS):
            raise ValueError(
                f"sample: there is no split '{split}'; expected {', '.join(sorted(splits.union(SPLITS)))}; "
                "a number alone is for train"
            )
        if isinstance(n, bool) or not isinstance(n, int) or n < 1:
            raise ValueError(
                f"sample: {n!r} utterances of split '{split}' cannot be drawn; expected a whole number above 0, e.g. "
                "150000, or leave it out to use all"
            )
    return {split: n for split, n in found.items() if split in splits}
