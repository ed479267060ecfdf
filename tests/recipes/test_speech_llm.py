"""The speech LLM recipe: what is trained and saved, batches against clips alone, tasks, real sizes, wrong input."""

import csv
import hashlib
import json
import math
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from speechbrain import Stage
from transformers import (
    HubertConfig,
    HubertModel,
    SmolLM3Config,
    SmolLM3ForCausalLM,
    Wav2Vec2FeatureExtractor,
    WhisperConfig,
    WhisperModel,
)  # fmt: skip

from carryover.data import Utterance
from carryover.models import audio_encoder, projector
from carryover.models.chat import Chat
from carryover.models.language_model import LanguageModel
from carryover.models.state_store import shards
from carryover.models.tasks import Answers, Tasks
from recipes.speech_llm import sample
from tests.tiny_language_model import CHAT, make

from .helpers import batches, kill_at, make_brain, train
from .helpers import events as logged

YAML = "speech_llm_whisper"
COMMIT = "abcdef0123" * 4


@pytest.fixture(scope="module")
def tiny_lm(tmp_path_factory):
    return make(tmp_path_factory.mktemp("tiny_lm"))


def tiny_hubert(folder, norm) -> str:
    """A HuBERT of either kind: one that hears its padding ("group" normalisation, no mask), one that masks it."""
    masked = norm == "layer"
    torch.manual_seed(4)
    config = HubertConfig(
        hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32, conv_dim=[16] * 7,
        feat_extract_norm=norm, do_stable_layer_norm=masked, num_conv_pos_embeddings=16,
        num_conv_pos_embedding_groups=4,
    )  # fmt: skip
    HubertModel(config).save_pretrained(folder)
    Wav2Vec2FeatureExtractor(return_attention_mask=masked).save_pretrained(folder)
    return str(folder)


@pytest.fixture
def run(tiny_whisper, tiny_lm, small_corpus, tmp_path):
    """Overrides that make hparams/speech_llm_whisper.yaml a run of seconds: {key: YAML text}."""
    return {
        "encoder": str(tiny_whisper), "language_model": tiny_lm, "hidden": "16",
        "corpus": "!name:local.table.utterances", "data_folder": str(small_corpus),
        "output_folder": str(tmp_path / "run"), "batch_size": "4", "eval_batch_size": "4", "max_updates": "6",
        "warmup": "2", "log_every": "1", "valid_every": "3", "save_every": "2", "tokens_per_second": "40",
    }  # fmt: skip


def digest(model) -> str:
    """Of all parameters and buffers of a model."""
    sha = hashlib.sha256()
    for name, tensor in model.state_dict().items():
        sha.update(name.encode() + tensor.detach().float().numpy().tobytes())
    return sha.hexdigest()


def fit(brain, manifests, **kwargs):
    size = {"batch_size": 4}
    sets = brain.read(manifests / "train.csv"), brain.read(manifests / "valid.csv")
    brain.fit(range(1, 2), *sets, train_loader_kwargs=size | {"shuffle": True}, valid_loader_kwargs=size, **kwargs)


def events(brain, kind):
    return [e for e in brain.run_log.metrics.events() if e["event"] == kind]


