"""Online EWC: one Fisher information for all languages of a sequence, the earlier ones decayed."""

from carryover.forgetting import carried, fisher
from carryover.forgetting.ewc import EWC

FILE = "online_ewc.safetensors"


class OnlineEWC(EWC):
    """Schwarz et al. 2018, "online EWC": F*_k = gamma F*_(k-1) + F_k, held at the weights after the last language.

    F_k is EWC's, of the language that was learned last (the run's old language), at the weights that are carried over;
    F*_(k-1) is what the run before has left. So the memory does not grow with the languages, and the third one
    does not drop the first. Without a run before it is EWC.

    Parameters
    ----------
    gamma : float
        In (0, 1].
    lambda_, ...
        As EWC. `file` replaces F_k alone.

    Raises
    ------
    ValueError
        As EWC; for a gamma that is no such number.
    """

    name = "online_ewc"

    def __init__(self, lambda_: float, gamma: float = 1.0, **options):
        super().__init__(lambda_, **options)
        if not 0 < gamma <= 1:
            raise ValueError(f"forgetting: OnlineEWC has gamma {gamma}; give more than 0 and at most 1")
        self.gamma, self.total = float(gamma), {}

    def importance(self, learner, old_set, parameters):
        self.total = super().importance(learner, old_set, parameters)
        if self.carried and (self.carried / FILE).is_file():
            for name, before in carried.load(self.carried / FILE, parameters).items():
                self.total[name] = self.total[name].to(before.device) + self.gamma * before
            print(f"{self.name}: and {self.gamma:g} times that of the languages before, {self.carried / FILE}")
        return self.total

    def carry(self, folder):
        if self.total:
            fisher.save(folder / FILE, self.total, {"statistic": "online fisher", "gamma": self.gamma})

    def describe(self):
        return (
            super().describe().replace("Elastic weight consolidation @[", "Online elastic weight consolidation @[")
            + f" The Fisher information of the languages before is added, decayed by {self.gamma:g} a language "
            "@[schwarz2018progress]."
        )
