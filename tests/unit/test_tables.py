"""The tables of a report, on runs whose numbers are known by hand; rates are jiwer's on the prediction files."""

import csv
import io
import json
import math
import shutil

import jiwer
import made_runs
import pytest
from test_summary import write_manifest
from test_table import check

from carryover.report import find_runs, grouping, log_reader
from carryover.report.tables import all_tables, cells, grids, learning, provenance, scores


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """plain with seeds 1 and 2, ewc with seed 1, new_only; a run that was killed."""
    root = tmp_path_factory.mktemp("results")
    after = {("nl", "best"): made_runs.DUTCH, ("nl", "before"): made_runs.DUTCH}
    for seed in (1, 2):
        made_runs.make(root / "preset=plain" / str(seed), seed=seed, loss=float(seed))
    tests = {("de", "best"): made_runs.GERMAN[:2] + [("um elf uhr", "um elf uhr", "ben", 3.0), *made_runs.GERMAN[3:]]}
    made_runs.make(root / "preset=ewc" / "1", loss=2.0, penalty=0.01, tests=tests | after, **{"lambda": "1e3"})
    bad = {("de", "best"): [(ref, "x", who, s) for ref, _, who, s in made_runs.GERMAN], ("nl", "best"): made_runs.DUTCH}
    made_runs.make(root / "preset=new_only" / "1", tests=bad, lr="5e-4")
    made_runs.make(root / "preset=replay" / "1", finished=False)
    for run in root.glob("*/*"):
        for language in ("de", "nl"):
            write_manifest(run, language, digest=language * 32)
    return root


@pytest.fixture(scope="module")
def runs(results):
    return find_runs.load([results])


def read(table):
    """Rows of a table's CSV."""
    return list(csv.DictReader(io.StringIO(table.csv())))


