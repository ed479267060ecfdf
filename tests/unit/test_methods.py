"""carryover/report/methods.py: only what the files say, in text, Markdown, LaTeX and BibTeX."""

import json
import re
from pathlib import Path

import made_runs
import pytest
from test_summary import write_manifest

from carryover.report import citations, find_runs, methods, phrases
from carryover.report.tables import scores

YAML = """# python train.py hparams/german_adaptation.yaml
seed: 1
model: !ref results/dutch/<seed>/model
from_scratch: False
brain: !name:recipes.ctc.CTCBrain
language: de
old_language: nl
batch_size: 8
grad_accumulation_factor: 4
lr: 2.0e-3
lr_schedule: noam
warmup: 0.1
weight_decay: 0.01
max_grad_norm: 5.0
precision: bf16
early_stopping_patience: 3
lambda: 1.0e+3
penalty: !new:carryover.forgetting.EWC {lambda_: !ref <lambda>}
replay: !new:carryover.forgetting.NoReplay
optimizer: !name:torch.optim.AdamW {lr: !ref <lr>}
normaliser: !new:carryover.text.Normaliser
"""


@pytest.fixture
def runs(tmp_path):
    for seed in (1, 2):
        folder = made_runs.make(tmp_path / "ewc" / str(seed), seed=seed, penalty=0.1)
        (folder / "as_written.yaml").write_text(YAML)
        write_manifest(folder, "de")
        info = json.loads((folder / "run.json").read_text())
        info["versions"] = {"jiwer": "4.0.0", "speechbrain": "1.1.2", "transformers": "5.23.0", "torch": "2.11.0"}
        (folder / "run.json").write_text(json.dumps(info | {"parameters": 1234567, "trainable": 1000}))
        fisher = {"event": "fisher", "method": "ewc", "samples": 500, "labels": "gold"}
        (folder / "metrics.jsonl").write_text(json.dumps(fisher) + "\n" + (folder / "metrics.jsonl").read_text())
    return find_runs.load([tmp_path])


def test_every_fact_is_the_files(runs):
    text = methods.describe(runs).text()
    for said in (
        "german_adaptation: Training starts from results/dutch/SEED/model.",
        "connectionist temporal classification [graves2006connectionist]",
        "It has 1 234 567 parameters, of which 1 000 are trained.",
        "The common voice corpus [ardila2020common] (de) has 57 utterances (1.25 h) for training and 2 utterances "
        "(0.50 h) for test, after a sample of 60 (train) was drawn with seed 42; 8 were refused (too long 5 and "
        "unreadable 3).",
        "Batches of 8 utterances are accumulated over 4 steps, an effective batch of 32. Peak memory, of the GPU or, "
        "without one, of the process, was 0.9 GiB (AMD EPYC, 2 threads).",
        "The optimizer is AdamW [loshchilov2019decoupled] with a peak learning rate of 0.002 and weight decay 0.01; "
        "gradients are clipped to a norm of 5.",
        "The schedule is noam [vaswani2017attention] after a warm-up of 10 % of the updates.",
        "Training runs in bf16.",
        "we use elastic weight consolidation [kirkpatrick2017overcoming]",
        "The weight lambda of the penalty is 1000 (EWC).",
        "The importance of EWC is estimated from 500 utterances with the transcripts as labels (the empirical Fisher).",
        "Training took 100 updates (2 epochs begun). It stops after 3 validations without a lower WER.",
        "Results are of seeds 1, 2. Runs were made on AMD EPYC, 2 threads.",
        "the checkpoint with the lowest validation WER of the new language (de).",
        "counted by jiwer 4.0.0, after normalisation by carryover.text.Normaliser.",
        "by the BCa bootstrap [bisani2004bootstrap, efron1987better] with 10 000 resamples.",
        "With fewer than 3 seeds an interval is of the trained model as it is: the scatter of other seeds is not in "
        "it, and no p-value is given.",
        "SpeechBrain 1.1.2 [ravanelli2021speechbrain], transformers 5.23.0 [wolf2020transformers] and PyTorch 2.11.0.",
        "carryover at 22ca7dd571f7 with changes that were not committed.",
    ):
        assert said in text, (said, text)
    assert "holm" not in text and "replay" not in text and "memory ran out" not in text


