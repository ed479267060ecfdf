"""What a full disk, a dead reader and a diverged loss are told as: one line and a status, whatever library met them."""

import errno
import os

import pytest
import torch
from safetensors import SafetensorError

from carryover import exits, files
from carryover.runs.metrics import MetricsLog
from carryover.runs.trackers import NoTracker
from carryover.training import checkpoint
from carryover.training.checkpoint import Checkpointer

FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def of_safetensors(number):
    """What safetensors raised on a file system of that state, word by word."""
    return SafetensorError(f"Error while serializing: I/O error: {os.strerror(number)} (os error {number})")


@pytest.mark.parametrize("number, says", [(28, "the disk is full"), (30, "Read-only"), (27, "grow larger")])
def test_what_safetensors_says_is_told_as_the_systems_error(number, says, tmp_path):
    with pytest.raises(OSError) as error, files.beside(tmp_path / "model.safetensors"):
        raise of_safetensors(number)
    assert error.value.errno == number
    status, line = exits.words(error.value)
    assert line.startswith(f"{tmp_path / 'model.safetensors'}: ") and says in line
    assert status == (exits.INPUT if number == errno.EROFS else exits.FAILED)


class Full:
    """A file on a disk that takes 300 bytes more."""

    left = 300

    def write(self, data):
        self.left -= memoryview(data).nbytes
        if self.left < 0:
            raise FULL
        return memoryview(data).nbytes

    def flush(self): ...


def test_what_torch_says_is_told_as_the_systems_error(tmp_path):
    with pytest.raises(OSError) as error, files.system_errors(tmp_path / "optimizer.pt"):
        torch.save({"a": torch.rand(1000)}, Full())
    assert error.value.errno == errno.ENOSPC and error.value.filename == str(tmp_path / "optimizer.pt")


@pytest.mark.parametrize("error", [RuntimeError("a bug"), ValueError("wrong"), SafetensorError("header too small")])
def test_other_errors_stay_what_they_are(error, tmp_path):
    with pytest.raises(type(error), match=str(error)), files.system_errors(tmp_path):
        try:
            raise FULL  # something that was caught before
        except OSError:
            raise error  # noqa: B904


def test_a_checkpoint_without_room_leaves_nothing_and_names_itself(tmp_path, monkeypatch):
    made = Checkpointer(tmp_path / "save")
    made.add_module("model", torch.nn.Linear(2, 2))

    def full(module, path):
        raise of_safetensors(errno.ENOSPC)

    monkeypatch.setattr(checkpoint, "save_model", full)
    with pytest.raises(OSError) as error:
        made.save_checkpoint({"update": 1}, verbosity=10)
    assert "CKPT+" in exits.words(error.value)[1] and list((tmp_path / "save").iterdir()) == []


def test_an_event_that_the_disk_takes_in_part_is_taken_back(tmp_path, monkeypatch):
    log = MetricsLog(tmp_path / "metrics.jsonl", NoTracker())
    log.write("end", update=1, epoch=1, time=0.0, reason="", skipped=0)
    before, real = log.path.read_bytes(), os.write
    monkeypatch.setattr(os, "write", lambda file, data: real(file, data[:20]))
    with pytest.raises(OSError, match="metrics.jsonl") as error:
        log.write("end", update=2, epoch=1, time=0.0, reason="", skipped=0)
    assert error.value.errno == errno.ENOSPC and log.path.read_bytes() == before


@pytest.mark.parametrize(
    "error, says",
    [
        (RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed. "), "process that reads clips has ended"),
        (RuntimeError("DataLoader worker (pid(s) 7) exited unexpectedly"), "lower num_workers"),
        (FloatingPointError("4 updates were not finite; lower lr"), "4 updates were not finite; lower lr"),
    ],
)
def test_a_dead_reader_and_a_diverged_loss_are_one_line(error, says):
    status, line = exits.words(error)
    assert status == exits.FAILED and says in line and "same command" in line and "\n" not in line


def test_flash_attention_in_float32_is_one_line():
    status, line = exits.words(RuntimeError("FlashAttention only support fp16 and bf16 data type"))
    assert status == exits.INPUT and line.startswith("attention: flash_attention_2 computes in bf16 and fp16 alone")
