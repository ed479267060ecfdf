"""The methods against forgetting behind their one face: rows, gradients and weights; and what is refused."""

import copy
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from carryover import forgetting
from carryover.config import presets, settings
from carryover.experiment import Experiment
from carryover.forgetting import AGEM, EWC, L2SP, Averaging, LwF, Method, Replay
from carryover.forgetting.old_weights import OldWeights
from carryover.losses import divergence
from carryover.training.output import Output

HPARAMS = Path(__file__).parents[2] / "hparams"
YAMLS = sorted(HPARAMS.rglob("*.yaml"))
METHODS = (
    "ewc", "ewc_thesis", "online_ewc", "mas", "si", "l2sp", "lwf", "lwf_averaging", "agem", "replay", "replay_ewc",
    "replay_averaging", "pseudo_replay", "der", "averaging",
)  # fmt: skip
NEW = {"data_folder": "there", "language": "yy"}  # which hparams/*_real.yaml leave open
OLD = NEW | {
    "old_language": "xx", "old_data_folder": "there", "old_splits": "[test]", "from_scratch": "False", "model": "m",
    "start_from": "s",
}  # fmt: skip


def experiment(name: str, names=(), overrides=None) -> Experiment:
    """Of hparams/<name>.yaml; no object but its methods is made."""
    text = (HPARAMS / f"{name}.yaml").read_text(encoding="utf-8")
    overrides = {k: v for k, v in (overrides or {}).items() if k in settings.tree(text)}
    return Experiment(name, text, presets.apply(list(names), presets.scalars(text)) | overrides, {}, {})


@pytest.mark.parametrize("path", YAMLS, ids=lambda path: path.stem)
def test_what_a_yaml_says_is_not_refused(path):
    experiment(path.stem, overrides=NEW if "_real" in path.stem else None).check()


@pytest.mark.parametrize(
    "name, overrides, message",
    [
        ("whisper_real", {}, "^data_folder: give the corpus's folder, at the top of whisper_real or as --data_folder"),
        ("sign_real", {}, "^data_folder: give"),
        ("ctc_real", {"data_folder": "there"}, "^language: give the code of the language, e.g. nl, at the top of"),
        ("whisper_real", NEW | {"old_language": "xx"}, "^old_data_folder: give the corpus's folder"),
        ("whisper_real", NEW | {"old_data_folder": "there"}, "^old_language: give the code"),
    ],
)
def test_a_corpus_that_is_not_given_is_one_line(name, overrides, message):
    with pytest.raises(ValueError, match=message):
        experiment(name, overrides=overrides).check()


@pytest.mark.parametrize("preset", METHODS)
@pytest.mark.parametrize("path", YAMLS, ids=lambda path: path.stem)
def test_every_preset_works_on_every_yaml_that_carries_a_model_over(path, preset):
    found = experiment(path.stem, [preset], OLD)
    found.check()
    assert all(isinstance(method, Method) and method.describe().endswith(".") for method in found.methods)


@pytest.mark.parametrize(
    "names, overrides, message",
    [
        (["plain"], {"lambda": "1e2"}, r"lambda: 100.0, but nothing reads it \(forgetting: Averaging\)"),
        (["l2sp"], {"fisher_samples": "9"}, r"fisher_samples: 9, but nothing reads it \(forgetting: L2SP\)"),
        (["ewc"], {"lambda": "-1"}, "lambda: -1; expected a number, 0 or more"),
        (["ewc"], {"lambda": "much"}, "lambda: 'much'; expected a number, 0 or more"),
        (["ewc"], {"fisher_samples": "0"}, "fisher_samples: 0; expected an integer, 1 or more"),
        (["mas"], {"fisher_samples": "many"}, "fisher_samples: 'many'; expected an integer, 1 or more"),
        (["ewc"], {"old_language": "null"}, "EWC needs training clips of the old language"),
        (["replay"], {"old_language": "null"}, "Replay needs training clips of the old language"),
        (["agem"], {"old_language": "null"}, "AGEM needs training clips of the old language"),
        (["l2sp"], {"from_scratch": "True"}, "l2sp would keep what random weights know .from_scratch: True"),
        (["new_only", "lwf"], {}, "LwF would keep what random weights know"),
        ([], {"old_language": "de"}, "old_language: 'de' is the new language, too"),
        ([], {"old_splits": "[]"}, r"old_language: nl, but nothing reads it .old_splits: \[\]"),
        ([], {"forgetting": "[1]"}, "forgetting: 1 is no method; expected a list such as"),
        (
            [],
            {"forgetting": "[!new:carryover.forgetting.L2SP {lambda_: 1}, !new:carryover.forgetting.EWC {lambda_: 1}]"},
            "L2SP and EWC both hold the weights; give one penalty",
        ),
        (
            [],
            {"forgetting": "[!new:carryover.forgetting.LwF {}, !new:carryover.forgetting.LwF {weight: 2}]"},
            "LwF is there twice",
        ),
    ],
)
def test_what_contradicts_is_refused_before_anything_else_is_made(names, overrides, message):
    """The YAML's model is not there."""
    with pytest.raises(ValueError, match=message):
        experiment("german_adaptation", names, overrides).check()


