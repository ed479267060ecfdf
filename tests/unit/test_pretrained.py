"""What lies in a model's folder is whole and belongs together, or is refused: pretrained.py and whisper_check.py."""

import json
import os
import pickle
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizers import AddedToken
from transformers import Wav2Vec2Config, Wav2Vec2ForCTC, Wav2Vec2ForPreTraining

from carryover.models import audio_encoder, whisper
from carryover.models.chat import Chat
from carryover.models.languages import language_of_model
from carryover.models.limits import WhisperLimits
from carryover.models.pretrained import PRETRAINING, load_whole
from carryover.models.whisper_check import require_fitting

STARTER = Path(__file__).parents[2] / "assets" / "whisper_starter"


@pytest.fixture
def folder(tmp_path):
    return shutil.copytree(STARTER, tmp_path / "model")


def weights(folder, change):
    """Replace the weights by {name: tensor} of them."""
    tensors = {k: v.contiguous() for k, v in change(load_file(folder / "model.safetensors")).items()}
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def setting(folder, file="config.json", **values):
    found = json.loads((folder / file).read_text()) | values
    (folder / file).write_text(json.dumps(found))


def load(folder):
    return whisper.load(str(folder))


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "base_model.model.", "model."])
def test_a_known_prefix_is_taken_off_and_that_is_said(folder, prefix, capsys):
    weights(folder, lambda w: {prefix + name: tensor for name, tensor in w.items()})
    found, wanted = load(folder).state_dict(), load(STARTER).state_dict()
    by_itself = prefix == "model."  # transformers takes it off, for it is a part of the model's own names
    assert by_itself or f"the prefix '{prefix}' was taken off" in capsys.readouterr().out
    assert all(torch.equal(found[name], wanted[name]) for name in wanted)


def without(part):
    return lambda w: {name: tensor for name, tensor in w.items() if part not in name}


@pytest.mark.parametrize(
    "change, said",
    [
        (without(".decoder.layers.1."), r"lack model.decoder.layers.1.encoder_attn.k_proj.weight.*\(24 tensors\)"),
        (without(".decoder."), "lack model.decoder.embed_positions.weight.*would stay random"),
        (lambda w: {f"other.{k}": v for k, v in w.items()}, "lack model.decoder.*hold other.model.decoder"),
        (
            lambda w: w | {"model.encoder.layers.0.fc1.lora_A.weight": torch.ones(2, 2)},
            "hold .*lora_A.*adapters merged",
        ),
        (lambda w: w | {"model.encoder.layer_norm.bias": torch.ones(3)}, r"other shapes.*layer_norm.bias \(3,\) for"),
        (
            lambda w: (
                w | {"model.encoder.layer_norm.bias": torch.full_like(w["model.encoder.layer_norm.bias"], torch.nan)}
            ),
            "not finite: model.encoder.layer_norm.bias",
        ),
    ],
)
def test_weights_that_are_not_whole_are_refused_by_name(folder, change, said):
    weights(folder, change)
    with pytest.raises(ValueError, match=said):
        load(folder)


@pytest.mark.parametrize("layers, said", [(4, "lack model.encoder.layers.3"), (2, "hold model.encoder.layers.2")])
def test_another_number_of_layers(folder, layers, said):
    setting(folder, encoder_layers=layers)
    with pytest.raises(ValueError, match=said):
        load(folder)


@pytest.mark.parametrize(
    "damage, error, said",
    [
        (lambda f: f.write_bytes(f.read_bytes()[:-5000]), ValueError, "cannot be read.*cut off"),
        (lambda f: f.write_text("version https://git-lfs.github.com/spec/v1\n"), ValueError, "pointer of git lfs"),
        (lambda f: f.unlink(), FileNotFoundError, "no file named model.safetensors"),
        (lambda f: (f.parent / "config.json").write_text("{"), ValueError, "not a valid JSON.*damaged: download"),
        (lambda f: (f.parent / "config.json").write_text(""), ValueError, "not a valid JSON.*damaged: download"),
    ],
)
def test_files_that_cannot_be_read(folder, damage, error, said):
    damage(folder / "model.safetensors")
    with pytest.raises(error, match=said):
        load(folder)


def test_half_precision_and_no_generation_config_are_taken(folder):
    weights(folder, lambda w: {name: tensor.half() for name, tensor in w.items()})
    (folder / "generation_config.json").unlink()
    model, tokenizer = load(folder), whisper.Tokenizer(str(folder))
    require_fitting(model, tokenizer)
    whisper.set_generation_ids(model, tokenizer)
    assert model.generation_config.lang_to_id == {"<|de|>": 313, "<|nl|>": 312}


