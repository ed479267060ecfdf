"""Methods that keep some clips of the old language and hear a few of them beside each batch of the new one."""

import random

from carryover.forgetting.method import Method, require_old_clips


class OldClips(Method):
    """A memory of training clips of the old language, from which batches are drawn.

    Parameters
    ----------
    memory : int
        Training utterances of the old language that are kept, drawn with `seed`; all where there are fewer.
    batch_size : int
        Of them to each draw.
    seed : int
        Of all draws.

    Raises
    ------
    ValueError
        For sizes that are no whole numbers above 0.
    """

    reads = ("train",)

    def __init__(self, memory: int = 500, batch_size: int = 8, seed: int = 42):
        for key, n in (("memory", memory), ("batch_size", batch_size)):
            if not isinstance(n, int) or n < 1:
                raise ValueError(f"forgetting: {type(self).__name__} has {key} {n}; give a whole number, 1 or more")
        self.memory, self.batch_size, self.seed = memory, batch_size, seed
        self.draws = (-1, 0)  # the last draw's update, and its number within it

    def check(self, values):
        require_old_clips(type(self).__name__, values)

    def begin(self, learner, old_set):
        self.learner, self.old_set = learner, self.usable(learner, old_set)
        n = min(self.memory, len(self.old_set))
        self.kept = random.Random(self.seed).sample(range(len(self.old_set)), n)

    def usable(self, learner, old_set):
        """Those clips that can be kept: with transcripts that the old model can write."""
        return learner.known(old_set)

    def draw(self):
        """-> (indices into `old_set`, their batch); by the update's number, so that a resumed run draws the same."""
        update, n = self.draws
        n = n + 1 if update == self.learner.update else 0
        self.draws = (self.learner.update, n)
        chance = random.Random(f"{self.seed} {self.learner.update}" + f" {n}" * bool(n))
        drawn = chance.sample(self.kept, min(self.batch_size, len(self.kept)))
        [batch] = self.learner.batches(self.old_set, drawn, len(drawn))
        return drawn, batch
