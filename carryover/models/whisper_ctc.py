"""CTC on Whisper's encoder, which is run on a clip's own frames: as long as the clip, not as the window of 30 s.

A pretrained Whisper needs the silence of its window; trained on a clip's own frames, its encoder is another model that
no longer does.
"""

import torch
from transformers import WhisperConfig
from transformers.modeling_outputs import BaseModelOutput, CausalLMOutput
from transformers.models.whisper.modeling_whisper import WhisperEncoder, WhisperPreTrainedModel

# Shapes: B batch, F mel frames (100 a second), M mel bands, T = ceil(F / 2) positions (50 a second), D width, V symbols


class WhisperForCTC(WhisperPreTrainedModel):
    """Whisper's encoder with a linear layer over the symbols of CTC, in the form of transformers' Wav2Vec2ForCTC.

    Padding changes nothing: neither the convolutions nor attention hear it.

    Parameters
    ----------
    config : WhisperConfig
        `vocab_size` is the number of symbols.
    """

    _supports_flash_attn = False  # it takes another mask over the padding than is made here

    def __init__(self, config: WhisperConfig):
        super().__init__(config)
        self.model = torch.nn.ModuleDict({"encoder": WhisperEncoder(config)})  # the names of a whole Whisper
        self.dropout = torch.nn.Dropout(config.dropout)
        self.lm_head = torch.nn.Linear(config.d_model, config.vocab_size)
        self.post_init()

    @property
    def encoder(self) -> WhisperEncoder:
        return self.model["encoder"]

    def forward(self, inputs: torch.Tensor, attention_mask: torch.Tensor | None = None) -> CausalLMOutput:
        """Log-mel (B, F, M) and 1 where it is no padding (B, F) -> logits (B, T, V)."""
        return CausalLMOutput(logits=self.lm_head(self.dropout(self.hidden(inputs, attention_mask).last_hidden_state)))

    def hidden(self, inputs: torch.Tensor, attention_mask: torch.Tensor | None = None) -> BaseModelOutput:
        """What the head is given, (B, T, D); arguments as `forward`.

        Raises
        ------
        ValueError
            For more frames than the encoder has positions.
        """
        encoder, config = self.encoder, self.config
        heard = torch.ones(inputs.shape[:2], device=inputs.device) if attention_mask is None else attention_mask
        positions = self._get_feat_extract_output_lengths(inputs.shape[1])  # a number that torch.export can follow
        if positions > config.max_source_positions:
            raise ValueError(
                f"audio: {inputs.shape[1]} frames of 10 ms, and the encoder has positions for "
                f"{2 * config.max_source_positions}; lower max_seconds"
            )
        hidden = torch.nn.functional.gelu(encoder.conv1(inputs.transpose(1, 2))) * heard[:, None]
        hidden = torch.nn.functional.gelu(encoder.conv2(hidden)).transpose(1, 2)  # (B, T, D)
        hidden = hidden + encoder.embed_positions.weight[:positions]
        hidden = torch.nn.functional.dropout(hidden, config.dropout, encoder.training)
        there = heard[:, ::2].bool()  # (B, T): position t is of frames 2t - 1 to 2t + 1
        mask = torch.zeros_like(there, dtype=hidden.dtype).masked_fill(~there, torch.finfo(hidden.dtype).min)
        for layer in encoder.layers:
            if encoder.training and torch.rand([]) < config.encoder_layerdrop:
                continue
            hidden = layer(hidden, mask[:, None, None, :])
            hidden = hidden[0] if isinstance(hidden, tuple) else hidden
        return BaseModelOutput(encoder.layer_norm(hidden))

    def _get_feat_extract_output_lengths(self, lengths: torch.Tensor | int) -> torch.Tensor | int:
        """T of F; the name that transformers' models of AutoModelForCTC have for it."""
        return (lengths + 1) // 2

    def freeze_feature_encoder(self) -> None:
        """Nothing more to do: what is frozen and hears an input has no gradient."""
