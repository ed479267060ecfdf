"""Whisper's tokenizer as transformers has it, with the prompt pinned, and what it writes of long recordings."""

import re
from pathlib import Path

import torch
from transformers import WhisperTokenizer as _WhisperTokenizer

from carryover.data.source import loading, require_source
from carryover.models.kinds import require_whisper
from carryover.models.languages import language_of_model


class Tokenizer:
    """Whisper's tokenizer with the prompt pinned: <|startoftranscript|><|LANGUAGE|><|TASK|><|notimestamps|>.

    Ids are taken by token name, because they differ between versions (transcribe is 50359 up to large-v2 and 50360 in
    large-v3). The same prompt is used in training, validation, test and transcription: a prompt that differs costs far
    more than any hyperparameter (public reports: 20 % WER in a trainer and 2.5 % in a pipeline on the same data).

    Parameters
    ----------
    source : str
        Hub name or folder.
    task : str
        "transcribe" or "translate".
    """

    def __init__(self, source: str, task: str = "transcribe"):
        alone = Path(source).is_dir() and (Path(source) / "tokenizer_config.json").exists()
        if not alone or (Path(source) / "config.json").exists():
            require_whisper(source)
        require_source(source, "tokenizer_config.json")
        with loading(source):
            self.hf = _WhisperTokenizer.from_pretrained(source)
        self.source, self.task = source, task
        self.vocabulary = self.hf.get_vocab()
        self.eot = self._id("<|endoftext|>")
        self.languages = sorted(
            token[2:-2] for token in self.vocabulary if re.fullmatch(r"<\|[a-z]{2,3}\|>", token)
        )  # <|yue|> and <|haw|> have three letters
        self._prompts = {}

    def _id(self, token: str) -> int:
        if token not in self.vocabulary:
            raise ValueError(f"tokenizer: no token {token}; is this a multilingual Whisper tokenizer?")
        return self.vocabulary[token]

    def prompt(self, language: str) -> list[int]:
        """The four prompt ids of a language.

        Raises
        ------
        ValueError
            Naming the key `language` and the languages that the tokenizer has.
        """
        if language not in self._prompts:
            names = ("<|startoftranscript|>", f"<|{self.code(language)}|>", f"<|{self.task}|>", "<|notimestamps|>")
            self._prompts[language] = [self._id(name) for name in names]
        return self._prompts[language]

    def code(self, language: str) -> str:
        """The model's code of a corpus's language: "sv" for sv-SE; ValueError as `prompt`."""
        if (code := language_of_model(language, self.languages)) is None:
            raise ValueError(
                f"language: '{language}' is unknown to this model; it knows: {', '.join(self.languages)}; for another "
                "language give the code of a related one, under which it is then learned"
            )
        return code

    @property
    def prompt_length(self) -> int:
        """Tokens of a prompt, the same for every language, where neither times nor earlier text are asked for."""
        return len(self.prompt(self.languages[0]))

    def encode(self, text: str, language: str) -> list[int]:
        """Prompt, text, end: the ids that the decoder sees and must write."""
        return self.prompt(language) + self.ids(text) + [self.eot]

    def ids(self, text: str) -> list[int]:
        """Ids of a text alone."""
        return self.hf(text, add_special_tokens=False).input_ids

    def encode_segments(
        self, segments: list[tuple[float, float, str]], language: str, timestamps: bool, previous: str, most: int
    ) -> list[int]:
        """Ids of a window with several segments, as Whisper's long-form decoding reads and writes them.

        Parameters
        ----------
        segments : list of (start, end, text)
            Seconds within the window.
        timestamps : bool
            Each text stands between its times, such as <|0.00|> text<|2.20|>, and the prompt ends before
            <|notimestamps|>; else the texts are joined by spaces.
        previous : str
            What was said before, after <|startofprev|>; "" for nothing. Of a long one the last part.
        most : int
            Ids in all; `previous` takes what is left, and half the decoder less one at most.
        """
        prompt = self.prompt(language)
        if timestamps:
            inner = [
                id for start, end, text in segments for id in (self.time(start), *self.ids(f" {text}"), self.time(end))
            ]
            ids = prompt[:-1] + inner + [self.eot]
        else:
            ids = prompt + self.ids(" ".join(text for *_, text in segments)) + [self.eot]
        room = min(most - len(ids), self.positions_before(most)) - 1
        return [*self.before(previous, room), *ids] if previous and room > 0 else ids

    def before(self, text: str, most: int | None = None) -> list[int]:
        """<|startofprev|> and the ids of what was said before, the last `most` of them."""
        ids = self.ids(f" {text}")
        return [self._id("<|startofprev|>"), *(ids if most is None else ids[-most:])]

    @staticmethod
    def positions_before(most: int) -> int:
        """Decoder positions that earlier text may take, as in OpenAI's decoding: half of them less one."""
        return most // 2 - 1

    def time(self, seconds: float) -> int:
        """The id of a time, to 0.02 s."""
        return self._id(f"<|{round(seconds / 0.02) * 0.02:.2f}|>")

    def require_times(self) -> None:
        """ValueError where the vocabulary has no times."""
        if "<|0.00|>" not in self.vocabulary:
            raise ValueError(
                f"timestamps: the tokenizer of {self.source} has no tokens for times, such as <|0.00|>; set it to 0, "
                "or start from a model that has them, e.g. openai/whisper-small"
            )

    @property
    def first_time(self) -> int:
        """The id of <|0.00|>: it and all above are times. Without times: the size of the vocabulary."""
        return self.vocabulary.get("<|0.00|>", len(self.vocabulary))

    def prompt_lengths(self, tokens: torch.Tensor) -> torch.Tensor:
        """(B, T) ids with prompts -> (B,) how many come before what the model must write: with earlier text more, with
        times one less.
        """
        start = (tokens == self.vocabulary["<|startoftranscript|>"]).int().argmax(dim=1)
        last = start + self.prompt_length - 1
        is_last = tokens.gather(1, last[:, None]).squeeze(1) == self.vocabulary["<|notimestamps|>"]
        return last + is_last.int()

    def answer(self, ids: list[int]) -> list[int]:
        """Ids up to the first end token, without what was said before."""
        start = self.vocabulary["<|startoftranscript|>"]
        ids = ids[ids.index(start) :] if start in ids else ids
        return ids[: ids.index(self.eot)] if self.eot in ids else ids

    def text_ids(self, ids: list[int]) -> list[int]:
        """Ids between the prompt, where there is one, and the first end token, where there is one."""
        ids = self.answer(ids)
        prompted = set(self.prompt(self.languages[0])) | {self.vocabulary[f"<|{code}|>"] for code in self.languages}
        return ids[next((i for i, token in enumerate(ids) if token not in prompted), len(ids)) :]

    def decode(self, ids: list[int]) -> str:
        """Text up to the first end token, without prompt and special tokens."""
        return self.hf.decode(self.answer(ids), skip_special_tokens=True).strip()
