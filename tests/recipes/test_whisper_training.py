"""The Whisper recipe's training: gradients, rates, freezing, resuming; on a tiny Whisper of transformers' classes."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from speechbrain import Stage

from tests.conftest import STARTER

from .helpers import batches, events, kill_at, make_brain, train


def gradients(brain, group):
    """Gradient of a group of micro-batches as fit computes it, before any clipping."""
    brain.modules.eval()  # no dropout: only the arithmetic of accumulation is compared
    brain.zero_grad(set_to_none=True)
    units = [brain.units(batch) for batch in group]
    for batch, n in zip(group, units, strict=True):
        brain.fit_batch(batch, share=n / sum(units))
    return {name: p.grad.clone() for name, p in brain.modules.named_parameters() if p.grad is not None}


PACKED = {"collate": "!apply:recipes.whisper.packing [!ref <tokenizer>, !ref <whisper>]"}
WITH_CTC = {"ctc": "!apply:carryover.losses.ctc.CTCHead.of [!ref <whisper>]"}


@pytest.mark.parametrize("kind", [{}, WITH_CTC], ids=["nll", "nll and ctc"])
def test_accumulated_gradient_is_that_of_the_large_batch(whisper_run, kind):
    brain, hparams, manifests = make_brain(whisper_run | kind)
    brain.init_optimizers()
    large = batches(brain, manifests / "train.csv", 8)[0]
    small = batches(brain, manifests / "train.csv", 4)[:2]
    uneven = [b for b in batches(brain, manifests / "train.csv", 3)[:3]]
    uneven[2] = batches(brain, manifests / "train.csv", 2)[3]  # clips 0-2, 3-5, 6-7
    assert brain.units(small[0]) != brain.units(small[1]), "the micro-batches should be ragged"
    wanted = gradients(brain, [large])
    for group in (small, uneven):
        found = gradients(brain, group)
        assert found.keys() == wanted.keys()
        for name, gradient in wanted.items():
            if "k_proj" in name and gradient.norm() < 1e-6:
                continue  # keys have no bias in Whisper; a true gradient of zero has no relative error
            error = (found[name] - gradient).norm() / gradient.norm().clamp(min=1e-12)
            assert error < 1e-5, (name, error.item())


@pytest.fixture
def two_threads():
    was = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(was)


def test_two_threads_give_one_gradient(whisper_run, two_threads):
    """Bit by bit, ten times: else a run on several cores is another one each time, and a resume goes another way."""
    brain, hparams, _ = make_brain(whisper_run | {"model": str(STARTER), "old_language": "null"})
    model = brain.modules.whisper.eval()
    draw = torch.Generator().manual_seed(1)
    states = torch.randn(12, model.config.max_source_positions, model.config.d_model, generator=draw)
    tokens = torch.randint(10, 60, (12, 40), generator=draw)
    found = []
    for _ in range(10):
        model.zero_grad()
        brain.logits(states, tokens, hparams["tokenizer"].prompt_length).square().mean().backward()
        found.append({name: p.grad.clone() for name, p in model.model.decoder.named_parameters()})
    assert found[0]["embed_positions.weight"].abs().sum() > 0
    differ = {name for one in found[1:] for name, value in one.items() if not torch.equal(value, found[0][name])}
    assert not differ


def test_mean_of_means_would_fail_that_test(whisper_run):
    brain, _, manifests = make_brain(whisper_run)
    brain.init_optimizers()
    large, small = batches(brain, manifests / "train.csv", 8)[0], batches(brain, manifests / "train.csv", 4)[:2]
    wanted = gradients(brain, [large])
    brain.zero_grad(set_to_none=True)
    for batch in small:
        brain.fit_batch(batch, share=0.5)
    name = "whisper.model.decoder.layer_norm.weight"
    found = dict(brain.modules.named_parameters())[name].grad
    assert (found - wanted[name]).norm() / wanted[name].norm() > 1e-3


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_loss_is_torch_cross_entropy_of_text_and_end(whisper_run, smoothing):
    brain, hparams, manifests = make_brain(whisper_run | {"label_smoothing": str(smoothing)})
    brain.modules.eval()
    batch = batches(brain, manifests / "train.csv", 6)[0]
    output = brain.compute_forward(batch, Stage.TRAIN)
    found = brain.compute_objectives(output, batch, Stage.TRAIN)["nll"]
    tokenizer = hparams["tokenizer"]
    labels = [tokenizer.encode(row["text"], "nl") for row in batch.row]
    targets = torch.full(batch.tokens.data.shape, -100)
    for i, ids in enumerate(labels):
        targets[i, 4 : len(ids)] = torch.tensor(ids[4:])  # the prompt is given, not learned
    logits = brain.modules.whisper(
        input_features=brain.features(batch, Stage.VALID)[0], decoder_input_ids=batch.tokens.data[:, :-1]
    ).logits
    wanted = torch.nn.functional.cross_entropy(logits.transpose(1, 2), targets[:, 1:], label_smoothing=smoothing)
    assert abs(found.item() - wanted.item()) < 1e-6
    assert brain.units(batch) == sum(len(ids) - 4 for ids in labels)


def test_loss_of_a_clip_ignores_its_batch_mates(whisper_run):
    brain, _, manifests = make_brain(whisper_run)
    brain.modules.eval()
    together = batches(brain, manifests / "train.csv", 6)[0]
    log_probs = brain.compute_forward(together, Stage.VALID).log_probs
    for i, alone in enumerate(batches(brain, manifests / "train.csv", 1)[:6]):
        n = alone.tokens.data.shape[1] - 4
        assert torch.allclose(brain.compute_forward(alone, Stage.VALID).log_probs[0], log_probs[i, :n], atol=1e-5)


@pytest.mark.parametrize(
    "train, trained", [("decoder", "decoder"), ("encoder", "encoder"), ("encoder_top_1", "layers.1")]
)
def test_frozen_parts_stay_as_they_are(whisper_run, train, trained):
    overrides = whisper_run | {"train": train, "dropout": "0.3", "weight_decay": "0.1", "max_updates": "2"}
    brain, hparams, manifests = make_brain(overrides)
    before = {name: p.clone() for name, p in brain.modules.named_parameters()}
    frozen = {name for name, p in brain.modules.named_parameters() if not p.requires_grad}
    brain.init_optimizers()
    in_optimizer = {id(p) for group in brain.optimizer.param_groups for p in group["params"]}
    assert not in_optimizer & {id(p) for n, p in brain.modules.named_parameters() if n in frozen}
    brain.fit(range(1, 3), brain.read(manifests / "train.csv"), None, train_loader_kwargs={"batch_size": 4})
    after = dict(brain.modules.named_parameters())
    assert all(torch.equal(before[name], after[name]) for name in frozen)
    assert any(trained in name and not torch.equal(before[name], after[name]) for name in after)
    brain.train_mode()
    modes = {name: module.training for name, module in brain.modules.named_modules()}
    model = "whisper.model"
    if train == "decoder":
        assert not modes[f"{model}.encoder"] and not modes[f"{model}.encoder.layers.0"] and modes[f"{model}.decoder"]
        batch = batches(brain, manifests / "train.csv", 2)[0]
        first = brain.compute_forward(batch, Stage.TRAIN).states
        assert not first.requires_grad, "a frozen encoder is out of the graph"
        again = brain.compute_forward(batch, Stage.TRAIN).states
        assert torch.equal(first, again), "a frozen encoder has no dropout"
    if train == "encoder_top_1":
        assert not modes[f"{model}.encoder.layers.0"] and modes[f"{model}.encoder.layers.1"]


@pytest.mark.parametrize("schedule", ["noam", "linear", "cosine", "constant_with_warmup"])
def test_logged_rates_are_the_closed_form_across_a_stop(whisper_run, schedule):
    peak, w, total, k = 1e-4, 30, 300, 4
    overrides = whisper_run | {
        "lr_schedule": schedule, "lr": str(peak), "warmup": str(w), "max_updates": str(total), "batch_size": "1",
        "grad_accumulation_factor": str(k), "valid_every": "1000", "save_every": "50", "log_every": "1",
        "augment_prob": "0.0", "model": make_minute_model(whisper_run), "train": "all",
    }  # fmt: skip
    brain, _, manifests = make_brain(overrides, saves=True)
    stop_at(brain, 170)
    kwargs = {"batch_size": 1, "shuffle": True}
    with pytest.raises(KeyboardInterrupt):
        brain.fit(range(1, 2), brain.read(manifests / "train.csv"), None, train_loader_kwargs=kwargs)
    brain, _, manifests = make_brain(overrides, saves=True)
    brain.fit(range(1, 2), brain.read(manifests / "train.csv"), None, train_loader_kwargs=kwargs)
    logged = {e["update"]: e["lr"] for e in brain.run_log.metrics.events() if e["event"] == "train"}
    assert sorted(logged) == list(range(1, total + 1))
    resumed = [e for e in brain.run_log.metrics.events() if e["event"] == "resume"]
    assert [e["update"] for e in resumed] == [150]
    cos = torch.cos(torch.tensor(torch.pi, dtype=torch.float64) * torch.arange(0, total + 2 - w) / (total + 1 - w))
    closed = {
        "noam": lambda n: peak * min(n / w, (w / n) ** 0.5),
        "linear": lambda n: peak * (n / w if n < w else (total + 1 - n) / (total + 1 - w)),
        "cosine": lambda n: peak * (n / w if n < w else 0.5 * (1 + cos[n - w].item())),
        "constant_with_warmup": lambda n: peak * min(1, n / w),
    }[schedule]
    for n, rate in logged.items():
        assert rate == pytest.approx(closed(n), rel=1e-9), n
    assert logged[1] < peak / 10


def make_minute_model(whisper_run) -> str:
    """The tiny model once more with one layer each: 300 updates of 4 micro-batches in seconds."""
    from transformers import WhisperConfig, WhisperForConditionalGeneration

    folder = Path(whisper_run["output_folder"]).parent / "minute_model"
    source = Path(whisper_run["model"])
    config = WhisperConfig.from_pretrained(
        source, d_model=8, encoder_layers=1, decoder_layers=1, encoder_ffn_dim=8, decoder_ffn_dim=8
    )
    WhisperForConditionalGeneration(config).save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (folder / name).write_bytes((source / name).read_bytes())
    return str(folder)


def test_packed_windows_hold_every_clip_once_and_fit(whisper_run):
    brain, hparams, manifests = make_brain(whisper_run | PACKED)
    dataset = brain.read(manifests / "train.csv")
    loader = brain.make_dataloader(dataset, Stage.TRAIN, ckpt_prefix=None, batch_size=14, collate_fn=hparams["collate"])
    windows = [w for b in loader for w in zip(b.id, b.target, b.wav.data, b.wav.lengths, strict=True)]
    assert len(windows) < 28 and [i for w in windows for i in w[0].split("+")] == list(dataset.data)
    rows = dataset.data
    for ID, target, wav, relative in windows:
        clips = [rows[i]["row"] for i in ID.split("+")]
        assert target == " ".join(row["text"] for row in clips)
        samples = round(relative.item() * len(wav))
        assert samples == sum(round(row["duration"] * 16000) for row in clips) <= 4 * 16000
    brain.fit(range(1, 2), dataset, None, train_loader_kwargs={"batch_size": 14})
    assert brain.update == 8


def test_text_before_is_read_and_not_learned(whisper_run):
    """The loss is transformers' own, whose labels leave out the text before and the prompt; text and end count."""
    packed = "!apply:recipes.whisper.packing {tokenizer: !ref <tokenizer>, model: !ref <whisper>, previous_text: 1.0}"
    brain, hparams, manifests = make_brain(whisper_run | {"collate": packed, "label_smoothing": "0"})
    dataset = brain.read(manifests / "train.csv")
    loader = brain.make_dataloader(dataset, Stage.TRAIN, ckpt_prefix=None, batch_size=14, collate_fn=hparams["collate"])
    batch = next(iter(loader)).to(brain.device)
    tokenizer, tokens = hparams["tokenizer"], batch.tokens.data
    before = tokens[:, 0] == tokenizer.vocabulary["<|startofprev|>"]
    assert before.tolist() == [False] + [True] * (len(tokens) - 1) and len(tokens) > 2
    brain.modules.eval()
    with torch.no_grad():
        output = brain.compute_forward(batch, Stage.TRAIN)
        found = brain.compute_objectives(output, batch, Stage.VALID)["nll"]
        lengths = (batch.tokens.lengths * tokens.shape[1]).round().long()
        labels, count = tokens.clone(), 0
        for i, (row, n) in enumerate(zip(tokens.tolist(), lengths.tolist(), strict=True)):
            first = row.index(tokenizer.vocabulary["<|notimestamps|>"]) + 1
            labels[i, :first], labels[i, n:] = -100, -100
            count += n - first
        features, _, _ = brain.features(batch, Stage.VALID)
        logits = brain.modules.whisper(input_features=features, decoder_input_ids=tokens[:, :-1]).logits
        expected = torch.nn.functional.cross_entropy(logits.transpose(1, 2), labels[:, 1:], reduction="sum") / count
    assert brain.units(batch) == count
    assert found.item() == pytest.approx(expected.item(), rel=1e-5)
    brain.fit(range(1, 2), dataset, None, train_loader_kwargs={"batch_size": 14})
    assert brain.update == 8


