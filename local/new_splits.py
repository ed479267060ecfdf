"""A corpus without splits of its own, dealt anew: by speaker, with no sentence of one split in another -> utterances.

corpus: !name:local.new_splits.utterances
    corpus: !name:local.table.utterances {only: train}
    valid: 0.05
    test: 0.05
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from carryover.data import splitting
from carryover.data.utterance import Utterance


def utterances(
    data_folder: str | Path,
    language: str,
    splits: Sequence[str],
    *,
    corpus: Callable[..., Iterator[Utterance]],
    of: Sequence[str] = ("train",),
    valid: float = 0.1,
    test: float = 0.1,
    seed: int = 42,
    by_speaker: bool = True,
) -> Iterator[Utterance]:
    """What a corpus lists, with new splits (`carryover.data.splitting.deal`); IDs stay.

    Parameters
    ----------
    data_folder, language
        The corpus's.
    splits : sequence of str
        Of "train", "valid" and "test", those wanted; the deal does not depend on it.
    corpus : callable
        Another reader of local/, with its options.
    of : sequence of str
        Splits of that corpus that are dealt together.
    valid, test : float
        Shares of the utterances.
    seed : int
        Decides which; not the run's seed.
    by_speaker : bool
        False where speakers are not known: sentences alone are dealt.

    Raises
    ------
    ValueError
        As `splitting.deal`, and where an ID stands in two of the corpus's splits.
    """
    listed = list(corpus(data_folder, language, list(of)))
    seen: dict[str, str] = {}
    for u in listed:
        if seen.setdefault(u.ID, u.split) != u.split:
            raise ValueError(f"ID '{u.ID}' stands in {seen[u.ID]} and in {u.split}; splits cannot be dealt together")
    for u in splitting.deal(listed, {"valid": valid, "test": test}, seed, by_speaker):
        if u.split in splits:
            yield u