def wer(path):
    with open(path, newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return 100 * jiwer.wer([r["reference_normalised"] for r in rows], [r["hypothesis_normalised"] for r in rows])


def test_methods_by_languages(runs, results):
    [main, table], left_out = scores.methods(runs)
    assert left_out == [] and (main.name, table.name) == ("main", "methods")
    rows = {row["method"]: row for row in read(table)}
    assert set(rows) == {"plain", "ewc", "new_only"}  # replay has not come to its end
    for name, row in rows.items():
        for column, language in (("new", "de"), ("old", "nl")):
            expected = wer(results / f"preset={name}" / "1" / f"predictions_test_{language}_best.csv")
            assert float(row[column]) == pytest.approx(expected)
    # German: 3 of 11 words wrong, 2 with ewc, 11 with new_only; Dutch: 1 of 4 before, 3 after plain, 1 after ewc
    assert float(rows["plain"]["new"]) == pytest.approx(300 / 11) and rows["plain"]["seeds"] == "1 2"
    assert float(rows["ewc"]["new"]) == pytest.approx(200 / 11)
    assert float(rows["plain"]["forgetting"]) == 50 == -float(rows["plain"]["backward_transfer"])
    assert float(rows["plain"]["backward_transfer_low"]) == -float(rows["plain"]["forgetting_high"])
    assert float(rows["ewc"]["forgetting"]) == 0 and rows["new_only"]["forgetting"] == ""
    assert float(rows["plain"]["forward_transfer"]) == pytest.approx(float(rows["new_only"]["new"]) - 300 / 11)
    at = table.columns.index("BWT")
    shown = {row[0]: row[at] for row in table.rows}
    assert shown["plain"].startswith("-50.00") and shown["new_only"] == "-"
    assert "4 runs, seeds 1, 2; data: common_voice (nl), common_voice mine (de)." in table.notes[1]
    check(table.latex())


def test_the_main_table_is_narrow(runs):
    """Baseline first, what has no old language last; the lowest is bold; the same numbers as in the wide one."""
    main, wide = scores.methods(runs)[0]
    assert main.columns == ["method", "German WER †", "Dutch WER †", "forgetting"], "one or two seeds: no p"
    assert [row[0] for row in main.rows] == ["plain", "EWC", "new only"] and main.rows[2][2] == "-"
    shown = {row[0]: row for row in wide.rows}
    for name, row in zip(("plain", "ewc", "new_only"), main.rows, strict=True):
        assert row[1] == shown[name][wide.columns.index("de † WER [95 %]")]
        assert shown[name][wide.columns.index("forgetting [95 %]")].startswith(row[3])
    bold = [[isinstance(value, cells.Bold) for value in row] for row in main.rows]
    assert bold == [[False] * 4, [False, True, True, True], [False] * 4]
    latex = main.latex()
    check(latex)
    assert r"\begin{table}[htbp]" in latex and r"\caption{German after Dutch: WER and forgetting}" in latex
    assert "**18.18**<br>[" in main.markdown()


def test_two_that_are_lowest_are_both_bold(tmp_path):
    for name in ("preset=plain", "preset=ewc"):
        made_runs.make(tmp_path / name / "1")
    [main, _], _ = scores.methods(find_runs.load([tmp_path]))
    assert [[isinstance(value, cells.Bold) for value in row] for row in main.rows] == [[False, True, True, True]] * 2


def test_a_caption_names_few_corpora_each_once(tmp_path):
    made_runs.make(tmp_path / "a" / "1", data_folder="/home/anna/cv/de")  # says no more than the language
    assert grouping.about(find_runs.load([tmp_path])) == "1 run, seed 1."
    for seed in (2, 3):
        made_runs.make(tmp_path / "a" / str(seed), seed=seed, data_folder="/home/anna/kerstin", old_data_folder="mine")
    assert grouping.about(find_runs.load([tmp_path])) == "3 runs, seeds 1, 2, 3; data: kerstin (de), mine (nl)."
    made_runs.make(tmp_path / "a" / "4", seed=4, old_data_folder="data/mine")
    assert grouping.data_of(find_runs.load([tmp_path])) == "kerstin (de), mine (de, nl)"
    for seed in (5, 6):
        made_runs.make(tmp_path / "a" / str(seed), seed=seed, old_language="null", data_folder=f"data/{seed}")
    assert grouping.data_of(find_runs.load([tmp_path])) == "5 (de), 6 (de), kerstin (de), 1 more"


def test_before_and_after(runs, results):
    rows = read(scores.before_after(runs))
    assert len(rows) == 10
    for row in rows:
        path = results / row["run"] / f"predictions_{row['set']}_best.csv"
        assert float(row["WER after"]) == pytest.approx(wer(path))
    [row] = [r for r in rows if (r["run"], r["language"]) == ("preset=plain/1", "nl")]
    assert (float(row["WER before"]), float(row["WER after"]), float(row["difference"])) == (25, 75, 50)
    [row] = [r for r in rows if (r["run"], r["language"]) == ("preset=new_only/1", "nl")]
    assert row["WER before"] == row["difference"] == ""
    shown = scores.before_after(runs).markdown()
    assert "| preset=plain/1 | test_nl † | 4 | 25.00 [0.00, 50.00]" in shown and "| +50.00 |" in shown


def test_learning_curves(runs):
    rows = [row for row in read(learning.learning_curve(runs)) if row["run"] == "preset=plain/2"]
    # loss(n) = 200 / n; WER of German 2000 / n, of Dutch n / 2
    assert [(r["language"], int(r["update"]), float(r["train loss"]), float(r["WER"])) for r in rows] == [
        ("de", 50, 4, 40), ("nl", 50, 4, 25), ("de", 100, 2, 20), ("nl", 100, 2, 50)
    ]  # fmt: skip
    assert {float(r["valid loss"]) for r in rows} == {2}


def test_a_long_learning_curve_shows_its_best_and_last(runs, monkeypatch):
    monkeypatch.setattr(learning, "MOST", 5)
    table = learning.learning_curve([run for run in runs if run.name == "preset=plain/1"] * 2)
    assert len(table.rows) == 4 and {row[4] for row in table.rows} == {"100"} and len(read(table)) == 8


def test_adaptation(runs):
    table = learning.adaptation(runs)
    rows = read(table)
    assert {row["run"] for row in rows} == {"preset=ewc/1"} and len(rows) == 10
    assert [float(rows[4][key]) for key in ("update", "train loss", "penalty", "penalty / loss", "lambda")] == [
        50, 4, 0.01, pytest.approx(0.5), 1000
    ]  # fmt: skip
    assert [row[2] for row in table.rows] == ["10", "30", "50", "80", "100"]


def test_dynamics_and_loss_reduction(runs):
    row = next(row for row in read(learning.dynamics(runs)) if row["run"] == "preset=plain/1")
    assert (row["epoch"], row["update"]) == ("1", "50") and float(row["grad_norm"]) == 3
    assert float(row["loss"]) == pytest.approx(sum(100 / n for n in range(10, 51, 10)) / 5)
    row = next(row for row in read(learning.loss_reduction(runs)) if row["run"] == "preset=plain/2")
    assert (float(row["first loss"]), float(row["last loss"]), float(row["reduction (%)"])) == (20, 2, 90)
    assert float(row["reduction per update"]) == pytest.approx(0.18)
    assert float(row["mean loss"]) == pytest.approx(sum(200 / n for n in range(10, 101, 10)) / 10)


def test_speakers(runs, tmp_path):
    """plain makes 3 errors in 11 words: anna 1 of 5, ben 2 of 6; their WERs scatter by (1/3 - 1/5) / sqrt(2)."""
    row = next(row for row in read(scores.speakers(runs)) if (row["run"], row["set"]) == ("preset=plain/1", "test_de"))
    assert (row["speakers"], row["utterances"]) == ("2", "5") and float(row["WER"]) == pytest.approx(300 / 11)
    names = ("SD between speakers", "lowest speaker", "highest speaker")
    assert [float(row[name]) for name in names] == pytest.approx([40 / 3 / math.sqrt(2), 20, 100 / 3])
    assert 0 < float(row["low"]) < 300 / 11 < float(row["high"]) < 100, "not the logged one"
    assert row["interval over"] == "5 utterances (2 speakers)"
    made_runs.make(tmp_path / "one" / "1", tests={("de", "best"): made_runs.GERMAN[:2]})
    table = scores.speakers(find_runs.load([tmp_path]))
    [row] = table.rows
    assert row[3] == "1" and row[5:] == ["-", "-", "-", "2 utterances (1 speaker)"]
    assert "2 utterances (1 speaker) of test_de" in table.caption


def test_updates_to_a_loss(tmp_path):
    """plain: 8 then 4, with seed 2: 8 then 2; slow: 16 then 5. All reach 5, halfway to it from 16 is sqrt(80)."""
    losses = {"warmup=0/1": (8, 4), "warmup=0/2": (8, 2), "warmup=500/1": (16, 5)}
    for name, values in losses.items():
        folder = made_runs.make(tmp_path / name, seed=int(name[-1]), warmup=name.split("=")[1].split("/")[0])
        written = iter(values)
        lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
        for event in lines:
            if event["event"] == "valid" and event["language"] == "de":
                event["loss"] = next(written)
        (folder / "metrics.jsonl").write_text("".join(json.dumps(event) + "\n" for event in lines))
        write_manifest(folder, "de", digest="d" * 32)
    runs = find_runs.load([tmp_path])
    (table,) = learning.updates_to_loss(runs)
    assert table.columns[2:] == ("loss 8.95", "loss 5", "loss 2")
    assert table.rows == [["warmup=0", "2", "50", "100", "-"], ["warmup=500", "1", "100", "100", "-"]]
    assert learning.updates_to_loss([run for run in runs if "warmup=0" in run.name]) == []


def test_cost(runs):
    table = learning.cost(runs, rate=36)
    row = next(row for row in read(table) if row["experiment"] == "plain")
    assert float(row["hours"]) == pytest.approx(242 / 3600) and float(row["money"]) == pytest.approx(2.42)
    assert (row["runs"], row["updates"], row["machine"]) == ("2", "200", "AMD EPYC, 2 threads")
    assert "GPU hours" not in table.columns and "money" not in learning.cost(runs).columns
    assert table.notes[0] == "Not logged: energy (kWh)." and "preset=replay/1" in table.notes[1]


def test_cost_of_a_run_that_was_resumed_and_of_seeds_on_two_machines(tmp_path):
    """Half of its updates took 6 s, half 1 s: not more than the run took; and a seed that logged no memory."""
    slow, other = (made_runs.make(tmp_path / "a" / str(seed), seed=seed) for seed in (1, 2))
    events = [json.loads(line) for line in (slow / "metrics.jsonl").read_text().splitlines()]
    for event in events:
        n = event["update"]
        event["time"] = 6.0 * min(n, 60) + max(0, n - 60) + (event["event"] != "train")
        event.pop("peak_memory_bytes", None)
    (slow / "metrics.jsonl").write_text("".join(json.dumps(event) + "\n" for event in events))
    info = json.loads((other / "run.json").read_text())
    info["hardware"]["cpu"] = "Apple M2"
    (other / "run.json").write_text(json.dumps(info))
    runs = find_runs.load([tmp_path])
    [row] = read(learning.cost(runs))
    assert row["machine"] == "AMD EPYC, 2 threads and Apple M2, 2 threads"
    # after its first window of 10 updates: 5 windows of 6 s an update, 4 of 1 s; a second of each validation in one
    pace = (50 * 6 + 40 * 1 - 1) / 90
    assert runs[0].seconds_of_updates == pytest.approx(100 * pace) and runs[0].seconds == 401
    assert float(row["hours of updates"]) == pytest.approx((100 * pace + runs[1].seconds_of_updates) / 3600)
    assert float(row["peak memory (GiB)"]) == pytest.approx(1e9 / 2**30), "of the seed that logged it"


def test_gpu_hours_and_energy(tmp_path):
    """Of a machine with two GPUs a run uses the one it names, or none; an older run does not say which."""
    for name, device in (("one", {"device": "cuda:1"}), ("none", {"device": "cpu"}), ("old", {})):
        folder = made_runs.make(tmp_path / name / "1")
        info = json.loads((folder / "run.json").read_text()) | device
        info["hardware"]["gpus"] = ["NVIDIA L4", "NVIDIA H200"]
        (folder / "run.json").write_text(json.dumps(info))
        lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
        for line in lines:
            if line["event"] == "train":
                line["energy_joules"] = 3.6e5
        (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    runs = find_runs.load([tmp_path])
    table = learning.cost(runs)
    rows = {row["experiment"]: row for row in read(table)}
    for name, hours, machine in (
        ("one", 121 / 3600, "NVIDIA H200"), ("none", None, "AMD EPYC, 2 threads"), ("old", 121 / 3600, "NVIDIA L4")
    ):  # fmt: skip
        assert rows[name]["machine"] == machine and float(rows[name]["energy (kWh)"]) == pytest.approx(1)
        assert float(rows[name]["GPU hours"] or "nan") == pytest.approx(hours or math.nan, nan_ok=True)
    [note] = [note for note in table.notes if note.startswith("Counted as on one GPU")]
    assert note.endswith("does not say its device: old/1.")
    [alone] = [run for run in runs if run.name == "none/1"]
    assert "GPU hours" not in learning.cost([alone]).columns and "GPU" not in learning.cost([alone]).caption


def test_hyperparameters_are_differences_only(runs):
    [table] = provenance.hyperparameters(runs)
    assert table.name == "hyperparameters_german_adaptation"
    rows = {row["key"]: row for row in read(table)}
    assert set(rows) == {"lambda", "lr"}
    assert rows["lambda"] == {"key": "lambda", "ewc": "1000", "new_only": "-", "plain": "-", "replay": "-"}
    assert rows["lr"]["new_only"] == "0.0005"


def test_yamls_are_compared_and_what_varies_is_said(runs, tmp_path):
    folder = made_runs.make(tmp_path / "whisper_ft" / "1", max_updates=7)
    info = json.loads((folder / "run.json").read_text()) | {"command": "python train.py hparams/whisper_ft.yaml"}
    (folder / "run.json").write_text(json.dumps(info))
    found = {t.name: t for t in provenance.hyperparameters([*runs, *find_runs.load([tmp_path])])}
    rows = {row["key"]: row for row in read(found["hyperparameters"])}
    assert rows["max_updates"] == {"key": "max_updates", "german_adaptation": "100", "whisper_ft": "7"}
    assert rows["lr"]["german_adaptation"] == "varied"


def test_by_heart_stands_beside_in_full(tmp_path):
    for seed in (1, 2):
        folder = made_runs.make(tmp_path / "full" / str(seed), seed=seed, dropout=0.3, early_stopping_patience=15)
        (folder / "manifests" / "de").mkdir(parents=True)
        counts = {"counts": {"train": 7}, "hours": {"train": 0.5}}
        (folder / "manifests" / "de" / ".done").write_text(json.dumps(counts))
    assert provenance.by_heart_and_in_full(find_runs.load([tmp_path])) == []  # nothing was learned by heart
    made_runs.make(tmp_path / "heart" / "1", overfit=5, dropout=0.1, early_stopping_patience=0)
    [table] = provenance.by_heart_and_in_full(find_runs.load([tmp_path]))
    rows = {row["key"]: (row["heart"], row["full"]) for row in read(table)}
    assert rows["purpose"] == ("5 by heart", "in full") and rows["utterances"] == ("5", "7")
    assert rows["dropout"] == ("0.1", "0.3") and rows["patience"] == ("none", "15") and rows["clip"] == ("5", "5")
    assert rows["epochs run"] == ("2", "2") and rows["sample views"] == ("10", "14")
    assert rows["rate"] == ("-", "-") and rows["WER"][1] == "27.27"  # 3 errors in 11 words


def test_grids_are_pivots(tmp_path):
    """WER = 1000 loss / 100 at the last validation; two seeds of one cell are averaged."""
    for lr, warmup, seed, loss in ((1, 10, 1, 1), (1, 10, 2, 3), (1, 20, 1, 4), (2, 10, 1, 5), (2, 20, 1, 6)):
        made_runs.make(tmp_path / f"lr={lr},warmup={warmup}" / str(seed), seed=seed, loss=loss, lr=lr, warmup=warmup)
    runs = find_runs.load([tmp_path])
    by_name = {table.name: table for table in grids.grids(runs)}
    assert set(by_name) == {"grid_lr_warmup_test_WER", "grid_lr_warmup_valid_WER"}
    table = by_name["grid_lr_warmup_valid_WER"]
    assert [list(table.columns), *table.rows] == [
        ["lr \\ warmup", "10", "20"], ["1", "20.00", "40.00"], ["2", "50.00", "60.00"]
    ]  # fmt: skip
    assert read(table)[0] == {"lr": "1", "warmup": "10", "valid WER": "20.0", "runs": "2"}
    assert "mean over the finished runs of a cell (1 to 2 of them, see the .csv)" in table.caption
    [asked] = grids.grids(runs, [("warmup", "lr", "loss")])
    assert asked.rows[0] == ["10", "2.00", "5.00"]  # the last training loss
    captions = {
        "test WER": "test WER (de, percent) over", "old test WER": "old test WER (nl, percent) over",
        "forgetting": "forgetting (nl, points of WER) over", "loss": "loss over",
    }  # fmt: skip
    for name, words in captions.items():
        assert grids.grid(runs, "lr", "warmup", name).caption.startswith(words)
    made_runs.make(tmp_path / "lr=1,warmup=10,dropout=1" / "3", seed=3, loss=9, lr=1, warmup=10, dropout=1)
    again = {table.name: table for table in grids.grids(find_runs.load([tmp_path]))}
    assert again["grid_lr_warmup_valid_WER"].rows == table.rows, "another dropout is another grid"


def test_a_grid_has_finished_runs_of_one_pair_of_test_sets(tmp_path):
    def make(name, old_texts=("een twee", "drie"), **own):
        for lr, warmup in ((1, 10), (1, 20), (2, 10), (2, 20)):
            folder = made_runs.make(tmp_path / name / f"lr={lr},warmup={warmup}" / "1", lr=lr, warmup=warmup, **own)
            write_manifest(folder, "de")
            write_manifest(folder, "nl", texts=old_texts)

    make("a")
    make("killed", loss=9.0, finished=False)
    [table] = grids.grids(find_runs.load([tmp_path]), [("lr", "warmup", "valid WER")])
    assert table.rows == [["1", "10.00", "10.00"], ["2", "10.00", "10.00"]] and "1 run" not in table.caption
    make("other", old_texts=("vier", "vijf"))
    found = grids.grids(find_runs.load([tmp_path]), [("lr", "warmup", "forgetting")])
    assert [{row["runs"] for row in read(table)} for table in found] == [{"1"}, {"1"}], "no mean over two corpora"


def test_batch_sizes_by_memory(tmp_path):
    for size, factor in ((4, 4), (16, 1)):
        folder = made_runs.make(tmp_path / str(size) / "1", batch_size=size, grad_accumulation_factor=factor)
        if size == 16:
            text = (
                (folder / "metrics.jsonl")
                .read_text()
                .replace('"peak_memory_bytes": 1000000000', '"peak_memory_bytes": 3221225472')
            )
            (folder / "metrics.jsonl").write_text(text)
    runs = find_runs.load([tmp_path])
    rows = read(learning.batch_memory(runs))
    assert [(r["batch size"], r["effective batch"], float(r["peak memory (GiB)"])) for r in rows] == [
        ("4", "16", pytest.approx(1e9 / 2**30)), ("16", "16", 3)
    ]  # fmt: skip
    assert [float(r["utterances per second"]) for r in rows] == [16, 16]
    assert learning.batch_memory(runs[:1]) is None
    assert "settings" not in learning.batch_memory(runs).columns


def test_batch_sizes_stand_beside_runs_that_are_otherwise_alike(tmp_path):
    """Each rate by itself; another model of each seed is no other setting; lr 3 was run with one batch size only."""
    cells = [(lr, size, seed) for lr in (1, 2) for size in (4, 8) for seed in (1, 2)] + [(3, 16, 1)]
    for lr, size, seed in cells:
        folder = tmp_path / f"{lr}_{size}" / str(seed)
        made_runs.make(folder, seed=seed, lr=lr, batch_size=size, model=f"results/dutch/{seed}/model")
    table = learning.batch_memory(find_runs.load([tmp_path]))
    assert [(row["settings"], row["batch size"]) for row in read(table)] == [
        ("lr=1", "4"), ("lr=1", "8"), ("lr=2", "4"), ("lr=2", "8")
    ]  # fmt: skip
    assert table.caption.endswith("8 runs, seeds 1, 2; data: mine (de).")


def test_data_and_parameters_and_runs(runs, tmp_path):
    table = provenance.data(runs)
    rows = read(table)
    assert [(r["language"], r["split"], r["available"], r["sampled"], r["valid"], r["refused"]) for r in rows] == [
        ("de", "train", "100", "60", "57", "8"), ("de", "test", "2", "2", "2", "0"),
        ("nl", "train", "100", "60", "57", "8"), ("nl", "test", "2", "2", "2", "0"),
    ]  # fmt: skip
    assert "8 refused (too long 5, unreadable 3); a sample of 60 (train)" in table.notes[0]
    assert provenance.parameters(runs) is None
    folder = made_runs.make(tmp_path / "a" / "1", model="m")
    event = {"event": "run", "parameters": 2000, "trainable": 500, "update": 0}
    (folder / "metrics.jsonl").write_text(json.dumps(event) + "\n" + (folder / "metrics.jsonl").read_text())
    assert read(provenance.parameters(find_runs.load([tmp_path])))[0]["trainable (%)"] == "25.0"
    rows = read(provenance.provenance(runs))
    row = next(row for row in rows if row["run"] == "preset=replay/1")
    assert (row["status"], row["commit"], row["uncommitted changes"]) == ("unfinished", "22ca7dd571f7", "True")
    assert "anna" not in row["command"] and "hf_" not in row["command"] and "--data_folder …/de" in row["command"]


def test_mixed_test_sets_and_normalisers_stand_apart(results, tmp_path):
    root = tmp_path / "mixed"
    shutil.copytree(results, root)
    shutil.rmtree(root / "preset=ewc" / "1" / "manifests")
    for language in ("de", "nl"):
        write_manifest(root / "preset=ewc" / "1", language, texts=("etwas", "anderes"))
    yaml = root / "preset=new_only" / "1" / "as_written.yaml"
    yaml.write_text(yaml.read_text().replace("text.Normaliser", "text.Verbatim"))
    runs = find_runs.load([root])
    made, _ = scores.methods(runs)
    assert {row["method"] for t in made[1::2] for row in read(t)} == {"plain", "ewc", "new_only"}
    assert [len(read(t)) for t in made] == [1] * 6
    assert [t.name for t in made] == [f"{name}_{i}" for i in (1, 2, 3) for name in ("main", "methods")]
    table = scores.test_sets(runs)
    assert len(table.rows) == 6 and sum(int(row["runs"]) for row in read(table)) == 8
    assert any(note.startswith("de: 3 test sets or normalisers") for note in table.notes)
    shown = scores.before_after(runs)
    assert "*: scored with carryover.text.Verbatim." in shown.notes
    assert [row[1] for row in shown.rows if row[0] == "preset=new_only/1"] == ["test_de †*", "test_nl †*"]


def test_a_mark_is_that_of_a_rows_own_test_set(tmp_path):
    """Two corpora of one language, one with enough speakers: its rows are over speakers and have no mark."""
    said = ("guten morgen", "guten morgen", 1.0)
    for name, voices in (("six", "abcdef"), ("one", "a")):
        rows = [(*said[:2], voices[i % len(voices)], said[2]) for i in range(60)]
        made_runs.make(tmp_path / name / "1", tests={("de", "before"): rows, ("nl", "best"): made_runs.DUTCH})
    table = scores.before_after(find_runs.load([tmp_path]))
    marked = {(row[0], row[1]) for row in table.rows}
    assert marked == {(f"{n}/1", name) for n, name in (("six", "test_de"), ("one", "test_de †"))} | {
        (f"{n}/1", "test_nl †") for n in ("six", "one")
    }
    assert "over 60 utterances (1 speaker) or 6 speakers of test_de" in table.caption
    assert {(row[0], row[1]) for row in scores.speakers(find_runs.load([tmp_path])).rows} == {
        ("one/1", "test_nl †"), ("six/1", "test_nl †")
    }  # fmt: skip
    assert "test_nl: fewer than 50 utterances" in table.caption and "test_de: fewer" not in table.caption


def test_runs_without_usable_predictions_are_named(results, tmp_path):
    root = tmp_path / "broken"
    shutil.copytree(results, root)
    (root / "preset=ewc" / "1" / "predictions_test_de_best.csv").unlink()
    path = root / "preset=plain" / "2" / "metrics.jsonl"
    path.write_text(path.read_text().replace('"errors": 3, "utterances": 5', '"errors": 4, "utterances": 5'))
    runs = find_runs.load([root])
    scores.before_after(runs)
    of_speakers = {(row["run"], row["set"]) for row in read(scores.speakers(runs))}
    assert ("preset=plain/1", "test_de") in of_speakers and ("preset=plain/2", "test_nl") in of_speakers
    assert ("preset=plain/2", "test_de") not in of_speakers, "its WER there was the file's, its interval the log's"
    [_, table], left_out = scores.methods(runs)
    assert {row["method"]: row["seeds"] for row in read(table)} == {"plain": "1", "new_only": "1"}
    assert left_out[0].startswith("preset=ewc/1 is not among the methods: predictions_test_de_best.csv: not there")
    assert left_out[1].startswith("preset=plain/2 is not among the methods") and "metrics.jsonl says 4" in left_out[1]
    problems = read(provenance.problems(runs))
    assert problems[0]["run"] == "preset=ewc/1" and "predictions_test_de_best.csv: not there" in problems[0]["problem"]
    [told] = [row["problem"] for row in problems if row["run"] == "preset=plain/2"]  # once, by two tables
    assert told.startswith("predictions_test_de_best.csv: 3 errors in 11 words, but metrics.jsonl says 4 in 11")


@pytest.mark.parametrize("weights", ["best", "before"])
def test_a_row_that_is_cut_off_costs_its_run_alone(results, tmp_path, weights):
    root = tmp_path / "cut"
    shutil.copytree(results, root)
    path = root / "preset=plain" / "2" / f"predictions_test_nl_{weights}.csv"
    head, first, second = path.read_text().splitlines()
    path.write_text(f"{head}\n{first}\n{second[: second.index('goede morgen')]}")
    runs = find_runs.load([root])
    made, left_out = all_tables.make(runs)
    assert {row["method"]: row["seeds"] for row in read(made[1])} == {"plain": "1", "ewc": "1", "new_only": "1"}
    said = f"predictions_test_nl_{weights}.csv: row 2 cannot be read (TypeError: "
    assert left_out[0].startswith(f"preset=plain/2 is not among the methods: {said}")
    assert "expected all columns" in left_out[0] and "Delete the file and repeat the run's command" in left_out[0]
    [problem] = [row for row in read(provenance.problems(runs)) if row["run"] == "preset=plain/2"]
    assert problem["problem"].startswith(said)


def test_seeds_that_differ_in_more_than_the_seed_are_told(tmp_path):
    for seed, lr, methods in ((1, "1e-3", "[]"), (2, "1e-4", "[!new:carryover.forgetting.MAS {lambda_: 1}]")):
        own = {"lr": lr, "forgetting": methods, "run_first": f"hparams/{seed}.yaml", "train": "all"}
        made_runs.make(tmp_path / "preset=plain" / str(seed), seed=seed, **own)
    runs = find_runs.load([tmp_path])
    [_, table], _ = scores.methods(runs)
    assert "The runs of mas or plain differ in more than the seed: forgetting, lr." in table.notes
    table = provenance.differences("x", {run.name: [run] for run in runs}, "runs")
    assert [row["key"] for row in read(table)] == ["lr", "forgetting"]


def test_logs_that_nobody_looked_at_again_are_told(tmp_path, monkeypatch):
    for seed in (1, 2):
        made_runs.make(tmp_path / "a" / str(seed), seed=seed)
    assert provenance.flags(find_runs.load([tmp_path])).notes == []
    monkeypatch.setattr(log_reader, "LONG_LOG", 10)
    said = "2 of 2 logs are longer than 2 MB and were not looked at again: they are judged by what training flagged "
    _, left_out = all_tables.make(find_runs.load([tmp_path]))
    none = said + "(0 of them have flags; an older version wrote none)"
    assert f"flags: no log shows any; {none}" in left_out
    flag = {"event": "flag", "update": 5, "kind": "plateau", "evidence": "loss 3", "advice": "try lr x 2"}
    with open(tmp_path / "a" / "1" / "metrics.jsonl", "a") as file:
        file.write(json.dumps(flag) + "\n")
    table = provenance.flags(find_runs.load([tmp_path]))
    assert len(table.rows) == 1 and table.notes == [f"{none.replace('(0', '(1')}."]


def test_what_has_nothing_to_show_is_left_out_and_said(runs, tmp_path):
    made, left_out = all_tables.make(runs)
    names = [table.name for table in made]
    assert {"methods", "before_after", "learning_curve", "adaptation", "cost", "data", "runs", "flags"} <= set(names)
    assert len(set(names)) == len(names) and all(table.rows for table in made)
    assert "parameters: no run says `parameters` and `trainable`" in left_out
    assert not {reason.split(":")[0] for reason in left_out} & set(names)
    for table in made:
        check(table.latex())
        text = " ".join([table.caption, *table.notes])
        assert "seed" in table.caption and "data: common_voice (nl), common_voice mine (de)." in text, table.name
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "metrics.jsonl").write_text("")  # a run that has just begun
    made, left_out = all_tables.make(find_runs.load([tmp_path]))
    assert [table.name for table in made] == ["problems", "runs"] and len(left_out) == 18


def test_learning_by_heart_is_no_test(tmp_path):
    made_runs.make(tmp_path / "a" / "1", overfit=8)
    runs = find_runs.load([tmp_path])
    assert scores.methods(runs) == ([], []) and scores.test_sets(runs) is None
    table = learning.overfit(runs)
    assert table.rows[0] == ["a/1", "8", "10", "10", "3", "0.50"] and len(table.rows) == 10
    assert math.isclose(float(read(table)[0]["loss"]), 10)


def test_methods_sort_by_their_numbers():
    names = ["ewc,lambda=1e10", "ewc,lambda=1e2", "ewc,lambda=0.5", "ewc", "plain"]
    assert sorted(names, key=grouping._natural) == [
        "ewc",
        "ewc,lambda=0.5",
        "ewc,lambda=1e2",
        "ewc,lambda=1e10",
        "plain",
    ]
