"""What a frozen part of a model says of an input, computed once and kept on disk for all runs and all their sets.

States are found by what was heard: a digest of the input itself, under a key of the weights, the code and the settings.
So an input that was changed, by whatever, never gets another's states.
"""

import hashlib
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import torch
import transformers
from tqdm import tqdm

from carryover.models import state_store
from carryover.models.state_store import Store
from carryover.models.weights import digest

DTYPES = {"float32": None, "float16": torch.float16}  # None: as the model gives them

# Shapes: B batch, S inputs, T states, D width


class Filled(Exception):
    """Ends a forward pass once the states of its batch are kept; see `Kept.filling`."""

    def __init__(self, bytes: int):
        super().__init__()
        self.bytes = bytes


class Kept:
    """The YAML's `kept`: whether, how and how much of what frozen parts say is kept on disk.

    Parameters
    ----------
    precision : str or None
        "float32": as the model gives it, so that nothing changes; "float16": half the disk, at a relative error of
        5e-4 of each value; None: nothing is kept, and frozen parts run in every update.
    limit : float
        Bytes that the kept states of all runs together may take on the disk.

    Attributes
    ----------
    plain : bool
        Whether inputs are now the same whenever a clip comes (the Brain says so): only then is anything kept.
    parts : list of Frozen
        The frozen parts of the run's models.
    """

    def __init__(self, precision: str | None = None, limit: float = 20e9):
        if precision is not None and precision not in DTYPES:
            raise ValueError(f"keep_states: {precision!r}; expected {', '.join(DTYPES)} or null")
        self.precision, self.limit = precision, limit
        self.plain, self.is_filling = False, False
        self.parts: list[Frozen] = []

    def __deepcopy__(self, memo):
        return self  # a copy of a model shares what is kept

    @contextmanager
    def filling(self):
        """Within it a forward pass ends, by raising `Filled`, where a frozen part has done its work."""
        self.is_filling = True
        try:
            yield
        finally:
            self.is_filling = False

    def describe(self) -> list[str]:
        """Sentences of a methods paragraph: of rounding, where something is rounded."""
        rounded = self.precision == "float16" and any(part.parts() for part in self.parts)
        return ["What its frozen part says of each clip was computed once and kept in half precision."] * rounded

    def flush(self) -> None:
        """Have the disk hold what was computed since the last time."""
        for part in self.parts:
            if part.store is not None:
                part.store.flush()