def test_only_the_projector_is_trained_and_saved_and_its_file_gives_the_test_wer_again(run, tmp_path):
    brain, hparams, manifests = make_brain(run, yaml=YAML, saves=True)
    frozen = {"encoder": brain.encoder, "language model": brain.language_model.hf}
    before = {name: digest(model) for name, model in frozen.items()}
    first = digest(brain.modules.projector)
    fit(brain, manifests)
    assert {name: digest(model) for name, model in frozen.items()} == before
    assert digest(brain.modules.projector) != first
    assert not any(m.training for model in frozen.values() for m in model.modules())
    found, said = brain.evaluate(brain.read(manifests / "test.csv"), test_loader_kwargs={"batch_size": 4})
    assert all(key in found for key in ("loops", "echoes", "empty", "unended", "WER"))
    assert "loops" in events(brain, "valid")[-1]
    saved = {path.name for c in (tmp_path / "run" / "save").glob("CKPT*") for path in c.iterdir()}
    assert saved - {"dataloader-TRAIN.ckpt", "checksums.json"} == {
        "CKPT.yaml", "brain.json", "optimizer.pt", "projector.safetensors",
    }  # fmt: skip

    brain.export(tmp_path / "model")
    weights = tmp_path / "model" / "projector.safetensors"
    parameters = sum(p.numel() for p in brain.modules.projector.parameters())
    with safe_open(weights, "pt") as file:
        assert sum(file.get_tensor(name).numel() for name in file.keys()) == parameters
        header = weights.stat().st_size - 4 * parameters
    assert 0 < header < 1000  # names and shapes: far below 2 % of 4 x 36 702 208 bytes at real size
    config = json.loads((tmp_path / "model" / "config.json").read_text())
    for name, source in (("encoder", run["encoder"]), ("language_model", run["language_model"])):
        sha = hashlib.sha256((Path(source) / "model.safetensors").read_bytes()).hexdigest()
        expected = {"source": source, "revision": None, "sha256": {"model.safetensors": sha}}
        assert config["made_for"][name] == expected
    assert config["made_for"]["prompts"] == ["<u>{audio}transcribe<a>"]

    again = run | {"start_from": str(tmp_path / "model"), "output_folder": str(tmp_path / "again")}
    other, _, manifests = make_brain(again, yaml=YAML)
    repeated, rows = other.evaluate(other.read(manifests / "test.csv"), test_loader_kwargs={"batch_size": 3})
    assert repeated["WER"] == found["WER"] and repeated["loss"] == pytest.approx(found["loss"], rel=1e-5)
    texts = {row["id"]: row["hypothesis"] for row in said}
    assert {row["id"]: row["hypothesis"] for row in rows} == texts and len(set(texts.values())) > 1
    _, before = make_brain(again | {"start_from": "null"}, yaml=YAML)[0].evaluate(other.read(manifests / "test.csv"))
    assert {row["id"]: row["hypothesis"] for row in before} != texts, "the file is what gives them"
    another = make(tmp_path / "another_lm", width=32, chat_template=CHAT.replace("<u>", "<u> "))
    with pytest.raises(ValueError, match=r"made for other models.*made_for\.prompts is .* there and"):
        make_brain(again | {"language_model": another}, yaml=YAML)


@pytest.mark.parametrize("frozen", [True, False], ids=["frozen", "trained"])
@pytest.mark.parametrize("encoder", ["whisper", "group", "layer"])
def test_a_clip_in_a_ragged_batch_has_the_loss_and_the_tokens_that_it_has_alone(
    run, tmp_path, monkeypatch, encoder, frozen
):
    overrides = run if encoder == "whisper" else run | {"encoder": tiny_hubert(tmp_path / "hubert", encoder)}
    # a limit of 0: computed for each batch anew
    never = {"kept": "!new:carryover.models.frozen.Kept {precision: float32, limit: 0}"}
    brain, _, manifests = make_brain(overrides | never | {"freeze_encoder": str(frozen)}, yaml=YAML)
    brain.modules.eval()
    generate, said = brain.language_model.generate, []
    monkeypatch.setattr(brain.language_model, "generate", lambda *asked: said.append(generate(*asked)) or said[-1])

    def heard(size):
        brain.hparams.kept.plain = frozen
        found = {}
        for batch in batches(brain, manifests / "train.csv", size):
            with torch.no_grad():
                brain.counts = {"unended": 0}
                output = brain.compute_forward(batch, Stage.VALID)
                tokens, sizes = brain.answers(batch)
                each = -output.log_probs.gather(-1, tokens[..., None]).squeeze(-1)
                losses = [row[:n].sum().item() for row, n in zip(each, sizes.tolist(), strict=True)]
                loss = brain.compute_objectives(output, batch, Stage.VALID)["nll"].item()
                assert loss == pytest.approx(sum(losses) / brain.units(batch), rel=1e-5)
                brain.transcribe(output, batch, Stage.VALID)
            found |= dict(zip(batch.id, zip(losses, said[-1], strict=True), strict=True))
        return found

    together, alone = heard(7), heard(1)
    assert {ID: ids for ID, (_, ids) in together.items()} == {ID: ids for ID, (_, ids) in alone.items()}
    for ID, (loss, _) in alone.items():
        assert together[ID][0] == pytest.approx(loss, rel=1e-5), ID
    assert len({tuple(ids) for _, ids in alone.values()}) > 1


