"""A damaged checkpoint is found, said by name and set aside, and the one before is used."""

import shutil

import pytest

from benchmarks.checkpoint_damages import DAMAGES, RUN, checkpointer, outcome, write
from carryover import checksums
from carryover.runs import same_run
from carryover.training.checkpoint import Checkpointer, NothingWhole


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_the_one_before_is_used(damage, seed, tmp_path):
    update, said = outcome(damage, seed, tmp_path)
    assert update == 2 and len(said) == 1 and "set aside as set_aside+CKPT" in said[0]


def test_nothing_whole_is_an_error_now_and_at_the_next_start(tmp_path):
    write(tmp_path / "save")
    for path in (tmp_path / "save").glob("CKPT*"):
        (path / "model.safetensors").unlink()
    for _ in range(2):
        with pytest.raises(NothingWhole, match="holds no whole checkpoint"):
            checkpointer(tmp_path / "save").last()


def test_a_reader_says_it_and_changes_nothing(tmp_path, capsys):
    write(tmp_path / "save")
    newest = sorted((tmp_path / "save").glob("CKPT*"))[-1]
    (newest / "optimizer.pt").unlink()
    reader = Checkpointer(tmp_path / "save", clean=False, belongs_to={"run": RUN["run"]})
    assert reader.last().meta["update"] == 2 and newest.exists()
    assert "optimizer.pt is missing; not used" in capsys.readouterr().out


def test_other_data_or_weights_of_the_same_run_are_refused(tmp_path):
    write(tmp_path / "save")
    with pytest.raises(ValueError, match="the data of this run changed since"):
        checkpointer(tmp_path / "save", RUN | {"data": "9"}).last()


def test_half_deleted_and_half_written_ones_are_cleaned_up(tmp_path):
    write(tmp_path / "save")
    newest = sorted((tmp_path / "save").glob("CKPT*"))[-1]
    shutil.copytree(newest, newest.with_name(f".partial+deleted+{newest.name}"))
    checkpointer(tmp_path / "save")
    assert not list((tmp_path / "save").glob(".partial*"))


def test_an_exported_model_is_whole_or_refused(tmp_path):
    (tmp_path / "encoder").mkdir()
    (tmp_path / "encoder" / "a.bin").write_bytes(b"abc")
    checksums.require_whole("model", tmp_path)  # somebody else's has no checksums
    checksums.seal(tmp_path)
    checksums.require_whole("model", tmp_path)
    (tmp_path / "encoder" / "a.bin").write_bytes(b"abd")
    with pytest.raises(ValueError, match=r"^model: .*encoder/a.bin holds other bytes"):
        checksums.require_whole("model", tmp_path)


# ---- a checkpoint whose folder was deleted whole ----


def kept(save, limit=2, updates=(1, 2, 3)):
    """Checkpoints of these updates as a run keeps them; WER 11, 12, 13: the first is the best."""
    made = checkpointer(save)
    for update in updates:
        made.save_best_and_last({"update": update, "epoch": 1, "WER": 10.0 + update}, False, limit)
    return sorted(save.glob("CKPT*"), key=lambda path: path.stat().st_mtime_ns)


def test_what_the_run_itself_deletes_is_not_missed(tmp_path):
    assert len(kept(tmp_path / "save")) == 2
    found = checkpointer(tmp_path / "save")
    assert found.last().meta["update"] == 3 and found.best("WER").meta["update"] == 1 and found.refused == []


@pytest.mark.parametrize("which, says", [(-1, "update 3, validation WER 13.00"), (0, "update 1, validation WER 11.00")])
@pytest.mark.parametrize("limit", [2, None])
def test_one_that_was_deleted_whole_is_named_once(which, says, limit, tmp_path, capsys):
    shutil.rmtree(kept(tmp_path / "save", limit)[which])
    found = checkpointer(tmp_path / "save")
    assert found.last() and found.best("WER") and len(found.refused) == 1
    assert f"({says}) is gone" in found.refused[0] and capsys.readouterr().out.count("is gone") == 1


def test_one_that_was_set_aside_is_not_called_gone(tmp_path):
    (kept(tmp_path / "save")[-1] / "model.safetensors").unlink()
    for said in (["is not whole"], []):
        found = checkpointer(tmp_path / "save")
        assert found.last().meta["update"] == 1
        assert [part for part in ("is not whole", "is gone") if any(part in line for line in found.refused)] == said


def test_all_deleted_is_an_error(tmp_path):
    for path in kept(tmp_path / "save"):
        shutil.rmtree(path)
    with pytest.raises(NothingWhole, match="update 3.* is gone"):
        checkpointer(tmp_path / "save").last()


def test_a_log_that_tells_of_checkpoints_is_an_error_without_them(tmp_path):
    saved, trained = {"event": "checkpoint", "update": 4}, {"event": "train", "update": 5}
    same_run.require_checkpoints(tmp_path, [])
    for killed_before_it_was_whole in ([trained, saved], [trained, saved, {"event": "flag", "update": 4}]):
        same_run.require_checkpoints(tmp_path, killed_before_it_was_whole)
    with pytest.raises(ValueError, match="tells of 1, the last at update 4; bring the folder back"):
        same_run.require_checkpoints(tmp_path, [saved, trained])


def test_a_damaged_record_is_said(tmp_path):
    kept(tmp_path / "save")
    (tmp_path / "save" / "kept.json").write_text("[1")
    found = checkpointer(tmp_path / "save")
    assert found.last().meta["update"] == 3 and found.refused == [
        "kept.json is damaged: whether a checkpoint was deleted cannot be told"
    ]
