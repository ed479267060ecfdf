"""sweep.py: the grid, its order, resuming, failing, stopping; a script of a few lines plays train.py."""

import csv
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from carryover.commands import app
from carryover.commands.sweep import execute, grid, jobs, sweep
from carryover.config import presets, settings
from carryover.config.settings import SettingsError
from carryover.runs import lock, run_folder

YAML = """seed: 1
output_folder: !ref results/x/<seed>
language: de
old_language: null
lr: 1.0e-3
lambda: 0
betas: [0.9, 0.98]
run_first: null
pretrain_seed: !ref <seed>
output_root: made
model: !ref <output_root>/start/<pretrain_seed>/model
"""
PRESETS = "plain: {lambda: 0}\newc: {lambda: 10}\nsmall: {lr: {times: 0.5}}\n"
# Writes when it ran, with what, and the files of a run whose WER is 100 times its learning rate.
SCRIPT = """
import json, os, pathlib, sys, time
start = time.time()
words = sys.argv[1:]
given = {w[2:]: v for w, v in zip(words, words[1:]) if w.startswith("--")}
folder = pathlib.Path(given["output_folder"])
folder.mkdir(parents=True, exist_ok=True)
if "--run_first_only" in words:
    if given.get("model_too"):
        os.makedirs("made/start/" + given["seed"] + "/model")
    with open("made.txt", "a") as file:
        file.write(f"{time.time()} {given['seed']} {os.environ['OMP_NUM_THREADS']}\\n")
    sys.exit(4 if given.get("fail") == "needed" else 0)
time.sleep(float(given.get("sleep", 0)))
print("first line"); print("bar 1 %\\rbar 100 %"); print("Fehler: zu groß", file=sys.stderr)
with open("ran.txt", "a") as file:
    file.write(json.dumps([start, time.time(), os.environ.get("OMP_NUM_THREADS"), words]) + "\\n")
if given.get("fail", "") == given.get("lr", given.get("preset")):
    sys.exit(3)
errors = int(float(given.get("lr", 0.5)) * 10)
(folder / "as_written.yaml").write_text(pathlib.Path(words[0]).read_text())
if given.get("edit"):
    open(words[0], "a").write("# edited\\n")
own = ("edit", "sleep", "model_too", "fail", "preset", "noprogressbar")
(folder / "overrides.yaml").write_text("".join(f"{k}: {v}\\n" for k, v in given.items() if k not in own))
test = {"event": "test", "set": "test_de", "language": "de", "weights": "best", "errors": 2 * errors, "words": 20}
(folder / "metrics.jsonl").write_text(json.dumps(test) + "\\n")
head = "id,audio,language,speaker,duration,reference,reference_normalised,hypothesis_normalised,"
head += "words,word_errors,characters,character_errors\\n"
rows = "".join(f"{i},{i}.wav,de,s,1,r,r,h,10,{errors},50,{errors}\\n" for i in range(2))
(folder / "predictions_test_de_best.csv").write_text(head + rows)
if given.get("fail") != "late":
    (folder / "results.md").write_text("done")
    (folder / "run.json").write_text(json.dumps({"finished": "now", "tests": [["test_de", "best"]]}))
"""


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder with an experiment, presets and a script in train.py's place; the tests run in it."""
    (tmp_path / "hparams").mkdir()
    (tmp_path / "hparams" / "x.yaml").write_text(YAML)
    (tmp_path / "presets.yaml").write_text(PRESETS)
    (tmp_path / "fake.py").write_text(SCRIPT)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(presets, "FILE", tmp_path / "presets.yaml")
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    return tmp_path


def go(place, *sets, seeds="1", fake=(), **more):
    """(status, lines said, what ran) of a sweep; `fake`: words for the script itself, which no YAML knows."""
    said = []
    code = f"import sys; sys.argv[2:2] = {list(fake)!r}; exec(open({str(place / 'fake.py')!r}).read())"
    command = [sys.executable, "-S", "-E", "-c", code]
    status = sweep.sweep("hparams/x.yaml", sets, seeds, command=command, say=said.append, **more)
    return status, "\n".join(said), ran(place)


