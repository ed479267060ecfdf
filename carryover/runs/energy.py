"""Energy that a machine reports: processor packages by Linux's powercap (RAPL), NVIDIA's GPUs by NVML.

What is counted is the whole machine's, other jobs on it included. Where nothing is reported (a virtual machine,
counters that only root may read, no nvidia-ml-py) there is no number, and no estimate in its place.
"""

import math
from collections.abc import Callable
from pathlib import Path

POWERCAP = Path("/sys/class/powercap")

Counter = tuple[Callable[[], float], float]  # joules so far, and where the counter begins again at 0


class Meter:
    """Joules between one question and the next.

    Parameters
    ----------
    device_type : str
        "cuda": the GPUs are counted beside the processors.
    powercap : path
        Folder of Linux's counters.
    """

    def __init__(self, device_type: str = "cpu", powercap: Path = POWERCAP):
        self.counters = packages(powercap) + (gpus() if device_type == "cuda" else [])
        self.last = [read() for read, _ in self.counters]

    def joules(self) -> float | None:
        """Since the last call, or since the meter was made; None where the machine reports nothing."""
        if not self.counters:
            return None
        now = [read() for read, _ in self.counters]
        ends = [end for _, end in self.counters]
        used = [b - a if b >= a else b - a + end for a, b, end in zip(self.last, now, ends, strict=True)]
        self.last = now
        return sum(used)


def packages(powercap: Path) -> list[Counter]:
    """Counters of the processor packages (intel-rapl:0, ...; AMD's have that name, too), not of their parts.

    energy_uj and max_energy_range_uj in microjoules: kernel.org, Documentation/power/powercap/powercap.rst.
    """
    found = []
    for folder in sorted(powercap.glob("intel-rapl:*")):
        if folder.name.count(":") > 1:  # intel-rapl:0:0 is a part of intel-rapl:0
            continue

        def read(file=folder / "energy_uj") -> float:
            return int(file.read_text()) * 1e-6

        try:
            read()
            end = int((folder / "max_energy_range_uj").read_text()) * 1e-6
        except OSError:
            continue
        found.append((read, end))
    return found


def gpus() -> list[Counter]:
    """Counters of NVIDIA's GPUs (since Volta; extra: energy): millijoules since the driver was loaded."""
    try:
        import pynvml
    except ImportError:
        return []
    try:
        pynvml.nvmlInit()
        handles = [pynvml.nvmlDeviceGetHandleByIndex(i) for i in range(pynvml.nvmlDeviceGetCount())]
        for handle in handles:
            pynvml.nvmlDeviceGetTotalEnergyConsumption(handle)
    except pynvml.NVMLError:
        return []

    def reader(handle) -> Callable[[], float]:
        return lambda: pynvml.nvmlDeviceGetTotalEnergyConsumption(handle) * 1e-3

    return [(reader(handle), math.inf) for handle in handles]
