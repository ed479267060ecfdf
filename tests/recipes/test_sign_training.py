"""The sign recipe end to end on a tiny model: the gate, a teacher, a student that needs it, and what is refused."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from carryover.data.landmarks import Layout
from carryover.losses.soft_targets import divergence

from .helpers import Stage, batches, events, kill_at, make_brain, train

OVERFIT, TEACHER, STUDENT = (f"hparams/sign_{name}.yaml" for name in ("overfit", "teacher", "student"))


@pytest.fixture
def sign_run(tmp_path):
    """Overrides that make hparams/sign_teacher.yaml a run of seconds: {key: YAML text}."""
    return {
        "corpus": "!name:local.synthetic_sign.utterances {train: 24, valid: 4, test: 6}",
        "data_folder": str(tmp_path / "signs"), "output_root": str(tmp_path / "results"),
        "d_model": "16", "layers": "1", "heads": "2", "d_ffn": "32", "batch_size": "4", "epochs": "3",
        "grad_accumulation_factor": "1",
    }  # fmt: skip


def test_gate_passes_on_the_embedded_default(sign_run):
    own = {key: sign_run[key] for key in ("corpus", "data_folder", "output_root")}
    done = train(own | {"d_model": "64", "layers": "1", "d_ffn": "128"}, OVERFIT)
    assert done.returncode == 0, done.stdout[-1500:] + done.stderr[-1500:]
    assert "Training on 5 utterances" in done.stdout and "Overfit gate passed: WER 0 and loss" in done.stdout


def test_gate_fails_at_rate_0(sign_run):
    done = train(sign_run | {"batch_size": "5", "epochs": "50", "lr": "0"}, OVERFIT)
    assert done.returncode == 1, done.stderr[-1500:]
    assert "Overfit gate FAILED: WER" in done.stdout and "The rate was 0 in every update" in done.stdout


def test_a_student_runs_its_teacher_first_and_learns_from_it(sign_run):
    root = Path(sign_run["output_root"])
    # the teacher keeps its YAML's shape, and is told of the student's updates and corpus
    done = train(sign_run | {"d_model": "8", "augment_prob": "0.0", "max_updates": "12"}, STUDENT)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "running hparams/sign_teacher.yaml first, which makes it" in done.stdout
    logged = [e for e in events(root / "sign_student" / "1234") if e["event"] == "train"]
    assert len(logged) == 2 and all(e["kd"] > 0 and e["ctc"] > 0 for e in logged)
    assert all(e["loss"] == pytest.approx(e["ctc"] + e["kd"], rel=1e-6) for e in logged)  # both weights are 1
    sizes = [
        sum(x.numel() for x in load_file(root / name / "1234" / "model" / "model.safetensors").values())
        for name in ("sign_teacher", "sign_student")
    ]
    assert sizes[1] < sizes[0] / 4
    saved = load_file(next((root / "sign_student" / "1234" / "save").glob("CKPT*/recogniser*")))
    assert sum(x.numel() for x in saved.values()) == sizes[1]  # the teacher is in no checkpoint


@pytest.fixture
def brain(sign_run):
    made, hparams, manifests = make_brain(sign_run | {"augment_prob": "0.0"}, yaml="sign_teacher")
    made.modules.eval()
    return made, hparams, manifests


def test_a_batch_of_ragged_sequences_is_its_members_alone(brain):
    made, _, manifests = brain

    def losses(size):
        found = []
        for batch in batches(made, manifests / "test.csv", size):
            with torch.no_grad():
                terms = made.compute_objectives(made.compute_forward(batch, Stage.VALID), batch, Stage.VALID)
            found.append((terms["ctc"].item(), len(batch.id)))
        return found

    [(together, n)], alone = losses(6), losses(1)
    assert n == len(alone) == 6
    assert together == pytest.approx(sum(loss for loss, _ in alone) / 6, rel=1e-5)


def test_augmentation_leaves_enough_frames_and_touches_training_alone(sign_run):
    made, hparams, manifests = make_brain(sign_run | {"augment_prob": "1.0"}, yaml="sign_teacher")
    [batch] = batches(made, manifests / "test.csv", 6)
    plain, lengths, augmented = made.features(batch, Stage.VALID)
    again, _, again_augmented = made.features(batch, Stage.TEST)
    assert not (augmented or again_augmented) and torch.equal(plain, again)
    other, changed, changes = made.features(batch, Stage.TRAIN)
    assert changes and not torch.equal(changed, lengths)
    frames = made.modules.recogniser.frames(changed)
    assert bool((frames >= batch.frames_needed).all())


def test_likelihood_for_a_fisher_is_minus_the_loss(brain):
    made, _, manifests = brain
    [batch] = batches(made, manifests / "test.csv", 6)
    log_p, lengths = made.log_likelihood(batch, "gold", torch.Generator())
    loss = made.compute_objectives(made.compute_forward(batch, Stage.VALID), batch, Stage.VALID)["ctc"]
    assert -log_p.mean().item() == pytest.approx(loss.item(), rel=1e-6)
    assert lengths.tolist() == [len(row["text"].split()) for row in batch.row]
    drawn, _ = made.log_likelihood(batch, "sampled", torch.Generator().manual_seed(1))
    assert torch.isfinite(drawn).all()


def test_killed_with_augmentation_on_is_bit_equal(sign_run, tmp_path):
    overrides = sign_run | {"augment_prob": "0.8", "dropout": "0.2", "log_every": "1", "save_every": "2", "epochs": "4"}
    unbroken = overrides | {"output_folder": str(tmp_path / "unbroken")}
    assert train(unbroken, TEACHER).returncode == 0
    broken = overrides | {"output_folder": str(tmp_path / "broken")}
    kill_at(9, 24, broken, TEACHER)  # 6 updates an epoch: in the middle of the second
    done = train(broken, TEACHER)
    assert done.returncode == 0 and "Resuming from" in done.stdout, done.stderr[-2000:]
    one, other = (load_file(tmp_path / name / "model" / "model.safetensors") for name in ("unbroken", "broken"))
    assert all(torch.equal(one[key], other[key]) for key in one)
    assert events(tmp_path / "unbroken") == events(tmp_path / "broken")


@pytest.fixture
def holistic(tmp_path):
    """Folder of five random sequences of MediaPipe's 543 points, with glosses; two that cannot be learned."""
    folder, chance = tmp_path / "holistic", np.random.default_rng(3)
    folder.mkdir()
    rows = ["path\tgloss\tsplit\tsigner"]
    for i, (split, frames) in enumerate([("train", 40), ("train", 25), ("valid", 30), ("test", 30), ("train", 6)]):
        array = chance.normal(0.5, 0.1, (frames, 543, 4)).astype(np.float32)
        array[:, 11, :2], array[:, 12, :2] = (0.6, 0.5), (0.4, 0.5)  # shoulders
        np.save(folder / f"{i}.npy", array)
        rows.append(f"{i}.npy\t{'A B A' if i != 4 else 'A A B B'}\t{split}\ts{i}")
    rows.append("0.npy\tA UNSEEN\ttest\ts9")
    (folder / "manifest.tsv").write_text("\n".join(rows) + "\n")
    return folder


