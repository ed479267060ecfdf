"""The weights that a run starts from, kept aside, and put back for a moment where the old model is asked."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


class OldWeights:
    """A copy of what is trained of a Brain's modules, and of their buffers.

    Parameters
    ----------
    modules : torch.nn.Module
        As they are now: the old weights are loaded.
    device : str or torch.device, optional
        Where the copy is kept; default: beside each tensor.
    """

    def __init__(self, modules: torch.nn.Module, device: str | torch.device | None = None):
        trained = {name: p for name, p in modules.named_parameters() if p.requires_grad}
        self.modules, self.tensors = modules, trained | dict(modules.named_buffers())
        self.values = {name: t.detach().to(device or t.device, copy=True) for name, t in self.tensors.items()}
        self.trained = list(trained)

    @contextmanager
    def loaded(self) -> Iterator[None]:
        """Within it the modules are the old model, in evaluation mode and without a graph; then they are as before.

        Only what a tensor points to is exchanged, so a graph that was made before holds: it is used afterwards.
        """
        new = {name: t.data for name, t in self.tensors.items()}
        with torch.no_grad(), evaluation_mode(self.modules):
            try:
                for name, t in self.tensors.items():
                    t.data = self.values[name].to(t.device)
                yield
            finally:
                for name, t in self.tensors.items():
                    t.data = new[name]


@contextmanager
def evaluation_mode(modules: torch.nn.Module) -> Iterator[None]:
    """Without dropout; afterwards each module is in the mode that it was in."""
    training = [module for module in modules.modules() if module.training]
    modules.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True
