"""Penalties whose importance F is estimated on utterances of the old language, kept in a file, and reused."""

import hashlib
import random
import time
from itertools import chain
from pathlib import Path

import torch

from carryover import processes
from carryover.forgetting import fisher
from carryover.forgetting.method import require_old_clips
from carryover.forgetting.quadratic import QuadraticPenalty
from carryover.models.weights import digest


def texts_digest(dataset) -> str:
    """Digest of a dataset's IDs, durations and texts, in its order: what an importance's utterances were drawn from."""
    rows = (f"{ID}\t{dataset.data[ID]['duration']}\t{dataset.data[ID]['text']}\n" for ID in dataset.data_ids)
    return hashlib.sha256("".join(rows).encode()).hexdigest()


class Estimated(QuadraticPenalty):
    """An F that is estimated on old-language utterances, kept in a file with its provenance, and reused.

    Parameters
    ----------
    lambda_, gradient, storage
        As QuadraticPenalty.
    samples : int
        Utterances of the old language, drawn with `seed`; all of them where there are fewer.
    seed : int
        Of the draw, and of sampled labels.
    folder : str
        Where estimates are kept, one file for each model, corpus and definition.
    split : str
        Of the old language: "train", or "valid", clips that the old model was not trained on. Where it has learned its
        training clips by heart, their gradients, and with gold labels F, are near 0.
    file : str or None
        An estimate to use as it is, whatever its utterances were: the old language's recordings are not needed. An
        error if it is not of this model, its weights and this definition.

    Raises
    ------
    ValueError
        As QuadraticPenalty; for `samples` that are no whole number above 0; in `begin` where `file` is of another
        model (fisher.load).
    """

    definition = {}

    def __init__(
        self,
        lambda_: float,
        samples: int = 5000,
        seed: int = 42,
        folder: str = "results/importance",
        split: str = "train",
        file: str | None = None,
        gradient: str = "in_place",
        storage: str = "device",
    ):
        super().__init__(lambda_, gradient, storage)
        if not isinstance(samples, int) or samples < 1:
            raise ValueError(
                f"fisher_samples: {samples} utterances tell nothing of the old language; give a whole number, 1 or more"
            )
        if split not in ("train", "valid"):
            raise ValueError(f"split: '{split}' of the old language; give train or valid")
        self.samples, self.seed, self.folder, self.file = samples, seed, folder, file
        self.split, self.reads = split, (split,)
        if not self.lambda_ or file is not None:
            self.reads = ()

    def check(self, values):
        super().check(values)
        if self.reads:
            require_old_clips(type(self).__name__, values)

    @property
    def kind(self) -> str:
        """Of its utterances, for a sentence."""
        return {"train": "training", "valid": "validation"}[self.split]

    def estimate(self, learner, utterances, total: int, parameters: dict) -> dict[str, torch.Tensor]:
        """F over an iterable of single utterances."""
        raise NotImplementedError

    def estimate_shared(self, learner, old_set, drawn: list[int], parameters: dict) -> dict[str, torch.Tensor]:
        """`estimate` over the utterances `drawn`, each process its share."""
        mine = processes.share(drawn)
        if mine or not drawn:
            found = self.estimate(learner, learner.batches(old_set, mine), len(mine), parameters)
        else:
            found = {name: torch.zeros_like(p, dtype=torch.float32) for name, p in parameters.items()}
        if len(mine) < len(drawn):
            processes.sum_tensors([f.mul_(len(mine) / len(drawn)) for f in found.values()])
        return found

    def importance(self, learner, old_set, parameters):
        start = time.time()
        provenance = self.definition | {"weights": old_weights_digest(learner)}
        if self.file is None:
            old_set = learner.known(old_set)
            n = min(self.samples, len(old_set))
            provenance |= {"samples": n, "seed": self.seed, "data": texts_digest(old_set)}
            provenance["target_text"] = learner.target_text_name  # labels are what it makes of the texts
        # the parameters' names, too: with another part of the model frozen the estimate is another file
        key = hashlib.sha256(repr((sorted(provenance.items()), sorted(parameters))).encode()).hexdigest()[:12]
        path = Path(self.file or Path(self.folder) / f"{self.name}-{key}.safetensors")
        reused = processes.first_does(lambda: self.file is not None or path.exists())
        if reused:
            found, provenance = fisher.load(path, parameters, provenance)
        else:
            learner.modules.eval()
            drawn = random.Random(self.seed).sample(range(len(old_set)), n)
            found = self.estimate_shared(learner, old_set, drawn, parameters)
            processes.first_does(fisher.save, path, found, provenance)
        values = {"method": self.name, "file": str(path), "reused": reused, "seconds": round(time.time() - start, 3)}
        mean = sum(f.double().sum().item() for f in found.values()) / sum(f.numel() for f in found.values())
        strength = {"mean": mean, "lambda": self.lambda_, "lambda_mean": self.lambda_ * mean}
        learner.note("fisher", **values, **provenance, **strength)
        print(
            f"{self.name}: importance of {len(found)} tensors over {provenance['samples']} utterances, "
            f"{path}{' (reused)' * reused}; lambda x mean F {self.lambda_ * mean:.3g}"
        )
        return found


def old_weights_digest(learner) -> str:
    """Digest of what the model carried over, frozen parts included: an importance is of these weights.

    New units are left out (zeros): they are drawn anew by each seed, and have no part in an importance.
    """

    def carried():
        new = learner.new_parameters()
        for name, p in chain(learner.modules.named_parameters(), learner.modules.named_buffers()):
            if name not in new:
                yield name, p
            elif new[name] is not None:
                without = p.detach().clone()
                without[new[name]] = 0.0
                yield name, without

    return digest(carried())
