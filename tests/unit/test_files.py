"""Files are whole or not there, and nothing writes to a final path but through carryover/files.py."""

import ast
import json
import os
from pathlib import Path

import pytest

from carryover import files
from carryover.data import listed, preparation
from carryover.data.limits import Limits
from carryover.data.utterance import Utterance
from carryover.runs import run_folder

ROOT = Path(__file__).parents[2]
# What may write by itself, and why.
ALLOWED = {
    "carryover/files.py": "the helper",
    "carryover/runs/metrics.py": "appended a line at a time; a half last line is cut off at a resume",
    "carryover/data/examining.py": "a journal, appended a line at a time; a half last line is cut off",
    "carryover/training/checkpoint.py": "into save/.partial*, which is renamed",
    "carryover/commands/sweep/execute.py": "appends what a run prints to its log",
    "carryover/models/audio_encoder.py": "save_pretrained into a folder of files.made_folder",
    "carryover/models/lora.py": "save_pretrained into a folder of files.made_folder, save_file into files.beside",
    "carryover/models/projector.py": "save_file into files.beside",
    "carryover/models/sequence_model.py": "save_model into files.beside",
    "carryover/models/state_store.py": "save_file into files.beside",
    "carryover/forgetting/fisher.py": "save_file into files.beside",
    "carryover/commands/merge.py": "save_file into a folder of checksums.made",
    "carryover/commands/data/listening.py": "soundfile.write into memory",
    "carryover/runs/clips.py": "soundfile.write into memory",
    "carryover/report/figures/style.py": "savefig into files.beside",
    "recipes/ctc.py": "save_pretrained into a folder of files.made_folder",
    "recipes/whisper.py": "save_pretrained into a folder of files.made_folder",
    "local/landmarks.py": "np.savez into files.beside",
    "local/espeak.py": "clips of a folder that gets its name when it is whole",
    "local/parquet.py": "clips of a folder that gets its name when it is whole",
    "local/fingerspelling.py": "clips of a folder that gets its name when it is whole",
    "local/synthetic_sign.py": "clips of a folder that gets its name when it is whole",
}
WRITERS = {
    "write_text", "write_bytes", "save_pretrained", "save_file", "save_model", "savefig", "save", "savez",
    "savez_compressed", "to_csv", "copyfile", "copy2", "copytree",
}  # fmt: skip


def writes(path: Path) -> list[str]:
    """Calls of a file that write to a path."""
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.Call):
            continue
        function = node.func
        name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
        owner = getattr(getattr(function, "value", None), "id", "")
        modes = [a.value for a in [*node.args[:2], *(k.value for k in node.keywords if k.arg == "mode")]
                 if isinstance(a, ast.Constant) and isinstance(a.value, str)]  # fmt: skip
        if name == "open" and any(set(mode) <= set("rwabxt+") and set(mode) & set("wax+") for mode in modes):
            found.append(f"{path.name}:{node.lineno} open")
        elif name == "save" and owner not in ("np", "torch", "torchaudio"):
            continue  # a method of ours
        elif name in WRITERS or (name == "write" and owner == "soundfile") or (name == "dump" and owner == "json"):
            found.append(f"{path.name}:{node.lineno} {name}")
    return found


def test_nothing_else_writes_to_a_final_path():
    sources = [p for folder in ("carryover", "recipes", "local") for p in (ROOT / folder).rglob("*.py")]
    found = {p.relative_to(ROOT).as_posix(): said for p in [*sources, ROOT / "train.py"] if (said := writes(p))}
    assert not {name: said for name, said in found.items() if name not in ALLOWED}
    assert set(ALLOWED) - {"carryover/files.py"} <= set(found), "the list names what no longer writes"


@pytest.mark.parametrize("fault", ["replace", "fsync"])
def test_after_a_fault_the_old_file_is_whole(tmp_path, monkeypatch, fault):
    path = tmp_path / "run.json"
    files.write(path, "old")

    def broken(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, fault, broken)
    with pytest.raises(OSError, match="No space left"):
        files.write(path, "new")
    assert path.read_text() == "old" and [p.name for p in tmp_path.iterdir()] == ["run.json"]