FORCED = [[1, 312], [2, 315], [3, 319]]


def heard(folder, capsys) -> tuple[list, str]:
    """Ids that a model decodes of noise, and what was said."""
    model, tokenizer = load(folder), whisper.Tokenizer(str(folder))
    require_fitting(model, tokenizer)
    whisper.set_generation_ids(model, tokenizer)
    noise = torch.randn(2, 80, 2 * model.config.max_source_positions, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        states = model.eval().model.encoder(noise).last_hidden_state
    return whisper.generate(model, tokenizer, states, ["nl", "de"], 30), capsys.readouterr().out


def v4(folder):
    """As transformers 4.26 wrote it: the settings of decoding in config.json, no generation_config.json."""
    (folder / "generation_config.json").unlink()
    eot = json.loads((folder / "config.json").read_text())["eos_token_id"]
    setting(
        folder, forced_decoder_ids=FORCED, suppress_tokens=[], begin_suppress_tokens=[5, eot], max_length=224,
        transformers_version="4.26.1", torch_dtype="float32",
    )  # fmt: skip


def v4gen(folder):
    """As somebody who decodes in another way exported it."""
    setting(
        folder, "generation_config.json", forced_decoder_ids=FORCED, suppress_tokens=[], max_new_tokens=7,
        max_length=224, transformers_version="4.38.0", num_beams=5, repetition_penalty=1.8, no_repeat_ngram_size=2,
    )  # fmt: skip


def as_bin(folder):
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()


@pytest.mark.parametrize(
    "change, said",
    [
        (v4, "no generation_config.json"),
        (v4gen, "asks for max_new_tokens: 7, no_repeat_ngram_size: 2, repetition_penalty: 1.8; left out"),
        (lambda f: setting(f, "generation_config.json", suppress_tokens=[], begin_suppress_tokens=[]), ""),
        (as_bin, ""),
        (lambda f: (f / "preprocessor_config.json").unlink(), ""),
    ],
    ids=["v4", "v4gen", "suppress_empty", "bin", "no_preprocessor"],
)
def test_other_forms_of_a_checkpoint_decode_as_it_does(folder, change, said, capsys):
    wanted, _ = heard(folder, capsys)
    change(folder)
    found, words = heard(folder, capsys)
    assert found == wanted and max(map(len, found)) > 12
    assert said in words and words.count("left out") == ("left out" in said)


class Harm:
    """What a pickle may ask for."""

    def __reduce__(self):
        return os.system, ("touch RAN",)


@pytest.mark.parametrize("form", ["zip", "old", "bare"])
def test_a_pickle_of_weights_that_would_run_something_does_not(folder, form, monkeypatch):
    monkeypatch.chdir(folder)
    tensors = load_file("model.safetensors") | {"harm": Harm()}
    if form == "bare":
        Path("pytorch_model.bin").write_bytes(pickle.dumps(Harm()))
    else:
        torch.save(tensors, "pytorch_model.bin", _use_new_zipfile_serialization=form == "zip")
    Path("model.safetensors").unlink()
    with pytest.raises(ValueError, match="holds more than tensors .*was not run; give a checkpoint in safetensors"):
        load(folder)
    assert not Path("RAN").exists()
    for more in (audio_encoder.load, lambda source: Chat(source)):  # these read safetensors alone
        with pytest.raises((ValueError, FileNotFoundError)):
            more(str(folder))
    assert not Path("RAN").exists()


def test_adapters_alone_are_no_model(folder):
    (folder / "config.json").unlink()
    (folder / "adapter_config.json").write_text("{}")
    with pytest.raises(FileNotFoundError, match="adapters alone: merge them"):
        load(folder)


def test_a_folder_without_tokenizer_says_where_from(folder):
    (folder / "tokenizer_config.json").unlink()
    with pytest.raises(FileNotFoundError, match="no tokenizer_config.json.*copy it from the model that"):
        whisper.Tokenizer(str(folder))


@pytest.mark.parametrize("tokens", ["later", "earlier"])
def test_a_tokenizer_of_another_numbering_is_refused(folder, tokens):
    """As large-v3's with <|yue|> beside weights of large-v2, and the reverse."""
    tokenizer = whisper.Tokenizer(str(folder))
    if tokens == "later":
        setting(folder, vocab_size=319)
        weights(folder, lambda w: {k: v[:319] if "embed_tokens" in k else v for k, v in w.items()})
    else:
        tokenizer.hf.add_tokens([AddedToken("<|yue|>", special=True)])
        tokenizer.vocabulary = tokenizer.hf.get_vocab()
    model = load(folder)
    said = r"tokenizer: that of .*model does not belong to its weights: 32[01] units for (319|320)"
    with pytest.raises(ValueError, match=said):
        WhisperLimits.of(model, tokenizer, None)


def test_special_tokens_are_compared(folder):
    model, tokenizer = load(folder), whisper.Tokenizer(str(folder))
    model.generation_config.no_timestamps_token_id += 1
    with pytest.raises(ValueError, match=r"<\|notimestamps\|> 319 for 320"):
        require_fitting(model, tokenizer)


def test_an_english_only_whisper_is_refused(folder):
    setting(folder, "generation_config.json", is_multilingual=False)
    with pytest.raises(ValueError, match=r"English-only.*give the multilingual one"):
        require_fitting(load(folder), whisper.Tokenizer(str(folder)))


@pytest.mark.parametrize("load", [load, lambda folder: audio_encoder.load(str(folder))])
def test_mel_bands_of_another_model_are_refused(folder, load):
    setting(folder, "preprocessor_config.json", feature_size=128)
    with pytest.raises(ValueError, match="makes 128 mel bands, and the model takes 80"):
        load(folder)


@pytest.mark.parametrize(
    "make, said",
    [
        (
            lambda f: whisper.load(str(STARTER.with_name("ctc_small")), from_scratch=True),
            "model: .*'wav2vec2-bert'.*Whisper",
        ),
        (lambda f: whisper.load(str(STARTER.with_name("prefix_lm"))), "model: .*type .llama.*expected a Whisper"),
        (lambda f: Chat(str(f)), "language_model: .*of type 'whisper'.*causal language model"),
        (lambda f: audio_encoder.load(str(STARTER.with_name("prefix_lm"))), "encoder: .*is for language_model"),
    ],
)
def test_another_kind_of_model_is_refused(folder, make, said):
    with pytest.raises(ValueError, match=said):
        make(folder)


TINY = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16, "vocab_size": 5,
        "conv_dim": [8] * 7, "num_conv_pos_embeddings": 4, "num_conv_pos_embedding_groups": 2,
        "codevector_dim": 8, "proj_codevector_dim": 8, "num_codevectors_per_group": 4}  # fmt: skip


