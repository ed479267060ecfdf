"""Where a model comes from: a folder in transformers' format, or a name on the hub."""

from pathlib import Path


def require_source(source: str, file: str = "config.json") -> None:
    """Raise FileNotFoundError when `source` looks like a folder and is none, or misses a file."""
    folder = Path(source)
    if folder.is_dir() and not (folder / file).exists():
        found = ", ".join(sorted(p.name for p in folder.iterdir())[:8]) or "nothing"
        raise FileNotFoundError(
            f"model: {folder} holds no {file} (found: {found}); give a model in transformers' format"
        )
    if not folder.is_dir() and (source.count("/") != 1 or source.startswith((".", "/", "assets/", "results/"))):
        raise FileNotFoundError(
            f"model: '{source}' is no folder here and no hub name (owner/name); give e.g. assets/whisper_starter or "
            "openai/whisper-small"
        )