def test_statistics_are_those_of_the_tables(tmp_path):
    """The baseline is the one asked for, and may be of another YAML; p-values take three seeds of both."""
    for name, seed in [(name, seed) for name in ("fast", "slow") for seed in (1, 2, 3)]:
        folder = made_runs.make(tmp_path / name / str(seed), seed=seed)
        info = json.loads((folder / "run.json").read_text()) | {"command": f"python train.py hparams/{name}.yaml"}
        (folder / "run.json").write_text(json.dumps(info))
    runs = find_runs.load([tmp_path])
    [_, table], _ = scores.methods(runs, "fast")
    assert "Student's t over seeds and test set together" in table.caption
    paragraphs = dict(methods.describe(runs, "fast").paragraphs)
    for text in (paragraphs["fast"], paragraphs["slow"]):
        assert "Satterthwaite's degrees of freedom @[satterthwaite1946approximate], in pairs of equal seeds" in text
        assert "corrected after Holm over all comparisons of a table @[holm1979simple]" in text
    few = [run for run in runs if run.seed != "3"]
    for text in (methods.describe(runs).text(), methods.describe(few, "fast").text()):
        assert "Holm" not in text
    assert "fewer than 3 seeds" in methods.describe(few, "fast").text()


def test_memory_that_ran_out_is_told(runs):
    source = Path(methods.__file__).parents[1] / "training" / "micro_batches.py"
    assert f'f"{methods.OUT_OF_MEMORY} of' in source.read_text(encoding="utf-8")
    runs[0].flags.append({"event": "flag", "message": f"{methods.OUT_OF_MEMORY} of 8: from here on 4 at a time"})
    assert "In 1 of 2 runs memory ran out: micro-batches were halved until" in methods.describe(runs).text()


def test_what_the_files_do_not_say_is_left_out(tmp_path):
    folder = made_runs.make(tmp_path / "a" / "1", finished=False, tests={})
    (folder / "run.json").unlink()
    (folder / "as_written.yaml").write_text("seed: 1\n")
    (folder / "metrics.jsonl").write_text("")
    assert methods.describe(find_runs.load([tmp_path])).text() == "a: Results are of seed 1."


def test_values_that_vary_are_listed(runs, tmp_path):
    for seed, warmup, size in ((3, 0, 8), (4, 200, 16)):
        folder = made_runs.make(tmp_path / "ewc" / str(seed), seed=seed, warmup=warmup, batch_size=size)
        (folder / "as_written.yaml").write_text(YAML)
    found = find_runs.load([tmp_path])
    text = methods.describe(found).text()
    assert "The batch size is 8 or 16 utterances." in text and "effective" not in text
    assert "after a warm-up of 10 % of the updates or 200 updates." in text
    assert "parameters, of which" in text  # of those that say


def test_markdown_latex_and_bibtex_agree(runs):
    found = methods.describe(runs)
    assert "[@graves2006connectionist]" in found.markdown() and found.markdown().startswith("# Methods\n\n## german_ad")
    latex = found.latex()
    assert (
        latex.startswith("\\paragraph{german\\_adaptation} ")
        and "classification~\\cite{graves2006connectionist}" in latex
    )
    assert "10 \\% of the updates" in latex and "@[" not in latex + found.markdown() + found.text()
    cited = {key for keys in re.findall(r"\\cite\{([^}]*)\}", latex) for key in keys.split(",")}
    assert cited == set(found.keys) == set(re.findall(r"@\w+\{(\w+),", found.bibtex()))


def test_entries_are_bibtex_and_all_can_be_cited():
    for key, entry in citations.BIBTEX.items():
        assert re.match(rf"@(article|inproceedings|misc)\{{{key},\n", entry) and entry.endswith("\n}")
        assert entry.count("{") == entry.count("}")
        assert {"title", "author", "year"} <= set(re.findall(r"^  (\w+) = \{", entry, re.M)), key


