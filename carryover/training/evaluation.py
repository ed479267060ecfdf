"""Validation and test: scored without a trace in what is learned, and the weights that are tested."""

import math
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import speechbrain as sb
import torch
from tqdm import tqdm

from carryover import processes
from carryover.models.weights import differences, load_weights
from carryover.stats import error_rates
from carryover.stats.edits import edits
from carryover.training import checkpoint, kept_states
from carryover.training.stopping import Stopped

Stage = sb.Stage
STOP_EVERY = 8  # batches of a validation between two looks at whether a signal came to any of several processes


class Evaluation:
    """Scores sets with a Brain.

    Parameters
    ----------
    brain : carryover.training.brain.RecipeBrain
    normaliser : callable
        Of references and hypotheses.
    folder : str or Path
        The run's, for predictions.
    """

    def __init__(self, brain, normaliser, folder: str | Path):
        self.brain, self.normaliser, self.folder = brain, normaliser, Path(folder)

    @torch.no_grad()
    def batch(self, batch, stage) -> tuple[dict[str, float], int, list[dict]]:
        """Loss terms, units, and one scored row an utterance."""
        brain = self.brain
        with brain.evaluation_ctx:
            output = brain.compute_forward(batch, stage)
            terms = brain.compute_objectives(output, batch, stage)
            hypotheses = brain.transcribe(output, batch, stage)
        terms = {"loss": brain.total(terms).item()} | {name: term.item() for name, term in terms.items()}
        pairs = zip(batch.row, hypotheses, strict=True)
        return terms, brain.units(batch), [error_rates.score(row, hyp, self.normaliser) for row, hyp in pairs]

    def score(self, loader, stage, name: str = "Validating") -> tuple[dict, list[dict]]:
        """Mean loss terms, error rates and `loops` of a set, what the recipe counts of it, and its scored rows."""
        brain = self.brain
        brain.eval_mode()
        kept_states.fill_set(brain, loader)
        brain.begin_set()
        sums, units, rows, found = defaultdict(float), 0, [], []
        batches = iter(tqdm(loader, desc=name, unit="batch", leave=False, disable=brain.noprogressbar))
        every = STOP_EVERY if processes.count() > 1 else 1
        for i in range(processes.largest(len(loader))):
            number = processes.largest(brain.stop.number) if i % every == 0 else None
            if number is not None:  # the update is done: it is saved, and its validation made at the resume
                raise Stopped(number)
            if (batch := next(batches, None)) is not None:
                found.append(self.batch(batch.to(brain.device, non_blocking=True), stage))
        brain.hparams.kept.flush()
        for terms, n, scored in processes.merge(processes.gather(found)):
            units += n
            rows += scored
            for term, value in terms.items():
                sums[term] += n * value
        means = {term: value / units for term, value in sums.items()}
        counts = edits(rows) | {"loops": error_rates.loops(rows)}
        return means | error_rates.totals(rows) | counts | brain.of_set(rows), rows

    def validate(self, loader, language: str, **labels) -> dict:
        """Score a validation set and log it; training goes on as if it had not been."""
        with random_state_kept():
            found, _ = self.score(loader, Stage.VALID)
        self.brain.run_log.scores("valid", found, set="valid", language=language, **labels)
        tqdm.write(
            f"Update {self.brain.update}: {language} valid loss {found['loss']:.3f}, WER {found['WER']:.2f}, "
            f"CER {found['CER']:.2f}"
        )
        return found

    def test(self, loader, name: str, weights: str) -> tuple[dict, list[dict]]:
        """Score a test set with the weights that are loaded, and write predictions_<name>_<weights>.csv.

        Returns
        -------
        (found, rows)
            What `score` returns, with 95 % intervals (`error_rates.Intervals.logged`).
        """
        with random_state_kept():
            found, rows = self.score(loader, Stage.TEST, f"Testing {name} ({weights})")
        found |= error_rates.interval(rows).logged()
        path = self.folder / f"predictions_{name}_{weights}.csv"
        processes.first_does(error_rates.write_predictions, path, rows)
        return found, rows

    # ---- the weights that are tested ----

    def load_best(self) -> None:
        """Load the weights of the checkpoint with the lowest validation WER (the last one where none was validated)."""
        checkpointer = self.brain.checkpointer
        if checkpointer is None:
            return
        best = checkpointer.best("WER") or checkpointer.last()
        self.note_refused()
        if best is None:
            raise FileNotFoundError(
                f"{checkpointer.checkpoints_dir} holds no checkpoint; repeat the run's command, which trains it"
            )
        self.require_made_for(best)
        for name, module in self.brain.modules.items():
            if name in best.paramfiles:
                load_weights(module, best.paramfiles[name])
            elif any(True for _ in module.parameters()):
                raise ValueError(
                    f"{best.path} holds no weights of {name}, but {', '.join(sorted(best.paramfiles))}; the code or "
                    "the settings are not those of this run"
                )
        print(
            f"Loaded the best weights: update {best.meta['update']}, "
            f"validation WER {best.meta.get('WER', math.nan):.2f}"
        )

    def note_refused(self) -> None:
        """Write an event for each checkpoint that was not whole, in a run that trains: the report shows it."""
        while self.brain.checkpointer.clean and self.brain.checkpointer.refused:
            self.brain.run_log.note("flag", message=f"Checkpoint {self.brain.checkpointer.refused.pop(0)}")

    def require_made_for(self, ckpt) -> None:
        """Raise ValueError, naming what differs, where a checkpoint's weights are made for something else."""
        wanted = self.brain.made_for()
        found = ckpt.meta.get("made_for", wanted)  # a checkpoint of an earlier version does not say
        if differs := list(differences(found, wanted)):
            raise ValueError(
                f"{ckpt.path} was made for something else: {'; '.join(differs)}. A frozen model has changed since: "
                f"bring back the one that {ckpt.path / 'CKPT.yaml'} names, or train anew into another output_folder"
            )

    def variants(self, methods) -> Iterator[str]:
        """Load one variant of the weights after the other, yielding its name; then the present ones again."""
        parameters = dict(self.brain.modules.named_parameters())
        for method in methods:
            for name, values in method.variants():
                kept = {key: parameters[key].detach().clone() for key in values}
                with torch.no_grad():
                    for key, value in values.items():
                        parameters[key].copy_(value)
                yield name
                with torch.no_grad():
                    for key, value in kept.items():
                        parameters[key].copy_(value)


@contextmanager
def random_state_kept():
    """Leave the random generators as they were: how often a run validates does not change what it learns."""
    state = checkpoint.random_state()
    try:
        yield
    finally:
        checkpoint.set_random_state(state)
