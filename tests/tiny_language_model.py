"""A causal language model with random weights, made on the spot: Llama or GPT-2, one token a letter."""

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

SPECIAL = ["<pad>", "<end>", "<u>", "<a>"]
LETTERS = " abcdefghijklmnopqrstuvwxyz'"
CHAT = (
    "{% for m in messages %}{% if m.role == 'system' %}{{ m.content }}{% elif m.role == 'user' %}<u>{{ m.content }}"
    "{% else %}<a>{{ m.content }}<end>{% endif %}{% endfor %}{% if add_generation_prompt %}<a>{% endif %}"
)


def make(folder, kind: str = "llama", context: int = 256, width: int = 32, **tokenizer) -> str:
    """Write the model and its tokenizer into a folder; keywords replace what the tokenizer is made with."""
    letters = Tokenizer(models.WordLevel({t: i for i, t in enumerate([*SPECIAL, *LETTERS])}, unk_token="<pad>"))
    letters.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    letters.decoder = decoders.Fuse()
    special = {"pad_token": "<pad>", "eos_token": "<end>", "additional_special_tokens": ["<u>", "<a>"]}
    hf = PreTrainedTokenizerFast(tokenizer_object=letters, **(special | {"chat_template": CHAT} | tokenizer))
    hf.save_pretrained(folder)
    torch.manual_seed(11)
    ids = {"pad_token_id": 0, "eos_token_id": 1, "bos_token_id": None}
    if kind == "llama":
        config = LlamaConfig(
            vocab_size=len(hf), hidden_size=width, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
            num_key_value_heads=2, max_position_embeddings=context, initializer_range=0.3, **ids,
        )  # fmt: skip
        model = LlamaForCausalLM(config)
    else:  # positions are learned, so one that is off by the padding shows
        config = GPT2Config(
            vocab_size=len(hf), n_embd=width, n_layer=2, n_head=2, n_positions=context, initializer_range=0.3, **ids
        )
        model = GPT2LMHeadModel(config)
    model.save_pretrained(folder)
    return str(folder)
