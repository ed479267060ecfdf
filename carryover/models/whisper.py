"""Whisper as transformers has it: loading and freezing, the pinned prompt, log-mel that ignores batch-mates."""

import copy

import torch
from transformers import WhisperConfig, WhisperFeatureExtractor, WhisperForConditionalGeneration
from transformers.modeling_outputs import BaseModelOutput

from carryover.models import gradient_checkpointing as checkpointing
from carryover.models import whisper_encoder
from carryover.models.attention import choose as choose_attention
from carryover.models.frozen import Kept
from carryover.models.kinds import require_whisper
from carryover.models.lora import LoRA, NoLoRA
from carryover.models.pretrained import load_whole
from carryover.models.trained import Parts, set_trained
from carryover.models.whisper_check import drop_decoding, require_bands, say_missing
from carryover.models.whisper_tokenizer import Tokenizer


def load(
    source: str,
    from_scratch: bool = False,
    train: str = "all",
    dropout: float = 0.0,
    attention_dropout: float = 0.0,
    activation_dropout: float = 0.0,
    encoder_layerdrop: float = 0.0,
    decoder_layerdrop: float = 0.0,
    lora: LoRA | NoLoRA | None = None,
    kept: Kept | None = None,
    gradient_checkpointing: bool = False,
    attention: str | None = None,
) -> WhisperForConditionalGeneration:
    """A Whisper from a hub name or a folder, with the parts that stay as they are frozen.

    Parameters
    ----------
    source : str
        E.g. "openai/whisper-small", or a folder with config.json (and model.safetensors, unless `from_scratch`).
    from_scratch : bool
        Random weights in the source's shape.
    train : str
        As `carryover.models.trained.set_trained`: all, decoder, encoder, encoder_top_4, ...
    dropout, attention_dropout, activation_dropout, encoder_layerdrop, decoder_layerdrop : float
        Probabilities; they replace the source's own.
    lora : LoRA or NoLoRA, optional
        Adapters in the model, trained by `train: lora`.
    kept : Kept, optional
        Where the states of the encoder's frozen layers are kept.
    gradient_checkpointing : bool
        As `carryover.models.gradient_checkpointing`: less memory, more time, the same losses.
    attention : str, optional
        As `carryover.models.attention`: eager, sdpa or flash_attention_2; None: as transformers chooses.

    Raises
    ------
    FileNotFoundError
        When `source` is neither a folder with a model nor a name that the hub answers.
    ValueError
        For another kind of model, weights that are not whole (see `pretrained.load_whole`), and a `train` or
        `attention` that this model cannot satisfy.
    """
    regularisation = {
        "dropout": dropout,
        "attention_dropout": attention_dropout,
        "activation_dropout": activation_dropout,
        "encoder_layerdrop": encoder_layerdrop,
        "decoder_layerdrop": decoder_layerdrop,
    }
    require_whisper(source)
    config = WhisperConfig.from_pretrained(source, **regularisation)
    choose_attention(config, attention, WhisperForConditionalGeneration)
    if from_scratch:
        model = WhisperForConditionalGeneration(config)
    else:
        model, _ = load_whole(WhisperForConditionalGeneration, source, config=config, dtype=torch.float32)
    require_bands(source, model.config.num_mel_bins)
    if not from_scratch:
        say_missing(source)
    # SpecAugment of transformers would act on top of the YAML's augmentation, unseen.
    model.config.apply_spec_augment = False
    model.model.encoder.embed_positions.requires_grad_(False)  # sinusoids: from_pretrained forgets that they are fixed
    (lora or NoLoRA()).add(model)
    set_trained(parts(model), train)
    if gradient_checkpointing:
        checkpointing.enable(model)
    whisper_encoder.keep(model.model.encoder, kept or Kept())
    return model


def parts(model: WhisperForConditionalGeneration) -> Parts:
    """Stem, encoder and decoder; the output layer shares its weights with the decoder's embeddings."""
    encoder = model.model.encoder
    named = {
        "stem": [encoder.conv1, encoder.conv2, encoder.embed_positions],
        "encoder": [*encoder.layers, encoder.layer_norm],
        "decoder": [model.model.decoder, model.proj_out],
    }
    return Parts(named, encoder.layers)


