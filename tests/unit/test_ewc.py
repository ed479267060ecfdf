"""Penalties against closed forms; their gradient against autograd, under all that an update does to a gradient."""

import copy
import random
import weakref
from contextlib import nullcontext
from types import SimpleNamespace

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from carryover.forgetting import EWC, L2SP, MAS, fisher


def network(seed=0):
    torch.manual_seed(seed)
    return torch.nn.Sequential(torch.nn.Linear(6, 8), torch.nn.Tanh(), torch.nn.Linear(8, 3))


def held(model, lambda_, seed=1, moved=0.3, **options):
    """A penalty on a model that has moved away from its anchor, and F and theta* by name."""
    generator = torch.Generator().manual_seed(seed)
    parameters = dict(model.named_parameters())
    F = {n: torch.rand(p.shape, generator=generator) for n, p in parameters.items()}
    anchor = {n: p.detach().clone() for n, p in parameters.items()}
    penalty = L2SP(lambda_, **options)
    penalty.hold(parameters, F)
    with torch.no_grad():
        for p in parameters.values():
            p += moved * torch.randn(p.shape, generator=generator)
    return penalty, F, anchor


def formula(model, lambda_, F, anchor):
    return 0.5 * lambda_ * sum((F[n] * (p - anchor[n]) ** 2).sum() for n, p in model.named_parameters())


def squared_error(model, x, y):
    return ((model(x) - y) ** 2).mean()


# ---- the penalty and its gradient ----


@pytest.mark.parametrize("lambda_", [0.0, 0.4, 4.0])
def test_a_quadratic_task_ends_in_its_analytic_optimum(lambda_):
    """1/2 theta' A theta - b' theta, with the penalty: theta = (A + lambda F)^-1 (A theta_task + lambda F theta*)."""
    g = torch.Generator().manual_seed(3)
    root = torch.randn(6, 6, generator=g, dtype=torch.float64)
    A = root @ root.T / 6 + 0.5 * torch.eye(6)
    optimum = torch.randn(6, generator=g, dtype=torch.float64)  # of the task alone
    F, anchor = torch.rand(6, generator=g), torch.randn(6, generator=g)
    F[2] = 0.0  # a unit that the old language does not have
    # in two tensors, as a model's parameters are
    theta = {"a": torch.nn.Parameter(anchor[:4].double().view(2, 2)), "b": torch.nn.Parameter(anchor[4:].double())}
    penalty = L2SP(lambda_)
    penalty.hold(theta, {"a": F[:4].view(2, 2), "b": F[4:]})
    sgd = torch.optim.SGD(theta.values(), lr=1.0 / (torch.linalg.eigvalsh(A).max().item() + lambda_))
    for _ in range(400):
        sgd.zero_grad()
        error = torch.cat([theta["a"].flatten(), theta["b"]]) - optimum
        (0.5 * error @ A @ error).backward()
        penalty.add_gradient()
        sgd.step()
    found = torch.cat([theta["a"].flatten(), theta["b"]]).detach()
    F, anchor = lambda_ * torch.diag(F.double()), anchor.double()
    wanted = torch.linalg.solve(A + F, A @ optimum + F @ anchor)
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-5)


@pytest.mark.parametrize("storage", ["device", "host"])
def test_value_and_gradient_are_those_of_the_formula(storage):
    model = network()
    penalty, F, anchor = held(model, 0.7, storage=storage)
    wanted = formula(model, 0.7, F, anchor)
    assert penalty.logged() == {"l2sp": pytest.approx(wanted.item(), rel=1e-6)}
    assert penalty.loss().item() == pytest.approx(wanted.item(), rel=1e-6) and penalty.terms(None, None) == {}
    gradient = torch.autograd.grad(wanted, list(model.parameters()))
    penalty.add_gradient()  # there was none before, as where a layer was left out
    for p, g in zip(model.parameters(), gradient, strict=True):
        torch.testing.assert_close(p.grad, g, rtol=1e-6, atol=1e-7)


