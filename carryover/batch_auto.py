"""`--batch auto`: the largest micro-batch that fits into the GPU's memory, found by trial before the first update.

The YAML's effective batch, batch_size x grad_accumulation_factor, is drawn as one batch and cut into halves until they
fit, so that an update learns from the same clips whatever the GPU. What was found stands in run.json and in every
checkpoint: a resume goes on with it. Where memory runs out all the same, micro_batches.py halves on.
"""

import difflib
import gc
import math
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch
from speechbrain.utils.distributed import infer_device

from carryover import processes
from carryover.checks.memory import optimizer_share
from carryover.config import command_words
from carryover.config.settings import SettingsError
from carryover.forgetting.old_clips import OldClips
from carryover.runs import run_folder
from carryover.training import checkpoint, micro_batches
from carryover.training.kept_states import changed_inputs

SHARE = 0.9  # of the memory that the run can have; the rest is for what lies between the pieces of it that are used
PROBES, PROBE_SECONDS = 12, 20  # of one batch, until one has been slowed down most; and when that is enough
USAGE = "--batch auto, or give batch_size and grad_accumulation_factor"


def take(argv: list[str]) -> tuple[bool, list[str]]:
    """Take `--batch auto` or `--batch=auto` out of a command line.

    Returns
    -------
    (auto, rest)
        Whether it is there; the other arguments.

    Raises
    ------
    SettingsError
        For another word than auto, and beside a profile, which sets the micro-batch, too.
    """
    values, rest = command_words.take("--batch", argv)
    for value in values:
        if value != "auto":
            near = "; did you mean auto?" if difflib.get_close_matches(value.lower(), ["auto"], 1, 0.5) else ""
            raise SettingsError(f"--batch '{value}'{near} Expected {USAGE}")
    if values and command_words.take("--profile", rest)[0]:
        raise SettingsError("--batch auto and --profile both set the micro-batch; leave out one of the two")
    return bool(values), rest


def overrides(auto: bool, values: Mapping) -> dict[str, str]:
    """Overrides that draw the effective batch of these values as one; {} where `auto` is not given."""
    factors = [values.get(key) for key in ("batch_size", "grad_accumulation_factor")]
    if not auto or not all(isinstance(n, int) for n in factors):  # what is no number is refused with all other values
        return {}
    return {"batch_size": str(math.prod(factors)), "grad_accumulation_factor": "1"}


def require_possible(device: str | None, methods: Sequence) -> None:
    """Raise ValueError where there is no GPU (`device`: what the command line says), or old clips are not cut.

    Methods that draw a batch of old clips beside each batch draw it whole.
    """
    device = device or infer_device()
    if not device.startswith("cuda"):
        raise ValueError(
            f"--batch auto: it looks for the limit of a GPU's memory, and this run is on {device}; leave it out, and "
            "the YAML's batch_size is taken"
        )
    if old := [type(method).__name__ for method in methods if isinstance(method, OldClips)]:
        raise ValueError(
            f"--batch auto: {old[0]} draws batch_size old clips at once, which are not cut to fit; give batch_size and "
            "grad_accumulation_factor instead"
        )


class Memory:
    """A GPU's, as this process can have it; in bytes.

    Parameters
    ----------
    device : torch.device
    """

    def __init__(self, device: torch.device):
        self.device = device
        self.clear()
        free, _ = torch.cuda.mem_get_info(device)
        self.limit = free + torch.cuda.memory_reserved(device)

    def clear(self) -> None:
        """Give back what nothing holds, and begin to look for a new peak."""
        gc.collect()
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(self.device)

    def peak(self) -> int:
        """The most that was held since `clear`."""
        return torch.cuda.max_memory_allocated(self.device)


