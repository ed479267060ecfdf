"""Quadratic penalties against forgetting: EWC, MAS and L2-SP; NoPenalty has the same face.

    L = L_task + (lambda / 2) * sum_i F_i (theta_i - theta*_i)^2

with theta* the weights that are carried over and F_i what parameter i means for the old language (Kirkpatrick et al.
2017, eq. 3). The gradient, lambda F (theta - theta*), needs no graph: it is added once per update, after unscaling and
before clipping, right under accumulation and loss scaling. As a loss in every micro-batch the same penalty made
an update of wav2vec2-base 1.5 (16 s of speech, one CPU thread) to 2.2 times (8 s) as long; so it adds 1 to 2 %
(benchmarks/ewc_cost.py).
"""

import hashlib
import math
import time
from itertools import chain, islice
from pathlib import Path

import torch

from carryover.config import settings
from carryover.forgetting import fisher
from carryover.models.weights import digest


def check(text: str, overrides: dict[str, str]) -> None:
    """Raise where a YAML's penalty cannot be meant: it is made for that alone, before what costs time.

    Parameters
    ----------
    text : str
        The YAML.
    overrides : dict
        YAML text by key, of presets and the command line.

    Raises
    ------
    ValueError
        For a lambda, or a number of Fisher samples that is asked for, that nothing reads (the run would be one without
        it, under another name), and what the penalty itself refuses: as it is made, and in its `check`.
    """
    keys = ("lambda", "fisher_samples", "penalty", "from_scratch", "old_language", "old_splits")
    values = settings.load_only(text, overrides, keys)
    penalty, samples = values["penalty"], values.get("fisher_samples")
    if values.get("lambda") and not settings.is_read("lambda", text, overrides):
        raise ValueError(
            f"lambda: {values['lambda']}, but nothing reads it, the penalty is {type(penalty).__name__}; "
            "give a penalty with lambda_: !ref <lambda> (--preset ewc, mas, l2sp or replay_ewc), or lambda 0"
        )
    if "fisher_samples" in overrides and not settings.is_read("fisher_samples", text, overrides):
        raise ValueError(
            f"fisher_samples: {samples}, but nothing reads it, the penalty is {type(penalty).__name__}; give a penalty "
            "with samples: !ref <fisher_samples> (--preset ewc, mas or replay_ewc), or leave it out"
        )
    penalty.check(values)


class NoPenalty:
    """Nothing holds the weights: plain fine-tuning."""

    def check(self, values: dict) -> None:
        """Raise ValueError where the YAML's from_scratch, old_language and old_splits (`values`) rule it out."""

    def begin(self, brain, old_set) -> None:
        """Called once the old weights are loaded, before the first update or the resume."""

    def terms(self) -> dict[str, torch.Tensor]:
        """Terms with a graph, to be added to every micro-batch's loss."""
        return {}

    def add_gradient(self) -> None:
        """Add the gradient in place, once per update."""

    def values(self) -> dict[str, float]:
        """What is logged."""
        return {}