def test_the_graph_of_the_autograd_mode_gives_the_same_gradient():
    model = network()
    penalty, F, anchor = held(model, 0.7, gradient="autograd")
    wanted = torch.autograd.grad(formula(model, 0.7, F, anchor), list(model.parameters()))
    penalty.add_gradient()
    assert all(p.grad is None for p in model.parameters()), "it would be added twice"
    [term] = penalty.terms(None, None).values()
    found = torch.autograd.grad(term, list(model.parameters()))
    for a, b in zip(found, wanted, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-7)


class Pair(tuple):
    """A batch of inputs and targets."""

    def to(self, device, non_blocking=False):
        return self


def training_brain(model, methods, fp16_scale=None, max_norm=0.0):
    """A RecipeBrain that trains `model` on pairs, by SGD at rate 1."""
    from carryover.training.brain import Optimisation, Progress, RecipeBrain

    class Brain(RecipeBrain):
        def __init__(self):
            self.modules, self.training_ctx = torch.nn.ModuleDict({"model": model}), nullcontext()
            self.hparams, self.methods = SimpleNamespace(loss_weights={"mse": 1.0}), methods
            self.optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
            self.progress, self.nonfinite_patience, self.device = Progress(), 3, "cpu"
            self.run_log = SimpleNamespace(say=print)
            scaler = torch.amp.GradScaler("cpu", init_scale=fp16_scale or 1.0, enabled=fp16_scale is not None)
            schedule = SimpleNamespace(apply=lambda optimizer, n: 1.0)
            self.optimisation = Optimisation(self.modules, self.optimizer, schedule, scaler, max_norm, methods)

        def compute_forward(self, batch, stage):
            return model(batch[0])

        def batch_statistics(self, output, batch):
            return {}

        def compute_objectives(self, output, batch, stage):
            return {"mse": ((output - batch[1]) ** 2).mean()}

        def units(self, batch):
            return len(batch[0])

    return Brain()


@pytest.mark.parametrize("gradient", ["in_place", "autograd"])
@pytest.mark.parametrize("micro_batches", [[8], [2, 2, 2, 2], [4, 2, 1, 1]])
@pytest.mark.parametrize("fp16_scale", [None, 2.0**14])
@pytest.mark.parametrize("max_norm", [0.0, 0.05])
def test_an_update_of_the_brain_is_that_of_the_whole_loss(gradient, micro_batches, fp16_scale, max_norm):
    """RecipeBrain's own update: accumulation, loss scaling, clipping; against autograd of L_task + penalty."""
    model = network()
    penalty, F, anchor = held(model, 0.7, gradient=gradient)
    x, y = torch.randn(8, 6), torch.randn(8, 3)

    reference = copy.deepcopy(model)
    (squared_error(reference, x, y) + formula(reference, 0.7, F, anchor)).backward()
    norm = torch.nn.utils.clip_grad_norm_(reference.parameters(), max_norm or torch.inf)
    assert not max_norm or norm > 2 * max_norm, "nothing is clipped"

    before = [p.detach().clone() for p in model.parameters()]
    group = [Pair(pair) for pair in zip(x.split(micro_batches), y.split(micro_batches), strict=True)]
    brain = training_brain(model, [penalty], fp16_scale, max_norm)
    assert brain._fit_group(group)
    assert brain.progress.window["clipped"] == (max_norm > 0)
    for p, old, r in zip(model.parameters(), before, reference.parameters(), strict=True):
        torch.testing.assert_close(old - p.detach(), r.grad, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("micro_batches", [[8], [2, 2, 2, 2]])
def test_an_update_reads_the_device_once(micro_batches, monkeypatch):
    """Each reading waits for all that a GPU has to do; here they are counted on a CPU."""
    model, reads = network(), []
    penalty, *_ = held(model, 0.7)
    x, y = torch.randn(8, 6), torch.randn(8, 3)
    group = [Pair(pair) for pair in zip(x.split(micro_batches), y.split(micro_batches), strict=True)]
    brain = training_brain(model, [penalty], max_norm=0.05)

    def counted(name, real):
        return lambda *args: reads.append(name) or real(*args)

    for name in ("item", "tolist", "__bool__", "__int__", "__float__"):
        monkeypatch.setattr(torch.Tensor, name, counted(name, getattr(torch.Tensor, name)))
    assert brain._fit_group(group)
    assert reads == ["tolist"]


@pytest.mark.parametrize("fp16_scale", [None, 2.0**14])
def test_a_penalty_that_is_not_finite_moves_no_weight_and_ends_the_run(fp16_scale):
    """The scaler of fp16 looks at gradients before the penalty's is there."""
    model = network()
    penalty, *_ = held(model, 0.7)
    penalty._held[0][1][0, 0] = torch.inf
    before = [p.detach().clone() for p in model.parameters()]
    brain, pair = training_brain(model, [penalty], fp16_scale), Pair((torch.randn(8, 6), torch.randn(8, 3)))
    assert [brain._fit_group([pair]) for _ in range(3)] == [False] * 3 and brain.progress.skipped == 3
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))
    with pytest.raises(FloatingPointError, match="more than nonfinite_patience"):
        brain._fit_group([pair])


