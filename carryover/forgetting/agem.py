"""Averaged gradient episodic memory: no update may raise the loss on some kept clips of the old language."""

import torch

from carryover import processes
from carryover.forgetting.old_clips import OldClips
from carryover.forgetting.old_weights import evaluation_mode


class AGEM(OldClips):
    """Chaudhry et al. 2019, eq. 11: g - (g . r / r . r) r where g . r < 0, r the gradient of the memory's loss.

    r is of a batch that is drawn anew for each update, without dropout and augmentation. It costs a forward and a
    backward pass of `batch_size` clips an update. Parameters and errors as OldClips.
    """

    name = "agem"
    bytes_per_parameter = 4  # the memory's gradient
    cosine = 0.0  # between the gradient and the memory's, in the last update

    def add_gradient(self):
        trained = [p for p in self.learner.modules.parameters() if p.requires_grad]
        _, batch = self.draw()
        with evaluation_mode(self.learner.modules):
            reference = torch.autograd.grad(self.learner.loss(batch), trained, allow_unused=True)
        processes.from_first(reference)
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
