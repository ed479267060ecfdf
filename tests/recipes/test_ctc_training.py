"""The CTC recipe end to end on a tiny w2v-BERT: Dutch, then German from it, by each method against forgetting."""

import csv
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoConfig, AutoModel, AutoModelForCTC, Wav2Vec2CTCTokenizer

from carryover.config import presets
from carryover.data import manifest, table
from carryover.text import Normaliser, Pieces

from .helpers import ROOT, Stage, batches, events, kill_at, make_brain, prepare_old, train

GERMAN = "hparams/german_adaptation.yaml"
DUTCH = "hparams/dutch_pretrain.yaml"
METHODS = ("plain", "averaging", "ewc", "mas", "l2sp", "lwf", "agem", "replay", "replay_ewc", "joint", "new_only")


@pytest.fixture(scope="module")
def dutch(tiny_ctc, two_languages, tmp_path_factory):
    """Output root with a finished Dutch run of seed 1234."""
    root = tmp_path_factory.mktemp("dutch")
    done = train(
        {
            "model": str(tiny_ctc), "corpus": "!name:local.table.utterances", "data_folder": str(two_languages / "nl"),
            "output_root": str(root), "batch_size": "4", "eval_batch_size": "4", "max_updates": "40", "warmup": "3",
            "log_every": "5", "valid_every": "20", "save_every": "20",
        },
        DUTCH,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return root / "dutch_pretrain" / "1234"


@pytest.fixture
def german(adaptation_run, dutch, tmp_path):
    """Overrides of a German run from the Dutch one; importances are kept in the test's own folder."""
    return adaptation_run | {"model": str(dutch / "model")}


def penalty(kind: str, folder, lambda_: str = "10.0") -> dict[str, str]:
    """Overrides for a penalty whose estimates are kept in `folder`."""
    words = {"lambda_": "!ref <lambda>"} | ({} if kind == "L2SP" else {"samples": "12", "folder": str(folder)})
    return {"forgetting": f"[!new:carryover.forgetting.{kind} {{{', '.join(f'{k}: {v}' for k, v in words.items())}}}]",
            "lambda": lambda_}  # fmt: skip


def test_the_needed_run_is_made_first_and_its_units_are_carried_over(adaptation_run, tmp_path):
    done = train(adaptation_run | {"max_updates": "4"}, GERMAN)
    # the embedded model would take minutes: the needed run takes the YAML's own model, two updates of it do
    assert done.returncode == 0, done.stderr[-3000:]
    assert "running hparams/dutch_pretrain.yaml first" in done.stdout
    root = Path(adaptation_run["output_root"])
    old, new = root / "dutch_pretrain" / "1234", root / "german_adaptation" / "1234"
    assert (old / "results.md").exists()
    symbols = [list(json.loads((folder / "model" / "vocab.json").read_text())) for folder in (old, new)]
    assert symbols[1] == symbols[0] + ["ä", "ß"]
    assert f"{len(symbols[0])} of {len(symbols[1])} rows of the head carried over by symbol, new: ä ß" in done.stdout
    tests = [e for e in events(new) if e["event"] == "test"]
    assert [(e["language"], e["weights"]) for e in tests] == [
        ("de", "before"), ("nl", "before"), ("de", "best"), ("nl", "best"),
    ]  # fmt: skip
    assert {e["language"] for e in events(new) if e["event"] == "valid"} == {"de", "nl"}


def test_carried_over_rows_are_the_old_ones(german, dutch):
    brain, *_ = make_brain(german | {"mask_time_prob": "0.05"}, yaml="german_adaptation")  # it brings an embedding
    old, new = load_file(dutch / "model" / "model.safetensors"), brain.modules.acoustic.hf.state_dict()
    n = len(old["lm_head.weight"])
    assert new["lm_head.weight"].shape[0] == n + 2 and brain.modules.acoustic.new_units == [n, n + 1]
    for name, tensor in old.items():
        assert torch.equal(new[name][: len(tensor)] if name.startswith("lm_head") else new[name], tensor), name


def test_an_export_is_what_transformers_loads(dutch):
    model = AutoModelForCTC.from_pretrained(dutch / "model")
    tokenizer = Wav2Vec2CTCTokenizer.from_pretrained(dutch / "model")
    assert model.config.vocab_size == len(tokenizer.encoder) and model.config.pad_token_id == tokenizer.pad_token_id


def test_sentencepiece_as_the_yaml_says_it(ctc_run, adaptation_run, two_languages, tmp_path):
    """The two commented lines of the YAML make pieces and a run with them, which is loaded, tested and carried over."""
    written = (ROOT / DUTCH).read_text(encoding="utf-8")
    line, command = (re.search(rf"(?m)^#   {what} (.*)", written)[1] for what in ("tokenizer:", "python"))
    rows = [row for name in ("nl", "de") for row in table.read_table(two_languages / name / "manifest.tsv")]
    texts = [Normaliser()(row["text"]) for _, row in rows if row["split"] == "train"]
    (tmp_path / "texts.txt").write_text("\n".join(texts) + "\n", encoding="utf-8")
    assert " 200, " in command and "model_file: pieces.model}" in line
    made = [sys.executable, *shlex.split(command.replace(" 200, ", " 40, "))]
    subprocess.run(made, cwd=tmp_path, check=True, env=os.environ | {"PYTHONPATH": str(ROOT)})
    pieces = Pieces(tmp_path / "pieces.model")
    assert len(pieces) == 41
    done = train(ctc_run | {"tokenizer": line.replace("pieces.model", str(pieces.model_file))}, DUTCH)
    assert done.returncode == 0, done.stderr[-3000:]
    run = Path(ctc_run["output_root"]) / "dutch_pretrain" / "1234"
    assert (run / "results.md").exists() and "random weights, 41 symbols" in done.stdout
    assert (run / "model" / "pieces.model").read_bytes() == pieces.model_file.read_bytes()

    letters = {"alphabet": f'"{"".join(sorted(set("".join(texts)) - {" "}))}"', "model": str(run / "model")}
    again = ctc_run | letters | {"from_scratch": "False", "output_folder": str(tmp_path / "again")}
    brain, hparams, manifests = make_brain(again, yaml="dutch_pretrain")
    assert isinstance(hparams["tokenizer"], Pieces) and brain.modules.acoustic.new_units == []
    found, scored = brain.evaluate(brain.read(manifests / "test.csv"), test_loader_kwargs={"batch_size": 4})
    [tested] = [event for event in events(run) if event["event"] == "test"]
    assert found["loss"] == pytest.approx(tested["loss"], rel=1e-5) and found["WER"] == tested["WER"]
    with open(run / "predictions_test_nl_best.csv", newline="", encoding="utf-8") as file:
        heard = {row["audio"]: row["hypothesis"] for row in csv.DictReader(file)}
    assert {row["audio"]: row["hypothesis"] for row in scored} == heard

    done = train(adaptation_run | letters | {"preset": "lwf", "max_updates": "2"}, GERMAN)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "41 of 41 rows of the head carried over by symbol, none new" in done.stdout


@pytest.mark.parametrize("method", METHODS)
def test_each_method_runs_from_its_preset(german, dutch, tmp_path, method):
    """And what is logged of it: its term, its ratio, its averages."""
    overrides = german | {"max_updates": "3", "valid_every": "3", "preset": method}
    if method == "new_only":
        overrides |= {"model": str(dutch / "model")}
    done = train(overrides, GERMAN)
    assert done.returncode == 0, done.stderr[-3000:]
    folder = Path(german["output_root"]) / "german_adaptation" / "1234"
    log = events(folder)
    last = [e for e in log if e["event"] == "train"][-1]
    term = {"ewc": "ewc", "replay_ewc": "ewc", "mas": "mas", "l2sp": "l2sp", "lwf": "kd"}.get(method)
    assert term is None or last[term] > 0
    assert ("penalty_ratio" in last) == (method in ("ewc", "replay_ewc", "mas", "l2sp"))
    assert 0 <= last["blank_ratio"] <= 1
    weights = [e["weights"] for e in log if e["event"] == "test" and e["language"] == "nl"]
    shares = {"plain": ("0.25", "0.50", "0.75"), "averaging": ("0.50",)}.get(method, ())
    averages = [f"average_{share}" for share in shares]
    assert weights == ([] if method == "new_only" else ["before"]) + ["best", *averages]
    rows = {"replay": 28 + 3, "replay_ewc": 28 + 3, "joint": 28 + 28}.get(method, 28)
    assert f"Training on {rows} utterances" in done.stdout


def test_a_large_lambda_keeps_the_old_weights_and_new_units_stay_free(german, tmp_path):
    def moved(kind, lambda_):
        brain, hparams, manifests = make_brain(
            german
            | penalty(kind, tmp_path / kind, lambda_)
            | {"output_folder": str(tmp_path / f"{kind}{lambda_}"), "lr_schedule": "constant", "warmup": "0"},
            yaml="german_adaptation",
        )
        old = brain.read(prepare_old(hparams) / "train.csv")
        start = {n: p.detach().clone() for n, p in brain.modules.named_parameters()}
        brain.fit(
            range(1, 2),
            brain.read(manifests / "train.csv"),
            train_loader_kwargs={"batch_size": 4},
            old_sets={"train": old},
        )
        new = brain.modules.acoustic.new_units
        change = {n: (p.detach() - start[n]) for n, p in brain.modules.named_parameters()}
        head = change["acoustic.hf.lm_head.weight"]
        held = [c for n, c in change.items() if "lm_head" not in n] + [head[: new[0]]]
        return sum(c.square().sum().item() for c in held) ** 0.5, head[new].norm().item()

    for kind in ("L2SP", "EWC", "MAS"):
        free, new_free = moved(kind, "0.0")
        held, new_held = moved(kind, "1.0e6")
        assert held < 0.9 * free, (kind, held, free)
        assert new_held > 0.2 * new_free, kind


def test_importance_is_estimated_once_and_the_training_does_not_tell(german, tmp_path):
    """Estimated and reused give the same losses; new units (drawn by each seed anew) have no part in it."""

    def run(name, seed):
        brain, hparams, manifests = make_brain(
            german | penalty("EWC", tmp_path / "importance") | {"output_folder": str(tmp_path / name), "seed": seed},
            yaml="german_adaptation",
        )
        old = brain.read(prepare_old(hparams) / "train.csv")
        size = {"batch_size": 4, "shuffle": True}
        brain.fit(range(1, 2), brain.read(manifests / "train.csv"), train_loader_kwargs=size, old_sets={"train": old})
        log = brain.run_log.metrics.events()
        [fisher] = [e for e in log if e["event"] == "fisher"]
        new = brain.modules.acoustic.new_units
        F = load_file(fisher["file"])
        assert not F["acoustic.hf.lm_head.weight"][new].any() and F["acoustic.hf.lm_head.weight"][: new[0]].any()
        return fisher, [e["loss"] for e in log if e["event"] == "train"]

    (first, losses), (second, again), (other, _) = run("a", "1234"), run("b", "1234"), run("c", "99")
    assert (first["reused"], second["reused"], other["reused"]) == (False, True, True)
    assert losses == again
    assert len(list((tmp_path / "importance").iterdir())) == 1


def test_log_likelihood_is_minus_the_loss_and_sampled_labels_are_as_likely(german):
    brain, hparams, manifests = make_brain(german, yaml="german_adaptation")
    brain.modules.eval()
    dutch = prepare_old(hparams) / "train.csv"
    [batch] = batches(brain, dutch, 28)
    with torch.no_grad():
        log_p, tokens = brain.log_likelihood(batch, "gold", torch.Generator())
        assert tokens.tolist() == [len(t) for t in batch.target]
        singles = [brain.log_likelihood(b, "gold", torch.Generator())[0].item() for b in batches(brain, dutch, 1)]
        torch.testing.assert_close(log_p, torch.tensor(singles), rtol=1e-4, atol=1e-4)
        # without new units it is the loss but for their share of the probability
        loss = brain.compute_objectives(brain.compute_forward(batch, Stage.VALID), batch, Stage.VALID)["ctc"]
        assert -log_p.mean() <= loss
        sampled, _ = brain.log_likelihood(batch, "sampled", torch.Generator().manual_seed(1))
    assert torch.isfinite(sampled).all() and not torch.equal(sampled, log_p)


def test_killed_in_the_middle_of_the_adaptation_is_bit_equal(german, tmp_path):
    overrides = german | penalty("EWC", tmp_path / "importance") | {
        "dropout": "0.1", "layerdrop": "0.2", "mask_time_prob": "0.2", "mask_time_length": "2", "augment_prob": "0.7",
        "grad_accumulation_factor": "2", "batch_size": "3", "max_updates": "14", "save_every": "2", "valid_every": "5",
    }  # fmt: skip
    unbroken, broken = (overrides | {"output_folder": str(tmp_path / name)} for name in ("unbroken", "broken"))
    done = train(unbroken, GERMAN)
    assert done.returncode == 0, done.stderr[-2000:]
    kill_at(7, 14, broken, GERMAN)
    again = train(broken, GERMAN)
    assert again.returncode == 0, again.stderr[-2000:]
    assert "Resuming from" in again.stdout and "(reused)" in again.stdout

    def kept(name):  # how often an importance was asked for is no part of the result
        return [e for e in events(tmp_path / name) if e["event"] != "fisher"]

    assert kept("broken") == kept("unbroken")
    weights = [load_file(tmp_path / name / "model" / "model.safetensors") for name in ("unbroken", "broken")]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def test_batches_of_similar_length_have_less_padding_and_resume_in_their_order(ctc_run, tmp_path):
    overrides = ctc_run | {"max_updates": "14", "dropout": "0.1"}
    paths = {name: tmp_path / name for name in ("random", "unbroken", "broken")}
    for name in ("random", "unbroken"):
        more = {"group_by_length": str(name != "random"), "output_folder": str(paths[name])}
        done = train(overrides | more, DUTCH)
        assert done.returncode == 0, done.stderr[-2000:]
    broken = overrides | {"group_by_length": "True", "output_folder": str(paths["broken"])}
    kill_at(9, 14, broken, DUTCH)  # 7 updates an epoch: in the middle of the second
    done = train(broken, DUTCH)
    assert done.returncode == 0 and "Resuming from" in done.stdout, done.stderr[-2000:]
    assert events(paths["broken"]) == events(paths["unbroken"])
    one, other = (load_file(paths[name] / "model" / "model.safetensors") for name in ("unbroken", "broken"))
    assert all(torch.equal(one[key], other[key]) for key in one)
    padding = {
        name: sum(e["padding"] for e in events(paths[name]) if e["event"] == "train") for name in ("random", "unbroken")
    }
    assert padding["unbroken"] < 0.5 * padding["random"]


@pytest.mark.parametrize(
    "overrides, says",
    [
        (
            {"forgetting": "[!new:carryover.forgetting.EWC {lambda_: 1.0}]", "old_language": "null"},
            "EWC needs training clips of the old language",
        ),
        ({"forgetting": "[!new:carryover.forgetting.EWC {lambda_: -1.0}]"}, "lambda: -1.0"),
        (
            {"forgetting": "[!new:carryover.forgetting.EVC {lambda_: 1.0}]"},
            "error: There is no such class as carryover.forgetting.EVC",
        ),
        (
            {"forgetting": "[!new:carryover.forgetting.Replay {share: 0.1}]", "old_language": "null"},
            "Replay needs training clips of the old language",
        ),
        ({"alphabet": '"abcdefghijklmnopqrstuvwxyzäß"'}, "a vocabulary that shrinks"),
        ({"old_language": "de"}, "is the new language, too"),
        ({"model": "results/nowhere"}, "no folder here"),
    ],
)
def test_bad_input_is_an_error_before_training(german, overrides, says):
    done = train(german | overrides, GERMAN)
    assert done.returncode != 0 and says in done.stderr, done.stderr[-1000:]
    assert "Traceback" not in done.stderr and "Training:" not in done.stderr


@pytest.mark.parametrize(
    "overrides, says",
    [
        ({"preset": "ewc", "lambda": "-1"}, "lambda: -1; expected a number, 0 or more"),
        ({"preset": "plain", "fisher_samples": "9"}, "fisher_samples: 9, but nothing reads it"),
        ({"preset": "lwf", "from_scratch": "True"}, "forgetting: LwF would keep what random weights know"),
        ({"preset": "joint", "old_language": "null"}, "forgetting: Replay needs training clips of the old language"),
    ],
)
def test_a_method_that_cannot_be_is_an_error_before_the_needed_run(adaptation_run, overrides, says):
    done = train(adaptation_run | overrides, GERMAN)
    assert done.returncode != 0 and says in done.stderr.strip().splitlines()[-1]
    assert "running hparams/dutch_pretrain.yaml first" not in done.stdout


def test_an_old_corpus_of_another_alphabet_is_an_error(german, two_languages, tmp_path):
    folder = tmp_path / "greek"
    shutil.copytree(two_languages / "nl", folder)
    text = (folder / "manifest.tsv").read_text(encoding="utf-8")
    (folder / "manifest.tsv").write_text(text.replace("twee", "δύο"), encoding="utf-8")
    done = train(german | {"old_data_folder": str(folder)}, GERMAN)
    assert done.returncode != 0 and "utterances hold symbols that are not in the alphabet" in done.stderr
    assert (
        "Testing" not in done.stderr
        and not (Path(german["output_root"]) / "german_adaptation" / "1234" / "predictions_test_nl_before.csv").exists()
    ), "it is found before anything is tested"
    assert "Traceback" not in done.stderr and "Training:" not in done.stderr


def test_old_utterances_with_new_symbols_have_no_part_in_the_importance(german, capsys):
    brain, hparams, manifests = make_brain(german, yaml="german_adaptation")
    [row, *_] = manifest.load(prepare_old(hparams) / "train.csv").values()

    def old(n, strange):
        rows = {f"u{i}": row | {"ID": f"u{i}", "text": "ä twee" if i < strange else row["text"]} for i in range(n)}
        return brain.dataset(rows, [brain.recording(), brain.target()])

    assert brain.known(old(200, 2)).data_ids == [f"u{i}" for i in range(2, 200)]
    assert "2 of 200 utterances, which hold symbols that are new to the old model" in capsys.readouterr().out
    every = old(200, 0)
    assert brain.known(every).data_ids == every.data_ids
    with pytest.raises(ValueError, match="3 of 200 utterances hold symbols that are new to the old model"):
        brain.known(old(200, 3))


@pytest.fixture
def headless(german, tiny_ctc, tmp_path):
    """Overrides of a German run from a model that was only pre-trained on audio, as the hub has them."""
    folder = tmp_path / "headless"
    shutil.copytree(tiny_ctc, folder)
    config = AutoConfig.from_pretrained(tiny_ctc)
    AutoModel.from_config(config).save_pretrained(folder)
    config.vocab_size = None
    config.save_pretrained(folder)
    return german | {"model": str(folder)}


def test_a_model_without_a_head_can_be_trained_and_has_nothing_to_remember(headless, tmp_path):
    brain, hparams, manifests = make_brain(headless, yaml="german_adaptation")
    size = len(hparams["tokenizer"].symbols)
    assert brain.modules.acoustic.new_units == list(range(size)) and brain.modules.acoustic.hf.config.vocab_size == size
    fit = {"train_set": brain.read(manifests / "train.csv"), "train_loader_kwargs": {"batch_size": 4}}
    old = brain.read(prepare_old(hparams) / "train.csv")
    for kind in ("EWC", "MAS"):
        brain, *_ = make_brain(headless | penalty(kind, tmp_path), yaml="german_adaptation")
        with pytest.raises(ValueError, match="has no head, so it knows nothing of the old language"):
            brain.fit(range(1, 2), old_sets={"train": old}, **fit)
    lwf = {"forgetting": "[!new:carryover.forgetting.LwF {}]"}
    with pytest.raises(ValueError, match="LwF has nothing to compare"):
        make_brain(headless | lwf, yaml="german_adaptation")


def test_lwf_from_a_model_without_a_head_is_an_error_before_anything_is_tested(headless):
    done = train(headless | {"preset": "lwf"}, GERMAN)
    assert done.returncode != 0 and "error: forgetting: LwF has nothing to compare" in done.stderr
    assert "Traceback" not in done.stderr and "Training:" not in done.stderr
    folder = Path(headless["output_root"]) / "german_adaptation" / "1234"
    assert not [*folder.glob("predictions_*")] and not [*(folder / "save").glob("*")]


def test_impossible_and_unknown_targets_are_rejected_with_a_reason(ctc_run, two_languages):
    brain, hparams, manifests = make_brain(ctc_run | {"alphabet": '"abcdefghijklmnoprstuvwxyz"'}, yaml="dutch_pretrain")
    limits = hparams["limits"]
    from carryover.data.utterance import Utterance

    def reason(text, duration):
        return limits(Utterance("x", "x.wav", "nl", "s", text, "train", duration))

    assert "symbols that are not in the alphabet: q" in reason("quiz", 1.0)
    assert "target needs more frames than the audio has: 9 (symbols and repeats) of" in reason("aabbcc", 0.13)
    assert "longer than max_seconds" in reason("een", 21.0)
    assert "empty after normalisation" in reason("...", 1.0)
    assert reason("een", 1.0) is None


def test_presets_name_the_methods():
    assert set(METHODS) <= set(presets.read())
