"""Parameter groups with rates of their own, and the rate of each group at every update."""

from functools import partial
from types import SimpleNamespace

import pytest
import torch

from carryover.models.trained import module_of
from carryover.training.optimisation import Optimisation, parameter_groups, read, require_no_own_rate
from carryover.training.schedule import Schedule


def modules():
    """Names as a Brain's: a CTC head beside encoder and decoder; the encoder's convolution is frozen."""
    found = torch.nn.ModuleDict(
        {
            "whisper": torch.nn.ModuleDict({"encoder": torch.nn.Linear(4, 4), "decoder": torch.nn.Linear(4, 4)}),
            "ctc": torch.nn.Linear(4, 3),
        }
    )
    return torch.nn.ModuleDict({"whisper": torch.nn.ModuleDict({"model": found["whisper"]}), "ctc": found["ctc"]})


def groups(lr_of, decay_all=False, lr=1e-3):
    return parameter_groups(modules(), lr, lr_of, lambda name: {module_of(name)}, not decay_all)


def test_without_rates_of_their_own_there_are_matrices_and_vectors():
    found = groups({})
    assert [(g["lr"], g.get("weight_decay"), len(g["params"])) for g in found] == [(1e-3, None, 3), (1e-3, 0.0, 3)]
    assert [len(g["params"]) for g in groups({}, decay_all=True)] == [6]


def test_a_module_has_its_own_rate_and_the_rest_stands_first():
    found = groups({"head": 1e-2, "encoder": 1e-4})
    assert [(g["lr"], g.get("weight_decay"), len(g["params"])) for g in found] == [
        (1e-3, None, 1), (1e-3, 0.0, 1), (1e-4, None, 1), (1e-4, 0.0, 1), (1e-2, None, 1), (1e-2, 0.0, 1),
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["linear", "noam", "cosine", "constant_with_warmup"])
def test_the_schedule_is_a_factor_of_each_groups_peak(name):
    schedule = Schedule(name, 1e-3, warmup=3)
    schedule.plan(10)
    optimizer = torch.optim.SGD(groups({"head": 5e-3}))
    for n in range(1, 11):
        assert schedule.apply(optimizer, n) == schedule.rate(n)
        rates = {g["peak"]: g["lr"] for g in optimizer.param_groups}
        assert rates[1e-3] == schedule.rate(n) and rates[5e-3] == pytest.approx(5 * schedule.rate(n), rel=1e-12)


def test_a_step_moves_each_module_by_its_rate():
    net = modules()
    found = parameter_groups(net, 1.0, {"head": 0.1}, lambda name: {module_of(name)}, True)
    schedule, optimizer = Schedule("constant", 1.0), torch.optim.SGD(found)
    schedule.plan(1)
    before = {name: p.detach().clone() for name, p in net.named_parameters()}
    for p in net.parameters():
        p.grad = torch.ones_like(p)
    scaler = torch.amp.GradScaler("cpu", enabled=False)
    optimisation = Optimisation(net, optimizer, schedule, scaler, 0.0, [])
    norm = optimisation.prepare(1).item()
    assert optimisation.step(norm) == (True, "")
    n = sum(p.numel() for p in net.parameters())
    assert norm == pytest.approx(n**0.5, rel=1e-6)
    for name, p in net.named_parameters():
        moved = 0.1 if name.startswith("ctc") else 1.0
        torch.testing.assert_close(before[name] - p.detach(), torch.full_like(p, moved))


@pytest.mark.parametrize(
    "lr_of, lr, message",
    [
        ({"heed": 1e-3}, 1e-3, "lr_of: nothing that is trained is called heed; expected decoder, encoder, head"),
        ({"lora": 1e-3}, 1e-3, "called lora"),
        ({"head": 1e-3}, 0.0, "lr: 0 with lr_of: to train some modules alone, name them in the key train"),
    ],
)
def test_rates_that_nothing_has_are_refused(lr_of, lr, message):
    with pytest.raises(ValueError, match=message):
        groups(lr_of, lr=lr)


def test_nothing_to_train_and_an_optimizers_own_rate_are_refused():
    with pytest.raises(ValueError, match="train: no parameter is left to train"):
        parameter_groups(modules().requires_grad_(False), 1e-3, {}, module_of, True)
    with pytest.raises(ValueError, match="optimizer: it says lr: 0.5, which would be overwritten; take that line out"):
        require_no_own_rate(partial(torch.optim.AdamW, lr=0.5))
    require_no_own_rate(partial(torch.optim.AdamW, weight_decay=0.1))
    require_no_own_rate(torch.optim.SGD)


def test_what_is_read_of_the_device_keeps_its_digits_and_its_place():
    loss, count = torch.tensor(1 / 3), torch.tensor(12_345)
    found = [(3, {"loss": loss, "nll": -loss}, {"seconds": 0.1, "blanks": count}), (1, {"loss": 2 * loss}, {})]
    norm, numbers = read(torch.tensor(7.25), found)
    assert norm == 7.25
    assert numbers == [
        (3, {"loss": loss.item(), "nll": -loss.item()}, {"seconds": 0.1, "blanks": 12_345}),
        (1, {"loss": (2 * loss).item()}, {}),
    ]


@pytest.mark.parametrize("scale", [None, 2.0**14])
def test_what_is_dropped_moves_nothing_and_leaves_the_scale(scale):
    net = modules()
    optimizer = torch.optim.SGD(net.parameters(), lr=1.0)
    scaler = torch.amp.GradScaler("cpu", init_scale=scale or 1.0, enabled=scale is not None)
    optimisation = Optimisation(net, optimizer, SimpleNamespace(apply=lambda optimizer, n: 1.0), scaler, 0.0, [])
    before = [p.detach().clone() for p in net.parameters()]
    for _ in range(2):  # the scaler unscales a gradient once an update
        scaler.scale(sum((p * torch.inf).sum() for p in net.parameters())).backward()
        assert not torch.isfinite(optimisation.prepare(1))
        optimisation.drop()
    assert all(torch.equal(a, b) and b.grad is None for a, b in zip(before, net.parameters(), strict=True))
    assert scaler.get_scale() == (scale or 1.0)
