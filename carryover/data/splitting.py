"""Splits of a corpus that has none: by speaker, with no sentence of one split in another."""

import hashlib
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

from carryover.data.utterance import SPLITS, Utterance

SAME = "sentence stands in split"


def deal(
    utterances: Sequence[Utterance], shares: Mapping[str, float], seed: int, by_speaker: bool = True
) -> list[Utterance]:
    """The utterances in their order, each with its split; a sentence of a later split is refused in an earlier one.

    Speakers (or sentences) are taken in the order of the SHA-256 of seed and name. The test set takes each that still
    fits into its share of the utterances, then validation, and the rest is for training; so a speaker of half the
    corpus never makes a test set. What two splits share then is kept in test before valid before train.

    Parameters
    ----------
    utterances : sequence of Utterance
        Their splits are not looked at.
    shares : dict
        Of "valid" and "test", each above 0, below 1 in sum.
    seed : int
        Another seed is another deal.
    by_speaker : bool
        False where speakers are not known: sentences alone are dealt.

    Returns
    -------
    dealt : list of Utterance
        As many as were given; `refused` says which sentence stands elsewhere.

    Raises
    ------
    ValueError
        For shares that cannot be meant, unknown speakers, and where a split gets nothing.
    """
    if (
        set(shares) != {"valid", "test"}
        or not all(0 < share < 1 for share in shares.values())
        or sum(shares.values()) >= 1
    ):
        raise ValueError(f"shares: found {dict(shares)}; expected valid and test, each above 0, below 1 in sum")
    unknown = sum(not u.speaker for u in utterances) if by_speaker else 0
    if unknown:
        raise ValueError(
            f"splits by speaker: {unknown} of {len(utterances)} utterances have no speaker; name the column, or set "
            "by_speaker: False to deal sentences alone"
        )
    group = [u.speaker if by_speaker else sentence(u.text) for u in utterances]
    sizes = Counter(group)
    split_of, left = {}, {split: round(shares[split] * len(utterances)) for split in ("test", "valid")}
    for name in sorted(sizes, key=lambda name: hashlib.sha256(f"{seed}\t{name}".encode()).digest()):
        fits = next((split for split, room in left.items() if sizes[name] <= room), "train")
        split_of[name] = fits
        if fits != "train":
            left[fits] -= sizes[name]
    dealt = [replace(u, split=split_of[name]) for u, name in zip(utterances, group, strict=True)]
    kept = _disjoint(dealt)
    what = "speakers" if by_speaker else "sentences"
    for split in SPLITS:
        if not any(u.split == split and not u.refused for u in kept):
            raise ValueError(
                f"splits: {len(utterances)} utterances of {len(sizes)} {what} leave nothing for '{split}' with shares "
                f"{dict(shares)}; give larger shares, or more {what}"
            )
    require_apart(kept, by_speaker)
    return kept


def _disjoint(dealt: list[Utterance]) -> list[Utterance]:
    of = {"test": set(), "valid": set(), "train": set()}
    for u in dealt:
        of[u.split].add(sentence(u.text))
    before = {"test": (), "valid": ("test",), "train": ("test", "valid")}
    kept = []
    for u in dealt:
        other = next((split for split in before[u.split] if sentence(u.text) in of[split]), None)
        kept.append(replace(u, refused=f"{SAME} {other}, too: {u.text[:60]}") if other and not u.refused else u)
    return kept


def require_apart(utterances: Sequence[Utterance], by_speaker: bool = True) -> None:
    """Raise ValueError where two splits share a sentence or, where asked, a speaker; what is refused does not count."""
    kinds = [("sentence", lambda u: sentence(u.text))] + [("speaker", lambda u: u.speaker)] * by_speaker
    for what, of in kinds:
        seen: dict[str, str] = {}
        for u in utterances:
            if not u.refused and seen.setdefault(of(u), u.split) != u.split:
                raise ValueError(f"splits: {what} '{of(u)}' stands in {seen[of(u)]} and in {u.split}")


def sentence(text: str) -> str:
    """A text by its letters and digits alone, in small letters: what counts as the same sentence."""
    text = unicodedata.normalize("NFKC", text).casefold()
    return " ".join("".join(c if c.isalnum() or unicodedata.combining(c) else " " for c in text).split())
