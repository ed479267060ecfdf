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
    export : float, optional
        One of them, whose average is the run's model, from which another run starts; default: the new weights are.
    """

    name = "averaging"
    bytes_per_parameter = 4  # the old weights, in the machine's memory

    def __init__(self, shares: list[float], export: float | None = None):
        if not shares or not all(0 < s < 1 for s in shares):
            raise ValueError(f"averaging: shares {shares}; give one or more between 0 (old) and 1 (new)")
        self.shares = [float(s) for s in shares]
        if export is not None and export not in self.shares:
            raise ValueError(f"averaging: export {export} is none of the shares {shares}; give one of them, or null")
        self.exported = export if export is None else name_of(export)

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
            yield name_of(share), averages

    def describe(self):
        shares = ", ".join(f"{share:g}" for share in self.shares)
        kept = f", and {self.exported.removeprefix('average_')} is kept" if self.exported else ""
        return (
            f"Averages of the old and the new weights @[vandereeckt2023weight] are tested, with {shares} of the new"
            f"{kept}."
        )


def name_of(share: float) -> str:
    """What an average is called, e.g. average_0.50."""
    return f"average_{share:.2f}"
