"""Several corpora of one language as one, each with a weight -> utterances.

corpus: !name:local.mixed.utterances
    corpora:
        - {name: cv, corpus: !name:local.common_voice.utterances , data_folder: /data/cv/nl}
        - {name: mls, corpus: !name:local.mls.utterances , data_folder: /data/mls_dutch, weight: 0.25}
        - {name: ours, corpus: !name:local.table.utterances , data_folder: /data/ours, weight: 4}
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from carryover.data.utterance import Utterance

KEYS = ("name", "corpus", "data_folder", "language", "weight", "splits")


def utterances(
    data_folder: str | Path, language: str, splits: Sequence[str], *, corpora: Sequence[Mapping], seed: int = 42
) -> Iterator[Utterance]:
    """All corpora one after the other; IDs begin with the corpus's name.

    A weight counts for training alone. 0.25 takes a quarter of the training utterances (by the SHA-256 of seed and ID,
    so that a larger weight holds the smaller one's), and the others are refused with that reason; 4 lists each four
    times; 2.5 twice, and half of them a third time.

    Parameters
    ----------
    data_folder : path
        Of a corpus that names none.
    language : str
        Of all of them, as the manifests call it; a corpus whose own code differs has the key `language`.
    splits : sequence of str
        Of "train", "valid" and "test".
    corpora : sequence of dict
        name, corpus (a reader of local/), and optionally data_folder, language, weight (1) and splits (all).
    seed : int
        Decides which are taken; not the run's seed.

    Raises
    ------
    ValueError
        For a key, name or weight that cannot be meant, and what the corpora raise.
    """
    names = [str(one.get("name", "")) for one in corpora]
    if not all(names) or len(set(names)) < len(names):
        raise ValueError(f"corpora: names {names}; expected a name for each, none twice")
    for one in corpora:
        if (strange := sorted(set(one) - set(KEYS))) or "corpus" not in one:
            found = f"key '{strange[0]}'" if strange else "no corpus"
            raise ValueError(f"corpora: {one['name']}: {found}; expected {', '.join(KEYS)}")
        weight = one.get("weight", 1)
        if isinstance(weight, bool) or not isinstance(weight, (int, float)) or not 0 < weight <= 1000:
            raise ValueError(f"corpora: {one['name']}: weight {weight!r}; expected a number above 0, e.g. 0.25 or 4")
        mine = [split for split in splits if split in one.get("splits", splits)]
        if mine:
            listed = one["corpus"](one.get("data_folder", data_folder), one.get("language", language), mine)
            for u in listed:
                yield from _weighed(replace(u, ID=f"{one['name']}-{u.ID}", language=language), weight, seed)


def _weighed(u: Utterance, weight: float, seed: int) -> Iterator[Utterance]:
    if u.split != "train" or weight == 1:
        yield u
        return
    place = int.from_bytes(hashlib.sha256(f"{seed}\t{u.ID}".encode()).digest()[:8], "big") / 2**64
    times = int(weight) + (place < weight - int(weight))
    if times == 0:
        yield replace(u, refused=u.refused or f"left out by its corpus's weight: {weight:g}")
    for n in range(times):
        yield u if n == 0 else replace(u, ID=f"{u.ID}-x{n + 1}")
