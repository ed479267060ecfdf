"""A sequence of three languages from its command to its table, with what methods leave from stage to stage."""

import csv
import shutil
import sys

import pytest
from safetensors.torch import load_file

from carryover.commands.sequence.sequence import sequence

from .helpers import ROOT, events, make_brain, prepare_old

PLAN = """experiment: hparams/german_adaptation.yaml
first: {{experiment: hparams/dutch_pretrain.yaml, model: {model}, {sizes}}}
sequence: [nl, de, en]
data: {{nl: {data}/nl, de: {data}/de, en: {data}/en}}
common: {{{sizes}}}
alone: False
seeds: [1]
methods:
    together:
        forgetting: >-
            [!new:carryover.forgetting.Replay {{share: 0.5}},
            !new:carryover.forgetting.OnlineEWC {{lambda_: 1, gamma: 0.5, samples: 6, folder: {out}/importance}},
            !new:carryover.forgetting.Averaging {{shares: [0.5], export: 0.5}}]
    si: {{preset: si, lambda: 1, first: {{preset: si, lambda: 1}}}}
"""
SIZES = (
    "corpus: '!name:local.table.utterances', batch_size: 4, eval_batch_size: 4, max_updates: 2, warmup: 1, "
    "log_every: 1, valid_every: 2, save_every: 2"
)


@pytest.fixture(scope="module")
def done(tiny_ctc, two_languages, tmp_path_factory):
    """Folder of the finished sequence."""
    folder = tmp_path_factory.mktemp("sequence")
    for language in ("nl", "de"):
        shutil.copytree(two_languages / language, folder / language)
    shutil.copytree(two_languages / "nl", folder / "en")
    manifest = folder / "en" / "manifest.tsv"
    manifest.write_text(manifest.read_text(encoding="utf-8").replace("\tnl\t", "\ten\t"), encoding="utf-8")
    text = PLAN.format(model=tiny_ctc, data=folder, sizes=SIZES, out=folder / "out")
    (folder / "plan.yaml").write_text(text)
    command = [sys.executable, "train.py"]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        assert sequence(folder / "plan.yaml", folder / "out", extra=["--device", "cpu"], command=command) == 0
        lines = []
        assert sequence(folder / "plan.yaml", folder / "out", extra=["--device", "cpu"], say=lines.append) == 0
    assert not any("failed" in line for line in lines)
    return folder / "out"


def test_the_table_has_every_language_after_every_stage(done):
    with open(done / "stages.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["method"], row["stage"]) for row in rows] == [
        (method, stage) for method in ("together", "si") for stage in ("1 nl", "2 de", "3 en")
    ]
    filled = [[bool(row[f"{name} WER"]) for name in ("nl", "de", "en")] for row in rows[:3]]
    assert filled == [[True, False, False], [True, True, False], [True, True, True]]
    assert rows[0]["BWT"] == "" and rows[2]["BWT"] != "" and "CL-MASR" in (done / "stages.md").read_text()


def test_replay_keeps_clips_of_both_languages_before(done):
    manifest = done / "together" / "3_en" / "1" / "manifests" / "en" / "train_mixed.csv"
    with open(manifest, newline="", encoding="utf-8") as file:
        languages = [row["language"] for row in csv.DictReader(file)]
    assert {name: languages.count(name) for name in ("en", "nl", "de")} == {"en": 28, "nl": 14, "de": 14}


def test_the_fisher_of_the_third_stage_holds_the_first_languages(done):
    second, third = (load_file(done / f"together/{k}/1/carried/online_ewc.safetensors") for k in ("2_de", "3_en"))
    [fisher] = [e for e in events(done / "together/3_en/1") if e["event"] == "fisher"]
    alone = load_file(fisher["file"])
    for name, total in third.items():
        assert total.shape == second[name].shape and total.allclose(alone[name] + 0.5 * second[name], rtol=1e-5)


def test_the_average_is_what_the_next_stage_starts_from(done):
    """Its test before the training is the one of the average after the stage before."""
    after = [e for e in events(done / "together/2_de/1") if e["event"] == "test" and e["weights"] == "average_0.50"]
    before = [e for e in events(done / "together/3_en/1") if e["event"] == "test" and e["weights"] == "before"]
    [one] = [e["WER"] for e in after if e["language"] == "de"]
    [other] = [e["WER"] for e in before if e["language"] == "de"]
    assert one == other


def test_si_gathers_in_every_stage(done):
    found = [load_file(done / f"si/{k}/1/carried/si.safetensors") for k in ("1_nl", "2_de", "3_en")]
    name = "acoustic.hf.lm_head.weight"
    old = len(found[0][name])
    assert len(found[1][name]) > old, "the head grew"
    assert (found[1][name][:old] >= found[0][name]).all() and (found[2][name] >= found[1][name]).all()
    assert found[0][name].any() and (found[2][name] > found[1][name]).any()


def test_si_goes_on_from_a_checkpoint_of_a_run(ctc_run, tmp_path):
    """The run is over, and is started again: its path is read back, and what it leaves is the same."""
    overrides = ctc_run | {"forgetting": "[!new:carryover.forgetting.SI {lambda_: 1}]", "max_updates": "2"}
    overrides |= {"output_folder": str(tmp_path / "run")}
    found = []
    for _ in range(2):
        brain, _, manifests = make_brain(overrides, yaml="dutch_pretrain", saves=True)
        brain.fit(range(1, 2), brain.read(manifests / "train.csv"), train_loader_kwargs={"batch_size": 4})
        found.append(brain.methods[0].omegas)
    assert any(omega.any() for omega in found[0].values())
    assert all(omega.equal(found[1][name]) for name, omega in found[0].items())


def test_fisher_of_held_out_clips_of_a_ctc_model(done, tmp_path):
    overrides = {
        "model": str(done / "first" / "1_nl" / "1" / "model"), "data_folder": str(done.parent / "de"),
        "old_data_folder": str(done.parent / "nl"), "corpus": "!name:local.table.utterances",
        "forgetting": f"[!new:carryover.forgetting.EWC {{lambda_: 1, split: valid, folder: {tmp_path}}}]",
        "max_updates": "2", "output_folder": str(tmp_path / "run"),
    }  # fmt: skip
    brain, hparams, manifests = make_brain(overrides, yaml="german_adaptation")
    old = brain.read(prepare_old(hparams, ("valid",)) / "valid.csv")
    size = {"batch_size": 4}
    brain.fit(range(1, 2), brain.read(manifests / "train.csv"), train_loader_kwargs=size, old_sets={"valid": old})
    [fisher] = [e for e in brain.run_log.metrics.events() if e["event"] == "fisher"]
    assert fisher["samples"] == 6
