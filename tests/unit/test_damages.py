"""A damaged checkpoint is found, said by name and set aside, and the one before is used."""

import shutil

import pytest

from benchmarks.checkpoint_damages import DAMAGES, RUN, checkpointer, outcome, write
from carryover.runs import checksums
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
