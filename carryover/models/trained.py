"""Which parts of a model are trained: the YAML's `train`, and the words of `lr_of`."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import torch

WORDS = ("head", "encoder", "decoder", "lora", "projector", "stem")  # of `lr_of`

Part = torch.nn.Module | torch.nn.Parameter


@dataclass
class Parts:
    """Parts of a model, in the order in which they are run through; each parameter is in one of them.

    Attributes
    ----------
    named : dict
        Modules (or single parameters) of "stem" (the convolutions before the encoder), "encoder", and what the model
        has of "decoder" and "head". Those of the encoder stand in their order: what comes before its layers, the
        layers, what comes behind.
    layers : sequence of torch.nn.Module
        Of the encoder.
    """

    named: dict[str, Sequence[Part]]
    layers: Sequence[torch.nn.Module]

    def words(self) -> list[str]:
        """What `train` can say of this model."""
        modules = [name for name in self.named if name != "stem"]
        stem = ["all_but_stem"] if any(count(part) for part in self.named["stem"]) else []
        return ["all", "none", *modules, *stem, f"encoder_top_N with N from 1 to {len(self.layers)}", "lora"]


def count(part: Part) -> int:
    """Parameters of a part."""
    return part.numel() if isinstance(part, torch.nn.Parameter) else sum(p.numel() for p in part.parameters())


def set_trained(parts: Parts, train: str) -> None:
    """Freeze what `train` does not name: no gradient is computed for it, and RecipeBrain keeps it in eval mode.

    Nothing that is frozen already is made trainable (Whisper's positions of the encoder, what LoRA froze).

    Parameters
    ----------
    parts : Parts
        Of a model as it was loaded.
    train : str
        "all" or "none"; "encoder" (its stem with it), "decoder" or "head"; "all_but_stem"; "encoder_top_N": the last N
        layers of the encoder and all that comes behind them, decoder or head; "lora": the adapters, with the head of
        CTC where `lora` leaves it trainable.

    Raises
    ------
    ValueError
        For anything else, listing what can be said of this model; where adapters are left without training.
    """
    every = [part for modules in parts.named.values() for part in modules]
    top = re.fullmatch(r"encoder_top_([1-9]\d*)", train) if isinstance(train, str) else None
    if train == "all":
        frozen = []
    elif train == "none":
        frozen = every
    elif train == "all_but_stem":
        frozen = parts.named["stem"]  # w2v-BERT has no convolutions before it, which is no error
    elif train == "lora":
        adapters = [p for part in every for name, p in named(part) if is_lora(name)]
        if not adapters:
            raise ValueError("train: lora, but the model has no adapters; give it some with the key lora")
        but_head = [part for name, modules in parts.named.items() if name != "head" for part in modules]
        frozen = [p for part in but_head for name, p in named(part) if not is_lora(name)]
    elif top and int(top[1]) <= len(parts.layers):
        first = parts.layers[-int(top[1])]
        encoder = list(parts.named["encoder"])
        at = next(i for i, part in enumerate(encoder) if part is first)
        frozen = [*parts.named["stem"], *encoder[:at]]
    elif train in parts.named and train != "stem":
        kept = {train, "stem"} if train == "encoder" else {train}
        frozen = [part for name, modules in parts.named.items() if name not in kept for part in modules]
    else:
        raise ValueError(f"train: {train!r} is no part of this model; expected {', '.join(parts.words())}")
    for part in frozen:
        part.requires_grad_(False)
    adapters = [p for part in every for name, p in named(part) if is_lora(name)]
    if adapters and train != "none" and not any(p.requires_grad for p in adapters):
        raise ValueError(f"train: {train}, where no adapter of `lora` stands; give train: lora, or other targets")


def named(part: Part):
    """(name, parameter) of a part; a single parameter has no name."""
    return [("", part)] if isinstance(part, torch.nn.Parameter) else part.named_parameters()


def is_lora(name: str) -> bool:
    """Whether a parameter is an adapter's, by its name."""
    return bool({"lora_A", "lora_B", "lora_magnitude_vector"} & set(name.split("."))) or name.startswith("adapters.")


# Of a Brain's parameter, the first that matches; names are those of the recipes' modules and of transformers.
_RULES = (
    ("projector", r"^projector\."),
    ("head", r"^ctc\.|\.lm_head\.|\.base_head\.|^recogniser\.head\."),
    ("decoder", r"\.decoder\.|\.proj_out\."),
    (
        "stem",
        r"\.feature_extractor\.|^encoder\.hf\.(conv[12]|embed_positions)\.|\.encoder\.(conv[12]|embed_positions)\."
        r"|^recogniser\.(projection|convolutions|norms)\.",
    ),
    ("encoder", r"^encoder\.|\.encoder\.|\.feature_projection\.|\.masked_spec_embed$|\.(adapter|intermediate_ffn)\."),
)


def module_of(name: str) -> str:
    """The word of `lr_of` for a Brain's parameter, by its name: "acoustic.hf.lm_head.weight" is of the "head".

    Raises
    ------
    ValueError
        For a name that belongs to no part, listing the words.
    """
    if is_lora(name):
        return "lora"
    for word, pattern in _RULES:
        if re.search(pattern, name):
            return word
    raise ValueError(
        f"lr_of: parameter {name} belongs to none of {', '.join(WORDS)}; add it to carryover/models/trained.py"
    )


def require_words(lr_of: dict[str, float]) -> None:
    """Raise ValueError for modules of the key `lr_of` that are none, listing the words."""
    if unknown := sorted(set(lr_of) - set(WORDS)):
        raise ValueError(f"lr_of: {', '.join(unknown)}; expected some of {', '.join(WORDS)}")