def test_a_folder_takes_its_place_when_it_is_whole(tmp_path):
    with pytest.raises(KeyError), files.made_folder(tmp_path / "model") as folder:
        (folder / "a").write_text("half")
        raise KeyError
    assert not list(tmp_path.iterdir())
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "mine").write_text("mine")
    with files.made_folder(tmp_path / "model") as folder:
        (folder / "a").write_text("whole")
    assert {p.name: p.read_text() for p in (tmp_path / "model").iterdir()} == {"mine": "mine", "a": "whole"}


def test_a_pipe_or_device_is_not_replaced(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("pipe")
    for name in ("pipe", "link"):
        with pytest.raises(ValueError, match="a device or a pipe, which a file would replace"):
            files.write(tmp_path / name, "text")
    assert (tmp_path / "pipe").is_fifo() and (tmp_path / "link").is_symlink()


def test_a_link_is_replaced_and_not_written_through(tmp_path):
    (tmp_path / "other").write_text("another's")
    (tmp_path / "x").symlink_to(tmp_path / "other")
    files.write(tmp_path / "x", "mine")
    assert (tmp_path / "other").read_text() == "another's" and not (tmp_path / "x").is_symlink()


# ---- a run's own files, ended at every operation ----

YAML = "seed: 1\noutput_folder: !ref results/x/<seed>\nlr: 1.0e-3\ntest_beams: 1\n"


class Ended(BaseException):
    """Stands for SIGKILL: nothing catches it."""


class Sizes(Limits):
    """Takes any file; its content is its text."""

    def metadata(self, utterance):
        return None

    def inspect(self, utterance):
        try:
            return 1.0, "16000 Hz x 1", Path(utterance.audio).read_text()
        except OSError as error:
            raise ValueError("audio cannot be opened") from error

    def settings(self):
        return []


def corpus(data_folder, language, splits):
    for path in sorted(Path(data_folder).glob("*.wav")):
        yield Utterance(path.stem, str(path), language, "s", f"text {path.stem[-1]}", path.stem.split("_")[0])


@pytest.fixture
def data(tmp_path):
    (tmp_path / "data").mkdir()
    for split in ("train", "test"):
        for i in range(2):
            (tmp_path / "data" / f"{split}_{i}.wav").write_text(f"{split} {i}")
    (tmp_path / "x.yaml").write_text(YAML)
    return tmp_path


def run(place: Path, overrides=(("lr", "2.0e-3"),), begun=False) -> Path:
    """The writing part of a run."""
    folder = run_folder.create(place / "run", str(place / "x.yaml"), dict(overrides), json.JSONDecoder, ["train.py"])
    preparation.prepare(
        corpus, place / "data", folder / "manifests" / "nl", "nl", ("train", "test"), Sizes(), begun=begun
    )
    run_folder.write_info(folder, {"data": run_folder.data_digests(folder / "manifests")})
    files.write(folder / "results.md", "| |\n")
    run_folder.finish(folder, [])
    return folder


def content(folder: Path) -> dict[str, str]:
    texts = {p.relative_to(folder).as_posix(): p.read_text() for p in folder.rglob("*") if p.is_file()}
    info = json.loads(texts.pop("run.json"))
    return texts | {"info": {key: value for key, value in info.items() if key not in ("started", "finished", "sealed")}}


def test_ended_at_any_operation_it_goes_on(data, tmp_path, monkeypatch):
    """At each flush and each rename in turn, the temporary file left as a kill leaves it."""
    counted, at = 0, None
    real = {name: getattr(os, name) for name in ("fsync", "replace")}

    def wrapped(name):
        def call(*args):
            nonlocal counted
            counted += 1
            if counted == at:
                raise Ended
            return real[name](*args)

        return call

    for name in real:
        monkeypatch.setattr(os, name, wrapped(name))
    wanted = content(run(data))
    total = counted
    assert total > 30
    unlink = Path.unlink
    for at in range(1, total + 1):
        counted = 0
        for path in sorted((data / "run").rglob("*"), reverse=True):
            path.rmdir() if path.is_dir() else unlink(path)
        with monkeypatch.context() as patch, pytest.raises(Ended):
            patch.setattr(Path, "unlink", lambda path, **_: None if ".partial" in path.name else unlink(path, **_))
            run(data)
        counted = -(10**9)
        assert content(run(data)) == wanted, at


# ---- damaged files ----


def begin(place: Path) -> Path:
    folder = run(place)
    (folder / "save" / "CKPT+1").mkdir(parents=True)
    return folder


@pytest.mark.parametrize("name", ["run.json", "as_written.yaml", "overrides.yaml", "manifests/nl/.done"])
@pytest.mark.parametrize("share", [0.0, 0.5])
def test_a_damaged_file_is_written_again_where_nothing_is_lost(data, capsys, name, share):
    folder = begin(data)
    whole = (folder / name).read_bytes()
    (folder / name).write_bytes(whole[: int(len(whole) * share)])
    run(data, begun=True)
    assert (folder / name).stat().st_size >= len(whole)
    if name in ("run.json", "manifests/nl/.done"):
        assert f"{name} is damaged" in capsys.readouterr().out


def test_a_manifest_that_was_cut_is_made_again(data, capsys):
    folder = begin(data)
    path = folder / "manifests/nl/train.csv"
    whole = path.read_bytes()
    path.write_bytes(whole[:-5])
    run(data, begun=True)
    assert path.read_bytes() == whole and "train.csv is not as it was written" in capsys.readouterr().out


def test_damaged_settings_and_other_ones_stop_with_words(data):
    folder = begin(data)
    (folder / "as_written.yaml").write_bytes(b"")
    with pytest.raises(ValueError, match="as_written.yaml or overrides.yaml is damaged.*run's own command"):
        run(data, overrides=[("lr", "3.0e-3")], begun=True)


# ---- other settings ----


@pytest.mark.parametrize(
    ("yaml", "overrides", "said"),
    [
        ("# a comment\n" + YAML, [("lr", "0.002")], None),
        ("\n".join(reversed(YAML.splitlines())) + "\n", [("lr", "2.0e-3  # quick")], None),
        (YAML, [("lr", "3.0e-3")], "lr: 0.002 there, 0.003 here"),
        (YAML + "more: 1\n", [("lr", "2.0e-3")], "more: missing there, 1 here"),
        (YAML, [("lr", "2.0e-3"), ("test_beams", "4")], None),
    ],
)
def test_settings_are_compared_key_by_key(data, yaml, overrides, said):
    begin(data)
    (data / "x.yaml").write_text(yaml)
    if said is None:
        run(data, overrides, begun=True)
    else:
        with pytest.raises(ValueError, match=said):
            run(data, overrides, begun=True)


def test_a_misspelt_key_of_the_test_can_be_corrected_but_not_beside_a_test_of_before(data, capsys):
    (data / "x.yaml").write_text(YAML.replace("test_beams", "test_beam"))
    folder = begin(data)
    (data / "x.yaml").write_text(YAML)
    (folder / "metrics.jsonl").write_text('{"event": "test", "weights": "before"}\n')
    with pytest.raises(ValueError, match="test_beam: 1 there, missing here; test_beams: missing there, 1 here"):
        run(data, begun=True)
    (folder / "metrics.jsonl").unlink()
    run(data, begun=True)
    assert "test_beams: missing there, 1 here" in capsys.readouterr().out
    assert "test_beams" in (folder / "as_written.yaml").read_text()


# ---- other data ----


def test_a_touched_corpus_is_the_same_corpus(data, capsys):
    folder = begin(data)
    before = (folder / "manifests/nl/train.csv").stat().st_mtime_ns
    os.utime(data / "data/train_0.wav", (1, 1))
    run(data, begun=True)
    assert "no content does" in capsys.readouterr().out
    assert (folder / "manifests/nl/train.csv").stat().st_mtime_ns == before
    run(data, begun=True)
    assert "up to date" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda f: (f / "test_1.wav").unlink(), r"1 gone from the list: test_1 \(test\)"),
        (lambda f: (f / "train_5.wav").write_text("x"), r"1 new in the list: train_5 \(train\)"),
        (lambda f: (f / "train_0.wav").write_text("other"), r"1 with another recording: train_0 \(train\)"),
    ],
)
def test_another_corpus_is_refused_by_name_and_the_manifests_stay(data, change, said):
    folder = begin(data)
    manifests = content(folder)
    change(data / "data")
    with pytest.raises(ValueError, match=said):
        run(data, begun=True)
    assert {k: v for k, v in content(folder).items() if "manifests" in k} == {
        k: v for k, v in manifests.items() if "manifests" in k
    }
    assert listed.FILE in {p.name for p in (folder / "manifests/nl").iterdir()}