def test_an_overflow_of_fp16_lowers_the_scale_and_is_not_counted_as_a_fault():
    brain, pair = (
        training_brain(network(), [], 2.0**127),
        Pair((torch.randn(8, 6), torch.full((8, 3), 1e5))),
    )
    assert not brain._fit_group([pair]) and brain.optimisation.scaler.get_scale() == 2.0**126
    assert (brain.progress.skipped, brain.progress.nonfinite_count, brain.update) == (1, 0, 0)


def _ddp_worker(rank, folder):
    torch.set_num_threads(1)
    try:
        torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2)
    except RuntimeError as error:
        (folder / "no_gloo").write_text(str(error))
        return
    model = network()
    penalty, _, _ = held(model, 0.7)
    parallel = torch.nn.parallel.DistributedDataParallel(model)
    x, y = torch.load(folder / "data.pt")
    squared_error(parallel, x[rank::2], y[rank::2]).backward()  # averaged over the processes in here
    penalty.add_gradient()
    torch.save([p.grad for p in model.parameters()], folder / f"{rank}.pt")
    torch.distributed.destroy_process_group()


def test_two_processes_get_the_gradient_of_one(tmp_path):
    x, y = torch.randn(8, 6), torch.randn(8, 3)
    torch.save((x, y), tmp_path / "data.pt")
    torch.multiprocessing.spawn(_ddp_worker, args=(tmp_path,), nprocs=2)
    if (tmp_path / "no_gloo").exists():
        pytest.skip(f"gloo cannot be started here: {(tmp_path / 'no_gloo').read_text()}")
    model = network()
    penalty, F, anchor = held(model, 0.7)
    (squared_error(model, x, y) + formula(model, 0.7, F, anchor)).backward()
    for rank in range(2):
        for found, p in zip(torch.load(tmp_path / f"{rank}.pt"), model.parameters(), strict=True):
            torch.testing.assert_close(found, p.grad, rtol=1e-6, atol=1e-6)


# ---- where F and theta* are kept ----


def gradients(storage, moved):
    model = network()
    penalty, _, _ = held(model, 0.7, storage=storage, moved=moved)
    penalty.add_gradient()
    return [p.grad for p in model.parameters()]


def test_storage_changes_nothing_but_bfloat16s_rounding_of_the_importance():
    device, half, host = (gradients(storage, 0.3) for storage in ("device", "half", "host"))
    for d, h, c in zip(device, half, host, strict=True):
        assert torch.equal(d, c)
        assert not torch.equal(d, h)
        assert ((h - d).abs() <= 2.0**-8 * d.abs()).all()


@pytest.mark.parametrize("storage", ["device", "half", "host"])
def test_the_gradient_at_the_old_weights_is_exactly_zero(storage):
    assert all(torch.equal(g, torch.zeros_like(g)) for g in gradients(storage, 0.0))