def ran(place):
    """What ran: (start, end, threads, the folder), in the order of ending."""
    lines = (place / "ran.txt").read_text().splitlines() if (place / "ran.txt").exists() else []
    found = [settings.yaml.safe_load(line) for line in lines]
    return [(a, b, n, words[words.index("--output_folder") + 1]) for a, b, n, words in found]


# ---- the grid ----


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("1e-3,3e-5", ["1e-3", "3e-5"]),
        ("[0.9, 0.98],[0.9, 0.999]", ["[0.9, 0.98]", "[0.9, 0.999]"]),
        ("!new:a.B {x: 1, y: [1, 2]},null", ["!new:a.B {x: 1, y: [1, 2]}", "null"]),
        ("'a,b',\"c,]\"", ["'a,b'", '"c,]"']),
        ("{a: 'b}, c', d: 1},2", ["{a: 'b}, c', d: 1}", "2"]),
        ("o'clock,x'", ["o'clock", "x'"]),
        (" a , b ", ["a", "b"]),
    ],
)
def test_split_at_top_level_commas(text, parts):
    assert grid.split(text) == parts


@pytest.mark.parametrize(("text", "found"), [("[1, 2", "] is missing"), ("'a,b", "' is missing"), ("a,,b", "a value")])
def test_split_refuses(text, found):
    with pytest.raises(SettingsError, match=found):
        grid.split(text)


def test_grid_is_the_product():
    assert grid.grid(["preset=plain,ewc", "lr=1,2"]) == [
        {"preset": "plain", "lr": "1"}, {"preset": "plain", "lr": "2"},
        {"preset": "ewc", "lr": "1"}, {"preset": "ewc", "lr": "2"},
    ]  # fmt: skip


def test_cell_names_are_readable_and_safe():
    assert grid.cell_name({"preset": "ewc"}) == "preset=ewc"
    assert grid.cell_name({"lr": "3e-5", "batch_size": "8"}) == "lr=3e-5,batch_size=8"
    odd = [grid.cell_name({"x": v}) for v in ("a/b", "a b", "../a", "!new:a.B {c: 1}", "y" * 300, "[1, 2]", "{1, 2}")]
    assert len({name.lower() for name in odd}) == 7
    assert all(len(name) < 60 and not set(name) & set('/\\ ,:{}"*?<>|') for name in odd)
    assert odd[0].startswith("x=a_b~")


@pytest.mark.parametrize(
    ("sets", "seeds", "message"),
    [
        ([], "1", "grid is empty"),
        (["lr"], "1", "--set lr: expected key=a,b,c"),
        (["lr="], "1", "a value is missing"),
        (["lr=1e-3,1,0.001"], "1", "0.001 is there twice"),
        (["lr=1", "lr=2"], "1", "lr is there twice"),
        (["seed=1,2"], "1", "seed is given by --seeds"),
        (["lrr=1,2"], "1", "did you mean --lr"),
        (["preset=plain,ewcc"], "1", "did you mean ewc"),
        (["lr=1"], "1,x", "'x' is no whole number"),
        (["lr=1"], "1.5", "'1.5' is no whole number"),
        (["lr=1"], "1,1", "1 is there twice"),
        (["lr=1"], "", "a value is missing"),
    ],
)
def test_refused_before_the_first_run(place, sets, seeds, message):
    with pytest.raises(SettingsError, match=message):
        go(place, *sets, seeds=seeds)
    assert not ran(place) and not (place / "results").exists()


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        (["--lambdaa", "3"], "did you mean --lambda"),
        (["--lr", "3"], "lr is given by --set here"),
        (["--seed", "3"], "seed is given by --seeds here"),
        (["--output_folder", "x"], "output_folder is given by --out here"),
    ],
)
def test_extra_arguments_refused(place, extra, message):
    with pytest.raises(SettingsError, match=message):
        go(place, "lr=0.1", extra=extra)
    assert not ran(place)


