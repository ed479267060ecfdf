"""Gradients of single examples from one forward and backward pass over a batch.

Autograd gives d (sum_b f_b) / d theta, already summed over the batch. What a layer adds to an example's own gradient
follows from its input and the gradient at its output (Goodfellow 2015; "grad sample" in Opacus); a layer without a
formula here is computed once more for each example, alone. Nothing is taken on trust: on the first batch the gradients
of two examples are compared with autograd's own, and a parameter that cannot be covered is an error that names it.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import torch
from torch.nn import functional
from torch.utils import _pytree as pytree

# Shapes: B batch, b examples of it, T positions, C channels, V rows of an embedding

# ---- formulas: inputs x (b, ...), gradients g (b, ...) at the output -> {parameter: (b, *its shape)} ----


def _linear(module, x, g, wanted):
    x, g = x.reshape(len(x), -1, x.shape[-1]), g.reshape(len(g), -1, g.shape[-1])  # (b, T, C)
    found = {"weight": torch.einsum("bto,bti->boi", g, x)} if "weight" in wanted else {}
    return found | {"bias": g.sum(1)}


def _layer_norm(module, x, g, wanted):
    shape = module.normalized_shape
    normed = functional.layer_norm(x, shape, eps=module.eps)
    return {"weight": (g * normed).reshape(len(x), -1, *shape).sum(1), "bias": g.reshape(len(x), -1, *shape).sum(1)}


def _group_norm(module, x, g, wanted):
    normed = functional.group_norm(x, module.num_groups, eps=module.eps)
    return {"weight": (g * normed).reshape(*x.shape[:2], -1).sum(2), "bias": g.reshape(*x.shape[:2], -1).sum(2)}


def _conv1d(module, x, g, wanted):
    found = {"bias": g.sum(2)}
    b, outputs, kernel = len(x), module.out_channels, module.kernel_size[0]
    if "weight" not in wanted:
        return found
    if (kernel, module.stride[0], module.padding[0], module.groups) == (1, 1, 0, 1):
        return found | {"weight": torch.einsum("bot,bct->boc", g, x)[..., None]}
    weight = torch.nn.grad.conv1d_weight(  # examples side by side, as groups of one convolution
        x.reshape(1, b * x.shape[1], -1), (b * outputs, x.shape[1] // module.groups, kernel),
        g.reshape(1, b * outputs, -1), module.stride, module.padding, module.dilation, b * module.groups,
    )  # fmt: skip
    return found | {"weight": weight.view(b, *module.weight.shape)}


def _embedding(module, ids, g, wanted):
    b, (rows, width) = len(ids), module.weight.shape
    places = ids.reshape(b, -1) + rows * torch.arange(b, device=ids.device)[:, None]  # (b, T) of b * V
    found = g.new_zeros(b * rows, width).index_add_(0, places.flatten(), g.reshape(-1, width)).view(b, rows, width)
    if module.padding_idx is not None:
        found[:, module.padding_idx] = 0.0
    return {"weight": found}


# by exact type: a subclass may do something else. The second says whether the formula is right for a module.
FORMULAS = {
    torch.nn.Linear: (_linear, lambda m: True),
    torch.nn.LayerNorm: (_layer_norm, lambda m: True),
    torch.nn.GroupNorm: (_group_norm, lambda m: True),
    torch.nn.Conv1d: (_conv1d, lambda m: m.padding_mode == "zeros" and not isinstance(m.padding, str)),
    torch.nn.Embedding: (_embedding, lambda m: m.max_norm is None and not m.scale_grad_by_freq and not m.sparse),
}


class NotCoveredError(Exception):
    """A module's calls do not tell examples apart."""


@dataclass
class Call:
    """One call of a module: what went in, what came out and, after the backward pass, the gradient at what came out."""

    args: tuple
    kwargs: dict
    outputs: list[torch.Tensor]  # those with a graph
    edges: list  # where their gradients arrive; a later in-place change of the output does not move it
    versions: list[int]  # of what went in, and of `outputs`
    gradients: list[torch.Tensor | None] = field(default_factory=list)

    @classmethod
    def of(cls, args, kwargs, output) -> "Call":
        outputs = [t for t in pytree.tree_leaves(output) if isinstance(t, torch.Tensor) and t.requires_grad]
        edges = [torch.autograd.graph.get_gradient_edge(before_views(t)) for t in outputs]
        return cls(args, kwargs, outputs, edges, [t._version for t in tensors((args, kwargs)) + outputs])

    def check(self, B: int) -> None:
        """Raise NotCoveredError where an input is no longer what it was, or an output is not (B, ...)."""
        inputs = tensors((self.args, self.kwargs))
        if [t._version for t in inputs] != self.versions[: len(inputs)]:
            raise NotCoveredError("its input is changed in place afterwards")
        if any(t.ndim == 0 or len(t) != B for t in self.outputs):
            raise NotCoveredError(f"its output is {[tuple(t.shape) for t in self.outputs]}, not {B} examples")

    def intact(self, i: int) -> bool:
        """Whether output `i` still holds what the module gave."""
        return self.outputs[i]._version == self.versions[i - len(self.outputs)]


