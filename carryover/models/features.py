"""What a CTC model of transformers hears: the waveform itself, or log-mel frames for w2v-BERT and Whisper.

All are computed one utterance at a time, so that batch-mates and padding change nothing (SpeechBrain's wrapper
normalises over the padding too: 21 % away for a clip in a padded batch). They share one face:

    features(wav)    (S,) samples at 16 kHz -> (S,) or (T, 160) float32
    input_name       the model's argument: "input_values" or "input_features"
    lengths(samples) how long they get
    shortest         samples of the shortest clip
    masked           whether the model wants an attention mask over a batch's padding
    extractor        transformers' own, for `save_pretrained` beside an exported model
"""

import math
from pathlib import Path

import torch
from transformers import (
    AutoFeatureExtractor,
    SeamlessM4TFeatureExtractor,
    Wav2Vec2FeatureExtractor,
    WhisperFeatureExtractor,
)
from transformers.feature_extraction_utils import FeatureExtractionMixin

from carryover.data.source import require_source
from carryover.models.kinds import require_ctc
from carryover.models.whisper import LogMel

SAMPLE_RATE = 16000


class Waveform:
    """Samples as wav2vec2, HuBERT and WavLM take them: (x - mean) / sqrt(var + 1e-7), or as they are.

    The variance is the population's. Which of the two a model was trained with stands in its preprocessor_config.json
    (`do_normalize`: true for wav2vec2 and HuBERT, false for WavLM base); the wrong one costs accuracy in silence.

    Parameters
    ----------
    extractor : Wav2Vec2FeatureExtractor
        `masked` is its return_attention_mask: models whose first layer has group normalisation (wav2vec2-base) were
        trained without a mask.
    """

    input_name = "input_values"
    shortest, longest = 400, math.inf  # samples; the convolutions of wav2vec2 make one frame of 400

    def __init__(self, extractor: Wav2Vec2FeatureExtractor):
        self.extractor = extractor
        self.normalise, self.masked = extractor.do_normalize, extractor.return_attention_mask

    @torch.no_grad()
    def __call__(self, wav: torch.Tensor) -> torch.Tensor:
        """(S,) -> (S,) float32.

        Raises
        ------
        ValueError
            For anything but one channel with at least one sample.
        """
        _require_mono(wav, 1)
        if not self.normalise:
            return wav.float()
        wide = _wide(wav)  # a float32 sum over 30 s is off in its fifth digit
        return ((wide - wide.mean()) / (wide.var(correction=0) + 1e-7).sqrt()).float().to(wav.device)

    def lengths(self, samples: torch.Tensor) -> torch.Tensor:
        """Lengths of the features of waveforms of `samples`: the same."""
        return samples


