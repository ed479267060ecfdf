"""What `carryover export` is asked for, looked at before anything is written."""

import importlib.util
from dataclasses import dataclass
from pathlib import Path

from carryover.data.table import found_at
from carryover.runs import run_folder

EXTRAS = {"hf": (), "ctranslate2": ("ctranslate2",), "onnx": ("onnx", "onnxruntime", "onnxscript")}
QUANTIZATIONS = ("int8", "float16")


@dataclass(frozen=True)
class Asked:
    """What the command line says.

    Attributes
    ----------
    to : str
        Format, a key of `EXTRAS`.
    quantization : str or None
        One of `QUANTIZATIONS`; None for float32.
    parity : int
        Clips that are compared; 0 for none.
    licence : str
        In the hub's words.
    push : str or None
        Repository on the hub.
    dry_run : bool
        Upload nothing.
    """

    to: str
    quantization: str | None
    parity: int
    licence: str
    push: str | None
    dry_run: bool

    @property
    def name(self) -> str:
        """Of the format, e.g. "ctranslate2 int8"."""
        return f"{self.to} {self.quantization or 'float32'}" if self.to == "ctranslate2" else self.to

    def require_possible(self, out: Path) -> None:
        """Raise what speaks against it, whatever the run is.

        Raises
        ------
        ValueError
            For an unknown format, a word that does not go with it, an output folder that holds something and a name
            that no repository of the hub can have.
        ModuleNotFoundError
            When an extra is not installed.
        """
        self._require_format()
        if self.parity < 0:
            raise ValueError(f"--parity {self.parity}: expected a number of clips, 0 for no check")
        if self.dry_run and not self.push:
            raise ValueError("--dry-run: says what --push would upload; give --push OWNER/NAME, too")
        if self.push:
            from huggingface_hub.utils import HFValidationError, validate_repo_id

            try:
                validate_repo_id(self.push)
            except HFValidationError as error:
                raise ValueError(f"--push: {error}") from None
        if out.exists() and (not out.is_dir() or any(out.iterdir())):
            raise ValueError(f"--out {out}: {found_at(out)}; give a folder that is empty or not there")

    def require_model(self, brain, folder: Path) -> None:
        """Raise ValueError where the recipe's model cannot have the format, and for a run that is not finished."""
        if self.to not in brain.exports:
            raise ValueError(
                f"--to {self.to}: the model of a {type(brain).__name__} can be exported as {' or '.join(brain.exports)}"
            )
        if not run_folder.finished(folder):
            raise ValueError(
                f"{folder}: this run has not come to its end, or its files are not all there; repeat its command, "
                "which finishes it (with --train_only a run tests nothing and is not finished)"
            )

    def _require_format(self) -> None:
        if self.to == "gguf":
            raise ValueError(
                "--to gguf: no Python library writes a Whisper for whisper.cpp; export --to hf and convert that folder "
                "with models/convert-h5-to-ggml.py of whisper.cpp"
            )
        if self.to not in EXTRAS:
            raise ValueError(f"--to {self.to}: expected one of: {', '.join(EXTRAS)}")
        if self.quantization is not None:
            if self.to != "ctranslate2":
                raise ValueError(f"--quantization: goes with --to ctranslate2 alone, not with {self.to}")
            if self.quantization not in QUANTIZATIONS:
                raise ValueError(f"--quantization {self.quantization}: expected one of: {', '.join(QUANTIZATIONS)}")
        missing = [name for name in EXTRAS[self.to] if importlib.util.find_spec(name) is None]
        if missing:
            raise ModuleNotFoundError(f"--to {self.to} needs {', '.join(missing)}: pip install -e '.[{self.to}]'")
