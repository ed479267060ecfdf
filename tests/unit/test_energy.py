"""Energy counters: packages that wrap around, parts that are not counted twice, GPUs, machines that report nothing."""

import sys
import types

import pytest

from carryover.runs.energy import Meter


def write(folder, name, joules, end=1000):
    (folder / name).mkdir(parents=True, exist_ok=True)
    (folder / name / "energy_uj").write_text(f"{round(joules * 1e6)}\n")
    (folder / name / "max_energy_range_uj").write_text(f"{end * 10**6}\n")


def test_packages_are_summed_and_counters_begin_again(tmp_path):
    write(tmp_path, "intel-rapl:0", 990)
    write(tmp_path, "intel-rapl:1", 10)
    write(tmp_path, "intel-rapl:0:0", 5)  # a part of package 0
    meter = Meter(powercap=tmp_path)
    write(tmp_path, "intel-rapl:0", 20)  # 10 up to its end, 20 from there
    write(tmp_path, "intel-rapl:1", 14.5)
    write(tmp_path, "intel-rapl:0:0", 500)
    assert meter.joules() == pytest.approx(34.5)
    assert meter.joules() == 0


def test_a_machine_that_reports_nothing(tmp_path):
    assert Meter(powercap=tmp_path / "nowhere").joules() is None
    (tmp_path / "intel-rapl:0").mkdir()  # without a counter that may be read
    assert Meter(powercap=tmp_path).joules() is None


def test_gpus_are_counted_where_training_runs_on_them(tmp_path, monkeypatch):
    millijoules = {0: 1_000_000, 1: 500}
    fake = types.SimpleNamespace(
        NVMLError=RuntimeError, nvmlInit=lambda: None, nvmlDeviceGetCount=lambda: 2,
        nvmlDeviceGetHandleByIndex=lambda i: i, nvmlDeviceGetTotalEnergyConsumption=lambda i: millijoules[i],
    )  # fmt: skip
    monkeypatch.setitem(sys.modules, "pynvml", fake)
    meter = Meter("cuda", tmp_path)
    millijoules[0] += 3000
    millijoules[1] += 500
    assert meter.joules() == pytest.approx(3.5)
    assert Meter("cpu", tmp_path).joules() is None

    def unsupported(handle):
        raise RuntimeError("not supported")

    fake.nvmlDeviceGetTotalEnergyConsumption = unsupported
    assert Meter("cuda", tmp_path).joules() is None
