"""The training loop that every recipe shares: accumulate, update, validate, keep the best, stop early."""

import itertools
import json
import math
import time
from pathlib import Path

import speechbrain as sb
import torch
from speechbrain.utils.seed import seed_everything
from tqdm import tqdm

from carryover import processes
from carryover.training import checkpoint, epochs, kept_states, stopping
from carryover.training.evaluation import Evaluation, Stage, random_state_kept
from carryover.training.micro_batches import halve_until_it_fits
from carryover.training.optimisation import Optimisation, parameter_groups, read, require_no_own_rate
from carryover.training.progress import EPOCHS_DONE, UPDATES_DONE, Progress
from carryover.training.recipe import Recipe
from carryover.training.run_log import RunLog


class RecipeBrain(Recipe, sb.Brain):
    """SpeechBrain's Brain with a loop that counts in optimizer updates; of `sb.Brain` is overridden:

    - `fit`: theirs validates and stops at ends of epochs only, drops the last incomplete accumulation group, and
      recovers before the random state of the epoch is drawn. Ours counts updates, and resumes bit by bit.
    - `fit_batch`: their division by the accumulation factor gives short micro-batches too much weight. Ours weighs
      each by its share of the group's units, so that an accumulated gradient is that of the one large batch.
    - `optimizers_step` is not used: theirs clips the first parameter group only and knows no schedule.
    - `init_optimizers`: theirs hands frozen parameters to the optimizer, where weight decay still has them.
    - `evaluate`: also transcribes and scores; the best checkpoint is loaded as weights only.
    - `_save`, `_recover` (the Brain's own state in a checkpoint): also random states, patience, and log windows.

    Read from `hparams`: schedule, collate, loss_weights, normaliser, tracker, forgetting, kept; lr, lr_of; log_every,
    valid_every, save_every (updates, or "epoch"); save_limit (None: all are kept), stop_signals (names: save and stop),
    early_stopping_patience (validations without a better WER; 0: never), max_updates (None: the epochs decide), overfit
    (utterances to learn by heart, or None), group_by_length, batch_size, seed, output_folder, language,
    no_decay_for_vectors; SpeechBrain's run options (precision, max_grad_norm, grad_accumulation_factor, ...).
    """

    def __init__(self, modules=None, opt_class=None, hparams=None, run_opts=None, checkpointer=None):
        super().__init__(modules, opt_class, hparams, run_opts, checkpointer)
        if self.data_parallel_backend:
            raise ValueError("data_parallel_backend: start several processes instead, torchrun --nproc_per_node N")
        self.distributed_launch = False  # SpeechBrain's way with several processes; ours is carryover/processes.py
        require_no_own_rate(self.opt_class)
        if self.opt_class is not None and not any(p.requires_grad for p in self.modules.parameters()):
            raise ValueError("train: no parameter is left to train")
        self.methods = list(self.hparams.forgetting)
        self.schedule, self.progress = self.hparams.schedule, Progress()
        self.run_log = RunLog(self.hparams.output_folder, self.hparams.tracker, self.progress, self.device_type)
        self.evaluation = Evaluation(self, self.hparams.normaliser, self.hparams.output_folder)
        self.valid_WER, self._others, self.stop = None, [], stopping.Request()
        for method in self.methods:
            method.require(self)
        if self.checkpointer is not None:
            self.checkpointer.add_recoverable(
                "brain", self, custom_load_hook=type(self)._recover, custom_save_hook=type(self)._save
            )
            for name, module in self.modules.items():
                if any(True for _ in module.parameters()):
                    self.checkpointer.add_module(name, module)

    @property
    def update(self) -> int:
        """Optimizer updates that were made."""
        return self.progress.update

    # ---- training ----

    def fit(
        self,
        epoch_counter,
        train_set,
        valid_set=None,
        progressbar=None,
        train_loader_kwargs={},  # noqa: B006 (SpeechBrain's face)
        valid_loader_kwargs={},  # noqa: B006
        old_sets=None,
        old_valid_sets=None,
    ):
        """Train until the epochs or `max_updates` are done, or patience is; other arguments as SpeechBrain's.

        With `max_updates` the epochs of `epoch_counter` are repeated as long as needed, as transformers' max_steps.

        Parameters
        ----------
        old_sets : dict of dataset, optional
            Those of the old language by split that the methods against forgetting read.
        old_valid_sets : dict of dataset, optional
            Validation sets of old languages by language: scored and logged at every validation, not chosen by.
        """
        loader = self.train_loader(train_set, train_loader_kwargs)
        valid_sets = {} if valid_set is None else {self.hparams.language: valid_set} | (old_valid_sets or {})
        valid_sets = {
            language: self.make_dataloader(dataset, Stage.VALID, ckpt_prefix=None, **valid_loader_kwargs)
            for language, dataset in valid_sets.items()
        }
        planned = list(epoch_counter)
        if not planned:
            raise ValueError("epochs: at least 1 is needed; use max_updates to train for less than an epoch")
        groups = math.ceil(len(loader) / self.grad_accumulation_factor)  # per epoch, the last one may be short
        total = self.hparams.max_updates or groups * len(planned)
        last_epoch = math.inf if self.hparams.max_updates else planned[-1]
        self.schedule.plan(total)
        with random_state_kept():  # an importance that is estimated and one that is reused train the same
            kept_states.fill(self, train_set, valid_loader_kwargs, total * len(loader.dataset) // groups)
            for method in self.methods:
                method.begin(self, old_sets[method.reads[0]] if method.reads else None)
            self.begin()
        self.on_fit_start()
        self.ready(train_set)
        self.run_log.begin(self.flag_settings())  # now: the schedule is planned, the log cut back to the checkpoint
        self.print_plan(loader, groups, total)

        (progress := self.progress).train_on(total, last_epoch)
        hidden = self.noprogressbar if progressbar is None else not progressbar
        bar = tqdm(total=total, initial=progress.update, disable=hidden, desc="Training", unit="update")
        with bar, stopping.after_the_update(self.hparams.stop_signals) as self.stop:
            if progress.validating:  # a signal came in the middle of it
                self._after_group(valid_sets, True, progress.groups_done == groups, bar)
            for epoch in itertools.count(planned[0]) if self.hparams.max_updates else planned:
                if progress.stopped:
                    break
                if epoch < progress.epoch or (epoch == progress.epoch and progress.groups_done == groups):
                    continue
                if epoch > progress.epoch:
                    progress.epoch, progress.groups_done = epoch, 0
                self._fit_epoch(loader, valid_sets, groups, total, epoch == last_epoch, bar)
        self.stop = stopping.Request()
        for method in self.methods:
            method.finish(self)
        self.run_log.event("end", reason=progress.stopped, skipped=progress.skipped)
        self.evaluation.load_best()

    def on_fit_start(self):
        """SpeechBrain's (compile, optimizers, recover), then the logs are cut back to the checkpoint."""
        self._compile()
        self.init_optimizers()
        last = self.checkpointer.last() if self.checkpointer else None
        if last is None:
            if processes.rank():  # else all draw the same dropout; the weights are made by now
                seed_everything(self.hparams.seed + processes.rank())
            return
        self.checkpointer.go_on(self.hparams.save_limit)
        self.evaluation.require_made_for(last)
        self.checkpointer.load_checkpoint(last)
        checkpoint.set_random_state(self._random_state)  # last: what follows draws what the unbroken run drew
        dropped = self.run_log.cut_back(self._logs)
        self.run_log.note("resume", checkpoint=last.path.name, events_dropped=dropped)
        self.evaluation.note_refused()
        print(
            f"Resuming from {last.path}: update {self.progress.update}, epoch {self.progress.epoch}; {dropped} later "
            "log lines are dropped and made again"
        )

    def init_optimizers(self):
        """One optimizer over what is trainable, in groups of `parameter_groups`."""
        hparams = self.hparams
        groups = parameter_groups(self.modules, hparams.lr, hparams.lr_of, self.module_of, hparams.no_decay_for_vectors)
        self.optimizer = self.opt_class(groups)
        self.optimizers_dict = {"opt_class": self.optimizer}
        self.optimisation = Optimisation(
            self.modules, self.optimizer, self.schedule, self.scaler, self.max_grad_norm, self.methods
        )
        if self.checkpointer is not None:
            self.checkpointer.add_optimizer("optimizer", self.optimizer)
            for method in self.methods:
                if method.state_dict():
                    self.checkpointer.add_optimizer(method.name, method)

    def _fit_epoch(self, loader, valid_sets, groups, total, is_last_epoch, bar):
        """One epoch, or the rest of one, in groups of `grad_accumulation_factor` micro-batches."""
        progress = self.progress
        if self.train_sampler is not None:
            self.train_sampler.set_epoch(progress.epoch)
        self.train_mode()
        self.optimisation.zero_grad()
        batches = epochs.begin(loader, begun=progress.groups_done > 0)
        while progress.groups_done < groups and not progress.stopped:
            start = time.perf_counter()
            group = list(itertools.islice(batches, self.grad_accumulation_factor))
            progress.window["data_wait_seconds"] += time.perf_counter() - start
            updated = self._fit_group(group)
            progress.groups_done += 1
            bar.update(updated)
            if progress.update >= total:
                progress.stopped = UPDATES_DONE
            elif is_last_epoch and progress.groups_done == groups:
                progress.stopped = EPOCHS_DONE
            self._after_group(valid_sets, updated, progress.groups_done == groups, bar)

    def _fit_group(self, group) -> bool:
        """Forward and backward over a group of micro-batches, then one update; False when it had to be skipped."""
        progress = self.progress
        group = [batch for batch in group if batch is not None]  # of a short batch a process may have nothing
        total = processes.total(sum(self.units(batch) for batch in group))

        def fit(batch):
            n = self.units(batch)  # before it is on the device: to read a number there waits for all that is under way
            return n, *self.fit_batch(batch.to(self.device, non_blocking=True), share=n / total)

        done, progress.halvings = halve_until_it_fits(
            group, fit, self.optimisation.zero_grad, progress.halvings, self.run_log.say
        )
        norm, found = read(self.optimisation.prepare(progress.update + 1), [values for _, values in done])
        losses = zip((batch for batch, _ in done), (terms for _, terms, _ in found), strict=True)
        bad = [(f"loss {terms}", b.id[:4]) for b, terms in losses if not all(map(math.isfinite, terms.values()))]
        told = processes.gather((found, bad, progress.halvings))
        found, bad = ([item for part in told for item in part[i]] for i in (0, 1))
        progress.halvings = max(part[2] for part in told)
        if bad:
            self.optimisation.drop()
            return self._skip_update(*bad[0])
        made, fault = self.optimisation.step(norm)
        if fault:
            return self._skip_update(fault)
        if not made:
            progress.skipped += 1
            return False
        self.optimizer_step = progress.update = progress.update + 1  # the first is SpeechBrain's name for it
        for method in self.methods:
            method.after_update()
        progress.add(norm, self.optimisation.clipped, found)
        return True

    def fit_batch(self, batch, share: float = 1.0) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor | float]]:
        """Add one micro-batch's gradient, weighted by its share of the group's units; -> its terms, its statistics.

        What is on the device is not read: whoever does waits. A penalty on the weights is no part of `loss`.
        """
        with self.training_ctx:
            output = self.compute_forward(batch, Stage.TRAIN)
            terms = self.compute_objectives(output, batch, Stage.TRAIN)
            penalty = 0.0
            for method in self.methods:
                found = method.terms(output, batch)
                if method.weights_are_held:
                    penalty = penalty + sum(found.values())
                else:
                    terms |= found
        loss = self.total(terms)
        self.optimisation.scaler.scale((loss + penalty) * share).backward()
        terms = {"loss": loss} | terms
        return {name: term.detach() for name, term in terms.items()}, self.batch_statistics(output, batch)

    def total(self, terms: dict) -> torch.Tensor:
        """The loss: terms weighed by `loss_weights`, or by the method that gives one; each is logged unweighed."""
        weights = dict(self.hparams.loss_weights)
        for method in self.methods:
            weights |= method.weights
        if missing := terms.keys() - weights.keys():
            raise ValueError(f"loss_weights: no weight for the term {', '.join(sorted(missing))}")
        return sum(weights[name] * term for name, term in terms.items())

    def _skip_update(self, what: str, IDs=()) -> bool:
        """Count a group whose gradient is dropped, and give up past `nonfinite_patience`."""
        progress = self.progress
        progress.skipped += 1
        progress.nonfinite_count += 1
        where = f" at {', '.join(IDs)}" if IDs else ""
        print(
            f"\nUpdate {progress.update + 1} skipped: {what} is not finite{where} ({progress.nonfinite_count} so far)"
        )
        if progress.nonfinite_count > self.nonfinite_patience:
            raise FloatingPointError(
                f"{progress.nonfinite_count} updates were not finite, more than nonfinite_patience: "
                f"{self.nonfinite_patience}; lower lr, lengthen warmup, or train in bf16 or fp32 instead of fp16"
            )
        return False

    # ---- what happens between updates ----

    def _after_group(self, valid_sets, updated, epoch_done, bar):
        def due(every):
            now = epoch_done if every == "epoch" else updated and self.update % every == 0
            return bool(self.progress.stopped) or now

        if due(self.hparams.log_every):
            self._log_train(bar)
        improved = False
        if valid_sets and due(self.hparams.valid_every):
            self.progress.validating = True
            try:
                improved = self._validate(valid_sets)
            except stopping.Stopped as stop:
                self._stop(epoch_done, stop.number)
            self.progress.validating = False
        if (number := processes.largest(self.stop.number)) is not None:
            self._stop(epoch_done, number)
        if self.checkpointer is not None and (improved or due(self.hparams.save_every)):
            self._save_checkpoint(epoch_done)

    def _stop(self, epoch_done, number):
        """Save, and raise what ends the run."""
        saved = f"update {self.update}" if self.checkpointer is not None else ""
        if saved:
            self._save_checkpoint(epoch_done)
        raise stopping.Stopped(number, saved)

    def _log_train(self, bar):
        methods, penalties = {}, {}
        for method in self.methods:
            methods |= (logged := method.logged())
            penalties |= logged if method.weights_are_held else {}
        lr = self.optimisation.lr
        if terms := self.run_log.train(lr, methods, penalties, self.summary):
            bar.set_postfix({name: f"{value:.3f}" for name, value in terms.items()}, lr=f"{lr:.1e}")

    def _validate(self, valid_sets) -> bool:
        """Score the validation sets, count patience; True when the new language's WER is the lowest so far."""
        scores = {language: self.evaluation.validate(loader, language) for language, loader in valid_sets.items()}
        self.train_mode()
        progress, self.valid_WER = self.progress, scores[self.hparams.language]["WER"]
        improved = progress.validated(self.valid_WER)
        patience = self.hparams.early_stopping_patience or math.inf
        if progress.bad_validations >= patience and not progress.stopped:
            progress.stopped = f"no better WER in {progress.bad_validations} validations"
            tqdm.write(f"Stopping early: {progress.stopped} (best {progress.best_WER:.2f})")
        if self.hparams.overfit and self.valid_WER == 0:
            progress.stopped = "learned by heart"
        return improved

    def _save_checkpoint(self, epoch_done):
        WER = {} if self.valid_WER is None else {"WER": self.valid_WER}
        self.valid_WER = None  # belongs to the weights of this update alone
        self.run_log.event("checkpoint", **WER)
        self._others = checkpoint.others_states(self.modules)
        meta = {"update": self.update, "epoch": self.progress.epoch, "made_for": self.made_for()} | WER
        with self.stop.while_saving():
            self.checkpointer.save_best_and_last(meta, epoch_done, self.hparams.save_limit)

    def _save(self, path):
        more = {"random": checkpoint.random_state(), "others": self._others} | self.run_log.seal()
        checkpoint.save_json(self.progress.state_dict() | more, path)

    def _recover(self, path, end_of_epoch):
        state = json.loads(Path(path).read_text(encoding="utf-8"))
        self.progress.load_state_dict(state)
        self.optimizer_step = self.update
        self._random_state, self._logs = checkpoint.own_state(state, path), state

    def evaluate(self, test_set, max_key=None, min_key=None, progressbar=None, test_loader_kwargs={}, **labels):  # noqa: B006
        """`Evaluation.test` of a dataset; labels: name ("test") and weights ("best")."""
        loader = self.make_dataloader(test_set, Stage.TEST, ckpt_prefix=None, **test_loader_kwargs)
        return self.evaluation.test(loader, labels.get("name", "test"), labels.get("weights", "best"))