class QuadraticPenalty:
    """(lambda / 2) sum_i F_i (theta_i - theta*_i)^2; a subclass says what F is.

    Parameters
    ----------
    lambda_ : float
        0 is allowed: the baseline, at no cost.
    gradient : str
        "in_place", or "autograd": the penalty as a loss, for comparison.
    storage : str
        Where F and theta* are: "device"; "half", F in bfloat16 (theta* stays float32: rounded to half precision it
        would pull every weight by 2^-9 of itself, as much as fine-tuning moves it); or "host", both in host memory,
        brought to the device one parameter at a time.

    Raises
    ------
    ValueError
        For a negative or infinite lambda, or an unknown `gradient` or `storage`.
    """

    name = ""

    def __init__(self, lambda_: float, gradient: str = "in_place", storage: str = "device"):
        if not isinstance(lambda_, (int, float)) or not 0 <= lambda_ < math.inf:
            raise ValueError(f"lambda: {lambda_} is no weight of a penalty; give 0 (none) or more")
        if gradient not in ("in_place", "autograd"):
            raise ValueError(f"gradient: '{gradient}' is neither in_place nor autograd")
        if storage not in ("device", "half", "host"):
            raise ValueError(f"storage: '{storage}' is neither device, half nor host")
        self.lambda_, self.gradient, self.storage = float(lambda_), gradient, storage
        self._held = []

    def check(self, values: dict) -> None:
        """Raise ValueError where the weights are random: with a penalty they would be held where they are."""
        if self.lambda_ and values.get("from_scratch"):
            raise ValueError(
                f"penalty: {self.name} would hold random weights (from_scratch: True); carry a model over "
                "(from_scratch: False), or give lambda 0"
            )

    def importance(self, brain, old_set, parameters: dict) -> dict[str, torch.Tensor]:
        """F by parameter name."""
        raise NotImplementedError

    def begin(self, brain, old_set) -> None:
        """Take the weights as they are for theta*, and get F; what the old model does not have gets F = 0.

        Raises
        ------
        ValueError
            Where nothing would be held: every parameter is new, or F is zero throughout.
        """
        if not self.lambda_:
            return
        new = brain.new_parameters()  # None: the whole tensor; otherwise rows
        trained = {n: p for n, p in brain.modules.named_parameters() if p.requires_grad}
        parameters = {n: p for n, p in trained.items() if n not in new or new[n] is not None}
        if not parameters:
            raise ValueError(f"{self.name}: every parameter is new; there is nothing to remember in this model")
        importance = self.importance(brain, old_set, parameters)
        for name, rows in new.items():
            if name in importance:
                importance[name][rows] = 0.0
        self.hold(parameters, importance)
        if not self._held:
            raise ValueError(
                f"{self.name}: no parameter means anything for the old language, so nothing is held; pre-train the "
                "model on it first (hparams/dutch_pretrain.yaml), or give lambda 0"
            )

    def hold(self, parameters: dict[str, torch.nn.Parameter], importance: dict[str, torch.Tensor]) -> None:
        """Keep theta* = the parameters' present values, and F (shapes as the parameters').

        A parameter whose F is zero throughout (one that the old language never used) is not held: it would cost
        memory, and a gradient of zeros instead of none would set the optimizer's weight decay on it.
        """
        self._held = []
        for name, p in parameters.items():
            if not importance[name].any():
                continue
            device = torch.device("cpu") if self.storage == "host" else p.device
            anchor = p.detach().to(device, torch.float32, copy=True)
            F = importance[name].to(device, torch.bfloat16 if self.storage == "half" else torch.float32)
            if self.storage == "host" and p.device.type == "cuda":
                anchor, F = anchor.pin_memory(), F.pin_memory()
            self._held.append((p, F, anchor))

    def held_bytes(self) -> int:
        """Memory that F and theta* take, wherever they are."""
        return sum(F.nbytes + anchor.nbytes for _, F, anchor in self._held)

    @torch.no_grad()
    def add_gradient(self) -> None:
        """Add lambda F (theta - theta*) to the gradients; one parameter's temporary at a time."""
        if self.gradient == "autograd":
            return
        for p, F, anchor in self._held:
            if p.grad is None:  # layerdrop left the layer out; the penalty still holds it
                p.grad = torch.zeros_like(p)
            # no name for the difference: it would live on beside the next parameter's
            p.grad.addcmul_(
                F.to(p.device, non_blocking=True), p - anchor.to(p.device, non_blocking=True), value=self.lambda_
            )

    def loss(self) -> torch.Tensor:
        """The penalty with its graph, a scalar."""
        parts = [(F.to(p.device) * (p - anchor.to(p.device)) ** 2).sum() for p, F, anchor in self._held]
        return 0.5 * self.lambda_ * torch.stack(parts).sum()

    def terms(self) -> dict[str, torch.Tensor]:
        """{name: penalty with its graph} when `gradient` is "autograd", else {}."""
        return {self.name: self.loss()} if self.gradient == "autograd" and self._held else {}

    @torch.no_grad()
    def values(self) -> dict[str, float]:
        """{name: penalty}."""
        if not self._held:
            return {self.name: 0.0}
        parts = [
            torch.sum((p - anchor.to(p.device)).square_().mul_(F.to(p.device)), dtype=torch.float64)
            for p, F, anchor in self._held
        ]
        return {self.name: 0.5 * self.lambda_ * torch.stack(parts).sum().item()}


