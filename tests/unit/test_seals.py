"""carryover/seals.py: what was changed since a run wrote it is told by whoever reads it."""

import json

import pytest

from carryover import seals
from carryover.data import Limits, manifest, preparation
from carryover.report.summary import summarise
from carryover.runs import run_folder
from carryover.runs.metrics import MetricsLog
from carryover.runs.trackers import NoTracker
from local import table
from tests.unit import corpora, made_runs


def test_a_value_that_was_edited():
    whole = seals.sealed({"a": 1, "b": {"c": [1, 2]}})
    assert not seals.broken(whole) and seals.sealed(whole) == whole
    assert seals.broken(whole | {"a": 2}) and seals.broken(whole | {"d": 1})
    assert not seals.broken({"a": 2})  # an early version's


def test_files_that_were_changed(tmp_path):
    for name in "abcd":
        (tmp_path / name).write_text(name)
    recorded = seals.of(tmp_path, ["a", "b", "c", "d", "e"])
    assert list(recorded) == ["a", "b", "c", "d"] and seals.changed(tmp_path, recorded) == []
    (tmp_path / "a").write_text("x")
    (tmp_path / "b").unlink()
    (tmp_path / "c").unlink()
    (tmp_path / "c").mkdir()
    assert seals.changed(tmp_path, recorded) == [
        "a: was changed since the run wrote it", "b: is gone", "c: the run wrote it, and it is no file now",
    ]  # fmt: skip
    assert seals.file_digest(tmp_path / "d", 0) == seals.file_digest(tmp_path / "a", 0)


def test_an_edited_run_json_is_set_aside(tmp_path, capsys):
    run_folder.write_info(tmp_path, {"id": "1", "device": "cpu"})
    text = (tmp_path / "run.json").read_text()
    assert run_folder.read_info(tmp_path)["device"] == "cpu"
    (tmp_path / "run.json").write_text(text.replace("cpu", "gpu"))
    assert run_folder.read_info(tmp_path) == {} and "changed since the run wrote it" in capsys.readouterr().out
    assert (tmp_path / "run.json.damaged").read_text() == text.replace("cpu", "gpu")


def test_a_log_that_was_edited_before_a_checkpoint(tmp_path, capsys):
    log = MetricsLog(tmp_path / "metrics.jsonl", NoTracker())
    log.write("checkpoint", update=1, epoch=1, time=1.0)
    kept = log.seal()
    log.write("checkpoint", update=2, epoch=1, time=2.0)
    assert log.truncate(kept["metrics_size"], kept["metrics_digest"]) == 1 and not capsys.readouterr().out
    (tmp_path / "metrics.jsonl").write_text((tmp_path / "metrics.jsonl").read_text().replace("1.0", "9.0"))
    log.truncate(kept["metrics_size"], kept["metrics_digest"])
    assert "metrics.jsonl was changed since the checkpoint was made" in capsys.readouterr().out


@pytest.mark.parametrize("name", [".done", "train.csv", "rejected.csv", "remarks.csv", "counts.md", "listed.csv"])
def test_a_manifest_folder_that_was_edited_is_made_again(tmp_path, capsys, name):
    corpora.clip(tmp_path / "x" / "1.wav")
    corpora.write(tmp_path / "x" / "manifest.tsv", ("path", "text", "split"), ("1.wav", "ja", "train"))
    where = table.utterances, tmp_path / "x", tmp_path / "m", "nl", ("train",)
    preparation.prepare(*where, Limits())
    whole = {path.name: path.read_bytes() for path in (tmp_path / "m").iterdir()}
    assert manifest.read_done(tmp_path / "m") is not None
    file = tmp_path / "m" / name
    file.write_bytes(whole[name].replace(b"0", b"7", 1) if b"0" in whole[name] else whole[name] + b" ")
    assert manifest.read_done(tmp_path / "m") is None and name in capsys.readouterr().out
    preparation.prepare(*where, Limits())
    assert {path.name: path.read_bytes() for path in (tmp_path / "m").iterdir()} == whole
    if name == "train.csv":
        file.write_bytes(whole[name] + b" ")
        with pytest.raises(ValueError, match="train.csv is not as it was written; repeat the run's command"):
            manifest.require_as_written(file)


def test_a_report_names_what_was_changed_after_the_run(tmp_path):
    run = made_runs.make(tmp_path / "run" / "1")
    tests = [["test_de", "best"], ["test_nl", "best"], ["test_nl", "before"]]
    run_folder.finish(run, tests)
    assert not [said for said in summarise(run).problems if "changed" in said]
    for name in ("predictions_test_de_best.csv", "results.md", "overrides.yaml"):
        (run / name).write_text((run / name).read_text() + "\n")
    info = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps(info | {"command": "another"}))
    told = [said.split(":")[0] for said in summarise(run).problems if "was changed since the run wrote it" in said]
    assert sorted(told) == ["overrides.yaml", "predictions_test_de_best.csv", "results.md", "run.json"]


def test_settings_that_were_edited_make_nothing(tmp_path):
    for name in ("as_written.yaml", "overrides.yaml"):
        (tmp_path / name).write_text("x: 1\n")
    (tmp_path / "save").mkdir()
    run_folder.write_info(tmp_path, {"files": seals.of(tmp_path, run_folder.WRITTEN)})
    assert run_folder.load(tmp_path)["x"] == 1
    (tmp_path / "overrides.yaml").write_text("x: 2\n")
    with pytest.raises(ValueError, match="overrides.yaml: was changed since the run wrote it. Repeat the run's"):
        run_folder.load(tmp_path)
    assert run_folder.load(tmp_path, trusted=True)["x"] == 2


@pytest.mark.parametrize("name", ["as_written.yaml", "metrics.jsonl", "predictions_test_de_best.csv", "manifests"])
def test_a_report_reads_no_link_out_of_a_run(tmp_path, name):
    run = made_runs.make(tmp_path / "run" / "1")
    (run / "manifests").mkdir()
    (run / name).rename(tmp_path / "elsewhere")
    (run / name).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ValueError, match=f"{name}: a link that leads out of the run folder"):
        summarise(run)
    (run / "save").symlink_to(tmp_path)  # checkpoints may lie on another disk: they are not read
    (run / name).unlink()
    (tmp_path / "elsewhere").rename(run / name)
    assert summarise(run).name == "run/1"