@pytest.mark.parametrize(
    "yaml, preset, overrides, found",
    [
        ("sign_teacher", "ewc", {"old_language": "xx", "old_data_folder": "there"}, "model: null"),
        ("speech_llm_multitask", "l2sp", {}, "start_from: null"),
        ("whisper_ft", "averaging", {"from_scratch": "True"}, "from_scratch: True"),
    ],
)
def test_random_weights_are_nothing_to_keep(yaml, preset, overrides, found):
    with pytest.raises(ValueError, match=f"would keep what random weights know .{found}.; carry a model over"):
        experiment(yaml, [preset], overrides).check()


@pytest.mark.parametrize(
    "key, text",
    [
        ("penalty", "penalty: !new:carryover.ewc.EWC {lambda_: 1}"),
        ("replay", "replay: !new:carryover.replay.Replay {share: 0.1}"),
        ("averaging", "averaging: !new:carryover.averaging.NoAveraging"),
        ("needs", "needs: hparams/dutch_pretrain.yaml"),
    ],
)
def test_a_key_of_an_earlier_version_says_what_to_write(key, text, tmp_path):
    yaml = (HPARAMS / "whisper_ft.yaml").read_text(encoding="utf-8") + f"\n{text}\n"
    with pytest.raises(settings.SettingsError, match=f"^{key}: this key is gone, write "):
        Experiment("x.yaml", yaml, {}, {}, {})
    with pytest.raises(settings.SettingsError, match=f"^--{key} is gone; write "):
        settings.parse([str(HPARAMS / "whisper_ft.yaml"), f"--{key}=1"])


@pytest.mark.parametrize("overrides, samples", [({}, 500), ({"fisher_samples": "20"}, 20)])
@pytest.mark.parametrize(
    "name, preset", [("german_adaptation", "ewc"), ("whisper_ft", "mas"), ("ewc_on_whisper", None)]
)
def test_the_number_of_fisher_samples_is_a_key(name, preset, overrides, samples):
    found = experiment(name, [preset] if preset else [], overrides)
    found.check()
    assert [method.samples for method in found.methods] == [samples] and found.methods[0].reads == ("train",)


@pytest.mark.parametrize("preset, used", [("replay", ["Replay"]), ("plain", ["Averaging"]), ("lwf", ["LwF"])])
def test_a_preset_takes_the_place_of_a_yamls_method_and_says_so(preset, used, capsys):
    """Averages are made after training: of what is trained, plain leaves nothing."""
    found, _ = Experiment.parse([str(HPARAMS / "ewc_on_whisper.yaml"), "--preset", preset])
    found.check()
    assert [type(method).__name__ for method in found.methods] == used
    said = capsys.readouterr().out
    assert said.startswith("forgetting: EWC of ") and f"gives way to {used[0]} (--preset)" in said
    Experiment.parse([str(HPARAMS / "whisper_ft.yaml"), "--preset", preset])
    assert capsys.readouterr().out == ""


