"""`carryover export`: one text from a run, transformers' pipeline, CTranslate2 and ONNX; the card; what is refused."""

import csv
import importlib.util
import os
import re
import shutil
from pathlib import Path
from types import SimpleNamespace

import jiwer
import pytest
import yaml
from typer.testing import CliRunner

from carryover import checksums, exits
from carryover.commands.app import app
from carryover.commands.export import asked, formats, push
from carryover.commands.load import load_run
from carryover.data import audio, manifest
from carryover.text import Normaliser
from local import synthetic

from .helpers import ROOT, events, train

STARTER, TESTED = ROOT / "assets" / "whisper_starter", 16


def command(name: str, *words) -> tuple[int, str]:
    """-> status and all that was said."""
    done = CliRunner().invoke(app, [name, *map(str, words)])
    known = exits.words(done.exception) if isinstance(done.exception, Exception) else None
    return known or (done.exit_code, done.output)


def needs(name: str) -> None:
    """Skip where an extra is not installed."""
    for package in asked.EXTRAS[name]:
        pytest.importorskip(package, reason=f"{package} is an extra: pip install -e '.[{name}]'")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A finished run of the starter model on Dutch clips of the embedded corpus."""
    home = tmp_path_factory.mktemp("export")
    rows = list(synthetic.utterances(home / "corpus", "nl", ("valid",)))
    lines = ["path\tlanguage\tspeaker\ttext\tsplit"]
    for split, chosen in (("train", rows[:12]), ("valid", rows[12:18]), ("test", rows[18 : 18 + TESTED])):
        lines += [f"{os.path.abspath(u.audio)}\tnl\t{u.speaker}\t{u.text}\t{split}" for u in chosen]
    (home / "corpus" / "manifest.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    given = {
        "model": str(STARTER), "corpus": "!name:local.table.utterances", "data_folder": str(home / "corpus"),
        "language": "nl", "old_language": "null", "output_folder": str(home / "run"), "batch_size": "4",
        "max_updates": "4", "warmup": "0", "lr": "1.0e-4", "log_every": "1", "valid_every": "4", "save_every": "4",
        "test_before": "False",
    }  # fmt: skip
    done = train(given)
    assert done.returncode == 0, done.stderr[-2000:]
    return home / "run"


@pytest.fixture(autouse=True)
def at_root(monkeypatch):
    monkeypatch.chdir(ROOT)


def WER(rows, hypotheses) -> float:
    normaliser = Normaliser()
    pairs = [(normaliser(row["text"], "nl"), normaliser(hyp, "nl")) for row, hyp in zip(rows, hypotheses, strict=True)]
    return 100 * jiwer.wer(*map(list, zip(*pairs, strict=True)))


@pytest.mark.parametrize("to", ["hf", "ctranslate2", "onnx"])
def test_one_wer_in_evaluate_and_in_every_format(run, tmp_path, to):
    needs(to)
    status, said = command("export", run, "--to", to, "--out", tmp_path / to, "--parity", TESTED)
    assert status == 0, said
    assert f"the same tokens as the run in all {TESTED} clips of nl's test list" in said
    assert not checksums.faults(tmp_path / to)
    home = os.fsencode(run.parent)
    assert not [path.name for path in (tmp_path / to).iterdir() if home in path.read_bytes()], "a path of this machine"
    status, evaluated = command("evaluate", run)
    assert status == 0, evaluated

    brain, _, manifests = load_run(run)
    found = formats.decoders(brain, asked.Asked(to, None, 0, "unknown", None, False), tmp_path / to)
    tokenizer, rows = brain.hparams.tokenizer, list(manifest.load(manifests.path("nl", "test")).values())
    wavs = [audio.read(row["audio"]).numpy() for row in rows]
    said = [tokenizer.decode(tokenizer.text_ids(found.tokens(wav))) for wav in wavs]
    with open(run / "predictions_test_nl_evaluate.csv", newline="", encoding="utf-8") as file:
        assert said == [row["hypothesis"] for row in csv.DictReader(file)]
    assert f"| {WER(rows, said):.2f} [" in evaluated
    if to == "hf":
        assert [found.text(wav) for wav in wavs] == said
        assert found.text.pipeline.model.generation_config.max_length == 4 + 64  # as long as in the test


def test_quantised(run, tmp_path):
    needs("ctranslate2")
    words = ("export", run, "--to", "ctranslate2", "--quantization", "int8", "--out", tmp_path / "x")
    status, said = command(*words)
    assert status == 0, said
    assert re.search(r"Parity: ctranslate2 int8, greedy, 8 clips: WER [\d.]+ % -> [\d.]+ % \([+-][\d.]+ points", said)
    whole = (STARTER / "model.safetensors").stat().st_size
    assert (tmp_path / "x" / "model.bin").stat().st_size < 0.4 * whole
    assert "ctranslate2 int8, greedy, 8 clips" in (tmp_path / "x" / "README.md").read_text(encoding="utf-8")


def test_another_model_is_refused(run, tmp_path, monkeypatch):
    """An export whose weights are not the run's is not written, and the empty folder that was there stays."""
    write = formats.write

    def broken(brain, wanted, folder):
        weight = brain.modules["whisper"].model.decoder.layer_norm.weight.data
        weight *= -1
        write(brain, wanted, folder)
        weight *= -1

    monkeypatch.setattr(formats, "write", broken)
    (tmp_path / "out").mkdir()
    status, said = command("export", run, "--out", tmp_path / "out")
    assert status == 1 and "clips of" in said and "by the run" in said and "nothing was written" in said, said
    assert [path.name for path in tmp_path.rglob("*")] == ["out"]


