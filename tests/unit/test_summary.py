"""carryover/report/summary.py: what is kept of a run, by hand; files cut off, old or missing; what is kept private."""

import json
import math
import shutil
import subprocess
import sys
from pathlib import Path

import made_runs
import numpy as np
import pytest

from carryover.report import find_runs, grouping, log_reader, methods, summary
from carryover.report.run_folder import Run

ROOT = Path(__file__).parents[2]


def write_manifest(run: Path, language: str, texts=("een twee", "drie"), audio="a/{}.wav", **done):
    """A manifest folder with a test set and a .done marker."""
    folder = run / "manifests" / language
    folder.mkdir(parents=True)
    rows = [f"{language}{i},{audio.format(i)},1.5000,{language},anna,{text}\n" for i, text in enumerate(texts)]
    (folder / "test.csv").write_text("ID,audio,duration,language,speaker,text\n" + "".join(rows))
    marker = {
        "settings": {"corpus": "common_voice", "sample": {"train": 60}, "sample_seed": 42},
        "digest": "d1" * 32,
        "counts": {"train": 55, "test": 2, "rejected": 8, "not_sampled": 35},
        "steps": {
            "available": {"train": 100, "test": 2}, "passed the metadata": {"train": 95, "test": 2},
            "sampled": {"train": 60, "test": 2}, "valid audio": {"train": 57, "test": 2},
        },
        "hours": {"train": 1.25, "test": 0.5},
        "rejected": {"too long": 5, "unreadable": 3},
    }  # fmt: skip
    (folder / ".done").write_text(json.dumps(marker | done))


def test_what_is_kept_of_a_run(tmp_path):
    folder = made_runs.make(tmp_path / "results" / "ewc" / "7", seed=7, loss=2.0, penalty=0.01, lr="1e-3")
    write_manifest(folder, "de")
    write_manifest(folder, "nl", settings={"corpus": "local.common_voice.utterances"})
    found = find_runs.load([tmp_path / "results"])[0]
    assert {counts["corpus"] for counts in found.counts.values()} == {"common_voice"}
    assert (found.name, found.experiment, found.seed, found.status) == ("ewc/7", "german_adaptation", "7", "finished")
    assert found.settings["max_updates"] == 100 and found.settings["lr"] == 0.001 and found.asked["lr"] == "1e-3"
    assert found.objects == {"normaliser": "!new:carryover.text.Normaliser"} and "normaliser" not in found.settings
    assert found.normaliser == "carryover.text.Normaliser"
    updates = np.arange(10, 101, 10)
    np.testing.assert_array_equal(found.train["update"], updates)
    np.testing.assert_allclose(found.train["loss"], 200 / updates)
    np.testing.assert_allclose(found.train["penalty_ratio"], 0.01 * updates)
    assert found.train_events == 10 and found.problems == []
    assert (found.first_loss, found.last_loss) == (20, 2)
    assert found.mean_loss == pytest.approx(np.mean(200 / updates))
    assert found.seconds_per_update == 1
    assert found.audio_seconds == 10 and found.peak_memory_bytes == 1e9 and found.seconds == 121
    assert found.last_update == 100 and found.end["reason"] == "all updates done"
    # epoch = 1 + n // 60: updates 10 to 50, and 60 to 100
    np.testing.assert_array_equal(found.by_epoch["epoch"], [1, 2])
    np.testing.assert_array_equal(found.by_epoch["update"], [50, 100])
    np.testing.assert_allclose(found.by_epoch["loss"], [np.mean(200 / updates[:5]), np.mean(200 / updates[5:])])
    assert [e["WER"] for e in found.valid if e["language"] == "de"] == [40, 20]
    assert found.test("nl", "before")["WER"] == 25 and found.test("nl", "best")["WER"] == 75
    assert found.test("nl", "average_0.5") is None
    assert set(found.predictions) == {("test_de", "best"), ("test_nl", "before"), ("test_nl", "best")}
    counts = found.counts["de"]
    assert counts["available"] == {"train": 100, "test": 2} and counts["valid"] == {"train": 57, "test": 2}
    assert counts["rejected"] == {"too long": 5, "unreadable": 3} and counts["refused"] == 8
    assert counts["sample"] == {"train": 60} and counts["hours"]["train"] == 1.25


def test_files_of_evaluate_are_no_problem(tmp_path):
    folder = made_runs.make(tmp_path / "a" / "1")
    for weights in ("evaluate", "adapter", "adapter-none", "adapter-fr-CA", "averaged"):
        shutil.copy(folder / "predictions_test_nl_best.csv", folder / f"predictions_test_nl_{weights}.csv")
    [problem] = summary.summarise(folder).problems
    assert problem.startswith("predictions_test_nl_averaged.csv: no file of a test")


