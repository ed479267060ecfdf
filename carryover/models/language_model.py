"""A frozen causal language model of transformers that reads vectors in the midst of its prompt, and writes.

    before | vectors | after | answer | end

`before` and `after` are the prompt around the audio, as the model's chat template writes it. Answers are to the right
of column P, the same for all rows of a batch, so everything before it is padded on the left and everything after it on
the right, in training as in generation, and positions count from each row's own first vector.
"""

import inspect
from collections.abc import Sequence

import torch
from transformers import AutoModelForCausalLM, GenerationConfig, StoppingCriteria, StoppingCriteriaList

from carryover.models.chat import Chat
from carryover.models.kinds import require_language_model
from carryover.models.lora import LoRA, NoLoRA
from carryover.models.pretrained import dtype_of, load_whole, require_pinned

# Shapes: B batch, T vectors of audio, P prompt with its audio, U tokens of an answer and its end, V vocabulary, E width


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
    require_language_model(source, revision)
    hf, _ = load_whole(
        AutoModelForCausalLM, source, revision=revision, dtype=dtype_of(dtype), use_safetensors=True,
        trust_remote_code=False,
    )  # fmt: skip
    require_readable(source, hf)
    require_tokens(source, hf, chat)
    return LanguageModel(hf, chat, lora)


def require_tokens(source: str, hf, chat: Chat) -> None:
    """Raise ValueError where a tokenizer has tokens that the model has no embedding of, or lacks those that it names.

    A model may have more embeddings than its tokenizer has tokens (Qwen: 151 936 for 151 669).
    """
    rows, tokens = hf.get_input_embeddings().weight.shape[0], max(chat.hf.get_vocab().values()) + 1
    named = {key: getattr(hf.config.get_text_config(), key, None) for key in ("bos_token_id", "eos_token_id")}
    ids = {key: max(ids) if isinstance(ids, list) else ids for key, ids in named.items() if ids is not None}
    strange = [f"{key} {n}" for key, n in ids.items() if n >= tokens]
    if tokens > rows or strange:
        raise ValueError(
            f"language_model: the tokenizer of {source} has {tokens} tokens, and its weights have embeddings for {rows}"
            + (f" and name {', '.join(strange)}" if strange else "")
            + ": they do not belong together; copy tokenizer.json and tokenizer_config.json of the model that it was "
            "fine-tuned from"
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
