"""Where a model comes from: a folder in transformers' format, or a name on the hub."""

import pickle
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError


def require_source(source: str, file: str = "config.json") -> None:
    """Raise FileNotFoundError when `source` looks like a folder and is none, or misses a file."""
    folder = Path(source)
    if folder.is_dir() and not (folder / file).exists():
        found = ", ".join(sorted(p.name for p in folder.iterdir())[:8]) or "nothing"
        advice = "give a model in transformers' format"
        if (folder / "model" / "config.json").exists():
            advice = f"this is a run's folder: give {folder / 'model'}"
        elif (folder / "adapter_config.json").exists():
            advice = "these are peft's adapters alone: merge them into their model (merge_and_unload) and save that"
        elif file != "config.json" and (folder / "config.json").exists():
            advice = (
                f"copy it from the model that this one was fine-tuned from (save_pretrained of its {_MAKERS[file]})"
            )
        raise FileNotFoundError(f"model: {folder} holds no {file} (found: {found}); {advice}")
    if folder.is_file():
        raise FileNotFoundError(f"model: {folder} is a file; give the folder that holds it, with its config.json")
    if not folder.is_dir() and (source.count("/") != 1 or source.startswith((".", "/", "assets/", "results/"))):
        raise FileNotFoundError(
            f"model: '{source}' is no folder here and no hub name (owner/name); give e.g. assets/whisper_starter or "
            "openai/whisper-small"
        )


_MAKERS = {"tokenizer_config.json": "tokenizer", "preprocessor_config.json": "feature extractor"}


@contextmanager
def loading(source: str, revision: str | None = None) -> Iterator[None]:
    """Say in one line, as FileNotFoundError, what transformers says in many: a file that a source lacks, or that cannot
    be read (ValueError)."""
    try:
        yield
    except SafetensorError as error:
        raise ValueError(
            f"model: {source}: its weights cannot be read ({error}): the file is cut off, damaged, or a pointer of git "
            "lfs; download it again"
        ) from error
    except OSError as error:
        if "valid JSON" in str(error):
            raise ValueError(f"model: {' '.join(str(error).split())} It is damaged: download it again") from error
        raise FileNotFoundError(
            f"model: {source}{f' at revision {revision}' if revision else ''} cannot be loaded: "
            f"{' '.join(str(error).split())}; only safetensors are read: check name and revision, give one that has "
            "them (save_pretrained writes them into a folder), and download it first where the hub is out of reach"
        ) from error
    except pickle.UnpicklingError as error:  # torch reads tensors out of a pickle, and makes nothing else of it
        raise ValueError(
            f"model: {source}: its pytorch_model.bin holds more than tensors ({' '.join(str(error).split())[-160:]}), "
            "which may do harm and was not run; give a checkpoint in safetensors (save_pretrained writes them)"
        ) from error
    except Exception as error:
        if not type(error).__name__.startswith("StrictDataclass"):  # the hub's: no subclass of ValueError
            raise
        raise ValueError(
            f"model: {source}: {' '.join(str(error).split())}; correct that value in the YAML or in the model's "
            "config.json"
        ) from error
