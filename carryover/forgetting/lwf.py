"""Learning without forgetting: what the old model says of the new language's clips is a target, too."""

from carryover.forgetting.method import Method, require_old_weights
from carryover.forgetting.old_weights import OldWeights
from carryover.losses import divergence
from carryover.losses.soft_targets import checked_temperature


class LwF(Method):
    """Li and Hoiem 2016, on frame posteriors (CTC) or token posteriors given the transcript so far (decoders).

    The term is weight * t^2 KL(p_old || p) summed over an utterance's frames or tokens, a mean over the batch's units,
    both posteriors softened by t (`carryover.losses.divergence`). The old model hears what the new one hears,
    augmentation included; units that it does not have take no part.

    Parameters
    ----------
    temperature : float
        t
    weight : float
        Of the term in the loss; it is logged unweighed as `kd`.

    Raises
    ------
    ValueError
        For a temperature or weight that is not above 0; in `begin` where the old model has none of the units.
    """

    name = "kd"
    bytes_per_parameter = 4  # the old weights

    def __init__(self, temperature: float = 1.0, weight: float = 1.0):
        self.temperature = checked_temperature(temperature)
        if not weight > 0:
            raise ValueError(f"forgetting: LwF has weight {weight}; give a number above 0, or take it out")
        self.weights = {self.name: float(weight)}

    def check(self, values):
        require_old_weights("LwF", values)

    def require(self, learner):
        if learner.old_units() == []:
            raise ValueError(
                "forgetting: LwF has nothing to compare, the model that is carried over has no head; expected one "
                "with a CTC head: pre-train it on the old language first (hparams/dutch_pretrain.yaml), or take "
                "another method (--preset l2sp, replay)"
            )

    def begin(self, learner, old_set):
        self.require(learner)
        self.units = learner.old_units()
        self.learner, self.old = learner, OldWeights(learner.modules)

    def terms(self, output, batch):
        with self.old.loaded():
            old = self.learner.forward(output.inputs).log_probs  # (B, T or U, V)
        units = slice(None) if self.units is None else self.units
        found = divergence(old[..., units], output.log_probs[..., units], output.lengths, self.temperature)
        return {self.name: found * len(output.lengths) / self.learner.units(batch)}

    def describe(self):
        weight = self.weights[self.name]
        return (
            "Learning without forgetting @[li2018learning] adds the Kullback-Leibler divergence from the old model's "
            f"posteriors on the new language's utterances, at temperature {self.temperature:g} and with weight "
            f"{weight:g}."
        )
