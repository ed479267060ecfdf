"""What several tests need: a tiny Whisper of transformers' own classes, and a small corpus, both made on the spot."""

import os
import shutil
import signal
from pathlib import Path

import pytest

from tests import tiny_speech

ROOT = Path(__file__).parents[1]
STARTER = ROOT / "assets" / "whisper_starter"
SHARED = ROOT.parent / "shared"

os.environ.setdefault("HF_HUB_OFFLINE", "1")
for _stop in (signal.SIGINT, signal.SIGHUP):  # ignored where a shell put the tests into the background; runs inherit it
    if signal.getsignal(_stop) is signal.SIG_IGN:
        signal.signal(_stop, signal.default_int_handler if _stop is signal.SIGINT else signal.SIG_DFL)


@pytest.fixture(autouse=True, scope="session")
def own_cache(tmp_path_factory):
    """Kept states of the tests' models lie in a folder of their own."""
    os.environ["CARRYOVER_CACHE"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session")
def shared():
    """Folder of the real material beside the project."""
    if not SHARED.is_dir():
        pytest.skip("../shared is not there: real speech and tokenizers are no part of the repository")
    return SHARED


@pytest.fixture(scope="session")
def tiny_whisper(tmp_path_factory):
    """Folder of a Whisper with random weights: width 32, 2 + 2 layers, a window of 4 s, the starter's tokenizer."""
    return tiny_speech.whisper(tmp_path_factory.mktemp("tiny_whisper"))


@pytest.fixture(scope="session")
def small_corpus(tmp_path_factory):
    """Folder with manifest.tsv and 40 clips of coloured noise, one spectrum a word, with their words; Dutch."""
    return tiny_speech.corpus(tmp_path_factory.mktemp("small_corpus"))


@pytest.fixture(scope="session")
def tiny_ctc(tmp_path_factory):
    """Folder of a w2v-BERT's shape: width 32, 2 layers; no weights."""
    return tiny_speech.ctc_shape(tmp_path_factory.mktemp("tiny_ctc"))


@pytest.fixture(scope="session")
def two_languages(small_corpus, tmp_path_factory):
    """Folder with the Dutch small corpus and the same clips under "German" words, ä and ß among them."""
    folder = tmp_path_factory.mktemp("two_languages")
    text = (small_corpus / "manifest.tsv").read_text(encoding="utf-8")
    german = text.replace("een", "ä").replace("zes", "ßex").replace("\tnl\t", "\tde\t")
    for language, content in (("nl", text), ("de", german)):
        (folder / language).mkdir()
        (folder / language / "manifest.tsv").write_text(content, encoding="utf-8")
        for clip in small_corpus.glob("*.wav"):
            shutil.copy(clip, folder / language)
    return folder


@pytest.fixture
def ctc_run(tiny_ctc, two_languages, tmp_path):
    """Overrides that make hparams/dutch_pretrain.yaml a run of seconds: {key: YAML text}."""
    return {
        "model": str(tiny_ctc),
        "corpus": "!name:local.table.utterances",
        "data_folder": str(two_languages / "nl"),
        "output_root": str(tmp_path / "results"),
        "batch_size": "4",
        "eval_batch_size": "4",
        "max_updates": "8",
        "warmup": "3",
        "log_every": "1",
        "valid_every": "4",
        "save_every": "2",
    }


@pytest.fixture
def adaptation_run(ctc_run, two_languages, tmp_path):
    """The same for hparams/german_adaptation.yaml, which starts from the Dutch run in the same output root."""
    return {k: v for k, v in ctc_run.items() if k != "model"} | {
        "data_folder": str(two_languages / "de"),
        "old_data_folder": str(two_languages / "nl"),
    }


@pytest.fixture
def whisper_run(tiny_whisper, small_corpus, tmp_path):
    """Overrides that make hparams/whisper_ft.yaml a run of seconds: {key: YAML text}."""
    return {
        "model": str(tiny_whisper),
        "corpus": "!name:local.table.utterances",
        "data_folder": str(small_corpus),
        "language": "nl",
        "old_language": "null",
        "output_folder": str(tmp_path / "run"),
        "batch_size": "4",
        "eval_batch_size": "4",
        "generation_length": "24",
        "max_updates": "8",
        "warmup": "3",
        "log_every": "1",
        "valid_every": "4",
        "save_every": "2",
    }
