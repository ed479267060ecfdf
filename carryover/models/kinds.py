"""What kind of model lies at a source, by its config.json, and which kinds each key of a YAML takes.

It is asked first of all, by each object that reads of a source: what a folder lacks says nothing before it is known to
be the right model's.
"""

from transformers import PretrainedConfig
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES, MODEL_FOR_MASKED_LM_MAPPING_NAMES

from carryover.data.source import loading, require_source

# of `model_type` in config.json
SPEECH_ENCODERS = ("wav2vec2", "hubert", "wavlm", "wav2vec2-bert")
WITH_WHISPER = ("whisper", *SPEECH_ENCODERS)


def require_whisper(source: str) -> dict:
    """-> config.json of a whole Whisper; ValueError naming what is there for anything else, FileNotFoundError for
    nothing."""
    return _require(source, "model", ("whisper",), "a Whisper, such as openai/whisper-small")


def require_ctc(source: str) -> dict:
    """The same of an encoder that gets a head for CTC."""
    return _require(source, "model", WITH_WHISPER, "a wav2vec2, HuBERT, WavLM, w2v-BERT or Whisper")


def require_encoder(source: str, revision: str | None = None) -> dict:
    """The same of a speech LLM's audio encoder."""
    return _require(source, "encoder", WITH_WHISPER, "a Whisper, wav2vec2, HuBERT, WavLM or w2v-BERT", revision)


def require_language_model(source: str, revision: str | None = None) -> dict:
    """The same of a causal language model: a decoder of text alone.

    A model that was made to fill gaps (BERT) reads what stands behind a word, too: taught to write, it would be shown
    the answer.
    """
    give = "a causal language model, such as SmolLM, Qwen, Llama or Gemma"
    config = _config(source, revision)
    kind = config.get("model_type")
    if not is_language_model(config):
        raise ValueError(f"language_model: {source} is {_told(kind)}; expected {give}")
    return config


def is_language_model(config: dict) -> bool:
    """Whether a config.json is a causal language model's."""
    kind = config.get("model_type")
    reads_ahead = kind in MODEL_FOR_MASKED_LM_MAPPING_NAMES and not config.get("is_decoder")
    return (
        kind in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
        and kind not in WITH_WHISPER
        and not config.get("is_encoder_decoder")
        and not reads_ahead
    )


def _config(source: str, revision: str | None = None) -> dict:
    require_source(source)
    with loading(source, revision):
        config, _ = PretrainedConfig.get_config_dict(source, revision=revision)
    return config


def _require(source: str, key: str, wanted: tuple[str, ...], give: str, revision: str | None = None) -> dict:
    config = _config(source, revision)
    if (kind := config.get("model_type")) not in wanted:
        belongs = " (a model of text is for language_model: hparams/speech_llm_*.yaml)" * is_language_model(config)
        belongs = belongs or " (which hparams/ctc_real.yaml takes)" * (kind in SPEECH_ENCODERS)
        raise ValueError(f"{key}: {source} is {_told(kind)}{belongs}; expected {give}")
    return config


def _told(kind: str | None) -> str:
    if kind is None:
        return "no model of transformers: its config.json names no model_type"
    return f"a model of type {kind!r}"