def test_a_frozen_encoder_runs_once_a_clip_and_within_its_limit(run, monkeypatch, tmp_path):
    monkeypatch.setenv("CARRYOVER_CACHE", str(tmp_path / "cache"))

    def losses(**changed):
        brain, _, manifests = make_brain(run | changed, yaml=YAML)
        fit(brain, manifests)
        (part,) = brain.hparams.kept.parts
        clips = len(brain.read(manifests / "train.csv")) + len(brain.read(manifests / "valid.csv"))
        return [e["loss"] for e in events(brain, "train")], part.computed, clips

    first, computed, clips = losses()
    assert 0 < computed <= clips
    again, computed, _ = losses(output_folder=run["output_folder"] + "_again")
    assert again == first and computed == 0, "from the disk"
    limit = {"kept": "!new:carryover.models.frozen.Kept {precision: float32, limit: 0}"}
    monkeypatch.setenv("CARRYOVER_CACHE", str(tmp_path / "small"))
    small, computed, _ = losses(output_folder=run["output_folder"] + "_small", **limit)
    assert small == first and computed > 0 and not shards(tmp_path / "small"), "computed again, the same"


def test_an_unfrozen_encoder_learns_and_is_saved(run, tmp_path):
    brain, hparams, manifests = make_brain(run | {"freeze_encoder": "False", "max_updates": "2"}, yaml=YAML, saves=True)
    before = digest(brain.encoder)
    fit(brain, manifests)
    assert digest(brain.encoder) != before and brain.encoder.kept.computed == 0
    brain.export(tmp_path / "model")
    exported = str(tmp_path / "model" / "encoder")
    assert digest(audio_encoder.load(exported)) == digest(brain.encoder)
    make_brain(run | {"encoder": exported, "start_from": str(tmp_path / "model")}, yaml=YAML)
    with pytest.raises(ValueError, match="encoder_dtype: bfloat16"):
        make_brain(run | {"freeze_encoder": "False", "encoder_dtype": "bfloat16"}, yaml=YAML)


def test_a_checkpoint_between_models_that_have_changed_since_is_refused(run, tmp_path):
    shutil.copytree(run["encoder"], tmp_path / "encoder")
    overrides = run | {"encoder": str(tmp_path / "encoder"), "max_updates": "2"}
    trained = overrides | {"freeze_encoder": "False", "output_folder": str(tmp_path / "trained")}
    for asked in (overrides, trained):
        brain, _, manifests = make_brain(asked, yaml=YAML, saves=True)
        fit(brain, manifests)
        make_brain(asked, yaml=YAML, saves=True)[0].evaluation.load_best()

    weights = load_file(tmp_path / "encoder" / "model.safetensors")
    weights["model.encoder.conv1.bias"] += 0.1  # as when the run that made the encoder is done again
    save_file(weights, tmp_path / "encoder" / "model.safetensors", {"format": "pt"})
    reader, _, manifests = make_brain(overrides, yaml=YAML, saves=True)
    differs = r"CKPT.* made for something else: encoder\.sha256\.model\.safetensors is .* there and .* here"
    with pytest.raises(ValueError, match=differs):
        reader.evaluation.load_best()
    with pytest.raises(ValueError, match=differs):
        fit(reader, manifests)
    make_brain(trained, yaml=YAML, saves=True)[
        0
    ].evaluation.load_best()  # its encoder is in the checkpoint, whatever lies there


def test_random_weights_are_an_identity_of_their_own(run, tmp_path):
    scratch = run | {"encoder_from_scratch": "True"}
    brain, *_ = make_brain(scratch, yaml=YAML)
    brain.export(tmp_path / "model")
    asked = {"start_from": str(tmp_path / "model")}
    make_brain(scratch | asked, yaml=YAML)
    for other in (run, scratch | {"seed": "1235"}):  # the pretrained encoder, and another random one
        with pytest.raises(ValueError, match=r"made_for\.encoder\.sha256\.random weights is"):
            make_brain(other | asked, yaml=YAML)


