"""Small runs of the four recipes, to be stopped and gone on with: 7 updates, two epochs, a checkpoint an update."""

from pathlib import Path

from tests import tiny_speech
from tests.tiny_language_model import make as make_language_model

SHORT = {
    "batch_size": "4", "eval_batch_size": "4", "grad_accumulation_factor": "2", "log_every": "1", "valid_every": "3",
    "save_every": "1", "epochs": "2", "max_updates": "7", "early_stopping_patience": "0", "warmup": "2",
}  # fmt: skip


def small_runs(folder: Path) -> dict[str, dict[str, str]]:
    """Overrides of each, by its YAML's name, but for the output folder; what the runs share is made in `folder`."""
    files = {
        "corpus": "!name:local.table.utterances", "data_folder": str(tiny_speech.corpus(folder / "speech")),
        "language": "nl",
    }  # fmt: skip
    whisper = str(tiny_speech.whisper(folder / "whisper"))
    given = {
        "sign_teacher": {
            "corpus": "!name:local.synthetic_sign.utterances {train: 28, valid: 4, test: 4}",
            "data_folder": str(folder / "signs"), "d_model": "16", "layers": "1", "heads": "2", "d_ffn": "32",
        },
        "dutch_pretrain": files | {"model": str(tiny_speech.ctc_shape(folder / "ctc"))},
        "whisper_ft": files
        | {"model": whisper, "old_language": "null", "generation_length": "12", "dropout": "0.2"},
        "speech_llm_whisper": files
        | {"encoder": whisper, "language_model": make_language_model(folder / "lm"), "hidden": "16",
           "tokens_per_second": "40"},
    }  # fmt: skip
    return {name: SHORT | overrides for name, overrides in given.items()}