def stop_at(brain, update):
    """Make a brain stop like a Ctrl-C once that many updates are done."""
    fit_group = brain._fit_group

    def fit(group):
        if brain.update == update:
            raise KeyboardInterrupt
        return fit_group(group)

    brain._fit_group = fit


def test_killed_in_the_middle_of_an_epoch_and_started_again_is_bit_equal(whisper_run, tmp_path):
    overrides = whisper_run | {
        "dropout": "0.2", "attention_dropout": "0.1", "decoder_layerdrop": "0.2", "augment_prob": "0.7",
        "grad_accumulation_factor": "2", "batch_size": "3", "max_updates": "14", "save_every": "2", "valid_every": "5",
        "early_stopping_patience": "9",
    }  # fmt: skip
    # 28 clips in micro-batches of 3: 10 of them, 5 updates an epoch; update 7 is in the middle of epoch 2
    unbroken = overrides | {"output_folder": str(tmp_path / "unbroken")}
    done = train(unbroken)
    assert done.returncode == 0, done.stderr[-2000:]

    broken = overrides | {"output_folder": str(tmp_path / "broken")}
    kill_at(7, 14, broken)
    again = train(broken)
    assert again.returncode == 0, again.stderr[-2000:]
    assert "Resuming from" in again.stdout

    assert events(tmp_path / "broken") == events(tmp_path / "unbroken")
    weights = [load_file(last_checkpoint(tmp_path / name) / "whisper.safetensors") for name in ("unbroken", "broken")]
    assert weights[0].keys() == weights[1].keys()
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    states = [json.loads((last_checkpoint(tmp_path / n) / "brain.json").read_text()) for n in ("unbroken", "broken")]
    assert states[0]["random"] == states[1]["random"]


