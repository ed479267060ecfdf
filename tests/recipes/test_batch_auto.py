"""`--batch auto` with a limit of memory that is made up: what is found, what is said, and that it changes no update."""

import json
import os
import shutil

import pytest
import torch

from carryover import batch_auto, experiment, forgetting
from carryover.config.settings import SettingsError

from .helpers import ROOT, events, make_brain
from .test_resume import checkpoints

GiB = 2**30
YAML = "hparams/dutch_pretrain.yaml"


class MadeUp:
    """A GPU of 10 GiB, on which a clip of a micro-batch takes one."""

    limit, taken = 10 * GiB, []

    def __init__(self, device):
        self.clear()

    def clear(self):
        self.taken.clear()

    def peak(self):
        return max(self.taken) * GiB


@pytest.fixture
def gpu(monkeypatch):
    """-> the sizes of all micro-batches that are fitted."""
    from carryover.training.brain import RecipeBrain

    real, sizes = RecipeBrain.fit_batch, []

    def fit_batch(brain, batch, share=1.0):
        sizes.append(len(batch))
        MadeUp.taken.append(len(batch))
        if len(batch) > MadeUp.limit / GiB:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return real(brain, batch, share)

    monkeypatch.setattr(RecipeBrain, "fit_batch", fit_batch)
    monkeypatch.setattr(batch_auto, "Memory", MadeUp)
    monkeypatch.setattr(batch_auto, "require_possible", lambda *_: None)
    return sizes


@pytest.fixture
def run(ctc_run):
    """Nothing in a forward pass is drawn, so that micro-batches of any size make the same update."""
    still = dict.fromkeys(("dropout", "attention_dropout", "layerdrop", "mask_time_prob", "augment_prob"), "0.0")
    short = {"max_updates": "3", "save_every": "1", "save_limit": "null"}
    return ctc_run | still | short | {"batch_size": "4", "grad_accumulation_factor": "4"}


def train(run, folder, *more: str) -> int:
    os.chdir(ROOT)
    words = [f"--{key}={value}" for key, value in (run | {"output_folder": str(folder)}).items()]
    return experiment.train([YAML, "--device=cpu", "--noprogressbar", *words, *more])


def losses(folder) -> list[float]:
    return [event["loss"] for event in events(folder) if event["event"] == "train"]


# ---- the search ----


@pytest.mark.parametrize(
    "limit, clips, why",
    [
        (100, 16, ""),  # all of it
        (17, 8, "; 16 took 16.00 GiB"),  # it fits, but into more than 90 %
        (10, 8, "; 16 ran out of memory"),
        (9.0, 8, "; 16 ran out of memory"),  # 8.00 is below 8.1
        (8.8, 4, "; 8 took 8.00 GiB"),
        (1.0, 1, "; 1 took 1.00 GiB"),
        (0.5, 1, "; 1 ran out of memory"),
    ],
)
def test_the_largest_that_fits_into_its_share(run, tmp_path, gpu, monkeypatch, limit, clips, why):
    monkeypatch.setattr(MadeUp, "limit", limit * GiB)
    whole = run | {"batch_size": "16", "grad_accumulation_factor": "1", "output_folder": str(tmp_path / "run")}
    brain, _, manifests = make_brain(whole, yaml="dutch_pretrain", splits=("train",))
    brain.init_optimizers()
    weights = [p.detach().clone() for p in brain.modules.parameters()]
    state, dataset = torch.random.get_rng_state(), brain.read(manifests / "train.csv")
    found, said = batch_auto.measure(brain, dataset, MadeUp(None))
    assert (found["clips"], found["halvings"]) == (clips, {16: 0, 8: 1, 4: 2, 1: 4}[clips])
    assert said.startswith(f"--batch auto: micro-batches of {clips} of the effective batch of 16;") and said.endswith(
        why
    )
    tried = [n for n in (1, 2, 4, 8, 16) if n <= max(clips, 2 * clips if why and limit > 1 else clips)]
    assert sorted(set(gpu)) == tried  # it ends at the first that does not fit
    assert torch.equal(torch.random.get_rng_state(), state)
    assert all(torch.equal(a, b) and b.grad is None for a, b in zip(weights, brain.modules.parameters(), strict=True))


def test_it_is_tried_on_the_longest_clips_and_as_often_as_chance_needs(run, tmp_path, gpu, monkeypatch):
    overrides = run | {"batch_size": "4", "output_folder": str(tmp_path / "run"), "augment_prob": "1.0"}
    brain, _, manifests = make_brain(overrides, yaml="dutch_pretrain", splits=("train",))
    brain.init_optimizers()
    dataset = brain.read(manifests / "train.csv")
    durations, real = [], type(brain).compute_forward

    def forward(brain, batch, stage):
        durations.append([row["duration"] for row in batch.row])
        return real(brain, batch, stage)

    monkeypatch.setattr(type(brain), "compute_forward", forward)
    batch_auto.measure(brain, dataset, MadeUp(None))
    longest = sorted((row["duration"] for row in dataset.data.values()), reverse=True)
    assert durations[-1] == longest[:4] and durations[0] == longest[:1]
    assert len(durations) == 3 * batch_auto.PROBES  # of 1, 2 and 4


def test_the_optimizers_state_is_counted(run, tmp_path, gpu, monkeypatch):
    """AdamW keeps two numbers a weight, which are not there before the first update."""
    monkeypatch.setattr(MadeUp, "peak", lambda self: 0)
    brain, _, manifests = make_brain(run | {"output_folder": str(tmp_path)}, yaml="dutch_pretrain", splits=("train",))
    brain.init_optimizers()
    found, _ = batch_auto.measure(brain, brain.read(manifests / "train.csv"), MadeUp(None))
    assert found["peak_memory_bytes"] == 8 * brain.parameter_counts()[0]


