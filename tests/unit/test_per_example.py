"""Gradients of single examples from a batch: layer by layer, whole models, and what must be refused."""

import pytest
import torch
from torch import nn
from transformers import (
    Wav2Vec2BertConfig,
    Wav2Vec2BertForCTC,
    Wav2Vec2Config,
    Wav2Vec2ForCTC,
    WavLMConfig,
    WavLMForCTC,
    WhisperConfig,
    WhisperForConditionalGeneration,
)

from carryover.forgetting import ewc, fisher
from carryover.forgetting.per_example import PerExampleGradients
from carryover.losses import ctc
from carryover.models.wav2vec2 import CTCModel


def from_batch(per_example, function, batch):
    """{name: (B, *shape)}"""
    _, gradients = per_example(function, batch)
    found = {}
    for name, g in gradients:
        found.setdefault(name, []).append(g)
    return {name: torch.cat(gs) for name, gs in found.items()}


def one_at_a_time(parameters, function, batch):
    rows = [torch.autograd.grad(function(batch[i : i + 1])[0], list(parameters.values())) for i in range(len(batch))]
    return {name: torch.stack(gs) for name, gs in zip(parameters, zip(*rows, strict=True), strict=True)}


def values_of(module):
    def values(x):
        y = module(x)
        weights = torch.linspace(-1, 1, y[0].numel()).view_as(y[0])  # a sum alone has no gradient behind a norm
        return (y.sin() * weights).flatten(1).sum(1)

    return values


class Tied(nn.Module):
    """An embedding whose weight also writes the logits, as language models have it."""

    def __init__(self):
        super().__init__()
        self.read, self.write = nn.Embedding(7, 4), nn.Linear(4, 7)
        self.write.weight = self.read.weight

    def forward(self, ids):
        return self.write(self.read(ids).tanh())


class Scale(nn.Module):
    """A direct parameter, which no formula knows."""

    def __init__(self):
        super().__init__()
        self.scale, self.inner = nn.Parameter(torch.rand(5)), nn.Linear(5, 5)

    def forward(self, x):
        return self.inner(x * self.scale) + self.scale


class Handed(nn.Module):
    """Gives on, beside what it makes, a part of its input (as a layer gives position biases to the next)."""

    def __init__(self):
        super().__init__()
        self.first, self.scale = nn.Linear(5, 5), Pair()

    def forward(self, x):
        made, same = self.scale(self.first(x))
        return made + same


class Pair(nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.rand(5))

    def forward(self, x):
        return x * self.scale, x.tanh()


