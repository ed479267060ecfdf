"""The lines of a model card that show how an export is used."""

from carryover.commands.export import to_onnx
from carryover.commands.export.asked import Asked


def of(brain, asked: Asked) -> str:
    """Markdown of code for a Whisper, a CTC model, or one that this project alone loads."""
    if "whisper" in brain.modules:
        return {"hf": _pipeline, "ctranslate2": _ctranslate2, "onnx": _onnx_whisper}[asked.to](brain)
    if "acoustic" in brain.modules:
        return _pipeline(brain) if asked.to == "hf" else _onnx_ctc()
    return "carryover's recipe of the same name loads it, with this folder as its YAML's `model` or `start_from`."


def _code(*lines: str) -> str:
    return "\n".join(["```python", *lines, "```"])


def _pipeline(brain) -> str:
    model = brain.modules["acoustic"].hf if "acoustic" in brain.modules else brain.modules["whisper"]
    if "acoustic" in brain.modules and model.config.model_type == "whisper":
        return (
            "transformers has no CTC head for Whisper's encoder: load the folder by "
            "`carryover.models.whisper_ctc.WhisperForCTC.from_pretrained`."
        )
    return _code(
        "from transformers import pipeline",
        "",
        'recogniser = pipeline("automatic-speech-recognition", model="FOLDER_OR_REPOSITORY")',
        'print(recogniser("clip.wav")["text"])',
    )


def _ctranslate2(brain) -> str:
    h = brain.hparams
    config = brain.modules["whisper"].generation_config
    # faster-whisper suppresses a list of its own where it is told -1; a run without a list suppresses nothing
    suppressed = [-1] if config.suppress_tokens else []
    return _code(
        "from faster_whisper import WhisperModel",
        "",
        'model = WhisperModel("FOLDER", compute_type="default")',
        "segments, _ = model.transcribe(",
        f'    "clip.wav", language="{h.tokenizer.code(h.language)}", task="{h.tokenizer.task}",',
        f"    beam_size={h.test_beams}, temperature=0, without_timestamps=True, suppress_tokens={suppressed},",
        "    condition_on_previous_text=False,",
        ")",
        'print(" ".join(segment.text.strip() for segment in segments))',
    )


def _onnx_whisper(brain) -> str:
    prompt = brain.hparams.tokenizer.prompt(brain.hparams.language)
    return (
        f"`{to_onnx.ENCODER}` takes input_features by preprocessor_config.json (float32). `{to_onnx.DECODER}` takes "
        f"its states and the prompt, ids {prompt}; `{to_onnx.DECODER_WITH_PAST}` takes each further token, and "
        "`past_key_values.*` as the decoders gave them (`present.*`; those of the encoder stay the first decoder's). "
        "Tokens of `suppress_tokens` and, at first, of `begin_suppress_tokens` in generation_config.json are left "
        "out. carryover/commands/export/run_onnx.py is a greedy decoding in 50 lines."
    )


def _onnx_ctc() -> str:
    return (
        f"`{to_onnx.CTC}` takes the features by preprocessor_config.json, whole clips of one length (there is no mask "
        "for padding), and gives logits; the most probable symbols, equal neighbours merged and blanks dropped, are "
        "the text."
    )