def test_lora_learns_with_the_projector_and_comes_back_from_a_checkpoint(run, tmp_path):
    pytest.importorskip("peft")
    overrides = run | {"lora": "!new:carryover.models.lora.LoRA {rank: 2}", "max_updates": "4"}
    brain, _, manifests = make_brain(overrides, yaml=YAML, saves=True)
    adapters = digest(brain.modules.adapters)
    fit(brain, manifests)
    assert digest(brain.modules.adapters) != adapters
    best = digest(brain.modules.adapters)
    with torch.no_grad():
        for p in brain.modules.adapters.parameters():
            p.zero_()
    brain.evaluation.load_best()
    assert digest(brain.modules.adapters) == best
    brain.export(tmp_path / "model")
    again = overrides | {"start_from": str(tmp_path / "model"), "output_folder": str(tmp_path / "again")}
    other, _, _ = make_brain(again, yaml=YAML)
    assert digest(other.modules.adapters) == best and digest(other.modules.projector) == digest(brain.modules.projector)
    for changed in ("rank: 3", "rank: 2, alpha: 32", "rank: 2, targets: [q_proj]"):
        with pytest.raises(ValueError, match=r"dora \(2, 16, \['q_proj', 'v_proj'\], False\), here they are"):
            make_brain(again | {"lora": f"!new:carryover.models.lora.LoRA {{{changed}}}"}, yaml=YAML)
    with pytest.raises(ValueError, match="holds adapters, which the weights beside them need"):
        make_brain({k: v for k, v in again.items() if k != "lora"}, yaml=YAML)


@pytest.mark.parametrize("evaluated", ["fp32", "bf16"])
def test_bfloat16_models_learn_and_are_validated(run, evaluated):
    both = dict.fromkeys(("encoder_dtype", "language_model_dtype"), "bfloat16")
    both |= {"precision": "bf16", "eval_precision": evaluated}
    brain, _, manifests = make_brain(run | both | {"max_updates": "2"}, yaml=YAML)
    fit(brain, manifests)
    assert all(p.dtype == torch.float32 for p in brain.modules.parameters())
    assert all(math.isfinite(e["loss"]) for kind in ("train", "valid") for e in events(brain, kind))


LANGUAGE = "!new:carryover.models.tasks.Answers {name: language, prompt: '{audio}which', share: 0.5, column: language, "
LANGUAGE += "answers: {nl: dutch, de: german}}"
TWO_TASKS = (
    f"!new:carryover.models.tasks.Tasks {{chat: !ref <chat>, transcription: !ref <prompt>, others: [{LANGUAGE}]}}"
)


def test_tasks_are_drawn_by_their_shares_and_scored(run):
    brain, hparams, manifests = make_brain(run | {"tasks": TWO_TASKS}, yaml=YAML)
    dataset = brain.read(manifests / "train.csv")
    examples = [dataset[i] for i in range(len(dataset))] * 10
    torch.manual_seed(0)
    batch = hparams["collate"](examples)
    asked = [int(task) for task in batch.task]
    n = len(asked)
    assert abs(sum(asked) - n / 2) < 3 * (n / 4) ** 0.5  # three standard deviations of a fair coin
    for task, target, text in zip(asked, batch.target, (e["target"] for e in examples), strict=True):
        assert target == ("dutch" if task else text)
    assert brain.tasks.of(asked) == [brain.tasks.chat.prompt(brain.tasks.asked[task]) for task in asked]
    assert brain.units(batch) == sum(len(brain.tasks.chat.encode(target)) for target in batch.target)
    fit(brain, manifests)
    assert 0 <= events(brain, "valid")[-1]["language_accuracy"] <= 100
    right = Answers("language", "{audio}which", 0.5, "language", {"nl": "Dutch"})
    assert right.is_right("dutch.", {"language": "nl", "id": "1"}) and not right.is_right("", {"language": "nl"})
    with pytest.raises(ValueError, match="no answer for language 'fr'"):
        right.target({"language": "fr", "id": "1"})
    with pytest.raises(ValueError, match="asks for the column 'accent', but a manifest has ID, audio"):
        Answers("accent", "{audio}which", 0.5, "accent", {})
    limits, clip = hparams["limits"], Utterance("1", "1.wav", "nl", "", "een", "train", duration=1.0)
    assert limits(clip) is None is limits.metadata(clip)
    strange, short = replace(clip, language="fr"), replace(clip, duration=0.1)
    assert limits(strange) == limits.metadata(strange) == "task 'language' has no answer for this language: 'fr'"
    too_long = "answer to task 'language' has more tokens than tokens_per_second allows: 6 of 5"
    assert limits(short) == too_long and len(brain.tasks.chat.encode("een")) == 4
    with pytest.raises(ValueError, match="below 1 together"):
        Tasks(brain.tasks.chat, "{audio}", [right, right])


def test_another_vocabulary_of_the_same_size_makes_the_manifests_anew(run, tmp_path):
    other, moved = make(tmp_path / "other"), make(tmp_path / "moved")
    file = Path(other) / "tokenizer.json"
    written = json.loads(file.read_text())
    vocabulary = written["model"]["vocab"]
    vocabulary["a"], vocabulary["b"] = vocabulary["b"], vocabulary["a"]
    file.write_text(json.dumps(written))
    asked = [make_brain(run | {"language_model": lm}, yaml=YAML)[1] for lm in (run["language_model"], moved, other)]
    here, there, swapped = (hparams["limits"].settings() for hparams in asked)
    assert here == there != swapped