class L2SP(QuadraticPenalty):
    """F = 1 for all that is carried over (Li, Grandvalet and Davoine 2018, "L2-SP", with alpha = lambda)."""

    name = "l2sp"

    def importance(self, brain, old_set, parameters):
        return {name: torch.ones_like(p, dtype=torch.float32) for name, p in parameters.items()}


def texts_digest(dataset) -> str:
    """Digest of a dataset's IDs, durations and texts, in its order: what an importance's utterances were drawn from."""
    rows = (f"{ID}\t{dataset.data[ID]['duration']}\t{dataset.data[ID]['text']}\n" for ID in dataset.data_ids)
    return hashlib.sha256("".join(rows).encode()).hexdigest()


class _Estimated(QuadraticPenalty):
    """An F that is estimated on old-language utterances, kept in a file with its provenance, and reused.

    Parameters
    ----------
    lambda_, gradient, storage
        As QuadraticPenalty.
    samples : int
        Utterances of the old language's training set, drawn with `seed`; all of them where there are fewer.
    seed : int
        Of the draw, and of sampled labels.
    folder : str
        Where estimates are kept, one file for each model, corpus and definition.
    file : str or None
        An estimate to use as it is, whatever its utterances were: the old language's recordings are not needed. An
        error if it is not of this model, its weights and this definition.
    batch_size : int
        Utterances estimated at a time: quicker on a GPU, to rounding the same (per_example.py). 1 where
        padding changes what the model hears: with a norm over time, as in wav2vec2-base's feature encoder.

    Raises
    ------
    ValueError
        As QuadraticPenalty; for `samples` that are no whole number above 0, or `batch_size` below 1; in `begin` where
        there is no old language to remember, where `file` is of another model (fisher.load), or where the model does
        not allow for batches.
    """

    definition = {}
    nothing = "nothing to remember; set old_language and old_data_folder, and let old_splits hold train"

    def __init__(
        self,
        lambda_: float,
        samples: int = 5000,
        seed: int = 42,
        folder: str = "results/importance",
        file: str | None = None,
        gradient: str = "in_place",
        storage: str = "device",
        batch_size: int = 1,
    ):
        super().__init__(lambda_, gradient, storage)
        if not isinstance(samples, int) or samples < 1:
            raise ValueError(
                f"fisher_samples: {samples} utterances tell nothing of the old language; give a whole number, 1 or more"
            )
        if batch_size < 1:
            raise ValueError(f"batch_size: {batch_size} utterances at a time; give 1 or more")
        self.samples, self.seed, self.folder, self.file = samples, seed, folder, file
        self.batch_size = batch_size

    def check(self, values):
        super().check(values)
        has_old = values["old_language"] and "train" in (values["old_splits"] or [])
        if self.lambda_ and self.file is None and not has_old:
            raise ValueError(f"penalty: {self.name} has {self.nothing}")

    def estimate(self, brain, utterances, total: int, parameters: dict) -> dict[str, torch.Tensor]:
        """F over an iterable of batches."""
        raise NotImplementedError

    def value(self, brain, batch) -> torch.Tensor:
        """(B,) of which gradients are taken, without chance in it."""
        raise NotImplementedError

    def importance(self, brain, old_set, parameters):
        if old_set is None and self.file is None:
            raise ValueError(f"penalty: {self.name} has {self.nothing}")
        start = time.time()
        provenance = self.definition | {"weights": old_weights_digest(brain)}
        if self.file is None:
            old_set = brain.known(old_set)
            n = min(self.samples, len(old_set))
            provenance |= {"samples": n, "seed": self.seed, "data": texts_digest(old_set)}
            provenance["target_text"] = brain.hparams.target_text.name  # labels are what it makes of the texts
        # the parameters' names, too: with another part of the model frozen the estimate is another file
        key = hashlib.sha256(repr((sorted(provenance.items()), sorted(parameters))).encode()).hexdigest()[:12]
        path = Path(self.file or Path(self.folder) / f"{self.name}-{key}.safetensors")
        reused = self.file is not None or path.exists()
        if reused:
            found, provenance = fisher.load(path, parameters, provenance)
        else:
            brain.modules.eval()
            if self.batch_size > 1:
                self._check_padding(brain, old_set, n)
            utterances = brain.utterances(old_set, n, self.seed, self.batch_size)
            found = self.estimate(brain, utterances, n, parameters)
            fisher.save(path, found, provenance)
        values = {"method": self.name, "file": str(path), "reused": reused, "seconds": round(time.time() - start, 3)}
        mean = sum(f.double().sum().item() for f in found.values()) / sum(f.numel() for f in found.values())
        brain.metrics.write("fisher", **brain.now(), **values, **provenance, mean=mean)
        print(
            f"{self.name}: importance of {len(found)} tensors over {provenance['samples']} utterances, "
            f"{path}{' (reused)' * reused}"
        )
        return found

    @torch.no_grad()
    @fisher.no_tf32()
    def _check_padding(self, brain, old_set, n: int) -> None:
        """Raise where utterances are not in a batch what they are alone (their gradients would not be, either)."""
        batch = self.value(brain, next(brain.utterances(old_set, n, self.seed, self.batch_size)))
        alone = islice(brain.utterances(old_set, n, self.seed), len(batch))
        for together, single in zip(batch, alone, strict=True):
            single = self.value(brain, single)[0]
            if not torch.isclose(together, single, rtol=1e-4, atol=1e-4):
                raise ValueError(
                    f"batch_size: an utterance has {single.item():.6g} alone and {together.item():.6g} in a batch of "
                    f"{len(batch)}; padding changes this model (a norm over time does that). Give batch_size: 1"
                )


