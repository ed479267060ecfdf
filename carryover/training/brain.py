"""The training loop that every recipe shares: accumulate, clip, schedule, validate, keep the best, stop early, log."""

import itertools
import json
import math
import random
import resource
import sys
import time
from collections import defaultdict
from contextlib import contextmanager
from pathlib import Path

import speechbrain as sb
import torch
from speechbrain.dataio.batch import PaddedBatch
from speechbrain.dataio.dataset import DynamicItemDataset
from speechbrain.utils.data_pipeline import DynamicItem
from speechbrain.utils.train_logger import FileTrainLogger
from tqdm import tqdm

from carryover.data import audio, audio_check, manifest
from carryover.data.batching import LengthGrouped
from carryover.models.weights import differences, load_weights
from carryover.runs import energy, flags
from carryover.runs.metrics import MetricsLog
from carryover.stats import error_rates
from carryover.training import checkpoint
from carryover.training.micro_batches import halve_until_it_fits

Stage = sb.Stage


class RecipeBrain(sb.Brain):
    """SpeechBrain's Brain with a loop that counts in optimizer updates.

    A recipe gives `compute_forward` (log-probabilities), `compute_objectives` ({term: mean over the batch's units}),
    `units` (how many tokens or utterances that mean is over), `target` (text -> target and tokens) and `transcribe`.

    What is overridden of `sb.Brain`, and why:

    - `fit`: theirs validates and stops at ends of epochs only, drops the last incomplete accumulation group, and
      recovers before the random state of the epoch is drawn. Ours counts updates, and resumes bit by bit.
    - `fit_batch`: their division by the accumulation factor gives short micro-batches too much weight. Ours weighs
      each by its share of the group's units, so that an accumulated gradient is that of the one large batch.
    - `optimizers_step`: theirs clips the first parameter group only and knows no schedule. Ours sets the rate before
      the update, clips the norm over all groups and skips non-finite updates, counted.
    - `init_optimizers`: theirs hands frozen parameters to the optimizer, where weight decay still has them.
    - `evaluate_batch`, `evaluate`: also transcribe and score; the best checkpoint is loaded as weights only.
    - `_save`, `_recover` (the Brain's own state in a checkpoint): also random states, patience, and log windows.

    Read from `hparams`: schedule, collate, loss_weights, normaliser, tracker, penalty, averaging
    (carryover.forgetting); log_every, valid_every, save_every (updates, or "epoch"); save_limit (None: all are kept),
    early_stopping_patience (validations without a better WER; 0: never), max_updates (None: the epochs decide), overfit
    (utterances to learn by heart, None: no such run), group_by_length (carryover.data.batching), batch_size, seed,
    output_folder, language, no_decay_for_vectors; and
    SpeechBrain's own run options (precision, max_grad_norm, grad_accumulation_factor, nonfinite_patience, ...).
    """

    endings = audio.ENDINGS  # of files that hold a recording

    def __init__(self, modules=None, opt_class=None, hparams=None, run_opts=None, checkpointer=None):
        super().__init__(modules, opt_class, hparams, run_opts, checkpointer)
        if self.distributed_launch or self.data_parallel_backend:
            raise ValueError("carryover trains on one device; start it without torchrun and data_parallel_backend")
        trainable = sum(p.numel() for p in self.modules.parameters() if p.requires_grad)
        if self.opt_class is not None and not trainable:
            raise ValueError("freeze: no parameter is left to train")
        folder = Path(self.hparams.output_folder)
        self.metrics = MetricsLog(folder / "metrics.jsonl", self.hparams.tracker)
        self.text_log = FileTrainLogger(str(folder / "train_log.txt"))
        self.schedule = self.hparams.schedule
        self.update = self.epoch = self.groups_done = self.skipped = self.nonfinite_count = self.bad_validations = 0
        self.halvings = 0  # how often micro-batches are cut in two, because memory ran out
        self.best_WER = self.valid_WER = None
        self.stopped = ""  # why training ended, "" while it goes on
        self.window = new_window()
        self.started, self.elapsed_before = time.time(), 0.0
        self.monitor = self.new_monitor()
        self._random_state = None
        if self.checkpointer is not None:
            self.checkpointer.add_recoverable(
                "brain", self, custom_load_hook=type(self)._recover, custom_save_hook=type(self)._save
            )
            for name, module in self.modules.items():
                if any(True for _ in module.parameters()):
                    self.checkpointer.add_module(name, module)

    # ---- what a recipe adds to SpeechBrain's compute_forward and compute_objectives ----

    def target(self) -> DynamicItem:
        """Item of the reading pipeline that makes targets: "text" and what else it needs -> "target", "tokens", ..."""
        raise NotImplementedError

    def inspect(self, path: str) -> tuple[float, str, str]:
        """Seconds, form and digest of a recording, or ValueError; see carryover.data.audio_check.inspect."""
        return audio_check.inspect(path)

    def recording(self) -> DynamicItem:
        """Item of the reading pipeline that opens a clip: "audio" (its path) -> "wav" (samples,) at 16 kHz."""
        return DynamicItem(["audio"], audio.read, ["wav"])

    def rows(self, path) -> dict[str, dict]:
        """Rows of a manifest (path of a CSV of carryover.data.manifest) that are used, by ID."""
        return manifest.load(path)

    def units(self, batch) -> int:
        """Number of units (target tokens, utterances) over which `compute_objectives` takes its mean."""
        raise NotImplementedError

    def transcribe(self, batch, stage, predictions) -> list[str]:
        """Hypotheses of a batch; `predictions` is what `compute_forward` returned for it."""
        raise NotImplementedError

    def hear(self, batch) -> list[str]:
        """Hypotheses of a batch of recordings without targets."""
        return self.transcribe(batch, Stage.TEST, self.compute_forward(batch, Stage.TEST))

    def export(self, folder: Path) -> None:
        """Write the loaded weights in transformers' format, where it knows the model."""
        raise NotImplementedError

    def made_for(self) -> dict:
        """What its weights are worth nothing without and no checkpoint holds, e.g. hashes of frozen models.

        It is written into each checkpoint, and compared before one is loaded.
        """
        return {}

    # ---- what a recipe adds so that the old language can be remembered (carryover.forgetting.ewc) ----

    def new_parameters(self) -> dict[str, torch.Tensor | None]:
        """What the old model does not have: {parameter's name: its new rows, or None for all of it}."""
        return {}

    def known(self, old_set):
        """Those utterances of the old language that the old model can write: of them it has something to lose."""
        return old_set

    def log_likelihood(self, batch, labels: str, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        """log p(y|x) with its graph and the tokens of y, each (B,); y is the transcript ("gold") or "sampled"."""
        raise NotImplementedError

    def outputs(self, batch) -> torch.Tensor:
        """Outputs whose squared norm tells how sensitive the model is to a weight; with their graph, padding zero."""
        raise NotImplementedError

    # ---- training ----

    def fit(
        self,
        epoch_counter,
        train_set,
        valid_set=None,
        progressbar=None,
        train_loader_kwargs={},  # noqa: B006 (SpeechBrain's face)
        valid_loader_kwargs={},  # noqa: B006
        old_set=None,
        old_valid_sets=None,
    ):
        """Train until the epochs or `max_updates` are done, or patience is; other arguments as SpeechBrain's.

        With `max_updates` the epochs of `epoch_counter` are repeated as long as needed, as transformers' max_steps.

        Parameters
        ----------
        old_set : dataset, optional
            The old language's training set, for what estimates how much a weight means to it.
        old_valid_sets : dict of dataset, optional
            Validation sets of old languages by language: scored and logged at every validation, not chosen by.
        """
        loader = self.train_loader(train_set, train_loader_kwargs)
        valid_sets = {} if valid_set is None else {self.hparams.language: valid_set} | (old_valid_sets or {})
        valid_sets = {
            language: self.make_dataloader(dataset, Stage.VALID, ckpt_prefix=None, **valid_loader_kwargs)
            for language, dataset in valid_sets.items()
        }
        epochs = list(epoch_counter)
        if not epochs:
            raise ValueError("epochs: at least 1 is needed; use max_updates to train for less than an epoch")
        groups = math.ceil(len(loader) / self.grad_accumulation_factor)  # per epoch, the last one may be short
        total = self.hparams.max_updates or groups * len(epochs)
        last_epoch = math.inf if self.hparams.max_updates else epochs[-1]
        self.schedule.plan(total)
        with random_state_kept():  # an importance that is estimated and one that is reused train the same
            self.begin(old_set)
        self.on_fit_start()
        self.energy = energy.Meter(self.device_type)
        self.monitor = self.new_monitor()  # now the schedule is planned, and the log cut back to the checkpoint
        for event in self.metrics.events():
            self.monitor.see(event)
        self.print_plan(loader, groups, total)

        enable = not self.noprogressbar if progressbar is None else progressbar
        with tqdm(total=total, initial=self.update, disable=not enable, desc="Training", unit="update") as bar:
            for epoch in itertools.count(epochs[0]) if self.hparams.max_updates else epochs:
                if self.stopped:
                    break
                if epoch < self.epoch or (epoch == self.epoch and self.groups_done == groups):
                    continue
                if epoch > self.epoch:
                    self.epoch, self.groups_done = epoch, 0
                self._fit_epoch(loader, valid_sets, groups, total, epoch == last_epoch, bar)
        self.log("end", reason=self.stopped, skipped=self.skipped)
        self.load_best()

    def read(self, path) -> DynamicItemDataset:
        """Dataset of a manifest: recordings and targets."""
        return self.dataset(self.rows(path), [self.recording(), self.target()])

    def dataset(self, rows: dict[str, dict], items: list[DynamicItem]) -> DynamicItemDataset:
        """Dataset of rows as carryover.data.manifest.load gives them, with what some items of the pipeline provide."""
        keys = ["id", "row", "language", *(key for item in items for key in item.provides)]
        return DynamicItemDataset(rows, dynamic_items=items, output_keys=keys)

    def train_loader(self, dataset, kwargs: dict):
        """Loader of a training set: shuffled as `kwargs` say, or batches of similar length (`group_by_length`)."""
        kwargs = {"collate_fn": self.hparams.collate} | kwargs  # training alone: clips may share a window there
        if self.hparams.group_by_length:
            lengths = [row["duration"] for row in dataset.data.values()]
            sampler = LengthGrouped(lengths, kwargs.get("batch_size", 1), seed=self.hparams.seed)
            kwargs = {key: value for key, value in kwargs.items() if key != "shuffle"} | {"sampler": sampler}
            self.train_sampler = sampler
        return self.make_dataloader(dataset, Stage.TRAIN, **kwargs)

    def begin(self, old_set) -> None:
        """The old weights are loaded, nothing is trained yet (and nothing resumed): who needs them takes them now."""
        self.hparams.penalty.begin(self, old_set)
        self.hparams.averaging.begin(self)

    def utterances(self, dataset, n: int, seed: int, batch_size: int = 1):
        """Batches, on the device, of `n` utterances of a dataset drawn with `seed`."""
        drawn = random.Random(seed).sample(range(len(dataset)), n)
        for start in range(0, n, batch_size):
            yield PaddedBatch([dataset[i] for i in drawn[start : start + batch_size]]).to(self.device)

    def on_fit_start(self):
        """SpeechBrain's (compile, optimizers, recover), then metrics.jsonl is cut back to the checkpoint."""
        self._compile()
        self.init_optimizers()
        last = self.checkpointer.last() if self.checkpointer else None
        if last is None:
            return
        self.require_made_for(last)
        self.checkpointer.load_checkpoint(last)
        dropped = self.metrics.truncate(self._metrics_size)
        self.metrics.write("resume", **self.now(), checkpoint=last.path.name, events_dropped=dropped)
        print(
            f"Resuming from {last.path}: update {self.update}, epoch {self.epoch}; {dropped} later log lines are "
            "dropped and made again"
        )

    def init_optimizers(self):
        """One optimizer over what is trainable; vectors (biases, norms) without weight decay if the YAML says so."""
        trainable = [p for p in self.modules.parameters() if p.requires_grad]
        groups = [{"params": trainable}]
        if self.hparams.no_decay_for_vectors:
            matrices, vectors = [p for p in trainable if p.ndim > 1], [p for p in trainable if p.ndim < 2]
            groups = [g for g in ({"params": matrices}, {"params": vectors, "weight_decay": 0.0}) if g["params"]]
        self.optimizer = self.opt_class(groups)
        self.optimizers_dict = {"opt_class": self.optimizer}
        if self.checkpointer is not None:
            self.checkpointer.add_optimizer("optimizer", self.optimizer)

    def print_plan(self, loader, groups: int, total: int) -> None:
        """Say before the first update what is going to be done."""
        batch, k, schedule = self.hparams.batch_size, self.grad_accumulation_factor, self.schedule
        trainable, everything = self.parameter_counts()
        print(
            f"Training on {len(loader.dataset)} utterances: effective batch {batch * k} ({batch} x {k}), "
            f"{groups} updates per epoch, {total} in all\n"
            f"Schedule {schedule.name}: peak rate {schedule.lr:g}, warm-up {schedule.warmup_updates} updates; "
            f"{self.precision} on {self.device}\n"
            f"Parameters: {trainable:,} trained of {everything:,}"
        )

    def parameter_counts(self) -> tuple[int, int]:
        """Trainable and all parameters, tied weights counted once."""
        parameters = list(self.modules.parameters())
        return sum(p.numel() for p in parameters if p.requires_grad), sum(p.numel() for p in parameters)

    def _fit_epoch(self, loader, valid_sets, groups, total, is_last_epoch, bar):
        """One epoch, or the rest of one, in groups of `grad_accumulation_factor` micro-batches."""
        if self.train_sampler is not None:
            self.train_sampler.set_epoch(self.epoch)
        self.train_mode()
        self.zero_grad(set_to_none=True)
        batches = iter(loader)
        if self._random_state is not None:  # making the iterator draws a seed, so the state is put back only now
            checkpoint.set_random_state(self._random_state)
            self._random_state = None
        while self.groups_done < groups and not self.stopped:
            start = time.perf_counter()
            group = list(itertools.islice(batches, self.grad_accumulation_factor))
            self.window["data_wait_seconds"] += time.perf_counter() - start
            updated = self._fit_group(group)
            self.groups_done += 1
            bar.update(updated)
            if self.update >= total:
                self.stopped = "all updates done"
            elif is_last_epoch and self.groups_done == groups:
                self.stopped = "all epochs done"
            self._after_group(valid_sets, updated, self.groups_done == groups, bar)

    def _fit_group(self, group) -> bool:
        """Forward and backward over a group of micro-batches, then one update; False when it had to be skipped."""
        total = sum(self.units(batch) for batch in group)

        def fit(batch):
            n = self.units(batch.to(self.device))
            return n, self.fit_batch(batch, share=n / total)

        done, self.halvings = halve_until_it_fits(group, fit, self._clear_group, self.halvings, self._say)
        for batch, (_, terms) in done:
            if not all(math.isfinite(value) for value in terms.values()):
                return self._skip_update(f"loss {terms}", batch)
        if not self.optimizers_step():
            return False
        for batch, (n, terms) in done:
            self.window["units"] += n
            for name, value in terms.items():
                self.window["terms"][name] = self.window["terms"].get(name, 0.0) + n * value
            for name, value in self.batch_statistics(batch).items():
                self.window[name] = self.window.get(name, 0.0) + value
        return True

    def _clear_group(self) -> None:
        """Drop a group's gradient, and the graph of what a recipe keeps between forward and objectives."""
        self.zero_grad(set_to_none=True)
        for name, value in vars(self).items():
            if isinstance(value, torch.Tensor) and value.grad_fn is not None:
                setattr(self, name, None)  # e.g. encoder_states: it would hold the memory that is missing

    def _say(self, message: str) -> None:
        """A line for the screen and both logs."""
        tqdm.write(f"Update {self.update + 1}: {message}")
        self.metrics.write("flag", **self.now(), message=message)
        self.text_log.log_stats(self.now() | {"flag": message})

    def fit_batch(self, batch, share: float = 1.0) -> dict[str, float]:
        """Add one micro-batch's gradient, weighted by its share of the group's units; returns its terms.

        A non-finite loss is returned without a backward pass.
        """
        with self.training_ctx:
            predictions = self.compute_forward(batch, Stage.TRAIN)
            terms = self.compute_objectives(predictions, batch, Stage.TRAIN)
        loss = self.total(terms)
        if torch.isfinite(loss):
            penalty = sum(self.hparams.penalty.terms().values())  # 0 where its gradient is added in place
            self.scaler.scale((loss + penalty) * share).backward()
        return {"loss": loss.item()} | {name: term.item() for name, term in terms.items()}

    def total(self, terms: dict) -> torch.Tensor:
        """The loss: terms weighed by the YAML's `loss_weights`; each is logged by itself, unweighed."""
        missing = terms.keys() - self.hparams.loss_weights.keys()
        if missing:
            raise ValueError(f"loss_weights: no weight for the term {', '.join(sorted(missing))}")
        return sum(self.hparams.loss_weights[name] * term for name, term in terms.items())

    def optimizers_step(self) -> bool:
        """Set the rate, unscale, clip over all parameters, step; False when the gradient was not finite."""
        self.lr = self.schedule.apply(self.optimizer, self.update + 1)
        self.scaler.unscale_(self.optimizer)
        self.hparams.penalty.add_gradient()
        trainable = [p for p in self.modules.parameters() if p.requires_grad]
        norm = torch.nn.utils.clip_grad_norm_(trainable, self.max_grad_norm or math.inf).item()
        if not math.isfinite(norm):
            scale = self.scaler.get_scale()
            self.scaler.update()
            if self.scaler.get_scale() >= scale:  # not fp16's overflow, which a lower scale mends: it would come again
                return self._skip_update(f"gradient norm {norm}")
            self.zero_grad(set_to_none=True)
            self.skipped += 1
            return False
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.zero_grad(set_to_none=True)
        self.update += 1
        self.optimizer_step = self.update  # SpeechBrain's name for it
        self.window["grad_norm"] += norm
        self.window["updates"] += 1
        return True

    def _skip_update(self, what: str, batch=None) -> bool:
        """Drop the group's gradient, count it, and give up past `nonfinite_patience`."""
        self.zero_grad(set_to_none=True)
        self.skipped += 1
        self.nonfinite_count += 1
        where = f" at {', '.join(batch.id[:4])}" if batch is not None else ""
        print(f"\nUpdate {self.update + 1} skipped: {what} is not finite{where} ({self.nonfinite_count} so far)")
        if self.nonfinite_count > self.nonfinite_patience:
            raise FloatingPointError(
                f"{self.nonfinite_count} updates were not finite, more than nonfinite_patience: "
                f"{self.nonfinite_patience}; lower lr, lengthen warmup, or train in bf16 or fp32 instead of fp16"
            )
        return False

    def batch_statistics(self, batch) -> dict[str, float]:
        """Sums over a batch that are logged: `audio_seconds`, `frames` and `padded_frames` (of any one unit), ...

        Here for utterances that are padded to the longest of their batch, in seconds.
        """
        seconds = [row["duration"] for row in batch.row]
        every = len(seconds) * max(seconds)
        return {"audio_seconds": sum(seconds), "frames": every, "padded_frames": every - sum(seconds)}

    def summary(self, window: dict) -> dict[str, float]:
        """What a train event says of the sums of `batch_statistics` since the last one."""
        frames = window.get("frames", 0)
        return {
            "audio_seconds": round(window.get("audio_seconds", 0.0), 3),
            "padding": window.get("padded_frames", 0) / frames if frames else 0.0,
        }

    def train_mode(self) -> None:
        """Training mode for what is trained; frozen parts stay in eval mode, or their dropout would go on."""
        self.modules.train()
        for module in self.modules.modules():
            parameters = list(module.parameters())
            if parameters and not any(p.requires_grad for p in parameters):
                module.eval()

    # ---- what happens between updates ----

    def _after_group(self, valid_sets, updated, epoch_done, bar):
        def due(every):
            return bool(self.stopped) or (epoch_done if every == "epoch" else updated and self.update % every == 0)

        if due(self.hparams.log_every):
            self._log_train(bar)
        improved = False
        if valid_sets and due(self.hparams.valid_every):
            improved = self._validate(valid_sets)
        if self.checkpointer is not None and (improved or due(self.hparams.save_every)):
            self._save_checkpoint(epoch_done)

    def now(self) -> dict:
        """The keys that every event has: update, epoch, time (seconds since the run began)."""
        return {
            "update": self.update,
            "epoch": self.epoch,
            "time": round(self.elapsed_before + time.time() - self.started, 3),
        }

    def log(self, event: str, **values) -> None:
        """Write an event into metrics.jsonl, and what it shows to be going wrong."""
        event = {"event": event} | self.now() | values
        self.metrics.write(**event)
        self.raise_flags(self.monitor.see(event))

    def raise_flags(self, found: list[flags.Flag]) -> None:
        """A line for the screen and both logs, for each flag."""
        for flag in found:
            tqdm.write(flag.line)
            said = {"kind": flag.kind, "evidence": flag.evidence, "advice": flag.advice}
            self.metrics.write("flag", **self.now(), **said, message=flag.line)
            self.text_log.log_stats(self.now() | {"flag": flag.line})

    def new_monitor(self) -> flags.Monitor:
        """What looks for red flags, told what it may know of this run."""
        hparams, schedule = self.hparams, self.schedule
        settings = {
            "language": hparams.language, "lr_schedule": schedule.name, "warmup": schedule.warmup,
            "max_updates": schedule.total_updates, "precision": self.precision, "overfit": hparams.overfit,
        }  # fmt: skip
        return flags.Monitor(**flags.told(settings))

    def _log_train(self, bar):
        window, self.window = self.window, new_window()
        if not window["updates"]:
            return
        terms = {name: value / window["units"] for name, value in window["terms"].items()}
        penalty = self.hparams.penalty.values()
        if penalty:
            penalty["penalty_ratio"] = sum(penalty.values()) / terms["loss"]
        values = (
            terms
            | penalty
            | {
                "lr": self.lr,
                "grad_norm": window["grad_norm"] / window["updates"],
                **self.summary(window),
                "skipped": self.skipped,
                "data_wait_seconds": round(window["data_wait_seconds"], 3),
                "peak_memory_bytes": peak_memory_bytes(self.device_type),
            }
        )
        if (joules := self.energy.joules()) is not None:
            values["energy_joules"] = joules  # since the line before, validation and all
        self.log("train", **values)
        self.text_log.log_stats(self.now() | {"lr": self.lr}, train_stats=terms)
        bar.set_postfix({name: f"{value:.3f}" for name, value in terms.items()} | {"lr": f"{self.lr:.1e}"})

    def _validate(self, valid_sets) -> bool:
        """Score the validation sets, count patience; True when the new language's WER is the lowest so far."""
        scores = {language: self.validate(loader, language) for language, loader in valid_sets.items()}
        self.train_mode()
        found = scores[self.hparams.language]
        self.valid_WER = found["WER"]
        improved = self.best_WER is None or found["WER"] < self.best_WER
        self.best_WER = found["WER"] if improved else self.best_WER
        self.bad_validations = 0 if improved else self.bad_validations + 1
        if self.bad_validations >= (self.hparams.early_stopping_patience or math.inf) and not self.stopped:
            self.stopped = f"no better WER in {self.bad_validations} validations"
            tqdm.write(f"Stopping early: {self.stopped} (best {self.best_WER:.2f})")
        if self.hparams.overfit and found["WER"] == 0:
            self.stopped = "learned by heart"
        return improved

    def validate(self, loader, language: str, **labels) -> dict:
        """Score a validation set and log it; training goes on as if it had not been."""
        with random_state_kept():
            found, _ = self.score_set(loader, Stage.VALID)
        self.log("valid", set="valid", language=language, **labels, **found)
        self.text_log.log_stats(
            self.now() | {"language": language}, valid_stats={k: found[k] for k in ("loss", "WER", "CER")}
        )
        tqdm.write(
            f"Update {self.update}: {language} valid loss {found['loss']:.3f}, WER {found['WER']:.2f}, "
            f"CER {found['CER']:.2f}"
        )
        return found

    def _save_checkpoint(self, epoch_done):
        meta = {"update": self.update, "epoch": self.epoch, "made_for": self.made_for()}
        if self.valid_WER is not None:
            meta["WER"] = self.valid_WER
        self.log("checkpoint", **{k: v for k, v in meta.items() if k == "WER"})
        self.valid_WER = None  # belongs to the weights of this update alone
        best = None

        def importance(ckpt):  # the best one first, then the newest
            nonlocal best
            best = best or self.checkpointer.best("WER")
            return (best is not None and ckpt.path == best.path, ckpt.meta["update"])

        self.checkpointer.save_and_keep_only(
            meta=meta,
            end_of_epoch=epoch_done,
            # with one to keep, the best may be older than the last, which a resume needs; null keeps all
            num_to_keep=max(2, self.hparams.save_limit or 10**9),
            keep_recent=False,
            importance_keys=[importance],
            verbosity=10,
        )

    def _save(self, path):
        state = {
            name: getattr(self, name)
            for name in self._STATE
        } | {
            "random": checkpoint.random_state(),
            "metrics_size": self.metrics.size(),
            "time": self.now()["time"],
        }  # fmt: skip
        checkpoint.save_json(state, path)

    _STATE = (
        "update", "epoch", "groups_done", "skipped", "nonfinite_count", "halvings", "best_WER", "bad_validations",
        "stopped", "window",
    )  # fmt: skip

    def _recover(self, path, end_of_epoch):
        state = json.loads(Path(path).read_text(encoding="utf-8"))
        for name in self._STATE:
            setattr(self, name, state[name])
        self.optimizer_step = self.update
        self._random_state, self._metrics_size = state["random"], state["metrics_size"]
        self.elapsed_before, self.started = state["time"], time.time()

    def require_made_for(self, ckpt) -> None:
        """Raise ValueError, naming what differs, where a checkpoint's weights are made for something else."""
        wanted = self.made_for()
        found = ckpt.meta.get("made_for", wanted)  # a checkpoint of an earlier version does not say
        if differs := list(differences(found, wanted)):
            raise ValueError(
                f"{ckpt.path} was made for something else: {'; '.join(differs)}. A frozen model has changed since: "
                f"bring back the one that {ckpt.path / 'CKPT.yaml'} names, or train anew into another output_folder"
            )

    def load_best(self) -> None:
        """Load the weights of the checkpoint with the lowest validation WER (the last one where none was validated)."""
        if self.checkpointer is None:
            return
        best = self.checkpointer.best("WER") or self.checkpointer.last()
        self.require_made_for(best)
        for name, module in self.modules.items():
            if name in best.paramfiles:
                load_weights(module, best.paramfiles[name])
        print(
            f"Loaded the best weights: update {best.meta['update']}, "
            f"validation WER {best.meta.get('WER', math.nan):.2f}"
        )

    # ---- scoring ----

    @torch.no_grad()
    def evaluate_batch(self, batch, stage) -> tuple[dict[str, float], int, list[dict]]:
        """Loss terms, units, and one scored row an utterance."""
        with self.evaluation_ctx:
            predictions = self.compute_forward(batch, stage)
            terms = self.compute_objectives(predictions, batch, stage)
            hypotheses = self.transcribe(batch, stage, predictions)
        terms = {"loss": self.total(terms).item()} | {name: term.item() for name, term in terms.items()}
        rows = [
            error_rates.score(row, hyp, self.hparams.normaliser) for row, hyp in zip(batch.row, hypotheses, strict=True)
        ]
        return terms, self.units(batch), rows

    def score_set(self, loader, stage, name: str = "Validating") -> tuple[dict, list[dict]]:
        """Mean loss terms, error rates and `loops` of a set, and its scored rows, in the set's order."""
        self.modules.eval()
        sums, units, rows = defaultdict(float), 0, []
        for batch in tqdm(loader, desc=name, unit="batch", leave=False, disable=self.noprogressbar):
            terms, n, scored = self.evaluate_batch(batch.to(self.device), stage)
            units += n
            rows += scored
            for term, value in terms.items():
                sums[term] += n * value
        means = {term: value / units for term, value in sums.items()}
        return means | error_rates.totals(rows) | {"loops": error_rates.loops(rows)}, rows

    def evaluate(
        self,
        test_set,
        max_key=None,
        min_key=None,
        progressbar=None,
        test_loader_kwargs={},  # noqa: B006 (SpeechBrain's face)
        name: str = "test",
        weights: str = "best",
    ) -> tuple[dict, list[dict]]:
        """Score a test set with the weights that are loaded, and write predictions_<name>_<weights>.csv.

        Returns
        -------
        (found, rows)
            Loss terms, `scoring.totals` and `interval` (95 %, of the WER); one scored row an utterance.
        """
        loader = self.make_dataloader(test_set, Stage.TEST, ckpt_prefix=None, **test_loader_kwargs)
        with random_state_kept():
            found, rows = self.score_set(loader, Stage.TEST, f"Testing {name} ({weights})")
        found["interval"] = list(error_rates.interval(rows))
        error_rates.write_predictions(Path(self.hparams.output_folder) / f"predictions_{name}_{weights}.csv", rows)
        return found, rows

    def log_test(self, found: dict, name: str, language: str, weights: str) -> None:
        """Write a test event into metrics.jsonl and train_log.txt."""
        self.log("test", set=name, language=language, weights=weights, **found)
        self.text_log.log_stats(
            self.now() | {"set": name, "weights": weights}, test_stats={k: found[k] for k in ("loss", "WER", "CER")}
        )


def new_window() -> dict:
    """Sums since the last train event; part of a checkpoint, so JSON-serialisable."""
    return {"units": 0, "updates": 0, "terms": {}, "grad_norm": 0.0, "data_wait_seconds": 0.0}


@contextmanager
def random_state_kept():
    """Leave the random generators as they were: how often a run validates does not change what it learns."""
    state = checkpoint.random_state()
    try:
        yield
    finally:
        checkpoint.set_random_state(state)


def peak_memory_bytes(device_type: str) -> int:
    """Peak of allocated device memory, or on a CPU of the process's resident memory."""
    if device_type == "cuda":
        return torch.cuda.max_memory_allocated()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
