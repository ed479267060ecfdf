"""wav2vec2, HuBERT, WavLM, w2v-BERT and Whisper's encoder, with a CTC head that can grow by new symbols."""

import torch
from transformers import MODEL_FOR_CTC_MAPPING, AutoConfig, AutoModelForCTC

from carryover.models import gradient_checkpointing as checkpointing
from carryover.models.attention import choose as choose_attention
from carryover.models.ctc_head import grow_head, old_symbols, report, require_symbols
from carryover.models.frozen import Frozen, Kept, settings_of
from carryover.models.kinds import require_ctc
from carryover.models.lora import LoRA, NoLoRA
from carryover.models.pretrained import PRETRAINING, load_whole
from carryover.models.trained import Parts, set_trained
from carryover.models.whisper_check import require_bands
from carryover.models.whisper_ctc import WhisperForCTC
from carryover.text import Characters, Pieces

# the names that these four families give to the probabilities of the YAML
DROPOUTS = ("hidden_dropout", "activation_dropout", "feat_proj_dropout", "final_dropout", "conformer_conv_dropout")
NAMES = ("wav2vec2", "hubert", "wavlm", "wav2vec2_bert")  # before the tensors of each family


class CTCModel(torch.nn.Module):
    """A CTC model of transformers behind one face, whatever it takes for input.

    Parameters
    ----------
    hf : PreTrainedModel
        Of `AutoModelForCTC`.
    new_units : list of int
        Units that the carried-over model did not have.
    masked : bool
        Whether it takes a mask over the padding: models whose first layer normalises over time (wav2vec2-base) were
        trained without one, and hear their padding.
    kept : Kept, optional
        Where the states of frozen convolutions are kept, or with `train: head` those of all that is below the head;
        not those of a model that hears its padding, which are others in every batch.
    head_adapted : bool
        Whether it has adapters, and its head belongs to them.
    base_head : torch.nn.Linear, optional
        Then the head that the base came with, as it was; None where it came without.
    """

    def __init__(
        self,
        hf,
        new_units: list[int],
        masked: bool = True,
        kept: Kept | None = None,
        head_adapted: bool = False,
        base_head: torch.nn.Linear | None = None,
    ):
        super().__init__()
        self.head_adapted = head_adapted
        self.hf, self.new_units, self.masked = hf, new_units, masked
        self.base_head = None if base_head is None else base_head.requires_grad_(False)
        kept = kept or Kept()
        self.below_head = Frozen(self, self.states, lambda: self.frozen("lm_head", "dropout"), self.settings, kept)
        self.stem = Frozen(self, self.stem_states, self.frozen_stem, self.settings, kept)

    def forward(self, inputs: torch.Tensor, lengths: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """-> logits (B, T, V), frames (B,).

        Parameters
        ----------
        inputs : torch.Tensor
            (B, S) waveforms or (B, F, 160) filter banks, padded.
        lengths : torch.Tensor
            (B,) of each utterance in samples or filter-bank frames.
        """
        mask = self.mask(inputs, lengths)
        if self.below_head.used:
            hidden, _ = self.below_head(inputs, lengths)
            return self.hf.lm_head(self.hf.dropout(hidden)), self.frames(lengths)
        if self.stem.used:
            inputs, _ = self.stem(inputs, lengths)  # (B, T, C), which the stem of `load` hands on
        # inputs by position: the argument's name differs between families
        return self.hf(inputs, attention_mask=mask).logits, self.frames(lengths)

    def mask(self, inputs: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor | None:
        """(B, S) 1 where an input is no padding; None for a model that hears its padding."""
        heard = torch.arange(inputs.shape[1], device=inputs.device) < lengths[:, None]
        return heard.long() if self.masked else None

    def states(self, inputs: torch.Tensor, lengths: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """What the head is given, (B, T, D), and frames (B,)."""
        below = self.hf.hidden if isinstance(self.hf, WhisperForCTC) else self.hf.base_model
        return below(inputs, attention_mask=self.mask(inputs, lengths)).last_hidden_state, self.frames(lengths)

    def stem_states(self, inputs: torch.Tensor, lengths: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """What the convolutions over a single waveform (1, S) give, (1, T, C), and T."""
        found = self.hf.base_model.feature_extractor(inputs).transpose(1, 2)
        return found, torch.full((len(found),), found.shape[1])

    def frozen(self, *but: str) -> list[torch.nn.Module]:
        """The parts of `hf` but some, where all of them are frozen."""
        found = [module for name, module in self.hf.named_children() if name not in but]
        trained = any(p.requires_grad for module in found for p in module.parameters())
        return found if self.masked and not trained else []

    def frozen_stem(self) -> list[torch.nn.Module]:
        """The convolutions, where they are frozen; w2v-BERT and Whisper have none that are worth it."""
        stem = getattr(self.hf.base_model, "feature_extractor", None)
        return [stem] if isinstance(stem, Stem) and self.masked and not stem._requires_grad else []

    def settings(self) -> dict:
        """What decides the states besides the weights."""
        return settings_of(self.hf.config)

    def frames(self, lengths: torch.Tensor) -> torch.Tensor:
        """Output frames of inputs of these lengths."""
        if self.hf.config.model_type == "wav2vec2-bert" and not self.hf.config.add_adapter:
            return lengths
        # private, but the only place where transformers says what strides and adapter make of a length
        return self.hf._get_feat_extract_output_lengths(lengths).long()

    def new_parameters(self) -> dict[str, torch.Tensor | None]:
        """Rows of the head that belong to new units, by parameter name."""
        if not self.new_units:
            return {}
        rows = torch.tensor(self.new_units)
        every = len(self.new_units) == self.hf.config.vocab_size  # a head that the old model did not have at all
        return {f"hf.lm_head.{name}": None if every else rows for name, _ in self.hf.lm_head.named_parameters()}


def load(
    source: str,
    tokenizer,
    masked: bool = True,
    from_scratch: bool = False,
    train: str = "all_but_stem",
    dropout: float = 0.0,
    attention_dropout: float = 0.0,
    layerdrop: float = 0.0,
    mask_time_prob: float = 0.0,
    mask_time_length: int = 10,
    mask_feature_prob: float = 0.0,
    mask_feature_length: int = 10,
    lora: LoRA | NoLoRA | None = None,
    kept: Kept | None = None,
    gradient_checkpointing: bool = False,
    attention: str | None = None,
) -> CTCModel:
    """A CTC model from a hub name or a folder; its head's rows are carried over by symbol, new symbols get new rows.

    Parameters
    ----------
    source : str
        E.g. "facebook/wav2vec2-large-xlsr-53", or a folder with config.json (and weights, unless `from_scratch`).
    tokenizer : carryover.text.Characters or Pieces
        The new model's symbols: the old ones first, at their old places.
    masked : bool
        `carryover.models.features`' word for whether it takes an attention mask.
    from_scratch : bool
        Random weights in the source's shape.
    train : str
        As `carryover.models.trained.set_trained`: all, head, encoder_top_4, ...; all_but_stem keeps the convolutions
        over the waveform as they are (w2v-BERT has none, which is no error).
    dropout, attention_dropout, layerdrop : float
        Probabilities; they replace the source's own. `dropout` is that of hidden states, activations, projections.
    mask_time_prob, mask_time_length, mask_feature_prob, mask_feature_length : float, int
        SpecAugment inside the model: share of frames (channels) that are masked, and the length of a mask.
    lora : LoRA or NoLoRA, optional
        Adapters in the encoder: they are trained, with the head, and the rest is frozen.
    kept : Kept, optional
        Where the states of frozen parts are kept.
    gradient_checkpointing : bool
        As `carryover.models.gradient_checkpointing`: less memory, more time, the same losses.
    attention : str, optional
        As `carryover.models.attention`: eager, sdpa or flash_attention_2; None: as transformers chooses.

    Raises
    ------
    FileNotFoundError
        When `source` is neither a folder with a model nor a name that the hub answers.
    ValueError
        When the model has units that the tokenizer lacks, or has at other places, or that nothing names; for a `train`
        or `attention` that this model cannot satisfy; for adapters without the head where symbols are new.
    """
    require_ctc(source)
    config = AutoConfig.from_pretrained(source)
    whisper = config.model_type == "whisper"
    kind = WhisperForCTC if whisper else AutoModelForCTC
    choose_attention(config, attention, WhisperForCTC if whisper else MODEL_FOR_CTC_MAPPING[type(config)])
    if whisper:
        if mask_time_prob or mask_feature_prob:
            raise ValueError(
                "mask_time_prob, mask_feature_prob: a Whisper masks nothing inside; give 0 for both, and augment by "
                "augment_prob"
            )
        require_bands(source, config.num_mel_bins)
        config.dropout, config.encoder_layerdrop, config.initializer_range = dropout, layerdrop, config.init_std
    size = len(tokenizer.symbols)
    # null where the model was only pre-trained on audio (w2v-bert-2.0), of which transformers makes no head
    config.vocab_size = old_size = config.vocab_size or size
    for name in DROPOUTS:
        if hasattr(config, name):  # the families do not all have all of them
            setattr(config, name, dropout)
    config.attention_dropout, config.layerdrop = attention_dropout, layerdrop
    config.apply_spec_augment = mask_time_prob > 0 or mask_feature_prob > 0
    config.mask_time_prob, config.mask_time_length = mask_time_prob, mask_time_length
    config.mask_feature_prob, config.mask_feature_length = mask_feature_prob, mask_feature_length
    config.ctc_zero_infinity = False
    if from_scratch:
        config.vocab_size, config.pad_token_id = size, tokenizer.blank
        model, carried, base_head = (kind(config) if whisper else kind.from_config(config)), 0, None
        print(f"{source}: random weights, {size} symbols")
    else:
        # a vector that a model has where frames are masked; without its family's name in a model without a head
        learned = ["masked_spec_embed", *(f"{name}.masked_spec_embed" for name in NAMES)]
        dropped = ("model.decoder.", "proj_out.") if whisper else (*PRETRAINING, *learned)
        model, info = load_whole(kind, source, ("lm_head.", *learned), dropped, config=config, dtype=torch.float32)
        headless = any(key.startswith("lm_head") for key in info["missing_keys"])
        carried = 0 if headless else old_size
        if size < carried:
            raise ValueError(
                f"alphabet: {size} symbols, but {source} writes {carried}; a vocabulary that shrinks would forget "
                "them: let the new alphabet hold all old symbols"
            )
        if carried:
            require_symbols(source, tokenizer, carried)
        base_head = model.lm_head if carried else None
        grow_head(model, size, carried)
        model.config.vocab_size, model.config.pad_token_id = size, tokenizer.blank
        print(report(source, tokenizer, carried, info))
    if whisper:
        model.encoder.embed_positions.requires_grad_(False)  # sinusoids: fixed in every Whisper
    adapted = adapt(model, lora or NoLoRA(), size - carried if not from_scratch else 0)
    found = parts(model)
    set_trained(found, train)
    if found.named["stem"] and not any(p.requires_grad for p in found.named["stem"][0].parameters()):
        model.freeze_feature_encoder()  # else it would still compute the gradient of what it hears
    if gradient_checkpointing:
        checkpointing.enable(model)
    for stem in found.named["stem"] if not whisper else []:
        stem.__class__ = type(f"Kept{type(stem).__name__}", (Stem, type(stem)), {})  # names of its weights stay
    new_units = [] if from_scratch else list(range(carried, size))
    return CTCModel(model, new_units, masked, kept, adapted, base_head if adapted else None)


def adapt(model, lora: LoRA | NoLoRA, new: int) -> bool:
    """Put adapters into a model of `AutoModelForCTC`; -> whether its head is trained with them.

    Parameters
    ----------
    new : int
        How many of its symbols the head has no trained rows for.
    """
    if not len(lora.add(model)):
        return False
    if not lora.head and new:
        raise ValueError(f"lora: head: False, but {new} symbols are new; leave the key head out, or keep the alphabet")
    model.lm_head.requires_grad_(lora.head)
    return lora.head


class Stem:
    """Added to the convolutions of a model of transformers, so that what they gave before can be put in their place."""

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """(B, S) waveforms, or (B, T, C) what they gave -> (B, C, T)."""
        return inputs.transpose(1, 2) if inputs.ndim == 3 else super().forward(inputs)


def parts(model) -> Parts:
    """Stem (convolutions over the waveform, none in w2v-BERT), encoder and head of a model of `AutoModelForCTC`."""
    if isinstance(model, WhisperForCTC):
        whisper = model.encoder
        stem, encoder = [whisper.conv1, whisper.conv2, whisper.embed_positions], [*whisper.layers, whisper.layer_norm]
        return Parts({"stem": stem, "encoder": encoder, "head": [model.lm_head]}, whisper.layers)
    base = model.base_model
    stem = [module for name, module in base.named_children() if name == "feature_extractor"]
    single = [p for _, p in base.named_parameters(recurse=False)]  # the vector of masked frames
    inside = dict(base.encoder.named_children())
    layers = inside.pop("layers")
    # the norm stands behind the layers where each normalises what it reads
    behind = ["layer_norm"] if getattr(model.config, "do_stable_layer_norm", False) else []
    before = [module for name, module in inside.items() if name not in behind]
    after = [inside[name] for name in behind]
    rest = {n: m for n, m in base.named_children() if n not in ("feature_extractor", "feature_projection", "encoder")}
    encoder = [base.feature_projection, *single, *before, *layers, *after, *rest.values()]
    return Parts({"stem": stem, "encoder": encoder, "head": [model.lm_head]}, layers)


def tokenizer(source: str, alphabet: str, from_scratch: bool = False) -> Characters | Pieces:
    """The symbols to write: those of the model that is carried over, at their places, then what the alphabet adds.

    Raises
    ------
    ValueError
        When the alphabet lacks symbols of the old model (see Characters.grow), or adds some to SentencePiece's pieces.
    """
    require_ctc(source)
    old = None if from_scratch else old_symbols(source)
    if old is None:
        return Characters(alphabet)
    if isinstance(old, Characters):
        return old.grow(alphabet)
    if new := old.unknown(alphabet):
        raise ValueError(
            f"alphabet: no piece of {old.model_file} has {' '.join(sorted(new))}, and a trained model gets no new "
            "pieces; train them on the texts of both languages, or leave these characters out"
        )
    return old
