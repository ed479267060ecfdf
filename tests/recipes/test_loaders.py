"""What a loader is given beside a GPU, seen on a CPU by a Brain that says it has one."""

import math
import shutil

import pytest
from speechbrain import Stage
from speechbrain.dataio.batch import PaddedBatch

from carryover.training import describe
from tests.tiny_language_model import make as make_language_model

from .four_recipes import SHORT
from .helpers import batches, make_brain
from .test_resume import checkpoints, require_equal


@pytest.fixture
def run(tiny_ctc, small_corpus, tmp_path):
    return SHORT | {
        "corpus": "!name:local.table.utterances", "data_folder": str(small_corpus), "language": "nl",
        "model": str(tiny_ctc), "output_folder": str(tmp_path / "run"),
    }  # fmt: skip


@pytest.mark.parametrize("device", ["cpu", "cuda"])
@pytest.mark.parametrize("workers", [0, 2])
def test_beside_a_gpu_batches_are_pinned_and_readers_stay(run, device, workers):
    brain, _, manifests = make_brain(run, yaml="dutch_pretrain")
    brain.device_type, kwargs = device, {"num_workers": workers, "batch_size": 4}
    train = brain.train_loader(brain.read(manifests / "train.csv"), kwargs | {"shuffle": True})
    valid = brain.make_dataloader(brain.read(manifests / "valid.csv"), Stage.VALID, ckpt_prefix=None, **kwargs)
    assert train.pin_memory == valid.pin_memory == (device == "cuda")
    assert train.persistent_workers == (device == "cuda" and workers > 0) and not valid.persistent_workers
    assert train.prefetch_factor == (2 if workers else None)  # batches of each reader, ahead of the training


def test_readers_that_draw_what_a_clip_is_asked_begin_each_epoch_anew(tiny_whisper, tmp_path):
    """The embedded corpus's clips are asked for their language, too: what is asked is drawn where a batch is made."""
    model = {"encoder": str(tiny_whisper), "language_model": make_language_model(tmp_path / "lm"), "hidden": "16"}
    corpus = {"corpus": "!name:local.synthetic.utterances {hours: 0.01}", "data_folder": str(tmp_path / "data")}
    run = model | corpus | {"output_folder": str(tmp_path / "run"), "forgetting": "[]", "old_language": "null"}
    brain, _, manifests = make_brain(run, yaml="speech_llm_multitask", splits=("train",))
    brain.device_type = "cuda"
    loader = brain.train_loader(brain.read(manifests / "train.csv"), {"num_workers": 2, "batch_size": 4})
    assert brain.tasks.others and loader.pin_memory and not loader.persistent_workers


def test_nothing_waits_for_a_copy_and_units_are_counted_before_it(run, monkeypatch):
    brain, _, manifests = make_brain(run, yaml="dutch_pretrain")
    brain.init_optimizers()
    brain.schedule.plan(2)
    seen = []
    real_to, real_units = PaddedBatch.to, type(brain).units

    def to(self, *args, **kwargs):
        seen.append(("to", kwargs.get("non_blocking", False)))
        return real_to(self, *args, **kwargs)

    def units(self, batch):
        seen.append("units")
        return real_units(self, batch)

    group = batches(brain, manifests / "train.csv", 4)[:2]
    monkeypatch.setattr(PaddedBatch, "to", to)
    monkeypatch.setattr(type(brain), "units", units)
    assert brain._fit_group(group)
    assert seen == ["units"] * 2 + ["units", ("to", True)] * 2
    seen.clear()
    loader = brain.make_dataloader(brain.read(manifests / "valid.csv"), Stage.VALID, ckpt_prefix=None, batch_size=6)
    brain.evaluation.score(loader, Stage.VALID)
    assert ("to", True) in seen and ("to", False) not in seen


@pytest.mark.parametrize("seconds", ["null", "3.5"])
def test_a_run_whose_readers_stay_is_that_whose_readers_do_not(run, tmp_path, seconds):
    """In every digit, also after a resume within an epoch and between two; batches of 4, or filled by seconds."""
    run = run | {"batch_seconds": seconds, "save_limit": "null"}

    def fit(overrides, persistent):
        brain, _, manifests = make_brain(overrides, yaml="dutch_pretrain", saves=True)
        kwargs = {"num_workers": 2, "batch_size": 4, "shuffle": True, "persistent_workers": persistent}
        brain.fit(
            range(1, 3), brain.read(manifests / "train.csv"), brain.read(manifests / "valid.csv"),
            train_loader_kwargs=kwargs, valid_loader_kwargs={"batch_size": 4},
        )  # fmt: skip

    whole = tmp_path / "whole"
    fit(run | {"output_folder": str(whole)}, persistent=False)
    assert list(checkpoints(whole)) == list(range(1, 8))
    for update in (0, 2, 4):  # the first epoch ends at 4
        part = tmp_path / f"from_{update}"
        if update:
            shutil.copytree(whole, part)
            for later, path in checkpoints(part).items():
                if later > update:
                    shutil.rmtree(path)
            (part / "save" / "kept.json").unlink()
        fit(run | {"output_folder": str(part)}, persistent=True)
        require_equal(part, whole)


def test_batches_filled_by_seconds(run, capsys):
    """What is planned, logged and told of them."""
    brain, _, manifests = make_brain(run | {"batch_seconds": "3.5"}, yaml="dutch_pretrain")
    train = brain.read(manifests / "train.csv")
    brain.fit(range(1, 3), train, None, train_loader_kwargs={"batch_size": 4, "shuffle": True})
    batches = len(brain.train_sampler)
    said = f"effective batch 7 s (3.5 s x 2), {math.ceil(batches / 2)} updates per epoch, 7 in all"
    assert said in capsys.readouterr().out and batches != 28 / 4
    log = [event for event in brain.run_log.metrics.events() if event["event"] == "train"]
    assert all(event["padding"] <= 0.5 and event["audio_seconds"] <= 7.0 for event in log)
    [batch, *_] = describe.optimisation(brain)
    assert batch == (
        "Updates are made of batches of 3.5 seconds, padding counted, accumulated over 2 steps (an effective batch of "
        "7 seconds)."
    )
