"""The frozen language model: padding on both sides, gradients, where it stops, its prompts, LoRA, and wrong input."""

import pytest
import torch
from tokenizers.processors import TemplateProcessing
from transformers import AutoModelForCausalLM, AutoTokenizer, BloomConfig, MambaConfig

from carryover import losses
from carryover.models.chat import Chat, echoes
from carryover.models.language_model import LanguageModel, load
from carryover.models.lora import LoRA
from carryover.models.pretrained import dtype_of
from tests.tiny_language_model import CHAT, make

STORIES = "stories260K"
PLAIN = {"system_prompt": "once upon a time", "template": "{system} {prompt} and"}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    return {kind: make(tmp_path_factory.mktemp(kind), kind) for kind in ("llama", "gpt2")}


@pytest.fixture(scope="module")
def models(folders):
    found = {kind: load(folder, Chat(folder, system_prompt="hear")) for kind, folder in folders.items()}
    return found


@pytest.fixture(params=["llama", "gpt2", STORIES])
def model(request, models):
    if request.param == STORIES:
        folder = str(request.getfixturevalue("shared") / "models" / STORIES)
        return load(folder, Chat(folder, **PLAIN))
    return models[request.param]


TEXTS = ["an ox", "a", "the whole of it"]


def a_batch(model, lengths=(9, 2, 5)):
    """Vectors (B, T, E) with rubbish behind each clip's own, their numbers, prompts that differ in length, answers."""
    generator = torch.Generator().manual_seed(5)
    vectors = model.scale * torch.randn(len(lengths), max(lengths), model.width, generator=generator)
    for row, n in zip(vectors, lengths, strict=True):
        row[n:] = 1e3
    prompts = [model.chat.prompt("{audio} write"), model.chat.prompt("say {audio}"), model.chat.prompt("{audio} write")]
    answers = [torch.tensor(model.chat.encode(text)) for text in TEXTS]
    tokens = torch.nn.utils.rnn.pad_sequence(answers, batch_first=True)
    return vectors, torch.tensor(lengths), prompts, tokens, torch.tensor([len(a) for a in answers])


def loss_of(model, vectors, lengths, prompts, tokens, sizes):
    log_probs = model.logits(*model.prefix(vectors, lengths, prompts), tokens, sizes).log_softmax(dim=-1)
    assert log_probs.shape[:2] == tokens.shape
    mask = torch.arange(tokens.shape[1]) < sizes[:, None]
    return losses.nll(log_probs, tokens, mask)


def test_a_clip_in_a_ragged_batch_has_the_loss_and_the_answer_that_it_has_alone(model):
    vectors, lengths, prompts, tokens, sizes = a_batch(model)
    limits = [7, 12, 20]
    together = model.generate(*model.prefix(vectors, lengths, prompts), limits)
    each = []
    for i, n in enumerate(lengths.tolist()):
        one = vectors[i : i + 1, :n], lengths[i : i + 1], [prompts[i]]
        answer = tokens[i : i + 1, : sizes[i]], sizes[i : i + 1]
        each.append(loss_of(model, *one, *answer) * sizes[i])
        assert model.generate(*model.prefix(*one), limits[i : i + 1]) == [together[i]]
        assert len(together[i]) == limits[i] or together[i][-1] in model.ends
    batched = loss_of(model, vectors, lengths, prompts, tokens, sizes)
    assert batched.item() == pytest.approx((sum(each) / sizes.sum()).item(), rel=1e-5)


def test_what_is_generated_is_the_argmax_of_what_is_trained(model):
    """Positions, masks and padding are the same in both: logits of an answer have their maxima where it stands."""
    vectors, lengths, prompts, *_ = a_batch(model)
    prefix = model.prefix(vectors, lengths, prompts)
    rows = model.generate(*prefix, [12, 12, 12])
    tokens = torch.nn.utils.rnn.pad_sequence([torch.tensor(row) for row in rows], batch_first=True)
    best = model.logits(*prefix, tokens, torch.tensor([len(row) for row in rows])).argmax(dim=-1)
    assert [best[i, : len(row)].tolist() for i, row in enumerate(rows)] == rows


def test_the_gradient_reaches_the_vectors_and_leaves_nothing_in_the_model(model):
    vectors, lengths, prompts, tokens, sizes = a_batch(model)
    vectors.requires_grad_(True)
    loss_of(model, vectors, lengths, prompts, tokens, sizes).backward()
    for row, n in zip(vectors.grad, lengths.tolist(), strict=True):
        assert (row[:n].abs().sum(dim=-1) > 0).all() and row[:n].isfinite().all()
        assert not row[n:].any(), "what is behind a clip's own vectors is not read"
    assert all(not p.requires_grad and p.grad is None for p in model.hf.parameters())
    assert not any(module.training for module in model.hf.modules())


