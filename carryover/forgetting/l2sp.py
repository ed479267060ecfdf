"""L2-SP: all weights that are carried over are held alike."""

import torch

from carryover.forgetting.quadratic import QuadraticPenalty


class L2SP(QuadraticPenalty):
    """F = 1 for all that is carried over (Li, Grandvalet and Davoine 2018, "L2-SP", with alpha = lambda)."""

    name = "l2sp"

    def importance(self, learner, old_set, parameters):
        return {name: torch.ones_like(p, dtype=torch.float32) for name, p in parameters.items()}

    def describe(self):
        return (
            f"An L2 penalty with weight lambda = {self.lambda_:g} holds all weights that are carried over "
            "(L2-SP) @[li2018explicit]."
        )
