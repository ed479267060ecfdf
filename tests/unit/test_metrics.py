"""carryover/runs/metrics.py: whole lines, standard JSON, and numbers that a dashboard can read back."""

import importlib.util
import json
import math

import pytest

from carryover.runs.metrics import MetricsLog, NoTracker, TensorBoard, WandB, scalars


@pytest.fixture
def log(tmp_path):
    return MetricsLog(tmp_path / "run" / "metrics.jsonl", NoTracker())


def strict(line):
    """Parse as other languages do: NaN and Infinity are no JSON."""
    return json.loads(line, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))


def test_an_event_is_a_whole_line(log):
    assert log.events() == [] and log.size() == 0
    log.write("train", update=1, loss=0.1, lr=1e-5)
    log.write("valid", update=1, set="valid", language="de", text="Straße\n„één“ \u2028 x")
    raw = log.path.read_bytes()
    assert raw.endswith(b"\n") and raw.count(b"\n") == 2 and log.size() == len(raw)
    assert "Straße" in raw.decode()  # people read this file too
    assert log.events() == [
        {"event": "train", "update": 1, "loss": 0.1, "lr": 1e-5},
        {"event": "valid", "update": 1, "set": "valid", "language": "de", "text": "Straße\n„één“ \u2028 x"},
    ]


def test_floats_survive_bit_by_bit(log):
    values = [0.1 + 0.2, 1e-300, math.pi, 2.0**-1074]
    log.write("train", update=1, values=values)
    assert log.events()[0]["values"] == values


def test_non_finite_numbers_are_strings_at_any_depth(log):
    log.write("test", update=1, loss=math.nan, grad_norm=math.inf, low=-math.inf, WER=3.5,
              interval=[math.nan, 2.0], terms={"ctc": math.inf})  # fmt: skip
    event = strict(log.path.read_text())
    assert event == {"event": "test", "update": 1, "loss": "nan", "grad_norm": "inf", "low": "-inf", "WER": 3.5,
                     "interval": ["nan", 2.0], "terms": {"ctc": "inf"}}  # fmt: skip
    assert math.isnan(float(event["loss"]))


def test_an_unknown_event_is_refused(log):
    with pytest.raises(AssertionError, match="tarin"):
        log.write("tarin", update=1)
    assert log.size() == 0


def test_truncate_drops_and_counts_what_came_after_a_checkpoint(log):
    for update in range(1, 4):
        log.write("train", update=update)
    size = log.size()
    for update in range(4, 9):
        log.write("train", update=update)
    assert log.truncate(size) == 5
    assert [event["update"] for event in log.events()] == [1, 2, 3] and log.size() == size
    assert log.truncate(size) == 0 and log.truncate(size + 100) == 0 and log.size() == size
    log.write("resume", update=3)
    assert [event["event"] for event in log.events()] == ["train"] * 3 + ["resume"]


def test_truncate_without_a_file(log):
    assert log.truncate(0) == 0


def test_a_half_written_last_line_is_ignored(log):
    log.write("train", update=1)
    log.write("train", update=2)
    whole = log.path.read_bytes()
    cuts = 0
    for half in ('{"event": "train", "upd', '{"event": "train", "name": "ü"}', "{"):
        for end in range(1, len(half.encode()) + 1):  # also in the middle of ü's two bytes
            log.path.write_bytes(whole + half.encode()[:end])
            assert [event["update"] for event in log.events()] == [1, 2]
            cuts += 1
    assert cuts == 23 + 32 + 1


def test_the_tracker_gets_what_is_written(tmp_path):
    class Recorder:
        def __init__(self):
            self.seen = []

        def log(self, event):
            self.seen.append(event)

    recorder = Recorder()
    log = MetricsLog(tmp_path / "metrics.jsonl", recorder)
    log.write("train", update=1, loss=math.nan)
    assert recorder.seen == log.events() == [{"event": "train", "update": 1, "loss": "nan"}]


def test_scalars():
    assert scalars({"event": "train", "update": 7, "epoch": 1, "time": 2.5, "loss": 0.5, "lr": 1e-5}) == {
        "train/loss": 0.5,
        "train/lr": 1e-5,
    }
    valid = {"event": "valid", "update": 7, "set": "valid", "language": "de", "WER": 12.3, "words": 100}
    assert scalars(valid) == {"valid_de/WER": 12.3, "valid_de/words": 100}
    assert scalars({"event": "train", "update": 1, "loss": "nan", "interval": [1, 2]}) == {}
    for event in ("run", "fisher", "checkpoint", "flag", "resume", "end"):
        assert scalars({"event": event, "update": 1, "WER": 3.0}) == {}


def test_tensorboard_reads_the_same_numbers(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    folder = tmp_path / "tensorboard"
    tracker = TensorBoard(str(folder))
    assert not folder.exists(), "making the objects of a YAML writes nothing"
    log = MetricsLog(tmp_path / "metrics.jsonl", tracker)
    for update in (1, 2, 3):
        log.write("train", update=update, epoch=1, time=0.5 * update, loss=1 / update)
    log.write("valid", update=3, language="nl", WER=25.0, loss=math.nan)
    log.write("end", update=3, reason="done")
    found = EventAccumulator(str(folder)).Reload()
    assert sorted(found.Tags()["scalars"]) == ["train/loss", "valid_nl/WER"]
    assert [(e.step, e.value) for e in found.Scalars("train/loss")] == [
        (n, pytest.approx(1 / n, rel=1e-6)) for n in (1, 2, 3)
    ]
    assert [(e.step, e.value) for e in found.Scalars("valid_nl/WER")] == [(3, 25.0)]


def test_no_tracker_does_nothing():
    assert NoTracker().log({"event": "train", "update": 1}) is None


@pytest.mark.skipif(importlib.util.find_spec("wandb") is not None, reason="wandb is installed")
def test_wandb_says_how_to_install_it():
    with pytest.raises(ImportError, match=r"pip install -e '\.\[wandb\]'"):
        WandB(project="carryover")
