"""What a frozen module says of an input, computed once: states of an audio encoder, logits of a teacher."""

from collections.abc import Sequence

import torch


class Memory:
    """Tensors by name, in host memory.

    Parameters
    ----------
    limit : float
        Bytes. Once it is full no more are kept: to drop the oldest would drop, in every epoch, just the one that is
        asked for next.

    Attributes
    ----------
    bytes : int
        What they take.
    """

    def __init__(self, limit: float):
        self.limit, self.bytes = limit, 0
        self._tensors: dict[str, torch.Tensor] = {}

    def get(self, name: str) -> torch.Tensor | None:
        """What was put under a name; None where there is nothing."""
        return self._tensors.get(name)

    def put(self, name: str, tensor: torch.Tensor) -> None:
        """Keep a copy on the CPU, if there is room."""
        if self.bytes + tensor.nbytes <= self.limit:
            self._tensors[name] = tensor.detach().cpu().clone()  # a slice would keep the whole window's memory
            self.bytes += tensor.nbytes


class Frozen:
    """A frozen module's outputs for each input by itself, kept in host memory by name.

    Each is computed for the input alone, in evaluation mode and outside autocast: it depends neither on batch-mates nor
    on which stage asked first, so a resumed run goes on bit by bit, and models that hear their padding (wav2vec2-base)
    hear none. A module that is trained after all is just called.

    Kept as the module gives them. float16 would halve a teacher's logits, at an error of 0.03 to 0.3 % of the gradient
    (logits of deviation 3 and 8, student off by 1, temperature 1 to 8) that does not shrink as the student nears it.

    Parameters
    ----------
    module : torch.nn.Module
        (inputs (B, S, ...), lengths (B,)) -> outputs (B, T, D), their numbers (B,).
    keep_bytes : float
        What kept outputs may take. 0: nothing is kept.

    Attributes
    ----------
    computed : int
        Inputs that the frozen module was run for by themselves.
    """

    def __init__(self, module: torch.nn.Module, keep_bytes: float = 2e9):
        self.module, self.memory, self.computed = module, Memory(keep_bytes), 0

    @property
    def bytes(self) -> int:
        """What is kept takes."""
        return self.memory.bytes

    @property
    def frozen(self) -> bool:
        """Whether no parameter of the module is trained."""
        return not any(p.requires_grad for p in self.module.parameters())

    def __call__(
        self, inputs: torch.Tensor, lengths: torch.Tensor, names: Sequence[str] | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """-> outputs (B, T, D), padded with whatever, and their numbers (B,).

        Parameters
        ----------
        inputs, lengths : torch.Tensor
            (B, S, ...), (B,) arguments of the module.
        names : sequence of B str, optional
            Names of inputs that are always the same; None where they are augmented: they are computed as one batch.
        """
        if not self.frozen:
            return self.module(inputs, lengths)
        if names is None:
            return self._compute(inputs, lengths)
        each = zip(names, inputs, lengths.tolist(), strict=True)
        rows = [self._of(name, one[None, :n]) for name, one, n in each]
        numbers = torch.tensor([len(row) for row in rows], device=inputs.device)
        return torch.nn.utils.rnn.pad_sequence([row.to(inputs.device) for row in rows], batch_first=True), numbers

    @torch.no_grad()
    def _compute(self, inputs: torch.Tensor, lengths: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        self.module.eval()
        with torch.autocast(inputs.device.type, enabled=False):
            return self.module(inputs, lengths)

    def _of(self, name: str, one: torch.Tensor) -> torch.Tensor:
        """(T, D) of one input (1, S, ...)."""
        if (kept := self.memory.get(name)) is not None:
            return kept
        outputs, numbers = self._compute(one, torch.tensor([one.shape[1]], device=one.device))
        self.computed += 1
        outputs = outputs[0, : int(numbers[0])]
        self.memory.put(name, outputs)
        return outputs