def set_generation_ids(model: WhisperForConditionalGeneration, tokenizer: Tokenizer) -> None:
    """Write the ids of languages, tasks and <|notimestamps|> into the model's generation settings, from the tokenizer,
    and leave out how somebody else decoded.

    Many fine-tuned checkpoints lack them and then decode without a prompt; an export carries them to the pipeline.
    """
    config = model.generation_config
    drop_decoding(config)
    # private, for want of a public way: else transformers makes it anew from config.json and forgets what is set here
    config._from_model_config = False
    config.is_multilingual = True
    config.lang_to_id = {f"<|{code}|>": tokenizer.vocabulary[f"<|{code}|>"] for code in tokenizer.languages}
    config.task_to_id = {task: tokenizer.vocabulary[f"<|{task}|>"] for task in ("transcribe", "translate")}
    config.no_timestamps_token_id = tokenizer.vocabulary["<|notimestamps|>"]
    config.prev_sot_token_id = tokenizer.vocabulary["<|startofprev|>"]
    config.decoder_start_token_id = tokenizer.vocabulary["<|startoftranscript|>"]
    config.eos_token_id = config.pad_token_id = config.bos_token_id = tokenizer.eot
    config.forced_decoder_ids = None
    config.return_timestamps = False


def generate(
    model: WhisperForConditionalGeneration,
    tokenizer: Tokenizer,
    encoder_states: torch.Tensor,
    languages: list[str],
    max_new_tokens: int,
    beams: int = 1,
    before: list[int] | None = None,
) -> list[list[int]]:
    """Decode with transformers' own generate, greedy or beam, from encoder states that are there already.

    Parameters
    ----------
    encoder_states : torch.Tensor
        (B, P, D) of `model.model.encoder`.
    languages : list of str
        One language a clip: the prompt of each.
    max_new_tokens : int
        Limit of tokens after the prompt; prompt and text fit into the decoder's positions by the YAML's check.
    beams : int
        1 for greedy.
    before : list of int, optional
        `Tokenizer.before`: what comes before each prompt.

    Returns
    -------
    ids : list of B lists
        Ids with what came before, prompt, end and padding; `Tokenizer.decode` leaves these out.
    """
    config = copy.deepcopy(model.generation_config)
    before = before or []
    config.max_length = tokenizer.prompt_length + max_new_tokens  # generate adds what comes before it
    config.num_beams, config.do_sample = beams, False
    prompted = {"prompt_ids": torch.tensor(before, device=encoder_states.device)} if before else {}
    ids = model.generate(
        encoder_outputs=BaseModelOutput(encoder_states),
        generation_config=config,
        language=[tokenizer.code(language) for language in languages],
        task=tokenizer.task,
        **prompted,
    )
    return ids.tolist()


@torch.no_grad()
def language_log_probs(
    model: WhisperForConditionalGeneration, tokenizer: Tokenizer, encoder_states: torch.Tensor
) -> torch.Tensor:
    """(B, L) log-probabilities of `tokenizer.languages` after <|startoftranscript|>, of encoder states (B, P, D)."""
    start = torch.full((len(encoder_states), 1), tokenizer.vocabulary["<|startoftranscript|>"])
    hidden = model.model.decoder(input_ids=start.to(encoder_states.device), encoder_hidden_states=encoder_states)
    ids = [tokenizer.vocabulary[f"<|{code}|>"] for code in tokenizer.languages]
    return model.proj_out(hidden.last_hidden_state[:, -1]).float()[:, ids].log_softmax(dim=-1)