def last_checkpoint(folder: Path) -> Path:
    """The newest checkpoint of a run folder."""
    import yaml

    found = {yaml.safe_load((c / "CKPT.yaml").read_text())["update"]: c for c in (folder / "save").glob("CKPT+*")}
    return found[max(found)]


def test_patience_survives_a_resume(whisper_run):
    """A rate of zero never improves: with patience 3 the run stops at its 4th validation, stopped in between or not."""
    overrides = whisper_run | {
        "lr": "0.0",
        "lr_schedule": "constant",
        "warmup": "0",
        "valid_every": "2",
        "max_updates": "40",
    }
    overrides |= {"early_stopping_patience": "3", "save_every": "1"}
    brain, _, manifests = make_brain(overrides, saves=True)
    stop_at(brain, 5)
    kwargs = {"train_loader_kwargs": {"batch_size": 4, "shuffle": True}, "valid_loader_kwargs": {"batch_size": 4}}

    def sets():
        return brain.read(manifests / "train.csv"), brain.read(manifests / "valid.csv")

    with pytest.raises(KeyboardInterrupt):
        brain.fit(range(1, 2), *sets(), **kwargs)
    assert brain.progress.bad_validations == 1
    brain, _, manifests = make_brain(overrides, saves=True)
    brain.fit(range(1, 2), *sets(), **kwargs)
    assert brain.update == 8 and brain.progress.stopped.startswith("no better WER in 3 validations")
    brain, _, manifests = make_brain(overrides, saves=True)
    brain.fit(range(1, 2), *sets(), **kwargs)
    assert brain.update == 8, "a run that stopped early stays stopped"