def test_the_card(run, tmp_path):
    status, said = command("export", run, "--out", tmp_path / "x", "--license", "apache-2.0", "--parity", "0")
    assert status == 0 and "not checked (--parity 0)" in said, said
    card = (tmp_path / "x" / "README.md").read_text(encoding="utf-8")
    _, head, text = card.split("---\n", 2)
    head = yaml.safe_load(head)
    assert {k: head[k] for k in ("language", "license", "library_name", "pipeline_tag", "metrics")} == {
        "language": "nl", "license": "apache-2.0", "library_name": "transformers",
        "pipeline_tag": "automatic-speech-recognition", "metrics": ["wer", "cer"],
    }  # fmt: skip
    assert "base_model" not in head, "a folder is no model of the hub"
    (test,) = [event for event in events(run) if event["event"] == "test"]
    (result,) = head["model-index"][0]["results"]
    assert [(m["type"], m["value"]) for m in result["metrics"]] == [
        ("wer", round(test["WER"], 2)), ("cer", round(test["CER"], 2)),
    ]  # fmt: skip
    assert result["metrics"][0]["args"]["interval_95"] == [round(x, 2) for x in test["interval"]]
    low, high = test["interval"]
    assert f"{test['WER']:.2f} [{low:.2f}, {high:.2f}]" in text
    for part in ("## Use", "| nl † | ", "| lr | `0.0001` |", "## Limits", "One training run (seed 1234)", "@software{"):
        assert part in text, part
    assert str(run.parent) not in card and str(Path.home()) + "/" not in card


@pytest.mark.parametrize(
    ("source", "wanted"),
    [("openai/whisper-small", "openai/whisper-small"), ("assets/whisper_starter", None), ("/data/x", None),
     ("a/b/c", None), ("./model", None), ("", None)],
)  # fmt: skip
def test_base_model_is_a_name_of_the_hub(source, wanted):
    from carryover.commands.export import card

    assert card.base_model(source, False) == wanted and card.base_model(source, True) is None


def test_push(run, tmp_path, monkeypatch):
    import huggingface_hub

    calls = []

    class Api:
        def create_repo(self, *words, **kwargs):
            calls.append(("create_repo", words, kwargs))

        def upload_folder(self, **kwargs):
            calls.append(("upload_folder", sorted(os.listdir(kwargs["folder_path"])), kwargs["repo_id"]))
            return SimpleNamespace(commit_url=f"{kwargs['repo_id']}/commit/1")

    monkeypatch.setattr(huggingface_hub, "HfApi", Api)
    words = ("export", run, "--parity", "0", "--push", "me/dutch")
    status, said = command(*words, "--out", tmp_path / "dry", "--dry-run")
    assert status == 0 and not calls, said
    size = (tmp_path / "dry" / "model.safetensors").stat().st_size
    assert "me/dutch" in said and f"model.safetensors ({size:,} bytes)" in said and "Nothing was uploaded" in said
    assert "Licence in the card: unknown" in said

    status, said = command(*words, "--out", tmp_path / "wet", "--license", "mit")
    assert status == 0 and "Uploaded to me/dutch" in said, said
    assert calls == [
        ("create_repo", ("me/dutch",), {"repo_type": "model", "private": True, "exist_ok": True}),
        ("upload_folder", sorted(os.listdir(tmp_path / "wet")), "me/dutch"),
    ]

    def unreachable(self, *words, **kwargs):
        raise OSError("no way to the hub")

    monkeypatch.setattr(Api, "upload_folder", unreachable)
    with pytest.raises(ConnectionError, match="no way to the hub.*hf upload me/dutch"):
        push.push(tmp_path / "wet", "me/dutch", "mit")


