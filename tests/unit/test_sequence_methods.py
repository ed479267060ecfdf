"""Methods with a memory of clips, and those that carry something from run to run, against closed forms."""

import copy
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file, save_file

from carryover import forgetting
from carryover.experiment import Experiment
from carryover.forgetting import DER, EWC, L2SP, SI, Averaging, LwF, OnlineEWC, PseudoReplay, Replay, carried, mixing
from tests.unit.test_ewc import Brain, Old
from tests.unit.test_methods_against_forgetting import HPARAMS, Learner, experiment, moved, pairs

# ---- synaptic intelligence ----


class Quadratic:
    """L = 1/2 sum_i a_i (theta_i - b_i)^2, followed by gradient descent."""

    def __init__(self, start, a, b):
        self.modules = torch.nn.ParameterDict({"w": torch.nn.Parameter(start.clone())})
        self.a, self.b = a, b

    def new_parameters(self):
        return {}

    def learn(self, method, updates, lr):
        w = self.modules["w"]
        for _ in range(updates):
            w.grad = self.a * (w.detach() - self.b)
            method.add_gradient()
            with torch.no_grad():
                w -= lr * w.grad
            method.after_update()
            w.grad = None
        method.finish(self)


A, B0 = torch.tensor([1.0, 4.0, 0.0]), torch.tensor([2.0, -1.0, 5.0])


def test_si_of_a_quadratic_is_the_loss_that_fell_over_the_squared_way(tmp_path):
    """In small steps from 0 to b, omega is 1/2 a b^2 and Omega 1/2 a b^2 / (b^2 + xi) (Zenke et al., eq. 5)."""
    method, task = SI(lambda_=1.0, xi=0.1), Quadratic(torch.zeros(3), A, B0)
    method.begin(task, None)
    task.learn(method, updates=8000, lr=2e-3)
    expected = 0.5 * A * B0**2 / (torch.tensor([2.0, -1.0, 0.0]) ** 2 + 0.1)
    torch.testing.assert_close(method.omegas["w"], expected, rtol=0.005, atol=1e-6)
    method.carry(tmp_path)
    torch.testing.assert_close(load_file(tmp_path / "si.safetensors")["w"], method.omegas["w"])


def test_si_holds_by_what_the_run_before_has_left_and_adds_its_own(tmp_path):
    first = torch.tensor([0.0, 3.0, 1.0])
    save_file({"w": first}, tmp_path / "si.safetensors", metadata={"provenance": "{}"})
    method, start = SI(lambda_=2.0, xi=0.5), torch.tensor([1.0, 1.0, 1.0])
    task = Quadratic(start, A, B0)
    method.carried = tmp_path
    method.begin(task, None)
    w = task.modules["w"]
    with torch.no_grad():
        w += torch.tensor([1.0, 2.0, -1.0])
    w.grad = g = torch.tensor([-0.5, 0.25, 1.0])
    method.add_gradient()
    torch.testing.assert_close(w.grad, torch.tensor([-0.5, 0.25, 1.0]) + 2.0 * first * (w.detach() - start))
    assert g is w.grad, "in place"
    assert method.logged() == {"si": pytest.approx(0.5 * 2.0 * (3.0 * 4 + 1.0 * 1))}
    with torch.no_grad():
        w += 0.1
    method.after_update()  # omega = -g x 0.1, of the gradient without the penalty
    method.finish(task)
    omega = torch.tensor([0.05, 0.0, 0.0])  # the others' losses rose: no importance
    way = torch.tensor([1.1, 2.1, -0.9])
    torch.testing.assert_close(method.omegas["w"], first + omega / (way**2 + 0.5))


def test_si_goes_on_from_its_checkpoint():
    whole, broken = (SI(1.0) for _ in range(2))
    tasks = [Quadratic(torch.zeros(3), A, B0) for _ in range(2)]
    for method, task in zip((whole, broken), tasks, strict=True):
        method.begin(task, None)
    tasks[0].learn(whole, 20, 0.1)
    tasks[1].learn(broken, 10, 0.1)
    state, weights = copy.deepcopy(broken.state_dict()), tasks[1].modules["w"].detach().clone()
    again, task = SI(1.0), Quadratic(torch.zeros(3), A, B0)
    again.begin(task, None)  # from the first weights, as a resumed run
    with torch.no_grad():
        task.modules["w"].copy_(weights)
    again.load_state_dict(state)
    task.learn(again, 10, 0.1)
    torch.testing.assert_close(again.omegas["w"], whole.omegas["w"], rtol=0, atol=0)


