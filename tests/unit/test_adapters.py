"""Adapters of every family of models: they alone change, several stand on one base, bad folders are refused."""

import copy
import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file
from test_trained import FAMILIES, WHISPER
from transformers import WhisperConfig

from carryover.models import adapters, lora, wav2vec2
from carryover.models.lora import LoRA, merged
from carryover.models.trained import set_trained
from carryover.models.whisper_ctc import WhisperForCTC
from carryover.training import describe

peft = pytest.importorskip("peft", reason="peft is an extra: pip install -e '.[lora]'")


def make(family: str) -> tuple[torch.nn.Module, callable, str | None]:
    """Model, what it says of one fixed input, and its head."""
    torch.manual_seed(1)
    if family == "whisper":
        model = FAMILIES[family]()[0]["whisper"].eval()
        mel, tokens = torch.randn(2, 4, 16), torch.tensor([[1, 2, 3], [4, 5, 6]])
        return model, lambda m: m(mel, decoder_input_ids=tokens).logits, None
    if family == "whisper, ctc":
        model, inputs = WhisperForCTC(WhisperConfig(**WHISPER)).eval(), torch.randn(2, 16, 4)
    elif family == "w2v-bert":
        model, inputs = FAMILIES[family]()[0]["acoustic"].hf.eval(), torch.randn(2, 12, 160)
    else:
        model, inputs = FAMILIES[family]()[0]["acoustic"].hf.eval(), torch.randn(2, 400)
    return model, lambda m: m(inputs).logits, "lm_head"


def trained(model, seed: int, head: str | None, **options) -> None:
    """Put adapters into a model, of random values, and another head."""
    lora_ = LoRA(**{"rank": 2, "alpha": 4} | options)
    added = lora_.add(model)
    torch.manual_seed(seed)
    for p in [*added.parameters(), *(model.get_submodule(head).parameters() if head else ())]:
        torch.nn.init.normal_(p, std=0.3)


families = pytest.mark.parametrize("family", [name for name in FAMILIES if name != "sequence"] + ["whisper, ctc"])


@families
def test_two_adapters_on_one_base_switched(family, tmp_path):
    base, says, head = make(family)
    with torch.no_grad():
        plain = says(base)
        alone = {}
        for name, options in (("de", {}), ("nl", {"rank": 3, "alpha": 9})):
            model = copy.deepcopy(base)
            before = adapters.base_digest(model, head)
            trained(model, len(alone), head, **options)
            assert adapters.base_digest(model, head) == before == adapters.base_digest(base, head)
            assert adapters.save(model, tmp_path / name, head)
            alone[name] = says(model)
            assert (alone[name] - plain).abs().max() > 1e-3, "the adapters are not heard"
            torch.testing.assert_close(says(merged(model)), alone[name], atol=1e-5, rtol=1e-5)
            theirs = peft.PeftModel.from_pretrained(copy.deepcopy(base), tmp_path / name).eval()
            torch.testing.assert_close(says(theirs), alone[name], atol=1e-5, rtol=1e-5)
        bank, own = adapters.Bank(base), head and base.get_submodule(head)
        stored = {name: bank.add(name, tmp_path / name) for name in alone}

        def use(name):
            bank.use(name)
            if head:
                base.lm_head = copy.deepcopy(own) if name else own
                if name:
                    base.lm_head.load_state_dict(stored[name].head)
            return says(base)

        for name in ("de", None, "nl", "de", None):
            assert torch.equal(use(name), alone[name] if name else plain), name
        assert not any(p.requires_grad for n, p in base.named_parameters() if "lora_" in n)


@pytest.mark.parametrize("dora", [False, True])
def test_what_a_folder_holds(dora, tmp_path):
    model, says, head = make("w2v-bert")
    assert not adapters.save(model, tmp_path / "none"), "a model without adapters has none to write"
    trained(model, 0, head, dora=dora)
    adapters.save(model, tmp_path / "a", head)
    assert {p.name for p in (tmp_path / "a").iterdir()} == {lora.ADAPTERS, lora.CONFIG, adapters.BASE}
    tensors = load_file(tmp_path / "a" / lora.ADAPTERS)
    assert {name.split(".")[-2] if "lora_" in name else "lm_head" for name in tensors} >= {"lora_A", "lm_head"}
    assert all(name.startswith("base_model.model.") for name in tensors)
    assert any("magnitude" in name for name in tensors) == dora
    config = json.loads((tmp_path / "a" / lora.CONFIG).read_text())
    assert config["modules_to_save"] == ["lm_head"] and sorted(config["target_modules"]) == ["linear_q", "linear_v"]
    (tmp_path / "run" / "model").mkdir(parents=True)
    shutil.copytree(tmp_path / "a", tmp_path / "run" / "model" / adapters.FOLDER)
    assert adapters.read(tmp_path / "run").lora.config.use_dora == dora
    with torch.no_grad():
        torch.testing.assert_close(says(merged(model)), says(model), atol=1e-5, rtol=1e-5)


