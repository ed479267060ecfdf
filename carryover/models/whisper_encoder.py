"""Whisper's encoder in two: its frozen layers, whose states are kept, and what is trained above them."""

import torch
from transformers.modeling_outputs import BaseModelOutput
from transformers.models.whisper.modeling_whisper import WhisperEncoder

from carryover.models.frozen import Frozen, Kept, settings_of

# Shapes: B batch, F mel frames, P positions, D width


class SplitEncoder(WhisperEncoder):
    """transformers' encoder, which takes up where its frozen layers end.

    With all of it frozen, what is kept is what it gives; with `train: encoder_top_N`, the states below the last N
    layers. Frozen convolutions alone are not kept: they are as large, and cheap.

    Attributes
    ----------
    below : carryover.models.frozen.Frozen
        (B, n_mels, F) -> (B, P, D)
    """

    def forward(self, input_features: torch.Tensor, attention_mask=None, **kwargs) -> BaseModelOutput:
        """(B, n_mels, F) log-mel of the whole window -> last_hidden_state (B, P, D)."""
        n = self.frozen_layers()
        # dropout before frozen layers, and layers that are left out: in training they do not see the same input
        random = self.training and (self.dropout > 0 or self.layerdrop > 0)
        if random or not self.below.used:
            return super().forward(input_features, attention_mask, **kwargs)
        hidden, _ = self.below(input_features)
        for layer in self.layers[n:]:
            hidden = layer(hidden, None)
        return BaseModelOutput(hidden if self.is_frozen else self.layer_norm(hidden))

    def states_below(self, features: torch.Tensor, lengths=None) -> tuple[torch.Tensor, torch.Tensor]:
        """What the frozen layers say, (B, P, D), and P of each; lengths: none, the window is always whole."""
        if self.is_frozen:
            hidden = super().forward(features).last_hidden_state
        else:
            hidden = torch.nn.functional.gelu(self.conv1(features))
            hidden = torch.nn.functional.gelu(self.conv2(hidden)).transpose(1, 2)  # (B, P, D)
            hidden = hidden + self.embed_positions.weight
            for layer in self.layers[: self.frozen_layers()]:
                hidden = layer(hidden, None)
        return hidden, torch.full((len(hidden),), hidden.shape[1], device=hidden.device)

    def frozen_layers(self) -> int:
        """How many layers from the first on are frozen, with the convolutions before them."""
        if not all(map(is_frozen, (self.conv1, self.conv2, self.embed_positions))):
            return 0
        return next((i for i, layer in enumerate(self.layers) if not is_frozen(layer)), len(self.layers))

    @property
    def is_frozen(self) -> bool:
        """Whether nothing of it is trained."""
        return is_frozen(self)

    def parts_below(self) -> list[torch.nn.Module]:
        """The modules that `states_below` runs through; [] where no layer is frozen."""
        if self.is_frozen:
            return [self]
        n = self.frozen_layers()
        return [self.conv1, self.conv2, self.embed_positions, *self.layers[:n]] if n else []

    def settings(self) -> dict:
        """What decides their states besides their weights."""
        return settings_of(self.config)


def keep(encoder: WhisperEncoder, kept: Kept) -> None:
    """Make transformers' encoder one that keeps the states of its frozen layers; names of its weights stay."""
    encoder.__class__ = SplitEncoder
    encoder.below = Frozen(encoder, encoder.states_below, encoder.parts_below, encoder.settings, kept)


def is_frozen(module: torch.nn.Module) -> bool:
    """Whether no parameter of a module is trained."""
    return not any(p.requires_grad for p in module.parameters())
