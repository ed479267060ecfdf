"""benchmarks/gpu.sh at tiny sizes, on a CPU: everything that it measures is there and finite."""

import json
import math
import os
import subprocess
import sys
import time
from argparse import Namespace
from pathlib import Path

import pytest
import torch

from benchmarks import ewc_cost, gpu
from benchmarks.turns import DROPPED, Turns
from carryover.forgetting import fisher

from .helpers import ROOT

ROWS = [("wav2vec2-large", variant) for variant in gpu.CTC]
ROWS += [(model, variant) for variant in gpu.WHISPER for model in gpu.REAL["whisper"]]
ROWS += [("whisper-small", name) for name in ("hf_trainer", "speechbrain")]


def test_the_command_measures_all_of_it(tmp_path):
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "OMP_NUM_THREADS": "1"}
    words = ["sh", "benchmarks/gpu.sh", "--small", "--device", "cpu", "--out", str(tmp_path)]
    done = subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    found, table = (json.loads((tmp_path / "gpu.json").read_text()), (tmp_path / "gpu.md").read_text())
    assert [(row["model"], row["variant"]) for row in found["rows"]] == ROWS
    for row in [*found["rows"], found["ewc"], found["micro_batches"], found["fisher"]]:
        assert row["not_measured"] is None, row
    for row in found["rows"]:
        own = ["waits_for_data", "flops"] * (row["variant"] not in ("hf_trainer", "speechbrain"))
        for key in ("batch", "audio_seconds", "audio_seconds_a_second", *own):
            assert math.isfinite(row[key]) and row[key] >= 0, (row["model"], row["variant"], key)
        assert len(row["seconds"]) == 2 and row["peak_MiB"] is None
    assert found["card"] is found["peak_teraflops"] is None and found["small"]
    assert len(found["ratios"]) == 14
    for row in found["ratios"]:
        assert all(map(math.isfinite, [row["value"], *(row["interval"] or [])])) and row["value"] > 0, row
    sizes = [(row["variant"], row["micro_batch"]) for row in found["micro_batches"]["rows"]]
    assert sizes == [(name, n) for name in ewc_cost.VARIANTS.values() for n in ewc_cost.MICRO_BATCHES]
    assert "TINY SIZES" in table and "not measured" not in table and table in done.stdout


def test_what_there_is_no_time_for_is_said(tmp_path, monkeypatch):
    monkeypatch.setenv("CARRYOVER_CACHE", str(tmp_path / "cache"))
    gpu.main(["--small", "--device", "cpu", "--minutes", "-1", "--out", str(tmp_path)])
    table = (tmp_path / "gpu.md").read_text()
    assert table.count("not measured: no time was left") == len(ROWS) and table.count("not measured, no time") == 3
    assert json.loads((tmp_path / "gpu.json").read_text())["ratios"] == []


def test_without_a_gpu_the_real_sizes_are_refused(capsys):
    with pytest.raises(SystemExit):
        gpu.main(["--device", "cpu"])
    assert "--small is the form for a CPU" in capsys.readouterr().err


def test_what_fails_is_said_and_the_rest_is_measured(tmp_path):
    measured = gpu.Measurements(Namespace(small=True, device="cpu", minutes=1, out=tmp_path), tmp_path)

    def fails(kind):
        raise RuntimeError("a loop ended early") from kind

    for kind in (torch.OutOfMemoryError("CUDA out of memory"), ValueError("a |\nb")):
        measured.add_row(lambda *_, kind=kind: fails(kind), "whisper-small", "", str(type(kind)), {"least": 0})
    measured.add(measured.found["fisher"], lambda: {"one_by_one": 3.0, "in_batches": {"4": 1.5}}, 0)
    measured.run()
    assert [row["not_measured"] for row in measured.found["rows"]] == ["out of memory", "ValueError: a / b"]
    assert [row["value"] for row in measured.found["ratios"]] == [2.0]


def test_fisher_information_in_batches_is_that_of_single_utterances():
    args = Namespace(model=None, shape=gpu.SMALL["ctc"][1], device="cpu")
    model = ewc_cost.make_model(args).eval()
    parameters = {name: p for name, p in model.named_parameters() if p.requires_grad}
    one_by_one = [ewc_cost.make_batch(model, [1.0], [i]) for i in range(4)]
    wanted = fisher.fisher(parameters, lambda batch: ewc_cost.log_likelihood(model, batch), one_by_one)
    batches = [ewc_cost.make_batch(model, [1.0] * 2, range(i, i + 2)) for i in (0, 2)]
    found = ewc_cost.fisher_in_batches(model, parameters, batches)
    for name, values in wanted.items():
        if "k_proj.bias" not in name:  # its true gradient is zero
            assert (found[name] - values).norm() <= 1e-3 * values.norm(), name


def test_a_loop_that_has_had_its_time_is_ended():
    turns, made = Turns(["a"], limit=0.02), []

    def loop(name):
        turns.done(name, counts=False)
        while True:
            time.sleep(0.01)
            made.append(name)
            turns.done(name)

    turns.run(loop)
    assert len(turns.seconds["a"]) == len(made) == DROPPED + 1
