"""What a speech LLM is asked: to transcribe, and questions whose answers follow from the manifest."""

import hashlib
import json
from dataclasses import dataclass

import torch
from speechbrain.dataio.batch import PaddedBatch

from carryover.data.utterance import COLUMNS
from carryover.models.chat import Chat


@dataclass
class Answers:
    """A second task: a question whose answer follows from a column of the manifest.

    Attributes
    ----------
    name : str
        Its accuracy is logged as <name>_accuracy.
    prompt : str
        With `{audio}`.
    share : float
        Of the training clips that are asked this, drawn anew in each epoch.
    column : str
        E.g. "language".
    answers : dict
        Answer by the column's value, e.g. {nl: Dutch, de: German}.
    """

    name: str
    prompt: str
    share: float
    column: str
    answers: dict[str, str]

    def __post_init__(self):
        if self.column not in COLUMNS:
            raise ValueError(
                f"tasks: '{self.name}' asks for the column '{self.column}', but a manifest has {', '.join(COLUMNS)}"
            )

    def target(self, row: dict) -> str:
        """The right answer about a row of a manifest.

        Raises
        ------
        ValueError
            For a value that has no answer; `SpeechLLMLimits` refuses such clips at preparation.
        """
        value = row[self.column]
        if value not in self.answers:
            raise ValueError(
                f"tasks: '{self.name}' has no answer for {self.column} '{value}' of {row['id']}; it has answers for "
                f"{', '.join(self.answers)}"
            )
        return self.answers[value]

    def is_right(self, said: str, row: dict) -> bool:
        """Whether an answer is the right one, but for case and a full stop."""
        return said.strip(" .").lower() == self.target(row).lower()


class Tasks:
    """Transcription (task 0) and what else the language model is asked; also what makes batches for training.

    Parameters
    ----------
    chat : carryover.models.chat.Chat
    transcription : str
        Prompt with `{audio}`.
    others : sequence of Answers
        Their shares leave something for transcription.

    Raises
    ------
    ValueError
        For shares that are not above 0, or 1 and more together; for a prompt without `{audio}`.

    Attributes
    ----------
    digest : str
        Of what decides how long prompts and answers are, in tokens: vocabulary, prompts, answers.
    """

    def __init__(self, chat: Chat, transcription: str, others: tuple[Answers, ...] = ()):
        self.chat, self.others = chat, tuple(others)
        shares = [task.share for task in self.others]
        if any(not 0 < share < 1 for share in shares) or sum(shares) >= 1:
            raise ValueError(f"tasks: shares {shares}; each above 0, and below 1 together: the rest is transcription")
        self.asked = [transcription, *(task.prompt for task in self.others)]
        self.shares = torch.tensor([1 - sum(shares), *shares])
        self._prompts = [chat.prompt(prompt) for prompt in self.asked]
        read = [self.text(at) for at in range(len(self))], [(task.column, task.answers) for task in self.others]
        decides = json.dumps([sorted(chat.hf.get_vocab().items()), *read])
        self.digest = hashlib.sha256(decides.encode()).hexdigest()[:12]

    def __len__(self) -> int:
        return len(self.asked)

    def of(self, tasks) -> list[tuple[list[int], list[int]]]:
        """Prompts (before, after) of the clips of a batch, by their tasks."""
        return [self._prompts[int(task)] for task in tasks]

    def prompt_length(self, task: int) -> int:
        """Tokens of a prompt without its audio."""
        return sum(map(len, self._prompts[task]))

    def text(self, task: int) -> str:
        """A prompt as the model reads it, for a record."""
        return self.chat.text(self.asked[task])

    def words(self, task: int) -> str:
        """What a person wrote of a prompt: its text and the system's."""
        return f"{self.chat.system_prompt or ''} {self.asked[task]}"

    def __call__(self, examples: list[dict]) -> PaddedBatch:
        """Training examples -> a batch in which each clip is asked what chance says (torch's generator)."""
        if self.others:
            drawn = torch.multinomial(self.shares, len(examples), replacement=True).tolist()
            asked = zip(examples, drawn, strict=True)
            examples = [self._asked(example, at) if at else example for example, at in asked]
        return PaddedBatch(examples)

    def _asked(self, example: dict, at: int) -> dict:
        target = self.others[at - 1].target(example["row"])
        return example | {"target": target, "tokens": torch.tensor(self.chat.encode(target)), "task": at}