def find(brain, folder: Path, train_set) -> None:
    """Set how often batches are halved, where the run has no checkpoint that says it; the Brain's hook `ready`.

    Parameters
    ----------
    brain : carryover.training.brain.RecipeBrain
        All that the training holds in memory is there, but for gradients and the optimizer's state.
    folder : Path
        The run's.
    train_set : DynamicItemDataset
    """
    if brain.checkpointer.last() is not None:
        return
    found = processes.first_does(run_folder.read_info, folder).get("micro_batch")  # all measure, or none
    if found is None:
        found, said = measure(brain, train_set, Memory(brain.device))
        found["halvings"] = processes.largest(found["halvings"])
        run_folder.write_info(folder, {"micro_batch": found})
        print(said)
    brain.progress.halvings = found["halvings"]


def measure(brain, train_set, memory: Memory) -> tuple[dict, str]:
    """The largest micro-batch of the longest clips that takes at most `SHARE` of the memory.

    Returns
    -------
    (found, said)
        clips, halvings, peak_memory_bytes (with gradients and the optimizer's state), limit_bytes; a line for people.
    """
    lengths = [row["duration"] for row in train_set.data.values()]
    longest = sorted(range(len(lengths)), key=lambda i: -lengths[i])[: brain.hparams.batch_size]
    whole = brain.hparams.collate([train_set[i] for i in longest])
    gradients = sum(p.nbytes for p in brain.modules.parameters() if p.requires_grad)
    state = round(gradients * optimizer_share(brain.opt_class, brain.device))
    found, why = None, ""
    random_state = checkpoint.random_state()
    brain.train_mode()
    most = (len(whole) - 1).bit_length()  # halvings to micro-batches of one clip
    for halvings in range(most, -1, -1):
        batch = micro_batches.parts(whole, halvings)[0]  # the longest of them
        peak = _peak(brain, batch, memory)
        checkpoint.set_random_state(random_state)
        if peak is None or peak + state > SHARE * memory.limit:
            why = f"; {len(batch)} " + ("ran out of memory" if peak is None else f"took {_said(peak + state)}")
            break
        found = {"clips": len(batch), "halvings": halvings, "peak_memory_bytes": peak + state}
    found = found or {"clips": 1, "halvings": most, "peak_memory_bytes": None}
    took = "" if found["peak_memory_bytes"] is None else f", which took {_said(found['peak_memory_bytes'])}"
    return found | {"limit_bytes": memory.limit}, (
        f"--batch auto: micro-batches of {found['clips']} of the effective batch of {len(whole)}; tried on the longest "
        f"clips{took} of {_said(memory.limit)}, of which {SHARE:.0%} are taken{why}"
    )


def _peak(brain, batch, memory: Memory) -> int | None:
    """Bytes at the peak of a micro-batch beside gradients that are there; None where memory runs out."""
    memory.clear()
    try:
        fit_often(brain, lambda: batch, PROBES if changed_inputs(brain.hparams) else 2, accumulated=True)
        peak = memory.peak()
    except RuntimeError as error:
        if not micro_batches.is_out_of_memory(error):
            raise
        peak = None
    brain.optimisation.zero_grad()  # outside `except`, whose traceback holds the activations
    memory.clear()
    return peak


def fit_often(brain, make: Callable, times: int = PROBES, accumulated: bool = False) -> None:
    """Make the gradient of a batch again and again: augmentation that slows speech down makes it longer by chance.

    Parameters
    ----------
    brain : carryover.training.brain.RecipeBrain
    make : callable
        () -> the batch.
    times : int
        At most; after two, no more are begun once `PROBE_SECONDS` are over.
    accumulated : bool
        Whether the gradients of those before stay, as those of earlier micro-batches do.
    """
    begun = time.perf_counter()
    for i in range(times):
        brain.fit_batch(make().to(brain.device))
        if not accumulated:
            brain.optimisation.zero_grad()
        if i and time.perf_counter() - begun > PROBE_SECONDS:
            return


def _said(number: float) -> str:
    return f"{number / 2**30:.2f} GiB"
