"""Archives and packed lists of a stranger: nothing is written outside, and no small file fills the memory."""

import gzip
import io
import zipfile
from pathlib import Path

import numpy as np
import pytest

from carryover.data.landmarks import files
from local import lhotse, parquet, table
from tests.unit import corpora

NAMES = ["../../out.wav", "/etc/out.wav", "..", ".", "a/../../out.wav", ".done", "list.jsonl", "x\0y.wav", "y" * 300]


def paths(folder: Path) -> set[Path]:
    return {path for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("name", NAMES, ids=repr)
def test_a_clip_in_parquet_is_written_into_its_folder_alone(tmp_path, name):
    pyarrow = pytest.importorskip("pyarrow")
    import pyarrow.parquet as written

    corpora.clip(tmp_path / "clip.wav")
    sound = (tmp_path / "clip.wav").read_bytes()
    home = tmp_path / "below" / "home"
    home.mkdir(parents=True)
    rows = {"audio": [{"bytes": sound, "path": name}, {"bytes": sound, "path": "b.wav"}], "text": ["ja", "nee"]}
    written.write_table(pyarrow.table(rows), home / "train-00000-of-00001.parquet")
    cache, before = tmp_path / "below" / "cache", paths(tmp_path)
    try:
        found = list(parquet.utterances(home, "nl", ["train"], cache=str(cache)))
        assert len(found) == 2 and all(Path(u.audio).is_relative_to(cache) for u in found)
    except ValueError as error:
        assert "no whole parquet file" in str(error)
    assert all(path.is_relative_to(cache) or path.is_relative_to(home) for path in paths(tmp_path) - before)


def test_a_gzip_of_zeros_is_refused_before_it_is_unpacked(tmp_path, monkeypatch):
    monkeypatch.setattr(lhotse, "LONGEST", 100_000)
    for name in ("recordings", "supervisions"):
        (tmp_path / f"{name}_train.jsonl.gz").write_bytes(gzip.compress(bytes(50_000_000)))
    with pytest.raises(ValueError, match="a line of more than 100,000 bytes"):
        list(lhotse.utterances(tmp_path, "nl", ["train"]))


def packed(array: np.ndarray, said: int | None = None) -> bytes:
    """A .npz; its directory may say another length than the array has."""
    data = io.BytesIO()
    np.savez_compressed(data, landmarks=array)
    if said is None:
        return data.getvalue()
    true = zipfile.ZipFile(data).infolist()[0].file_size
    return data.getvalue().replace(true.to_bytes(4, "little"), said.to_bytes(4, "little"))


def test_a_npz_that_unpacks_to_more_than_a_sequence_is_refused(monkeypatch):
    monkeypatch.setattr(files, "MOST", 1_000_000)
    bomb = packed(np.zeros((200_000, 3), np.float32))
    assert len(bomb) < 10_000
    with pytest.raises(ValueError, match="landmarks cannot be read: its arrays have 2,400,128 bytes unpacked, more"):
        files._numpy(bomb, None)
    with pytest.raises(ValueError, match="landmarks cannot be read"):  # a directory that lies
        files._numpy(packed(np.zeros((200_000, 3), np.float32), said=1000), None)


def test_a_npy_whose_head_promises_too_much_is_refused():
    data = io.BytesIO()
    np.lib.format.write_array_header_1_0(data, {"descr": "<f8", "fortran_order": False, "shape": (10**13, 3)})
    with pytest.raises(ValueError, match="landmarks cannot be read"):
        files._numpy(data.getvalue() + bytes(100), None)


@pytest.mark.parametrize("name", ["corpus.tar.gz", "corpus.zip", "corpus.tgz", "corpus.tar"])
def test_no_archive_is_extracted(tmp_path, name):
    (tmp_path / name).write_bytes(b"PK\3\4" + bytes(100))
    with pytest.raises((ValueError, FileNotFoundError), match="extract"):
        list(table.utterances(tmp_path / name, "nl", ["train"]))
    assert [path.name for path in tmp_path.iterdir()] == [name]
