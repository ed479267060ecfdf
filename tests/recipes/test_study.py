"""A study on the embedded corpus: trials are trained and validated only, what is chosen is tested, checkpoints go."""

import csv

from carryover.commands.study.study import study
from carryover.report.run_folder import Run
from tests.recipes.helpers import ROOT, small

PLAN = """experiment: hparams/ewc_on_whisper.yaml
common: {max_updates: 2, valid_every: 2, log_every: 1, old_splits: [valid, test], test_before: False}
budget: 2
seeds: [1]
methods:
    plain: {forgetting: ["[]"], lr: [1.0e-3, 1.0e-4]}
    averaging: {forgetting: ["[!new:carryover.forgetting.Averaging {shares: [0.5]}]"], lr: [1.0e-3, 1.0e-4]}
"""


def test_what_is_not_chosen_is_never_tested(tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    (tmp_path / "plan.yaml").write_text(PLAN)
    own = small("ewc_on_whisper", tmp_path) | {"model": "assets/whisper_starter", "from_scratch": "False"}
    extra = [word for key, value in own.items() if key != "output_root" for word in (f"--{key}", value)]
    extra += ["--device", "cpu"]
    out = tmp_path / "study"
    said = []
    assert study(tmp_path / "plan.yaml", out, jobs=2, extra=extra, say=said.append) == 0, "\n".join(said)

    trials = [path.parent for path in out.glob("trials/*/*/1/run.json")]
    assert len(trials) == 4
    for folder in trials:
        run = Run(folder)
        assert run.of("valid") and not run.of("test"), folder
        assert not list(folder.glob("predictions_*")) and not (folder / "model").exists(), folder
    averaged = next(folder for folder in trials if "averaging" in str(folder))
    assert {e["weights"] for e in Run(averaged).of("valid") if "weights" in e} == {"average_0.50"}

    rows = list(csv.DictReader((out / "trials.csv").open(encoding="utf-8")))
    for name in ("plain", "averaging"):
        of_method = [row for row in rows if row["method"] == name]
        (chosen,) = [row for row in of_method if row["chosen"] == "True"]
        assert float(chosen["valid_mean"]) == min(float(row["valid_mean"]) for row in of_method)
        assert sorted(path.name for path in (out / "chosen" / name / chosen["trial"]).glob("?")) == ["1"]
    for path in out.glob("chosen/*/*/?/run.json"):
        assert Run(path.parent).of("test", weights="best") and (path.parent / "model").is_dir()
    assert not list(out.glob("*/*/*/*/save"))

    def never(*args, **kwargs):
        raise AssertionError("a finished study starts no run")

    monkeypatch.setattr("carryover.commands.sweep.execute._start", never)
    assert study(tmp_path / "plan.yaml", out, jobs=2, extra=extra, say=said.append) == 0
