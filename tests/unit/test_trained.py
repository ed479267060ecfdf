"""The key `train` and the words of `lr_of`, for each family of models."""

import functools

import pytest
import torch
from transformers import (
    HubertConfig,
    HubertForCTC,
    Wav2Vec2BertConfig,
    Wav2Vec2BertForCTC,
    Wav2Vec2Config,
    Wav2Vec2ForCTC,
    WavLMConfig,
    WavLMForCTC,
    WhisperConfig,
    WhisperForConditionalGeneration,
)  # fmt: skip

from carryover.models import sequence_model, wav2vec2, whisper
from carryover.models.lora import LoRA, NoLoRA
from carryover.models.trained import WORDS, module_of, require_words, set_trained

SHAPE = dict(hidden_size=16, num_hidden_layers=3, num_attention_heads=2, intermediate_size=24, vocab_size=7)
WAVES = SHAPE | dict(conv_dim=(8, 8), conv_kernel=(10, 3), conv_stride=(5, 2), num_conv_pos_embeddings=4,
                     num_conv_pos_embedding_groups=2)  # fmt: skip
WHISPER = dict(d_model=16, encoder_layers=3, decoder_layers=2, encoder_attention_heads=2, decoder_attention_heads=2,
               encoder_ffn_dim=24, decoder_ffn_dim=24, vocab_size=40, num_mel_bins=4, max_source_positions=8,
               max_target_positions=8, pad_token_id=0, bos_token_id=0, eos_token_id=0,
               decoder_start_token_id=0)  # fmt: skip


def ctc(kind, config):
    hf = kind(config)
    return {"acoustic": wav2vec2.CTCModel(hf, [])}, wav2vec2.parts(hf)


def make_whisper():
    model = WhisperForConditionalGeneration(WhisperConfig(**WHISPER))
    return {"whisper": model, "ctc": torch.nn.Linear(16, 5)}, whisper.parts(model)


def make_sequence():
    model = sequence_model.SequenceCTC(6, 5, d_model=16, layers=3, heads=2, d_ffn=24)
    return {"recogniser": model}, sequence_model.parts(model)


FAMILIES = {
    "whisper": make_whisper,
    "sequence": make_sequence,
    "wav2vec2, norm before": lambda: ctc(Wav2Vec2ForCTC, Wav2Vec2Config(**WAVES)),
    "wav2vec2, norm behind": lambda: ctc(
        Wav2Vec2ForCTC, Wav2Vec2Config(**WAVES, do_stable_layer_norm=True, feat_extract_norm="layer", add_adapter=True)
    ),
    "hubert": lambda: ctc(HubertForCTC, HubertConfig(**WAVES)),
    "wavlm": lambda: ctc(WavLMForCTC, WavLMConfig(**WAVES)),
    "w2v-bert": lambda: ctc(Wav2Vec2BertForCTC, Wav2Vec2BertConfig(**SHAPE, feature_projection_input_dim=160)),
}
family = functools.partial(pytest.mark.parametrize, "make", FAMILIES.values(), ids=FAMILIES.keys())


def names(modules, trained=True):
    """Names of a Brain's parameters."""
    return {n for n, p in torch.nn.ModuleDict(modules).named_parameters() if p.requires_grad or not trained}


@family()
def test_parts_hold_each_parameter_and_are_what_their_names_say(make):
    modules, parts = make()
    of = {id(p): n for n, p in torch.nn.ModuleDict(modules).named_parameters()}
    found = {}
    for word, part in parts.named.items():
        for one in part:
            for p in [one] if isinstance(one, torch.nn.Parameter) else one.parameters():
                assert found.setdefault(of[id(p)], word) == word == module_of(of[id(p)])
    assert found.keys() == {name for name in of.values() if not name.startswith("ctc.")}
    assert {module_of(name) for name in of.values()} <= set(WORDS)


@family()
def test_what_train_says_is_trained_and_nothing_else(make):
    reference = names(make()[0])
    for train in ("all", "none", "all_but_stem", *make()[1].named.keys() - {"stem"}):
        modules, parts = make()
        set_trained(parts, train)
        kept = {
            "all": WORDS, "none": (), "all_but_stem": ("encoder", "decoder", "head"), "encoder": ("encoder", "stem"),
        }.get(train, (train,))  # fmt: skip
        assert names(modules) == {n for n in reference if module_of(n) in kept or n.startswith("ctc.")}, train


