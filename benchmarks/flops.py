"""Operations of an update by closed forms, and what cards can do at most: model-FLOP utilisation (MFU).

    FLOPs = sum over layers of 2 x weights x positions x passes
          + sum over attentions of 4 x queries x keys x width x (3 in training, else 1)
    MFU   = FLOPs of an update / (seconds of an update x the card's peak)

Passes of a layer: 1 forward, 1 for the gradient of what it hears, 1 for the gradient of its weights: 3 where it is
trained, 2 where it is frozen with trained weights before or inside it (LoRA), 1 where it only runs, 0 where its states
are kept. Attention has no weights; its gradient takes twice its forward pass. Left out, because they are small: norms,
activations, softmax, log-mel, CTC, adapters, the optimizer. What an implementation computes twice counts once.
"""

import re

# Dense bf16 with sums in float32, in TFLOP/s, as the makers' data sheets have it (without sparsity)
PEAKS = {
    "A10": 125, "A100": 312, "A30": 165, "A40": 149.7, "B200": 2250, "GH200": 989.4, "H100": 989.4, "H100 NVL": 835,
    "H100 PCIe": 756, "H200": 989.4, "L4": 121, "L40": 181, "L40S": 362, "RTX 3090": 71, "RTX 4090": 165.2,
    "RTX 6000 Ada": 364, "RTX A6000": 154.8,
}  # fmt: skip
BUILD = re.compile(r"\d+GB|SXM\d?|HBM\d?e?|PCIE", re.IGNORECASE)  # words behind a card's name that do not change it
TRAINED, ADAPTED, RUN, KEPT = 3, 2, 1, 0


def peak(card: str) -> float | None:
    """FLOP/s of a card by torch.cuda's name for it; None for one that is not in the table, and for a part of one."""
    words = card.removeprefix("NVIDIA ").removeprefix("GeForce ").replace("-", " ").split()
    for n in range(len(words), 0, -1):
        found = PEAKS.get(" ".join(words[:n]))
        if found is not None and all(BUILD.fullmatch(word) for word in words[n:]):
            return found * 1e12
    return None


def attention(queries: int, keys: int, width: int, passes: int) -> float:
    """Queries by keys and weights by values."""
    return 4 * queries * keys * width * (3 if passes > RUN else passes)


def whisper(config, tokens: float, written: float, encoder: int, decoder: int) -> float:
    """FLOPs of a window.

    Parameters
    ----------
    config : WhisperConfig
    tokens, written : float
        Inputs of the decoder, and those of them whose next token is scored.
    encoder, decoder : int
        Passes.
    """
    P, d, bands = config.max_source_positions, config.d_model, config.num_mel_bins
    convolutions = 3 * bands * d * 2 * P + 3 * d * d * P
    layer = 4 * d * d + 2 * d * config.encoder_ffn_dim
    found = 2 * encoder * (convolutions + config.encoder_layers * layer * P)
    found += config.encoder_layers * attention(P, P, d, encoder)
    # each layer reads the encoder's states by keys and values, to which no gradient goes where the encoder is frozen
    states = 2 * d * d * P * (decoder if encoder > RUN else decoder - 1)
    layer = 6 * d * d + 2 * d * config.decoder_ffn_dim  # attention to itself, query and output of the other, two more
    found += 2 * config.decoder_layers * (states + decoder * layer * tokens)
    found += config.decoder_layers * (attention(tokens, tokens, d, decoder) + attention(tokens, P, d, decoder))
    return found + 2 * decoder * d * config.vocab_size * written


def wav2vec2(config, samples: float, stem: int, encoder: int) -> float:
    """FLOPs of a clip with a head for CTC.

    Parameters
    ----------
    config : Wav2Vec2Config
    samples : float
        Of the waveform, padding counted.
    stem, encoder : int
        Passes of the convolutions over the waveform, and of all behind them.
    """
    found, channels, frames = 0, 1, samples
    for width, kernel, stride in zip(config.conv_dim, config.conv_kernel, config.conv_stride, strict=True):
        frames = (frames - kernel) // stride + 1
        found += 2 * stem * channels * width * kernel * frames
        channels = width
    d = config.hidden_size
    places = d * d // config.num_conv_pos_embedding_groups * config.num_conv_pos_embeddings
    layer = 4 * d * d + 2 * d * config.intermediate_size
    weights = channels * d + places + config.num_hidden_layers * layer + d * config.vocab_size
    return found + 2 * encoder * weights * frames + config.num_hidden_layers * attention(frames, frames, d, encoder)
