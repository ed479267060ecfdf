"""Audio encoders of transformers behind one face: Whisper's, and wav2vec2, HuBERT, WavLM and w2v-BERT without head.

    encoder(wavs, lengths)   (B, S), (B,) in samples at 16 kHz -> states (B, T, D), frames (B,); kept while it is frozen
    width                    D
    save(folder)             what `load` reads
    frames(lengths)          frames of clips of these lengths
    shortest, longest        samples of the shortest and longest clip; longest is infinite where there is no window

Features are computed one utterance at a time, as in the other recipes (whisper.py, features.py).
"""

import math

import torch
from transformers import AutoConfig, AutoFeatureExtractor, AutoModel, WhisperModel

from carryover.data.source import loading, require_source
from carryover.models.features import features_of
from carryover.models.frozen import Frozen, Kept, settings_of
from carryover.models.kinds import require_encoder
from carryover.models.pretrained import PRETRAINING, dtype_of, load_whole, require_pinned
from carryover.models.wav2vec2 import DROPOUTS, CTCModel
from carryover.models.whisper import LogMel
from carryover.models.whisper_check import require_bands

WHISPERS_DROPOUTS = ("dropout", "activation_dropout", "encoder_layerdrop")

# Shapes: B batch, S samples, T frames, D width


class AudioEncoder(torch.nn.Module):
    """What the encoders share: while one is frozen, what it says of a clip is computed once.

    Parameters
    ----------
    hf : PreTrainedModel
        The encoder of transformers.
    kept : Kept, optional
        Where its states are kept.
    """

    def __init__(self, hf, kept: Kept | None = None):
        super().__init__()
        self.hf = hf
        self.kept = Frozen.of(self, self.states, kept)

    def forward(self, wavs: torch.Tensor, lengths: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """-> states (B, T, D), frames (B,)."""
        return self.kept(wavs, lengths)

    def states(self, wavs: torch.Tensor, lengths: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """`forward`, computed."""
        raise NotImplementedError

    def settings(self) -> dict:
        """What decides its states besides its weights."""
        return settings_of(self.hf.config)


class WhisperEncoder(AudioEncoder):
    """Whisper's encoder, of any size; of its window's states those are returned that hold sound, 50 a second.

    Parameters
    ----------
    hf : WhisperModel
        Its decoder is dropped.
    """

    shortest = 1

    def __init__(self, hf: WhisperModel, kept: Kept | None = None):
        super().__init__(hf.encoder, kept)
        stride = self.hf.conv1.stride[0] * self.hf.conv2.stride[0]
        self.log_mel = LogMel(hf.config.num_mel_bins, hf.config.max_source_positions * stride)
        self.hop = stride * LogMel.HOP  # samples a frame: 320

    @property
    def width(self) -> int:
        return self.hf.config.d_model

    @property
    def longest(self) -> int:
        return self.log_mel.samples

    def frames(self, lengths: torch.Tensor) -> torch.Tensor:
        """T = ceil(S / 320): 3 s are 150."""
        return (lengths + self.hop - 1) // self.hop

    def states(self, wavs: torch.Tensor, lengths: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """-> states (B, T, D), frames (B,).

        Raises
        ------
        ValueError
            When a clip is longer than the window: its end would not be heard.
        """
        if int(lengths.max()) > self.longest:
            raise ValueError(
                f"audio: {int(lengths.max()) / LogMel.SAMPLE_RATE:.2f} s are longer than the encoder's window of "
                f"{self.log_mel.seconds:g} s; leave longer clips out when the corpus is prepared, or cut them"
            )
        frames = self.frames(lengths)
        features = self.log_mel(wavs, lengths).to(self.hf.conv1.weight.dtype)
        return self.hf(features).last_hidden_state[:, : int(frames.max())], frames

    def save(self, folder) -> None:
        """Write what `load` reads: a Whisper without decoder."""
        self.hf.save_pretrained(folder, state_dict={f"encoder.{name}": t for name, t in self.hf.state_dict().items()})
        self.log_mel.extractor.save_pretrained(folder)


class Wav2Vec2Encoder(AudioEncoder):
    """wav2vec2, HuBERT, WavLM or w2v-BERT, without a head.

    Parameters
    ----------
    hf : PreTrainedModel
        Of AutoModel.
    features : carryover.models.features.Waveform or FilterBank
    """

    longest = math.inf
    frames_of_inputs = CTCModel.frames  # the same models, seen without their heads

    def __init__(self, hf, features, kept: Kept | None = None):
        super().__init__(hf, kept)
        self.features = features

    def settings(self) -> dict:
        return super().settings() | {"features": str(self.features.extractor.to_dict())}

    @property
    def width(self) -> int:
        return self.hf.config.hidden_size

    @property
    def shortest(self) -> int:
        return self.features.shortest

    def frames(self, lengths: torch.Tensor) -> torch.Tensor:
        """T by the strides of the model's convolutions: 3 s are 149 for HuBERT, floor((S - 400) / 320) + 1."""
        return self.frames_of_inputs(self.features.lengths(lengths))

    def states(self, wavs: torch.Tensor, lengths: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """-> states (B, T, D), frames (B,).

        Models that take no mask (wav2vec2-base) would hear the padding: they get one clip at a time.
        """
        frames = self.frames(lengths)
        if len(wavs) > 1 and not self.features.masked:
            clips = zip(wavs, lengths.split(1), strict=True)
            alone = [self.states(wav[None, : int(n)], n)[0][0] for wav, n in clips]
            return torch.nn.utils.rnn.pad_sequence(alone, batch_first=True), frames
        inputs = [self.features(wav[:n]) for wav, n in zip(wavs, lengths.tolist(), strict=True)]
        sizes = torch.tensor([len(x) for x in inputs], device=wavs.device)
        inputs = torch.nn.utils.rnn.pad_sequence(inputs, batch_first=True).to(next(self.hf.parameters()).dtype)
        mask = (torch.arange(inputs.shape[1], device=inputs.device) < sizes[:, None]).long()
        # inputs by position: the argument's name differs between families
        states = self.hf(inputs, attention_mask=mask if self.features.masked else None).last_hidden_state
        return states[:, : int(frames.max())], frames

    def save(self, folder) -> None:
        """Write what `load` reads."""
        self.hf.save_pretrained(folder)
        self.features.extractor.save_pretrained(folder)


def load(
    source: str,
    revision: str | None = None,
    dtype: str = "float32",
    freeze: bool = True,
    from_scratch: bool = False,
    kept: Kept | None = None,
) -> WhisperEncoder | Wav2Vec2Encoder:
    """An encoder from a folder or the hub: safetensors only, no code of the model's own, no dropout.

    Parameters
    ----------
    source : str
        E.g. "openai/whisper-large-v3-turbo" or "facebook/hubert-xlarge-ll60k", or a folder.
    revision : str, optional
        Commit of a hub name.
    dtype : str
        Of the weights; "bfloat16" is for frozen ones.
    freeze : bool
        False: it is trained.
    from_scratch : bool
        Random weights in the source's shape: a baseline, for what the encoder knows.
    kept : Kept, optional
        Where its states are kept while it is frozen.

    Raises
    ------
    FileNotFoundError
        When `source` is neither a folder with a model nor a hub name, or has no safetensors.
    ValueError
        For a revision that can move, a checkpoint that lacks weights of the encoder, and for weights that are trained
        in another type than float32.
    """
    require_pinned(source, revision, "encoder")
    if not freeze and dtype != "float32":
        raise ValueError(f"encoder_dtype: {dtype} for an encoder that is trained; small updates vanish in it: float32")
    require_encoder(source, revision)
    pinned = {"revision": revision, "trust_remote_code": False}
    with loading(source, revision):
        config = AutoConfig.from_pretrained(source, **pinned)
    config.apply_spec_augment = False
    config.attention_dropout = 0.0
    for name in (*DROPOUTS, *WHISPERS_DROPOUTS, "layerdrop"):
        if hasattr(config, name):  # the families do not all have all of them
            setattr(config, name, 0.0)
    whisper = config.model_type == "whisper"
    if not whisper:  # first: it says at once when this is no such model
        require_source(source, "preprocessor_config.json")
        with loading(source, revision):
            features = features_of(AutoFeatureExtractor.from_pretrained(source, **pinned))
    if from_scratch:
        hf = (WhisperModel(config) if whisper else AutoModel.from_config(config)).to(dtype_of(dtype))
    else:
        # the decoder is dropped, and the vector that masked frames get in training is never asked for
        hf, _ = load_whole(
            WhisperModel if whisper else AutoModel, source, ("decoder.", "masked_spec_embed"),
            (*PRETRAINING, "lm_head.", "proj_out.", "masked_spec_embed"), config=config, dtype=dtype_of(dtype),
            use_safetensors=True, **pinned,
        )  # fmt: skip
    if whisper:
        require_bands(source, config.num_mel_bins)
    encoder = WhisperEncoder(hf, kept) if whisper else Wav2Vec2Encoder(hf, features, kept)
    encoder.eval().requires_grad_(not freeze)
    if whisper:
        encoder.hf.embed_positions.requires_grad_(False)  # sinusoids: fixed in every Whisper
    return encoder