def test_heads_of_self_supervised_training_may_be_left_over(tmp_path):
    torch.manual_seed(0)
    Wav2Vec2ForPreTraining(Wav2Vec2Config(**TINY)).save_pretrained(tmp_path)
    _, info = load_whole(Wav2Vec2ForCTC, str(tmp_path), ("lm_head.",), PRETRAINING)
    assert info["missing_keys"] and info["unexpected_keys"]
    with pytest.raises(ValueError, match="lack lm_head.bias, lm_head.weight"):
        load_whole(Wav2Vec2ForCTC, str(tmp_path), (), PRETRAINING)


WHISPERS = ("de", "nl", "sv", "zh", "pt", "no", "nn", "jw", "tl", "he", "pa", "hy")


@pytest.mark.parametrize(
    "corpus, model",
    [("sv-SE", "sv"), ("zh-CN", "zh"), ("zh-TW", "zh"), ("zh-HK", "zh"), ("pt-BR", "pt"), ("nb_no", "no"),
     ("nb-NO", "no"), ("nn-NO", "nn"), ("cmn_hans_cn", "zh"), ("jv", "jw"), ("fil_ph", "tl"), ("iw", "he"),
     ("pa-IN", "pa"), ("NL", "nl"), ("hy-AM", "hy"), ("de", "de"), ("ga-IE", None), ("fy-NL", None), ("", None)],
)  # fmt: skip
def test_a_corpuss_code_and_a_models(corpus, model):
    assert language_of_model(corpus, WHISPERS) == model


def test_cantonese_where_the_model_has_it():
    assert language_of_model("zh-HK", (*WHISPERS, "yue")) == "yue" == language_of_model("yue", (*WHISPERS, "yue"))


def test_whisper_is_prompted_with_its_own_code():
    tokenizer = whisper.Tokenizer(str(STARTER))
    assert tokenizer.encode("ja", "nl-BE") == tokenizer.encode("ja", "nl")
    with pytest.raises(ValueError, match="language: 'sv-SE' is unknown to this model; it knows: de, nl"):
        tokenizer.prompt("sv-SE")