@family()
def test_the_top_layers_and_what_comes_behind_them(make):
    for n in (1, 2, 3):
        modules, parts = make()
        reference = names(modules)
        set_trained(parts, f"encoder_top_{n}")
        layers = {f"encoder.layers.{i}." for i in range(3)}
        kept = {f"encoder.layers.{i}." for i in range(3 - n, 3)}
        trained = names(modules)
        for name in reference:
            if module_of(name) == "stem":
                assert name not in trained
            elif module_of(name) in ("decoder", "head"):
                assert name in trained
            elif any(layer in name for layer in layers):
                assert (name in trained) == any(layer in name for layer in kept), name
    below = ("feature_projection", "masked_spec_embed", "pos_conv_embed")
    assert not [name for name in trained if any(part in name for part in below)]


@pytest.mark.parametrize(
    "make, train, words",
    [
        (make_whisper, "encoders", "all, none, encoder, decoder, all_but_stem, encoder_top_N with N from 1 to 3, lora"),
        (make_whisper, "encoder_top_4", "N from 1 to 3"),
        (make_whisper, "encoder_top_0", "N from 1 to 3"),
        (make_whisper, "head", "expected all, none, encoder, decoder"),
        (make_whisper, "stem", "all_but_stem"),
        (make_whisper, 1, "N from 1 to 3"),
        (make_whisper, None, "N from 1 to 3"),
        (make_sequence, "decoder", "all, none, encoder, head, all_but_stem"),
        (FAMILIES["w2v-bert"], "decoder", "all, none, encoder, head, encoder_top_N"),
        (make_whisper, "lora", "the model has no adapters"),
    ],
)
def test_a_part_that_is_not_there_is_refused_with_what_can_be_said(make, train, words):
    with pytest.raises(ValueError, match=f"train: .*{words}"):
        set_trained(make()[1], train)


@family()
def test_lora_on_any_model_trains_its_adapters_alone_and_is_read_again(make, tmp_path):
    pytest.importorskip("peft")
    modules, parts = make()
    model, before = next(iter(modules.values())), torch.nn.ModuleDict(modules).state_dict()
    linear = [n for n, m in parts.layers[0].named_modules() if isinstance(m, torch.nn.Linear)]
    lora = LoRA(rank=2, alpha=4, targets=sorted(linear)[:2])
    adapters = lora.add(model)
    set_trained(parts, "lora")
    assert {module_of(n) for n in names(modules) if not n.startswith("ctc.")} == {"lora"}
    assert {id(p) for p in model.parameters() if p.requires_grad} == {id(p) for p in adapters.parameters()}
    torch.nn.init.normal_(next(p for n, p in adapters.named_parameters() if ".B." in n))
    lora.save(model, tmp_path)
    other = next(iter(make()[0].values()))
    other.load_state_dict({k.partition(".")[2]: t for k, t in before.items() if not k.startswith("ctc.")})
    again = LoRA(rank=2, alpha=4, targets=sorted(linear)[:2])
    read = again.add(other)
    again.load(other, tmp_path)
    assert all(torch.equal(a, b) for a, b in zip(adapters.parameters(), read.parameters(), strict=True))
    with pytest.raises(ValueError, match="lora: .* holds adapters"):
        NoLoRA().load(other, tmp_path)


def test_lora_names_the_layers_that_there_are():
    pytest.importorskip("peft")
    with pytest.raises(ValueError, match="lora: targets query are no layers of Whisper.*; its linear layers are fc1"):
        LoRA(targets=["q_proj", "query"]).add(make_whisper()[0]["whisper"])


@pytest.mark.parametrize(
    "name, word",
    [
        ("projector.gate.weight", "projector"),
        ("adapters.model_layers_0_self_attn_q_proj.A.default.weight", "lora"),
        ("encoder.hf.conv1.weight", "stem"),
        ("encoder.hf.feature_extractor.conv_layers.0.conv.weight", "stem"),
        ("encoder.hf.layers.0.fc1.weight", "encoder"),
        ("encoder.hf.encoder.layers.0.attention.k_proj.weight", "encoder"),
        ("ctc.linear.weight", "head"),
    ],
)
def test_words_of_other_modules(name, word):
    assert module_of(name) == word


def test_unknown_words():
    require_words({"head": 1e-3, "lora": 1e-4})
    with pytest.raises(ValueError, match="lr_of: heads; expected some of head, encoder, decoder, lora"):
        require_words({"heads": 1e-3, "encoder": 1e-4})
    with pytest.raises(ValueError, match="lr_of: parameter linear.weight belongs to none of head, encoder"):
        module_of("linear.weight")
