"""Targets for CTC over words: the glosses of a sign language, one symbol each.

`Glosses` has the face of `Characters` and `Pieces`. A gloss is what an annotation writes between
two spaces (REGEN, loc-NORD, __ON__); it stands as it is, so `target_text` and `normaliser` of a YAML must leave it
whole: carryover.text.Verbatim does, Normaliser would write `loc nord`, two words in small letters.
"""

import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from carryover import files
from carryover.text.characters import quoted

WORD_START = "▁"  # what SpeechBrain's CTCBeamSearcher takes for the space before a word


class Glosses:
    """One symbol a gloss: 0 is blank (`<pad>`), then the glosses in the order given.

    Parameters
    ----------
    glosses : iterable of str
        Those of the training split, e.g. `local.landmarks.glosses(...)`, sorted; brought to Unicode's composed form, as
        `carryover.text` writes it.

    Raises
    ------
    ValueError
        For no gloss at all, one that comes twice, one with a space in it, and one that means something else already
        (`<pad>`, or ▁ at its start).

    Example
    -------
    >>> glosses = Glosses(["NORD", "REGEN", "STARK"])
    >>> glosses.encode("REGEN STARK")
    [2, 3]
    >>> glosses.decode([2, 3])
    'REGEN STARK'
    """

    BLANK = "<pad>"
    FILE = "glosses.txt"

    def __init__(self, glosses: Iterable[str]):
        glosses = [unicodedata.normalize("NFC", gloss) for gloss in glosses]
        if not glosses:
            raise ValueError("glosses: none; give those of the training split")
        if twice := sorted(gloss for gloss, n in Counter(glosses).items() if n > 1):
            raise ValueError(f"glosses: {quoted(twice)} more than once; give each gloss once")
        if broken := [gloss for gloss in glosses if gloss.split() != [gloss]]:
            raise ValueError(
                f"glosses: {quoted(broken)} is empty or holds a space, which separates glosses; take it out"
            )
        if reserved := [gloss for gloss in glosses if gloss == self.BLANK or gloss.startswith(WORD_START)]:
            raise ValueError(
                f"glosses: {quoted(reserved)} has a meaning already ({self.BLANK} is CTC's blank, {WORD_START} a "
                "word's start in beam search); rename it"
            )
        self.symbols, self.blank = [self.BLANK, *glosses], 0
        self._ids = {gloss: i for i, gloss in enumerate(glosses, start=1)}

    def __len__(self) -> int:
        return len(self.symbols)

    @property
    def labels(self) -> list[str]:
        """The symbols as text, with ▁ for the space at a gloss's start; "" for blank."""
        return ["", *(WORD_START + gloss for gloss in self.symbols[1:])]

    def unknown(self, text: str) -> set[str]:
        """The glosses of a text that have no symbol."""
        return set(text.split()) - self._ids.keys()

    def encode(self, text: str) -> list[int]:
        """Text -> ids, one a gloss.

        Raises
        ------
        ValueError
            Naming the glosses that have no symbol.
        """
        if unknown := self.unknown(text):
            known = {symbol.casefold() for symbol in self._ids}
            hint = (
                "; the vocabulary has it in other letters: target_text must keep the case (carryover.text.Verbatim)"
                if any(gloss.casefold() in known for gloss in unknown)
                else ""
            )
            raise ValueError(
                f"text: no symbol for {quoted(unknown)} in {text!r}; the vocabulary has {len(self._ids)} glosses, "
                f"those of its training split: leave the sentence out when the corpus is prepared{hint}"
            )
        return [self._ids[gloss] for gloss in text.split()]

    def decode(self, ids: Sequence[int]) -> str:
        """Collapsed ids -> glosses with single spaces between them; blank writes nothing."""
        return " ".join(self.symbols[i] for i in ids if i != self.blank)

    def save(self, folder: str | Path) -> None:
        """Write glosses.txt: one gloss a line, the first is unit 1 (blank, unit 0, is not listed)."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        files.write(folder / self.FILE, "".join(f"{gloss}\n" for gloss in self.symbols[1:]))

    @classmethod
    def from_folder(cls, source: str | Path) -> "Glosses":
        """The glosses that `save` wrote.

        Raises
        ------
        FileNotFoundError
            When `source` holds no glosses.txt.
        """
        file = Path(source) / cls.FILE
        if not file.is_file():
            raise FileNotFoundError(
                f"glosses: {source} has no {cls.FILE}; expected the model/ folder of a finished run of sign_ctc"
            )
        return cls(file.read_text(encoding="utf-8").splitlines())
