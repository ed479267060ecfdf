"""Every preset against forgetting runs on every recipe, from its first update to its table.

CTC's runs are those of test_ctc_training.py.
"""

import pytest

from carryover import experiment
from tests.tiny_language_model import make

from .helpers import ROOT, events, random_teacher

PRESETS = (
    "ewc", "online_ewc", "mas", "l2sp", "lwf", "lwf_averaging", "agem", "replay", "replay_ewc", "replay_averaging",
    "pseudo_replay", "der", "averaging",
)  # fmt: skip
TERMS = {"lwf": "kd", "lwf_averaging": "kd", "agem": "agem_cosine", "replay_ewc": "ewc", "der": "der_logits"}
TERMS |= dict.fromkeys(("replay", "averaging", "replay_averaging"), "loss")
UPDATES = 2


@pytest.fixture(scope="module")
def carried_over(tiny_whisper, two_languages, tmp_path_factory):
    """{YAML: overrides with which it carries a tiny model over to another language, in seconds}."""
    folder = tmp_path_factory.mktemp("carried_over")
    speech = {
        "corpus": "!name:local.table.utterances", "language": "de", "data_folder": str(two_languages / "de"),
        "old_language": "nl", "old_data_folder": str(two_languages / "nl"),
    }  # fmt: skip
    signs = {"corpus": "!name:local.synthetic_sign.utterances {train: 24, valid: 4, test: 6}", "epochs": "1"}
    # what was learned before goes by the name of another language here: there is one of signs
    signs |= {"data_folder": str(folder / "signs"), "old_language": "old", "old_data_folder": str(folder / "signs")}
    signs |= {"old_splits": "[test]"}
    shape = {"d_model": "16", "layers": "1", "heads": "2", "d_ffn": "32"}
    llm = speech | {"encoder": str(tiny_whisper), "language_model": make(folder / "lm"), "hidden": "16"}
    run("speech_llm_multitask", llm | {"output_folder": str(folder / "before"), "tokens_per_second": "40"})
    return {
        "whisper_ft": speech | {"model": str(tiny_whisper), "generation_length": "24", "train": "all"},
        "speech_llm_multitask": llm | {"start_from": str(folder / "before" / "model"), "tokens_per_second": "40"},
        "sign_teacher": signs | shape | {"model": random_teacher(folder / "teacher")},
    }


def run(yaml: str, overrides: dict[str, str]) -> None:
    """train.py in this process."""
    sizes = {"max_updates": str(UPDATES), "batch_size": "4", "eval_batch_size": "4", "log_every": "1", "warmup": "1"}
    words = [word for key, value in (sizes | overrides).items() for word in (f"--{key}", value)]
    assert experiment.train([f"hparams/{yaml}.yaml", *words, "--noprogressbar", "--device", "cpu"]) == 0


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("yaml", ["whisper_ft", "speech_llm_multitask", "sign_teacher"])
def test_a_preset_runs_on_a_recipe(yaml, preset, carried_over, tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    folders = {"output_folder": str(tmp_path / "run"), "output_root": str(tmp_path)}
    run(yaml, carried_over[yaml] | folders | {"preset": preset})
    log = events(tmp_path / "run")
    last = [event for event in log if event["event"] == "train"][-1]
    assert last["update"] == UPDATES
    term = TERMS.get(preset, preset)
    assert last[term] != 0
    weights = {event["weights"] for event in log if event["event"] == "test"}
    assert weights >= ({"best", "average_0.50"} if "averaging" in preset else {"best"})
    assert (tmp_path / "run" / "results.md").is_file()
    mixed = list((tmp_path / "run" / "manifests").glob("*/train_mixed.csv"))
    assert len(mixed) == preset.startswith("replay")


@pytest.mark.parametrize("yaml", ["whisper_ft", "speech_llm_multitask", "sign_teacher"])
def test_fisher_information_of_held_out_clips(yaml, carried_over, tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    folders = {"output_folder": str(tmp_path / "run"), "output_root": str(tmp_path)}
    ewc = f"[!new:carryover.forgetting.EWC {{lambda_: 1, split: valid, folder: {tmp_path}/importance}}]"
    run(yaml, carried_over[yaml] | folders | {"forgetting": ewc})
    [fisher] = [event for event in events(tmp_path / "run") if event["event"] == "fisher"]
    assert fisher["samples"] == (4 if yaml == "sign_teacher" else 6), "all clips of the old validation set"
    assert fisher["lambda_mean"] == fisher["mean"] > 0