@pytest.mark.parametrize("storage, bytes_each", [("device", 8), ("half", 6), ("host", 8)])
def test_what_is_held_is_not_more_than_f_and_the_anchor(storage, bytes_each):
    penalty, _, _ = held(network(), 1.0, storage=storage)
    size = sum(t.nbytes for _, F, anchor in penalty._held for t in (F, anchor))
    assert size == bytes_each * sum(p.numel() for p in network().parameters())


class LiveBytes(TorchDispatchMode):
    """Bytes of tensors made under it that are alive at one time, at most."""

    def __init__(self):
        super().__init__()
        self.now = self.peak = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        out = function(*args, **(kwargs or {}))
        if isinstance(out, torch.Tensor) and not any(out is a for a in args):
            self.now += out.nbytes
            self.peak = max(self.peak, self.now)
            weakref.finalize(out, self._free, out.nbytes)
        return out

    def _free(self, nbytes):
        self.now -= nbytes


def test_add_gradient_needs_memory_for_one_parameter_at_a_time():
    model = torch.nn.Sequential(*[torch.nn.Linear(32, 32) for _ in range(6)])
    penalty, F, anchor = held(model, 0.7)
    for p in model.parameters():
        p.grad = torch.zeros_like(p)
    with LiveBytes() as live:
        penalty.add_gradient()
    assert live.peak == 4 * 32 * 32
    with LiveBytes() as whole:  # the counter counts: the formula with its graph keeps every parameter's difference
        formula(model, 0.7, F, anchor)
    assert whole.peak > 5 * live.peak


# ---- what an importance is of: begin(), the file ----


class Old:
    """The old language: `n` utterances of a SpeechBrain dataset's face."""

    def __init__(self, n=5, text="ja"):
        self.data_ids = [f"u{i}" for i in range(n)]
        self.data = {ID: {"duration": 1.0, "text": f"{text} {ID}"} for ID in self.data_ids}

    def __len__(self):
        return len(self.data_ids)


class Brain:
    """A classifier of 3 classes, the last of which is new, with what penalties ask a RecipeBrain for."""

    device = "cpu"

    def __init__(self, seed=0, new=None, target_text="carryover-1"):
        self.target_text_name = target_text
        self.modules = torch.nn.ModuleDict({"acoustic": network(seed)})
        self.new = {f"acoustic.2.{n}": torch.tensor([2]) for n in ("weight", "bias")} if new is None else new
        self.events, self.estimated = [], 0

    def note(self, event, **values):
        self.events.append({"event": event} | values)

    def new_parameters(self):
        return self.new

    def known(self, old_set):
        return old_set

    def batches(self, dataset, indices):
        self.estimated += len(indices)
        for i in indices:
            yield torch.randn(1, 6, generator=torch.Generator().manual_seed(i))

    def log_likelihood(self, x, labels, generator):
        log_p = self.modules["acoustic"](x).log_softmax(-1)  # of 3 classes: here the new one gets a gradient, too
        if labels == "sampled":
            y = torch.multinomial(log_p.detach().exp(), 1, generator=generator)
        else:
            y = torch.ones(len(x), 1, dtype=torch.long)
        return log_p.gather(1, y)[:, 0], torch.full((len(x),), 4)

    def outputs(self, x):
        return self.modules["acoustic"](x)


def importance(penalty):
    return [F for _, F, _ in penalty._held]


@pytest.mark.parametrize("make", [EWC, MAS])
def test_new_rows_are_free_and_old_ones_are_not(make, tmp_path):
    brain, penalty = Brain(), make(1.0, folder=str(tmp_path))
    penalty.begin(brain, Old())
    *_, weight, bias = importance(penalty)
    assert (weight[2] == 0).all() and bias[2] == 0
    assert (weight[:2] > 0).any() and (bias[:2] > 0).all()


def test_a_layer_that_is_new_as_a_whole_is_not_held(tmp_path):
    brain = Brain(new={"acoustic.2.weight": None, "acoustic.2.bias": None})
    penalty = EWC(1.0, folder=str(tmp_path))
    penalty.begin(brain, Old())
    assert [p is q for (p, _, _), q in zip(penalty._held, brain.modules.parameters(), strict=False)] == [True, True]
    everything = {name: None for name, _ in brain.modules.named_parameters()}
    with pytest.raises(ValueError, match="every parameter is new; there is nothing to remember"):
        penalty.begin(Brain(new=everything), Old())


