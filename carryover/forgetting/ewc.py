"""Elastic weight consolidation."""

import torch

from carryover import processes
from carryover.forgetting import fisher
from carryover.forgetting.estimated import Estimated


class EWC(Estimated):
    """Elastic weight consolidation: F is the diagonal Fisher information of the old language.

    Parameters
    ----------
    labels : str
        "gold", the empirical Fisher, or "sampled", the true one.
    fisher_reduction : str
        "sum": log p(y|x) of the whole sequence; "mean": per token, for comparison with others' lambdas (F is smaller
        by the squared length).
    """

    name = "ewc"

    def __init__(self, lambda_: float, labels: str = "gold", fisher_reduction: str = "sum", **options):
        super().__init__(lambda_, **options)
        if labels not in ("gold", "sampled"):
            raise ValueError(f"labels: '{labels}' is neither gold nor sampled")
        if fisher_reduction not in ("sum", "mean"):
            raise ValueError(f"fisher_reduction: '{fisher_reduction}' is neither sum nor mean")
        self.labels, self.reduction = labels, fisher_reduction
        self.definition = {"statistic": "fisher", "labels": labels, "reduction": fisher_reduction}

    def estimate(self, learner, utterances, total, parameters):
        generator = torch.Generator(learner.device).manual_seed(self.seed + processes.rank())

        def log_likelihood(batch):
            log_p, tokens = learner.log_likelihood(batch, self.labels, generator)  # (1,), (1,)
            return log_p / tokens if self.reduction == "mean" else log_p

        return fisher.fisher(parameters, log_likelihood, utterances, total)

    def describe(self):
        labels = {"gold": "the transcripts as labels (the empirical Fisher)", "sampled": "labels drawn from the model"}
        per_token = ", of log p per token" if self.reduction == "mean" else ""
        return (
            "Elastic weight consolidation @[kirkpatrick2017overcoming] adds lambda / 2 times the sum over parameters "
            f"of the diagonal Fisher information times the squared distance to the old weights, with lambda = "
            f"{self.lambda_:g}; the Fisher information is estimated on at most {self.samples} {self.kind} utterances "
            f"of the old language, one at a time, with {labels[self.labels]}{per_token}."
        )
