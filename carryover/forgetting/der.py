"""Dark experience replay: kept clips of the old language, with what the old model answered them."""

import torch

from carryover.forgetting.method import require_old_weights
from carryover.forgetting.old_clips import OldClips
from carryover.forgetting.old_weights import evaluation_mode


class DER(OldClips):
    """DER++ (Buzzega et al. 2020): L + alpha ||z' - h(x')||^2 + beta L(y'', h(x'')), x' and x'' of a memory.

    z' are the old model's logits, kept when training begins, in half precision (to 5e-4 of each) and in host memory:
    2 bytes x outputs x units a clip. The squared norm is a mean over the outputs (frames, or tokens given the
    transcript so far) and units of a batch, as in their code; units that the old model does not have take no part.
    Their memory is filled while the old tasks stream by, ours is drawn from the old training set. The loss is
    the recipe's own, without augmentation. It costs two forward and backward passes of `batch_size` clips a
    micro-batch.

    Parameters
    ----------
    alpha, beta : float
        Above 0; 0 or more. With beta 0 it is their DER.
    memory, batch_size, seed
        As OldClips.

    Raises
    ------
    ValueError
        For weights that are no such numbers, and as OldClips.
    """

    name = "der"

    def __init__(self, alpha: float = 0.5, beta: float = 0.5, memory: int = 200, batch_size: int = 8, seed: int = 42):
        super().__init__(memory, batch_size, seed)
        if not alpha > 0 or not beta >= 0:
            raise ValueError(f"forgetting: DER has alpha {alpha}, beta {beta}; give alpha above 0, beta 0 or more")
        self.weights = {"der_logits": float(alpha), "der_replay": float(beta)}

    def check(self, values):
        super().check(values)
        require_old_weights("DER", values)

    def begin(self, learner, old_set):
        super().begin(learner, old_set)
        self.logits = {}
        with torch.no_grad(), evaluation_mode(learner.modules):
            for i, batch in zip(self.kept, learner.batches(self.old_set, self.kept), strict=True):
                self.logits[i] = learner.outputs(batch)[0].to("cpu", torch.float16)  # (T or U, V)

    def terms(self, output, batch):
        drawn, memory = self.draw()
        found = self.learner.outputs(memory)  # (B, T or U, V), zero at padding
        squared, n = 0.0, 0
        for now, i in zip(found, drawn, strict=True):
            kept = self.logits[i].to(found.device, torch.float32)
            squared = squared + (now[: len(kept)] - kept).square().sum()
            n += kept.numel()
        terms = {"der_logits": squared / n}
        if self.weights["der_replay"]:
            _, memory = self.draw()
            terms["der_replay"] = self.learner.loss(memory)
        return terms

    def describe(self):
        alpha, beta = self.weights.values()
        return (
            "Dark experience replay (DER++) @[buzzega2020dark] adds, for utterances drawn from "
            f"{self.memory} kept training utterances of the old language, the mean squared distance to the logits that "
            f"the old model gave them, with weight {alpha:g}, and their loss, with weight {beta:g}."
        )