def old_weights_digest(brain) -> str:
    """Digest of what the model carried over, frozen parts included: an importance is of these weights.

    New units are left out (zeros): they are drawn anew by each seed, and have no part in an importance.
    """

    def carried():
        new = brain.new_parameters()
        for name, p in chain(brain.modules.named_parameters(), brain.modules.named_buffers()):
            if name not in new:
                yield name, p
            elif new[name] is not None:
                without = p.detach().clone()
                without[new[name]] = 0.0
                yield name, without

    return digest(carried())


class EWC(_Estimated):
    """Elastic weight consolidation: F is the diagonal Fisher information of the old language.

    Parameters
    ----------
    labels : str
        "gold", the empirical Fisher, or "sampled", the true one.
    fisher_reduction : str
        "sum": log p(y|x) of the whole sequence; "mean": per token, for comparison with others' lambdas (F is smaller
        by the squared length).
    """

    name = "ewc"

    def __init__(self, lambda_: float, labels: str = "gold", fisher_reduction: str = "sum", **options):
        super().__init__(lambda_, **options)
        if labels not in ("gold", "sampled"):
            raise ValueError(f"labels: '{labels}' is neither gold nor sampled")
        if fisher_reduction not in ("sum", "mean"):
            raise ValueError(f"fisher_reduction: '{fisher_reduction}' is neither sum nor mean")
        self.labels, self.reduction = labels, fisher_reduction
        self.definition = {"statistic": "fisher", "labels": labels, "reduction": fisher_reduction}

    def estimate(self, brain, utterances, total, parameters):
        generator = torch.Generator(brain.device).manual_seed(self.seed)

        def log_likelihood(batch):
            log_p, tokens = brain.log_likelihood(batch, self.labels, generator)  # (B,), (B,)
            return log_p / tokens if self.reduction == "mean" else log_p

        return fisher.fisher(
            parameters, log_likelihood, utterances, total, brain.modules if self.batch_size > 1 else None
        )

    def value(self, brain, batch):
        return brain.log_likelihood(batch, "gold", None)[0]


class MAS(_Estimated):
    """Memory aware synapses (Aljundi et al. 2018): F is the sensitivity of the outputs' squared norm; no labels.

    Their penalty is lambda * sum Omega (theta - theta*)^2, without the half: their lambda is half of ours.
    """

    name = "mas"
    definition = {"statistic": "sensitivity"}

    def estimate(self, brain, utterances, total, parameters):
        return fisher.sensitivity(
            parameters, brain.outputs, utterances, total, brain.modules if self.batch_size > 1 else None
        )

    def value(self, brain, batch):
        return fisher.squared_norm(brain.outputs(batch))