@pytest.mark.parametrize("make", [EWC, MAS])
def test_a_model_that_holds_nothing_is_an_error(make, tmp_path):
    """As one without a head for the old language: its output does not depend on what is carried over."""
    brain = Brain()
    brain.log_likelihood = lambda x, labels, generator: (0.0 * brain.outputs(x).sum(1), torch.ones(len(x)))
    brain.outputs = lambda x: 0.0 * brain.modules["acoustic"](x)
    with pytest.raises(ValueError, match="nothing is held; pre-train"):
        make(1.0, folder=str(tmp_path)).begin(brain, Old())


def test_frozen_and_unused_parameters_are_not_held(tmp_path):
    """An unused one gets no gradient of zeros, which would set the optimizer's weight decay on it."""
    brain = Brain()
    brain.modules["acoustic"][0].requires_grad_(False)
    brain.modules["unused"] = torch.nn.Linear(2, 2)
    penalty = EWC(1.0, folder=str(tmp_path))
    penalty.begin(brain, Old())
    penalty.add_gradient()
    assert {n for n, p in brain.modules.named_parameters() if p.grad is not None} == {
        "acoustic.2.weight", "acoustic.2.bias",
    }  # fmt: skip


def test_l2sp_is_half_lambda_times_the_squared_distance():
    brain, penalty = Brain(), L2SP(0.3)
    penalty.begin(brain, None)  # it needs nothing of the old language
    with torch.no_grad():
        for p in brain.modules.parameters():
            p += 2.0  # the new rows, too, which are free
    carried = sum(p.numel() for p in brain.modules.parameters()) - 8 - 1
    assert penalty.logged() == {"l2sp": pytest.approx(0.15 * 4 * carried, rel=1e-6)}


def test_labels_and_reduction_are_what_they_say(tmp_path):
    """Against the estimate written out; four tokens an utterance, so `mean` is 1/16 of `sum`."""

    def found(**options):
        penalty = EWC(1.0, samples=4, folder=str(tmp_path), **options)
        penalty.begin(Brain(new={}), Old())
        return importance(penalty)

    brain = Brain(new={})
    parameters = list(brain.modules.parameters())
    for labels in ("gold", "sampled"):
        generator = torch.Generator().manual_seed(42)
        wanted = [torch.zeros_like(p) for p in parameters]
        for x in brain.batches(Old(), random.Random(42).sample(range(5), 4)):
            log_p, _ = brain.log_likelihood(x, labels, generator)
            for w, g in zip(wanted, torch.autograd.grad(log_p.sum(), parameters), strict=True):
                w += g**2 / 4
        total, mean = found(labels=labels), found(labels=labels, fisher_reduction="mean")
        for w, t, m in zip(wanted, total, mean, strict=True):
            torch.testing.assert_close(t, w, rtol=1e-6, atol=1e-9)
            torch.testing.assert_close(16 * m, w, rtol=1e-6, atol=1e-9)
    assert not torch.allclose(found(labels="gold")[0], found(labels="sampled")[0], rtol=0.01)