def test_gradient_is_the_derivative(models):
    model = models["llama"]
    vectors, lengths, prompts, tokens, sizes = a_batch(model)
    hf = model.hf.double()
    try:
        vectors = vectors.double().requires_grad_(True)
        loss_of(model, vectors, lengths, prompts, tokens, sizes).backward()
        step = torch.zeros_like(vectors)
        step[0, 3, 5] = h = 1e-3  # the logits are float32 in the end
        with torch.no_grad():
            ends = [loss_of(model, vectors + s * step, lengths, prompts, tokens, sizes) for s in (1, -1)]
        assert vectors.grad[0, 3, 5].item() == pytest.approx((ends[0] - ends[1]).item() / (2 * h), rel=2e-2, abs=1e-5)
    finally:
        hf.float()


def test_answers_end_at_the_end_token_or_at_their_limit(folders):
    model = load(folders["llama"], Chat(folders["llama"]))
    vectors, lengths, prompts, *_ = a_batch(model)
    with torch.no_grad():
        model.hf.lm_head.weight[model.chat.end] = 0.0
        model.hf.lm_head.weight[5:] = 0.0
        model.hf.lm_head.weight[4] = 0.0  # all alike: the argmax is the first of them, padding
        model.hf.lm_head.weight[0] = -1.0 * model.hf.model.norm.weight.sign()
    prefix = model.prefix(vectors, lengths, prompts)
    rows = model.generate(*prefix, [3, 8, 5])
    assert all(len(row) == n or row[-1] == model.chat.end for row, n in zip(rows, [3, 8, 5], strict=True))
    assert model.generate(*prefix, [1, 1, 1]) == [row[:1] for row in rows]


def test_prompt_longer_than_the_context(tmp_path):
    folder = make(tmp_path, context=24)
    model = load(folder, Chat(folder))
    prefix = model.prefix(torch.zeros(1, 16, 32), torch.tensor([16]), [model.chat.prompt("{audio}say")])
    assert len(model.generate(*prefix, [3])[0]) <= 3
    with pytest.raises(ValueError, match="take 21 positions and the answer up to 4, but its context is 24"):
        model.generate(*prefix, [4])
    with pytest.raises(ValueError, match="context is 24"):
        model.logits(*prefix, torch.tensor([[4, 5, 6, 1]]), torch.tensor([4]))
    with pytest.raises(ValueError, match="vectors are 16 wide, the language model's embeddings 32"):
        model.prefix(torch.zeros(1, 4, 16), torch.tensor([4]), [model.chat.prompt("{audio}say")])


def test_prompts_and_answers_in_tokens(folders):
    chat = Chat(folders["llama"], system_prompt="be")
    assert chat.text("{audio}say") == "be<u>{audio}say<a>"
    before, after = chat.prompt("{audio}say")
    assert chat.hf.convert_ids_to_tokens(before) == ["b", "e", "<u>"]
    assert chat.hf.convert_ids_to_tokens(after) == ["s", "a", "y", "<a>"]
    assert chat.hf.convert_ids_to_tokens(chat.encode("zo is 't")) == [*"zo is 't", "<end>"]
    assert chat.decode([*chat.encode("zo is 't"), 5, 6]) == "zo is 't"


def test_the_end_is_what_the_template_writes_behind_an_answer(tmp_path):
    """As with models whose tokenizer ends documents by another token than their chats end turns."""
    turn = CHAT.replace("{{ m.content }}<end>", "{{ m.content }}<u>\n")
    assert Chat(make(tmp_path / "a", chat_template=turn)).end == 2
    assert Chat(make(tmp_path / "b", chat_template=CHAT.replace("<end>", ""))).end == 1


def test_a_model_without_chat_template(shared, tmp_path):
    folder = str(shared / "models" / STORIES)
    with pytest.raises(ValueError, match="has no chat template, and plain_template gives none"):
        Chat(folder)
    chat = Chat(folder, **PLAIN)
    before, after = chat.prompt("hear {audio} say")
    assert before[0] == chat.hf.bos_token_id and chat.hf.decode(before[1:]).strip() == "once upon a time hear"
    assert chat.hf.decode(after).strip() == "say and" and chat.hf.bos_token_id not in after
    assert chat.end == chat.hf.eos_token_id and chat.decode(chat.encode("one day")) == "one day"
    with pytest.raises(ValueError, match="needs {prompt} once"):
        Chat(folder, template="nothing")
    with pytest.raises(ValueError, match="has no {system}, so the model would never read system_prompt"):
        Chat(folder, system_prompt="hear", template="{prompt} and")


@pytest.mark.parametrize(
    "layout, first", [("<end> $A", [1]), ("$A <end>", []), ("<u> <a> $A <end>", [2, 3]), ("$A", [])]
)
def test_the_tokens_before_a_text_are_kept_and_those_behind_it_dropped(tmp_path, layout, first):
    """As with OPT, whose start is its end token."""
    folder = make(tmp_path, chat_template=None)
    hf = AutoTokenizer.from_pretrained(folder)
    known = [("<end>", 1), ("<u>", 2), ("<a>", 3)]
    hf.backend_tokenizer.post_processor = TemplateProcessing(single=layout, pair="$A $B", special_tokens=known)
    hf.save_pretrained(folder)
    before, after = Chat(folder, template="{prompt} and").prompt("say {audio} now")
    assert before == [*first, *hf("say ", add_special_tokens=False).input_ids]
    assert after == hf(" now and", add_special_tokens=False).input_ids


