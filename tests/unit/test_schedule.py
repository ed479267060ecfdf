"""carryover/training/schedule.py against the formulas of its docstring, written out here (relative tolerance 1e-9)."""

import math
import random

import pytest
import torch

from carryover.training.schedule import TRANSFORMERS, Schedule

LR, N, W, D = 3e-4, 300, 40, 512


def noam(n):
    return LR * min(n / W, math.sqrt(W / n))


def noam_with_model_size(n):
    return LR * D**-0.5 * min(n**-0.5, n * W**-1.5)


def linear(n):
    return LR * n / W if n < W else LR * (N + 1 - n) / (N + 1 - W)


def cosine(n):
    return LR * n / W if n < W else LR * (1 + math.cos(math.pi * (n - W) / (N + 1 - W))) / 2


def constant(n):
    return LR


def constant_with_warmup(n):
    return LR * min(1, n / W)


CLOSED_FORMS = {
    "noam": ({"name": "noam"}, noam),
    "noam_with_model_size": ({"name": "noam", "model_size": D}, noam_with_model_size),
    "linear": ({"name": "linear"}, linear),
    "cosine": ({"name": "cosine"}, cosine),
    "constant": ({"name": "constant", "warmup": 0}, constant),
    "constant_with_warmup": ({"name": "constant_with_warmup"}, constant_with_warmup),
}


def planned(total=N, **kwargs):
    schedule = Schedule(**({"lr": LR, "warmup": W} | kwargs))
    schedule.plan(total)
    return schedule


@pytest.mark.parametrize("which", CLOSED_FORMS)
def test_rates_are_the_closed_form(which):
    kwargs, formula = CLOSED_FORMS[which]
    schedule = planned(**kwargs)
    rates = [schedule.rate(n) for n in range(1, N + 1)]
    assert rates == pytest.approx([formula(n) for n in range(1, N + 1)], rel=1e-9)
    assert min(rates) > 0, "an update at rate 0 is a wasted one"


@pytest.mark.parametrize("which", [name for name in CLOSED_FORMS if name != "constant"])
@pytest.mark.parametrize("shift", [-1, 1])
def test_a_count_that_is_off_by_one_would_be_seen(which, shift):
    """The test above can fail: with n shifted by one, rates leave its tolerance by a factor of at least 10^6."""
    _, formula = CLOSED_FORMS[which]
    off = [abs(formula(n + shift) / formula(n) - 1) for n in range(2, W)]
    assert min(off) > 1e-3


def test_first_update_is_not_the_peak():
    for which in ("noam", "linear", "cosine", "constant_with_warmup"):
        schedule = planned(name=which)
        assert schedule.rate(1) == pytest.approx(LR / W, rel=1e-9)
        rates = [schedule.rate(n) for n in range(1, N + 1)]
        assert max(rates) == pytest.approx(LR, rel=1e-9) and rates.index(max(rates)) == W - 1  # update W


def test_peak_with_model_size_is_far_below_lr():
    """SpeechBrain's formula: the peak is lr * (model_size * warmup)^-0.5, which surprises who gives lr = 1e-5."""
    schedule = planned(name="noam", model_size=D)
    assert schedule.rate(W) == pytest.approx(LR / math.sqrt(D * W), rel=1e-9)


@pytest.mark.parametrize("share, total, updates", [(0.1, 300, 30), (0.1, 5000, 500), (0.25, 10, 2), (0.001, 10, 1)])
def test_warmup_as_a_share(share, total, updates):
    for name in ("noam", "linear"):
        schedule = planned(total, name=name, warmup=share)
        assert schedule.warmup_updates == updates
        assert schedule.rate(updates) == pytest.approx(LR, rel=1e-9)
        if updates > 1:
            assert schedule.rate(1) == pytest.approx(LR / updates, rel=1e-9)


def test_warmup_of_one_is_an_update_not_all_of_them():
    assert planned(name="linear", warmup=1).warmup_updates == 1