def test_an_adapter_of_another_base_is_refused(tmp_path):
    model, _, _ = make("whisper")
    other = copy.deepcopy(model)
    trained(model, 0, None)
    adapters.save(model, tmp_path / "a")
    with torch.no_grad():
        other.model.encoder.layers[0].fc1.bias[0] += 1e-3
    with pytest.raises(
        ValueError, match="adapter: .*a belongs to another base: it was trained on weights [0-9a-f]{12},"
    ):
        adapters.Bank(other).add("de", tmp_path / "a")
    assert lora.of_model(other) is None and not any("lora_" in name for name, _ in other.named_parameters())


def damaged(folder, name: str, change) -> None:
    path = folder / name
    if change is None:
        path.unlink()
    elif name == lora.ADAPTERS:
        save_file(change(load_file(path)), path)
    elif isinstance(change, bytes):
        path.write_bytes(change)
    else:
        path.write_text(json.dumps(change(json.loads(path.read_text()))))


@pytest.mark.parametrize(
    "name, change, error, words",
    [
        (lora.ADAPTERS, None, FileNotFoundError, "holds no adapter_model.safetensors"),
        (adapters.BASE, None, FileNotFoundError, "lacks base.json; .* says which base"),
        (lora.CONFIG, None, FileNotFoundError, "lacks adapter_config.json"),
        (lora.CONFIG, b"{", ValueError, "cannot be read"),
        (adapters.BASE, b"[]", ValueError, "cannot be read"),
        (lora.CONFIG, lambda c: c | {"peft_type": "IA3"}, ValueError, "holds IA3 on"),
        (lora.CONFIG, lambda c: c | {"target_modules": ".*"}, ValueError, "on .*; expected LORA on a list"),
        (lora.CONFIG, lambda c: c | {"r": 0}, ValueError, "rank 0"),
        (lora.CONFIG, lambda c: c | {"r": 3}, ValueError, "are of another model's layers"),
        (lora.ADAPTERS, lambda t: {n: x * float("nan") for n, x in t.items()}, ValueError, "not finite"),
        (lora.ADAPTERS, lambda t: {n: x for n, x in t.items() if "head" not in n}, ValueError, "lacks the lm_head"),
        (lora.ADAPTERS, lambda t: dict(list(t.items())[1:]), ValueError, "are of another model's|lacks the lm_head"),
    ],
)
def test_a_broken_folder(name, change, error, words, tmp_path):
    model, _, head = make("w2v-bert")
    base = copy.deepcopy(model)
    trained(model, 0, head)
    adapters.save(model, tmp_path / "a", head)
    damaged(tmp_path / "a", name, change)
    with pytest.raises(error, match=words):
        adapters.Bank(base).add("de", tmp_path / "a")


def test_a_cut_file(tmp_path):
    model, _, head = make("w2v-bert")
    trained(model, 0, head)
    adapters.save(model, tmp_path / "a", head)
    path = tmp_path / "a" / lora.ADAPTERS
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(ValueError, match="cannot be read"):
        adapters.read(tmp_path / "a")


def test_where_adapters_stand_unless_said():
    wanted = {
        "whisper": "q_proj v_proj", "hubert": "q_proj v_proj", "w2v-bert": "linear_q linear_v",
        "wavlm": "intermediate_dense output_dense",
    }  # fmt: skip
    for family, expected in wanted.items():
        model, says, _ = make(family)
        made = LoRA(rank=2)
        added = made.add(model)
        assert sorted(made.config.target_modules) == expected.split()
        says(model).sum().backward()
        assert all(p.grad is not None for p in added.parameters()), family
    with pytest.raises(ValueError, match="targets q_proj: the attention of WavLM reads these weights past"):
        LoRA(targets=["q_proj"]).add(make("wavlm")[0])
    with pytest.raises(ValueError, match="give targets for Sequential; its linear layers are 0"):
        LoRA().add(torch.nn.Sequential(torch.nn.Linear(2, 2)))


@pytest.mark.parametrize(
    "options, words",
    [
        ({"rank": 0}, "rank 0"),
        ({"rank": 2.5}, "rank 2.5"),
        ({"alpha": 0}, "alpha 0"),
        ({"targets": "q_proj"}, "a list"),
    ],
)
def test_odd_options(options, words):
    with pytest.raises(ValueError, match=f"lora: .*{words}"):
        LoRA(**options)


def test_the_head_of_ctc_is_trained_with_them():
    def names(train="all_but_stem", new=0, **options):
        model = make("w2v-bert")[0]
        made = wav2vec2.adapt(model, LoRA(rank=2, **options), new)
        set_trained(wav2vec2.parts(model), train)
        assert made == options.get("head", True)
        return {name for name, p in model.named_parameters() if p.requires_grad}, model

    for train in ("all", "all_but_stem", "lora"):
        found, model = names(train, new=3)
        assert {name for name in found if "lora_" not in name} == {"lm_head.weight", "lm_head.bias"}
        said = describe.trained(train, model)
        assert said == "In it low-rank adapters @[hu2022lora] of rank 2 are trained and its head; the rest is frozen."
    found, model = names("lora", head=False)
    assert found and all("lora_" in name for name in found) and "head" not in describe.trained("lora", model)
    found, _ = names("encoder_top_1")
    assert {name.split(".")[3] for name in found if "lora_" in name} == {"2"}
    with pytest.raises(ValueError, match="head: False, but 3 symbols are new"):
        names(new=3, head=False)
    with pytest.raises(ValueError, match="train: head, where no adapter of `lora` stands"):
        names("head")
