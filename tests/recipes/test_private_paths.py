"""No file of a run says where the home folder is: settings, lists, checkpoints, exported models."""

from pathlib import Path

import pytest

from tests.tiny_language_model import make

from .helpers import train

SHORT = {"max_updates": "2", "warmup": "1", "valid_every": "2", "save_every": "1", "test_before": "False"}
LORA = "!new:carryover.models.lora.LoRA {rank: 2}"


@pytest.fixture
def home(tmp_path_factory, monkeypatch):
    """Models, corpora and runs of the tests lie in it."""
    monkeypatch.setenv("HOME", str(tmp_path_factory.getbasetemp()))
    return Path.home()


def naming(folder: Path, home: Path) -> list[str]:
    """Files of a folder with a home folder's path in their bytes or their names."""
    found = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    assert [path for path in found if path.parent.name == "model"]
    assert [path for path in found if path.name == "CKPT.yaml"]
    return [str(path.relative_to(folder)) for path in found if str(home).encode() in path.read_bytes()]


@pytest.mark.parametrize("own", [{}, {"freeze_encoder": "False"}, {"encoder_from_scratch": "True"}, {"lora": LORA}],
                         ids=["frozen", "trained", "from scratch", "lora"])  # fmt: skip
def test_of_a_speech_llm(home, own, tiny_whisper, small_corpus, tmp_path):
    if "lora" in own:
        pytest.importorskip("peft")
    folder = tmp_path / "run"
    asked = {
        "encoder": str(tiny_whisper), "language_model": make(tmp_path / "lm"), "hidden": "16",
        "corpus": "!name:local.table.utterances", "data_folder": str(small_corpus), "output_folder": str(folder),
        "batch_size": "4", "eval_batch_size": "4", "tokens_per_second": "40",
    }  # fmt: skip
    done = train(asked | SHORT | own, "hparams/speech_llm_whisper.yaml")
    assert done.returncode == 0, done.stderr
    assert naming(folder, home) == []
    config = (folder / "model" / "config.json").read_text()
    assert '"source": "~/' in config
    again = {"start_from": str(folder / "model"), "output_folder": str(tmp_path / "again")}
    if "freeze_encoder" not in own:  # else the encoder is another one now
        assert train(asked | SHORT | own | again, "hparams/speech_llm_whisper.yaml").returncode == 0


@pytest.mark.parametrize("own", [{}, {"lora": LORA}], ids=["whole", "lora"])
def test_of_a_ctc_model(home, own, ctc_run, tmp_path):
    if "lora" in own:
        pytest.importorskip("peft")
    first = ctc_run | SHORT | {"from_scratch": "True", "output_folder": str(tmp_path / "first")}
    done = train(first, "hparams/dutch_pretrain.yaml")
    assert done.returncode == 0, done.stderr
    second = ctc_run | SHORT | own | {"model": str(tmp_path / "first" / "model"), "output_folder": str(tmp_path / "2")}
    done = train(second, "hparams/dutch_pretrain.yaml")
    assert done.returncode == 0, done.stderr
    assert naming(tmp_path / "first", home) == naming(tmp_path / "2", home) == []


def test_of_a_whisper(home, whisper_run):
    done = train(whisper_run | SHORT)
    assert done.returncode == 0, done.stderr
    assert naming(Path(whisper_run["output_folder"]), home) == []
