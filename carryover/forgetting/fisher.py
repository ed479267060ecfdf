"""What a model's parameters mean for what it knows: Fisher information (EWC) and output sensitivity (MAS).

Both are means over utterances of a function of one utterance's gradient. The square of a batch's mean gradient is
something else (at an optimum it shrinks with the batch: 0.249, 0.122, 0.060, 0.030 of the per-utterance value for
batches of 4, 8, 16, 32), so utterances are taken one at a time.
"""

import json
import math
from collections.abc import Callable, Iterable
from contextlib import contextmanager
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from tqdm import tqdm

from carryover import files

Tensors = dict[str, torch.Tensor]


@contextmanager
def no_tf32():
    """Products of float32 in float32: on a GPU SpeechBrain's import allows TF32, with 10 bits of mantissa for 23."""
    backends = (torch.backends.cuda.matmul, torch.backends.cudnn)
    before = [backend.allow_tf32 for backend in backends]
    try:
        for backend in backends:
            backend.allow_tf32 = False
        yield
    finally:
        for backend, allowed in zip(backends, before, strict=True):
            backend.allow_tf32 = allowed


def fisher(
    parameters: Tensors,
    log_likelihood: Callable[[object], torch.Tensor],
    utterances: Iterable,
    total: int | None = None,
) -> Tensors:
    """Diagonal of the Fisher information: F_i = mean over utterances of (d log p(y|x) / d theta_i)^2.

    With gold labels y it is the empirical Fisher, with labels sampled from p(y|x) an unbiased estimate of the true one
    (Kunstner et al. 2019).

    Parameters
    ----------
    parameters : dict of torch.Tensor
        Tensors that require a gradient, by name.
    log_likelihood : callable
        Takes one of `utterances`; returns log p(y|x) with its graph, one element.
    utterances : iterable
        One utterance each: a batch of more is an error.
    total : int, optional
        Number of utterances, for the progress bar.

    Returns
    -------
    dict of torch.Tensor
        float32, shapes and names of `parameters`.

    Raises
    ------
    ValueError
        Where there is no utterance, or one has a log-likelihood that is not finite (an impossible target).
    """
    return _mean_over_utterances(parameters, log_likelihood, utterances, total, lambda sums, g: sums.addcmul_(g, g))


def sensitivity(
    parameters: Tensors,
    outputs: Callable[[object], torch.Tensor],
    utterances: Iterable,
    total: int | None = None,
) -> Tensors:
    """Memory aware synapses: Omega_i = mean over utterances of |d ||f(x)||^2 / d theta_i| (Aljundi et al. 2018, eq. 2).

    Parameters and errors as `fisher`; `outputs` returns f(x) of one utterance, of any shape. No label is needed, but
    where f itself is given one: a decoder's outputs are those after each token of the transcript.
    """

    def squared_norm(batch):
        return outputs(batch).float().square().sum()

    return _mean_over_utterances(parameters, squared_norm, utterances, total, lambda sums, g: sums.add_(g.abs()))


@no_tf32()
def _mean_over_utterances(parameters, function, utterances, total, add) -> Tensors:
    sums = {name: torch.zeros_like(p, dtype=torch.float32) for name, p in parameters.items()}
    n = 0
    for n, utterance in enumerate(tqdm(utterances, "Importance of parameters", total, leave=False), start=1):
        value = function(utterance)
        if value.numel() != 1:
            raise ValueError(f"{value.numel()} values from one utterance; an importance takes one at a time")
        if not math.isfinite(value.item()):
            raise ValueError(f"utterance {n} of the old language has the value {value.item()}: no gradient to learn")
        gradients = torch.autograd.grad(value.sum(), list(parameters.values()), allow_unused=True)
        for name, gradient in zip(parameters, gradients, strict=True):
            if gradient is not None:
                add(sums[name], gradient.float())
    if not n:
        raise ValueError("no utterance of the old language: there is nothing to remember")
    bad = [name for name, s in sums.items() if not torch.isfinite(s).all()]
    if bad:  # it would make every update of the training non-finite
        raise ValueError(
            f"importance of {', '.join(bad[:3])} is not finite ({len(bad)} tensors): some gradient was not"
        )
    return {name: s.div_(n) for name, s in sums.items()}


def save(path: str | Path, importance: Tensors, provenance: dict) -> None:
    """Write a safetensors file whose metadata says what it is; beside and renamed, so that it is whole or not there."""
    tensors = {name: tensor.cpu().contiguous() for name, tensor in importance.items()}
    with files.beside(path) as partial:
        save_file(tensors, partial, metadata={"provenance": json.dumps(provenance, sort_keys=True)})


def read(path: str | Path) -> tuple[Tensors, dict]:
    """(importance, provenance) of a file that `save` wrote; errors as `load`'s of a file that is none."""
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"importance: {path} is not there; give null and it is estimated")
    try:
        with safe_open(path, framework="pt") as file:
            found = json.loads((file.metadata() or {}).get("provenance", "{}"))
            return {name: file.get_tensor(name) for name in file.keys()}, found  # noqa: SIM118 (no mapping)
    except SafetensorError as error:
        raise ValueError(f"importance: {path} is no importance ({error}); delete it and it is estimated anew") from None


def load(path: str | Path, parameters: Tensors, expected: dict) -> tuple[Tensors, dict]:
    """Read what `save` wrote, for these parameters.

    Parameters
    ----------
    path : str or Path
    parameters : dict of torch.Tensor
        The names and shapes that must be there.
    expected : dict
        What its provenance must say; it may say more.

    Returns
    -------
    (importance, provenance)

    Raises
    ------
    FileNotFoundError
        When there is no such file.
    ValueError
        When it is no such file, or of another model: other names or shapes, other weights, another definition.
    """
    tensors, found = read(path)
    wrong = [
        f"{name} {tuple(tensors[name].shape) if name in tensors else 'missing'}, here {tuple(p.shape)}"
        for name, p in parameters.items()
        if name not in tensors or tensors[name].shape != p.shape
    ] + [f"{name} unknown here" for name in tensors.keys() - parameters.keys()]
    if wrong:
        raise ValueError(f"importance: {path} is of another model: {'; '.join(wrong[:3])} ({len(wrong)} in all)")
    differ = [f"{k}: {found.get(k)!r} there, {v!r} here" for k, v in expected.items() if found.get(k) != v]
    if differ:
        raise ValueError(f"importance: {path} was made otherwise: {'; '.join(differ)}. Give null to estimate it anew")
    return {name: tensors[name] for name in parameters}, found
