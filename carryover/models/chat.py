"""What a language model reads and writes, in tokens: prompts around audio, answers and their end."""

import re
from collections.abc import Sequence
from datetime import date

from transformers import AutoTokenizer

from carryover.data.source import loading
from carryover.models.kinds import require_language_model
from carryover.models.pretrained import require_pinned

AUDIO = "{audio}"  # where a prompt of the YAML has the audio
_MARK, _ANSWER = "<<<audio>>>", "<<<answer>>>"  # stand in for both while a template is rendered


class Chat:
    """The tokenizer and chat template of a language model.

    Parameters
    ----------
    source : str
        Hub name or folder of the language model.
    revision : str, optional
        Commit of a hub name: 40 hexadecimal digits.
    system_prompt : str, optional
        First message of the chat.
    template : str, optional
        For a model without a chat template: the prompt as plain text with `{system}` and `{prompt}`, e.g.
        "{system} {prompt} "; the answer stands behind it and ends with the tokenizer's end token.
    template_options : dict, optional
        What the chat template takes besides messages, e.g. enable_thinking: False.
    pad_token : str, optional
        For a tokenizer that has none: any of its tokens, the end token for one. Losses are masked by length, never by
        id, so it does no harm there.

    Attributes
    ----------
    end, pad : int
        Ids of the token that ends an answer (as the template writes it, or the tokenizer's end) and of padding.

    Raises
    ------
    ValueError
        For a model without chat template and no `template`, or with both; without pad token; without end token; for a
        revision that can move; for a prompt that holds the day's date.
    """

    def __init__(
        self,
        source: str,
        revision: str | None = None,
        system_prompt: str | None = None,
        template: str | None = None,
        template_options: dict | None = None,
        pad_token: str | None = None,
    ):
        require_pinned(source, revision, "language_model")
        require_language_model(source, revision)
        with loading(source, revision):
            self.hf = AutoTokenizer.from_pretrained(source, revision=revision, trust_remote_code=False)
        self.system_prompt, self.template, self.options = system_prompt, template, template_options or {}
        if pad_token is not None:
            if pad_token not in self.hf.get_vocab():
                raise ValueError(f"pad_token: {pad_token!r} is no token of {source}; give one of its tokens")
            self.hf.pad_token = pad_token
        if self.hf.pad_token_id is None:
            raise ValueError(
                f"language_model: the tokenizer of {source} has no pad token; name one of its tokens in pad_token, "
                f"e.g. {self.hf.eos_token!r}, its end token (losses are masked by length, so it may be the same)"
            )
        if (self.hf.chat_template is None) == (template is None):
            found = "has no chat template, and plain_template gives none" if template is None else "has a chat template"
            raise ValueError(
                f"language_model: {source} {found}; plain_template is for models without one: the prompt with "
                "{system} and {prompt}, e.g. '{system} {prompt} ', and null for the others"
            )
        if template is not None and template.count("{prompt}") != 1:
            raise ValueError(f"plain_template: {template!r} needs {{prompt}} once, where prompt and audio stand")
        if template is not None and system_prompt and "{system}" not in template:
            raise ValueError(
                f"plain_template: {template!r} has no {{system}}, so the model would never read system_prompt; write "
                "{system} where it stands, or set system_prompt to null"
            )
        self.pad, self.end = self.hf.pad_token_id, self._end(source)

    def _messages(self, prompt: str) -> list[dict]:
        system = [{"role": "system", "content": self.system_prompt}] if self.system_prompt else []
        return [*system, {"role": "user", "content": prompt}]

    def _end(self, source: str) -> int:
        """Id of what stands behind an answer."""
        if self.template is None:
            answered = [*self._messages(_MARK), {"role": "assistant", "content": _ANSWER}]
            text = self.hf.apply_chat_template(answered, tokenize=False, **self.options)
            behind = self.hf(text.partition(_ANSWER)[2], add_special_tokens=False).input_ids
            if behind and behind[0] in self.hf.added_tokens_decoder and self.hf.added_tokens_decoder[behind[0]].special:
                return behind[0]
        if self.hf.eos_token_id is None:
            raise ValueError(f"language_model: {source} has no end token, so it would never stop; give another")
        return self.hf.eos_token_id

    def text(self, prompt: str) -> str:
        """The whole prompt as text, `{audio}` where the audio stands.

        Raises
        ------
        ValueError
            When the prompt has `{audio}` not exactly once, or the template writes the date.
        """
        if prompt.count(AUDIO) != 1:
            raise ValueError(f"prompt: {prompt!r} needs {AUDIO} exactly once, where the audio stands")
        marked = prompt.replace(AUDIO, _MARK)
        if self.template is not None:
            text = self.template.replace("{system}", self.system_prompt or "").replace("{prompt}", marked)
        else:
            text = self.hf.apply_chat_template(
                self._messages(marked), tokenize=False, add_generation_prompt=True, **self.options
            )
            if "strftime_now" in self.hf.chat_template and str(date.today().year) in text:
                raise ValueError(
                    "system_prompt: the chat template writes today's date into the prompt, so it would differ between "
                    "training and use; with SmolLM3 begin system_prompt with '/system_override /no_think '"
                )
        return text.replace(_MARK, AUDIO)

    def prompt(self, prompt: str) -> tuple[list[int], list[int]]:
        """Ids before the audio and behind it, of a prompt with `{audio}`."""
        before, _, after = self.text(prompt).partition(AUDIO)
        first = []
        if self.template is not None:  # a chat template writes the first token itself, else the tokenizer adds it
            some = self.hf("a", return_special_tokens_mask=True)
            first = some.input_ids[: some.special_tokens_mask.index(0)]  # <s>, if any; what stands behind is no start
        before, after = (self.hf(part, add_special_tokens=False).input_ids for part in (before, after))
        return first + before, after

    def encode(self, text: str) -> list[int]:
        """An answer's ids with its end."""
        return [*self.hf(text, add_special_tokens=False).input_ids, self.end]

    def decode(self, ids: Sequence[int]) -> str:
        """Text of ids up to the first end, without special tokens."""
        ids = list(ids)
        ids = ids[: ids.index(self.end)] if self.end in ids else ids
        return self.hf.decode(ids, skip_special_tokens=True).strip()


def echoes(text: str, prompt: str, words: int = 3) -> bool:
    """Whether a text repeats `words` words in a row of a prompt (all of them where it has fewer)."""
    said, asked = (re.findall(r"\w+", part.lower()) for part in (text, prompt.replace(AUDIO, " ")))
    n = min(words, len(asked))
    grams = {tuple(asked[i : i + n]) for i in range(len(asked) - n + 1)} if n else set()
    return any(tuple(said[i : i + n]) in grams for i in range(len(said) - n + 1))