def test_german_without_dutch_has_no_method_left(capsys):
    found, _ = Experiment.parse([str(HPARAMS / "ewc_on_whisper.yaml"), "--preset", "new_only"])
    found.check()
    assert found.methods == [] and "gives way to" in capsys.readouterr().out


def test_penalties_left_in_a_yaml_are_not_read_by_another_methods_preset():
    """In ewc_on_whisper lambda stays 10, and nothing is held by it."""
    found, _ = Experiment.parse([str(HPARAMS / "ewc_on_whisper.yaml"), "--preset", "replay"])
    assert found.values["lambda"] == 10 and not any(method.weights_are_held for method in found.methods)


# ---- replay ----


@pytest.mark.parametrize("share, kept", [(0.01, 1), (0.1, 2), (1.0, 20)])
def test_a_share_of_the_old_utterances_stands_beside_the_new_ones(share, kept):
    new, old = ([{"ID": str(i), "language": language} for i in range(n)] for language, n in (("de", 5), ("nl", 20)))
    IDs = [row["ID"] for row in Replay(share).mix(new, old)]
    assert IDs[:5] == [f"de-{i}" for i in range(5)] and len(set(IDs)) == 5 + kept
    assert set(IDs[5:]) <= {f"nl-{i}" for i in range(20)}


@pytest.mark.parametrize("share", [0, -0.1, 1.1])
def test_a_share_that_is_none_is_refused(share):
    with pytest.raises(ValueError, match="replay: share"):
        Replay(share)


# ---- methods that ask the old model, on a classifier of 4 units of which the last is new ----


class Learner:
    """What methods ask a Brain, for pairs (inputs (B, 6), classes (B,))."""

    device, update = "cpu", 0

    def __init__(self, seed=0):
        torch.manual_seed(seed)
        layers = torch.nn.Linear(6, 8), torch.nn.Dropout(0.5), torch.nn.Linear(8, 4)
        self.modules = torch.nn.ModuleDict({"model": torch.nn.Sequential(*layers)})
        self.units_of_old = [0, 1, 2]

    def forward(self, x):
        log_probs = self.modules["model"](x).log_softmax(-1)[:, None]  # (B, 1, V)
        return Output(log_probs, torch.ones(len(x), dtype=torch.long), x)

    def loss(self, batch):
        x, y = batch
        return torch.nn.functional.nll_loss(self.forward(x).log_probs[:, 0], y)

    def units(self, batch):
        return len(batch[0])

    def old_units(self):
        return self.units_of_old

    def known(self, old_set):
        return old_set

    def new_parameters(self):
        return {f"model.2.{name}": torch.tensor([3]) for name in ("weight", "bias")}

    def batches(self, dataset, indices, batch_size=1):
        yield dataset[0][indices], dataset[1][indices]


class Pairs(tuple):
    """A dataset of pairs."""

    def __len__(self):
        return len(self[0])


def pairs(n=12, seed=3):
    chance = torch.Generator().manual_seed(seed)
    return Pairs((torch.randn(n, 6, generator=chance), torch.randint(4, (n,), generator=chance)))


def moved(learner):
    """Take a step away from the weights that a method has begun with."""
    with torch.no_grad():
        for p in learner.modules.parameters():
            p.add_(0.1 * torch.randn_like(p))


@pytest.mark.parametrize("weight", [1.0, 3.0])
def test_lwf_is_the_divergence_from_a_copy_of_the_old_model(weight):
    learner, method = Learner(), LwF(temperature=2.0, weight=weight)
    method.begin(learner, None)
    teacher = copy.deepcopy(learner.modules["model"]).eval()
    moved(learner)
    learner.modules.train()
    x = pairs()[0]
    output = learner.forward(x)
    term = method.terms(output, (x, None))["kd"]
    old = teacher(x).log_softmax(-1)[:, None, :3].detach()
    expected = divergence(old, output.log_probs[..., :3], output.lengths, 2.0)
    assert term.item() == pytest.approx(expected.item(), rel=1e-6) and method.weights == {"kd": weight}
    found = torch.autograd.grad(term, list(learner.modules.parameters()), retain_graph=True)
    wanted = torch.autograd.grad(expected, list(learner.modules.parameters()))
    for a, b in zip(found, wanted, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-7)
    assert learner.modules["model"][1].training, "the new model goes on with dropout"