@torch.no_grad()
def sample(
    model: WhisperForConditionalGeneration,
    encoder_states: torch.Tensor,
    prompt: list[int],
    end: int,
    max_new_tokens: int,
    generator: torch.Generator,
) -> list[int]:
    """Draw y from p(y | audio) of one clip, token by token (ancestral sampling), nothing suppressed.

    Parameters
    ----------
    encoder_states : torch.Tensor
        (1, P, D).
    prompt : list of int
        Ids that come first.
    end : int
        Id of the end token.
    max_new_tokens : int
        Tokens after the prompt, the end among them; the last one is made the end.
    generator : torch.Generator
        On the device of the states.

    Returns
    -------
    ids : list of int
        Prompt, text, end.
    """
    ids, cache = list(prompt), None
    step = torch.tensor([prompt], device=encoder_states.device)
    while len(ids) < len(prompt) + max_new_tokens - 1 and ids[-1] != end:
        out = model.model.decoder(
            input_ids=step, encoder_hidden_states=encoder_states, past_key_values=cache, use_cache=True
        )
        cache = out.past_key_values
        probs = model.proj_out(out.last_hidden_state[:, -1]).float().softmax(dim=-1)  # (1, V)
        step = torch.multinomial(probs, 1, generator=generator)  # (1, 1)
        ids.append(step.item())
    return ids if ids[-1] == end else [*ids, end]


class LogMel(torch.nn.Module):
    """Whisper's log-mel spectrogram, each utterance by itself, in float32.

    S = log10(max(M |STFT(x)|^2, 1e-10));  (max(S, max S - 8) + 4) / 4, with the maximum over one utterance.
    SpeechBrain takes the maximum over the batch, and under fp16 autocast its mel product is off by 0.42 for quiet
    clips; transformers' WhisperFeatureExtractor is the reference (equal to 1e-5 by test).

    Parameters
    ----------
    n_mels : int
        80, or 128 for large-v3 and turbo: the model's `config.num_mel_bins`.
    n_frames : int
        Frames of the window: twice the model's `config.max_source_positions` (3000 for 30 s).
    """

    SAMPLE_RATE, N_FFT, HOP = 16000, 400, 160

    def __init__(self, n_mels: int, n_frames: int):
        super().__init__()
        self.samples = n_frames * self.HOP
        self.extractor = WhisperFeatureExtractor(feature_size=n_mels, chunk_length=self.samples // self.SAMPLE_RATE)
        self.register_buffer(
            "filters", torch.tensor(self.extractor.mel_filters.T, dtype=torch.float32), persistent=False
        )
        self.register_buffer("hann", torch.hann_window(self.N_FFT), persistent=False)

    @classmethod
    def of(cls, model: WhisperForConditionalGeneration) -> "LogMel":
        """The features that a model wants: its mel bands and its window."""
        strides = model.model.encoder.conv1.stride[0] * model.model.encoder.conv2.stride[0]
        return cls(model.config.num_mel_bins, model.config.max_source_positions * strides)

    @property
    def seconds(self) -> float:
        """Length of the window."""
        return self.samples / self.SAMPLE_RATE

    @torch.no_grad()
    def forward(self, wavs: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """(B, S) waveforms, (B,) lengths in samples -> (B, n_mels, n_frames); past its length a clip is silent.

        One clip at a time: with its batch-mates' length the last bits would change, and kept states be not found.
        """
        with torch.autocast(wavs.device.type, enabled=False):
            clips = zip(wavs.float(), lengths.tolist(), strict=True)
            return torch.stack([self.of_clip(wav[: min(n, self.samples)]) for wav, n in clips])

    def of_clip(self, wav: torch.Tensor) -> torch.Tensor:
        """(S,) -> (n_mels, n_frames)."""
        # silence needs no Fourier transform: short clips in a long window are 2 to 4 times cheaper, and equal
        heard = min(self.samples, (-(-len(wav) // self.HOP) + self.N_FFT // self.HOP * 2) * self.HOP)
        wav = torch.nn.functional.pad(wav, (0, heard - len(wav)))
        stft = torch.stft(wav, self.N_FFT, self.HOP, window=self.hann, return_complex=True)
        power = (stft[..., :-1].abs() ** 2).contiguous()  # (201, T)
        log_mel = torch.clamp(self.filters @ power, min=1e-10).log10()  # (n_mels, T)
        log_mel = torch.nn.functional.pad(log_mel, (0, self.samples // self.HOP - log_mel.shape[-1]), value=-10.0)
        log_mel = torch.maximum(log_mel, log_mel.amax() - 8.0)
        return (log_mel + 4.0) / 4.0
