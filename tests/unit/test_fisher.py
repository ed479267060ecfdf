"""Importance of parameters against closed forms, and the file that it is kept in."""

import itertools
import math

import pytest
import torch
from safetensors.torch import save_file

from carryover.forgetting import fisher
from carryover.losses import ctc


def linear(outputs, inputs, seed=0):
    """Weight (outputs, inputs) and bias (outputs,), by name."""
    g = torch.Generator().manual_seed(seed)
    return {
        "weight": torch.randn(outputs, inputs, generator=g).requires_grad_(),
        "bias": torch.randn(outputs, generator=g).requires_grad_(),
    }


def log_softmax(parameters, x):
    return torch.log_softmax(torch.nn.functional.linear(x, parameters["weight"], parameters["bias"]), dim=-1)


def exact_softmax_moment(parameters, xs, power):
    """mean over x of E_y[(d log p(y|x) / d theta)^power] in closed form, and of the square of it at power / 2.

    d log p(y|x) / d W_kd = (1[y = k] - p_k) x_d; the bias is a weight whose x_d is 1.
    """
    p = log_softmax(parameters, xs).exp().detach().double()  # (N, K)
    moment = p * (1 - p) ** power + (1 - p) * p**power  # (N, K)
    x = torch.cat([xs, torch.ones(len(xs), 1)], dim=1).double()  # (N, D + 1)
    each = moment[:, :, None] * x[:, None, :] ** power  # (N, K, D + 1)
    return each


def test_the_exact_sum_over_labels_is_the_fisher_of_softmax_regression():
    parameters, xs = linear(4, 3), torch.randn(6, 3, generator=torch.Generator().manual_seed(1))

    def weighted(pair):  # scaled by sqrt(p(y|x)), the mean over all pairs is 1/4 of the sum over labels
        x, y = pair
        log_p = log_softmax(parameters, x)[y]
        return log_p.detach().div(2).exp() * log_p

    found = fisher.fisher(parameters, weighted, [(x, y) for x in xs for y in range(4)])
    wanted = exact_softmax_moment(parameters, xs, 2).mean(0)
    torch.testing.assert_close(4 * found["weight"].double(), wanted[:, :3], rtol=0, atol=1e-6)
    torch.testing.assert_close(4 * found["bias"].double(), wanted[:, 3], rtol=0, atol=1e-6)


def within_four_standard_errors(found, exact, variance, draws):
    """`variance` of one squared gradient's mean over x, given x; each x is drawn `draws` times."""
    standard_error = (variance / draws).sqrt()
    z = (found.double() - exact) / standard_error
    assert z.abs().max() < 4, z
    assert z.abs().mean() > 0.2, "closer than chance allows: the standard error is wrong"


def test_sampled_labels_give_the_true_fisher_of_softmax_regression():
    parameters, xs = linear(3, 4), torch.randn(8, 4, generator=torch.Generator().manual_seed(2))
    generator, draws = torch.Generator().manual_seed(3), 100

    def sampled(x):
        log_p = log_softmax(parameters, x)
        return log_p[torch.multinomial(log_p.detach().exp(), 1, generator=generator)]

    found = fisher.fisher(parameters, sampled, [x for x in xs for _ in range(draws)])
    second, fourth = exact_softmax_moment(parameters, xs, 2), exact_softmax_moment(parameters, xs, 4)
    variance = (fourth - second**2).mean(0) / len(xs)
    within_four_standard_errors(
        torch.cat([found["weight"], found["bias"][:, None]], dim=1), second.mean(0), variance, draws
    )


