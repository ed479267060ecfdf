"""Memory by part, counted by hand; what each method against forgetting keeps is what it says it keeps."""

from functools import partial
from types import SimpleNamespace

import pytest
import torch

from carryover.checks import memory
from carryover.forgetting import L2SP, Averaging, LwF


@pytest.mark.parametrize(
    "optimizer, share",
    [
        (torch.optim.AdamW, 2.0),
        (torch.optim.SGD, 0.0),
        (partial(torch.optim.SGD, momentum=0.9), 1.0),
        (torch.optim.Adafactor, (1 + 1) / memory.SQUARE),  # a row and a column
    ],
)
def test_the_state_of_an_optimizer(optimizer, share):
    before = torch.random.get_rng_state()
    assert memory.optimizer_share(optimizer) == pytest.approx(share)
    assert torch.equal(before, torch.random.get_rng_state()), "no random number is drawn"


def test_parts_of_a_model_by_hand():
    modules = torch.nn.ModuleDict({"a": torch.nn.Linear(100, 10, bias=False), "b": torch.nn.Linear(50, 10, bias=False)})
    modules["b"].weight.requires_grad = False
    modules["a"].register_buffer("seen", torch.zeros(3, dtype=torch.float64))
    methods = [L2SP(lambda_=0.1), Averaging([0.5]), LwF()]
    brain = SimpleNamespace(modules=modules, opt_class=torch.optim.AdamW, device="cpu", methods=methods)
    found = memory.parts(brain)
    assert found == {"weights": 6024, "gradients": 4000, "optimizer": 8000, "forgetting": (8 + 4 + 4) * 1000}
    mib = {"weights": 3 * 2**20, "gradients": 2**19}
    assert memory.said(mib) == "weights 3.0 + gradients 0.5 = 3.5 MiB, and the activations of a batch on top"
    assert "= 2.0 GiB" in memory.said({"weights": 2**31})
    brain.methods = [L2SP(lambda_=0.0)]
    assert "forgetting" not in memory.parts(brain)
    brain.opt_class = None
    assert "optimizer" not in memory.parts(brain)


def test_a_penalty_keeps_what_it_says():
    model = torch.nn.Linear(100, 10)
    for storage in ("device", "half", "host"):
        penalty = L2SP(lambda_=0.1, storage=storage)
        parameters = dict(model.named_parameters())
        penalty.hold(parameters, {name: torch.ones_like(p) for name, p in parameters.items()})
        assert penalty.held_bytes() == penalty.bytes_per_parameter * 1010