def test_needs_the_checkout(place):
    with pytest.raises(SettingsError, match="no train.py here"):
        sweep.sweep("hparams/x.yaml", ["lr=1"], "1")


def test_a_run_is_what_its_command_makes(place):
    """The words, read as train.py reads them, give the settings that `plan` compared with the folder's."""
    cells = grid.grid(["preset=plain,ewc", "betas=[0.9, 0.98],[0.8, 0.9]"])
    extra = ["--lr", "0.25", "--preset", "small", "--device", "cpu"]
    planned = jobs.plan("hparams/x.yaml", cells, [3, 4], Path("out"), extra)
    assert [job.name for job in planned[:2]] == [f"{grid.cell_name(cells[0])}/3", f"{grid.cell_name(cells[1])}/3"]
    names, rest = presets.take(planned[-1].words)
    path, overrides, options, _ = settings.parse(rest)
    assert names == ["small", "ewc"] and options == {"device": "cpu", "noprogressbar": True}
    overrides = presets.apply(names, presets.scalars(YAML)) | overrides
    expected = {
        "lr": "0.25",
        "lambda": "10",
        "betas": "[0.8, 0.9]",
        "seed": "4",
        "output_folder": str(planned[-1].folder),
    }
    assert overrides == expected

    planned[-1].folder.mkdir(parents=True)
    (planned[-1].folder / run_folder.AS_WRITTEN).write_text(YAML)
    (planned[-1].folder / run_folder.OVERRIDES).write_text(settings.override_text(overrides))
    jobs.plan("hparams/x.yaml", cells, [3, 4], Path("out"), extra)
    with pytest.raises(SettingsError, match=r"other settings: lr: 0.25 there, 0.2 here"):
        jobs.plan("hparams/x.yaml", cells, [3, 4], Path("out"), ["--lr", "0.2", *extra[2:]])
    (place / "hparams" / "x.yaml").write_text("# now\n" + YAML)
    jobs.plan("hparams/x.yaml", cells, [3, 4], Path("out"), extra)  # a comment is no other setting
    (place / "hparams" / "x.yaml").write_text(YAML.replace("language: de", "language: fr"))
    with pytest.raises(SettingsError, match='language: "de" there, "fr" here'):
        jobs.plan("hparams/x.yaml", cells, [3, 4], Path("out"), extra)


# ---- running ----


def test_all_runs_their_order_threads_logs_and_table(place, monkeypatch):
    monkeypatch.setattr(execute, "cores", lambda: 6)
    status, said, runs = go(place, "lr=0.2,0.4", seeds="1,2", extra=["--lambda", "3"])
    assert status == 0
    out = "made/x_sweep"
    folders = [f"{out}/lr={lr}/{seed}" for seed in (1, 2) for lr in (0.2, 0.4)]
    assert [folder for *_, folder in runs] == folders
    assert all(later[0] >= earlier[1] for earlier, later in zip(runs, runs[1:], strict=False))  # one at a time
    assert {threads for _, _, threads, _ in runs} == {"6"}
    log = (place / out / "lr=0.2" / "1.log").read_text()
    assert "--lambda 3 --lr 0.2 --seed 1 --output_folder" in log.splitlines()[0]
    assert "first line" in log and "Fehler: zu groß" in log
    rows = list(csv.DictReader((place / out / "table.csv").open()))
    assert [(row["method"], float(row["new"]), row["seeds"]) for row in rows] == [
        ("lr=0.2", 20, "1 2"), ("lr=0.4", 40, "1 2"),
    ]  # fmt: skip
    assert "| lr=0.4 | 2 | 40.00 [40.00, 40.00] | 40.00 ± 0.00 |" in (place / out / "table.md").read_text()
    assert "| lr=0.4 | 2 | 40.00" in said and "2 cells, 4 runs, 0 of them done" in said


