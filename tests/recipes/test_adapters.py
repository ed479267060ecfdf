"""Adapters of runs: trained by one line of YAML, switched by `--adapter`, the base as it was."""

import csv
import json
import shutil
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from carryover import exits
from carryover.commands.app import app
from carryover.commands.load import load_run
from carryover.models import adapters
from carryover.models.lora import merged

from .helpers import ROOT, batches, events, train

pytest.importorskip("peft", reason="peft is an extra: pip install -e '.[lora]'")
DUTCH, GERMAN = "hparams/dutch_pretrain.yaml", "hparams/german_adaptation.yaml"
LORA = {"lora": "!new:carryover.models.lora.LoRA {rank: 4, alpha: 8}", "lr": "1.0e-2", "log_every": "2"}


def carryover(*words) -> tuple[int, str, str]:
    """-> status, what a command wrote, and what it said beside."""
    done = CliRunner().invoke(app, list(map(str, words)))
    known = exits.words(done.exception) if isinstance(done.exception, Exception) else None
    return (*known, "") if known else (done.exit_code, done.stdout, done.stderr)


def predictions(folder: Path, name: str) -> list[str]:
    with open(folder / f"predictions_{name}.csv", newline="", encoding="utf-8") as file:
        return [row["hypothesis"] for row in csv.DictReader(file)]