class Frozen:
    """A frozen part of a model; what it says of each input by itself is kept.

    Each is computed for the input alone, in evaluation mode and outside autocast, and rounded as what is kept: it
    depends neither on batch-mates, nor on which stage asked first, nor on whether it was kept. So a resumed run goes on
    bit by bit, and models that hear their padding (wav2vec2-base) hear none. What is trained after all is just called.

    Parameters
    ----------
    module : torch.nn.Module
        The model that the part belongs to.
    function : callable
        (inputs (B, S, ...), lengths (B,) or None) -> outputs (B, T, D), their numbers (B,).
    parts : callable
        () -> the modules that `function` runs through, where all are frozen; else [].
    settings : callable
        () -> dict: what decides the outputs besides weights and inputs (heads, activations, layers, ...).
    kept : Kept

    Attributes
    ----------
    store : Store or None
        Of the present weights, once something was asked for.
    computed : int
        Inputs that were run through by themselves.
    """

    def __init__(
        self,
        module: torch.nn.Module,
        function: Callable,
        parts: Callable[[], Sequence[torch.nn.Module]],
        settings: Callable[[], dict],
        kept: Kept,
    ):
        self.module, self.function, self.parts, self.settings, self.kept = module, function, parts, settings, kept
        self.computed, self.store, self._weights, self._overflowed = 0, None, None, False
        kept.parts.append(self)

    @classmethod
    def of(cls, module: torch.nn.Module, function: Callable | None = None, kept: Kept | None = None) -> "Frozen":
        """Of a whole module, which says in `settings()` what its weights do not; `function`: itself, or its method."""

        def parts():
            return [] if any(p.requires_grad for p in module.parameters()) else [module]

        return cls(module, function or module, parts, lambda: module.settings(), kept or Kept())

    @property
    def used(self) -> bool:
        """Whether inputs are looked up now: the part is frozen, and the inputs are always the same."""
        return self.kept.precision is not None and self.kept.plain and bool(self.parts())

    def __call__(self, inputs: torch.Tensor, lengths: torch.Tensor | None = None) -> tuple[torch.Tensor, torch.Tensor]:
        """-> outputs (B, T, D), padded with whatever, and their numbers (B,).

        Parameters
        ----------
        inputs : torch.Tensor
            (B, S, ...)
        lengths : torch.Tensor, optional
            (B,) how many of the S are no padding; None: all.
        """
        parts = self.parts()
        if not parts:
            return self.function(inputs, lengths)
        if not self.used:
            return self._compute(parts, inputs, lengths)
        self._find_store(parts, inputs.device)
        whole = [len(one) for one in inputs] if lengths is None else lengths.tolist()
        rows = [self._of(parts, one[:n]) for one, n in zip(inputs, whole, strict=True)]
        if self.kept.is_filling:
            raise Filled(sum(row.nbytes for row, _ in rows))
        numbers = torch.tensor([len(row) for row, _ in rows], device=inputs.device)
        rows = [row.to(inputs.device).to(dtype) for row, dtype in rows]
        return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True), numbers

    @torch.no_grad()
    def _compute(self, parts, inputs: torch.Tensor, lengths: torch.Tensor | None) -> tuple[torch.Tensor, torch.Tensor]:
        for part in parts:
            part.eval()
        with torch.autocast(inputs.device.type, enabled=False):
            return self.function(inputs, lengths)

    def _of(self, parts, one: torch.Tensor) -> tuple[torch.Tensor, torch.dtype]:
        """(T, D) of one input (S, ...) as it is kept, and the type in which the model gives it."""
        dtype = next((p.dtype for part in parts for p in part.parameters()), torch.float32)
        name = digest_of(one)
        if (kept := self.store.get(name)) is not None:
            return kept, dtype
        outputs, numbers = self._compute(parts, one[None], torch.tensor([len(one)], device=one.device))
        self.computed += 1
        full = outputs[0, : int(numbers[0])].detach().cpu()
        wanted = DTYPES[self.kept.precision]
        if wanted is None or full.dtype.itemsize <= wanted.itemsize:
            row = full
        else:
            row = full.to(wanted)
            if full.isfinite().all() and not row.isfinite().all():
                if not self._overflowed:
                    self._overflowed = True
                    tqdm.write("keep_states: float16 cannot hold some of this model's states; those stay in float32")
                row = full
        self.store.put(name, row)
        return row, dtype

    def _find_store(self, parts, device: torch.device) -> None:
        """Open the store of the present weights; they are read again where something has touched them."""
        weights = tuple((p.data_ptr(), p._version) for part in parts for p in tensors(part))
        if weights == self._weights:
            return
        if self.store is not None:
            self.store.flush()
        self._weights = weights
        named = ((f"{i}.{name}", t) for i, part in enumerate(parts) for name, t in part.state_dict().items())
        settings = self.settings()
        about = {
            "kind": settings.get("model_type") or type(self.module).__name__, "weights": digest(named),
            "precision": self.kept.precision, "settings": settings, "parts": len(parts), "code": code(),
            "torch": torch.__version__, "transformers": transformers.__version__, "device": described(device),
        }  # fmt: skip
        self.store = Store(state_store.root(), about, self.kept.limit)


def tensors(part: torch.nn.Module) -> list[torch.Tensor]:
    """Parameters and buffers of a part."""
    return [*part.parameters(), *part.buffers()]


def digest_of(one: torch.Tensor) -> str:
    """Digest of an input: type, shape and every bit."""
    found = hashlib.blake2b(f"{one.dtype} {tuple(one.shape)} ".encode(), digest_size=16)
    found.update(one.detach().cpu().contiguous().view(torch.uint8).numpy())
    return found.hexdigest()


def described(device: torch.device) -> str:
    """The device as far as it decides the last digits."""
    if device.type != "cuda":
        return device.type
    return f"{torch.cuda.get_device_name(device)}{' tf32' * torch.backends.cuda.matmul.allow_tf32}"


@cache
def code() -> str:
    """Digest of the code of all models."""
    sources = sorted(Path(__file__).parent.glob("*.py"))
    return hashlib.blake2b(b"".join(path.read_bytes() for path in sources), digest_size=12).hexdigest()


def settings_of(config) -> dict[str, str]:
    """What a config of transformers says that can decide states: heads, activations, ..., as text."""
    left_out = ("drop", "mask", "vocab", "token", "name", "version", "dtype", "architectures", "spec_augment")
    values = config.to_dict() | {"attention": config._attn_implementation}
    return {key: str(values[key]) for key in sorted(values) if not any(word in key for word in left_out)}
