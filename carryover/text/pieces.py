"""SentencePiece's pieces as CTC's targets; the face is that of `carryover.text.characters`."""

import io
from collections.abc import Iterable, Sequence
from pathlib import Path

import sentencepiece

from carryover import files
from carryover.text.characters import quoted


class Pieces:
    """SentencePiece's pieces as targets: 0 is blank (`<pad>`), i + 1 is the model's piece i.

    Fewer and longer symbols than characters, for languages whose spelling is far from their sound; but a piece that
    is new cannot be added to a trained model, so pre-training and adaptation share one model trained on both texts.
    Wav2Vec2CTCTokenizer cannot read a SentencePiece model: an export decodes with this class.

    Parameters
    ----------
    model_file : str or Path
        A SentencePiece model, of `Pieces.train` or others'.

    Raises
    ------
    FileNotFoundError
        When there is no such file.
    """

    FILE = "pieces.model"

    def __init__(self, model_file: str | Path):
        if not Path(model_file).is_file():
            raise FileNotFoundError(f"pieces: no file {model_file}; make it with Pieces.train(texts, size, file)")
        self.model_file = Path(model_file)
        self._model = sentencepiece.SentencePieceProcessor(model_file=str(model_file))
        self.blank = 0
        self.symbols = ["<pad>", *(self._model.id_to_piece(i) for i in range(len(self._model)))]

    @classmethod
    def train(cls, texts: Iterable[str], size: int, file: str | Path, model_type: str = "unigram") -> "Pieces":
        """Train a model on texts, as they are: no normalisation, every character covered.

        The same texts give the same file: one thread, the random generator seeded.

        Parameters
        ----------
        texts : iterable of str
            Training texts only, or the test set leaks into the pieces.
        size : int
            SentencePiece's vocabulary size, <unk> included; the head has one unit more.
        file : str or Path
            Where the model goes.
        model_type : str
            "unigram", "bpe" or "char".

        Raises
        ------
        ValueError
            When SentencePiece cannot make `size` pieces of these texts.
        """
        model = io.BytesIO()
        sentencepiece.set_random_generator_seed(1234)
        try:
            sentencepiece.SentencePieceTrainer.train(
                sentence_iterator=iter(texts),
                model_writer=model,
                vocab_size=size,
                model_type=model_type,
                character_coverage=1.0,
                normalization_rule_name="identity",  # the text is normalised already, for scoring and training alike
                bos_id=-1,
                eos_id=-1,
                num_threads=1,
                minloglevel=2,
            )
        except RuntimeError as error:
            raise ValueError(f"pieces: size {size} with these texts: {error}") from error
        files.write(file, model.getvalue())
        return cls(file)

    def __len__(self) -> int:
        return len(self.symbols)

    @property
    def labels(self) -> list[str]:
        """The symbols as text, with ▁ for the space at a word's start; "" for blank, <unk> and control pieces."""
        silent = [self._model.is_unknown(i) or self._model.is_control(i) for i in range(len(self._model))]
        return ["", *("" if none else piece for piece, none in zip(self.symbols[1:], silent, strict=True))]

    def unknown(self, text: str) -> set[str]:
        """The characters of a text that no piece has."""
        return {char for char in text if self._model.unk_id() in self._model.encode(char)}

    def encode(self, text: str) -> list[int]:
        """Text -> ids of its most probable segmentation.

        Raises
        ------
        ValueError
            Naming the characters that no piece has.
        """
        ids = self._model.encode(text)
        if self._model.unk_id() in ids:
            raise ValueError(
                f"text: no piece for {quoted(self.unknown(text))} in {text!r}; train the pieces on texts that have "
                "it, or leave the sentence out when the corpus is prepared"
            )
        return [i + 1 for i in ids]

    def decode(self, ids: Sequence[int]) -> str:
        """Collapsed ids -> text; blank, <unk> and control pieces write nothing."""
        silent = (i < 0 or self._model.is_unknown(i) or self._model.is_control(i) for i in (i - 1 for i in ids))
        return self._model.decode([i - 1 for i, none in zip(ids, silent, strict=True) if not none]).strip()

    def save(self, folder: str | Path) -> None:
        """Copy the model into a folder."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        if self.model_file.resolve() != (folder / self.FILE).resolve():
            files.copy(self.model_file, folder / self.FILE)

    @classmethod
    def from_folder(cls, source: str | Path) -> "Pieces":
        """The pieces that `save` wrote."""
        return cls(Path(source) / cls.FILE)