def test_si_without_a_run_before_gathers_alone_or_is_refused():
    method = SI(1.0)
    method.check({"old_language": "nl", "model": "m"})
    with pytest.raises(ValueError, match="SI knows nothing of nl: .* has left no carried/si.safetensors"):
        method.require(None)
    method.check({"old_language": None, "from_scratch": True})
    method.require(None)
    with pytest.raises(ValueError, match="SI has xi 0"):
        SI(1.0, xi=0)


# ---- online EWC ----


def test_one_decayed_fisher_of_three_languages(tmp_path):
    """F* = F_3 + gamma (F_2 + gamma F_1), each EWC's own at its weights (Schwarz et al. 2018)."""
    gamma, alone, total, left = 0.5, [], None, None
    for k in range(3):
        brain, method, ewc = Brain(seed=k, new={}), OnlineEWC(10.0, gamma=gamma, folder=str(tmp_path)), EWC(10.0)
        ewc.folder, method.carried = str(tmp_path), left
        ewc.begin(brain, Old())
        method.begin(brain, Old())
        alone.append(dict(zip(dict(brain.modules.named_parameters()), [F for _, F, _ in ewc._held], strict=True)))
        left = tmp_path / f"carried{k}"
        left.mkdir()
        method.carry(left)
        total = load_file(left / "online_ewc.safetensors")
    for name in total:
        expected = alone[2][name] + gamma * (alone[1][name] + gamma * alone[0][name])
        torch.testing.assert_close(total[name], expected, rtol=1e-6, atol=0)
    p, F, anchor = method._held[0]  # the gradient is of one penalty, at the last weights
    with torch.no_grad():
        p.add_(0.1)
    p.grad = torch.zeros_like(p)
    method.add_gradient()
    torch.testing.assert_close(p.grad, 10.0 * F * 0.1, rtol=1e-4, atol=1e-8)
    assert torch.equal(F, total[next(iter(dict(brain.modules.named_parameters())))])


@pytest.mark.parametrize("gamma", [0, 1.5])
def test_a_decay_that_is_none_is_refused(gamma):
    with pytest.raises(ValueError, match="OnlineEWC has gamma"):
        OnlineEWC(1.0, gamma=gamma)


def test_what_is_carried_grows_with_the_head_and_is_refused_of_another_model(tmp_path):
    path = tmp_path / "x.safetensors"
    save_file({"head": torch.ones(3, 2), "gone": torch.ones(4)}, path, metadata={"provenance": "{}"})
    found = carried.load(path, {"head": torch.empty(5, 2), "new": torch.empty(7)})
    assert found["head"].tolist() == [[1, 1]] * 3 + [[0, 0]] * 2 and not found["new"].any() and len(found) == 2
    for parameters, message in (
        ({"head": torch.empty(2, 2)}, r"head has the shape \(3, 2\), here \(2, 2\)"),
        ({"head": torch.empty(3, 3)}, "head has the shape"),
        ({"other": torch.empty(3)}, "none of its 2 tensors is of this model"),
    ):
        with pytest.raises(ValueError, match=message):
            carried.load(path, parameters)


def test_a_run_takes_what_lies_beside_the_model_it_starts_from(tmp_path):
    (tmp_path / "run" / "carried").mkdir(parents=True)
    model = str(tmp_path / "run" / "model")
    assert carried.folder_of({"model": model}) == tmp_path / "run" / "carried"
    assert carried.folder_of({"model": "other", "start_from": model}) == tmp_path / "run" / "carried"
    assert carried.folder_of({"model": model, "from_scratch": True}) is None
    assert carried.folder_of({"model": str(tmp_path / "none" / "model")}) is None
    found = experiment("german_adaptation", ["replay"], {"model": model})
    assert found.methods[0].carried == tmp_path / "run" / "carried"


# ---- replay, averages ----


