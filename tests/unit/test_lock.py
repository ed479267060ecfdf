"""One process a folder, and children that end with their parent."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from carryover.runs import lock

ROOT = Path(__file__).parents[2]
HOLD = "import sys, time; from carryover.runs import lock\nwith lock.held(sys.argv[1]): print('held', flush=True); {}"


def hold(folder: Path, then: str = "time.sleep(60)") -> subprocess.Popen:
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    words = [sys.executable, "-c", HOLD.format(then), str(folder)]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env=environment)
    assert process.stdout.readline() == "held\n"
    return process


def test_the_second_process_is_told_who_holds_the_folder(tmp_path):
    process = hold(tmp_path / "run")
    try:
        with (
            pytest.raises(lock.LockedError, match=f"run is in use by process {process.pid} on "),
            lock.held(tmp_path / "run"),
        ):
            pass
        assert json.loads((tmp_path / "run" / lock.HOLDER).read_text())["pid"] == process.pid
    finally:
        process.kill()
    with lock.held(tmp_path / "run"):  # of a killed process nothing is left, though it has not been waited for
        pass
    process.wait()
    assert not (tmp_path / "run" / lock.HOLDER).exists()  # it names a host


def test_loaders_that_outlive_a_killed_run_are_waited_for(tmp_path):
    code = "import os; pid = os.fork(); time.sleep(60 if pid else 2)"  # the child has the lock, too
    process = hold(tmp_path, code)
    time.sleep(0.3)
    process.kill()
    start = time.monotonic()
    with lock.held(tmp_path):
        assert time.monotonic() - start < 20
    process.wait()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="PR_SET_PDEATHSIG is Linux's")
def test_a_child_ends_with_its_parent(tmp_path):
    code = (
        "import subprocess, sys, time; from carryover.runs.lock import dies_with_parent\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'], start_new_session=True,"
        " preexec_fn=dies_with_parent())\nprint(child.pid, flush=True); time.sleep(60)"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env=environment)
    pid = int(parent.stdout.readline())
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    stat, until = Path(f"/proc/{pid}/stat"), time.monotonic() + 10
    while time.monotonic() < until and stat.exists() and stat.read_text().rpartition(")")[2].split()[0] != "Z":
        time.sleep(0.05)
    assert not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] == "Z"


def test_a_run_that_fails_on_a_read_only_disk_tells_its_own_error(tmp_path, monkeypatch):
    def read_only(path, missing_ok=False):
        raise OSError(30, "Read-only file system", str(path))

    with pytest.raises(ValueError, match="its own"), lock.held(tmp_path):
        monkeypatch.setattr(Path, "unlink", read_only)
        raise ValueError("its own")
