"""Targets for CTC: text to ids and back, by characters.

`Characters` and `carryover.text.pieces.Pieces` share one face:

    symbols             list of V str: what each output unit of the head stands for
    blank               int: the id of CTC's blank
    encode(text)        list of int, without blanks; ValueError names what the symbols cannot write
    unknown(text)       set of str: those characters, for whoever refuses a sentence with a reason
    decode(ids)         str, of ids that are collapsed already (`carryover.losses.ctc.collapse`)
    save(folder)        writes what `from_folder(folder)` reads
    labels              list of V str: `symbols` as decoders want them, "" for what is no text

Old rows of a head are found again by their symbol: `Characters.grow` keeps the order, so they keep their index too.
"""

import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import Path

from carryover import files
from carryover.data.source import require_source


class Characters:
    """One symbol a character: 0 is blank (`<pad>`), 1 is `|` for a space, then the alphabet in the order given.

    The same ids and texts as transformers' Wav2Vec2CTCTokenizer (by test), but an unknown character is an error: there
    it becomes <unk>, and the model learns to write <unk>.

    Parameters
    ----------
    alphabet : str
        E.g. "abcdefghijklmnopqrstuvwxyzäöüß'-"; brought to Unicode's composed form, as `carryover.text` writes it.

    Raises
    ------
    ValueError
        For a character that comes twice, for a space, and for `|`, which stands for the space.

    Example
    -------
    >>> characters = Characters("abdemn'ä")
    >>> characters.encode("ma'am nä")
    [6, 2, 8, 2, 6, 1, 7, 9]
    >>> characters.decode([6, 2, 8, 2, 6, 1, 7, 9])
    "ma'am nä"
    """

    _NAMES = ("bos_token", "eos_token", "unk_token")

    def __init__(self, alphabet: str):
        alphabet = unicodedata.normalize("NFC", alphabet)
        if not alphabet:
            raise ValueError("alphabet: empty; give the characters that texts are made of, without space")
        twice = sorted({char for char in alphabet if alphabet.count(char) > 1 and not char.isspace()})
        if twice:
            raise ValueError(f"alphabet: {quoted(twice)} more than once in {alphabet!r}; give each character once")
        reserved = sorted({char for char in alphabet if char.isspace() or char == "|"})
        if reserved:
            raise ValueError(
                f"alphabet: {quoted(reserved)} in {alphabet!r}; the space has its symbol | already: leave it out"
            )
        self._set(["<pad>", "|", *alphabet], pad="<pad>", delimiter="|", names={})

    def _set(self, symbols: list[str], pad: str, delimiter: str, names: dict[str, str], upper: bool = False):
        self.symbols, self.blank = symbols, symbols.index(pad)
        self.delimiter, self.names, self.upper = delimiter, names, upper
        silent = {pad, delimiter, *names.values()}
        self._ids = {symbol: i for i, symbol in enumerate(symbols) if len(symbol) == 1 and symbol not in silent}
        if delimiter in symbols:
            self._ids[" "] = symbols.index(delimiter)

    def __len__(self) -> int:
        return len(self.symbols)

    @property
    def labels(self) -> list[str]:
        """The symbols as text: " " for the delimiter, "" for blank and for symbols that no text encodes to."""
        text = {i: char.lower() if self.upper else char for char, i in self._ids.items()}
        return [text.get(i, "") for i in range(len(self.symbols))]

    def unknown(self, text: str) -> set[str]:
        """The characters of a text that have no symbol."""
        return {char for char in text if not set(self._inside(char)) <= self._ids.keys()}

    def _inside(self, text: str) -> str:
        if not self.upper:
            return text
        # ß in capitals is SS: two units that one character cannot have
        return "".join(char.upper() if len(char.upper()) == 1 else char for char in text)

    def encode(self, text: str) -> list[int]:
        """Text -> ids, one a character.

        Raises
        ------
        ValueError
            Naming the characters that have no symbol.
        """
        unknown = self.unknown(text)
        if unknown:
            hint = (
                "; the vocabulary is in capitals: set do_lower_case to true in its tokenizer_config.json"
                if not self.upper and any(char.upper() in self._ids for char in unknown)
                else ""
            )
            raise ValueError(
                f"text: no symbol for {quoted(unknown)} in {text!r}; add to the alphabet, or leave the sentence out "
                f"when the corpus is prepared. The alphabet is {self._alphabet()!r}{hint}"
            )
        return [self._ids[char] for char in self._inside(text)]

    def decode(self, ids: Sequence[int]) -> str:
        """Collapsed ids -> text, without spaces at its ends; blank and special symbols write nothing."""
        labels = self.labels
        return "".join(labels[i] for i in ids).strip()

    def _alphabet(self) -> str:
        return "".join(char for char in self._ids if char != " ")

    def grow(self, alphabet: str) -> "Characters":
        """The symbols of this one in their old order, and after them those of a new alphabet that are new.

        So a head's old rows keep their index and its new units come last.

        Parameters
        ----------
        alphabet : str
            All the characters that the grown one shall know, old and new.

        Raises
        ------
        ValueError
            For an alphabet that lacks old characters: a vocabulary that shrinks.
        """
        asked = Characters(self._inside(alphabet))._alphabet()
        lacking = [char for char in self._alphabet() if char not in asked]
        if lacking:
            raise ValueError(
                f"alphabet: lacks {quoted(lacking)}, which the model that is carried over can write; a vocabulary "
                f"that shrinks would lose these units: add them (the old alphabet is {self._alphabet()!r})"
            )
        new = [char for char in asked if char not in self._ids]
        taken = [char for char in new if char in self.symbols]
        if taken:
            raise ValueError(f"alphabet: {quoted(taken)} has another meaning in the old vocabulary; leave it out")
        return self._of(self.symbols + new, self.symbols[self.blank], self.delimiter, self.names, self.upper)

    @classmethod
    def _of(cls, *args, **kwargs) -> "Characters":
        made = cls.__new__(cls)
        made._set(*args, **kwargs)
        return made

    def save(self, folder: str | Path) -> None:
        """Write vocab.json and tokenizer_config.json: Wav2Vec2CTCTokenizer reads them, with the same ids.

        The names of <s>, </s> and <unk> are null where these are no symbols: by default transformers would append
        them behind the head's last unit. The model's config needs `pad_token_id` = `blank`.
        """
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        config = {
            "tokenizer_class": "Wav2Vec2CTCTokenizer",
            "pad_token": self.symbols[self.blank],
            **{key: self.names.get(key) for key in self._NAMES},
            "word_delimiter_token": self.delimiter,
            "replace_word_delimiter_char": " ",
            "do_lower_case": self.upper,
            "clean_up_tokenization_spaces": False,  # or "ma 's" would be put together as if it were English
        }
        vocabulary = {symbol: i for i, symbol in enumerate(self.symbols)}
        for name, content in (("vocab.json", vocabulary), ("tokenizer_config.json", config)):
            files.write_json(folder / name, content)

    @classmethod
    def from_folder(cls, source: str | Path, size: int | None = None) -> "Characters":
        """The symbols of a wav2vec2-type checkpoint: `save`'s, or any of the hub's, in the order of their ids.

        Blank is its pad token and may have any id; <s>, </s>, [UNK] and other symbols of several letters are kept as
        units of the head that no text encodes to and that decode to nothing. A missing id gets a symbol of its own.

        Parameters
        ----------
        source : str or Path
            Folder with vocab.json, or hub name. tokenizer_config.json tells pad and delimiter (`<pad>`, `|` without).
        size : int, optional
            Output units of the checkpoint's head. Many checkpoints have units for <s> and </s> behind their
            vocab.json; with `size` these become symbols as well.

        Raises
        ------
        FileNotFoundError
            When `source` holds no vocab.json.
        ValueError
            For a vocabulary without blank, one of several languages with none chosen, and one that has not `size`.
        """
        from transformers import Wav2Vec2CTCTokenizer  # seconds, which reports and corpora need not wait for

        require_source(str(source), "vocab.json")
        try:
            tokenizer = Wav2Vec2CTCTokenizer.from_pretrained(str(source))
        except TypeError as error:  # it takes a vocabulary for an id
            raise ValueError(
                f"{source}/vocab.json: holds vocabularies of several languages, as MMS does, or other things than "
                "ids; choose one with target_lang in its tokenizer_config.json"
            ) from error
        ids = dict(tokenizer.encoder)
        if size is not None:
            ids |= {token: i for token, i in tokenizer.get_vocab().items() if i < size}
            if max(ids.values()) >= size:
                raise ValueError(
                    f"{source}/vocab.json: ids up to {max(ids.values())}, but the head has {size} units; this "
                    "vocabulary belongs to another checkpoint"
                )
        if tokenizer.pad_token not in ids:
            raise ValueError(
                f"{source}/vocab.json: no {tokenizer.pad_token!r}, which is CTC's blank; name it as pad_token in "
                "tokenizer_config.json"
            )
        symbols = {i: symbol for symbol, i in ids.items()}
        return cls._of(
            [symbols.get(i, f"<unused {i}>") for i in range(size or max(symbols) + 1)],
            pad=tokenizer.pad_token,
            delimiter=tokenizer.word_delimiter_token,
            names={key: getattr(tokenizer, key) for key in cls._NAMES if getattr(tokenizer, key) in ids},
            upper=tokenizer.do_lower_case,  # transformers' word for: capitals inside, small letters outside
        )


def quoted(chars: Iterable[str]) -> str:
    return ", ".join(map(repr, sorted(chars)))