def test_replay_keeps_what_the_run_before_kept(tmp_path):
    def rows(language, n):
        return [{"ID": str(i), "language": language, "audio": f"{language}{i}.wav"} for i in range(n)]

    first, second = Replay(0.5), Replay(0.5)
    first.mix(rows("de", 4), rows("nl", 6))
    carried.leave([first, LwF()], tmp_path)
    second.carried = tmp_path / "carried"
    mixed = second.mix(rows("en", 3), rows("de", 4))
    assert [row["language"] for row in mixed] == ["en"] * 3 + ["nl"] * 3 + ["de"] * 2
    assert len({row["ID"] for row in mixed}) == 8
    again = Replay(0.5)  # the old language is one that was kept before: none of it comes twice
    again.carried = tmp_path / "carried"
    assert len(again.mix(rows("fr", 3), rows("nl", 6))) == 3 + 3
    (tmp_path / "2").mkdir()
    carried.leave([second], tmp_path / "2")
    assert len(mixing.read(tmp_path / "2" / "carried" / "replay.csv")[1]) == 5


def test_nothing_is_left_where_no_method_has_anything_to_leave(tmp_path):
    carried.leave([LwF(), L2SP(1.0), Averaging([0.5])], tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_one_average_is_exported():
    assert Averaging([0.25, 0.5], export=0.5).exported == "average_0.50" and Averaging([0.5]).exported is None
    with pytest.raises(ValueError, match="export 0.3 is none of the shares"):
        Averaging([0.5], export=0.3)


@pytest.mark.parametrize(
    "forgetting_, names",
    [
        ("[!new:carryover.forgetting.Replay {share: 0.1}, !new:carryover.forgetting.Averaging {shares: [0.5]}]",
         ["Replay", "Averaging"]),
        ("[!new:carryover.forgetting.Averaging {shares: [0.5]}, !new:carryover.forgetting.LwF {}]",
         ["Averaging", "LwF"]),
        ("[!new:carryover.forgetting.DER {}, !new:carryover.forgetting.OnlineEWC {lambda_: 1}]", ["DER", "OnlineEWC"]),
        ("[!new:carryover.forgetting.PseudoReplay {}, !new:carryover.forgetting.LwF {}]", ["PseudoReplay", "LwF"]),
    ],
)  # fmt: skip
def test_methods_of_different_kinds_go_together(forgetting_, names):
    found = experiment("german_adaptation", (), {"forgetting": forgetting_})
    found.check()
    assert [type(method).__name__ for method in found.methods] == names


def test_averaging_and_distillation_do_in_one_run_what_each_does_alone():
    learner, lwf, averaging = Learner(), LwF(), Averaging([0.5])
    forgetting.check([lwf, averaging], {"model": "m"})
    for method in (lwf, averaging):
        method.begin(learner, None)
    old = {name: p.detach().clone() for name, p in learner.modules.named_parameters()}
    moved(learner)
    x = pairs()[0]
    assert lwf.terms(learner.forward(x), (x, None))["kd"] > 0
    [(name, weights)] = averaging.variants()
    first = "model.0.weight"
    torch.testing.assert_close(weights[first], 0.5 * (old[first] + learner.modules["model"][0].weight.detach()))
    assert name == "average_0.50"


@pytest.mark.parametrize("two", ["SI", "OnlineEWC"])
def test_two_penalties_are_refused(two):
    words = f"[!new:carryover.forgetting.{two} {{lambda_: 1}}, !new:carryover.forgetting.L2SP {{lambda_: 1}}]"
    with pytest.raises(ValueError, match=f"{two} and L2SP both hold the weights"):
        experiment("german_adaptation", (), {"forgetting": words}).check()


# ---- replay with kept logits ----


class Heard(Learner):
    """With what a memory of clips asks: logits of the old units, hypotheses."""

    def outputs(self, batch):
        return self.modules["model"](batch[0])[:, None, :3]  # (B, 1, 3)

    def batches(self, dataset, indices, batch_size=1):
        for i in range(0, len(indices), batch_size):
            yield dataset[0][indices[i : i + batch_size]], dataset[1][indices[i : i + batch_size]]


def test_der_is_the_mean_squared_distance_to_the_old_logits_and_the_loss():
    """Against a copy of the old model that is asked anew; kept in half precision: 5e-4 of a logit."""
    learner, method, memory = Heard(), DER(alpha=0.3, beta=0.7, memory=12, batch_size=12), pairs()
    method.begin(learner, memory)
    teacher = copy.deepcopy(learner.modules["model"]).eval()
    moved(learner)
    learner.modules.eval()
    terms = method.terms(None, None)
    distance = learner.modules["model"](memory[0])[:, :3] - teacher(memory[0])[:, :3].detach()
    torch.testing.assert_close(terms["der_logits"], distance.square().mean(), rtol=2e-3, atol=0)
    torch.testing.assert_close(terms["der_replay"], learner.loss(memory))
    assert method.weights == {"der_logits": 0.3, "der_replay": 0.7}
    [g] = torch.autograd.grad(terms["der_logits"], [learner.modules["model"][2].weight])
    [wanted] = torch.autograd.grad(distance.square().mean(), [learner.modules["model"][2].weight])
    torch.testing.assert_close(g, wanted, rtol=5e-3, atol=1e-5)


def test_der_at_the_old_weights_has_no_distance_and_beta_0_no_replay():
    learner, method = Heard(), DER(beta=0, memory=6, batch_size=3)
    method.begin(learner, pairs())
    learner.modules.eval()
    terms = method.terms(None, None)
    assert list(terms) == ["der_logits"] and terms["der_logits"].item() < 1e-6


def test_draws_are_of_the_kept_clips_and_by_the_update():
    learner, method = Heard(), DER(memory=5, batch_size=2, seed=3)
    method.begin(learner, pairs())
    first = [method.draw()[0] for _ in range(3)]
    assert len({tuple(drawn) for drawn in first}) > 1 and {i for drawn in first for i in drawn} <= set(method.kept)
    learner.update = 1
    other = method.draw()[0]
    learner.update = 0
    assert method.draw()[0] == first[0] != other


@pytest.mark.parametrize("options", [{"alpha": 0}, {"beta": -1}, {"memory": 0}, {"batch_size": 1.5}])
def test_der_refuses_what_is_no_weight_or_size(options):
    with pytest.raises(ValueError, match="DER has"):
        DER(**options)


# ---- replay of pseudo-labels ----


class Clips:
    """A dataset of texts."""

    def __init__(self, texts):
        self.data = {f"c{i}": {"text": text} for i, text in enumerate(texts)}
        self.data_ids = list(self.data)

    def __len__(self):
        return len(self.data_ids)


def test_pseudo_labels_are_the_old_models_and_no_transcript_is_used():
    old_set, losses = Clips(["true text"] * 4), []

    def batches(dataset, indices, size=1):
        for i in range(0, len(indices), size):
            yield [(ID, dataset.data[ID]["text"]) for ID in (dataset.data_ids[k] for k in indices[i : i + size])]

    learner = SimpleNamespace(
        modules=torch.nn.Module(), update=0, batches=batches,
        hear=lambda batch: ["" if ID == "c2" else f"heard {ID}" for ID, _ in batch],
        loss=lambda batch: losses.append(batch) or torch.tensor(2.0),
    )  # fmt: skip
    method = PseudoReplay(weight=0.5, memory=4, batch_size=3)
    method.begin(learner, old_set)
    assert method.terms(None, None) == {"pseudo_replay": torch.tensor(2.0)}
    assert sorted(losses[0]) == [(f"c{i}", f"heard c{i}") for i in (0, 1, 3)]
    assert old_set.data["c0"] == {"text": "true text"}
    learner.hear = lambda batch: [""] * len(batch)
    with pytest.raises(ValueError, match="PseudoReplay has nothing to replay, the old model heard no word in 4 clips"):
        PseudoReplay(memory=4).begin(learner, old_set)
    with pytest.raises(ValueError, match="PseudoReplay has weight 0"):
        PseudoReplay(weight=0)


# ---- what is logged ----


def test_the_strength_of_a_penalty_is_logged_beside_lambda(tmp_path):
    brain, method = Brain(), EWC(10.0, folder=str(tmp_path))
    method.begin(brain, Old())
    [fisher] = [e for e in brain.events if e["event"] == "fisher"]
    F = torch.cat([f.flatten() for _, f, _ in method._held])
    assert fisher["lambda"] == 10.0 and fisher["lambda_mean"] == pytest.approx(10.0 * fisher["mean"])
    assert fisher["mean"] >= F.sum().item() / 1000  # of all weights, new ones too


@pytest.mark.parametrize("split", ["train", "valid"])
def test_fisher_can_be_of_held_out_clips(split):
    method = EWC(1.0, split=split)
    assert method.reads == (split,)
    found, _ = Experiment.parse([
        str(HPARAMS / "ewc_on_whisper.yaml"), "--old_splits", "[test]",
        "--forgetting", f"[!new:carryover.forgetting.EWC {{lambda_: 1, split: {split}}}]",
    ])  # fmt: skip
    assert found.old_splits == (split, "test")
    assert {"train": "training", "valid": "validation"}[split] + " utterances" in method.describe()
    with pytest.raises(ValueError, match="split: 'test'"):
        EWC(1.0, split="test")
