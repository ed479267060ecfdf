"""The head of a CTC model: what its units stand for, rows carried over by symbol, new ones."""

from pathlib import Path

import torch
from transformers import AutoConfig
from transformers.utils import cached_file

from carryover.models.whisper_ctc import WhisperForCTC
from carryover.text import Characters, Pieces


def old_symbols(source: str) -> Characters | Pieces | None:
    """What the units of a checkpoint's head stand for; None where it does not say, as one pre-trained on audio only."""
    config = AutoConfig.from_pretrained(source)
    if config.model_type == "whisper" and WhisperForCTC.__name__ not in (config.architectures or []):
        return None  # its vocabulary is the decoder's
    # _raise...: has no public counterpart that tells a missing file from a hub that does not answer
    pieces, vocabulary = (
        cached_file(source, name, _raise_exceptions_for_missing_entries=False) for name in (Pieces.FILE, "vocab.json")
    )
    if pieces:
        return Pieces(pieces)
    return Characters.from_folder(source, config.vocab_size) if vocabulary else None


def symbols_of(folder: str | Path, size: int) -> Characters | Pieces:
    """The symbols that a tokenizer's `save` wrote into a folder, for a head of `size` units."""
    pieces = (Path(folder) / Pieces.FILE).is_file()
    return Pieces.from_folder(folder) if pieces else Characters.from_folder(folder, size)


def require_symbols(source: str, tokenizer, carried: int) -> None:
    """Raise ValueError where the `carried` rows of a checkpoint's head are not of the tokenizer's first symbols."""
    old = old_symbols(source)
    if old is None:
        raise ValueError(
            f"{source}: its head has {carried} units, and neither vocab.json nor {Pieces.FILE} says what they stand "
            "for; put there the one that the model was trained with"
        )
    differ = [f"{i}: {a!r}, {b!r}" for i, (a, b) in enumerate(zip(old.symbols, tokenizer.symbols)) if a != b]  # noqa: B905
    if differ or len(old.symbols) != carried:
        raise ValueError(
            f"{source}: the {carried} units of its head are not the tokenizer's first; they differ in "
            f"{'; '.join(differ[:3]) or 'number'} (unit: there, here). Let models.wav2vec2.tokenizer read them"
        )


def grow_head(model, size: int, carried: int) -> None:
    """Replace the head by one of `size` rows, the first `carried` of which are the old ones.

    New rows are drawn as transformers draws them; their bias is the old rows' mean, so that a new symbol is at first
    neither favoured nor impossible.
    """
    old = model.lm_head
    new = torch.nn.Linear(old.in_features, size)
    with torch.no_grad():
        new.weight.normal_(0.0, model.config.initializer_range)
        new.bias.zero_()
        if carried:
            new.weight[:carried], new.bias[:carried] = old.weight[:carried], old.bias[:carried]
            new.bias[carried:] = old.bias[:carried].mean()
    model.lm_head = new


def report(source: str, tokenizer, carried: int, info: dict) -> str:
    """What was loaded, what is new, what was left, in words."""
    new = tokenizer.symbols[carried:]
    missing = [key for key in info["missing_keys"] if not key.startswith("lm_head")]
    lines = [
        f"{source}: {carried} of {len(tokenizer.symbols)} rows of the head carried over by symbol"
        + (f", new: {' '.join(new) if len(new) < 40 else f'all {len(new)}'}" if new else ", none new")
    ]
    if missing:
        lines.append(f"  not in the checkpoint, random: {', '.join(sorted(missing)[:6])} ({len(missing)} tensors)")
    if info["unexpected_keys"]:
        left = sorted(info["unexpected_keys"])
        lines.append(f"  left in the checkpoint, not used: {', '.join(left[:6])} ({len(left)} tensors)")
    return "\n".join(lines)