class FilterBank:
    """Kaldi's log-mel filter bank as w2v-BERT takes it: 80 bands, normalised, two frames of 10 ms side by side.

    log(max(M |FFT(w . x)|^2, 2^-23)) of 25 ms windows (Povey's w; mean removed, pre-emphasis 0.97, samples scaled by
    2^15), then (f - mean) / sqrt(var + 1e-7) of each band over the utterance, with the sample's variance (n - 1).

    SeamlessM4TFeatureExtractor is the reference, and gives the window and the filters; its numpy loop over frames is
    what this replaces (2e-6 away on recorded speech). torchaudio.compliance.kaldi.fbank is 2e-4 away on noise and 0.7
    on a sine, whose weak bands drown in float32. An odd last frame counts for mean and variance and is then dropped:
    transformers pads it to a pair and masks the pair.

    Parameters
    ----------
    extractor : SeamlessM4TFeatureExtractor
    """

    input_name = "input_features"
    longest = math.inf
    masked = True
    WINDOW, HOP, FFT, PREEMPHASIS = 400, 160, 512, 0.97  # constants of SeamlessM4TFeatureExtractor, not settings

    def __init__(self, extractor: SeamlessM4TFeatureExtractor):
        self.extractor = extractor
        self.stride = extractor.stride
        self.window = torch.from_numpy(extractor.window).double()  # (400,)
        self.filters = torch.from_numpy(extractor.mel_filters).double()  # (257, 80)
        self.shortest = self.WINDOW + (self.stride - 1) * self.HOP

    @torch.no_grad()
    def __call__(self, wav: torch.Tensor) -> torch.Tensor:
        """(S,) -> (T, 160) float32, T = floor((1 + floor((S - 400) / 160)) / 2): 50 frames a second.

        Raises
        ------
        ValueError
            For anything but one channel with at least 560 samples, which make one pair of frames.
        """
        _require_mono(wav, self.shortest)
        wide = _wide(wav) * 2**15  # float64 to the end, for the weak bands
        window, filters = self.window.to(wide.device), self.filters.to(wide.device)
        emphasised = wide.clone()
        emphasised[1:] -= self.PREEMPHASIS * wide[:-1]
        frames = wide.unfold(0, self.WINDOW, self.HOP)  # (N, 400), a view
        # Kaldi removes each frame's mean m first: (x_i - m) - a (x_(i-1) - m) = (x_i - a x_(i-1)) - (1 - a) m. So
        # pre-emphasis is done on the waveform, and three arrays of frames are never made (they took half the time). A
        # frame's first sample, which has none before it, has no weight: Povey's window begins with 0.
        offset = (1 - self.PREEMPHASIS) * frames.mean(dim=1, keepdim=True)  # (N, 1)
        windowed = (emphasised.unfold(0, self.WINDOW, self.HOP) - offset) * window
        spectrum = torch.fft.rfft(windowed, n=self.FFT)  # (N, 257)
        power = spectrum.real.square() + spectrum.imag.square()
        log_mel = (power @ filters).clamp(min=2**-23).log()  # (N, 80)
        log_mel = (log_mel - log_mel.mean(dim=0)) / (log_mel.var(dim=0, correction=1) + 1e-7).sqrt()
        pairs = log_mel.shape[0] // self.stride
        return log_mel[: pairs * self.stride].reshape(pairs, -1).float().to(wav.device)  # (N, 80) -> (T, 160)

    def lengths(self, samples: torch.Tensor) -> torch.Tensor:
        """Lengths T of the features of waveforms of `samples`."""
        return (1 + (samples - self.WINDOW) // self.HOP) // self.stride


class WhisperFrames:
    """Whisper's log-mel frames of the clip alone, without the silence that fills its window.

    Parameters
    ----------
    extractor : WhisperFeatureExtractor
    """

    input_name = "input_features"
    shortest = 400
    masked = True

    def __init__(self, extractor: WhisperFeatureExtractor):
        self.extractor = extractor
        self.log_mel = LogMel(extractor.feature_size, extractor.nb_max_frames)
        self.longest = self.log_mel.samples

    def __call__(self, wav: torch.Tensor) -> torch.Tensor:
        """(S,) -> (F, n_mels) float32, F = ceil(S / 160): 100 frames a second.

        Raises
        ------
        ValueError
            For anything but one channel with at least 400 samples, and for more than the window holds.
        """
        _require_mono(wav, self.shortest)
        samples = torch.tensor([len(wav)], device=wav.device)
        if len(wav) > self.log_mel.samples:
            raise ValueError(
                f"wav: {len(wav)} samples; Whisper's window holds {self.log_mel.samples}: lower max_seconds, so that "
                "longer clips are left out when the corpus is prepared"
            )
        return self.log_mel.to(wav.device)(wav[None], samples)[0, :, : int(self.lengths(samples))].T

    def lengths(self, samples: torch.Tensor) -> torch.Tensor:
        """Frames F of waveforms of `samples`."""
        return (samples + LogMel.HOP - 1) // LogMel.HOP


def features_of(source: str | Path | FeatureExtractionMixin) -> Waveform | FilterBank | WhisperFrames:
    """The features that a checkpoint was trained with, by its preprocessor_config.json.

    Parameters
    ----------
    source : str, Path or feature extractor
        Hub name or folder, or the extractor itself.

    Raises
    ------
    FileNotFoundError
        When a folder holds no preprocessor_config.json.
    ValueError
        For other extractors and other rates than 16 kHz.
    """
    if not isinstance(source, FeatureExtractionMixin):
        require_ctc(str(source))
        require_source(str(source), "preprocessor_config.json")
        source = AutoFeatureExtractor.from_pretrained(str(source))
    kinds = {
        Wav2Vec2FeatureExtractor: Waveform,
        SeamlessM4TFeatureExtractor: FilterBank,
        WhisperFeatureExtractor: WhisperFrames,
    }
    kind = kinds.get(type(source))
    if kind is None:
        raise ValueError(
            f"model: its feature extractor is a {type(source).__name__}; CTC takes "
            f"{' or '.join(known.__name__ for known in kinds)}: give a wav2vec2, HuBERT, WavLM, w2v-BERT or Whisper "
            "checkpoint"
        )
    if source.sampling_rate != SAMPLE_RATE:
        raise ValueError(f"model: it hears {source.sampling_rate} Hz, and corpora are read at {SAMPLE_RATE} Hz")
    return kind(source)


def _wide(wav: torch.Tensor) -> torch.Tensor:
    """The waveform in float64, where it is; from Apple's MPS, which has no float64, on the CPU."""
    return (wav.cpu() if wav.device.type == "mps" else wav).double()


def _require_mono(wav: torch.Tensor, shortest: int) -> None:
    if wav.dim() != 1 or wav.shape[0] < shortest:
        raise ValueError(
            f"wav: shape {tuple(wav.shape)}; features are of one channel with at least {shortest} samples: leave "
            "shorter clips out when the corpus is prepared"
        )
