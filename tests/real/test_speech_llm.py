"""Whisper base's encoder, a projector and SmolLM2: sizes, the scale of what is read, one prompt in training and use."""

import pytest
import torch
from speechbrain import Stage
from transformers import AutoModelForCausalLM, AutoTokenizer

from tests.recipes.helpers import batches, make_brain

from .conftest import corpus

SYSTEM, PROMPT = "You write down speech.", "{audio}\nWrite down what is said."


@pytest.fixture(scope="module")
def brain(whisper_base, smollm2, tmp_path_factory):
    folder = tmp_path_factory.mktemp("speech_llm")
    given = corpus(folder / "en", "en", test=8) | {
        "encoder": whisper_base, "language_model": smollm2, "output_folder": str(folder / "run"), "precision": "fp32",
        "encoder_dtype": "float32", "language_model_dtype": "float32", "num_workers": "0", "hidden": "1024",
        "system_prompt": SYSTEM, "prompt": '"' + PROMPT.replace("\n", "\\n") + '"', "template_options": "{}",
    }  # fmt: skip
    brain, _, manifests = make_brain(given, "speech_llm_real", splits=("test",))
    brain.modules.eval()
    brain.clips = batches(brain, manifests / "test.csv", 4, Stage.TEST)
    return brain


@pytest.fixture(scope="module")
def theirs(smollm2):
    return AutoModelForCausalLM.from_pretrained(smollm2, dtype=torch.float32).eval()


def test_parameters(brain, theirs):
    assert sum(p.numel() for p in theirs.parameters()) == 134_515_008
    assert sum(p.numel() for p in brain.language_model.hf.parameters()) == 134_515_008
    assert not any(p.requires_grad for p in brain.language_model.hf.parameters())
    bridge = 2 * (2 * 512 * 1024) + 1024 * 576 + 576  # SwiGLU's three matrices and its norm
    trained, every = brain.parameter_counts()
    assert trained == bridge
    assert every == bridge + 134_515_008 + sum(p.numel() for p in brain.encoder.parameters())


def test_projected_vectors_are_as_large_as_embeddings(brain, theirs):
    """Root mean square over the vectors of real speech, within a factor of 2 of that of all embeddings."""
    states, frames = brain.encode(brain.clips[0])
    vectors, lengths = brain.modules.projector(states, frames)
    heard = torch.cat([one[:n] for one, n in zip(vectors, lengths.tolist(), strict=True)])
    embeddings = theirs.get_input_embeddings().weight.detach()
    ratio = (heard.square().mean() / embeddings.square().mean()).sqrt().item()
    assert 0.5 < ratio < 2, ratio
    assert heard.isfinite().all() and len(heard) == sum(-(-int(n) // 2) for n in frames)


def test_one_prompt_in_training_and_in_use(brain, smollm2, theirs, monkeypatch):
    """What stands before the answer, vector for vector, is the chat template's text with the audio in its place."""
    seen, forward = [], brain.language_model.hf.forward

    def spy(*args, **kwargs):
        seen.append((kwargs.get("inputs_embeds"), kwargs.get("attention_mask")))  # none after the first answered token
        return forward(*args, **kwargs)

    batch = brain.clips[0]
    trained_on = []
    monkeypatch.setattr(brain.language_model.hf, "forward", spy)
    for stage in (Stage.TRAIN, Stage.TEST):
        with torch.no_grad():
            output = brain.compute_forward(batch, stage)
        trained_on.append(seen.pop())
    prefixes = []
    generate = brain.language_model.hf.generate
    monkeypatch.setattr(
        brain.language_model.hf,
        "generate",
        lambda **kw: prefixes.append(kw) or generate(**(kw | {"max_new_tokens": 2})),
    )
    with torch.no_grad():
        brain.transcribe(output, batch, Stage.TEST)
    (asked,) = prefixes
    length = asked["inputs_embeds"].shape[1]
    for embedded, mask in trained_on:
        assert torch.equal(embedded[:, :length], asked["inputs_embeds"])
        assert torch.equal(mask[:, :length], asked["attention_mask"])

    tokenizer = AutoTokenizer.from_pretrained(smollm2)
    messages = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": PROMPT}]
    text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    before, after = (tokenizer(part, add_special_tokens=False).input_ids for part in text.split("{audio}"))
    with torch.no_grad():
        vectors, lengths = brain.modules.projector(*brain.encode(batch))
        table = theirs.get_input_embeddings()
        for row, (vector, n) in enumerate(zip(vectors, lengths.tolist(), strict=True)):
            wanted = torch.cat([table(torch.tensor(before)), vector[:n], table(torch.tensor(after))])
            torch.testing.assert_close(asked["inputs_embeds"][row, length - len(wanted) :], wanted, rtol=0, atol=1e-6)
            assert asked["attention_mask"][row].tolist() == [0] * (length - len(wanted)) + [1] * len(wanted)


def test_the_loss_is_transformers(brain, theirs, smollm2):
    """Mean over the answers' tokens and ends, of clips one at a time without padding; 1e-5."""
    tokenizer, batch = AutoTokenizer.from_pretrained(smollm2), brain.clips[0]
    with torch.no_grad():
        output = brain.compute_forward(batch, Stage.TEST)
        found = brain.compute_objectives(output, batch, Stage.TEST)["nll"].item()
        vectors, lengths = brain.modules.projector(*brain.encode(batch))
        prefix, inside = brain.language_model.prefix(vectors, lengths, brain.tasks.of([0] * len(batch.id)))
        total, tokens = 0.0, 0
        for row, one, there in zip(batch.row, prefix, inside, strict=True):
            answer = tokenizer(brain.hparams.target_text(row["text"], "en"), add_special_tokens=False).input_ids
            answer = torch.tensor([*answer, tokenizer.convert_tokens_to_ids("<|im_end|>")])
            embedded = torch.cat([one[there], theirs.get_input_embeddings()(answer)])[None]
            labels = torch.cat([torch.full((int(there.sum()),), -100), answer])[None]
            total += theirs(inputs_embeds=embedded, labels=labels).loss.item() * len(answer)
            tokens += len(answer)
    assert found == pytest.approx(total / tokens, abs=1e-5)


def test_a_gradient_comes_back_through_the_language_model(brain):
    output = brain.compute_forward(brain.clips[0], Stage.TRAIN)
    brain.compute_objectives(output, brain.clips[0], Stage.TRAIN)["nll"].backward()
    norms = {name: p.grad.norm().item() for name, p in brain.modules.projector.named_parameters()}
    assert all(norm > 0 for norm in norms.values()), norms
    brain.modules.zero_grad()
