"""Operations on files are counted whatever library makes them, and a process is killed in the middle of a write."""

import multiprocessing
import os
import platform
import shutil
import signal
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from benchmarks import killed_at

try:
    killed_at.require()
except killed_at.NotCounted as error:
    pytest.skip(str(error), allow_module_level=True)

TENSORS = {"a": torch.arange(1000.0)}


def in_a_process(do, folder, n=0):
    """Run `do(folder)` in a process that is killed at its n-th operation; -> its exit status, what it has done."""

    def run():
        killed_at.kill_at(n, str(folder), str(folder) + ".trace")
        do(folder)

    process = multiprocessing.get_context("fork").Process(target=run)
    process.start()
    process.join(60)
    trace = Path(str(folder) + ".trace")
    found = [(o.name.removesuffix("at"), o.path, o.bytes) for o in killed_at.read(trace)]
    trace.unlink()
    return process.exitcode, found


def test_writers_of_every_kind_are_counted(tmp_path):
    def do(folder):
        save_file(TENSORS, folder / "weights.safetensors")  # Rust
        torch.save(TENSORS, str(folder / "state.pt"))  # C++
        with open(folder / "state.pt", "rb") as file, open(folder / "copy", "wb") as copy:
            shutil.copyfileobj(file, copy)
        with open(folder / "text", "w") as file:
            print("five.", file=file)
        os.replace(folder / "text", folder / "renamed")
        (folder / "old" / "er").mkdir(parents=True)
        (folder / "old" / "er" / "file").touch()
        shutil.rmtree(folder / "old")
        (folder / "nothing").unlink(missing_ok=True)
        folder.mkdir(exist_ok=True)
        descriptor = os.open(folder, os.O_RDONLY)
        os.fsync(descriptor)
        os.mkdir("by its folder", dir_fd=descriptor)
        os.truncate(folder / "copy", 3)
        shutil.copy(folder / "renamed", folder / "sent")  # sendfile
        os.symlink("renamed", folder / "link")
        (folder.parent / "elsewhere").write_text("not below the folder")

    folder = tmp_path / "run"
    folder.mkdir()
    status, found = in_a_process(do, folder)
    assert status == 0
    size = {name: (folder / name).stat().st_size for name in ("weights.safetensors", "state.pt", "renamed")}
    by_path = {path: [(name, n) for name, p, n in found if p == path] for _, path, _ in found}
    # by one or more writes, into a file with another name at first
    assert (
        sum(n for path in by_path for _, n in by_path[path] if ".tmp" in path or "weights" in path)
        == size["weights.safetensors"]
    )
    assert by_path["state.pt"][0] == ("open", 0) and sum(n for _, n in by_path["state.pt"]) == size["state.pt"]
    assert by_path["text"] == [("open", 0), ("write", 6)]
    assert by_path["renamed"] == [("rename", 0)]
    # the folder above is made first where it is missing
    assert [name for name, _ in by_path["old/er"]][-2:] == ["mkdir", "unlink"]
    assert by_path["old/er/file"] == [("open", 0), ("unlink", 0)]
    assert by_path["old"] == [("mkdir", 0), ("rmdir", 0)]
    assert by_path["."] == [("fsync", 0)]
    assert by_path["by its folder"] == [("mkdir", 0)]
    assert by_path["copy"][0] == ("open", 0) and by_path["copy"][-1] == ("truncate", 0)
    assert by_path["sent"][:2] == [("open", 0), ("sendfile", 6)]
    assert [name for name, _ in by_path["link"]] == ["symlink"]
    assert "nothing" not in by_path and not any("elsewhere" in path for path in by_path)


@pytest.mark.parametrize(
    "write",
    [
        lambda path: path.write_bytes(bytes(range(100))),
        lambda path: os.writev(os.open(path, os.O_WRONLY | os.O_CREAT), [bytes(range(30)), bytes(range(30, 100))]),
        lambda path: os.pwrite(os.open(path, os.O_WRONLY | os.O_CREAT), bytes(range(100)), 0),
        lambda path: [open(path, "ab").write(part) for part in (bytes(range(30)), bytes(range(70)))],
        lambda path: open(path, "wb", buffering=0).writelines([bytes(range(30)), bytes(range(70))]),
        lambda path: save_file(TENSORS, path),
        lambda path: shutil.copyfile(path.parent.parent / "source", path),
    ],
    ids=["write", "writev", "pwrite", "append", "second write", "safetensors", "copyfile"],
)
def test_half_of_a_write_is_done(write, tmp_path):
    (tmp_path / "source").write_bytes(bytes(range(100)))
    whole, folder = tmp_path / "whole", tmp_path / "run"
    whole.mkdir(), folder.mkdir()
    status, found = in_a_process(lambda folder: write(folder / "file"), whole)
    assert status == 0
    n, size = max((i, size) for i, (_, _, size) in enumerate(found, 1) if size)  # the last
    status, again = in_a_process(lambda folder: write(folder / "file"), folder, n)
    assert status == -signal.SIGKILL and [op[::2] for op in again] == [op[::2] for op in found[:n]]
    (left,) = folder.iterdir()
    expected = (whole / "file").read_bytes()[: size // 2 - size]
    assert left.read_bytes()[: len(expected)] == expected
    assert not any(left.read_bytes()[len(expected) :])  # safetensors gives a file its length first


def test_each_step_of_a_removal_is_one_to_be_killed_at(tmp_path):
    for n in range(1, 6):
        folder = tmp_path / str(n)
        (folder / "old" / "er").mkdir(parents=True)
        for name in ("old/a", "old/b", "old/er/c"):
            (folder / name).touch()
        status, found = in_a_process(lambda folder: shutil.rmtree(folder / "old"), folder, n)
        assert status == -signal.SIGKILL and len(found) == n
        assert len(list(folder.rglob("*"))) == 5 - (n - 1)  # the n-th is not done


def test_children_are_not_counted_and_live(tmp_path):
    def do(folder):
        assert os.system(f"echo word > {folder}/from_a_shell") == 0

    folder = tmp_path / "run"
    folder.mkdir()
    assert in_a_process(do, folder, 1) == (0, [])
    assert (folder / "from_a_shell").read_text() == "word\n"


def test_a_system_that_cannot_count_says_so(monkeypatch):
    monkeypatch.setattr(platform, "machine", lambda: "riscv64")
    with pytest.raises(killed_at.NotCounted, match="operations on files cannot be counted here: .*x86_64 or aarch64"):
        killed_at.kill_at(1, "/tmp")
