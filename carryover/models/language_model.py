"""A frozen causal language model of transformers that reads vectors in the midst of its prompt, and writes.

    before | vectors | after | answer | end

`before` and `after` are the prompt around the audio, as the model's chat template writes it. Answers are to the right
of column P, the same for all rows of a batch, so everything before it is padded on the left and everything after it on
the right, in training as in generation, and positions count from each row's own first vector.
"""

import inspect
import json
import re
from collections.abc import Sequence
from datetime import date
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig, StoppingCriteria, StoppingCriteriaList

from carryover.data.source import loading, require_source

ADAPTERS, CONFIG = "adapter_model.safetensors", "adapter_config.json"  # peft's names
AUDIO = "{audio}"  # where a prompt of the YAML has the audio
_MARK, _ANSWER = "<<<audio>>>", "<<<answer>>>"  # stand in for both while a template is rendered

# Shapes: B batch, T vectors of audio, P prompt with its audio, U tokens of an answer and its end, V vocabulary, E width


class Chat:
    """What a language model reads and writes, in tokens: prompts around audio, answers and their end.

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


class NoLoRA:
    """The language model stays as it is."""

    def add(self, hf) -> torch.nn.ModuleDict:
        """-> what is trained of the model, by name: nothing."""
        return torch.nn.ModuleDict()

    def save(self, hf, folder: Path) -> None:
        """Nothing to save."""

    def load(self, hf, folder: Path) -> None:
        """Raise ValueError where a folder has adapters: its projector was trained with them."""
        if (Path(folder) / ADAPTERS).exists():
            raise ValueError(f"lora: {folder} holds adapters, which its projector needs; set lora as in that run")


class LoRA:
    """Low-rank adapters in the frozen language model, y = W x + (alpha / rank) B A x (Hu et al. 2021, eq. 3), by peft.

    A and B are float32 whatever the model's dtype. No dropout: the model stays in evaluation mode.

    Parameters
    ----------
    rank, alpha : int, float
    targets : list of str
        Names of the linear layers that get one, e.g. ["q_proj", "v_proj"].

    Raises
    ------
    ModuleNotFoundError
        When peft is not installed.
    """

    def __init__(self, rank: int = 8, alpha: float = 16, targets: Sequence[str] = ("q_proj", "v_proj")):
        try:
            import peft  # an extra: only who asks for LoRA needs it
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError("lora: needs peft: pip install -e '.[lora]'", name="peft") from error
        self.peft = peft
        self.config = peft.LoraConfig(r=rank, lora_alpha=alpha, target_modules=list(targets), lora_dropout=0.0)

    def add(self, hf):
        """Put adapters into the model; -> their A and B, by the layer's name."""
        self.peft.inject_adapter_in_model(self.config, hf)
        found = {
            name.replace(".", "_"): torch.nn.ModuleDict({"A": layer.lora_A, "B": layer.lora_B}).float()
            for name, layer in hf.named_modules()
            if isinstance(layer, self.peft.tuners.lora.LoraLayer)
        }
        return torch.nn.ModuleDict(found)

    def save(self, hf, folder):
        """Write adapter_model.safetensors and adapter_config.json, which peft loads."""
        state = self.peft.get_peft_model_state_dict(hf)
        # peft reads them under the names that they have inside its own wrapper
        state = {f"base_model.model.{name}": tensor.detach().cpu().contiguous() for name, tensor in state.items()}
        save_file(state, folder / ADAPTERS)
        self.config.save_pretrained(folder)

    def load(self, hf, folder):
        """Read the adapters of a folder; where it has none, these begin anew beside its projector.

        Raises
        ------
        ValueError
            For adapters of another rank, alpha, targets or model.
        """
        if not (Path(folder) / ADAPTERS).exists():
            print(f"{folder} holds no adapters: those of `lora` begin anew")
            return
        theirs = json.loads((Path(folder) / CONFIG).read_text(encoding="utf-8"))
        there = theirs["r"], theirs["lora_alpha"], sorted(theirs["target_modules"])
        here = self.config.r, self.config.lora_alpha, sorted(self.config.target_modules)
        if there != here:  # the same weights under another alpha are other adapters
            raise ValueError(
                f"lora: the adapters in {folder} have rank, alpha and targets {there}, here they are {here}; set lora "
                "as there"
            )
        state = {name.removeprefix("base_model.model."): t for name, t in load_file(Path(folder) / ADAPTERS).items()}
        own = self.peft.get_peft_model_state_dict(hf)
        if {name: t.shape for name, t in own.items()} != {name: t.shape for name, t in state.items()}:
            raise ValueError(f"lora: the adapters in {folder} are of another model's layers")
        self.peft.set_peft_model_state_dict(hf, state)


