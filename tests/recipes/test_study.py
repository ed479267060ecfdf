"""A study on the embedded corpus: trials are trained and validated only, what is chosen is tested, checkpoints go."""

import csv

from carryover.commands.study.study import study
from carryover.commands.sweep import execute
from carryover.report.run_folder import Run
from tests.recipes.helpers import ROOT
from tests.recipes.processes import Process

PLAN = """experiment: hparams/german_adaptation.yaml
common:
    corpus: "!name:local.table.utterances"
    data_folder: {speech}/de
    old_data_folder: {speech}/nl
    max_updates: 2
    valid_every: 2
    warmup: 0
    batch_size: 4
    old_splits: [valid, test]
    train: all
budget: 2
seeds: [1, 2]
points: 2
orders:
    nl_to_de:
        start:
            experiment: hparams/dutch_pretrain.yaml
            model: {model}
            corpus: "!name:local.table.utterances"
            data_folder: {speech}/nl
            max_updates: 1
            warmup: 0
            batch_size: 4
            train: all
methods:
    plain: {{lr: {{low: 1.0e-4, high: 1.0e-2}}}}
    averaging: {{forgetting: ["[!new:carryover.forgetting.Averaging {{shares: [0.5]}}]"], lr: [1.0e-3, 1.0e-4]}}
"""


def test_what_is_not_chosen_is_never_tested(tmp_path, monkeypatch, two_languages, tiny_ctc):
    monkeypatch.chdir(ROOT)
    (tmp_path / "plan.yaml").write_text(PLAN.format(speech=two_languages, model=tiny_ctc))
    started = []

    def from_server(job, command, environment):
        started.append(job)
        return Process(["train.py", *job.words], ROOT)

    monkeypatch.setattr(execute, "_start", from_server)
    out, said, extra = tmp_path / "study", [], ["--device", "cpu"]
    assert study(tmp_path / "plan.yaml", out, jobs=1, extra=extra, say=said.append) == 0, "\n".join(said)
    assert "seeds: 2; it takes 3 for intervals over seeds and for p-values" in said
    order = out / "nl_to_de"
    (start,) = order.glob("start/1/model")

    trials = [path.parent for path in order.glob("trials/*/*/1/run.json")]
    assert len(trials) == 4
    for folder in trials:
        run = Run(folder)
        assert run.settings["model"] == str(start) and run.of("valid") and not run.of("test"), folder
        assert not list(folder.glob("predictions_*")) and not (folder / "model").exists(), folder
    averaged = next(folder for folder in trials if "averaging" in str(folder))
    assert {e["weights"] for e in Run(averaged).of("valid") if "weights" in e} == {"average_0.50"}

    rows = list(csv.DictReader((order / "trials.csv").open(encoding="utf-8")))
    for name in ("plain", "averaging"):
        of_method = [row for row in rows if row["method"] == name]
        chosen = [row for row in of_method if row["chosen"] == "True"]
        best = min(float(row["valid_mean"]) for row in of_method)
        assert any(float(row["valid_mean"]) == best for row in chosen)
        for row in chosen:
            assert sorted(path.name for path in (order / "chosen" / name / row["trial"]).glob("?")) == ["1", "2"]
    for path in order.glob("chosen/*/*/?/run.json"):
        assert Run(path.parent).of("test", weights="best") and (path.parent / "model").is_dir()
    assert not list(out.glob("*/*/*/*/*/save"))
    report = (out / "study.md").read_text(encoding="utf-8")
    assert "| averaging 0.50 | 2 |" in report and "not averaged" not in report and "## nl_to_de" in report
    assert "| averaging | 1 | " in report and "fewer than 400" in report
    assert all((order / f"fronts.{kind}").is_file() for kind in ("png", "svg", "csv"))

    started.clear()
    assert study(tmp_path / "plan.yaml", out, jobs=1, extra=extra, say=said.append) == 0
    assert not started, "a finished study starts no run"