def test_the_runs_stand_where_output_root_says(place):
    extra = ["--output_root", "elsewhere", "--preset", "small"]
    _, said, runs = go(place, "lambda=1,2", extra=extra)
    assert {folder for *_, folder in runs} == {"elsewhere/x_sweep/lambda=1/1", "elsewhere/x_sweep/lambda=2/1"}
    assert "Wrote elsewhere/x_sweep/table.md" in said
    assert jobs.default_folder("hparams/x.yaml", ["--output_root=b"]) == Path("b/x_sweep")
    (place / "hparams/x.yaml").write_text(YAML.replace("output_root", "start"))
    assert jobs.default_folder("hparams/x.yaml", []) == Path("results/x_sweep")


def test_presets_are_the_rows(place):
    status, said, runs = go(place, "preset=plain,ewc", out="o")
    assert status == 0 and [folder for *_, folder in runs] == ["o/preset=plain/1", "o/preset=ewc/1"]
    assert "| plain | 1 |" in said and "+0.00 [+0.00, +0.00]" in said and "no p-value of a method is given" in said


def test_several_at_a_time_share_the_cores(place, monkeypatch):
    monkeypatch.setattr(execute, "cores", lambda: 6)
    _, _, runs = go(place, "lr=0.1,0.2", fake=["--sleep", "1.5"], jobs=2)
    (a, b) = runs
    assert a[0] < b[1] and b[0] < a[1]  # together
    assert {threads for _, _, threads, _ in runs} == {"3"}
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    _, _, runs = go(place, "lr=0.3", jobs=8)
    assert runs[-1][2] == "5"


def test_only_what_is_not_done_runs_again(place):
    go(place, "lr=0.1,0.2,0.3")
    (place / "made/x_sweep/lr=0.2/1/results.md").unlink()
    status, said, runs = go(place, "lr=0.1,0.2,0.3")
    assert status == 0 and "3 runs, 2 of them done" in said
    assert [folder for *_, folder in runs[3:]] == ["made/x_sweep/lr=0.2/1"]
    log = (place / "made/x_sweep/lr=0.2/1.log").read_text()
    assert log.count("first line") == 2  # what the first try said is still there


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="a killed worker's run dies with it on Linux alone")
def test_two_workers_share_a_sweep_and_one_is_killed_three_times(place):
    """12 runs: all are made, and none is made twice to its end."""
    values = "lr=" + ",".join(f"0.{i}" for i in range(1, 7))

    def work():
        status, _, _ = go(place, values, seeds="1,2", fake=["--sleep", "0.3"], out="o")
        os._exit(status)

    def start():
        worker = multiprocessing.get_context("fork").Process(target=work)
        worker.start()
        return worker

    def begun():
        return sum(log.read_text().count("$ ") for log in (place / "o").glob("*/*.log"))

    steady, killed = start(), start()
    for _ in range(3):
        until = time.monotonic() + 60
        while not Path(f"/proc/{killed.pid}/task/{killed.pid}/children").read_text() and time.monotonic() < until:
            time.sleep(0.01)
        time.sleep(0.05)
        killed.kill()  # SIGKILL: its run dies with it
        killed.join()
        killed = start()
    for worker in (steady, killed):
        worker.join(60)
        assert worker.exitcode == 0
    assert (place / "o/table.md").exists()
    made = [folder for *_, folder in ran(place)]
    assert sorted(made) == sorted(f"o/lr=0.{i}/{seed}" for i in range(1, 7) for seed in (1, 2))
    assert begun() > 12, "a run that was killed with its worker was begun again"
    assert all(len(run.read_text()) > 20 for run in (place / "o").glob("*/*/run.json"))


