"""Makes assets/prefix_lm: a small Llama that has learned to read a noisy prefix of embeddings, with its tokenizer.

    python assets/make_prefix_lm.py [--updates 700] [--out assets/prefix_lm]

A frozen language model can only be led by a projector if it looks at what stands before its answer. Large models have
that from their training; one of 0.8 M parameters has it from here: it is shown sentences as a projector might hand
them over (each piece 1 to 6 frames long, blanks between them, pieces lost, changed and mixed, noise on every frame)
and writes them down, or names their language, as the prompt asks. It has seen the training sentences of the embedded
corpus in Dutch and German, and no audio.
"""

import argparse
import json
import random
import sys
import time
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

PIECES = 310  # 256 bytes and 54 merges
SPECIAL = ["<|pad|>", "<|end|>", "<|system|>", "<|user|>", "<|assistant|>", "<|blank|>"]
# no space and no line break beyond what stands here: each is a token
CHAT_TEMPLATE = (
    "{% for message in messages %}<|{{ message.role }}|>{{ message.content }}"
    "{% if message.role == 'assistant' %}<|end|>{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
PROMPTS = {"transcribe": "transcribe", "language": "which language"}
LANGUAGES = {"nl": "dutch", "de": "german"}
LANGUAGE_SHARE = 0.1  # of the examples that ask for the language
BATCH, PEAK_RATE, WARMUP = 32, 3.0e-3, 100


def make_tokenizer(sentences: list[str]) -> PreTrainedTokenizerFast:
    """Byte-level BPE: any text can be written with it."""
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=PIECES + len(SPECIAL), special_tokens=SPECIAL, initial_alphabet=alphabet, show_progress=False
    )
    bpe.train_from_iterator(sentences, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe, pad_token="<|pad|>", eos_token="<|end|>", chat_template=CHAT_TEMPLATE,
        additional_special_tokens=SPECIAL[2:], clean_up_tokenization_spaces=False, model_max_length=512,
    )  # fmt: skip


def make_model(tokenizer: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    """Random weights."""
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer), hidden_size=128, intermediate_size=320, num_hidden_layers=4,
            num_attention_heads=4, num_key_value_heads=4, max_position_embeddings=512, tie_word_embeddings=True,
            initializer_range=0.05, pad_token_id=tokenizer.pad_token_id, eos_token_id=tokenizer.eos_token_id,
            bos_token_id=None,
        )
    )  # fmt: skip


def frames(ids: list[int], vocabulary: int, blank: int, chance: random.Random, ease: float) -> list[tuple]:
    """Pieces as a projector might hand them over: (piece, other piece, share of the other) for each frame.

    Parameters
    ----------
    ease : float
        1: clean, each piece once to six times; 0: up to 30 % of the pieces lost or changed, frames that mix two.
    """
    worst = (1 - ease) * chance.random()
    length = chance.uniform(1.2, 4.5)  # mean frames a piece: 25 frames a second have 2.7
    blanks = chance.choice([0.0, 0.3, 0.6])  # share of a piece's frames that are blank, as CTC's spikes leave them
    out = [(blank, blank, 0.0)] * chance.randint(0, 8)
    for at, piece in enumerate(ids):
        if chance.random() < 0.1 * worst:
            continue
        if chance.random() < 0.2 * worst:
            piece = chance.choice(ids) if chance.random() < 0.5 else chance.randrange(len(SPECIAL), vocabulary)
        n = max(1, round(length * chance.uniform(0.4, 1.6)))
        following = ids[min(at + 1, len(ids) - 1)]
        for k in range(n):
            if k and chance.random() < blanks:
                out.append((blank, piece, chance.random() * worst))
                continue
            other = following if chance.random() < 0.5 else chance.randrange(len(SPECIAL), vocabulary)
            out.append((piece, other, 0.6 * chance.random() * worst))
        if chance.random() < 0.05 * worst:
            out.append((chance.randrange(len(SPECIAL), vocabulary), blank, 0.0))
    return out + [(blank, blank, 0.0)] * chance.randint(0, 8)


def embed(rows: list[list[tuple]], table: torch.Tensor, noise: list[float]) -> list[torch.Tensor]:
    """Frames -> embeddings, mixed, with Gaussian noise of `noise` times the table's root mean square."""
    scale = table.detach().square().mean().sqrt()
    out = []
    for row, level in zip(rows, noise, strict=True):
        a, b, share = (torch.tensor(column) for column in zip(*row, strict=True))
        mixed = torch.lerp(table[a], table[b], share.float()[:, None])
        out.append(mixed + level * scale * torch.randn_like(mixed))
    return out


