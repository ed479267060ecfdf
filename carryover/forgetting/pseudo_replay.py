"""Replay of old clips under the old model's own transcripts: no transcript of the old language is needed."""

import copy

import torch

from carryover.forgetting.method import require_old_weights
from carryover.forgetting.old_clips import OldClips
from carryover.forgetting.old_weights import evaluation_mode


class PseudoReplay(OldClips):
    """L + weight L(y', x'), y' = the old model's hypothesis of an old clip x': pseudo-rehearsal (Robins 1995) with real
    inputs, labelled as in self-training (Lee 2013).

    Kept clips are transcribed once, as a test does, when training begins; clips without a hypothesis are dropped.
    L is the recipe's own loss, without augmentation. It costs a forward and a backward pass of `batch_size` clips a
    micro-batch.

    Parameters
    ----------
    weight : float
        Above 0.
    memory, batch_size, seed
        As OldClips.

    Raises
    ------
    ValueError
        For a weight that is no such number, and as OldClips; in `begin` where the old model hears nothing.
    """

    name = "pseudo_replay"

    def __init__(self, weight: float = 0.5, memory: int = 500, batch_size: int = 8, seed: int = 42):
        super().__init__(memory, batch_size, seed)
        if not weight > 0:
            raise ValueError(f"forgetting: PseudoReplay has weight {weight}; give a number above 0, or take it out")
        self.weights = {self.name: float(weight)}

    def check(self, values):
        super().check(values)
        require_old_weights("PseudoReplay", values)

    def usable(self, learner, old_set):
        return old_set  # transcripts are not looked at

    def begin(self, learner, old_set):
        super().begin(learner, old_set)
        heard = []
        with torch.no_grad(), evaluation_mode(learner.modules):
            for batch in learner.batches(self.old_set, self.kept, self.batch_size):
                heard += learner.hear(batch)
        IDs = [self.old_set.data_ids[i] for i in self.kept]
        texts = {ID: text for ID, text in zip(IDs, heard, strict=True) if text.strip()}
        if not texts:
            raise ValueError(
                f"forgetting: PseudoReplay has nothing to replay, the old model heard no word in {len(heard)} clips of "
                "the old language; check old_language and old_data_folder, or take the method out"
            )
        print(f"Pseudo-label replay: {len(texts)} of {len(heard)} old clips have a hypothesis of the old model")
        self.old_set = copy.copy(self.old_set)
        self.old_set.data = {ID: old_set.data[ID] | {"text": text} for ID, text in texts.items()}
        self.old_set.data_ids = list(texts)
        self.kept = list(range(len(texts)))

    def terms(self, output, batch):
        _, memory = self.draw()
        return {self.name: self.learner.loss(memory)}

    def describe(self):
        return (
            f"In pseudo-label replay @[robins1995catastrophic, lee2013pseudo] the loss of {self.batch_size} utterances "
            f"is added to each batch's, with weight {self.weights[self.name]:g}; they are drawn from {self.memory} "
            "training utterances of the old language and labelled by the old model's own transcripts."
        )
