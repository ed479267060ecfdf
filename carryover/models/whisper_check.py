"""What lies beside Whisper's weights against the weights: tokenizer and mel bands of the same model."""

import json
from pathlib import Path

from transformers import GenerationConfig, WhisperForConditionalGeneration

ENGLISH_ONLY = 51864  # units of all .en models
# Of generation settings those that change a greedy or beam search and are no key of a YAML.
OF_DECODING = (
    "bad_words_ids", "constraints", "diversity_penalty", "early_stopping", "encoder_no_repeat_ngram_size",
    "encoder_repetition_penalty", "exponential_decay_length_penalty", "force_words_ids", "forced_bos_token_id",
    "forced_eos_token_id", "guidance_scale", "length_penalty", "max_new_tokens", "max_time", "min_length",
    "min_new_tokens", "no_repeat_ngram_size", "num_beam_groups", "num_return_sequences", "penalty_alpha",
    "prompt_lookup_num_tokens", "repetition_penalty", "sequence_bias", "stop_strings", "watermarking_config",
)  # fmt: skip
NEUTRAL = (None, False, 0, 1, [])


def require_fitting(model: WhisperForConditionalGeneration, tokenizer, source: str = "") -> None:
    """Raise ValueError where a tokenizer numbers its tokens otherwise than the model, or knows English alone.

    Up to large-v2 Whisper has 51 865 units, from large-v3 on 51 866: <|yue|> moved all that stand behind it.

    Parameters
    ----------
    tokenizer : carryover.models.whisper.Tokenizer
    source : str
        Of the tokenizer, for the message.
    """
    source = source or tokenizer.source
    config, generation = model.config, model.generation_config
    if getattr(generation, "is_multilingual", None) is False or config.vocab_size == ENGLISH_ONLY:
        raise ValueError(
            f"model: {source} is an English-only Whisper (.en), which has no prompt for a language; give the "
            "multilingual one of its size, e.g. openai/whisper-small instead of openai/whisper-small.en"
        )
    differ, units = [], max(tokenizer.vocabulary.values()) + 1
    if units != config.vocab_size:
        differ.append(f"{units} units for {config.vocab_size}")
    wanted = {
        "<|startoftranscript|>": config.decoder_start_token_id,
        "<|endoftext|>": config.eos_token_id,
        "<|notimestamps|>": getattr(generation, "no_timestamps_token_id", None),
        **(getattr(generation, "lang_to_id", None) or {}),
        **{f"<|{task}|>": n for task, n in (getattr(generation, "task_to_id", None) or {}).items()},
    }
    for token, there in wanted.items():
        if there is not None and tokenizer.vocabulary.get(token) != there:
            differ.append(f"{token} {tokenizer.vocabulary.get(token, 'not there')} for {there}")
    if differ:
        raise ValueError(
            f"tokenizer: that of {source} does not belong to its weights: {', '.join(differ[:4])} (tokenizer, model); "
            "copy tokenizer.json, tokenizer_config.json and generation_config.json of the model that it was fine-tuned "
            "from (large-v3 and turbo are numbered otherwise than the others)"
        )


def require_bands(source: str, bands: int) -> None:
    """Raise ValueError where a folder's preprocessor_config.json makes other mel bands than the model takes."""
    file = Path(source) / "preprocessor_config.json"
    said = json.loads(file.read_text(encoding="utf-8")).get("feature_size", bands) if file.exists() else bands
    if said != bands:
        raise ValueError(
            f"model: {file} makes {said} mel bands, and the model takes {bands} (config.json: num_mel_bins); give the "
            "preprocessor_config.json of the model that it was fine-tuned from (80 bands; large-v3 and turbo: 128)"
        )


def drop_decoding(config: GenerationConfig) -> None:
    """Take out of a model's generation settings how somebody else decoded with it, e.g. a repetition penalty; said.

    It would change every hypothesis, validation and the export, and no key of the YAML would say so.
    """
    dropped = {name: value for name in OF_DECODING if (value := getattr(config, name, None)) not in NEUTRAL}
    for name in dropped:
        setattr(config, name, None)
    if dropped:
        said = ", ".join(f"{name}: {value}" for name, value in sorted(dropped.items()))
        print(f"model: its generation_config.json asks for {said}; left out, for decoding is as the YAML has it")


def say_missing(source: str) -> None:
    """Print a line where a folder has no generation_config.json: what it says of languages is in the tokenizer, too."""
    if Path(source).is_dir() and not (Path(source) / "generation_config.json").exists():
        print(
            f"model: {source} holds no generation_config.json: languages and tasks are taken from its tokenizer, and "
            "which tokens it suppresses is not known; copy that file from the model that this one was fine-tuned from"
        )