def batch(examples: list[tuple], tokenizer, model, chance: random.Random, ease: float) -> tuple:
    """-> embeddings (B, L, C), labels (B, L) with -100 where the loss does not count."""
    table = model.get_input_embeddings().weight
    ids = {name: tokenizer.convert_tokens_to_ids(f"<|{name}|>") for name in ("user", "assistant", "blank", "end")}
    rows = [frames(source, len(tokenizer), ids["blank"], chance, ease) for source, _, _ in examples]
    heard = embed(rows, table, [chance.random() * (1 - ease) for _ in rows])
    sequences, labels = [], []
    for audio, (_, prompt, target) in zip(heard, examples, strict=True):
        after = torch.tensor([*prompt, ids["assistant"], *target, ids["end"]])
        sequences.append(torch.cat([table[[ids["user"]]], audio, table[after]]))
        silent = 1 + len(audio) + len(prompt) + 1
        labels.append(torch.cat([torch.full((silent,), -100), torch.tensor([*target, ids["end"]])]))
    pad = torch.nn.utils.rnn.pad_sequence
    return pad(sequences, batch_first=True), pad(labels, batch_first=True, padding_value=-100)


def loss_of(model, embeddings: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Mean negative log-likelihood of the labels; padding is on the right, where causal attention does not see it."""
    hidden = model.model(inputs_embeds=embeddings).last_hidden_state[:, :-1]
    counts = labels[:, 1:] != -100
    return torch.nn.functional.cross_entropy(model.lm_head(hidden[counts]), labels[:, 1:][counts])


def main(argv: list[str]) -> None:
    """Train and write the folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--updates", type=int, default=700, help="0.63 s each on a busy core")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "prefix_lm")
    options = parser.parse_args(argv)
    sys.path.insert(0, str(Path(__file__).parents[1]))
    from carryover.text import Normaliser
    from local.synthetic import plan

    torch.manual_seed(1)
    chance, normaliser = random.Random(1), Normaliser()
    texts = {
        split: [(normaliser(clip.text), language) for language in ("nl", "de") for clip in plan(language, split)]
        for split in ("train", "valid")
    }
    tokenizer = make_tokenizer([text for text, _ in texts["train"]])
    model = make_model(tokenizer)
    print(f"{sum(p.numel() for p in model.parameters()):,} parameters, {len(tokenizer)} tokens")

    def ids(text):
        return tokenizer(text, add_special_tokens=False).input_ids

    def example(text, language, ask=None):
        asked = ask or ("language" if chance.random() < LANGUAGE_SHARE else "transcribe")
        target = ids(LANGUAGES[language]) if asked == "language" else ids(text)
        return ids(text), ids(PROMPTS[asked]), target

    optimizer = torch.optim.AdamW(model.parameters(), lr=PEAK_RATE, betas=(0.9, 0.98), weight_decay=0.01, fused=True)
    log, deck, losses, started = [], [], [], time.process_time()
    for update in range(1, options.updates + 1):
        share = update / options.updates
        if len(deck) < BATCH:
            deck = chance.sample(texts["train"], len(texts["train"]))
        examples = [example(*deck.pop()) for _ in range(BATCH)]
        # easy at first: reading is found in the clean case and then kept when it gets hard
        ease = max(0.0, 1 - share / 0.4)
        rate = PEAK_RATE * min(update / WARMUP, max(0.02, (1 - share) / 0.7))
        for group in optimizer.param_groups:
            group["lr"] = rate
        loss = loss_of(model, *batch(examples, tokenizer, model, chance, ease))
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
        if update % 50 == 0:
            with torch.no_grad():
                found = {"update": update, "seconds": round(time.process_time() - started), "ease": round(ease, 2)}
                found["train"] = round(sum(losses[-50:]) / 50, 4)
                for name, level in (("valid_clean", 1.0), ("valid_noisy", 0.0)):
                    held_out = random.Random(2)
                    rows = [example(t, language, "transcribe") for t, language in texts["valid"][::4]]
                    found[name] = round(loss_of(model, *batch(rows, tokenizer, model, held_out, level)).item(), 4)
            log.append(found)
            print(json.dumps(found), flush=True)
    model.half().save_pretrained(options.out)  # read again in float32: 1.5 MB instead of 3
    tokenizer.save_pretrained(options.out)
    (options.out / "training_log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in log))


if __name__ == "__main__":
    main(sys.argv[1:])