def test_sampled_targets_give_the_true_fisher_of_a_linear_gaussian_model():
    """log N(y; W x, s^2 I): the residual is Gaussian, so F = x^2 / s^2 and the squares' variance 2 x^4 / s^4."""
    parameters, s, draws = linear(2, 3), 0.7, 100
    xs = torch.randn(8, 3, generator=torch.Generator().manual_seed(4))
    generator = torch.Generator().manual_seed(5)

    def sampled(x):
        mean = torch.nn.functional.linear(x, parameters["weight"], parameters["bias"])
        y = mean.detach() + s * torch.randn(mean.shape, generator=generator)
        return -((y - mean) ** 2).sum() / (2 * s**2)

    found = fisher.fisher(parameters, sampled, [x for x in xs for _ in range(draws)])
    x = torch.cat([xs, torch.ones(8, 1)], dim=1).double()
    exact, variance = (x**2 / s**2).mean(0).expand(2, 4), (2 * x**4 / s**4).mean(0).expand(2, 4) / 8
    within_four_standard_errors(torch.cat([found["weight"], found["bias"][:, None]], dim=1), exact, variance, draws)


def test_ctc_paths_collapsed_give_the_true_fisher_of_ctc():
    """Against the sum over every target that 3 frames of 3 symbols can write."""
    logits = torch.randn(1, 3, 3, generator=torch.Generator().manual_seed(6)).requires_grad_()
    frames = torch.tensor([3])

    def log_p(y):
        log_probs = logits.log_softmax(-1)
        return ctc.log_likelihood(log_probs, frames, torch.tensor([y or [1]]), torch.tensor([len(y)]), blank=0)

    every = [list(y) for n in range(4) for y in itertools.product((1, 2), repeat=n) if ctc.frames_needed(y) <= 3]
    p, squares = [], []
    for y in every:
        value = log_p(y)
        squares.append(torch.autograd.grad(value.sum(), logits)[0].double() ** 2)
        p.append(value.detach().double().exp())
    assert sum(p).item() == pytest.approx(1.0, abs=1e-6)
    exact = sum(p * g for p, g in zip(p, squares, strict=True))
    variance = sum(p * g**2 for p, g in zip(p, squares, strict=True)) - exact**2

    generator, draws = torch.Generator().manual_seed(7), 600
    found = fisher.fisher(
        {"logits": logits},
        lambda _: log_p(ctc.sample(logits.log_softmax(-1), frames, 0, generator)[0]),
        range(draws),
    )
    within_four_standard_errors(found["logits"], exact, variance, draws)


def test_gold_labels_give_the_mean_of_squares_not_the_square_of_the_mean():
    theta = torch.zeros(2, requires_grad=True)
    gradients = torch.tensor([[3.0, 1.0], [1.0, -1.0]])  # means 2 and 0, so their squares would be 4 and 0
    found = fisher.fisher({"theta": theta}, lambda g: (g * theta).sum(), gradients)
    assert found["theta"].tolist() == [5.0, 1.0]


def test_sensitivity_of_a_linear_model():
    """d ||W x||^2 / dW = 2 (W x) x^T; the mean is of absolute values."""
    W = torch.randn(3, 4, generator=torch.Generator().manual_seed(8)).requires_grad_()
    xs = torch.randn(5, 4, generator=torch.Generator().manual_seed(9))
    found = fisher.sensitivity({"W": W}, lambda x: W @ x, xs)["W"]
    each = torch.stack([2 * torch.outer(W.detach() @ x, x) for x in xs])
    torch.testing.assert_close(found, each.abs().mean(0), rtol=1e-6, atol=1e-6)
    assert not torch.allclose(found, each.mean(0).abs(), rtol=0.1)


def test_a_parameter_without_a_part_in_it_has_no_importance():
    used, unused = torch.ones(1, requires_grad=True), torch.ones(3, requires_grad=True)
    found = fisher.fisher({"used": used, "unused": unused}, lambda x: x * used, [torch.tensor([2.0])])
    assert found["used"].tolist() == [4.0] and found["unused"].tolist() == [0.0, 0.0, 0.0]


def test_what_is_not_finite_is_an_error():
    theta = torch.ones(1, requires_grad=True)
    with pytest.raises(ValueError, match="utterance 2 .* -inf"):
        fisher.fisher({"theta": theta}, lambda x: x * theta, [torch.ones(1), torch.tensor([-math.inf])])
    with pytest.raises(ValueError, match="importance of theta is not finite"):  # value finite, gradient not
        fisher.fisher({"theta": theta}, lambda x: (theta * 0).sqrt().sum(), [1])
    with pytest.raises(ValueError, match="nothing to remember"):
        fisher.fisher({"theta": theta}, lambda x: x * theta, [])


