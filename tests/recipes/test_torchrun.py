"""torchrun itself: it starts a run again that a kill has ended, and two agents, as on two machines, train one run."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from .helpers import ROOT, command, random_teacher
from .processes import as_torchrun, free_port
from .test_resume import checkpoints, require_equal

PATIENCE = 400  # seconds
RUN = {
    "corpus": "!name:local.synthetic_sign.utterances {train: 28, valid: 4, test: 4}", "d_model": "16", "layers": "1",
    "heads": "2", "d_ffn": "32", "batch_size": "3", "eval_batch_size": "4", "grad_accumulation_factor": "2",
    "log_every": "1", "valid_every": "3", "save_every": "1", "save_limit": "null", "max_updates": "12",
    "early_stopping_patience": "0", "warmup": "2", "dropout": "0.3", "augment_prob": "0.8",
}  # fmt: skip


@pytest.fixture(scope="module")
def overrides(tmp_path_factory):
    """Of a small run with dropout, whose corpus is made."""
    folder = tmp_path_factory.mktemp("torchrun")
    return RUN | {"data_folder": str(folder / "signs"), "model": random_teacher(folder / "teacher")}


@pytest.fixture(scope="module")
def unbroken(overrides, tmp_path_factory):
    """Folder of the run by two processes that nothing stops."""
    folder = tmp_path_factory.mktemp("unbroken") / "run"
    for process in as_torchrun([words(overrides, folder)] * 2, ROOT):
        assert process.completed(PATIENCE).returncode == 0
    return folder


def words(overrides, folder: Path) -> list[str]:
    """train.py and its arguments."""
    return command(overrides | {"output_folder": str(folder)}, "hparams/sign_teacher.yaml")[1:]


@pytest.fixture
def torchrun(overrides):
    """(options, folder of the run, log) -> the agent, started; what it and its processes say goes into the log."""
    environment, agents = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}, []

    def started(options: list[str], folder: Path, log: Path) -> subprocess.Popen:
        argv = [sys.executable, "-m", "torch.distributed.run", *options, *words(overrides, folder)]
        with open(log, "w", encoding="utf-8") as file:
            agents.append(subprocess.Popen(argv, cwd=ROOT, env=environment, stdout=file, stderr=file))
        return agents[-1]

    yield started
    for agent in agents:
        agent.terminate()  # it ends its processes
        agent.wait(60)


def children(pid: int) -> list[int]:
    """Processes that a process has started."""
    return [int(n) for path in Path(f"/proc/{pid}/task").glob("*/children") for n in path.read_text().split()]


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="children are found in /proc, which is Linux's")
def test_torchrun_starts_a_killed_run_again_which_ends_as_the_unbroken_one(torchrun, unbroken, tmp_path):
    folder, log = tmp_path / "run", tmp_path / "log"
    agent = torchrun(["--standalone", "--nproc_per_node", "2", "--max_restarts", "1"], folder, log)
    until = time.time() + PATIENCE
    while time.time() < until and len(list((folder / "save").glob("CKPT+*"))) < 3:
        assert agent.poll() is None, log.read_text()[-3000:]
        time.sleep(0.01)
    os.kill(max(children(agent.pid)), signal.SIGKILL)
    reached = len(checkpoints(folder))
    assert agent.wait(PATIENCE) == 0, log.read_text()[-3000:]
    assert reached < 12 and (folder / "metrics.jsonl").read_text().count('"event": "resume"') == 1
    require_equal(folder, unbroken)


def test_two_agents_as_on_two_machines_train_the_run_of_one(torchrun, unbroken, tmp_path):
    """The command of the Slurm script in docs/guides/clouds_and_clusters.md, twice."""
    folder = tmp_path / "run"
    options = ["--nnodes", "2", "--nproc_per_node", "1", "--rdzv_backend", "c10d"]
    options += ["--rdzv_endpoint", f"localhost:{free_port()}", "--rdzv_id", "1"]
    logs = [tmp_path / name for name in ("one", "other")]
    agents = [torchrun(options, folder, log) for log in logs]
    assert [agent.wait(PATIENCE) for agent in agents] == [0, 0], [log.read_text()[-3000:] for log in logs]
    assert "x 2 processes" in logs[0].read_text() + logs[1].read_text()
    require_equal(folder, unbroken)
