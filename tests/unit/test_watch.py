"""carryover/report/watch.py: progress and time left in closed form, curves by the letter, and every state of a run."""

import json
import os
import time

import made_runs
import pytest
from typer.testing import CliRunner

from carryover.commands import app
from carryover.report import summary, watch


def rewrite(folder, keep):
    """Cut the log after its first `keep` events, as a run that is on its way has it; returns the time of the file."""
    lines = (folder / "metrics.jsonl").read_text().splitlines(keepends=True)
    (folder / "metrics.jsonl").write_text("".join(lines[:keep]))
    return (folder / "metrics.jsonl").stat().st_mtime


def test_a_running_job(tmp_path):
    """10 updates every 10 s; 4 train events: update 40 of 100, 1 update a second, 60 s left."""
    folder = made_runs.make(tmp_path / "run" / "1", finished=False)
    written = rewrite(folder, 4)
    text, over = watch.frame(folder, now=written + 5)
    lines = text.splitlines()
    assert not over
    assert lines[0] == "run/1  running"
    assert lines[1] == ("update 40 of 100 (40 %), epoch 1, 0:00:40 so far, about 0:01:00 of training left, 1 updates/s")
    assert lines[2] == "loss 2.5, lr 0.0004, gradient norm 3"
    assert "train loss" in text and "valid WER" not in text and "no flags" in text


def test_silence_is_told_by_what_the_events_were_apart(tmp_path):
    folder = made_runs.make(tmp_path / "run" / "1", finished=False)
    written = rewrite(folder, 4)
    assert watch.frame(folder, now=written + 59)[0].startswith("run/1  running")
    late = watch.frame(folder, now=written + 130)[0].splitlines()[0]
    assert late.startswith("run/1  silent for 0:02:10: train events were 10 s apart at most; killed")


def test_a_finished_run_ends_the_watching(tmp_path):
    folder = made_runs.make(tmp_path / "run" / "1")
    text, over = watch.frame(folder, now=time.time() + 9999)
    assert over and text.startswith("run/1  finished (all updates done)\nupdate 100 of 100 (100 %)")
    assert "left" not in text.splitlines()[1]
    assert "test de best: WER 27.27" in text  # 3 of 11
    assert "test nl before: WER 25.00" in text


def test_not_begun_and_not_a_run(tmp_path):
    assert watch.frame(tmp_path / "x") == (f"{tmp_path}/x: not begun, there is no such folder yet", False)
    (tmp_path / "x").mkdir()
    assert watch.frame(tmp_path / "x") == (f"{tmp_path}/x: not begun, nothing is logged yet", False)
    (tmp_path / "x" / "metrics.jsonl").write_text("")
    assert "nothing is logged yet" in watch.frame(tmp_path / "x")[0]
    made_runs.make(tmp_path / "sweep" / "ewc" / "1")
    with pytest.raises(ValueError, match="sweep: no run, but 1 runs are in it; give one of them, e.g. .*ewc/1"):
        watch.frame(tmp_path / "sweep")


def test_a_line_that_is_being_written_is_passed_over(tmp_path):
    folder = made_runs.make(tmp_path / "run" / "1", finished=False)
    rewrite(folder, 4)
    with open(folder / "metrics.jsonl", "a") as file:
        file.write('{"event": "train", "upd')
    text, _ = watch.frame(folder, now=os.path.getmtime(folder / "metrics.jsonl"))
    assert "update 40 of 100" in text and "half-written" in text


def test_a_log_without_updates(tmp_path):
    folder = made_runs.make(tmp_path / "run" / "1", finished=False)
    event = {"event": "test", "update": 0, "epoch": 0, "time": 3.0, "language": "de", "weights": "before", "WER": 99.0}
    (folder / "metrics.jsonl").write_text(json.dumps(event) + "\n")
    text, _ = watch.frame(folder, now=os.path.getmtime(folder / "metrics.jsonl"))
    assert "update 0 of 100 (0 %), 0:00:03 so far, time left not known yet" in text
    assert "no update is logged yet" in text and "test de before: WER 99.00, CER nan" in text


def test_flags_are_shown(tmp_path):
    """A gradient norm of 0 in 10 updates, and what the run itself said."""
    folder = made_runs.make(tmp_path / "run" / "1", finished=False)
    path = folder / "metrics.jsonl"
    flag = {"event": "flag", "update": 10, "time": 10.0, "message": "micro-batches are halved"}
    path.write_text(path.read_text().replace('"grad_norm": 3.0', '"grad_norm": 0.0') + json.dumps(flag) + "\n")
    text, _ = watch.frame(folder)
    assert "! update 10: no gradient: gradient norm 0 in 10 updates; " in text
    assert "! update 10: micro-batches are halved" in text and "no flags" not in text


def test_epochs_decide(tmp_path):
    """Updates 10 to 50 are of the first epoch: 50 each, 150 of three; (150 - 100) / 1 update a second."""
    folder = made_runs.make(tmp_path / "run" / "1", finished=False, max_updates="null", epochs=3)
    run = summary.summarise(folder)
    assert watch.planned(run) == (150, "about ")
    assert "update 100 of about 150 (67 %), epoch 2, 0:02:00 so far, about 0:00:50 of" in watch.progress(run)
    rewrite(folder, 4)
    assert watch.planned(summary.summarise(folder)) == (None, "")


def test_a_plot_by_hand():
    found = watch.plot("WER", {"d": [(0, 4.0), (10, 2.0)], "n": [(5, 4.0), (10, 2.0), (9, float("nan"))]}, 10, 21, 3)
    assert found == [
        "WER",
        "       4 |d    n",
        "         |",
        "       2 |          +",
        "         +-----------",
        "          0        10",
        "",
    ]
    assert watch.plot("WER", {"d": []}, 10, 21, 3) == []
    assert watch.plot("loss", {"*": [(1, 100.0), (2, 10.0), (3, 1.0)]}, 3, 13, 3)[:4] == [
        "loss, logarithmic",
        "     100 |   *",
        "         |      *",
        "       1 |         *",
    ]


def test_the_command_prints_one_frame(tmp_path):
    folder = made_runs.make(tmp_path / "run" / "1")
    for words in (["--once"], []):  # no terminal: one frame, too
        found = CliRunner().invoke(app.app, ["watch", str(folder), *words])
        assert found.exit_code == 0 and found.output.startswith("run/1  finished")
        assert found.output.isascii()