def test_a_half_written_last_line_and_unreadable_ones(tmp_path):
    folder = made_runs.make(tmp_path / "a" / "1")
    whole = summary.summarise(folder)
    lines = (folder / "metrics.jsonl").read_bytes().splitlines(True)
    lines[3:3] = [b"{not json}\n", b'["a list"]\n', b"\xff\xfe\n"]
    (folder / "metrics.jsonl").write_bytes(b"".join(lines) + '{"event": "train", "note": "ä'.encode()[:-1])
    found = summary.summarise(folder)
    assert found.unreadable == [4, 5, 6]
    assert [p.split(":")[0] for p in found.problems] == [
        "metrics.jsonl line 4", "metrics.jsonl line 5", "metrics.jsonl line 6",
        f"metrics.jsonl line {len(lines) + 1}",
    ]  # fmt: skip
    assert "half-written" in found.problems[-1]
    np.testing.assert_array_equal(found.train["loss"], whole.train["loss"])
    assert found.tests == whole.tests and found.status == "finished"
    with pytest.raises(ValueError, match="line 4, 5, 6: no event"):  # digits of a comparison want a whole log
        Run(folder).of("test")


@pytest.mark.parametrize(
    ("kind", "key", "value", "expected"),
    [
        ("test", "interval", 5.3, "two numbers"),
        ("test", "interval", [1, "x"], "two numbers"),
        ("test", "interval_CER", [1.0], "two numbers"),
        ("test", "language", 5, "str"),
        ("test", "words", "two", "int"),
        ("valid", "WER", "low", "float"),
        ("end", "reason", ["x"], "str"),
    ],
)
def test_a_value_of_another_kind_leaves_its_event_out(kind, key, value, expected, tmp_path):
    folder = made_runs.make(tmp_path / "a" / "1")
    lines = (folder / "metrics.jsonl").read_text().splitlines(True)
    at = next(i for i, line in enumerate(lines) if f'"event": "{kind}"' in line)
    lines[at] = json.dumps(json.loads(lines[at]) | {key: value}) + "\n"
    (folder / "metrics.jsonl").write_text("".join(lines))
    found = summary.summarise(folder)
    assert found.unreadable == [at + 1]
    assert f"metrics.jsonl line {at + 1}: {kind}: {key} is {value!r}, expected {expected}" in found.problems[0]


def test_numbers_that_are_not_finite_are_strings(tmp_path):
    folder = made_runs.make(tmp_path / "a" / "1")
    log = (folder / "metrics.jsonl").read_text().replace('"WER": 20.0', '"WER": "nan"', 1)
    (folder / "metrics.jsonl").write_text(log)
    found = summary.summarise(folder)
    assert found.valid[0]["WER"] == "nan" and found.unreadable == []


def test_a_killed_run_and_one_that_goes_on(tmp_path):
    folder = made_runs.make(tmp_path / "a" / "1", finished=False)
    found = summary.summarise(folder)
    assert found.status == "unfinished" and found.end is None and found.last_update == 100
    (folder / "results.md").write_text("")
    assert summary.summarise(folder).status == "unfinished"  # of an earlier time; its end is not there
    (folder / "metrics.jsonl").write_text("")
    found = summary.summarise(folder)
    assert found.train == {} and found.train_events == 0 and math.isnan(found.seconds) and found.last_update == 0


def test_an_older_schema_loses_nothing_else(tmp_path):
    folder = made_runs.make(tmp_path / "a" / "1")
    events = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    for event in events:
        for key in ("peak_memory_bytes", "epoch", "interval", "grad_norm") if event["event"] != "valid" else ():
            event.pop(key, None)
    events[4]["loss"] = "nan"
    (folder / "metrics.jsonl").write_text("".join(json.dumps(e) + "\n" for e in events))
    (folder / "run.json").unlink()
    found = summary.summarise(folder)
    assert found.problems == [
        "run.json: not there; what it says of the run is unknown",
        "metrics.jsonl: train events without epoch, grad_norm, peak_memory_bytes, as an older version wrote them",
        "metrics.jsonl: test events without interval, as an older version wrote them",
    ]
    assert "grad_norm" not in found.train and math.isnan(found.peak_memory_bytes) and found.by_epoch == {}
    assert np.isnan(found.train["loss"]).sum() == 1 and found.train["update"][-1] == 100
    assert found.experiment == "german_adaptation"  # from the YAML's first line


def test_a_command_that_cannot_be_split_costs_its_words_alone(tmp_path):
    folder = made_runs.make(tmp_path / "a" / "1")
    info = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps(info | {"command": "python train.py hparams/other.yaml --note 'half"}))
    assert summary.summarise(folder).experiment == "german_adaptation"  # from the YAML's first line