def test_ctc_two_languages_on_one_base(ctc_run, adaptation_run, two_languages, tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    nl, de = tmp_path / "nl", tmp_path / "de"
    done = train(ctc_run | {"output_folder": str(nl), "max_updates": "60", "lr": "3.0e-3"}, DUTCH)
    assert done.returncode == 0, done.stderr
    german = adaptation_run | LORA | {"model": str(nl / "model"), "max_updates": "12", "test_before": "True"}
    done = train(german | {"output_folder": str(de)}, GERMAN)
    assert done.returncode == 0, done.stderr
    said = json.loads((de / "run.json").read_text())["methods"]["model"]
    assert "In it low-rank adapters @[hu2022lora] of rank 4 are trained and its head; the rest is frozen." in said

    base, _, _ = load_run(nl)
    run, _, manifests = load_run(de)
    hf = run.modules.acoustic.hf
    head = "lm_head"
    assert adapters.base_digest(hf, head) == adapters.base_digest(base.modules.acoustic.hf, head), "the base changed"
    folder = de / "model" / adapters.FOLDER
    assert {p.name for p in folder.iterdir()} >= {"adapter_model.safetensors", "adapter_config.json", "base.json",
                                                  "vocab.json"}  # fmt: skip
    whole = sum(p.stat().st_size for p in (de / "model").glob("*.safetensors"))
    assert (folder / "adapter_model.safetensors").stat().st_size < 0.5 * whole
    batch = batches(run, manifests.path("de", "test"), 4)[0]
    with torch.no_grad():
        inputs, lengths, _ = run.features(batch, None)
        run.modules.eval()
        separate, _ = run.modules.acoustic(inputs, lengths)
        run.modules.acoustic.hf = merged(hf)
        together, _ = run.modules.acoustic(inputs, lengths)
    torch.testing.assert_close(together, separate, atol=1e-5, rtol=1e-5)

    # on the base: adapters for German, the base for Dutch, to the bit and the word
    asked = ("--adapter", f"de={de}")
    plain = carryover("evaluate", nl)
    assert plain[0] == 0, plain
    status, table, _ = carryover("evaluate", nl, *asked)
    assert status == 0 and "Adapters: test_nl: none." in table
    assert (
        predictions(nl, "test_nl_evaluate")
        == predictions(nl, "test_nl_adapter-none")
        == predictions(nl, "test_nl_best")
    )
    status, table, _ = carryover("evaluate", de, *asked)
    assert status == 0 and "test_de: de; test_nl: none." in table, table
    assert predictions(de, "test_de_adapter-de") == predictions(de, "test_de_best")
    assert predictions(de, "test_nl_adapter-none") == predictions(nl, "test_nl_best"), "the run's base forgets nothing"
    status, _, said = carryover("transcribe", nl, two_languages / "de", "--language", "de", *asked)
    assert status == 0 and f"adapter: {de} for de" in said
    heard = carryover("transcribe", de, two_languages / "de")[1]
    assert carryover("transcribe", nl, two_languages / "de", *asked, "--language", "de")[1] == heard
    assert carryover("transcribe", nl, two_languages / "de", "--adapter", folder)[1] == heard
    none = carryover("transcribe", de, two_languages / "nl", "--adapter", "none", "--language", "nl")[1]
    assert (
        none
        == carryover("transcribe", nl, two_languages / "nl")[1]
        != carryover("transcribe", de, two_languages / "nl")[1]
    )

    # what cannot be used
    exported = tmp_path / "exported"
    shutil.copytree(folder, exported)
    about = json.loads((exported / "base.json").read_text())
    (exported / "base.json").write_text(json.dumps(about | {"weights": "0" * 64}))
    for words, named in (
        (("--adapter", exported), "belongs to another base: it was trained on weights 000000000000"),
        (("--adapter", tmp_path / "nothing"), "nothing: does not exist"),
        (("--adapter", two_languages), "holds no adapter_model.safetensors"),
        (("--adapter", f"de={de}", "--adapter", f"de={de}"), "'de' is given twice"),
        (("--adapter", f"de={de}", "--adapter", de), "one without a language beside others"),
        (("--adapter", de, "--adapter", "none"), "only one can be used"),
    ):
        status, said, _ = carryover("transcribe", nl, two_languages / "nl", *words, "--out", tmp_path / "x.csv")
        assert status == 2 and named in said and "\n" not in said.strip(), said
        assert not (tmp_path / "x.csv").exists()


def test_whisper_two_languages_on_one_base(whisper_run, small_corpus, tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    runs = {}
    for language, rank in (("nl", 4), ("de", 2)):
        runs[language] = tmp_path / language
        lora = {"lora": f"!new:carryover.models.lora.LoRA {{rank: {rank}, alpha: 8}}", "language": language}
        own = LORA | lora | {"output_folder": str(runs[language]), "keep_states": "float32", "test_before": "True"}
        text = (small_corpus / "manifest.tsv").read_text(encoding="utf-8")
        corpus = tmp_path / f"corpus_{language}"
        shutil.copytree(small_corpus, corpus)
        (corpus / "manifest.tsv").write_text(text.replace("\tnl\t", f"\t{language}\t"), encoding="utf-8")
        done = train(whisper_run | own | {"data_folder": str(corpus)})
        assert done.returncode == 0, done.stderr
        assert [e for e in events(runs[language]) if e["event"] == "train"]
    nl, de = runs["nl"], runs["de"]
    both = [load_run(folder)[0].modules.whisper for folder in (nl, de)]
    assert adapters.base_digest(both[0]) == adapters.base_digest(both[1])
    asked = ("--adapter", f"nl={nl}", "--adapter", f"de={de / 'model'}")
    status, table, _ = carryover("evaluate", nl, *asked)
    assert status == 0 and "Adapters: test_nl: nl." in table
    assert predictions(nl, "test_nl_adapter-nl") == predictions(nl, "test_nl_best")
    status, table, _ = carryover(
        "evaluate", nl, *asked, "--test", f"{tmp_path}/corpus_de/manifest.tsv", "--language", "de"
    )
    assert status == 0, table
    name = "manifest_corpus_de"
    own = carryover("evaluate", de, "--test", f"{tmp_path}/corpus_de/manifest.tsv")
    assert own[0] == 0 and predictions(nl, f"{name}_adapter-de") == predictions(de, f"{name}_evaluate")
    status, _, _ = carryover("evaluate", de, "--adapter", "none")
    assert status == 0 and predictions(de, "test_de_adapter-none") == predictions(de, "test_de_before")

    # what is spoken decides: the base tells it, and the adapters of it are heard (the tiny model takes all for one)
    clip = sorted(small_corpus.glob("*.wav"))[0]
    detect = ("transcribe", nl, clip, "--language", "detect")
    (row,) = csv.DictReader(carryover(*detect, "--adapter", "none")[1].splitlines())
    code = row["language"]
    for language, named in ((code, f"adapter: {nl} for {code}"), ("nl" if code != "nl" else "de", f"none for {code}")):
        status, text, said = carryover(*detect, "--adapter", f"{language}={nl}")
        (routed,) = csv.DictReader(text.splitlines())
        assert status == 0 and named in said and routed["language"] == code, said

    mixed = tmp_path / "mixed.csv"
    clips = sorted(small_corpus.glob("*.wav"))[:2]
    mixed.write_text(f"path,text,language\n{clips[0]},een,nl\n{clips[1]},twee,de\n")
    status, said, _ = carryover("evaluate", nl, *asked, "--test", mixed)
    assert status == 2 and "holds de and nl, and adapters are given for single languages" in said
    status, said, _ = carryover("evaluate", nl, "--adapter", de, "--test", mixed)
    assert status == 0 and f"Adapters: mixed_{tmp_path.name}: {de}." in said