@pytest.mark.parametrize("kind", [BloomConfig, MambaConfig])
def test_a_model_without_positions_or_context_is_refused(tmp_path, kind):
    folder = make(tmp_path)
    config = kind(vocab_size=35, hidden_size=32, num_hidden_layers=1, n_head=2)
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    with pytest.raises(ValueError, match="lacks position_ids in forward, max_position_embeddings in config.json"):
        load(folder, Chat(folder))


def test_wrong_chats(tmp_path):
    without = make(tmp_path / "a", pad_token=None)
    with pytest.raises(ValueError, match="has no pad token; name one of its tokens in pad_token, e.g. '<end>'"):
        Chat(without)
    assert Chat(without, pad_token="<end>").pad == 1
    with pytest.raises(ValueError, match="'<none>' is no token"):
        Chat(without, pad_token="<none>")
    folder = make(tmp_path / "b")
    with pytest.raises(ValueError, match="has a chat template; plain_template is for models without"):
        Chat(folder, template="{prompt}")
    for prompt in ("say", "{audio}{audio}"):
        with pytest.raises(ValueError, match="exactly once"):
            Chat(folder).prompt(prompt)
    dated = "{{ strftime_now('%d %B %Y') }}" + CHAT
    with pytest.raises(ValueError, match="today's date"):
        Chat(make(tmp_path / "c", chat_template=dated)).prompt("{audio}say")
    endless = make(tmp_path / "d", eos_token=None, chat_template=CHAT.replace("<end>", ""))
    with pytest.raises(ValueError, match="has no end token"):
        Chat(endless)


@pytest.mark.parametrize("revision", [None, "main", "v1.0", "a" * 39])
def test_a_name_of_the_hub_is_pinned_to_a_commit(revision):
    with pytest.raises(ValueError, match="language_model_revision: .* for owner/name; give the commit"):
        Chat("owner/name", revision)
    with pytest.raises(ValueError, match="float16"):
        dtype_of("float16")


def test_only_safetensors_are_read(tmp_path):
    folder = make(tmp_path)
    (tmp_path / "model.safetensors").rename(tmp_path / "pytorch_model.bin")
    with pytest.raises(FileNotFoundError, match=r"model: .* cannot be loaded: [^\n]*only safetensors are read[^\n]*$"):
        load(folder, Chat(folder))


def test_scale_is_the_root_mean_square_of_the_embeddings(models):
    table = models["gpt2"].hf.get_input_embeddings().weight.double()
    assert models["gpt2"].scale == pytest.approx(table.square().mean().sqrt().item(), rel=1e-6)


def test_lora_begins_as_the_model_itself_and_trains_alone(folders, tmp_path):
    peft = pytest.importorskip("peft")
    folder = folders["llama"]
    plain = load(folder, Chat(folder))
    model = load(folder, Chat(folder), lora=LoRA(rank=2, alpha=4, targets=["q_proj", "v_proj"]))
    batch = a_batch(model)
    assert loss_of(model, *batch).item() == loss_of(plain, *batch).item()
    adapters = dict(model.adapters.named_parameters())
    assert len(adapters) == 8 and all(p.requires_grad for p in adapters.values())
    # q: 2 (32 + 32), v: 2 (32 + 16) in each of two layers
    assert sum(p.numel() for p in adapters.values()) == 2 * (2 * 64 + 2 * 48)
    assert {id(p) for p in model.hf.parameters() if p.requires_grad} == {id(p) for p in adapters.values()}
    with torch.no_grad():
        for p in adapters.values():
            p.add_(0.1)
    changed = loss_of(model, *batch)
    assert changed.item() != loss_of(plain, *batch).item()
    model.lora.save(model.hf, tmp_path)
    theirs = peft.PeftModel.from_pretrained(load(folder, Chat(folder)).hf, tmp_path)
    again = LanguageModel(theirs.base_model.model, plain.chat)
    assert loss_of(again, *batch).item() == pytest.approx(changed.item(), rel=1e-6)


@pytest.mark.parametrize(
    "text, echo",
    [
        ("Write down what is said.", True), ("he said write down what he wants", True), ("what is it", False),
        ("", False), ("write", False),
    ],
)  # fmt: skip
def test_echoes(text, echo):
    assert echoes(text, "{audio}\nWrite down what is said.") is echo
    assert echoes("And what's being said?", "{audio}Write what's being said") and not echoes("what's new", "what's old")
    assert echoes("ik transcribe niet", "{audio}transcribe") and not echoes("niets", "{audio}")