def test_a_run_that_another_worker_makes_is_waited_for(place):
    taken = lock.claim(place / "made/x_sweep/lr=0.1/1.claim")

    def other_worker():
        time.sleep(0.5)
        code = f"exec(open({str(place / 'fake.py')!r}).read())"
        words = ["hparams/x.yaml", "--lr", "0.1", "--seed", "1", "--output_folder", "made/x_sweep/lr=0.1/1"]
        subprocess.run([sys.executable, "-S", "-E", "-c", code, *words], check=True)
        taken.release()

    thread = threading.Thread(target=other_worker)
    thread.start()
    status, _, runs = go(place, "lr=0.1,0.2")
    thread.join()
    assert status == 0 and sorted(run[-1] for run in runs) == ["made/x_sweep/lr=0.1/1", "made/x_sweep/lr=0.2/1"]


@pytest.mark.parametrize("damage", ["run.json", "metrics.jsonl", "predictions_test_de_best.csv"])
def test_a_run_is_done_when_its_contents_say_so(place, damage):
    go(place, "lr=0.1,0.2")
    path = place / "made/x_sweep/lr=0.2/1" / damage
    path.unlink() if "predictions" in damage else path.write_text("")
    assert "2 runs, 1 of them done" in go(place, "lr=0.1,0.2")[1]


def test_a_failure_stops_nothing_and_is_told(place):
    status, said, runs = go(place, "lr=0.1,0.2,0.3", fake=["--fail", "0.2"])
    assert status == 1 and len(runs) == 3
    assert "FAILED lr=0.2/1: exit status 3; the end of made/x_sweep/lr=0.2/1.log:" in said
    assert "    bar 100 %\n" in said and "Fehler: zu groß" in said and "bar 1 %" not in said
    table = (place / "made/x_sweep/table.md").read_text()
    assert "lr=0.1" in table and "| lr=0.2" not in table and "Not in it, for they failed: lr=0.2/1." in table
    assert go(place, "lr=0.1,0.2,0.3")[0] == 0


def test_an_end_without_results_is_a_failure(place):
    status, said, _ = go(place, "lr=0.1", fake=["--fail", "late"])
    assert status == 1 and "run.json does not say that it is finished" in said
    assert not (place / "made/x_sweep/table.md").exists()


def test_a_yaml_that_changes_under_way_is_not_mixed_in(place):
    """Runs read the YAML when they start, which may be a day after the sweep began."""
    status, said, runs = go(place, "lr=0.1,0.2", fake=["--edit", "yes"])
    assert status == 1 and len(runs) == 1
    assert "FAILED lr=0.2/1: not started: hparams/x.yaml has been changed" in said


# ---- a YAML that needs another's result ----


@pytest.fixture
def needing(place):
    (place / "hparams" / "x.yaml").write_text(YAML.replace("run_first: null", "run_first: hparams/start.yaml"))
    return place


def test_what_is_needed_is_made_once_a_seed_before_the_runs_with_all_cores(needing, monkeypatch):
    monkeypatch.setattr(execute, "cores", lambda: 8)
    status, _, runs = go(needing, "lr=0.1,0.2,0.3", seeds="1,2", fake=["--model_too", "yes"], jobs=4, out="o")
    assert status == 0 and len(runs) == 6
    made = [line.split() for line in (needing / "made.txt").read_text().splitlines()]
    assert [(seed, threads) for _, seed, threads in made] == [("1", "8"), ("2", "8")]
    assert all(start > float(made[1][0]) for start, *_ in runs)
    planned = jobs.plan("hparams/x.yaml", grid.grid(["lr=0.4"]), [1], Path("o"), [])
    assert planned[0].waits_for is None  # it is there now


def test_needed_model_of_each_run(needing):
    def waits(*extra):
        return jobs.plan("hparams/x.yaml", [{"lr": "1"}], [7], Path("o"), list(extra))[0].waits_for

    assert waits() == "made/start/7/model"
    assert waits("--pretrain_seed", "3") == "made/start/3/model"
    assert waits("--model", "mine/model") is None  # train.py makes no model that was asked for by name


@pytest.mark.parametrize("fake", [["--fail", "needed"], []], ids=["it fails", "it makes no model"])
def test_without_what_is_needed_nothing_is_started(needing, fake):
    status, said, runs = go(needing, "lr=0.1,0.2,0.3", fake=fake, jobs=3)
    assert status == 1 and not runs
    assert "FAILED lr=0.1/1: made/start/1/model was not made; the end of" in said
    assert "FAILED lr=0.3/1: not started: made/start/1/model is not there, for it failed in lr=0.1/1" in said


