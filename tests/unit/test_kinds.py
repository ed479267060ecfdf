"""A model of another kind is told from train.py's command line, in one line with status 2, before a corpus is read."""

import json
import shutil
from pathlib import Path

import pytest
from transformers import (
    AutoConfig,
    BartConfig,
    BertConfig,
    HubertConfig,
    LlamaConfig,
    ViTConfig,
    Wav2Vec2Config,
    WhisperConfig,
    WhisperFeatureExtractor,
)

from carryover import exits, experiment
from carryover.data.source import require_source
from carryover.models import kinds
from carryover.models.chat import Chat
from carryover.models.language_model import require_tokens
from tests import tiny_language_model

ROOT = Path(__file__).parents[2]
STARTER = ROOT / "assets" / "whisper_starter"
WHISPER, CTC = "a Whisper, such as openai/whisper-small", "a wav2vec2, HuBERT, WavLM, w2v-BERT or Whisper"
ENCODER, CAUSAL = "a Whisper, wav2vec2, HuBERT, WavLM or w2v-BERT", "a causal language model, such as SmolLM"


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Folder of folders, each what people take for a model of the other kind: config.json is enough."""
    folder = tmp_path_factory.mktemp("models")
    for config in (Wav2Vec2Config(), HubertConfig(), LlamaConfig(), BertConfig(), BartConfig(), ViTConfig()):
        config.save_pretrained(folder / config.model_type)
    WhisperConfig().save_pretrained(folder / "whisper")
    for name, files in {"projector": {"projector": {}, "made_for": {}}, "sign": {"d_model": 16}}.items():
        (folder / name).mkdir()
        (folder / name / "config.json").write_text(json.dumps(files))
    (folder / "run" / "model").mkdir(parents=True)
    (folder / "run" / "model" / "config.json").write_text("{}")
    bands = AutoConfig.from_pretrained(STARTER)
    bands.num_mel_bins = 128
    bands.save_pretrained(folder / "bands")
    WhisperFeatureExtractor(feature_size=80).save_pretrained(folder / "bands")
    (folder / "file").write_bytes(b"x")
    return folder


WORDS = [
    (
        "whisper_real",
        "model",
        "wav2vec2",
        f"of type 'wav2vec2' (which hparams/ctc_real.yaml takes); expected {WHISPER}",
    ),
    ("whisper_real", "model", "hubert", "of type 'hubert' (which hparams/ctc_real.yaml takes)"),
    ("whisper_real", "model", "llama", "of type 'llama' (a model of text is for language_model: hparams/speech_llm_"),
    ("whisper_real", "model", "bart", f"of type 'bart'; expected {WHISPER}"),
    ("whisper_real", "model", "vit", "of type 'vit'"),
    ("whisper_real", "model", "projector", "no model of transformers: its config.json names no model_type"),
    ("whisper_real", "model", "run", "run holds no config.json (found: model); this is a run's folder: give"),
    ("whisper_real", "model", "file", "file is a file; give the folder that holds it"),
    ("whisper_real", "model", "nothing", "is no folder here and no hub name"),
    ("ctc_real", "model", "llama", "of type 'llama' (a model of text is for language_model: hparams/speech_llm_"),
    ("ctc_real", "model", "vit", f"of type 'vit'; expected {CTC}"),
    ("ctc_real", "model", "sign", "names no model_type"),
    ("ctc_real", "model", "bands", "makes 80 mel bands, and the model takes 128"),
    ("speech_llm_real", "encoder", "llama", "of type 'llama' (a model of text is for language_model"),
    ("speech_llm_real", "encoder", "vit", f"encoder: 'MODEL' is a model of type 'vit'; expected {ENCODER}"),
    ("speech_llm_real", "language_model", "whisper", f"of type 'whisper'; expected {CAUSAL}"),
    ("speech_llm_real", "language_model", "hubert", f"of type 'hubert'; expected {CAUSAL}"),
    ("speech_llm_real", "language_model", "bart", f"of type 'bart'; expected {CAUSAL}"),
    ("speech_llm_real", "language_model", "bert", f"of type 'bert'; expected {CAUSAL}"),
    ("speech_llm_real", "language_model", "vit", f"of type 'vit'; expected {CAUSAL}"),
]


@pytest.mark.parametrize("yaml, key, model, said", WORDS)
def test_another_kind_is_told_before_anything_costs_time(
    models, small_corpus, tmp_path, monkeypatch, yaml, key, model, said
):
    monkeypatch.chdir(ROOT)
    given = {
        "corpus": "!name:local.table.utterances", "data_folder": small_corpus, "language": "nl",
        "output_root": tmp_path, "precision": "fp32", "mask_time_prob": 0,
    }  # fmt: skip
    given |= {"encoder": STARTER} if yaml == "speech_llm_real" else {}
    if yaml != "ctc_real":
        del given["mask_time_prob"]
    words = [f"--{name}={value}" for name, value in (given | {key: models / model}).items()]
    with pytest.raises((ValueError, FileNotFoundError)) as error:
        experiment.train([f"hparams/{yaml}.yaml", "--device=cpu", "--noprogressbar", *words])
    status, line = exits.words(error.value)
    assert status == exits.INPUT and "\n" not in line and model in line
    assert said.replace("'MODEL'", str(models / model)) in line
    assert not list(tmp_path.rglob("manifests")), "nothing is prepared"


def test_what_writes_and_reads_ahead(tmp_path):
    """BERT as a decoder is one; as it comes it reads the words that it would have to write."""
    assert kinds.is_language_model(LlamaConfig().to_dict()) and not kinds.is_language_model(BertConfig().to_dict())
    assert kinds.is_language_model(BertConfig(is_decoder=True).to_dict())
    assert not kinds.is_language_model(WhisperConfig().to_dict() | {"is_encoder_decoder": False})


@pytest.mark.parametrize("change, said", [
    ({"eos_token_id": 9_999}, "name eos_token_id 9999"), ({"eos_token_id": [1, 9_999]}, "name eos_token_id 9999"), (
        {"rows": 20}, "32 tokens, and its weights have embeddings for 20: they do not"),
])  # fmt: skip
def test_a_tokenizer_of_another_language_model(tmp_path, change, said):
    from transformers import AutoModelForCausalLM

    source = tiny_language_model.make(tmp_path / "lm")
    chat, model = Chat(source), AutoModelForCausalLM.from_pretrained(source)
    require_tokens(source, model, chat)
    if rows := change.pop("rows", None):
        model.resize_token_embeddings(rows)
    for key, value in change.items():
        setattr(model.config, key, value)
    with pytest.raises(ValueError, match=said):
        require_tokens(source, model, chat)


def test_a_whisper_without_generation_config_is_taken_and_said(tmp_path, capsys):
    from carryover.models import whisper

    shutil.copytree(STARTER, tmp_path / "model")
    (tmp_path / "model" / "generation_config.json").unlink()
    whisper.load(str(tmp_path / "model"))
    (line,) = capsys.readouterr().out.splitlines()
    assert "holds no generation_config.json" in line and "copy that file from the model" in line
    whisper.load(str(STARTER))
    assert not capsys.readouterr().out


def test_a_file_is_no_folder(tmp_path):
    (tmp_path / "model.safetensors").write_bytes(b"")
    with pytest.raises(FileNotFoundError, match="is a file; give the folder"):
        require_source(str(tmp_path / "model.safetensors"))