def test_events_with_other_keys_share_columns(tmp_path):
    folder = made_runs.make(tmp_path / "a" / "1")
    train = [
        {"event": "train", "update": n, "time": n, "loss": 1.0} | ({"kd": n} if n > 2 else {}) for n in range(1, 5)
    ]
    train[1]["loss"], train[0]["note"] = "inf", "text"
    (folder / "metrics.jsonl").write_text("".join(json.dumps(e) + "\n" for e in train))
    found = summary.summarise(folder)
    np.testing.assert_array_equal(found.train["kd"], [np.nan, np.nan, 3, 4])
    np.testing.assert_array_equal(found.train["loss"], [1, np.inf, 1, 1])
    assert "note" not in found.train and "event" not in found.train


def test_a_long_log_is_thinned_and_shows_the_same_curve(tmp_path):
    folder = made_runs.make(tmp_path / "a" / "1")
    n = 5000
    loss = np.random.default_rng(1).normal(5, 0.1, n)
    loss[[777, 4003]] = 99, -7
    events = []
    for i, value in enumerate(loss):
        events.append(
            {"event": "train", "update": i + 1, "epoch": 1, "time": 2.0 * i, "loss": value, "audio_seconds": 3}
        )
        if i == 3321:
            events.append({"event": "valid", "update": i + 1, "language": "de", "WER": 5.0})
    (folder / "metrics.jsonl").write_text("".join(json.dumps(e) + "\n" for e in events))
    found = summary.summarise(folder)
    assert found.train_events == n and len(found.train["loss"]) <= log_reader.POINTS + 3
    assert found.train["loss"].max() == 99 and found.train["loss"].min() == -7
    assert {1, 3322, n} <= set(found.train["update"])
    assert found.mean_loss == pytest.approx(loss.mean()) and found.audio_seconds == 3 * n
    assert found.by_epoch["loss"] == pytest.approx([loss.mean()])
    assert found.seconds_per_update == 2


def test_a_corpus_with_options_is_called_by_its_name(tmp_path):
    """Options may hold folders, and a citation goes by the name."""
    folder = made_runs.make(tmp_path / "results" / "a" / "1")
    options = {"valid": "400", "folder": "'/home/anna/cv'"}
    write_manifest(folder, "de", settings={"corpus": ["local.common_voice.utterances", options]})
    runs = find_runs.load([tmp_path])
    assert runs[0].counts["de"]["corpus"] == "common_voice"
    assert grouping.data_of(runs) == "common_voice mine (de)"
    text = methods.describe(runs).text()
    assert "The common voice corpus [ardila2020common] (de) has" in text and "400" not in text and "anna" not in text


def test_flags_are_those_of_the_log_or_found_in_it(tmp_path, monkeypatch):
    folder = made_runs.make(tmp_path / "a" / "1")
    flag = {"event": "flag", "update": 5, "kind": "plateau", "evidence": "loss 3", "advice": "try lr x 2"}
    lines = (folder / "metrics.jsonl").read_text()
    (folder / "metrics.jsonl").write_text(lines + json.dumps(flag) + '\n{"event": "flag", "message": "halved"}\n')
    found = summary.summarise(folder)
    assert len(found.flags) == 2 and not found.long_log
    kinds = [f.kind for f in found.red_flags]
    assert kinds.count("small set") >= 1  # 11 words of German
    assert kinds[0] == "plateau", "the log has it, and nothing finds it again: the loss falls"
    monkeypatch.setattr(log_reader, "LONG_LOG", 10)
    long = summary.summarise(folder)
    [only] = long.red_flags
    assert long.long_log and (only.kind, only.update, only.evidence) == ("plateau", 5, "loss 3")


def test_flags_that_only_training_can_raise_stay(tmp_path):
    """Epochs decide how long this run is, and texts are in no event: neither can be found again."""
    folder = made_runs.make(tmp_path / "a" / "1", max_updates="null", warmup=0.1)
    written = [
        ("texts in training", 0, "9 of 9 utterances"), ("small set", 50, "as training said it"),
        ("penalty dominates", 60, "WER 91.0"), ("warm-up unfinished", 100, "update 100 of a warm-up of 200"),
    ]  # fmt: skip
    flags = [{"event": "flag", "kind": k, "update": n, "evidence": e, "advice": "try"} for k, n, e in written]
    with open(folder / "metrics.jsonl", "a") as file:
        file.writelines(json.dumps(flag) + "\n" for flag in flags)
        lost = {"event": "train", "update": 101, "epoch": 2, "time": 130.0, "loss": "nan", "lr": 1e-3, "grad_norm": 1.0}
        file.write(json.dumps(lost) + "\n")
    found = summary.summarise(folder).red_flags
    assert [(f.kind, f.update, f.evidence) for f in found[:4]] == written, "and small sets are not named twice"
    assert [(f.kind, f.update) for f in found[4:]] == [("non-finite", 101)]