# ---- stopping ----


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_stopping_ends_the_runs(place, number):
    def stop():
        until = time.monotonic() + 60
        while not all((place / f"o/lr={lr}/1").is_dir() for lr in (0.1, 0.2)) and time.monotonic() < until:
            time.sleep(0.05)
        os.kill(os.getpid(), number)

    before = signal.getsignal(signal.SIGTERM)
    thread = threading.Thread(target=stop)
    thread.start()
    start = time.monotonic()
    status, said, runs = go(place, "lr=0.1,0.2,0.3", fake=["--sleep", "60"], jobs=2, out="o")
    thread.join()
    assert time.monotonic() - start < 50
    assert status == 130 and "stopped; the same command goes on" in said and not runs
    assert not (place / "o/lr=0.3").exists()
    for lr in (0.1, 0.2):  # they were told as Ctrl-C tells, and are gone
        assert "KeyboardInterrupt" in (place / f"o/lr={lr}/1.log").read_text()
    assert signal.getsignal(signal.SIGTERM) is before


# ---- the command ----


def test_command_passes_on_what_it_does_not_know(monkeypatch):
    found = []
    monkeypatch.setattr(sweep, "sweep", lambda *args, **kwargs: found.append((args, kwargs)) or 3)
    words = ["sweep", "hparams/x.yaml", "--set", "lr=1,2", "--max_updates", "4", "--seeds", "1,2", "--jobs", "2"]
    result = CliRunner().invoke(app.app, [*words, "--set=preset=a", "--deterministic", "--warmup=-1", "--out", "o"])
    assert result.exit_code == 3, result.output
    extra = ["--max_updates", "4", "--deterministic", "--warmup=-1"]
    args = ("hparams/x.yaml", ["lr=1,2", "preset=a"], "1,2", 2, Path("o"), extra)
    assert found == [(args, {"baseline": "plain", "report": False})]


def test_table_is_against_the_baseline_asked_for(place):
    status, said, _ = go(place, "lr=0.1,0.2", baseline="lr=0.1")
    assert status == 0 and "de † WER to lr=0.1" in said and "+10.00" in said
    assert "old WER" not in said and "forward transfer" not in said  # there is no old language
    with pytest.raises(SettingsError, match="--baseline lr=9: no such method here; expected one of lr=0.1, lr=0.2"):
        go(place, "lr=0.1,0.2", baseline="lr=9")


def test_the_report_knows_the_baseline_that_the_table_knows(place):
    """A cell of several keys, which table and report call by other names; and one of which no run is there."""
    more = {"out": "o", "report": True, "baseline": "preset=ewc,lr=0.1"}
    status, said, _ = go(place, "preset=ewc,small", "lr=0.1,0.2", **more)
    assert status == 0 and "4 runs" in said
    assert "--baseline ewc,lr=0.1" in (place / "o" / "report" / "index.md").read_text()
    said = []
    assert not sweep._make_report(place / "o", said.append, "lr=9")
    assert said == ["No report: --baseline lr=9: no run is of it; expected one of "
                    "ewc,lr=0.1, ewc,lr=0.2, small,lr=0.1, small,lr=0.2"]  # fmt: skip


def test_a_report_beside_the_table(place):
    status, said, _ = go(place, "lr=0.1,0.2", out="o", report=True)
    assert status == 0 and "2 runs (2 unfinished)" in said and "Wrote o/report/index.md and o/report/index.html" in said
    assert (place / "o" / "report" / "index.html").is_file() and (
        place / "o" / "report" / "tables" / "runs.md"
    ).is_file()
    status, said, _ = go(place, "lr=0.1,0.2", out="o", report=True)  # nothing in it is taken for a run
    assert status == 0 and "2 runs" in said and "3 runs" not in said
