"""Averages of old and new weights: free, and in ASR reported better than the penalties of its day.

theta = share * new + (1 - share) * old (Vander Eeckt and Van hamme 2022, arXiv 2210.15282). Units that the old model
does not have keep their new values.
"""

from collections.abc import Iterator

import torch


class NoAveraging:
    """The best weights alone."""

    def begin(self, brain) -> None:
        """Called once the old weights are loaded, before the first update or the resume."""

    def variants(self, brain) -> Iterator[str]:
        """Load one variant after the other, yielding its name."""
        yield from ()


class Averaging:
    """Averages by some shares of the new weights; each is validated and tested as `average_<share>`.

    Parameters
    ----------
    shares : list of float
        Between 0 (old) and 1 (new), both excluded.
    """

    def __init__(self, shares: list[float]):
        if not shares or not all(0 < s < 1 for s in shares):
            raise ValueError(f"averaging: shares {shares}; give one or more between 0 (old) and 1 (new)")
        self.shares = [float(s) for s in shares]

    def begin(self, brain):
        trained = {n: p for n, p in brain.modules.named_parameters() if p.requires_grad}
        self.old = {name: p.detach().to("cpu", copy=True) for name, p in trained.items()}

    def variants(self, brain):
        """Leaves the new weights loaded at the end."""
        parameters = dict(brain.modules.named_parameters())
        new = {name: parameters[name].detach().clone() for name in self.old}
        rows = brain.new_parameters()
        for share in self.shares:
            with torch.no_grad():
                for name, old in self.old.items():
                    average = torch.lerp(old.to(new[name].device), new[name], share)
                    if name in rows:
                        keep = slice(None) if rows[name] is None else rows[name]
                        average[keep] = new[name][keep]
                    parameters[name].copy_(average)
            yield f"average_{share:.2f}"
        with torch.no_grad():
            for name, value in new.items():
                parameters[name].copy_(value)
