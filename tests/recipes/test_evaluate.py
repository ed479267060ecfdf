"""`carryover evaluate`: lists of one's own under the checks of preparation, and what a run folder may not do."""

import csv
import shutil
from pathlib import Path

import numpy as np
import soundfile
from typer.testing import CliRunner

from carryover import exits
from carryover.commands.app import app

from .helpers import ROOT, train


def evaluate(*words) -> tuple[int, str]:
    """-> status and all that was said."""
    done = CliRunner().invoke(app, ["evaluate", *map(str, words)])
    known = exits.words(done.exception) if isinstance(done.exception, Exception) else None
    return known or (done.exit_code, done.output)


def test_lists_of_ones_own(tmp_path, whisper_run, monkeypatch):
    assert train(whisper_run | {"max_updates": "1", "test_before": "False"}).returncode == 0
    monkeypatch.chdir(ROOT)
    folder = Path(whisper_run["output_folder"])
    own = next(folder.glob("manifests/*/test.csv"))
    rows = list(csv.DictReader(own.open(encoding="utf-8")))
    status, again = evaluate(folder)
    assert status == 0, again

    noise = np.random.default_rng(0).standard_normal(16_000) * 0.1
    soundfile.write(tmp_path / "long.wav", np.tile(noise, 60), 16_000)
    soundfile.write(tmp_path / "good.wav", noise, 16_000)
    mine = tmp_path / "mine.tsv"
    mine.write_text("path\tsentence\tsplit\ngood.wav\teen\ttest\nlong.wav\ttwee\ttest\ngood.wav\tdrie\ttrain\n")
    status, said = evaluate(folder, "--test", mine)
    assert status == 0, said
    assert "long.wav): audio is longer than the window" in said and "1 rows of" in said
    written = list(csv.DictReader((folder / f"predictions_mine_{tmp_path.name}_evaluate.csv").open(encoding="utf-8")))
    assert [row["id"] for row in written] == ["good"]

    assert f"| mine_{tmp_path.name} | nl | 1 | 1 | " in said and "mean of the" not in said
    second = tmp_path / "second.csv"
    second.write_text("path,text\ngood.wav,Een!\n")
    status, said = evaluate(folder, "--test", mine, "--test", second, "--normaliser", "verbatim")
    assert status == 0 and "| mean of the 2 sets |" in said and "normalised by verbatim" in said, said
    clips = tmp_path / "clips"
    clips.mkdir()
    soundfile.write(clips / "a.wav", noise, 16_000)
    (clips / "a.txt").write_text("Een!\n")
    status, said = evaluate(folder, "--test", clips, "--out-of-domain", second)
    assert status == 0 and f"| second_{tmp_path.name} (out of domain) | nl | 1 | 1 | " in said, said
    assert f"| clips_{tmp_path.name} | nl | 1 | 1 | " in said and "mean of the" not in said
    (clips / "a.txt").unlink()
    status, said = evaluate(folder, "--test", clips)
    assert status == 2 and "a text file beside each recording" in said, said
    status, said = evaluate(folder, "--normaliser", "whisper")
    assert status == 0 and "normalised by whisper (transformers" in said, said
    assert evaluate(folder, "--normaliser", "own") == (
        2,
        "--normaliser: 'own'; expected one of: run, whisper, verbatim",
    )
    status, said = evaluate(folder, "--test", mine, "--test", mine)
    assert status == 2 and "two lists are named alike" in said

    one = ("--test", second, "--language", "nl", "--out", tmp_path / "out")
    status, said = evaluate(folder / "model", *one)
    assert status == 0 and f"| second_{tmp_path.name} | nl | 1 | 1 | " in said, said
    assert [path.name for path in (tmp_path / "out").iterdir()] == [f"predictions_second_{tmp_path.name}_evaluate.csv"]
    for words, named in (
        (("--test", second), "--language"),
        (("--test", second, "--language", "nl"), "--out"),
        (("--language", "nl", "--out", tmp_path / "x"), "--test"),
        (("--test", second, "--language", "xx", "--out", tmp_path / "x"), "'xx' is unknown"),
    ):
        status, said = evaluate(folder / "model", *words)
        assert status == 2 and named in said, said
    assert not (tmp_path / "x").exists()

    for name, text, word in (
        ("twice.tsv", "id\tpath\ttext\n1\tgood.wav\ta\n1\tlong.wav\tb\n", "ID '1' occurs 2 times"),
        ("none.tsv", "path\ttext\nlong.wav\ta\n", "no utterance of split 'test' is usable"),
        ("column.tsv", "path\tsays\ngood.wav\ta\n", "no column for text"),
        ("byte.tsv", "path\ttext\ngood.wav\té\n", "not UTF-8"),
    ):
        (tmp_path / name).write_bytes(text.encode("latin-1"))
        status, said = evaluate(folder, "--test", tmp_path / name)
        assert status == 2 and word in said and name in said, said

    def changed(name: str, audio: str, ID: str) -> Path:
        copy = tmp_path / name
        shutil.copytree(folder, copy)
        with open(copy / own.relative_to(folder), "w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, rows[0])
            writer.writeheader()
            writer.writerows([rows[0] | {"audio": audio, "ID": ID}, rows[0]])
        return copy

    status, said = evaluate(changed("outside", str(tmp_path / "good.wav"), "x"))
    assert status == 2 and "does not lie below the run's data_folder" in said
    status, said = evaluate(changed("repeated", rows[0]["audio"], rows[0]["ID"]))
    assert status == 2 and "is there twice" in said
    shutil.rmtree(folder / "manifests")
    status, said = evaluate(folder)
    assert status == 2 and "no manifests" in said
    shutil.rmtree(folder / "save")
    (folder / "save").mkdir()
    status, said = evaluate(folder, "--test", mine)
    assert status == 2 and "no checkpoint" in said


def test_manifests_and_settings_name_no_home(whisper_run, monkeypatch):
    monkeypatch.setenv("HOME", str(Path(whisper_run["data_folder"]).resolve().parent))
    folder = Path(whisper_run["output_folder"])
    assert train(whisper_run | {"max_updates": "1", "test_before": "False"}).returncode == 0
    home = str(Path.home())
    for path in [*folder.glob("*.yaml"), *folder.glob("*.csv"), *folder.rglob("manifests/*/*.csv"),
                 *folder.rglob("manifests/*/.done"), folder / "run.json"]:  # fmt: skip
        assert home not in path.read_text(encoding="utf-8"), path
    monkeypatch.chdir(ROOT)
    status, said = evaluate(folder)
    assert status == 0, said
