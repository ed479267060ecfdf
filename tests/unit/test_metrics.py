"""carryover/runs: metrics.jsonl has whole lines of standard JSON in its schema, and a dashboard gets its numbers."""

import ast
import importlib.util
import json
import math
import time
from pathlib import Path

import pytest

from carryover.runs import events
from carryover.runs.metrics import MetricsLog
from carryover.runs.trackers import NoTracker, TensorBoard, WandB, scalars
from carryover.training.progress import Progress
from carryover.training.run_log import RunLog

ANY = {"int": 0, "float": 0.5, "str": "", "bool": False, "list": [0.5, 1.5]}


def made(kind, **values):
    """An event with a value in every field that it has to have."""
    return {"event": kind} | {f.name: ANY[f.type] for f in events.SCHEMA[kind].fields if f.required} | values


@pytest.fixture
def log(tmp_path):
    return MetricsLog(tmp_path / "run" / "metrics.jsonl", NoTracker())


def strict(line):
    """Parse as other languages do: NaN and Infinity are no JSON."""
    return json.loads(line, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))


def test_an_event_is_a_whole_line(log):
    assert log.events() == [] and log.size() == 0
    log.write(**made("train", update=1, loss=0.1, lr=1e-5))
    log.write(**made("valid", update=1, set="valid", language="de", text="Straße\n„één“ \u2028 x"))
    raw = log.path.read_bytes()
    assert raw.endswith(b"\n") and raw.count(b"\n") == 2 and log.size() == len(raw)
    assert "Straße" in raw.decode()  # people read this file too
    assert log.events() == [
        made("train", update=1, loss=0.1, lr=1e-5),
        made("valid", update=1, set="valid", language="de", text="Straße\n„één“ \u2028 x"),
    ]


def test_floats_survive_bit_by_bit(log):
    values = [0.1 + 0.2, 1e-300, math.pi, 2.0**-1074]
    log.write(**made("train", update=1, values=values))
    assert log.events()[0]["values"] == values


def test_non_finite_numbers_are_strings_at_any_depth(log):
    log.write(**made("test", update=1, loss=math.nan, grad_norm=math.inf, low=-math.inf, WER=3.5,
              interval=[math.nan, 2.0], terms={"ctc": math.inf}))  # fmt: skip
    event = strict(log.path.read_text())
    found = {"update": 1, "loss": "nan", "grad_norm": "inf", "low": "-inf", "WER": 3.5, "interval": ["nan", 2.0],
             "terms": {"ctc": "inf"}}  # fmt: skip
    assert event == made("test", **found) and events.read(log.path) == log.events() == [event]
    assert math.isnan(float(event["loss"]))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"event": "tarin"}, "event 'tarin' is not in the schema; expected one of run, train"),
        ({"event": "train", "update": 1}, "event 'train': field 'epoch' is missing"),
        (made("valid", WER="3"), "event 'valid': field 'WER' is '3', expected float"),
        (made("end", lr=1.0), "event 'end': field 'lr' is not in the schema"),
    ],
)
def test_what_the_schema_does_not_have_is_refused(log, values, message):
    with pytest.raises(ValueError, match=message):
        log.write(**values)
    assert log.size() == 0


def test_truncate_drops_and_counts_what_came_after_a_checkpoint(log):
    for update in range(1, 4):
        log.write(**made("train", update=update))
    size = log.size()
    for update in range(4, 9):
        log.write(**made("train", update=update))
    assert log.truncate(size) == 5
    assert [event["update"] for event in log.events()] == [1, 2, 3] and log.size() == size
    assert log.truncate(size) == 0 and log.truncate(size + 100) == 0 and log.size() == size
    log.write(**made("resume", update=3))
    assert [event["event"] for event in log.events()] == ["train"] * 3 + ["resume"]


def test_a_log_cut_within_a_line_goes_on_with_whole_lines(log):
    log.write(**made("train", update=1))
    log.write(**made("train", update=2))
    size = log.size()
    log.path.write_bytes(log.path.read_bytes()[:-5])
    assert log.truncate(size) == 0
    log.write(**made("train", update=3))
    assert [event["update"] for event in log.events()] == [1, 3]


def test_both_logs_of_a_run_are_cut_back_to_a_checkpoint(tmp_path):
    log = RunLog(tmp_path, NoTracker(), Progress(), "cpu")
    log.say("before")
    kept = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    sealed = log.seal()
    log.say("after")
    (tmp_path / "train_log.txt").open("a").write("update: 3, ep")  # a kill amid a line
    assert log.cut_back({"metrics_size": sealed["metrics_size"]}) == 1  # of a checkpoint of an earlier version
    assert b"ep" in (tmp_path / "train_log.txt").read_bytes()
    assert log.cut_back(sealed) == 0
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == kept
    assert log.cut_back() == 1 and log.seal()["metrics_size"] == log.seal()["train_log_size"] == 0


def test_truncate_without_a_file(log):
    assert log.truncate(0) == 0


def test_a_half_written_last_line_is_ignored(log):
    log.write(**made("train", update=1))
    log.write(**made("train", update=2))
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
    log.write(**made("train", update=1, loss=math.nan))
    assert recorder.seen == log.events() == [made("train", update=1, loss="nan")]


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
        log.write(**made("train", update=update, epoch=1, time=0.5 * update, loss=1 / update))
    log.write(**made("valid", update=3, language="nl", WER=25.0, loss=math.nan))
    log.write(**made("end", update=3, reason="done"))
    found = EventAccumulator(str(folder)).Reload()
    tags = set(found.Tags()["scalars"])
    assert {"train/loss", "valid_nl/WER"} <= tags and not tags & {"valid_nl/loss", "end/skipped"}
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


def test_every_event_that_training_writes_is_in_the_schema():
    """Each literal name that is written, and each literal field of it."""
    written = set()
    for path in Path(events.__file__).parents[1].rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.args):
                continue
            first = node.args[0]
            if node.func.attr in ("note", "event", "scores") and isinstance(first, ast.Constant):
                known = {f.name for f in events.SCHEMA[first.value].fields}
                assert {k.arg for k in node.keywords if k.arg} <= known, (path, first.value)
                written.add(first.value)
    assert written == {e.name for e in events.EVENTS} - {"run"}, "run is in old logs alone"


def test_the_reference_has_every_field():
    text = events.markdown()
    for kind in events.EVENTS:
        assert f"## {kind.name}\n" in text and all(f"| `{f.name}` |" in text for f in kind.fields + kind.open)
    assert {len(line.split(" | ")) for line in text.splitlines() if line.startswith("| ")} == {6}


def test_a_broken_line_is_named(log):
    log.write(**made("train"))
    log.path.write_bytes(log.path.read_bytes() + b"{broken\n")
    with pytest.raises(ValueError, match=r"metrics.jsonl line 2: expected an event in JSON, found b'\{broken'"):
        events.read(log.path)


def test_times_do_not_follow_a_clock_that_is_set_back(monkeypatch):
    progress = Progress()
    monkeypatch.setattr(time, "time", lambda: 0.0)
    assert 0 <= progress.now()["time"] < 60
