"""What a run folder's manifests name is read below the run's data folders, by every command that reads it."""

import re
from pathlib import Path

import numpy as np
import pytest
import soundfile
from typer.testing import CliRunner

from carryover import exits
from carryover.commands import manifests
from carryover.commands.app import app
from carryover.data import Limits, preparation
from carryover.report import find_runs
from carryover.report.page import errors
from local import table
from tests.conftest import ROOT
from tests.unit import corpora, made_runs

MIXED = """corpus: !name:local.mixed.utterances
    corpora:
        - {{name: a, corpus: !name:local.table.utterances , data_folder: {0}/a}}
        - {{name: b, corpus: !name:local.table.utterances , data_folder: !ref <root>/b, weight: 0.5}}
root: {0}
"""


def run_folder(folder: Path, names: Path, settings: str) -> Path:
    """A run whose manifests are of the corpus in `names`."""
    corpora.clip(names / "1.wav")
    corpora.write(names / "manifest.tsv", ("path", "text", "split"), ("1.wav", "ja", "test"), ("1.wav", "nee", "train"))
    preparation.prepare(table.utterances, names, folder / "manifests" / "nl", "nl", ["train", "test"], Limits())
    (folder / "as_written.yaml").write_text(settings)
    (folder / "overrides.yaml").write_text("")
    return folder


@pytest.mark.parametrize("names", ["a", "b"])
def test_the_folders_of_mixed_corpora_are_the_runs(tmp_path, names):
    run = run_folder(tmp_path / "run", tmp_path / names, f"data_folder: {tmp_path}/none\n" + MIXED.format(tmp_path))
    path = run / "manifests" / "nl" / "test.csv"
    assert manifests.Manifests(run).tests() == {"nl": path} and manifests.Manifests(run).path("nl", "train").is_file()
    (run / "overrides.yaml").write_text("corpus: !name:local.table.utterances\n")
    for read in (manifests.Manifests(run).tests, lambda: manifests.Manifests(run).path("nl", "train")):
        with pytest.raises(ValueError, match="1.wav' of ID '.*' does not lie below the run's data_folder"):
            read()
    assert manifests.Manifests(run, trusted=True).path("nl", "test") == path
    with pytest.raises(FileNotFoundError, match="valid.csv: no such file; repeat the run's command"):
        manifests.Manifests(run).path("nl", "valid")


def test_clips_of_mixed_corpora_are_in_a_report(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = made_runs.make(tmp_path / "run" / "1", tests={("de", "best"): made_runs.GERMAN})
    clips = tmp_path / "b" / "de" / "test"
    clips.mkdir(parents=True)
    soundfile.write(clips / "3.wav", np.full(16000, 0.1), 16000)
    file = run / "predictions_test_de_best.csv"
    file.write_text(file.read_text().replace("data/mine/de", f"{tmp_path}/b/de"))
    assert not errors.collect(find_runs.load([run]), clips=True).sounds
    (run / "as_written.yaml").write_text(made_runs.YAML + MIXED.format(tmp_path))
    assert len(errors.collect(find_runs.load([run]), clips=True).sounds) == 1


@pytest.mark.parametrize("option", ["--page", "--lhotse"])
@pytest.mark.parametrize("given", ["", "manifests/nl", "manifests/nl/test.csv"])
def test_carryover_data_opens_no_recording_that_is_not_the_runs(tmp_path, option, given):
    run = run_folder(tmp_path / "run", tmp_path / "private", f"data_folder: {tmp_path}/mine\n")

    def said(*words) -> tuple[int, str]:
        done = CliRunner().invoke(app, ["data", *map(str, words)])
        known = exits.words(done.exception) if isinstance(done.exception, Exception) else None
        return known or (done.exit_code, done.output)

    out = tmp_path / "out.html"
    status, words = said(run / given, option, out)
    assert status == 2 and "does not lie below the run's data_folder" in words and not out.exists()
    assert said(run / given)[0] == 0  # numbers alone: nothing is opened
    assert said(run / given, option, out, "--trust")[0] == 0 and out.exists()
    (run / "as_written.yaml").unlink()  # a list of one's own
    assert said(run / given, option, tmp_path / "other.html")[0] == 0


def test_no_command_finds_manifests_by_itself():
    own = {"manifests.py", "facts.py", "trial.py", "evaluate.py"}  # check's are made by itself; evaluate counts them
    naming = {
        path.name
        for path in (ROOT / "carryover" / "commands").rglob("*.py")
        if re.search(r'["/]manifests["/]', re.sub(r'help="[^"]*"|metavar="[^"]*"', "", path.read_text()))
    }
    assert naming <= own, naming
