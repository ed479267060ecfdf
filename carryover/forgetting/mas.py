"""Memory aware synapses."""

from carryover.forgetting import fisher
from carryover.forgetting.estimated import Estimated


class MAS(Estimated):
    """Memory aware synapses (Aljundi et al. 2018): F is the sensitivity of the outputs' squared norm.

    With CTC no label is needed. The outputs of a decoder (Whisper, a speech LLM) are those after each token of the
    transcript, so there the transcripts are used as EWC uses them.

    Their penalty is lambda * sum Omega (theta - theta*)^2, without the half: their lambda is half of ours.
    """

    name = "mas"
    definition = {"statistic": "sensitivity"}

    def estimate(self, learner, utterances, total, parameters):
        return fisher.sensitivity(parameters, learner.outputs, utterances, total)

    def describe(self):
        return (
            "Memory aware synapses @[aljundi2018memory] adds lambda / 2 times the sum over parameters of their "
            f"importance times the squared distance to the old weights, with lambda = {self.lambda_:g}; the importance "
            f"is the mean over at most {self.samples} {self.kind} utterances of the old language of the absolute "
            "gradient of the outputs' squared norm."
        )