def test_an_estimate_is_made_once_for_a_model_a_corpus_and_a_definition(tmp_path):
    def begin(make=EWC, old=None, brain=None, **options):
        penalty, brain = make(1.0, folder=str(tmp_path), **options), brain or Brain()
        penalty.begin(brain, old or Old())
        [event] = brain.events
        assert event["reused"] == (brain.estimated == 0) and event["event"] == "fisher"
        return brain.estimated, importance(penalty), event["file"]

    first, F, file = begin()
    assert first == 5 and fisher.load(file, {n: p for n, p in Brain().modules.named_parameters()}, {})
    again, G, _ = begin()
    assert again == 0 and all(torch.equal(a, b) for a, b in zip(F, G, strict=True))
    # new units are drawn anew by each seed, and are no reason for a new estimate
    brain = Brain()
    brain.modules["acoustic"][2].weight.data[2] += 1.0
    assert begin(brain=brain)[0] == 0
    frozen, again, moved = Brain(), Brain(), Brain()
    for b in (frozen, again, moved):
        b.modules["acoustic"][0].requires_grad_(False)
    moved.modules["acoustic"][0].weight.data[0, 0] += 1e-3  # frozen, but F depends on it
    assert [begin(brain=b)[0] for b in (frozen, again, moved)] == [5, 0, 5]
    for other in (
        {"labels": "sampled"}, {"fisher_reduction": "mean"}, {"samples": 4}, {"seed": 1}, {"make": MAS},
        {"old": Old(text="nee")}, {"brain": Brain(seed=1)}, {"brain": Brain(target_text="verbatim")},
    ):  # fmt: skip
        assert begin(**other)[0] > 0, other
    reordered = Old()
    reordered.data_ids.reverse()  # other utterances would be drawn with the same seed
    assert begin(old=reordered, samples=4)[0] == 4


def test_a_named_file_is_used_without_the_old_recordings_and_refused_for_another_model(tmp_path):
    made = EWC(1.0, samples=3, folder=str(tmp_path))
    made.begin(Brain(), Old())
    [file] = tmp_path.iterdir()
    brain, penalty = Brain(), EWC(1.0, file=str(file))
    penalty.begin(brain, None)
    assert all(torch.equal(a, b) for a, b in zip(importance(made), importance(penalty), strict=True))
    assert brain.events[0]["samples"] == 3, "what is logged is what the file says of itself"
    with pytest.raises(ValueError, match="weights: '.*' there, '.*' here"):
        EWC(1.0, file=str(file)).begin(Brain(seed=1), None)
    with pytest.raises(ValueError, match="labels: 'gold' there, 'sampled' here"):
        EWC(1.0, file=str(file), labels="sampled").begin(Brain(), None)
    with pytest.raises(ValueError, match="statistic: 'fisher' there, 'sensitivity' here"):
        MAS(1.0, file=str(file)).begin(Brain(), None)
    with pytest.raises(FileNotFoundError, match="is not there"):
        EWC(1.0, file=str(tmp_path / "absent")).begin(Brain(), None)


@pytest.mark.parametrize("make", [EWC, MAS, L2SP])
def test_lambda_zero_costs_nothing(make, tmp_path):
    brain = Brain()
    penalty = make(0.0, gradient="autograd") if make is L2SP else make(0.0, folder=str(tmp_path))
    penalty.begin(brain, None)  # nothing is remembered, so nothing is needed
    penalty.add_gradient()
    assert not brain.events and not brain.estimated and not penalty._held and penalty.terms(None, None) == {}
    assert penalty.logged() == {penalty.name: 0.0} and all(p.grad is None for p in brain.modules.parameters())
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "make, options, message",
    [
        (L2SP, {"lambda_": -1.0}, "lambda: -1.0"),
        (L2SP, {"lambda_": float("nan")}, "lambda: nan"),
        (EWC, {"lambda_": float("inf")}, "lambda: inf"),
        (L2SP, {"gradient": "backward"}, "gradient: 'backward' is neither in_place nor autograd"),
        (MAS, {"storage": "disk"}, "storage: 'disk' is neither device, half nor host"),
        (EWC, {"labels": "silver"}, "labels: 'silver' is neither gold nor sampled"),
        (EWC, {"fisher_reduction": "max"}, "fisher_reduction: 'max' is neither sum nor mean"),
        (MAS, {"samples": 0}, "fisher_samples: 0 utterances"),
    ],
)
def test_words_that_mean_nothing_are_refused(make, options, message):
    with pytest.raises(ValueError, match=message):
        make(**{"lambda_": 1.0} | options)


@pytest.mark.parametrize("make", [EWC, MAS])
def test_nothing_to_remember_is_an_error(make, tmp_path):
    with pytest.raises(ValueError, match="no utterance of the old language"):
        make(1.0, folder=str(tmp_path)).begin(Brain(), Old(0))