def before_views(t: torch.Tensor) -> torch.Tensor:
    """What `t` is another shape of, else `t`.

    An in-place change of a view leads the gradient past the view, to what it was a view of (wav2vec2 zeroes its
    padding so, in the output of a Linear, which reshapes).
    """
    base = t._base
    if base is None or base.numel() != t.numel() or not (base.is_contiguous() and t.is_contiguous()):
        return t
    return base


def tensors(tree) -> list[torch.Tensor]:
    """The tensors in nested tuples, lists and dicts."""
    return [t for t in pytree.tree_leaves(tree) if isinstance(t, torch.Tensor)]


class Layer:
    """A module, the parameters in it that it stands for, and how their gradients are had.

    Parameters
    ----------
    module : torch.nn.Module
    names : dict of str
        {name of a parameter: its name within the module}
    """

    def __init__(self, module, names: dict[str, str]):
        self.module, self.names = module, names
        formula, right = FORMULAS.get(type(module), (None, None))
        direct = set(names.values()) <= {n for n, _ in module.named_parameters(recurse=False)}
        self.formula = formula if formula is not None and direct and right(module) else None

    def gradients(self, call: Call, B: int, part: slice) -> dict[str, torch.Tensor]:
        """{name: (b, *shape)} of the examples in `part`, from one call."""
        call.check(B)
        if all(g is None for g in call.gradients):
            return {}
        if self.formula is None:
            return self._again(call, B, range(*part.indices(B)))
        [x, *_] = tensors((call.args, call.kwargs))
        if x.ndim == 0 or len(x) != B:
            raise NotCoveredError(f"its input is {tuple(x.shape)}, not {B} examples")
        found = self.formula(self.module, x.detach()[part], call.gradients[0][part], set(self.names.values()))
        return {name: found[local] for name, local in self.names.items()}

    def _again(self, call: Call, B: int, examples) -> dict[str, torch.Tensor]:
        """The module computed again for one example after the other."""
        own = dict(self.module.named_parameters(remove_duplicate=False))
        own = {name: own[local] for name, local in self.names.items()}
        rows = []
        for i in examples:

            def alone(t, i=i):  # what has no batch (positions) is the same for all examples
                if not isinstance(t, torch.Tensor):
                    return t
                own = t.detach()[i : i + 1] if t.ndim and len(t) == B else t.detach()
                return own.requires_grad_(t.requires_grad)  # so that the same outputs have a graph

            with torch.enable_grad():
                output = self.module(*pytree.tree_map(alone, call.args), **pytree.tree_map(alone, call.kwargs))
            outputs = [t for t in tensors(output) if t.requires_grad]
            for k, (t, whole) in enumerate(zip(outputs, call.outputs, strict=True)):
                if t.shape != whole[i : i + 1].shape or (
                    call.intact(k) and not torch.allclose(t, whole[i : i + 1], rtol=1e-3, atol=1e-4)
                ):
                    raise NotCoveredError("an example alone gives another output than in the batch")
            pairs = [(t, g[i : i + 1]) for t, g in zip(outputs, call.gradients, strict=True) if g is not None]
            outputs, gradients = zip(*pairs, strict=True)
            rows.append(
                torch.autograd.grad(outputs, list(own.values()), gradients, allow_unused=True, materialize_grads=True)
            )
        return {name: torch.stack(gs) for name, gs in zip(own, zip(*rows, strict=True), strict=True)}


