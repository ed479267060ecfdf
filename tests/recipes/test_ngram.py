"""carryover ngram: weights tuned on validation, tested beside greedy, on a run of seconds."""

import csv
import importlib.util
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
from typer.testing import CliRunner

from carryover.commands import ngram
from carryover.commands.app import app

from .helpers import ROOT, train

needs_kenlm = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("kenlm", "pygtrie")),
    reason="kenlm is not installed: pip install -e '.[lm]'",
)
CTC = "hparams/dutch_pretrain.yaml"


FIND_SPEC = importlib.util.find_spec


def with_kenlm(name: str, *package):
    """importlib.util.find_spec where kenlm is installed; transformers asks it, too."""
    return object() if name in ("kenlm", "pygtrie") else FIND_SPEC(name, *package)


def run(*words: str):
    return CliRunner().invoke(app, ["ngram", *words])


@needs_kenlm
def test_it_is_tuned_on_validation_and_tested_beside_greedy(ctc_run, tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    folder = tmp_path / "run"
    own = {"max_updates": "30", "lr": "3.0e-3", "from_scratch": "True", "output_folder": str(folder)}
    done = train(ctc_run | own, CTC)
    assert done.returncode == 0, done.stderr
    more = tmp_path / "more.txt"
    more.write_text("Zet de lamp aan!\n", encoding="utf-8")
    given = ["--alphas", "0.3,0.6", "--betas", "0,1", "--beams", "8", "--order", "2", "--text", str(more)]
    done = run(str(folder), *given)
    assert done.exit_code == 0, done.output
    found = json.loads((folder / "ngram" / "ngram.json").read_text(encoding="utf-8"))
    assert {(one["alpha"], one["beta"]) for one in found["grid"]} == {(a, b) for a in (0.3, 0.6) for b in (0.0, 1.0)}
    assert found["valid"]["ngram"] == found["grid"][0] == min(found["grid"], key=lambda one: one["WER"])
    assert found["sentences"] == 29 and found["order"] == 2
    best = [row for row in csv.DictReader(open(folder / "predictions_test_nl_best.csv", encoding="utf-8"))]
    greedy = [
        row for row in csv.DictReader(open(folder / "ngram" / "predictions_test_nl_greedy.csv", encoding="utf-8"))
    ]
    assert {r["id"]: r["hypothesis"] for r in greedy} == {r["id"]: r["hypothesis"] for r in best}, (
        "as the run's own test"
    )
    assert "| 2-grams, 8 beams |" in done.stdout and "| greedy |" in done.stdout
    assert sorted(path.name for path in (folder / "ngram").iterdir()) == [
        "lm.arpa", "ngram.json", "predictions_test_nl_greedy.csv", "predictions_test_nl_ngram.csv",
    ]  # fmt: skip
    outside = tmp_path / "outside.wav"
    soundfile.write(outside, np.full(16000, 0.1), 16000)
    for split in ("valid", "test"):  # a stranger's folder: its lists name what lies elsewhere
        strange = tmp_path / f"strange_{split}"
        shutil.copytree(folder, strange)
        lines = (path := strange / "manifests" / "nl" / f"{split}.csv").read_text(encoding="utf-8").splitlines()
        fields = lines[1].split(",")
        path.write_text("\n".join([lines[0], ",".join([fields[0], str(outside), *fields[2:]])]) + "\n")
        said = str(run(str(strange), *given, "--out", str(tmp_path / "out")).exception)
        assert f"{split}.csv: '{outside}' of ID" in said and "does not lie below the run's data_folder" in said
    assert not (tmp_path / "out").exists()
    # what it says to test a run with is a decoder
    decoder = re.search(r"--decoder '(.*)'", done.stdout)[1]
    shutil.rmtree(folder / "ngram" / "nothing", ignore_errors=True)
    again = train(ctc_run | own | {"output_folder": str(tmp_path / "other"), "decoder": decoder}, CTC)
    assert again.returncode == 0, again.stderr


def test_bad_input_is_one_line(whisper_run, tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(ngram.importlib.util, "find_spec", lambda name: None)
    assert "kenlm and pygtrie: pip install -e '.[lm]'" in str(run(str(tmp_path)).exception)
    monkeypatch.setattr(ngram.importlib.util, "find_spec", with_kenlm)
    assert "--alphas: 'much'; expected numbers" in str(run(str(tmp_path), "--alphas", "much").exception)
    assert "--betas: '1,-1'; expected numbers" in str(run(str(tmp_path), "--betas", "1,-1").exception)
    assert "--text" in str(run(str(tmp_path), "--text", str(tmp_path / "no.txt")).exception)
    assert "is no run folder" in str(run(str(tmp_path)).exception)
    monkeypatch.undo()
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(ngram.importlib.util, "find_spec", with_kenlm)
    done = train(whisper_run | {"max_updates": "1", "warmup": "1", "test_before": "False"})
    assert done.returncode == 0, done.stderr
    monkeypatch.undo()
    monkeypatch.chdir(ROOT)
    if importlib.util.find_spec("kenlm") and importlib.util.find_spec("pygtrie"):
        said = str(run(whisper_run["output_folder"]).exception)
        assert "where words are spelled by CTC" in said and not (Path(whisper_run["output_folder"]) / "ngram").exists()
