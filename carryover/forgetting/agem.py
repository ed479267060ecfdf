"""Averaged gradient episodic memory: no update may raise the loss on some kept clips of the old language."""

import random

import torch

from carryover.forgetting.method import Method, require_old_clips
from carryover.forgetting.old_weights import evaluation_mode


class AGEM(Method):
    """Chaudhry et al. 2019, eq. 11: g - (g . r / r . r) r where g . r < 0, r the gradient of the memory's loss.

    r is of a batch that is drawn anew for each update, without dropout and augmentation. It costs a forward and a
    backward pass of `batch_size` clips an update.

    Parameters
    ----------
    memory : int
        Training utterances of the old language that are kept, drawn with `seed`; all where there are fewer.
    batch_size : int
        Of them to each update.
    seed : int
        Of both draws.

    Raises
    ------
    ValueError
        For sizes that are no whole numbers above 0.
    """

    name = "agem"
    reads = ("train",)

    def __init__(self, memory: int = 500, batch_size: int = 8, seed: int = 42):
        for key, n in (("memory", memory), ("batch_size", batch_size)):
            if not isinstance(n, int) or n < 1:
                raise ValueError(f"forgetting: AGEM has {key} {n}; give a whole number, 1 or more")
        self.memory, self.batch_size, self.seed = memory, batch_size, seed
        self.cosine = 0.0  # between the gradient and the memory's, in the last update

    def check(self, values):
        require_old_clips("AGEM", values)

    def begin(self, learner, old_set):
        self.learner, self.old_set = learner, learner.known(old_set)
        n = min(self.memory, len(self.old_set))
        self.kept = random.Random(self.seed).sample(range(len(self.old_set)), n)

    def add_gradient(self):
        trained = [p for p in self.learner.modules.parameters() if p.requires_grad]
        # by the update's number: a resumed run draws what an unbroken one does
        chance = random.Random(f"{self.seed} {self.learner.update}")
        drawn = chance.sample(self.kept, min(self.batch_size, len(self.kept)))
        [batch] = self.learner.batches(self.old_set, drawn, len(drawn))
        with evaluation_mode(self.learner.modules):
            reference = torch.autograd.grad(self.learner.loss(batch), trained, allow_unused=True)
        pairs = [(p, r) for p, r in zip(trained, reference, strict=True) if r is not None]
        with torch.no_grad():
            dot = sum((p.grad * r).sum() for p, r in pairs if p.grad is not None)
            own = sum((p.grad**2).sum() for p in trained if p.grad is not None)
            squared = sum((r**2).sum() for _, r in pairs)
            self.cosine = float(dot / (own * squared).sqrt()) if own > 0 and squared > 0 else 0.0
            if dot < 0:
                for p, r in pairs:
                    p.grad = -dot / squared * r if p.grad is None else p.grad - dot / squared * r

    def logged(self):
        return {"agem_cosine": self.cosine}

    def describe(self):
        return (
            "Averaged gradient episodic memory @[chaudhry2019efficient] projects each gradient so that it does not "
            f"raise the loss on {self.batch_size} utterances, drawn for each update from {self.memory} kept training "
            "utterances of the old language."
        )