def test_save_limit_keeps_the_best_and_the_newest(whisper_run):
    overrides = whisper_run | {"save_limit": "3", "valid_every": "1", "save_every": "1", "max_updates": "9"}
    brain, _, manifests = make_brain(overrides, saves=True)
    scores = iter([50.0, 20.0, 20.0, 60.0, 70.0, 80.0, 55.0, 45.0, 30.0])
    score_set = brain.evaluation.score
    brain.evaluation.score = lambda *a, **k: (score_set(*a, **k)[0] | {"WER": next(scores)}, [])
    brain.hparams.early_stopping_patience = 0
    kwargs = {"train_loader_kwargs": {"batch_size": 4}, "valid_loader_kwargs": {"batch_size": 4}}
    brain.fit(range(1, 9), brain.read(manifests / "train.csv"), brain.read(manifests / "valid.csv"), **kwargs)
    kept = {c.meta["update"]: c.meta["WER"] for c in brain.checkpointer.list_checkpoints()}
    assert kept == {2: 20.0, 8: 45.0, 9: 30.0}
    assert brain.checkpointer.best("WER").meta["update"] == 2


def test_non_finite_losses_are_skipped_counted_and_fatal(whisper_run):
    brain, _, manifests = make_brain(whisper_run | {"nonfinite_patience": "2", "max_updates": "20"})
    objectives, calls = brain.compute_objectives, []

    def poisoned(log_probs, batch, stage):
        calls.append(0)
        terms = objectives(log_probs, batch, stage)
        return {"nll": terms["nll"] * float("nan")} if len(calls) in (2, 5, 9) else terms

    brain.compute_objectives = poisoned
    with pytest.raises(FloatingPointError, match="nonfinite_patience: 2"):
        brain.fit(range(1, 9), brain.read(manifests / "train.csv"), None, train_loader_kwargs={"batch_size": 4})
    assert brain.update == 6 and brain.progress.skipped == 3
    assert all(torch.isfinite(p).all() for p in brain.modules.parameters())


