"""Synaptic intelligence: what a weight means for a language is how much of its loss fell along that weight's path."""

import torch

from carryover.forgetting import carried, fisher
from carryover.forgetting.method import require_old_weights
from carryover.forgetting.quadratic import QuadraticPenalty

FILE = "si.safetensors"


class SI(QuadraticPenalty):
    """Zenke et al. 2017, eqs. 3 to 5: c sum_i Omega_i (theta_i - theta*_i)^2, with c = lambda / 2 and

        Omega_i = sum over the languages before of max(omega_i, 0) / (Delta_i^2 + xi)
        omega_i = sum over a run's updates of -g_i(n) (theta_i(n) - theta_i(n-1))

    g is the loss's gradient, before the penalty and clipping, Delta the way from a run's first weights to its last.
    omega is of the training itself, so the run that learned the old language has to be one with SI: it
    leaves Omega in `carried/`. Without an old language nothing is held, omega is gathered alone. With stochastic
    gradients omega is too large (Zenke et al., section 3); where it is negative it is no importance. It is of the last
    weights, theta* of the best ones. It keeps F, theta*, Omega, omega and the first weights, five times the trained
    parameters in float32, and in an update the gradient and the weights before.

    Parameters
    ----------
    xi : float
        Above 0: keeps what has not moved from being held without end.
    lambda_, storage
        As QuadraticPenalty.

    Raises
    ------
    ValueError
        As QuadraticPenalty; for a xi that is not above 0; in `require` where the run before has left nothing.
    """

    name = "si"

    def __init__(self, lambda_: float, xi: float = 0.1, storage: str = "device"):
        super().__init__(lambda_, storage=storage)
        if not xi > 0:
            raise ValueError(f"forgetting: SI has xi {xi}; give a number above 0")
        self.xi, self.old_language, self.path_integral = float(xi), None, {}

    def check(self, values):
        self.old_language = values.get("old_language")
        if self.old_language and self.lambda_:
            require_old_weights("SI", values)

    @property
    def bytes_per_parameter(self):
        """The path integral, the first weights, and in an update the gradient and the weights before it."""
        return 16 + (4 + super().bytes_per_parameter if self.before else 0)

    @property
    def before(self):
        """Omega of the languages before, a file; None without one."""
        found = self.carried / FILE if self.carried else None
        return found if found and found.is_file() else None

    def require(self, learner):
        if self.old_language and self.lambda_ and not self.before:
            raise ValueError(
                f"forgetting: SI knows nothing of {self.old_language}: the run that made this model has left no "
                f"carried/{FILE}. Train that one with SI, too (python train.py hparams/dutch_pretrain.yaml --preset "
                "si), or take a method that estimates its importance afterwards (--preset ewc, mas)"
            )

    def begin(self, learner, old_set):
        self.trained = {n: p for n, p in learner.modules.named_parameters() if p.requires_grad}
        self.first = {n: p.detach().float().clone() for n, p in self.trained.items()}
        self.path_integral = {n: torch.zeros_like(v) for n, v in self.first.items()}
        self.omegas = carried.load(self.before, self.trained) if self.before else {}
        if self.omegas and self.lambda_:
            super().begin(learner, old_set)

    def importance(self, learner, old_set, parameters):
        return {name: self.omegas[name].clone() for name in parameters}

    @torch.no_grad()
    def add_gradient(self):
        self.at = {
            n: (p.grad.float().clone(), p.detach().float().clone())
            for n, p in self.trained.items()
            if p.grad is not None
        }
        super().add_gradient()

    @torch.no_grad()
    def after_update(self):
        for name, (g, was) in self.at.items():
            self.path_integral[name].addcmul_(g, was - self.trained[name])
        self.at = {}

    def finish(self, learner):
        for name, omega in self.path_integral.items():
            way = self.trained[name].detach().float() - self.first[name]
            own = omega.clamp(min=0) / (way.square() + self.xi)
            self.omegas[name] = own + self.omegas[name] if name in self.omegas else own

    def carry(self, folder):
        fisher.save(folder / FILE, self.omegas, {"statistic": "path integral", "xi": self.xi})

    def state_dict(self):
        return {"path_integral": self.path_integral}

    def load_state_dict(self, state):
        for name, omega in state["path_integral"].items():
            self.path_integral[name].copy_(omega)

    def describe(self):
        return (
            "Synaptic intelligence @[zenke2017continual] adds lambda / 2 times the sum over parameters of their "
            f"importance times the squared distance to the old weights, with lambda = {self.lambda_:g}; the importance "
            "is the fall of the loss along each parameter's path while the languages before were learned, divided by "
            f"the squared length of that path plus {self.xi:g}."
        )
