"""Averages of old and new weights: free, and in ASR reported better than the penalties of its day."""

import torch

from carryover.forgetting.method import Method, require_old_weights
from carryover.forgetting.old_weights import OldWeights


class Averaging(Method):
    """theta = share * new + (1 - share) * old (Vander Eeckt and Van hamme 2022, arXiv 2210.15282).

    Each average is validated and tested as `average_<share>`. Units that the old model does not have keep their new
    values.

    Parameters
    ----------
    shares : list of float
        Of the new weights, between 0 (old) and 1 (new), both excluded.
    """

    name = "averaging"

    def __init__(self, shares: list[float]):
        if not shares or not all(0 < s < 1 for s in shares):
            raise ValueError(f"averaging: shares {shares}; give one or more between 0 (old) and 1 (new)")
        self.shares = [float(s) for s in shares]

    def check(self, values):
        require_old_weights("Averaging", values)

    def begin(self, learner, old_set):
        self.learner, self.old = learner, OldWeights(learner.modules, "cpu")

    def variants(self):
        parameters = dict(self.learner.modules.named_parameters())
        new = {name: parameters[name].detach().clone() for name in self.old.trained}
        rows = self.learner.new_parameters()
        for share in self.shares:
            averages = {}
            for name, value in new.items():
                averages[name] = torch.lerp(self.old.values[name].to(value.device), value, share)
                if name in rows:
                    keep = slice(None) if rows[name] is None else rows[name]
                    averages[name][keep] = value[keep]
            yield f"average_{share:.2f}", averages

    def describe(self):
        shares = ", ".join(f"{share:g}" for share in self.shares)
        return f"Averages of the old and the new weights @[vandereeckt2023weight] are tested, with {shares} of the new."