def test_clipping_takes_the_norm_over_all_groups(whisper_run):
    brain, _, manifests = make_brain(whisper_run | {"max_grad_norm": "0.001", "optimizer": "!name:torch.optim.SGD {}"})
    brain.schedule.plan(10)
    brain.schedule.rate = lambda n: 1.0
    brain.init_optimizers()
    assert len(brain.optimizer.param_groups) == 2
    before = torch.cat([p.detach().flatten().clone() for p in brain.modules.parameters() if p.requires_grad])
    brain._fit_group(batches(brain, manifests / "train.csv", 4)[:1])
    after = torch.cat([p.detach().flatten() for p in brain.modules.parameters() if p.requires_grad])
    assert (after - before).norm().item() == pytest.approx(0.001, rel=1e-3)


def test_last_incomplete_group_is_used(whisper_run):
    overrides = whisper_run | {"max_updates": "null", "epochs": "1", "grad_accumulation_factor": "4", "batch_size": "3"}
    brain, _, manifests = make_brain(overrides)
    brain.fit(range(1, 2), brain.read(manifests / "train.csv"), None, train_loader_kwargs={"batch_size": 3})
    assert brain.update == 3  # 28 clips, 10 micro-batches: 4 + 4 + 2
    seconds = sum(e["audio_seconds"] for e in brain.run_log.metrics.events() if e["event"] == "train")
    assert seconds == pytest.approx(
        sum(row["row"]["duration"] for row in brain.read(manifests / "train.csv").data.values())
    )


def test_validating_does_not_change_what_is_learned(whisper_run):
    losses = []
    for every in ("1", "1000"):
        overrides = whisper_run | {
            "valid_every": every,
            "dropout": "0.3",
            "output_folder": whisper_run["output_folder"] + every,
        }
        brain, _, manifests = make_brain(overrides | {"early_stopping_patience": "0"})
        kwargs = {"train_loader_kwargs": {"batch_size": 4, "shuffle": True}, "valid_loader_kwargs": {"batch_size": 4}}
        torch.manual_seed(3)
        brain.fit(range(1, 3), brain.read(manifests / "train.csv"), brain.read(manifests / "valid.csv"), **kwargs)
        losses.append([e["loss"] for e in brain.run_log.metrics.events() if e["event"] == "train"])
    assert losses[0] == losses[1] and len(losses[0]) == 8


@pytest.mark.parametrize("optimizer", ["!name:torch.optim.Adafactor {}", "!name:torch.optim.AdamW {fused: True}"])
def test_other_optimizers_run_and_learn(whisper_run, optimizer):
    brain, _, manifests = make_brain(whisper_run | {"optimizer": optimizer, "lr": "1.0e-3", "max_updates": "20"})
    brain.fit(range(1, 2), brain.read(manifests / "train.csv"), None, train_loader_kwargs={"batch_size": 4})
    losses = [e["loss"] for e in brain.run_log.metrics.events() if e["event"] == "train"]
    assert losses[-1] < losses[0]


def test_bf16_runs_on_the_cpu_and_log_mel_stays_float32(whisper_run):
    brain, hparams, manifests = make_brain(whisper_run | {"precision": "bf16", "eval_precision": "bf16"})
    brain.fit(range(1, 2), brain.read(manifests / "train.csv"), None, train_loader_kwargs={"batch_size": 4})
    assert all(p.dtype == torch.float32 for p in brain.modules.parameters())
    with brain.training_ctx:
        features = brain.features(batches(brain, manifests / "train.csv", 2)[0], Stage.VALID)[0]
    assert features.dtype == torch.float32


def test_nothing_left_to_train_is_an_error(whisper_run):
    overrides = whisper_run | {"train": "none", "ctc": "!new:carryover.losses.ctc.NoCTC"}
    with pytest.raises(ValueError, match="no parameter is left to train"):
        make_brain(overrides)