class PerExampleGradients:
    """Gradients of each example's value with respect to parameters, in one backward pass over the batch.

    Covered by a formula: Linear, Conv1d (groups and depthwise, too), LayerNorm, GroupNorm, Embedding. Computed again
    for each example: other modules, or the modules around them (two levels up at most), as long as inputs and outputs
    are (B, ...). A parameter that is used in several places gets the sum.

    What this cannot know is whether an example's value in a padded batch is its value alone (it is not where a norm
    is taken over time, padding included): see carryover.forgetting.ewc, which compares them.

    Parameters
    ----------
    modules : torch.nn.Module
        Holds the parameters. In evaluation mode: dropout would differ, batch norm would mix examples.
    parameters : dict of torch.Tensor
        Some of its parameters, by any name.
    chunk_bytes : int
        As many examples at a time as keep a layer's gradients within this, one at least. Inputs of layers and the
        gradients at their outputs are kept for the whole batch.
    """

    LEVELS = 3  # the module that owns a parameter, and two around it

    def __init__(self, modules: torch.nn.Module, parameters: dict[str, torch.Tensor], chunk_bytes: int = 2**26):
        self.parameters, self.chunk_bytes = parameters, chunk_bytes
        self.modules = dict(modules.named_modules())
        owners: dict[int, list[tuple[str, str]]] = {}
        for path, module in self.modules.items():
            for local, p in module.named_parameters(recurse=False, remove_duplicate=False):
                owners.setdefault(id(p), []).append((path, local))
        homeless = [name for name, p in parameters.items() if id(p) not in owners]
        if homeless:
            raise ValueError(f"{', '.join(homeless[:3])}: no parameter of these modules ({len(homeless)} in all)")
        self.owners = {name: owners[id(p)] for name, p in parameters.items()}
        self.plan: list[list[Layer]] | None = None  # layers of each group; groups have no parameter in common
        self.unused: list[str] = []
        self._calls: dict[torch.nn.Module, list[Call]] = {}

    def __call__(
        self, function: Callable[[object], torch.Tensor], batch
    ) -> tuple[torch.Tensor, Iterator[tuple[str, torch.Tensor]]]:
        """Values of a batch, and the gradient of each with respect to each parameter.

        Parameters
        ----------
        function : callable
            Takes the batch, gives values (B,), each of which depends on its own example only.
        batch
            What `function` takes.

        Returns
        -------
        values : torch.Tensor
            (B,)
        gradients : iterator of (str, torch.Tensor)
            A parameter's name and (b, *shape): for each parameter in chunks of examples, in order, B in all. A
            parameter without a part in `values` does not come.

        Raises
        ------
        ValueError
            When a parameter cannot be covered: its name, and why. At the first batch of more than one example; later
            only where a batch is of another kind than the first.
        """
        modules = self._candidates() if self.plan is None else {m.module for group in self.plan for m in group}
        self._calls = {module: [] for module in modules}
        hooks = [module.register_forward_hook(self._record, with_kwargs=True) for module in modules]
        try:
            values = function(batch)
        finally:
            for hook in hooks:
                hook.remove()
        if values.ndim != 1:
            raise ValueError(f"values are {tuple(values.shape)}; one for each example, (B,), is needed")
        return values, self._gradients(values)

    def _record(self, module, args, kwargs, output):
        self._calls[module].append(Call.of(args, kwargs, output))

    def _gradients(self, values):
        B = len(values)
        if B == 1:  # nothing is summed up
            gradients = torch.autograd.grad(values[0], list(self.parameters.values()), allow_unused=True)
            self._calls = {}
            yield from ((n, g[None]) for n, g in zip(self.parameters, gradients, strict=True) if g is not None)
            return
        if self.plan is None:
            self._make_plan(values)
        self._backward(values, self.plan, self.unused)
        for group in self.plan:
            try:
                numel = sum(self.parameters[name].numel() for name in group[0].names)
                size = max(1, self.chunk_bytes // (4 * numel))
                for start in range(0, B, size):
                    yield from self._of_group(group, B, slice(start, start + size)).items()
            except NotCoveredError as error:
                names = ", ".join(group[0].names)
                raise ValueError(f"{names}: no gradient of single examples in this batch ({error})") from None
        self._calls = {}

    def _backward(self, values, plan, unused=(), retain_graph=False) -> None:
        """One backward pass over the batch, to the outputs of the layers and not into their weights."""
        calls = [c for module in {m.module for group in plan for m in group} for c in self._calls[module]]
        edges = [edge for c in calls for edge in c.edges]
        inputs = edges + [self.parameters[name] for name in unused]
        gradients = torch.autograd.grad(values.sum(), inputs, allow_unused=True, retain_graph=retain_graph)
        for name, g in zip(unused, gradients[len(edges) :], strict=True):
            if g is not None:
                raise ValueError(f"{name}: had no part in the first batch and has one now; give batches of one")
        found = iter(gradients)
        for c in calls:
            c.gradients = [g if g is None else g.reshape(t.shape) for t, g in zip(c.outputs, found, strict=False)]

    def _of_group(self, group: list[Layer], B: int, part: slice) -> dict[str, torch.Tensor]:
        """{name: (b, *shape)} of parameters that share their layers, for the examples in `part`."""
        total = {}
        for layer in group:
            for call in self._calls[layer.module]:
                for name, g in layer.gradients(call, B, part).items():
                    total[name] = total[name] + g if name in total else g
        return total

    # ---- the plan: which layers stand for which parameters ----

    def _around(self, path: str, level: int) -> str | None:
        """Path of the module `level` levels around a module."""
        parts = path.split(".") if path else []
        return ".".join(parts[: len(parts) - level]) if level <= len(parts) else None

    def _candidates(self) -> set:
        paths = {self._around(path, n) for own in self.owners.values() for path, _ in own for n in range(self.LEVELS)}
        return {self.modules[path] for path in paths if path is not None}

    def _make_plan(self, values) -> None:
        """Choose the innermost layers whose gradients of the first and the last example are autograd's."""
        parameters = list(self.parameters.values())
        reference = {name: {} for name in self.parameters}
        for i in (0, len(values) - 1):
            found = torch.autograd.grad(values[i], parameters, retain_graph=True, allow_unused=True)
            for name, g in zip(self.parameters, found, strict=True):
                reference[name][i] = g
        self.unused = [name for name, gs in reference.items() if all(g is None for g in gs.values())]
        pending = {name: "it is used outside of its module" for name in self.parameters if name not in self.unused}
        # below this a gradient is rounding (attention's key biases have a true gradient of zero)
        largest = (g.abs().max().item() for gs in reference.values() for g in gs.values() if g is not None)
        noise = 1e-6 * max(largest, default=0.0)
        plan = []
        for level in range(self.LEVELS):
            groups = self._groups(pending, level)
            if not groups:
                continue
            self._backward(values, groups, retain_graph=True)
            for group in groups:
                try:
                    wrong = self._wrong(group, len(values), reference, noise)
                except NotCoveredError as error:
                    wrong = {name: str(error) for name in group[0].names}
                right = [name for name in group[0].names if name not in wrong]
                if right:
                    plan.append([Layer(m.module, {name: m.names[name] for name in right}) for m in group])
                pending = {name: why for name, why in pending.items() if name not in right} | wrong
        if pending:
            name, why = next(iter(pending.items()))
            raise ValueError(
                f"{', '.join(list(pending)[:3])} ({len(pending)} in all): no gradient of single examples from a batch "
                f"({name}: {why}); give batches of one"
            )
        self.plan = plan

    def _groups(self, pending, level: int) -> list[list[Layer]]:
        """Parameters by the modules that would stand for them, `level` levels around their owners."""
        by_modules: dict[tuple, dict[str, list[str]]] = {}
        for name in pending:
            around = {}
            for path, local in self.owners[name]:
                outer = self._around(path, level)
                if outer is not None and self._calls[self.modules[outer]]:
                    # within one module a parameter has one gradient, however often it is used there
                    around.setdefault(outer, f"{path}.{local}"[len(outer) + 1 if outer else 0 :].lstrip("."))
            if around:
                by_modules.setdefault(tuple(around), {})[name] = list(around.values())
        return [
            [Layer(self.modules[path], {name: own[i] for name, own in names.items()}) for i, path in enumerate(paths)]
            for paths, names in by_modules.items()
        ]

    def _wrong(self, group, B: int, reference, noise: float) -> dict[str, str]:
        """Parameters whose gradients are not autograd's, and why."""
        wrong = {}
        for i in (0, B - 1):
            found = self._of_group(group, B, slice(i, i + 1))
            for name in group[0].names:
                wanted = reference[name][i]
                wanted = torch.zeros_like(self.parameters[name]) if wanted is None else wanted
                difference = (found[name][0] - wanted).abs().max().item() if name in found else float("inf")
                if not difference <= 1e-4 * wanted.abs().max().item() + noise:
                    wrong[name] = f"example {i} differs by {difference:.2g} from its own backward pass"
        return wrong
