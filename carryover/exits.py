"""How a command ends: what is known to go wrong is told in one line with its status; a bug keeps its traceback.

`CARRYOVER_DEBUG=1` (or `carryover --debug ...`) shows the traceback in any case.
"""

import errno
import os
import pydoc
import subprocess
import sys
from collections.abc import Callable

import yaml
from ruamel.yaml.error import YAMLError

from carryover.training.stopping import Stopped

INPUT, FAILED, STOPPED = 2, 1, 130  # statuses: asked for what cannot be; the machine could not; Ctrl-C (128 + signal)
DEBUG = "CARRYOVER_DEBUG"
FULL = {errno.ENOSPC: "the disk is full", errno.EDQUOT: "the disk quota is used up", errno.EIO: "the disk has failed",
        errno.EFBIG: "a file would grow larger than the system or its quota permits"}  # fmt: skip
DENIED = (errno.EACCES, errno.EPERM, errno.EROFS)
AGAIN = "then give the same command again: it goes on from the last checkpoint"
MEMORY = ("can't allocate memory", "not enough memory", "Cannot allocate memory", "std::bad_alloc")  # of a CPU
DEVICE = ("Invalid device string", "Found no NVIDIA driver", "not compiled with CUDA", "Expected one of cpu, cuda",
          "invalid device ordinal", "No CUDA GPUs are available", "No HIP GPUs")  # fmt: skip


def run(main: Callable[[], int | None]) -> int:
    """Do what a command does; -> its exit status."""
    try:
        return main() or 0
    except Stopped as stop:
        print(stop, file=sys.stderr)
        return stop.status
    except KeyboardInterrupt:
        print("stopped; the same command continues from the last checkpoint", file=sys.stderr)
        return STOPPED
    except Exception as error:
        told = words(error)
        if told is None or os.environ.get(DEBUG, "0") not in ("", "0"):
            raise
        status, said = told
        print(f"error: {said}", file=sys.stderr)
        return status


def words(error: BaseException) -> tuple[int, str] | None:
    """Status and one line for an error that people, their files or their machine can cause; None for any other."""
    said = _line(error)
    if isinstance(error, subprocess.CalledProcessError):
        return FAILED, f"the run that is needed first ended with status {error.returncode}; its message stands above"
    memory = isinstance(error, RuntimeError) and any(part in said for part in MEMORY)
    if memory or isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return FAILED, (
            f"out of memory ({said or 'of the machine'}); halve batch_size and double grad_accumulation_factor, which "
            f"learns the same, or lower eval_batch_size; {AGAIN} (with another batch_size into another output_folder)"
        )
    if isinstance(error, RuntimeError) and (type(error).__name__.startswith("Dist") or "gloo" in str(error)):
        return FAILED, f"another process of this run has ended ({said}); its message stands elsewhere, {AGAIN}"
    if isinstance(error, RuntimeError) and "DataLoader worker" in str(error):
        return FAILED, (
            f"a process that reads clips has ended ({said}); the system may have killed it for want of memory: make "
            f"room, {AGAIN}; if it comes again, train with a lower num_workers into another output_folder"
        )
    if isinstance(error, FloatingPointError):
        return FAILED, f"{said}; the same command goes on from the last checkpoint"
    if isinstance(error, RuntimeError) and any(part in str(error) for part in DEVICE):
        return INPUT, f"--device: {said}; give --device cpu, or one that this machine has"
    if isinstance(error, RuntimeError) and "FlashAttention only support" in str(error):
        return INPUT, (
            "attention: flash_attention_2 computes in bf16 and fp16 alone, and something here is computed in float32 "
            "(eval_precision, keep_states, importances and other old knowledge); give attention: sdpa"
        )
    if isinstance(error, (YAMLError, yaml.YAMLError)):
        return INPUT, f"no YAML: {said}; correct that line"
    if isinstance(error, pydoc.ErrorDuringImport):
        return INPUT, f"{said}; correct that module, or the name in the YAML"
    if isinstance(error, UnicodeDecodeError):
        return INPUT, f"a file is not UTF-8: {said}; save it as UTF-8"
    if isinstance(error, OSError) and error.errno is not None:
        return _of_the_system(error)
    if isinstance(error, (ValueError, ImportError, OSError)):
        return INPUT, said
    return None


def _of_the_system(error: OSError) -> tuple[int, str]:
    where = f"{error.filename}: " if error.filename else ""
    what = error.strerror or str(error)
    if error.errno in FULL:
        return FAILED, f"{where}{FULL[error.errno]} ({what}); make room, {AGAIN}"
    if error.errno in DENIED:
        return INPUT, f"{where}{what}; give a folder that may be written to, e.g. --output_root or --out"
    if isinstance(error, (FileNotFoundError, FileExistsError, IsADirectoryError, NotADirectoryError)):
        return INPUT, f"{where}{what}; correct the path"
    return FAILED, f"{where}{what}"


def _line(error: BaseException) -> str:
    """An error's message as one line; of one from a worker process, its last line."""
    said = str(error)
    if "Original Traceback" in said:
        said = said.strip().splitlines()[-1].partition(": ")[2]
    return " ".join(said.split()) or type(error).__name__