def test_bad_input(run, tmp_path, monkeypatch):
    """One line and status 2 each, and nothing is written."""
    out, there = tmp_path / "out", tmp_path / "there"
    there.mkdir()
    (there / "note.txt").write_text("mine")

    def copied(name: str, *lost: str) -> Path:
        shutil.copytree(run, tmp_path / name)
        for part in lost:
            path = tmp_path / name / part
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        return tmp_path / name

    unfinished, weightless = copied("unfinished", "results.md"), copied("weightless", "save")
    (weightless / "save").mkdir()
    listless = copied("listless", "manifests")
    cases = [
        ((run, "--to", "gguf"), "convert-h5-to-ggml.py"),
        ((run, "--to", "tflite"), "expected one of: hf, ctranslate2, onnx"),
        ((run, "--quantization", "int8"), "goes with --to ctranslate2 alone"),
        ((run, "--parity", "-1"), "0 for no check"),
        ((run, "--dry-run"), "give --push"),
        ((run, "--push", "no name!"), "--push:"),
        ((unfinished,), "has not come to its end"),
        ((weightless,), "holds no checkpoint"),
        ((listless,), "--parity 0"),
        ((tmp_path / "nowhere",), "is no run folder"),
    ]
    for words, named in cases:
        status, said = command("export", *words, "--out", out)
        assert status == 2 and named in said and not out.exists(), (words, said)
    status, said = command("export", run, "--out", there)
    assert status == 2 and "a folder that is empty or not there" in said and os.listdir(there) == ["note.txt"]

    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *a: None if name == "onnxscript" else find(name, *a))
    status, said = command("export", run, "--to", "onnx", "--out", out)
    assert (
        status == 2
        and re.search(r"needs (onnx, onnxruntime, )?onnxscript: pip install -e '.\[onnx\]'", said)
        and not out.exists()
    )
    assert sorted(p.name for p in tmp_path.iterdir()) == ["listless", "there", "unfinished", "weightless"]


@pytest.mark.parametrize("kind", ["w2v-bert", "wav2vec2", "whisper"])
def test_ctc(ctc_run, tmp_path, kind):
    needs("onnx")
    done = train(ctc_run | {"max_updates": "2", "valid_every": "2"} | source_of(kind, tmp_path), DUTCH)
    assert done.returncode == 0, done.stderr[-2000:]
    folder = Path(ctc_run["output_root"]) / "dutch_pretrain" / "1234"
    for to in ("hf", "onnx"):
        status, said = command("export", folder, "--to", to, "--out", tmp_path / to)
        assert status == 0 and f"{to}, greedy: the same tokens as the run in all" in said, said
        assert ("text of transformers' pipeline" in said) == (to == "hf" and kind != "whisper")
    status, said = command("export", folder, "--to", "ctranslate2", "--out", tmp_path / "x")
    assert status == 2 and "the model of a CTCBrain can be exported as hf or onnx" in said


DUTCH = "hparams/dutch_pretrain.yaml"


def source_of(kind: str, folder: Path) -> dict[str, str]:
    """Overrides for a tiny model of another family, with random weights."""
    from transformers import Wav2Vec2Config, Wav2Vec2FeatureExtractor

    if kind == "w2v-bert":
        return {}
    if kind == "whisper":
        return {"model": str(STARTER), "mask_time_prob": "0", "mask_feature_prob": "0"}
    small = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    convolutions = {"conv_dim": [32] * 7, "num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 2}
    Wav2Vec2Config(vocab_size=32, **small, **convolutions, pad_token_id=0).save_pretrained(folder / "model")
    Wav2Vec2FeatureExtractor(return_attention_mask=False).save_pretrained(folder / "model")
    return {"model": str(folder / "model")}


@pytest.mark.parametrize("recipe", ["sign_ctc.SignBrain", "speech_llm.SpeechLLMBrain"])
@pytest.mark.parametrize("to", ["ctranslate2", "onnx"])
def test_a_target_that_the_model_cannot_have(recipe, to):
    module, _, name = recipe.partition(".")
    kind = getattr(importlib.import_module(f"recipes.{module}"), name)
    with pytest.raises(ValueError, match=f"the model of a {name} can be exported as hf"):
        asked.Asked(to, None, 8, "mit", None, False).require_model(kind.__new__(kind), Path())