@pytest.fixture
def tf32():
    """Put back what a test sets."""
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    yield
    torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before


@pytest.mark.usefixtures("tf32")
@pytest.mark.parametrize("allowed", [(True, False), (False, True)])
def test_products_are_of_float32_and_the_rest_of_the_program_keeps_its_own(allowed):
    backends = (torch.backends.cuda.matmul, torch.backends.cudnn)
    for backend, value in zip(backends, allowed, strict=True):
        backend.allow_tf32 = value
    theta, seen = torch.ones(1, requires_grad=True), []

    def function(x):
        seen.extend(backend.allow_tf32 for backend in backends)
        return x * theta

    fisher.fisher({"theta": theta}, function, [torch.ones(1)])
    with pytest.raises(ValueError, match="inf"):
        fisher.sensitivity({"theta": theta}, function, [torch.tensor([math.inf])])
    assert seen == [False] * 4
    assert tuple(backend.allow_tf32 for backend in backends) == allowed


PROVENANCE = {"statistic": "fisher", "labels": "gold", "weights": "abc", "samples": 7}


@pytest.fixture
def saved(tmp_path):
    parameters = {"a": torch.rand(2, 3), "b": torch.rand(4)}
    fisher.save(tmp_path / "new" / "f.safetensors", parameters, PROVENANCE)
    return tmp_path / "new" / "f.safetensors", parameters


def test_a_file_is_read_as_it_was_written(saved):
    path, parameters = saved
    found, provenance = fisher.load(path, parameters, {"weights": "abc"})
    assert provenance == PROVENANCE and list(found) == ["a", "b"]
    assert all(torch.equal(found[name], parameters[name]) for name in parameters)


@pytest.mark.parametrize(
    "parameters, expected, message",
    [
        ({"a": torch.rand(2, 3)}, {}, "another model: b unknown here"),
        ({"a": torch.rand(3, 2), "b": torch.rand(4)}, {}, r"another model: a \(2, 3\), here \(3, 2\)"),
        ({"a": torch.rand(2, 3), "b": torch.rand(4), "c": torch.rand(1)}, {}, r"c missing, here \(1,\)"),
        (None, {"weights": "xyz", "labels": "gold"}, "made otherwise: weights: 'abc' there, 'xyz' here. Give null"),
        (None, {"labels": "sampled"}, "labels: 'gold' there, 'sampled' here"),
        (None, {"reduction": "sum"}, "reduction: None there, 'sum' here"),
    ],
)
def test_a_file_of_something_else_is_refused(saved, parameters, expected, message):
    path, own = saved
    with pytest.raises(ValueError, match=message):
        fisher.load(path, parameters or own, expected)


def test_a_file_that_is_none_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="give null and it is estimated"):
        fisher.load(tmp_path / "absent", {}, {})
    (tmp_path / "cut").write_bytes(b"123")
    with pytest.raises(ValueError, match="is no importance"):
        fisher.load(tmp_path / "cut", {}, {})
    save_file({"a": torch.rand(2)}, tmp_path / "plain")  # safetensors, without provenance
    with pytest.raises(ValueError, match="statistic: None there"):
        fisher.load(tmp_path / "plain", {"a": torch.rand(2)}, {"statistic": "fisher"})


def test_a_file_is_whole_or_not_there(saved, monkeypatch):
    path, parameters = saved
    before = path.read_bytes()

    def interrupted(tensors, partial, metadata):
        partial.write_bytes(before[:100])
        raise KeyboardInterrupt

    monkeypatch.setattr(fisher, "save_file", interrupted)
    with pytest.raises(KeyboardInterrupt):
        fisher.save(path, parameters, PROVENANCE)
    assert path.read_bytes() == before and [p.name for p in path.parent.iterdir()] == [path.name]