def test_references_and_languages_of_a_yaml(tmp_path):
    folder = made_runs.make(tmp_path / "a" / "1")
    (folder / "as_written.yaml").write_text(
        "seed: 3\nlanguage: no\nlr: 1e-3\nroot: results\nout: !ref <root>/x/<seed>\nsame: !ref <seed>\n"
        "pen: !new:a.B {l: !ref <lr>, m: [!ref <seed>, 2]}\nof: !ref <pen>\nlist: [!ref <seed>, 2]\n"
        "forgetting: [!new:a.B {l: !ref <lr>}, !new:a.C {}]\n__set: !apply:a.b [1]\n"
    )
    (folder / "overrides.yaml").write_text("seed: 5\nout2: 'a: b'")
    found = summary.summarise(folder)
    assert found.settings == {
        "seed": 5, "language": "no", "lr": 0.001, "root": "results", "out": "results/x/5", "same": 5, "out2": "a: b",
        "list": ["!ref <seed>", 2],
    }  # fmt: skip
    assert found.objects == {"pen": "!new:a.B {l: !ref <lr>, m: [!ref <seed>, 2]}", "of": "!ref <pen>"} | {
        "forgetting": "[!new:a.B {l: !ref <lr>}, !new:a.C {}]"
    }
    (folder / "overrides.yaml").write_text("a: [1")
    assert any("overrides.yaml: no YAML" in p for p in summary.summarise(folder).problems)


def test_test_sets_are_told_by_their_texts(tmp_path):
    made = {}
    for name, more in {"a": {}, "b": {"audio": "other/{}.wav", "digest": "x"}, "c": {"texts": ("een", "drie")}}.items():
        folder = made_runs.make(tmp_path / name / "1")
        write_manifest(folder, "de", **more)
        made[name] = summary.summarise(folder).test_sets["de"]
    assert made["a"] == made["b"] != made["c"]
    folder = made_runs.make(tmp_path / "d" / "1")  # without manifests: of run.json
    assert summary.summarise(folder).test_sets == {"de": "168ae4084270938e"}


def test_finding_runs(tmp_path):
    for name in ("b/2", "a/1"):
        made_runs.make(tmp_path / "results" / name, seed=int(name[-1]))
    root = tmp_path / "results"
    assert find_runs.find([root, root / "a"]) == [root / "a" / "1", root / "b" / "2"]
    assert [run.name for run in find_runs.load([root / "a" / "1", root / "b"])] == ["a/1", "b/2"]
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match="empty: no run in it: no metrics.jsonl"):
        find_runs.find([root, tmp_path / "empty"])
    with pytest.raises(FileNotFoundError, match="nowhere: no such folder"):
        find_runs.find([tmp_path / "nowhere"])
    with pytest.raises(FileNotFoundError, match="a: no metrics.jsonl"):
        summary.summarise(root / "a")
    made_runs.make(tmp_path / "more" / "a" / "1")
    with pytest.raises(ValueError, match="two runs are called a/1: .*more.* and .*results.*rename one"):
        find_runs.load([root, tmp_path / "more"])
    assert [run.name for run in find_runs.load([tmp_path])] == ["more/a/1", "results/a/1", "results/b/2"]


def test_processes_read_the_same(tmp_path, monkeypatch):
    for seed in range(5):
        made_runs.make(tmp_path / "a" / str(seed), seed=seed, loss=seed + 1.0)
    one = find_runs.load([tmp_path])
    monkeypatch.setattr(find_runs, "SMALL", 0)
    for a, b in zip(one, find_runs.load([tmp_path], workers=2), strict=True):
        assert (a.name, a.tests, a.problems, a.settings) == (b.name, b.tests, b.problems, b.settings)
        np.testing.assert_array_equal(a.train["loss"], b.train["loss"])


def test_no_person_and_no_token_gets_in(tmp_path):
    own = {"hub": "hf_abcdefghijkl", "hub_token": "anna-own", "old_data_folder": "/home/anna"}
    folder = made_runs.make(tmp_path / "a" / "1", data_folder="/home/anna/secrets/de", **own)
    found = summary.summarise(folder)
    kept = repr((found.settings, found.objects, found.asked, found.info, found.problems))
    assert "anna" not in kept and "hf_abc" not in kept and found.settings["data_folder"] == "…/de"


def test_report_imports_no_training_code():
    code = "import sys, carryover.report.build; print([m for m in ('torch', 'speechbrain') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300, cwd=ROOT)
    assert done.stdout.strip() == "[]", done.stdout + done.stderr
