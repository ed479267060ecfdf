"""Faults in a real run, the cheapest of benchmarks/faults.py: each is said, and the run goes on to the same weights."""

import pytest

from benchmarks.faults import FAULTS, meet
from benchmarks.small_runs import Place

CHEAP = (
    "disk full while weights are saved", "dead data worker", "metrics.jsonl cut to its half",
    "newest checkpoint deleted", "SIGTERM, and once more while that saves",
)  # fmt: skip


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return Place(tmp_path_factory.mktemp("faults"))


@pytest.mark.parametrize("fault", [fault for fault in FAULTS if fault.name in CHEAP], ids=lambda fault: fault.name)
def test_it_is_said_and_the_run_goes_on_to_the_same_weights(fault, place):
    row = meet(place, fault)
    assert row.right, row