def test_samples_are_nested_and_a_part_of_the_whole():
    rows = {str(i): {} for i in range(50)}
    assert sample(rows, None) == rows == sample(rows, 99)
    assert len(sample(rows, 10)) == 10 and set(sample(rows, 10)) < set(sample(rows, 20))


def test_what_does_not_fit_is_refused_with_its_reason(run, tmp_path, small_corpus):
    import numpy as np
    import soundfile

    def write(name, seconds):
        soundfile.write(tmp_path / name, 0.1 * np.random.default_rng(0).standard_normal(int(16000 * seconds)), 16000)
        return str(tmp_path / name)

    rows = [(write("good.wav", 1), "een"), (write("long.wav", 4.5), "twee"), (write("wordy.wav", 0.5), "zeven " * 9)]
    rows = [(path, text, "nl", "train") for path, text in rows]
    rows += [(rows[0][0], "een", "nl", split) for split in ("valid", "test")]
    lines = ["path\ttext\tlanguage\tsplit", *map("\t".join, rows)]
    (tmp_path / "manifest.tsv").write_text("\n".join(lines) + "\n")
    brain, hparams, manifests = make_brain(run | {"data_folder": str(tmp_path)}, yaml=YAML)
    refused = {Path(r["audio"]).name: r["reason"] for r in csv.DictReader(open(manifests / "rejected.csv"))}
    assert refused.keys() == {"long.wav", "wordy.wav"}
    assert "longer than the window of 4 s: 4.50 s" in refused["long.wav"]
    assert "more tokens than tokens_per_second allows: 54 of 21" in refused["wordy.wav"]
    with pytest.raises(ValueError, match="4.50 s are longer than the encoder's window of 4 s"):
        brain.encoder(torch.zeros(1, 72000), torch.tensor([72000]))


@pytest.mark.parametrize(
    "override, words",
    [
        ({"prompt": "'{audio}" + "say " * 90 + "'"}, ["prompt and audio take", "context is 256", "system_prompt"]),
        ({"prompt": "transcribe"}, ["prompt", "{audio} exactly once"]),
        ({"encoder": "no/encoder"}, ["encoder_revision", "no/encoder", "commit"]),
        ({"language_model": "no/model", "language_model_revision": "main"}, ["language_model_revision", "main"]),
        ({"encoder": "no/encoder", "encoder_revision": COMMIT}, [f"no/encoder at revision {COMMIT}", "safetensors"]),
        ({"language_model": "no/model", "language_model_revision": COMMIT}, [f"no/model at revision {COMMIT}"]),
        (
            {"projector": "!new:carryover.models.projector.Linear {input_width: 16, output_width: 32}"},
            ["width 16", "32"],
        ),
        ({"plain_template": "'{prompt} '"}, ["has a chat template", "plain_template"]),
        ({"language_model_dtype": "float16"}, ["float16", "bfloat16"]),
        ({"start_from": "/nowhere"}, ["/nowhere", "holds no projector.safetensors"]),
    ],
    ids=lambda v: next(iter(v)) if isinstance(v, dict) else "",
)
def test_wrong_input_is_named(run, override, words):
    with pytest.raises((ValueError, FileNotFoundError)) as raised:
        make_brain(run | override, yaml=YAML)
    assert all(word in str(raised.value) for word in words), raised.value


