"""The face of a method against forgetting, and whether several of them can be used together.

A YAML's `forgetting` is a list of methods. Each hook below does nothing unless a method overrides it, and the training
loop calls those of all methods in the list's order. A new method is one file with one subclass.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import torch


class Method:
    """One method against forgetting.

    The `learner` that hooks get is the Brain (`carryover.training.brain.RecipeBrain`): `modules`, `device`, `update`,
    `forward`, `loss`, `units`, `log_likelihood`, `outputs`, `known`, `old_units`, `new_parameters`, `batches`, `note`.

    Attributes
    ----------
    name : str
        What its terms and events are called.
    reads : tuple of str
        Splits of the old language that are prepared for it, beside the YAML's `old_splits`.
    weights : dict
        Weight in the loss of each term that `terms` returns.
    weights_are_held : bool
        Whether it is a penalty on the weights themselves; only one such method can be used.
    bytes_per_parameter : int
        Memory that it keeps for each trained parameter, from `begin` to the end.
    carried : Path or None
        What the methods of the run whose model is carried over have left for this one (`carry`).
    exported : str or None
        Name of the variant that is exported as the run's model; None: the best weights are.
    """

    name = ""
    reads: tuple[str, ...] = ()
    weights: dict[str, float] = {}
    weights_are_held = False
    bytes_per_parameter = 0
    carried: Path | None = None
    exported: str | None = None

    def check(self, values: dict) -> None:
        """Raise ValueError, before anything costs time, where the YAML's plain values rule the method out."""

    def require(self, learner) -> None:
        """Raise ValueError, before anything is trained or tested, where the model that is carried over cannot serve."""

    def mix(self, new: list[dict], old: list[dict]) -> list[dict]:
        """Rows of the training manifests of the new and the old language -> rows to train on."""
        return new

    def begin(self, learner, old_set) -> None:
        """Called once, when the old weights are loaded, before the first update or the resume.

        `old_set` is the old language's set of the first split in `reads`, None where it reads none.
        """

    def terms(self, output, batch) -> dict[str, torch.Tensor]:
        """Terms of a micro-batch's loss with their graph, scalars, each a mean over the batch's units."""
        return {}

    def add_gradient(self) -> None:
        """Add a gradient in place, once per update, after unscaling and before clipping."""

    def after_update(self) -> None:
        """Called after each optimizer step."""

    def finish(self, learner) -> None:
        """Called once after the last update, before the best weights are loaded."""

    def carry(self, folder: Path) -> None:
        """Write into `folder` what the next run of a sequence needs, which gets it as `carried`."""

    def variants(self) -> Iterator[tuple[str, dict[str, torch.Tensor]]]:
        """Names and weights (by parameter name) to be tested at the end beside the best ones."""
        yield from ()

    def state_dict(self) -> dict:
        """What a resume needs and `begin` cannot make again: tensors and numbers; {} where there is none."""
        return {}

    def load_state_dict(self, state: dict) -> None:
        """Take what `state_dict` gave."""

    def logged(self) -> dict[str, float]:
        """Values of a train event."""
        return {}

    def describe(self) -> str:
        """One sentence of a methods paragraph, citations as @[key]."""
        raise NotImplementedError


def check(methods: Sequence, values: dict) -> None:
    """Raise ValueError where an entry is no method, or where entries contradict each other or the YAML's `values`."""
    for method in methods:
        if not isinstance(method, Method):
            raise ValueError(
                f"forgetting: {method!r} is no method; expected a list such as [!new:carryover.forgetting.EWC "
                "{lambda_: !ref <lambda>}], or [] for none"
            )
    names = [type(method).__name__ for method in methods]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"forgetting: {', '.join(twice)} is there twice; give each method once")
    exclusive = [name for name, method in zip(names, methods, strict=True) if method.weights_are_held]
    if len(exclusive) > 1:
        raise ValueError(f"forgetting: {' and '.join(exclusive)} both hold the weights; give one penalty")
    if len(exports := [name for name, method in zip(names, methods, strict=True) if method.exported]) > 1:
        raise ValueError(f"forgetting: {' and '.join(exports)} both say what is exported; leave it to one of them")
    for method in methods:
        method.check(values)


def names(methods: Sequence) -> str:
    """Methods by their classes' names, for a sentence."""
    return ", ".join(type(method).__name__ for method in methods) or "none"


def require_old_weights(name: str, values: dict) -> None:
    """Raise ValueError where the YAML's values say that the weights the method would keep are random."""
    if values.get("from_scratch"):
        found, way_out = "from_scratch: True", "from_scratch: False"
    elif "start_from" in values and values["start_from"] is None:
        found, way_out = "start_from: null", "start_from: the model/ folder of a finished run"
    elif "model" in values and values["model"] is None:
        found, way_out = "model: null", "model: the model/ folder of a finished run"
    else:
        return
    raise ValueError(
        f"forgetting: {name} would keep what random weights know ({found}); carry a model over ({way_out}), or take "
        "the method out"
    )


def require_old_clips(name: str, values: dict) -> None:
    """Raise ValueError where the YAML has no old language, whose training clips the method needs."""
    if not values.get("old_language"):
        raise ValueError(
            f"forgetting: {name} needs training clips of the old language (old_language: null); set old_language and "
            "old_data_folder, or take the method out"
        )