class Twice(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(5, 5)

    def forward(self, x):
        return self.layer(self.layer(x).tanh())


class Zeroed(nn.Module):
    """In place on a layer's output, a view, whose gradient then arrives elsewhere. wav2vec2 zeroes its padding so."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(5, 5)

    def forward(self, x):
        hidden = self.layer(x)
        hidden[:, 0] = 0.0
        return hidden.tanh()


def ids(*shape):
    return torch.randint(0, 7, shape, generator=torch.Generator().manual_seed(1))


def noise(*shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(1))


LAYERS = {
    "linear": (lambda: nn.Linear(5, 3), noise(6, 4, 5), True),
    "linear, flat input": (lambda: nn.Linear(5, 3), noise(6, 5), True),
    "linear, deep input": (lambda: nn.Linear(5, 3, bias=False), noise(6, 2, 3, 5), True),
    "layer norm": (lambda: nn.LayerNorm(5), noise(6, 4, 5), True),
    "layer norm of two axes": (lambda: nn.LayerNorm((4, 5)), noise(6, 3, 4, 5), True),
    "group norm": (lambda: nn.GroupNorm(2, 4), noise(6, 4, 9), True),
    "convolution": (lambda: nn.Conv1d(4, 6, 3, stride=2, padding=1), noise(6, 4, 10), True),
    "convolution, grouped": (lambda: nn.Conv1d(4, 6, 3, dilation=2, groups=2), noise(6, 4, 11), True),
    "convolution, depthwise": (lambda: nn.Conv1d(4, 4, 5, padding=2, groups=4, bias=False), noise(6, 4, 11), True),
    "convolution, pointwise": (lambda: nn.Conv1d(4, 8, 1), noise(6, 4, 11), True),
    "convolution, same": (lambda: nn.Conv1d(4, 8, 4, padding="same"), noise(6, 4, 11), False),
    "convolution, circular": (lambda: nn.Conv1d(4, 8, 3, padding=1, padding_mode="circular"), noise(6, 4, 9), False),
    "convolution, two axes": (lambda: nn.Conv2d(2, 3, 3), noise(6, 2, 5, 5), False),
    "weight norm": (lambda: nn.utils.parametrizations.weight_norm(nn.Conv1d(4, 4, 3), dim=2), noise(6, 4, 9), False),
    "embedding": (lambda: nn.Embedding(7, 3), ids(6, 4), True),
    "embedding with padding": (lambda: nn.Embedding(7, 3, padding_idx=2), ids(6, 9), True),
    "batch norm, evaluated": (lambda: nn.BatchNorm1d(4), noise(6, 4, 5), False),
    "recurrent": (lambda: nn.Sequential(nn.Linear(5, 4), First(nn.GRU(4, 3, batch_first=True))), noise(6, 4, 5), False),
    "direct parameter": (Scale, noise(6, 4, 5), False),
    "handed on": (Handed, noise(6, 4, 5), False),
    "used twice": (Twice, noise(6, 4, 5), True),
    "zeroed in place": (Zeroed, noise(6, 4, 5), True),
    "tied": (Tied, ids(6, 4), True),
}


class First(nn.Module):
    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, x):
        return self.inner(x)[0]


@pytest.mark.parametrize("chunk_bytes", [1, 2**26])
@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_gives_each_examples_own_gradient(name, chunk_bytes):
    torch.manual_seed(0)
    make, batch, formula = LAYERS[name]
    module = make().eval()
    parameters = dict(module.named_parameters())
    per_example = PerExampleGradients(module, parameters, chunk_bytes)
    found = from_batch(per_example, values_of(module), batch)
    wanted = one_at_a_time(parameters, values_of(module), batch)
    assert found.keys() == wanted.keys()
    for parameter, g in wanted.items():
        torch.testing.assert_close(found[parameter], g, rtol=1e-4, atol=1e-6)
    assert formula == all(layer.formula is not None for group in per_example.plan for layer in group)
    short = from_batch(per_example, values_of(module), batch[:3])  # the plan is kept; the last batch is short
    assert all(torch.allclose(short[n], wanted[n][:3], rtol=1e-4, atol=1e-6) for n in wanted)
    single = from_batch(per_example, values_of(module), batch[:1])
    assert all(torch.allclose(single[n], wanted[n][:1], rtol=1e-4, atol=1e-6) for n in wanted)


# ---- what cannot be covered is an error that names the parameter ----


class Outside(nn.Module):
    """Uses a layer's weight without calling the layer, as WavLM's attention does, on (T, B, C)."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(5, 4), nn.Linear(4, 4)

    def forward(self, x):
        return nn.functional.linear(self.first(x.transpose(0, 1)), self.second.weight).transpose(0, 1)


class Mixing(nn.Module):
    """One example's value depends on the others."""

    def __init__(self):
        super().__init__()
        self.inner = nn.Linear(5, 5)

    def forward(self, x):
        return self.inner(x - x.mean(0)).cumsum(0)


def nested(module):
    """Deep enough for two levels around it not to be the whole model, whose input is batch-first."""
    return nn.Sequential(nn.Sequential(nn.Sequential(Turned(module))))


class Turned(nn.Module):
    def __init__(self, inner):
        super().__init__()
        self.inner = nn.Sequential(nn.Sequential(nn.Sequential(inner)))

    def forward(self, x):
        return self.inner(x.transpose(0, 1)).transpose(0, 1)


def test_a_layer_inside_that_is_not_called_is_covered_by_the_module_around_it():
    torch.manual_seed(0)
    module = Outside()
    parameters = {n: p for n, p in module.named_parameters() if n != "second.bias"}
    found = from_batch(PerExampleGradients(module, parameters), values_of(module), noise(6, 4, 5))
    for name, g in one_at_a_time(parameters, values_of(module), noise(6, 4, 5)).items():
        torch.testing.assert_close(found[name], g, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("T", [4, 6])
def test_time_before_batch_is_refused_even_where_their_numbers_are_equal(T):
    module = nested(nn.Linear(5, 5))
    per_example = PerExampleGradients(module, dict(module.named_parameters()))
    with pytest.raises(ValueError, match=r"inner\.0\.0\.0\.weight.*give batches of one"):
        from_batch(per_example, values_of(module), noise(6, T, 5))


def test_examples_that_depend_on_each_other_are_refused():
    module = Mixing()
    with pytest.raises(ValueError, match=r"inner\.weight.*differs by|inner\.weight.*another output"):
        from_batch(PerExampleGradients(module, dict(module.named_parameters())), values_of(module), noise(6, 4, 5))


def test_an_input_that_is_changed_afterwards_is_refused():
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = nn.Sequential(nn.Sequential(nn.Sequential(nn.Linear(5, 5, bias=False))))

        def forward(self, x):
            y = self.inner(x)
            if len(x) < 6:
                x.data = x.data.clone()  # autograd's own copy stays
                x.detach().zero_()
            return y

    module = Model()
    per_example = PerExampleGradients(module, dict(module.named_parameters()))
    from_batch(per_example, values_of(module), noise(6, 4, 5))
    with pytest.raises(ValueError, match=r"inner\.0\.0\.0\.weight: .*changed in place"):
        from_batch(per_example, values_of(module), noise(5, 4, 5))


def test_a_later_batch_of_another_kind_is_refused():
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(5, 5), nn.Linear(5, 5)

        def forward(self, x):
            return self.b(self.a(x)) if x.shape[1] > 4 else self.a(x)

    module = Model()
    per_example = PerExampleGradients(module, dict(module.named_parameters()))
    assert set(from_batch(per_example, values_of(module), noise(6, 4, 5))) == {"a.weight", "a.bias"}
    with pytest.raises(ValueError, match=r"b\.weight: had no part in the first batch"):
        from_batch(per_example, values_of(module), noise(6, 5, 5))


def test_parameters_of_elsewhere_and_values_of_no_batch_are_refused():
    module = nn.Linear(5, 5)
    with pytest.raises(ValueError, match="other: no parameter of these modules"):
        PerExampleGradients(module, {"other": nn.Parameter(torch.ones(1))})
    with pytest.raises(ValueError, match=r"values are \(\)"):
        PerExampleGradients(module, dict(module.named_parameters()))(lambda x: module(x).sum(), noise(6, 5))
    with pytest.raises(ValueError, match="6 values from one utterance; batches need `modules`"):
        fisher.fisher(dict(module.named_parameters()), lambda x: module(x).sum(1), [noise(6, 5)])


# ---- whole models: the Fisher of a padded, ragged batch of 16 is that of 16 single passes ----


def bert(positions):
    return Wav2Vec2BertForCTC(
        Wav2Vec2BertConfig(
            vocab_size=12, hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64,
            output_hidden_size=32, feature_projection_input_dim=160, position_embeddings_type=positions,
            left_max_position_embeddings=8, right_max_position_embeddings=4, conv_depthwise_kernel_size=7,
            max_source_positions=80, apply_spec_augment=False, pad_token_id=0, initializer_range=0.2,
        )
    )  # fmt: skip


SMALL = dict(
    vocab_size=12, hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64,
    conv_dim=(16, 16), conv_stride=(8, 5), conv_kernel=(16, 10), num_feat_extract_layers=2, num_conv_pos_embeddings=8,
    num_conv_pos_embedding_groups=2, apply_spec_augment=False, pad_token_id=0, initializer_range=0.2,
)  # fmt: skip


def wav2vec2(**options):
    model = Wav2Vec2ForCTC(Wav2Vec2Config(**SMALL | options))
    model.freeze_feature_encoder()
    return model


def wavlm():
    model = WavLMForCTC(WavLMConfig(**SMALL, feat_extract_norm="layer", do_stable_layer_norm=True))
    model.freeze_feature_encoder()
    return model


MODELS = {
    "w2v-BERT, rotary": lambda: bert("rotary"),
    "w2v-BERT, relative_key": lambda: bert("relative_key"),
    "w2v-BERT, relative": lambda: bert("relative"),
    "wav2vec2": lambda: wav2vec2(feat_extract_norm="layer", do_stable_layer_norm=True),
    "wav2vec2, norm after": lambda: wav2vec2(feat_extract_norm="layer"),
}


class Speech:
    """A tiny CTC model, and what EWC asks of a brain; utterances of 16 different lengths."""

    device = "cpu"

    def __init__(self, make, dtype=torch.float32):
        torch.manual_seed(0)
        hf = make().to(dtype)
        self.modules = nn.ModuleDict({"acoustic": CTCModel(hf.eval(), [])})
        bank, generator = hf.config.model_type == "wav2vec2-bert", torch.Generator().manual_seed(3)
        self.inputs = [
            torch.randn((20 + 3 * i, 160) if bank else (900 + 111 * i,), generator=generator).to(dtype)
            for i in range(16)
        ]
        self.targets = [torch.randint(1, 12, (1 + i % 5,), generator=generator) for i in range(16)]

    def batch(self, numbers):
        inputs, targets = [self.inputs[i] for i in numbers], [self.targets[i] for i in numbers]
        pad = nn.utils.rnn.pad_sequence
        return (
            pad(inputs, batch_first=True), torch.tensor([len(x) for x in inputs]),
            pad(targets, batch_first=True), torch.tensor([len(y) for y in targets]),
        )  # fmt: skip

    def utterances(self, dataset, n, seed, batch_size=1):
        order = torch.randperm(16, generator=torch.Generator().manual_seed(seed))[:n].tolist()
        for start in range(0, n, batch_size):
            yield self.batch(order[start : start + batch_size])

    def log_likelihood(self, batch, labels="gold", generator=None):
        inputs, lengths, targets, numbers = batch
        logits, frames = self.modules["acoustic"](inputs, lengths)
        log_probs = logits.log_softmax(-1)
        if labels == "sampled":
            drawn = ctc.sample(log_probs, frames, 0, generator)
            numbers = torch.tensor([len(y) for y in drawn])
            targets = nn.utils.rnn.pad_sequence([torch.tensor(y or [1]) for y in drawn], batch_first=True)
        return ctc.log_likelihood(log_probs, frames, targets, numbers, blank=0), numbers

    def outputs(self, batch):
        logits, frames = self.modules["acoustic"](*batch[:2])
        return logits * (torch.arange(logits.shape[1]) < frames[:, None])[..., None]

    def parameters(self):
        return {n: p for n, p in self.modules.named_parameters() if p.requires_grad}


@pytest.mark.parametrize("dtype, tolerance", [(torch.float64, 1e-6), (torch.float32, 1e-4)])
@pytest.mark.parametrize("name", MODELS)
def test_the_fisher_of_a_batch_of_16_is_that_of_16_single_passes(name, dtype, tolerance):
    """Of each tensor's largest entry; in float64 the method, in float32 also the model's own rounding.

    Attention's key biases have a true gradient of zero: theirs is rounding, and below the floor.
    """
    brain = Speech(MODELS[name], dtype)

    def estimate(batch_size):
        return fisher.fisher(
            brain.parameters(), lambda batch: brain.log_likelihood(batch)[0],
            brain.utterances(None, 16, 0, batch_size), modules=brain.modules,
        )  # fmt: skip

    single = estimate(1)
    floor = 1e-12 * max(F.max().item() for F in single.values())
    for batch_size in (16, 5):  # 5, 5, 5 and a last batch of one
        for parameter, F in estimate(batch_size).items():
            difference, largest = (F - single[parameter]).abs().max().item(), single[parameter].max().item()
            assert difference <= tolerance * largest + floor, (parameter, difference / largest)
    rounding = {n.split(".", 2)[-1] for n, F in single.items() if F.max() <= 100 * floor}
    assert all(n.endswith(("k_proj.bias", "linear_k.bias", "masked_spec_embed")) for n in rounding), rounding


@pytest.mark.parametrize("make", [ewc.EWC, ewc.MAS])
@pytest.mark.parametrize("options", [{}, {"labels": "sampled"}])
def test_penalties_estimate_the_same_in_batches(make, options):
    if make is ewc.MAS and options:
        return
    brain = Speech(MODELS["w2v-BERT, rotary"])

    def estimate(batch_size):
        penalty = make(1.0, batch_size=batch_size, **options)
        return penalty.estimate(brain, brain.utterances(None, 16, 0, batch_size), 16, brain.parameters())

    single, batched = estimate(1), estimate(6)
    floor = 1e-6 * max(F.max().item() for F in single.values())  # MAS does not square: rounding is not, either
    assert all((batched[n] - F).abs().max() <= 1e-4 * F.max() + floor for n, F in single.items())


def test_a_norm_over_time_is_refused_because_padding_changes_it():
    brain = Speech(lambda: wav2vec2(feat_extract_norm="group"))
    for make in (ewc.EWC, ewc.MAS):
        with pytest.raises(ValueError, match="padding changes this model .* Give batch_size: 1"):
            make(1.0, batch_size=4)._check_padding(brain, None, 16)
        make(1.0, batch_size=4)._check_padding(Speech(MODELS["wav2vec2"]), None, 16)


def test_whispers_tied_embedding_and_its_positions_without_a_batch_are_covered():
    torch.manual_seed(0)
    config = WhisperConfig(
        vocab_size=20, num_mel_bins=8, d_model=16, encoder_layers=1, decoder_layers=1, encoder_attention_heads=2,
        decoder_attention_heads=2, encoder_ffn_dim=32, decoder_ffn_dim=32, max_source_positions=20,
        max_target_positions=12, pad_token_id=0, bos_token_id=1, eos_token_id=2, decoder_start_token_id=1, init_std=0.2,
    )  # fmt: skip
    model = WhisperForConditionalGeneration(config).double().eval()
    mel, tokens = noise(6, 8, 40).double(), torch.randint(3, 20, (6, 9), generator=torch.Generator().manual_seed(2))

    def log_p(numbers):
        log_probs = model(mel[numbers], decoder_input_ids=tokens[numbers, :-1], use_cache=False).logits.log_softmax(-1)
        return log_probs.gather(2, tokens[numbers, 1:, None]).sum((1, 2))

    parameters = {n: p for n, p in model.named_parameters() if p.requires_grad}
    per_example = PerExampleGradients(model, parameters)
    found = from_batch(per_example, log_p, torch.arange(6))
    for name, g in one_at_a_time(parameters, log_p, torch.arange(6)).items():
        torch.testing.assert_close(found[name], g, rtol=1e-8, atol=1e-10)
    again = {n for group in per_example.plan for layer in group if layer.formula is None for n in layer.names}
    assert again == {"model.decoder.embed_positions.weight"}


def test_wavlm_is_refused_by_name():
    """Its attention takes weights without calling their layers, and hands position biases from layer to layer."""
    brain = Speech(wavlm)
    with pytest.raises(ValueError, match=r"attention\.\S+.*give batches of one"):
        fisher.fisher(
            brain.parameters(), lambda b: brain.log_likelihood(b)[0], brain.utterances(None, 4, 0, 4),
            modules=brain.modules,
        )  # fmt: skip