class LanguageModel:
    """A causal language model that stays as it is: evaluation mode, no parameter trained but LoRA's.

    It is no torch module on purpose: what a Brain trains and saves are modules, and this is neither. Gradients flow
    through it to the vectors that it reads; none are stored for its own weights.

    Parameters
    ----------
    hf : PreTrainedModel
        Of AutoModelForCausalLM.
    chat : Chat
    lora : LoRA or NoLoRA

    Attributes
    ----------
    adapters : torch.nn.ModuleDict
        What LoRA trains; empty without.
    """

    def __init__(self, hf, chat: Chat, lora: LoRA | NoLoRA | None = None):
        self.hf, self.chat, self.lora = hf.eval().requires_grad_(False), chat, lora or NoLoRA()
        self.adapters = self.lora.add(self.hf)
        # a model's own settings (SmolLM3: sampling at 0.6; Qwen: a repetition penalty) are for chatting
        ends = self.hf.generation_config.eos_token_id
        ends = ends if isinstance(ends, list) else [ends] if ends is not None else []
        self.ends = sorted({chat.end, *ends})
        self.hf.generation_config = GenerationConfig(do_sample=False, eos_token_id=self.ends, pad_token_id=chat.pad)

    def to(self, device) -> "LanguageModel":
        """Move the weights."""
        self.hf.to(device)
        return self

    @property
    def width(self) -> int:
        """E, width of the embeddings."""
        return self.hf.get_input_embeddings().weight.shape[1]

    @property
    def context(self) -> int:
        """Tokens that prompt, audio and answer may have together."""
        return self.hf.config.get_text_config().max_position_embeddings

    @property
    def scale(self) -> float:
        """Root mean square of the embeddings as the model takes them, over 4 096 tokens at most."""
        vocabulary = self.hf.get_input_embeddings().weight.shape[0]
        return self.embed(list(range(0, vocabulary, -(-vocabulary // 4096)))).float().square().mean().sqrt().item()

    @torch.no_grad()
    def embed(self, ids: Sequence[int]) -> torch.Tensor:
        """(n,) ids -> (n, E): by the model's own layer, for some multiply what they look up."""
        layer = self.hf.get_input_embeddings()
        return layer(torch.tensor(ids, dtype=torch.long, device=layer.weight.device))

    def prefix(
        self, vectors: torch.Tensor, lengths: torch.Tensor, prompts: Sequence[tuple[list[int], list[int]]]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Prompts with their audio -> embeddings (B, P, E), padded on the left, and where they are none, (B, P) bool.

        Parameters
        ----------
        vectors : torch.Tensor
            (B, T, E) of the projector, padded with whatever.
        lengths : torch.Tensor
            (B,) vectors of each utterance.
        prompts : sequence of B (before, after)
            Ids, as `Chat.prompt` gives them.

        Raises
        ------
        ValueError
            When the vectors are not E wide.
        """
        if vectors.shape[-1] != self.width:
            raise ValueError(
                f"projector: its vectors are {vectors.shape[-1]} wide, the language model's embeddings {self.width}; "
                "make the projector for this language model (`between` does)"
            )
        vectors = vectors.to(self.hf.get_input_embeddings().weight.dtype)
        parts = {id(prompt): [self.embed(ids) for ids in prompt] for prompt in prompts}  # a few, for the whole batch
        rows = [
            torch.cat([parts[id(prompt)][0], one[:n], parts[id(prompt)][1]])
            for prompt, one, n in zip(prompts, vectors, lengths.tolist(), strict=True)
        ]
        longest = max(map(len, rows))
        padded = torch.stack([torch.nn.functional.pad(row, (0, 0, longest - len(row), 0)) for row in rows])
        sizes = torch.tensor([len(row) for row in rows], device=padded.device)
        return padded, torch.arange(longest, device=padded.device) >= longest - sizes[:, None]

    def logits(
        self, prefix: torch.Tensor, inside: torch.Tensor, tokens: torch.Tensor, lengths: torch.Tensor
    ) -> torch.Tensor:
        """-> (B, U, V) float32: logits of each of the tokens, given the prefix and the tokens before it.

        Parameters
        ----------
        prefix, inside : torch.Tensor
            Of `prefix`.
        tokens : torch.Tensor
            (B, U) ids of answers with their end, padded on the right.
        lengths : torch.Tensor
            (B,) tokens of each answer.

        Raises
        ------
        ValueError
            When prompt, audio and answer are longer than the context.
        """
        self.require_context(prefix.shape[1], tokens.shape[1])
        embedded = self.hf.get_input_embeddings()(tokens[:, :-1]).to(prefix.dtype)
        answered = torch.arange(tokens.shape[1] - 1, device=tokens.device) < lengths[:, None] - 1
        inside = torch.cat([inside, answered], dim=1)
        out = self.hf(
            inputs_embeds=torch.cat([prefix, embedded], dim=1),
            attention_mask=inside.long(),
            position_ids=(inside.long().cumsum(dim=1) - 1).clamp(min=0),
            logits_to_keep=tokens.shape[1],  # a vocabulary of 128 000 for each vector of audio would be 1 GB a clip
            use_cache=False,
        )
        return out.logits.float()

    @torch.no_grad()
    def generate(self, prefix: torch.Tensor, inside: torch.Tensor, limits: Sequence[int]) -> list[list[int]]:
        """Greedy answers, each up to its end and of at most its limit of tokens, the end among them.

        Parameters
        ----------
        prefix, inside : torch.Tensor
            Of `prefix`.
        limits : sequence of B int

        Returns
        -------
        ids : list of B lists
            Without padding; the last one is an end, or the limit was reached.

        Raises
        ------
        ValueError
            When prompt, audio and the longest answer are longer than the context.
        """
        self.require_context(prefix.shape[1], max(limits))
        with torch.autocast(prefix.device.type, enabled=False):
            rows = self.hf.generate(
                inputs_embeds=prefix,
                attention_mask=inside.long(),
                max_new_tokens=max(limits),
                stopping_criteria=StoppingCriteriaList([_Limits(limits)]),
            ).tolist()
        return [self._answer(row[:limit]) for row, limit in zip(rows, limits, strict=True)]

    def _answer(self, ids: list[int]) -> list[int]:
        end = next((at for at, token in enumerate(ids) if token in self.ends), len(ids))
        return ids[: end + 1]

    def require_context(self, prompt: int, answer: int) -> None:
        """Raise ValueError where a prompt with its audio and an answer are longer than the context."""
        if prompt + answer > self.context:
            raise ValueError(
                f"language_model: prompt and audio take {prompt} positions and the answer up to {answer}, but its "
                f"context is {self.context}; shorten system_prompt or prompt, stack more frames, lower "
                "tokens_per_second, or leave long clips out (max_seconds)"
            )


class _Limits(StoppingCriteria):
    """Ends each row at its own limit; transformers has one for the whole batch."""

    def __init__(self, limits: Sequence[int]):
        self.limits = torch.tensor(limits)

    def __call__(self, input_ids, scores, **kwargs):
        return input_ids.shape[1] >= self.limits.to(input_ids.device)  # (B,); the ids are those that are new


def load(source: str, chat: Chat, revision: str | None = None, dtype: str = "float32", lora=None) -> LanguageModel:
    """A language model from a folder or the hub: safetensors only, no code of the model's own.

    Parameters
    ----------
    source : str
        E.g. "HuggingFaceTB/SmolLM3-3B", or a folder.
    chat : Chat
        Of the same source.
    revision : str, optional
        Commit of a hub name.
    dtype : str
        "float32", "bfloat16", ...: of the weights, frozen as they are; bfloat16 halves the memory.
    lora : LoRA or NoLoRA

    Raises
    ------
    FileNotFoundError
        When `source` is neither a folder with a model nor a hub name, or has no safetensors.
    ValueError
        For a revision that can move, a checkpoint that lacks weights, a model that cannot be told positions or names no
        context, and a tokenizer with other tokens than the model.
    """
    require_pinned(source, revision, "language_model")
    with loading(source, revision):
        hf, info = AutoModelForCausalLM.from_pretrained(
            source, revision=revision, dtype=dtype_of(dtype), use_safetensors=True, trust_remote_code=False,
            output_loading_info=True,
        )  # fmt: skip
    require_complete(source, info["missing_keys"])
    require_readable(source, hf)
    rows = hf.get_input_embeddings().weight.shape[0]
    if max(chat.pad, chat.end) >= rows:
        raise ValueError(
            f"language_model: its tokenizer pads with token {chat.pad} and ends with {chat.end}, but it has embeddings "
            f"for {rows}; give a tokenizer and a model that belong together"
        )
    return LanguageModel(hf, chat, lora)


def require_pinned(source: str, revision: str | None, key: str) -> None:
    """Raise where `source` is nothing that can be loaded, or a hub name whose weights may change from day to day."""
    require_source(source)
    if not Path(source).is_dir() and not re.fullmatch(r"[0-9a-f]{40}", revision or ""):
        raise ValueError(
            f"{key}_revision: {revision!r} for {source}; give the commit's 40 hexadecimal digits (on the hub: Files "
            "and versions, History), for a branch's or tag's name may mean other weights tomorrow"
        )


def require_readable(source: str, hf) -> None:
    """Raise ValueError where a model does not take what `LanguageModel` gives it, or does not say how much.

    Positions count from each row's own first vector, so a model that takes none (Bloom, MPT, Mamba) would count the
    padding before it.
    """
    takes = inspect.signature(hf.forward).parameters
    given = ("inputs_embeds", "attention_mask", "position_ids", "logits_to_keep")
    lacks = [f"{name} in forward" for name in given if name not in takes]
    if not hasattr(hf.config.get_text_config(), "max_position_embeddings"):
        lacks.append("max_position_embeddings in config.json")
    if lacks:
        raise ValueError(
            f"language_model: {source} is a {type(hf).__name__}, which lacks {', '.join(lacks)}; give a model that is "
            "told positions and its context, such as Llama, SmolLM, Qwen, Gemma, GPT-2 or OPT"
        )


def require_complete(source: str, missing) -> None:
    """Raise ValueError where transformers gave random weights to what a checkpoint lacks: frozen, they stay random."""
    if missing:
        raise ValueError(
            f"{source}: its weights lack {', '.join(sorted(missing)[:4])} ({len(missing)} tensors), which would stay "
            "random; give the checkpoint of a whole model"
        )


def dtype_of(name: str) -> torch.dtype:
    """Type of frozen weights by its name in a YAML."""
    known = {"float32": torch.float32, "bfloat16": torch.bfloat16}
    if name not in known:  # float16 ends at 65 504, which single channels of large language models exceed: nan
        raise ValueError(f"dtype: {name!r}; expected {' or '.join(known)}")
    return known[name]


def echoes(text: str, prompt: str, words: int = 3) -> bool:
    """Whether a text repeats `words` words in a row of a prompt (all of them where it has fewer)."""
    said, asked = (re.findall(r"\w+", part.lower()) for part in (text, prompt.replace(AUDIO, " ")))
    n = min(words, len(asked))
    grams = {tuple(asked[i : i + n]) for i in range(len(asked) - n + 1)} if n else set()
    return any(tuple(said[i : i + n]) in grams for i in range(len(said) - n + 1))
