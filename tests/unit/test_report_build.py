"""carryover/report/build.py and `carryover report`: what is written, the same bytes each time, nobody's paths in it."""

import csv
import io
import re

import made_runs
import numpy as np
import pytest
from test_summary import write_manifest
from typer.testing import CliRunner

from carryover import exits
from carryover.commands import app
from carryover.report import build
from carryover.report.tables import forgetting
from carryover.stats import error_rates


def make_results(root):
    more = {"preset=ewc/1": {"penalty": 0.1}, "preset=mas/1": {"finished": False}}
    for name in ("preset=plain/1", "preset=plain/2", "preset=ewc/1", "preset=mas/1"):
        kept = {"seed": int(name[-1]), "data_folder": "/home/anna/cv"} | more.get(name, {})
        write_manifest(made_runs.make(root / name, **kept), "de")
    with open(root / "preset=mas" / "1" / "metrics.jsonl", "a") as file:
        file.write('{"event": "tr')
    return root


def intervals_of(text):
    """{start of a line: its "WER [low, high]" cells} of a Markdown table or of results.md."""
    cell = re.compile(r"\d+\.\d\d \[[^]+]*\]")
    return {line.strip("| ").split(" |")[0]: cell.findall(line) for line in text.splitlines() if line.startswith("| ")}


def test_one_number_has_one_interval(tmp_path):
    """Of logs with another version's intervals: every table, the page, the terminal and results.md of today agree."""
    results, rng = tmp_path / "results", np.random.default_rng(1)
    for name in ("plain", "ewc"):
        tests = {
            key: [
                (ref, f"{hyp} x" * n, *rest)
                for n, (ref, hyp, *rest) in zip(rng.integers(3, size=40), rows, strict=True)
            ]
            for key, rows in {
                ("de", "best"): made_runs.GERMAN * 8, ("nl", "before"): made_runs.DUTCH * 20,
                ("nl", "best"): made_runs.DUTCH_AFTER * 20,
            }.items()
        }  # fmt: skip
        made_runs.make(results / f"preset={name}" / "1", tests=tests)
    made = build.report([results], tmp_path / "report")
    tables = {table.name: list(csv.DictReader(io.StringIO(table.csv()))) for table in made.tables}
    shown = {name: intervals_of((tmp_path / f"report/tables/{name}.md").read_text()) for name in tables}
    page = (tmp_path / "report" / "index.html").read_text()
    terminal = CliRunner().invoke(app.app, ["compare", *(str(results / f"preset={n}" / "1") for n in ("plain", "ewc"))])
    swept = forgetting.table({n: [results / f"preset={n}" / "1"] for n in ("plain", "ewc")}).markdown()
    for name in ("plain", "ewc"):
        [methods] = [row for row in tables["methods"] if row["method"] == name]
        events = []
        for language, weights, column in (("de", "best", "new"), ("nl", "before", "old_before"), ("nl", "best", "old")):
            path = results / f"preset={name}" / "1" / f"predictions_test_{language}_{weights}.csv"
            with open(path, newline="") as file:
                numbers = error_rates.COLUMNS[9:]
                rows = [row | {key: int(row[key]) for key in numbers} for row in csv.DictReader(file)]
            found = error_rates.interval(rows)
            known = error_rates.totals(rows) | found.logged()  # as training's test event
            events.append(known | {"language": language, "weights": weights})
            digits, digits_CER = (tuple(map(str, ends)) for ends in (found.WER, found.CER))
            assert known["interval"][0] < known["WER"] < known["interval"][1]
            assert (methods[f"{column}_low"], methods[f"{column}_high"]) == digits
            key = {"run": f"preset={name}/1", "set": f"test_{language}"}
            when = "before" if weights == "before" else "after"
            [row] = [row for row in tables["before_after"] if row | key == row]
            assert (row[f"low {when}"], row[f"high {when}"]) == digits
            assert (row[f"CER low {when}"], row[f"CER high {when}"]) == digits_CER
            assert (methods[f"{column}_CER_low"], methods[f"{column}_CER_high"]) == digits_CER
            text, of_letters = (
                f"{known[rate]:.2f} [{ends[0]:.2f}, {ends[1]:.2f}]"
                for rate, ends in (("WER", found.WER), ("CER", found.CER))
            )
            assert of_letters in page and of_letters in error_rates.before_after(events)
            assert text in page
            if weights == "best":
                [row] = [row for row in tables["speakers"] if row | key == row]
                assert (row["low"], row["high"]) == digits
                assert text in terminal.output, terminal.output
                assert text in shown["methods"][name] and text in intervals_of(swept)[name]
                assert text in (tmp_path / "report/tables/speakers.md").read_text()
            assert text in (tmp_path / "report/tables/before_after.md").read_text()
            assert text in error_rates.before_after(events)


def files(out):
    return {p.relative_to(out).as_posix(): p.read_bytes() for p in out.rglob("*") if p.is_file()}


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """Report of the same logs in two places."""
    found = []
    for name in ("one", "two"):
        root = tmp_path_factory.mktemp(name)
        make_results(root / "results")
        found.append((root, build.report([root / "results"], root / "report", rate=1.5)))
    return found


def test_the_same_logs_give_the_same_bytes(built):
    one, two = (files(root / "report") for root, _ in built)
    assert one.keys() == two.keys()
    assert [name for name in one if one[name] != two[name]] == []