def test_real_sizes_have_their_shapes(tmp_path):
    """whisper-large-v3-turbo and hubert-xlarge before SmolLM3-3B, from their configurations on the meta device."""
    turbo = WhisperConfig(
        vocab_size=51866, num_mel_bins=128, d_model=1280, encoder_layers=32, decoder_layers=4,
        encoder_attention_heads=20, decoder_attention_heads=20, encoder_ffn_dim=5120, decoder_ffn_dim=5120,
    )  # fmt: skip
    HubertConfig(
        hidden_size=1280, num_hidden_layers=48, num_attention_heads=16, intermediate_size=5120,
        feat_extract_norm="layer", conv_bias=True, do_stable_layer_norm=True,
    ).save_pretrained(tmp_path)  # fmt: skip
    # without a mask: meta tensors cannot say whether anything is masked
    Wav2Vec2FeatureExtractor(return_attention_mask=False).save_pretrained(tmp_path)
    smol = SmolLM3Config(
        vocab_size=128256, hidden_size=2048, intermediate_size=11008, num_hidden_layers=36, num_attention_heads=16,
        num_key_value_heads=4, max_position_embeddings=65536, tie_word_embeddings=True,
        attn_implementation="eager",  # sdpa looks whether anything is masked, which meta tensors cannot say
    )  # fmt: skip
    with torch.device("meta"):
        hubert, lm = audio_encoder.load(str(tmp_path), from_scratch=True), SmolLM3ForCausalLM(smol)
        whisper = WhisperModel(turbo)
    lm.tie_weights()
    encoder = audio_encoder.WhisperEncoder(whisper)
    assert sum(p.numel() for p in encoder.parameters()) == 636_968_960
    assert sum(p.numel() for p in lm.parameters()) == 3_075_098_624
    reader = LanguageModel(lm, type("NoChat", (), {"end": 0, "pad": 0}))
    assert isinstance(hubert, audio_encoder.Wav2Vec2Encoder)
    assert sum(p.numel() for p in hubert.parameters()) == 962_497_408
    for model in (encoder, hubert):
        with torch.device("meta"):
            bridge = projector.SwiGLU(model.width, reader.width, hidden=5120)
        assert sum(p.numel() for p in bridge.parameters()) == 36_702_208 and bridge.gate.weight.shape == (5120, 2560)
    with torch.device("meta"):
        states = encoder.hf(torch.empty(1, 128, 3000)).last_hidden_state
        assert states.shape == (1, 1500, 1280)
        heard, frames = hubert.states(torch.empty(1, 48000), torch.tensor([48000], device="cpu"))
        assert heard.shape == (1, 149, 1280) and frames.tolist() == [149]
        assert bridge(heard, frames.to("meta"))[0].shape == (1, 75, 2048)
        inside = torch.ones(1, 75, dtype=torch.bool)
        vectors = bridge.norm(bridge.map(states[:, :150].reshape(1, 75, 2560)))
        logits = reader.logits(vectors, inside, torch.zeros(1, 9, dtype=torch.long), torch.tensor([9]))
    assert vectors.shape == (1, 75, 2048) and logits.shape == (1, 9, 128256)
    assert encoder.frames(torch.tensor(48000)).item() == 150


def test_killed_and_started_again_is_bit_equal(run, tmp_path):
    """Two tasks: which a clip is asked is chance, which a resume has to find where it was."""
    overrides = run | {"tasks": TWO_TASKS, "max_updates": "21", "valid_every": "7"}
    unbroken, broken = (overrides | {"output_folder": str(tmp_path / name)} for name in ("unbroken", "broken"))
    kill_at(9, 21, broken, f"hparams/{YAML}.yaml")  # 7 updates an epoch: in the middle of the second
    found = []
    for asked in (unbroken, broken):
        brain, _, manifests = make_brain(asked, yaml=YAML, saves=True)
        fit(brain, manifests)
        found.append(brain.modules.projector.state_dict())
    resumed = events(brain, "resume")
    assert len(resumed) == 1 and 0 < resumed[0]["update"] < 21
    assert all(torch.equal(found[0][name], found[1][name]) for name in found[0])
    one, other = ([e for e in logged(tmp_path / name) if e["update"]] for name in ("unbroken", "broken"))
    assert one == other, "but for the flags that train.py raises of the corpus, before the first update"


def test_two_clips_are_learned_by_heart(run, tmp_path):
    run = {k: v for k, v in run.items() if k not in ("output_folder", "log_every", "valid_every", "save_every")}
    asked = run | {"overfit": "2", "max_updates": "400", "lr": "1e-2", "output_root": str(tmp_path)}
    done = train(asked | {"warmup": "10", "hidden": "64"}, f"hparams/{YAML}.yaml")
    assert done.returncode == 0, done.stdout[-1500:] + done.stderr[-1500:]
    assert "Overfit gate passed: WER 0" in done.stdout
    assert (tmp_path / f"{YAML}_overfit2" / "1234" / "model" / "config.json").is_file()


def test_a_chat_is_made_once_and_its_prompts_are_those_of_training(run):
    brain, hparams, _ = make_brain(run, yaml=YAML)
    assert isinstance(hparams["chat"], Chat) and hparams["reader"].chat is hparams["tasks"].chat
