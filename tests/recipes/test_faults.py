"""Faults in a real run and damages of its files, the cheapest of benchmarks/faults.py and run_damages.py: each is said,
and the run goes on to the same weights."""

import pytest

from benchmarks.faults import FAULTS, meet
from benchmarks.run_damages import Folders, edited_value, flipped_bit, missing, newest
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


@pytest.fixture(scope="module")
def folders(place):
    return Folders(place)


@pytest.mark.parametrize(
    "state, name, damage, told",
    [
        ("killed", "run.json", edited_value, {"train": "run.json is damaged"}),
        ("killed", "metrics.jsonl", edited_value, {"train": "metrics.jsonl was changed since the checkpoint"}),
        ("killed", "newest/optimizer.pt", flipped_bit, {"train": "optimizer.pt holds other bytes than were written"}),
        ("killed", "as_written.yaml", missing, {"evaluate": "as_written.yaml missing"}),
        ("ended", "predictions_test_nl_best.csv", edited_value, {"report": "predictions_test_nl_best.csv"}),
        ("ended", "manifests/nl/test.csv", missing, {"report": "test.csv", "evaluate": "test.csv"}),
        ("ended", "model/model.safetensors", flipped_bit, {"another run": "model.safetensors holds other bytes"}),
    ],
)
def test_a_damaged_file_is_told_or_written_again(state, name, damage, told, folders):
    if name.startswith("newest"):
        whole = folders.states[state]
        name = str((newest(whole) / name.split("/")[1]).relative_to(whole))
    row = folders.meet(state, name, damage, seed=1)
    assert row.right, row
    for command, words in told.items():
        assert words in row.words[command], row