# ---- a run ----


def test_a_run_says_what_it_found_and_learns_what_any_micro_batch_would(run, tmp_path, gpu, capsys):
    assert train(run, tmp_path / "auto", "--batch", "auto") == 0
    said = capsys.readouterr().out
    assert "--batch auto: micro-batches of 8 of the effective batch of 16; tried on the longest clips" in said
    assert "effective batch 16 (16 x 1)" in said
    info = json.loads((tmp_path / "auto" / "run.json").read_text())["micro_batch"]
    assert (info["clips"], info["halvings"], info["limit_bytes"]) == (8, 1, 10 * GiB)
    trials, fitted = gpu[: 2 * 4 + 1], gpu[2 * 4 + 1 :]
    assert trials == [1, 1, 2, 2, 4, 4, 8, 8, 16] and max(fitted) == 8
    assert "Out of memory" not in said
    assert train(run | {"batch_size": "16", "grad_accumulation_factor": "1"}, tmp_path / "whole") == 0
    assert "Out of memory with micro-batches of 16" in capsys.readouterr().out  # halved when it happens
    assert losses(tmp_path / "auto") == losses(tmp_path / "whole") and len(losses(tmp_path / "auto")) == 3
    small = run | {"batch_size": "2", "grad_accumulation_factor": "8", "group_by_length": "False"}
    for name, more in (("small", ()), ("small_auto", ("--batch=auto",))):  # shuffled, both draw the same 16 clips
        assert train(small, tmp_path / name, *more) == 0
    assert losses(tmp_path / "small_auto") == pytest.approx(losses(tmp_path / "small"), rel=1e-6)


def test_a_resume_takes_what_was_found(run, tmp_path, gpu, monkeypatch):
    assert train(run, tmp_path / "whole", "--batch", "auto") == 0
    part = tmp_path / "part"
    shutil.copytree(tmp_path / "whole", part)
    for later, path in checkpoints(part).items():
        if later > 1:
            shutil.rmtree(path)
    (part / "save" / "kept.json").unlink()
    monkeypatch.setattr(batch_auto, "measure", None)  # nobody measures again
    gpu.clear()
    assert train(run, part, "--batch", "auto") == 0
    assert max(gpu) == 8 and losses(part) == losses(tmp_path / "whole")
    never = tmp_path / "never"  # it ended before its first checkpoint
    shutil.copytree(tmp_path / "whole", never)
    for path in (*checkpoints(never).values(), never / "metrics.jsonl", never / "model"):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    (never / "save" / "kept.json").unlink()
    gpu.clear()
    assert train(run, never, "--batch", "auto") == 0
    assert max(gpu) == 8 and losses(never) == losses(tmp_path / "whole")


# ---- the command line ----


def test_it_is_taken_out_of_the_command_line():
    assert batch_auto.take([YAML, "--lr", "1"]) == (False, [YAML, "--lr", "1"])
    assert batch_auto.take([YAML, "--batch", "auto", "--lr", "1"]) == (True, [YAML, "--lr", "1"])
    assert batch_auto.take([YAML, "--batch_size=4", "--batch=auto"]) == (True, [YAML, "--batch_size=4"])
    assert batch_auto.overrides(True, {"batch_size": 4, "grad_accumulation_factor": 8}) == {
        "batch_size": "32", "grad_accumulation_factor": "1",
    }  # fmt: skip
    assert batch_auto.overrides(False, {"batch_size": 4, "grad_accumulation_factor": 8}) == {}


@pytest.mark.parametrize(
    "words, says",
    [
        (["--batch"], "--batch '' Expected --batch auto"),
        (["--batch", "16"], "--batch '16' Expected --batch auto, or give batch_size and grad_accumulation_factor"),
        (["--batch", "Auto"], "did you mean auto"),
        (["--batch", "auto", "--profile", "24GB"], "--batch auto and --profile both set the micro-batch"),
    ],
)
def test_what_cannot_be_meant(words, says):
    with pytest.raises(SettingsError) as error:
        batch_auto.take([YAML, *words])
    assert says in str(error.value)


@pytest.mark.parametrize("device", ["cpu", None])
def test_without_a_gpu_it_says_what_it_needs(ctc_run, device, monkeypatch):
    monkeypatch.setattr(batch_auto, "infer_device", lambda: "cpu")
    os.chdir(ROOT)
    words = [f"--{key}={value}" for key, value in ctc_run.items()] + ([f"--device={device}"] if device else [])
    found, _ = experiment.Experiment.parse([YAML, *words, "--batch", "auto"])
    with pytest.raises(
        ValueError, match="--batch auto: it looks for the limit of a GPU's memory, and this run is on cpu"
    ):
        found.check()


def test_old_clips_that_are_not_cut_are_refused():
    with pytest.raises(ValueError, match="--batch auto: AGEM draws batch_size old clips at once, which are not cut"):
        batch_auto.require_possible("cuda:0", [forgetting.AGEM(batch_size=4)])
    batch_auto.require_possible("cuda:0", [forgetting.L2SP(0.1)])


def test_the_memory_of_a_gpu_is_what_is_free_and_what_the_run_has(monkeypatch):
    cuda, seen = torch.cuda, []
    for name, value in (
        ("mem_get_info", (6 * GiB, 24 * GiB)), ("memory_reserved", 2 * GiB), ("max_memory_allocated", 5 * GiB),
        ("reset_peak_memory_stats", None),
    ):  # fmt: skip
        monkeypatch.setattr(cuda, name, lambda *args, name=name, value=value: seen.append((name, args)) or value)
    memory = batch_auto.Memory("cuda:1")
    assert memory.limit == 8 * GiB and memory.peak() == 5 * GiB
    assert all(args == ("cuda:1",) for _, args in seen)