def test_whatever_is_cited_has_an_entry():
    """Everywhere in the sources: runs describe themselves."""
    root = Path(methods.__file__).parents[2]
    sources = [
        path.read_text(encoding="utf-8")
        for folder in ("carryover", "recipes")
        for path in (root / folder).rglob("*.py")
    ]
    cited = {key for text in sources for keys in methods.CITE.findall(text) for key in keys.split(", ")}
    assert len(cited) > 20 and cited - {"key", "keys"} <= citations.BIBTEX.keys()


EWC = "EWC @[kirkpatrick2017overcoming] adds lambda / 2 times a sum over each token of it, with lambda = {:g}."


def describing(folder, seed, lambda_=None, **sections):
    """A run whose run.json describes it."""
    made_runs.make(folder / str(seed), seed=seed)
    path = folder / str(seed) / "run.json"
    methods = {
        "model": [f"Training starts from /home/anna/dutch/{seed}/model."],
        "loss": ["The loss is CTC @[graves2006connectionist]."],
        "optimisation": ["The optimizer is AdamW @[loshchilov2019decoupled]."],
        "forgetting": [EWC.format(lambda_)] if lambda_ else [],
    }
    path.write_text(
        json.dumps(json.loads(path.read_text()) | {"methods": methods | sections, "parameters": 9, "trainable": 3})
    )


def test_runs_that_describe_themselves(tmp_path):
    """Each sentence once, with all values of a number that varies, and with the methods that it holds for."""
    for seed in (1, 2):
        describing(tmp_path / "plain", seed)
        describing(tmp_path / "ewc,lambda=1", seed, 1)
        describing(tmp_path / "ewc,lambda=10", seed, 10)
    text = methods.describe(find_runs.load([tmp_path])).text()
    assert text.startswith(
        "german_adaptation: Training starts from …/model. It has 9 parameters, of which 3 are trained. The loss is CTC "
        "[graves2006connectionist]. The optimizer is AdamW [loshchilov2019decoupled]. Peak memory"
    )
    assert (
        "EWC [kirkpatrick2017overcoming] adds lambda / 2 times a sum over each token of it, with lambda = 1 or 10 "
        "(ewc,lambda=1 and ewc,lambda=10). Training took 100 updates"
    ) in text
    assert "Against forgetting" not in text and "Tested is" not in text, "older runs' sentences"
    describing(tmp_path / "plain", 3, data=["Texts are spoken @[new2030]."])
    found = methods.describe(find_runs.load([tmp_path]))
    assert "Texts are spoken [new2030] (1 of 7 runs)." in found.text() and "% new2030: cited" in found.bibtex()


def test_a_run_that_was_trained_on_says_so(runs, tmp_path):
    info = json.loads((tmp_path / "ewc" / "1" / "run.json").read_text())
    (tmp_path / "ewc" / "1" / "run.json").write_text(json.dumps(info | {"planned_before": [{"max_updates": 60}]}))
    text = methods.describe(find_runs.load([tmp_path])).text()
    assert (
        "1 of 2 runs were planned for 60 updates and trained on afterwards: until there their rates are those of the "
        "shorter plan."
    ) in text


@pytest.mark.parametrize("key", ["replay: {}", "forgetting: [{}]"])
def test_joint_training_is_no_replay(tmp_path, key):
    """Of runs that do not describe themselves, too."""
    for name, share in (("joint", "1.0"), ("replay", "0.1")):
        folder = made_runs.make(tmp_path / name / "1")
        with open(folder / "overrides.yaml", "a") as file:
            file.write(key.format(f"!new:carryover.forgetting.Replay {{share: {share}}}") + "\n")
    joint, replay = find_runs.load([tmp_path])
    text = methods.describe([joint]).text()
    assert "In training all training utterances of both languages are used together (joint training)." in text
    assert "replay" not in text and "Against forgetting" not in text
    assert (
        "we use replay of the old language's utterances [rolnick2019experience]." in methods.describe([replay]).text()
    )
    both = methods.describe([joint, replay]).text()
    assert "In 1 of 2 runs all training utterances" in both and "we use replay of" in both


def test_words_in_a_list():
    assert [phrases.listed(x) for x in ([], ["a"], ["a", "b"], ["a", "b", "c"])] == ["", "a", "a and b", "a, b and c"]