def test_full_size_makes_an_update_and_impossible_targets_are_refused(holistic, tmp_path):
    done = train(
        {
            "corpus": "!name:local.landmarks.utterances {fps: 25}", "data_folder": str(holistic), "language": "gsg",
            "glosses": "!apply:local.landmarks.glosses [!ref <data_folder>, !ref <language>]",
            "layout": "!apply:carryover.data.landmarks.Layout.holistic", "output_folder": str(tmp_path / "run"),
            "d_model": "512", "layers": "14", "heads": "8", "d_ffn": "2048", "batch_size": "2", "epochs": "1",
            "max_updates": "1", "log_every": "1", "save_every": "1",
        },
        TEACHER,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    width = Layout.holistic().width * 3
    assert width == 6516
    config = json.loads((tmp_path / "run" / "model" / "config.json").read_text())
    assert config["width"] == width and config["units"] == 3
    [event] = [e for e in events(tmp_path / "run") if e["event"] == "train"]
    assert event["update"] == 1 and np.isfinite(event["loss"])
    trained = int(done.stdout.split("Parameters: ")[1].split(" ")[0].replace(",", ""))
    assert 45e6 < trained < 55e6
    memory = float(done.stdout.split("peak memory ")[1].split(" GiB")[0])
    assert 16 * trained / 2**30 < memory < 10  # weights, gradients and AdamW's two moments, 4 bytes each
    print(f"{trained:,} parameters, peak memory {memory} GiB")
    rejected = (tmp_path / "run" / "manifests" / "gsg" / "rejected.csv").read_text()
    assert "target needs more frames than the sequence has: 6 (glosses and repeats) of 2, made of 6" in rejected
    kept = (tmp_path / "run" / "manifests" / "gsg" / "remarks.csv").read_text()  # in a test set it counts as an error
    assert "glosses that are not in the vocabulary: UNSEEN" in kept


def test_going_on_from_the_best_weights_and_not_from_those_for_other_glosses(sign_run):
    root = Path(sign_run["output_root"])
    assert train(sign_run | {"epochs": "1"}, TEACHER).returncode == 0
    own = sign_run | {"preset": "sign_continue", "epochs": "1"}
    done = train(own, TEACHER)
    assert done.returncode == 0 and "none new" in done.stdout, done.stderr[-800:]
    [event] = [e for e in events(root / "sign_continued" / "1234") if e["event"] == "train"]
    assert 0 < event["lr"] <= 5e-5
    glosses = root / "sign_teacher" / "1234" / "model" / "glosses.txt"
    glosses.write_text("\n".join(reversed(glosses.read_text().split())) + "\n")
    (glosses.parent / "checksums.json").unlink()  # says that they were changed
    done = train(own | {"output_folder": str(root / "other")}, TEACHER)
    assert done.returncode != 0 and "they stand in another order" in done.stderr.splitlines()[-1], done.stderr[-800:]


def test_a_gate_of_the_student_needs_no_teacher(sign_run):
    done = train(sign_run | {"overfit": "2", "max_updates": "2"}, STUDENT)
    assert done.returncode == 1 and "Overfit gate FAILED" in done.stdout, done.stderr[-800:]
    assert "running hparams" not in done.stdout
    assert not (Path(sign_run["output_root"]) / "sign_teacher").exists()


def test_a_teacher_with_other_frames_is_an_error(sign_run):
    assert train(sign_run | {"epochs": "1"}, TEACHER).returncode == 0
    done = train(sign_run | {"strides": "[2]", "epochs": "1"}, STUDENT)
    assert done.returncode != 0 and "frames" in done.stderr.splitlines()[-1], done.stderr[-800:]


def test_the_term_of_a_batch_is_the_divergence_of_its_posteriors(sign_run):
    assert train(sign_run | {"epochs": "1"}, TEACHER).returncode == 0
    made, hparams, manifests = make_brain(sign_run | {"augment_prob": "0.0", "d_model": "8"}, yaml="sign_student")
    made.modules.eval()
    [batch] = batches(made, manifests / "test.csv", 6)
    output = made.compute_forward(batch, Stage.TRAIN)
    terms = made.compute_objectives(output, batch, Stage.TRAIN)
    with torch.no_grad():
        teacher, _ = hparams["distillation"].teacher(*output.inputs)
        expected = divergence(teacher, output.log_probs, output.lengths, hparams["temperature"])
    assert terms["kd"].item() == pytest.approx(expected.item(), rel=1e-5)
