"""carryover/report/page/page.py: one file that needs nothing else, names no machine, and runs nothing of a run."""

import base64
import hashlib
import json
import re
from html.parser import HTMLParser

import made_runs
import numpy as np
import pytest
import soundfile
from test_summary import write_manifest

from carryover.report import find_runs, summary
from carryover.report.figures.style import Figure
from carryover.report.page import errors, page
from carryover.report.tables.cells import Bold, clock
from carryover.report.tables.table import Table
from carryover.runs.flags import Flag

EVIL = "</script><script>alert(1)</script><b>x</b>&amp;\u2028<!--"
ROWS = [["<i>ewc</i>", 12.25], ["plain", Bold("9.10")]]
TABLE = Table("a_table", ["method", "WER"], ROWS, "A <caption>.", ["Note."])


class Reader(HTMLParser):
    """Tags with their attributes, and the text of each tag by name."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.texts, self.open = [], {}, []
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        self.open.append(tag)
        self.texts.setdefault(tag, []).append("")

    def handle_endtag(self, tag):
        while self.open and self.open.pop() != tag:
            pass

    def handle_data(self, data):
        if self.open:
            self.texts[self.open[-1]][-1] += data


@pytest.fixture
def written(tmp_path):
    """(summaries, HTML, what it was parsed to, the browser's data) of a page with a hostile run."""
    hostile = [("het huis", "het huis", "cor", 1.0), ("goede morgen", "goed", "<img src=x onerror=alert(2)>", 2.0)]
    tests = {("de", "best"): made_runs.GERMAN, ("nl", "best"): hostile}
    folder = made_runs.make(tmp_path / "results" / "run" / "1", tests=tests, finished=False)
    path = folder / "predictions_test_nl_best.csv"
    path.write_text(path.read_text().replace("goed,goede morgen,goed,", f"goed,goede morgen,{EVIL},"))
    runs = find_runs.load([tmp_path / "results"])
    svg = tmp_path / "report" / "figures" / "loss.svg"
    svg.parent.mkdir(parents=True)
    svg.write_text("<svg/>")
    figure = Figure("loss", "A figure.", [str(svg), str(svg.with_suffix(".png"))], str(svg.with_suffix(".csv")))
    flags = {"run/1": [Flag("plateau", 50, "loss < 3 & still", "try <b>lr</b>")]}
    found = page.write(tmp_path / "report" / "index.html", runs, [TABLE], [figure], flags, "First.\n\nSecond <p>.")
    html = found.read_text(encoding="utf-8")
    parsed = Reader(html)
    holder = re.search(r'<script type="application/json" id="data">(.*?)</script>', html, re.S)
    return runs, html, parsed, json.loads(holder[1])


def test_nothing_is_asked_of_a_network(written):
    _, html, parsed, _ = written
    for tag, attributes in parsed.tags:
        for key in ("src", "href", "srcset", "action", "poster", "data"):
            value = attributes.get(key) or ""
            inside = value.startswith(("#", "data:"))
            beside = tag == "a" and re.fullmatch(r"figures/loss\.(svg|pdf|png|csv)", value)
            assert not value or inside or beside, (tag, value)
    style = (page.HERE / "page.css").read_text()
    assert "url(" not in style and "@import" not in style
    assert "fetch" not in (page.HERE / "page.js").read_text()
    policy = next(a["content"] for t, a in parsed.tags if t == "meta" and "http-equiv" in a)
    assert policy.startswith("default-src 'none';") and "http" not in policy


def test_the_policy_lets_our_script_run_and_no_other(written):
    _, html, _, _ = written
    script = re.search(r"<script>(.*?)</script>", html, re.S)[1]
    said = re.search(r"script-src 'sha256-([^']+)'", html)[1]
    assert base64.b64decode(said) == hashlib.sha256(script.encode()).digest()


def test_texts_are_texts(written):
    _, html, parsed, data = written
    kinds = [tag for tag, _ in parsed.tags]
    assert kinds.count("script") == 2 and kinds.count("b") == 2 and kinds.count("img") == 1  # b: figure, flag
    assert "alert(1)</script>" not in html and "<img src=x" not in html and "\u2028" not in html
    words = [word for row in data["rows"] for word in row[-1]]
    assert ["goede", "goed"] not in words and any(EVIL.split()[0] in pair for pair in words)
    assert "<img src=x onerror=alert(2)>" in data["speakers"]
    assert "<i>ewc</i>" in parsed.texts["th"] and "i" not in kinds
    assert "9.10" in parsed.texts["strong"] and "12.25" in parsed.texts["td"]
    assert any("Second <p>." in text for text in parsed.texts["p"])


def test_the_browser_holds_the_errors_that_were_counted(written):
    runs, _, _, data = written
    rows = [row for row in data["rows"] if data["sets"][row[1]] == "test_de"]
    errors = {row[2]: sum(isinstance(word, list) for word in row[-1]) for row in rows}
    assert errors == {"de0": 1, "de1": 0, "de2": 1, "de3": 1, "de4": 0}
    aligned = {row[2]: row[-1] for row in rows}
    assert aligned["de0"] == ["das", ["schöne", "schone"], "haus"]
    assert aligned["de2"] == ["um", "elf", ["uhr", ""]]
    assert aligned["de3"] == ["heute", ["", "ist"]]
    counts = [sum(isinstance(word, list) for word in row[-1]) for row in data["rows"]]
    assert counts == sorted(counts, reverse=True)
    assert data["sounds"] == {}
    assert {data["clips"][row[3]] for row in rows} == {f"de/test/{i}.wav" for i in range(5)}


def test_runs_flags_and_where_they_were_made(written):
    _, html, parsed, _ = written
    assert "unfinished" in parsed.texts["strong"]
    assert any("loss < 3 & still" in text for text in parsed.texts["li"]) and "try &lt;b&gt;lr" in html
    for fact in ("22ca7dd571f718ace4e346887924a8289fbd814c, with changes", "AMD EPYC, 2 cores, no GPU", "torch 2.11.0"):
        assert fact in html
    assert "--data_folder …/de" in html


def test_rates_of_other_sets_normalisers_and_training_utterances_are_not_mixed(tmp_path):
    root = tmp_path / "results"
    for name, own in {"a": {}, "b": {}, "c": {}, "heart": {"overfit": 5}}.items():
        folder = made_runs.make(root / name / "1", tests={("de", "best"): made_runs.GERMAN}, **own)
        write_manifest(folder, "de", texts=("eins", "zwei") if name != "b" else ("un", "deux"))
        if name == "c":
            info = json.loads((folder / "run.json").read_text())
            (folder / "run.json").write_text(json.dumps(info | {"normaliser": "verbatim"}))
    runs = find_runs.load([root])
    html = page.write(tmp_path / "index.html", runs, [], [], {}, "").read_text(encoding="utf-8")
    rows = re.findall(r'<th scope="row">(\w+)/1</th>(.*?)</tr>', html, re.S)
    cells = {name: re.findall(r'<td class="n">([^<]*)</td>', row)[2:-1] for name, row in rows}
    heads = re.findall(r'<th scope="col" class="n">([^<]*)</th>', html)[2:-1]
    one, other = (run.test_sets["de"][:12] for run in runs[:2])
    place = heads.index(f"test_de {one} best")
    assert set(heads) == {"test_de best", f"test_de {one} best", f"test_de {other} best"}
    assert cells["heart"][heads.index("test_de best")].endswith(" of training utterances")
    assert cells["c"][place] == f"{cells['a'][place]}*" and cells["a"][place].startswith("27.27 / ")
    assert cells["a"][heads.index(f"test_de {other} best")] == "-" == cells["b"][place]
    assert "without a mark: carryover.text.Normaliser. *: scored with verbatim." in html


def test_nobodys_paths_names_and_tokens(written, tmp_path):
    html = written[1]
    assert "/home/" not in html and "anna/de" not in html and "hf_abcdefghijkl" not in html
    assert str(tmp_path) not in html


def test_the_same_runs_give_the_same_bytes(written, tmp_path):
    runs, html, _, _ = written
    figure = Figure("loss", "A figure.", [str(tmp_path / f"report/figures/loss.{s}") for s in ("svg", "png")], "")
    figure = Figure(*list(vars(figure).values())[:3], str(tmp_path / "report/figures/loss.csv"))
    flags = {"run/1": [Flag("plateau", 50, "loss < 3 & still", "try <b>lr</b>")]}
    again = page.write(tmp_path / "report" / "again.html", runs, [TABLE], [figure], flags, "First.\n\nSecond <p>.")
    assert again.read_text(encoding="utf-8") == html


def test_a_long_test_is_cut_and_the_page_says_so(tmp_path, monkeypatch):
    made_runs.make(tmp_path / "run" / "1", tests={("de", "best"): made_runs.GERMAN})
    monkeypatch.setattr(errors, "PER_RUN", 2)
    found = errors.collect(find_runs.load([tmp_path]))
    assert [row[2] for row in found.rows] == ["de0", "de3"]  # 1 error in 3 words, in 1 word; de2 as de0
    assert "holds 2 of 5 tested utterances" in found.notes[0] and "(2 of 5)" in found.notes[0]


def test_clips_are_embedded_only_when_asked_and_up_to_a_limit(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    made_runs.make(tmp_path / "results" / "run" / "1", tests={("de", "best"): made_runs.GERMAN})
    clips = tmp_path / "data" / "mine" / "de" / "test"
    clips.mkdir(parents=True)
    for i in (0, 1, 3):
        soundfile.write(clips / f"{i}.wav", np.full(300_000 if i == 1 else 150_000, i / 10), 16000)  # 16 bit
    runs = find_runs.load(["results"])
    assert errors.collect(runs).sounds == {}
    monkeypatch.setattr(errors, "CLIP_MB", 1)
    found = errors.collect(runs, clips=True)
    embedded = {found.clips[i]: base64.b64decode(uri.split(",", 1)[1]) for i, uri in found.sounds.items()}
    assert embedded == {f"de/test/{i}.wav": (clips / f"{i}.wav").read_bytes() for i in (0, 3)}
    assert all(uri.startswith("data:audio/") for uri in found.sounds.values())
    notes = " ".join(found.notes)
    assert "2 clips are in this page" in notes and "1 MB at most" in notes
    assert "1 clips are not" in notes and "2 clips were not found" in notes


def test_clips_of_one_name_in_two_corpora_are_two(tmp_path):
    for i, corpus in enumerate(("first", "second"), 1):
        folder = made_runs.make(tmp_path / "run" / str(i), seed=i, tests={}, data_folder=f"data/{corpus}")
        event = made_runs.predictions(folder, "de", "best", made_runs.GERMAN[:1], f"data/{corpus}/{{}}/test/{{}}.wav")
        with open(folder / "metrics.jsonl", "a") as file:
            file.write(json.dumps(event) + "\n")
    found = errors.collect(find_runs.load([tmp_path]))
    assert found.clips == ["de/test/0.wav"] * 2 and {row[3] for row in found.rows} == {0, 1}


@pytest.mark.parametrize(
    "audio, folder, name",
    [
        ("data/mine/de/1.wav", "data/mine", "de/1.wav"),
        ("/home/anna/cv/de/clips/1.mp3", "…/de", "clips/1.mp3"),
        ("/home/anna/elsewhere/1.mp3", "…/de", "1.mp3"),
        ("other/1.wav", "data/mine", "other/1.wav"),
        ("~/other/1.wav", "data/mine", "…/1.wav"),
    ],
)
def test_a_clip_is_named_from_its_data_folder(tmp_path, audio, folder, name):
    run = summary.Summary(tmp_path, "run", settings={"data_folder": folder})
    assert errors.clip_name(audio, run) == name


def test_what_a_run_said_of_itself(tmp_path):
    flags = [
        {"update": 3, "message": "out of memory; micro-batches are halved"},
        {"update": 4, "message": "red flag (plateau): 3; try"},
        {"update": 5, "message": "x", "kind": "plateau"},
        {"update": 6, "message": "see /home/anna/x.csv"},
    ]
    run = summary.Summary(tmp_path, "run", flags=flags)
    assert run.messages == [(3, "out of memory; micro-batches are halved"), (6, "see …/x.csv")]
    assert [clock(s) for s in (0, 59.6, 3725.2, float("nan"))] == ["0:00:00", "0:01:00", "1:02:05", "-"]


def test_only_recordings_below_the_data_folder_are_embedded(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    secret, tone = tmp_path / "secret.wav", np.full(16000, 0.1)
    soundfile.write(secret, tone, 16000)
    clips = tmp_path / "data" / "mine" / "de" / "test"
    clips.mkdir(parents=True)
    (clips / "0.wav").symlink_to(secret)  # leads out
    (clips / "1.wav").write_text("root:x:0:0")  # no recording
    soundfile.write(clips / "3.wav", tone, 16000)
    made_runs.make(run := tmp_path / "results" / "run" / "1", tests={("de", "best"): made_runs.GERMAN})
    file = run / "predictions_test_de_best.csv"
    file.write_text(file.read_text().replace("data/mine/de/test/2.wav", str(secret)))
    found = errors.collect(find_runs.load(["results"]), clips=True)
    assert [found.clips[i] for i in found.sounds] == ["de/test/3.wav"]
    assert "3 clips are not: they are no recordings below the run's data_folder" in " ".join(found.notes)