def test_without_warmup_the_first_update_has_the_peak():
    for name in ("linear", "cosine"):
        schedule = planned(name=name, warmup=0)
        assert schedule.rate(1) == pytest.approx(LR, rel=0.01)  # (N + 1 - 1) / (N + 1) for linear
        assert schedule.rate(N) > 0


def test_apply_sets_every_group_before_the_update():
    parameters = [torch.nn.Parameter(torch.zeros(2)), torch.nn.Parameter(torch.zeros(2))]
    optimizer = torch.optim.SGD([{"params": [parameters[0]]}, {"params": [parameters[1]], "lr": 7.0}], lr=1.0)
    schedule = planned(name="noam")
    for n in (1, 2, W, N):
        rate = schedule.apply(optimizer, n)
        assert [group["lr"] for group in optimizer.param_groups] == [rate, rate]
        assert rate == pytest.approx(noam(n), rel=1e-9)
    optimizer.zero_grad()
    sum(p.sum() for p in parameters).backward()
    schedule.apply(optimizer, 1)
    optimizer.step()
    assert parameters[0].tolist() == pytest.approx([-LR / W] * 2, rel=1e-6)  # float32


@pytest.mark.parametrize("which", CLOSED_FORMS)
def test_rate_is_a_function_of_n_alone(which):
    """A resumed run asks for update 200 first; it must get what an unbroken run got."""
    kwargs, _ = CLOSED_FORMS[which]
    schedule = planned(**kwargs)
    in_order = {n: schedule.rate(n) for n in range(1, N + 1)}
    shuffled = random.Random(3).sample(sorted(in_order), N)
    assert {n: schedule.rate(n) for n in shuffled} == in_order
    assert planned(**kwargs).rate(200) == in_order[200]


@pytest.mark.parametrize("name", TRANSFORMERS)
def test_every_name_runs_without_a_rate_of_zero(name):
    options = {"warmup_stable_decay": {"num_decay_steps": 20}, "cosine_with_min_lr": {"min_lr_rate": 0.1}}
    schedule = planned(name=name, options=options.get(name), warmup=0 if name == "constant" else W)
    rates = [schedule.rate(n) for n in range(1, N + 1)]
    assert all(0 < rate <= LR * (1 + 1e-9) for rate in rates)


@pytest.mark.parametrize("name, key", [("cosine_with_min_lr", "min_lr"), ("polynomial", "lr_end")])
def test_floors_given_as_rates_are_rates(name, key):
    """transformers divides them by the optimizer's rate: the floor is 1e-4, not 1e-4 of the peak."""
    schedule = planned(name=name, options={key: 1e-4})
    assert schedule.rate(N + 1) == pytest.approx(1e-4, rel=1e-9)
    assert schedule.rate(W) == pytest.approx(LR, rel=1e-9)


def test_planning_again_forgets_the_first_plan():
    schedule = planned(name="linear", warmup=0.1)
    schedule.plan(100)
    assert schedule.warmup_updates == 10
    assert schedule.rate(100) == pytest.approx(LR / 91, rel=1e-9)


@pytest.mark.parametrize(
    "kwargs, words",
    [
        ({"name": "noam", "warmup": 0}, ("warmup: 0", "linear, cosine or constant")),
        ({"name": "linear", "warmup": -1}, ("warmup: -1", "share in (0, 1)")),
        ({"name": "linear", "warmup": 2.5}, ("warmup: 2.5", "number of updates")),
        ({"name": "noma"}, ("'noma' is unknown", "noam, linear, cosine")),
        ({"name": "constant", "warmup": 5}, ("warmup: 5 has no effect", "constant_with_warmup")),
        ({"name": "linear", "model_size": 512}, ("model_size belongs to lr_schedule: noam", "'linear'")),
    ],
)
def test_errors_name_the_key_and_the_way_out(kwargs, words):
    with pytest.raises(ValueError) as error:
        Schedule(**({"lr": LR, "warmup": W} | kwargs))
    for word in words:
        assert word in str(error.value)


def test_a_run_without_updates_cannot_be_planned():
    with pytest.raises(ValueError, match="0 updates"):
        Schedule("constant", LR).plan(0)
