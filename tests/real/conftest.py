"""Pretrained models and real speech, neither of them a part of the repository: tests here are skipped without them.

    CARRYOVER_REAL=FOLDER python -m pytest tests/real

FOLDER holds whisper_base and smollm2_135m, which ../shared/models/real_models.py makes; the speech lies in
../shared/speech, or where CARRYOVER_SPEECH says: a folder with nl_nathalie, de_kerstin and en_kathleen.
"""

import csv
import os
from pathlib import Path

import pytest

from tests.conftest import SHARED

CORPORA = {"nl": "nl_nathalie", "de": "de_kerstin", "en": "en_kathleen"}
MODELS = ("whisper_base", "smollm2_135m")


def pytest_collection_modifyitems(items):
    """Say why, once for each test, before anything is loaded."""
    why = missing()
    for item in items if why else ():
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.skip(reason=why))


def missing() -> str | None:
    """What of the real models and recordings is not there; None where all is."""
    folder = os.environ.get("CARRYOVER_REAL")
    if not folder:
        return "CARRYOVER_REAL is not set; give the folder that ../shared/models/real_models.py has made"
    for path in [*(Path(folder) / name for name in MODELS), *(speech_of(language) for language in CORPORA)]:
        if not path.is_dir():
            return f"{path} is not there"
    return None


def speech_of(language: str) -> Path:
    """Folder of a language's recordings."""
    return Path(os.environ.get("CARRYOVER_SPEECH", SHARED / "speech")).resolve() / CORPORA[language]


@pytest.fixture(scope="session")
def whisper_base() -> str:
    return str(Path(os.environ["CARRYOVER_REAL"], "whisper_base").resolve())


@pytest.fixture(scope="session")
def smollm2() -> str:
    return str(Path(os.environ["CARRYOVER_REAL"], "smollm2_135m").resolve())


def corpus(folder: Path, language: str, **clips: int) -> dict[str, str]:
    """Write a list of the first so many test clips of a language for each split; -> the keys of a YAML that read it.

    Parameters
    ----------
    **clips : int
        By split, e.g. test=20; no clip is in two splits.
    """
    home = speech_of(language)
    with open(home / "manifest.tsv", newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE) if row["split"] == "test"]
    lines, at = ["path\tlanguage\tspeaker\ttext\tsplit"], 0
    for split, n in clips.items():
        for row in rows[at : at + n]:
            lines.append("\t".join([str(home / row["path"]), language, row["speaker"], row["text"], split]))
        at += n
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "manifest.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return {"corpus": "!name:local.table.utterances", "data_folder": str(folder), "language": language}