def test_lwf_at_the_old_weights_has_no_term_and_needs_old_units():
    learner = Learner()
    learner.modules.eval()
    method = LwF()
    method.begin(learner, None)
    x = pairs()[0]
    assert method.terms(learner.forward(x), (x, None))["kd"].item() == pytest.approx(0.0, abs=1e-6)
    learner.units_of_old = []
    with pytest.raises(ValueError, match="LwF has nothing to compare, .* no head"):
        method.begin(learner, None)


@pytest.mark.parametrize("options, message", [({"temperature": 0}, "temperature: 0"), ({"weight": 0}, "has weight 0")])
def test_lwf_refuses_what_is_no_number_above_0(options, message):
    with pytest.raises(ValueError, match=message):
        LwF(**options)


def test_old_weights_are_put_back_for_a_moment_only():
    learner = Learner()
    old, before = OldWeights(learner.modules), copy.deepcopy(learner.modules.state_dict())
    moved(learner)
    now = copy.deepcopy(learner.modules.state_dict())
    with pytest.raises(RuntimeError), old.loaded():
        assert all(torch.equal(learner.modules.state_dict()[k], before[k]) for k in before)
        raise RuntimeError
    assert all(torch.equal(learner.modules.state_dict()[k], now[k]) for k in now)


def test_averages_keep_the_new_rows():
    learner, method = Learner(), Averaging([0.25])
    old = {name: p.detach().clone() for name, p in learner.modules.named_parameters()}
    method.begin(learner, None)
    moved(learner)
    [(name, weights)] = method.variants()
    assert name == "average_0.25"
    for key, p in learner.modules.named_parameters():
        expected = 0.75 * old[key] + 0.25 * p.detach()
        if key.startswith("model.2"):
            expected[3] = p.detach()[3]
        torch.testing.assert_close(weights[key], expected)


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_agem_projects_a_gradient_that_would_raise_the_memorys_loss(sign):
    """Chaudhry et al. 2019, eq. 11, in closed form: afterwards g . r = 0, and what helps the memory is left alone."""
    learner, method, memory = Learner(), AGEM(memory=8, batch_size=8), pairs()
    method.begin(learner, memory)
    assert len(method.kept) == 8
    parameters = list(learner.modules.parameters())
    learner.modules.eval()
    kept = torch.tensor(method.kept)
    r = torch.autograd.grad(learner.loss((memory[0][kept], memory[1][kept])), parameters)
    for p, ref in zip(parameters, r, strict=True):
        p.grad = sign * ref + 0.1 * torch.ones_like(ref)
    g = [p.grad.clone() for p in parameters]
    method.add_gradient()
    dot, squared = (sum((a * b).sum() for a, b in zip(x, r, strict=True)) for x in (g, r))
    assert (dot < 0) == (sign < 0)
    for p, own, ref in zip(parameters, g, r, strict=True):
        torch.testing.assert_close(p.grad, own - dot / squared * ref if sign < 0 else own, rtol=1e-4, atol=1e-6)
    assert method.logged()["agem_cosine"] == pytest.approx(
        (dot / (squared * sum((x**2).sum() for x in g)).sqrt()).item(), abs=1e-5
    )


def test_agem_draws_by_the_update():
    drawn = []
    for update in (0, 1, 0):
        learner, method = Learner(), AGEM(memory=10, batch_size=3)
        learner.update = update
        learner.batches = lambda dataset, indices, size: (drawn.append(indices), iter([pairs(3)]))[1]
        method.begin(learner, pairs())
        method.add_gradient()
    assert drawn[0] == drawn[2] != drawn[1]


def test_a_method_without_hooks_does_nothing():
    method = Method()
    rows = [{"ID": "1"}]
    assert method.mix(rows, []) is rows and method.terms(None, None) == {} and method.logged() == {}
    assert list(method.variants()) == [] and method.state_dict() == {}
    assert forgetting.check([], {}) is None and EWC(0.0).reads == () and L2SP(1.0).reads == ()
    assert SimpleNamespace(method=method.begin(None, None)).method is None