def test_everything_is_there_and_in_the_index(built):
    root, made = built[0]
    found = files(root / "report")
    for name in ("methods.md", "methods.tex", "references.bib", "index.html", "index.md"):
        assert found[name], name
    for table in made.tables:
        for suffix in ("csv", "md", "tex"):
            assert f"tables/{table.name}.{suffix}" in found
    assert made.figures and all(f"figures/{figure.name}.svg" in found for figure in made.figures)
    index = found["index.md"].decode()
    linked = set(re.findall(r"\]\(([^)]*)\)", index))
    assert linked == set(found) - {"index.md"}
    assert "Made by `carryover report …/results --out …/report --rate 1.5` of 4 runs" in index
    assert "Not finished (killed or running), with what they logged so far: `preset=mas/1` (100 updates)." in index
    assert "- batch_memory: no experiment with several batch sizes" in index
    assert "half-written" in found["tables/problems.md"].decode()


def test_nobodys_paths_tokens_or_dates(built):
    root, _ = built[0]
    for name, data in files(root / "report").items():
        if name.endswith(".png"):  # pixels can spell anything
            continue
        for secret in (str(root), "home/anna", "anna/", "hf_abc", "/root", "/tmp"):
            assert secret.encode() not in data, (name, secret)
        assert not re.search(rb"20[0-9]{2}-[01][0-9]-[0-3][0-9]", data), name


def test_nothing_old_stands_among_the_new(built, tmp_path):
    root = make_results(tmp_path / "results")
    out = tmp_path / "report"
    build.report([root], out, baseline="ewc")
    assert "carryover report" in (out / "index.md").read_text() and "--baseline ewc" in (out / "index.md").read_text()
    assert (out / "tables" / "adaptation.csv").is_file() and (out / "figures" / "penalty_ratio.svg").is_file()
    (out / "tables" / "mine.tex").write_text("a thesis's own")
    build.report([root / "preset=plain"], out)
    left = files(out)
    assert "tables/adaptation.csv" not in left and "figures/penalty_ratio.svg" not in left
    assert left["tables/mine.tex"] == b"a thesis's own" and "tables/runs.md" in left


def test_a_baseline_that_is_not_there(tmp_path):
    root = make_results(tmp_path / "results")
    with pytest.raises(ValueError, match="--baseline l2sp: no run is of it; expected one of ewc, mas, plain"):
        build.report([root], tmp_path / "report", baseline="l2sp")
    assert not (tmp_path / "report").exists()
    build.report([root], tmp_path / "report", baseline="preset=ewc")  # the folder of a sweep's cell
    assert "ewc" in (tmp_path / "report" / "tables" / "methods.md").read_text().splitlines()[0]  # WER to ewc


def test_command(tmp_path):
    made_runs.make(root := tmp_path / "results" / "plain" / "1")
    run = CliRunner().invoke
    done = run(app.app, ["report", str(root), "--out", str(tmp_path / "r"), "--grid", "seed,language,loss"])
    assert done.exit_code == 0, done.output
    assert "1 runs (0 unfinished)" in done.output and "Left out: adaptation: no run logged a penalty" in done.output
    done = run(app.app, ["report", str(root), "--grid", "seed"])
    assert done.exit_code == 2 and "expected two keys" in done.output
    for grid, near in (("seed,langage,loss", "'language'"), ("seed,language,test wer", "'test WER'")):
        done = run(app.app, ["report", str(root), "--grid", grid])
        assert exits.words(done.exception)[0] == 2 and f"did you mean {near}?" in str(done.exception)
    (tmp_path / "empty").mkdir()
    done = run(app.app, ["report", str(tmp_path / "empty")])
    assert isinstance(done.exception, FileNotFoundError) and "no run in it" in str(done.exception)


@pytest.mark.parametrize(
    "file, content",
    [
        ("as_written.yaml", b"language: d\xff"),
        ("as_written.yaml", b"- a list"),
        ("run.json", b"\xff\xfe"),
        ("run.json", b'{"data": [1], "command": 3}'),
        ("metrics.jsonl", b'{"event": "test", "update": "many", "WER": [1]}\n'),
        ("metrics.jsonl", b'{"event": "train", "update": null, "loss": {}}\n'),
        ("metrics.jsonl", b'{"event": "train", "update": 1e999, "loss": 1}\n'),
        ("metrics.jsonl", b'{"event": "valid", "update": 1, "words": 1%s}\n' % (b"0" * 400)),
        ("manifests/de/test.csv", b"ID,text\n1,\xff\n"),
        ("manifests/de/.done", b'{"hours": 3, "settings": []}'),
    ],
)
def test_one_run_that_cannot_be_read_is_named_and_the_others_are_in_the_report(tmp_path, file, content):
    for seed in "12":
        made_runs.make(tmp_path / "results" / "plain" / seed)
    path = tmp_path / "results" / "plain" / "2" / file
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.name == "test.csv":
        path.with_name(".done").write_text("{}")
    path.write_bytes(content)
    done = CliRunner().invoke(app.app, ["report", str(tmp_path / "results"), "--out", str(tmp_path / "r")])
    assert isinstance(done.exception, (SystemExit, type(None))), done.exception
    problems = tmp_path / "r" / "tables" / "problems.md"
    said = done.output + (problems.read_text() if problems.is_file() else "")
    assert "plain/2" in said and path.name in said
    assert done.exit_code in (0, 1)
