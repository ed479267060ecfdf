"""The embedded corpus of signing: invented signs, as landmarks of hands and arms, in sentences about the weather.

It lets the sign recipe run offline from a fresh clone. A sign is a hand shape, a place, a movement and an orientation
(the parameters of sign phonology, Stokoe 1960), for one hand or both; glosses are German words, but nobody signs like
this. A sentence's signs follow each other with interpolated ways between them, in `Layout.hands_and_arms()`: 48 points
x 3, 25 frames a second, hands that the detector lost as zeros. Signers differ in build, place before the camera, tempo,
extent, hand shapes and habits; those of validation and test are not in training, and neither are their sentences.
"""

import hashlib
import random
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from carryover import files
from carryover.data.landmarks import Layout
from carryover.data.utterance import Utterance
from local.landmarks import vocabulary
from local.made_once import make_once
from local.synthetic_signer import FPS, SIGN_OF, SIGNS, Signer, sign

VERSION = 2  # of the movement: raise it when the same plan would be signed differently
LAYOUT = Layout.hands_and_arms()
SIGNERS = {"train": 12, "valid": 4, "test": 8}

TEMPLATES = [
    template.split()
    for template in (
        "time weather",
        "place weather",
        "weather verb",
        "time place weather",
        "time weather degree",
        "place weather verb",
        "time place weather degree",
        "place weather degree verb",
        "time place weather verb",
        "time weather degree place verb",
        "time place weather degree verb",
        "time place weather degree weather",
        "time place weather place weather degree",
        "time place weather degree weather verb",
    )
]


@dataclass(frozen=True)
class Sentence:
    """One sentence to be signed."""

    ID: str
    text: str
    signer: str


def sentences(n: int, rng: random.Random, taken: Collection[str] = ()) -> list[str]:
    """Distinct sentences of 2 to 6 glosses that are not in `taken`.

    Templates and glosses are dealt like cards, reshuffled when all have been used, so that each is about as frequent
    as its list is short.

    Raises
    ------
    ValueError
        When the grammar has no new sentence left in 1 000 tries.
    """
    decks = {"": [], **{kind: [] for kind in SIGNS}}

    def deal(kind: str, cards: list) -> object:
        if not decks[kind]:
            decks[kind] = rng.sample(cards, len(cards))
        return decks[kind].pop()

    made, seen, tries = [], set(taken), 0
    while len(made) < n:
        glosses = [deal(kind, list(SIGNS[kind])) for kind in deal("", TEMPLATES)]
        text = " ".join(glosses)
        tries += 1
        if text not in seen and len(set(glosses)) == len(glosses):
            made.append(text)
            seen.add(text)
            tries = 0
        if tries > 1000:
            raise ValueError(f"the grammar yields no new sentence after {len(made)} of {n}; ask for fewer")
    return made


def plan(split: str, sizes: dict[str, int], seed: int) -> list[Sentence]:
    """Every utterance of a split, fixed by its arguments; nothing is signed.

    Test and validation do not depend on the size of training: their sentences are drawn first.
    """
    texts, taken = [], set()
    for name in ("test", "valid", "train"):
        texts = sentences(sizes[name], random.Random(f"{seed} {name} sentences"), taken)
        if name == split:
            break
        taken.update(texts)
    return [Sentence(f"{split}_{i:05d}", text, f"{split}{i % SIGNERS[split]:02d}") for i, text in enumerate(texts)]


def utterances(
    data_folder: str | Path,
    language: str,
    splits: Sequence[str],
    *,
    seed: int = 1234,
    train: int = 800,
    valid: int = 100,
    test: int = 200,
) -> Iterator[Utterance]:
    """The sentences, of which what is missing is signed first. `audio` is the landmark file's path.

    Landmarks go to `data_folder/<split>/<ID>.npy` (float16, (F, 144)) with a listing `list.tsv`. A folder gets its name
    and its `.done` only when complete, and is kept until seed, size or the generator change. The same arguments give
    the same bytes with the same NumPy on the same processor.

    Parameters
    ----------
    data_folder : path
        Where landmarks are kept, for all runs.
    language : str
        What the manifests call it; the signs are invented.
    splits : sequence of str
        Any of "train", "valid", "test"; only these are made.
    seed : int
        Decides sentences, signers and every movement.
    train, valid, test : int
        Sentences of each split.

    Raises
    ------
    ValueError
        For a split that does not exist, a size below 1, or more sentences than the grammar has.
    """
    sizes = {"train": train, "valid": valid, "test": test}
    if unknown := set(splits) - set(sizes):
        raise ValueError(f"splits: found '{min(unknown)}'; local.synthetic_sign has {', '.join(sizes)}")
    for split, n in sizes.items():
        if n < 1:
            raise ValueError(f"{split}: found {n}; expected a number of sentences above 0, e.g. 200")
    for split in splits:
        planned, home = plan(split, sizes, seed), Path(data_folder) / split
        digest = hashlib.sha256(repr((SIGN_OF, planned)).encode()).hexdigest()
        make_once(home, {"version": VERSION, "seed": seed, "plan": digest}, partial(_write, planned, seed))
        for u in planned:
            yield Utterance(u.ID, (home / f"{u.ID}.npy").as_posix(), language, u.signer, u.text, split, fps=FPS)


def glosses(data_folder: str | Path, language: str, *, target_text: Callable[[str], str] = str) -> list[str]:
    """All glosses of the grammar, sorted; arguments as `local.landmarks.glosses`, the folder is not read."""
    return vocabulary(map(target_text, SIGN_OF))


def _write(planned: list[Sentence], seed: int, folder: Path) -> None:
    signers, rows = {}, [("ID", "signer", "frames", "glosses")]
    for u in planned:
        if u.signer not in signers:
            signers[u.signer] = Signer.drawn(_rng(f"{seed} signer {u.signer}"))
        array = sign(u.text, signers[u.signer], _rng(f"{seed} utterance {u.ID}"))
        np.save(folder / f"{u.ID}.npy", array.reshape(len(array), -1))
        rows.append((u.ID, u.signer, str(len(array)), u.text))
    files.write(folder / "list.tsv", "".join("\t".join(row) + "\n" for row in rows))


def _rng(name: str) -> np.random.Generator:
    return np.random.default_rng(int.from_bytes(hashlib.sha256(name.encode()).digest()[:16], "big"))
