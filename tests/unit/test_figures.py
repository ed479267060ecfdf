"""carryover/report/figures/all_figures.py: the numbers beside each figure in closed form, its style, and its bytes."""

import csv
import random
import re
import subprocess
import sys
from pathlib import Path

import jiwer
import made_runs
import matplotlib.image
import numpy as np
import pytest
from test_summary import write_manifest

from carryover.report import find_runs, predictions, summary
from carryover.report.figures import all_figures, error_figures, labels
from carryover.report.figures.style import Line, Styles, canvas, draw_lines, lay_out, panels, write
from carryover.report.grouping import groups

NAMES = [
    "forgetting", "loss", "WER", "CER", "schedules", "grad_norm", "penalty_ratio", "blank_ratio", "WER_by_duration",
    "WER_by_speaker", "confusions",
]  # fmt: skip


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """Figures of plain with seeds 1, 2 (losses 1 and 3 times 100 / n) and of ewc with seed 1; their numbers by name."""
    folder = tmp_path_factory.mktemp("results")
    made_runs.make(folder / "preset=plain" / "1", seed=1, loss=1.0)
    made_runs.make(folder / "preset=plain" / "2", seed=2, loss=3.0)
    made_runs.make(folder / "preset=ewc" / "1", seed=1, loss=2.0, penalty=0.1)
    runs = find_runs.load([folder])
    found = all_figures.draw(runs, folder / "figures")
    return runs, found, {f.name: list(csv.DictReader(open(f.csv, encoding="utf-8"))) for f in found}


def of(rows, **labels):
    return [row for row in rows if all(row[k] == v for k, v in labels.items())]


def test_all_figures_are_there_with_their_files(drawn):
    _, found, _ = drawn
    assert [f.name for f in found] == NAMES
    for f in found:
        assert [Path(file).suffix for file in f.files] == [".svg", ".pdf", ".png"]
        assert matplotlib.image.imread(f.files[2]).std() > 0.01  # something is drawn
        assert f.caption.endswith(".")


def test_loss_is_the_mean_over_seeds_with_lowest_and_highest(drawn):
    rows = of(drawn[2]["loss"], panel="training, ctc", experiment="plain")
    assert [int(r["update"]) for r in rows] == list(range(10, 101, 10))
    for r in rows:
        n = int(r["update"])
        assert [float(r[k]) for k in ("mean", "low", "high")] == pytest.approx([200 / n, 100 / n, 300 / n], rel=1e-5)
        assert r["seeds"] == "2"
    assert {r["seeds"] for r in of(drawn[2]["loss"], experiment="ewc")} == {"1"}


def test_rates_of_both_languages_and_the_penalty(drawn):
    rows = of(drawn[2]["WER"], panel="validation, German, 200 words", experiment="plain")
    assert [(r["update"], float(r["mean"])) for r in rows] == [("50", 40.0), ("100", 20.0)]
    rows = of(drawn[2]["WER"], panel="validation, Dutch, 200 words", experiment="ewc")
    assert [float(r["mean"]) for r in rows] == [25.0, 50.0]
    rows = drawn[2]["penalty_ratio"]
    assert {r["experiment"] for r in rows} == {"ewc"}
    assert [float(r["mean"]) for r in rows] == pytest.approx([0.1 * n for n in range(10, 101, 10)])


def test_equal_rates_are_one_line(drawn):
    """All three runs have lr = n * 1e-5."""
    rows, caption = drawn[2]["schedules"], drawn[1][NAMES.index("schedules")].caption
    assert {r["experiment"] for r in rows} == {"plain"} and "The same rates: EWC as plain" in caption
    assert [float(r["mean"]) for r in rows] == pytest.approx([n * 1e-5 for n in range(10, 101, 10)])


def test_forgetting_by_hand(drawn):
    """Dutch: 1 error in 4 words before, 3 after; German: 3 errors (one of each kind) in 11 words."""
    rows = drawn[2]["forgetting"]
    assert [(r["experiment"], r["weights"], r["seeds"]) for r in rows] == [("plain", "best", "2"), ("ewc", "best", "1")]
    for r in rows:
        assert float(r["forgetting"]) == 50.0
        assert float(r["WER"]) == pytest.approx(100 * 3 / 11, rel=1e-5)


def test_speakers_durations_and_confusions_by_hand(drawn):
    rows = {r["speaker"]: float(r["WER"]) for r in of(drawn[2]["WER_by_speaker"], experiment="plain")}
    assert rows == pytest.approx({"anna": 20.0, "ben": 100 / 3, "cor": 100.0, "dirk": 50.0}, rel=1e-5)
    rows = of(drawn[2]["WER_by_duration"], set="test_de, 5 utterances", experiment="ewc")
    assert [float(r["WER"]) for r in rows] == pytest.approx([100 / 3, 0.0, 100 / 3, 100.0, 0.0], rel=1e-5)
    assert sum(int(r["words"]) for r in rows) == 11
    rows = of(drawn[2]["confusions"], set="test_de, 5 utterances", experiment="plain", reference="ö")
    characters = 2 * sum(len(reference) for reference, *_ in made_runs.GERMAN)  # two seeds
    assert [(r["hypothesis"], r["count"]) for r in rows] == [("o", "2")]
    assert float(rows[0]["per_1000_characters"]) == pytest.approx(2000 / characters, rel=1e-5)
    inserted = of(drawn[2]["confusions"], experiment="ewc", reference="∅", hypothesis="␣")
    assert [r["count"] for r in inserted] == ["1"]  # heute ist


def test_the_same_logs_give_the_same_bytes(drawn, tmp_path):
    """In another process with other hashes, too; and there torch is not imported."""
    runs, found, _ = drawn
    code = (
        "import sys; from carryover.report import summary, watch; from carryover.report.page import page; "
        "from carryover.report.figures import all_figures; "
        "runs = [summary.summarise(*a.split('::')) for a in sys.argv[2:]]; "
        "all_figures.draw(runs, sys.argv[1]); assert 'torch' not in sys.modules"
    )
    names = [f"{run.folder}::{run.name}" for run in runs]
    subprocess.run([sys.executable, "-c", code, tmp_path, *names], check=True, env={"PYTHONHASHSEED": "7"})
    files = sorted(p.name for p in tmp_path.iterdir())
    assert len(files) == 4 * len(NAMES)
    for name in files:
        assert (tmp_path / name).read_bytes() == (Path(found[0].csv).parent / name).read_bytes(), name
    svg = Path(found[0].files[0]).read_text(encoding="utf-8")
    assert "dc:date" not in svg and "Matplotlib v" not in svg


def test_a_figure_with_nothing_to_show_is_left_out(tmp_path):
    folder = made_runs.make(tmp_path / "run" / "1", tests={}, finished=False, old_language="null")
    found = all_figures.draw([summary.summarise(folder)], tmp_path / "figures")
    assert [f.name for f in found] == ["loss", "WER", "CER", "schedules", "grad_norm", "blank_ratio"]
    (folder / "metrics.jsonl").write_text("")
    assert all_figures.draw([summary.summarise(folder)], tmp_path / "none") == []
    assert all_figures.draw([], tmp_path / "none") == []


def test_a_broken_predictions_file_is_told_and_costs_nothing_else(tmp_path):
    folder = made_runs.make(tmp_path / "run" / "1")
    (folder / "predictions_test_de_best.csv").write_text("id,audio\nx,y\n")
    run = summary.summarise(folder)
    found = error_figures.draw({"run": [run]}, Styles(["run"]), tmp_path)
    assert {r["set"] for r in csv.DictReader(open(found[-1].csv))} == {"test_nl, 2 utterances"}
    assert len(run.problems) == 1 and "predictions_test_de_best.csv" in run.problems[0]
    assert str(tmp_path) not in run.problems[0]


def test_sets_of_one_name_with_other_utterances_are_two(tmp_path):
    made_runs.make(tmp_path / "a" / "1", tests={("de", "best"): made_runs.GERMAN})
    made_runs.make(tmp_path / "b" / "1", tests={("de", "best"): made_runs.GERMAN[:3]})
    sets = error_figures.collect(groups(find_runs.load([tmp_path])))
    assert [(s.name, s.utterances) for s in sets] == [("test_de no. 1", 5), ("test_de no. 2", 3)]


def test_sets_of_one_size_and_normalisers_are_never_averaged(tmp_path):
    """Four runs of one method whose sets have as many words: two of one corpus, one of another, one normaliser more."""
    made = {}
    for seed, texts in ((1, ("een", "zwei")), (2, ("een", "zwei")), (3, ("un", "deux")), (4, ("een", "zwei"))):
        folder = made_runs.make(tmp_path / "run" / str(seed), seed=seed, loss=float(seed))
        for language in ("de", "nl"):
            write_manifest(folder, language, texts=texts)
        if seed == 4:
            yaml = folder / "as_written.yaml"
            yaml.write_text(yaml.read_text().replace("text.Normaliser", "text.Verbatim"))
        made[seed] = summary.summarise(folder)
    runs = find_runs.load([tmp_path])
    drawn = all_figures.draw(runs, tmp_path / "figures")
    read, captions = {f.name: list(csv.DictReader(open(f.csv))) for f in drawn}, {f.name: f.caption for f in drawn}
    one, other = (made[seed].test_sets["de"][:12] for seed in (1, 3))
    title, name = "validation, German, 200 words, corpus", "carryover.text."
    panels = {row["panel"]: (float(row["mean"]), row["seeds"]) for row in of(read["WER"], update="50")}
    assert {panel: found for panel, found in panels.items() if "German" in panel} == {
        f"{title} 1, {name}Normaliser": (30, "2"), f"{title} 3, {name}Normaliser": (60, "1"),
        f"{title} 1, {name}Verbatim": (80, "1"),
    }  # fmt: skip
    assert f"1 has the test set {one}; 2 " in captions["WER"] and f"; 3 has the test set {other}" in captions["WER"]
    assert len({row["panel"] for row in read["loss"]}) == 9 and len(read["forgetting"]) == 3
    assert sorted(row["seeds"] for row in read["forgetting"]) == ["1", "1", "2"]
    assert len({row["sets"] for row in read["forgetting"]}) == 3


def test_averages_of_weights_are_points_of_their_own(tmp_path):
    tests = {("de", "best"): made_runs.GERMAN, ("nl", "before"): made_runs.DUTCH, ("nl", "best"): made_runs.DUTCH_AFTER}
    tests |= {("de", "average_0.5"): made_runs.GERMAN, ("nl", "average_0.5"): made_runs.DUTCH}
    made_runs.make(tmp_path / "run" / "1", tests=tests)
    found = all_figures.forgetting_against_gain({"run": find_runs.load([tmp_path])}, Styles(["run"]), tmp_path)
    rows = list(csv.DictReader(open(found.csv)))
    assert {r["weights"]: float(r["forgetting"]) for r in rows} == {"best": 50.0, "average_0.5": 0.0}


# ---- parts ----


def test_a_line_goes_as_far_as_all_seeds_and_between_their_points():
    a = np.array([0.0, 10, 20, 30]), np.array([0.0, 10, 20, 30])
    b = np.array([5.0, 15, 25]), np.array([7.0, np.nan, 27])
    line = Line.of([a, b])
    assert line.x.tolist() == [5, 10, 20, 25] and line.seeds == 2
    assert line.low.tolist() == [5, 10, 20, 25]  # y = x
    assert line.high.tolist() == [7, 12, 22, 27]  # y = x + 2
    assert line.mean.tolist() == [6, 11, 21, 26]
    assert Line.of([a, (np.array([99.0]), np.array([1.0]))]) is None
    assert Line.of([]) is None


def test_groups_are_runs_that_differ_in_their_seed(tmp_path):
    def names(*runs):
        made = [summary.Summary(Path(name), name, seed=seed) for name, seed in runs]
        return {name: [run.name for run in found] for name, found in groups(made).items()}

    assert names(("x/ewc/1", "1"), ("x/ewc/2", "2"), ("x/mas/1", "1")) == {
        "ewc": ["x/ewc/1", "x/ewc/2"],
        "mas": ["x/mas/1"],
    }
    assert list(names(("x/ewc/1", "1"), ("y/ewc/1", "1"))) == ["x/ewc", "y/ewc"]
    assert list(names(("tried/once", "7"))) == ["once"]
    assert list(names(("whisper_ft/1", "1234"), ("results/ctc/2", "5"))) == ["whisper_ft/1", "ctc/2"], "never 1 alone"


def test_45_lines_differ_without_colour():
    names = [str(i) for i in range(45)]
    styles = Styles(names)
    looks = {(style["marker"], str(style["linestyle"])) for style in (styles.line(n, 20) for n in names)}
    assert len(looks) == 45


def test_panels_hold_few_lines_each():
    line = Line.of([(np.arange(3.0), np.arange(3.0))])
    found = panels({"loss": {str(i): line for i in range(13)}})
    assert [len(named) for *_, named in found] == [5, 4, 4]
    assert [title for _, title, _ in found] == ["loss (1/3)", "loss (2/3)", "loss (3/3)"]
    assert [name for *_, named in found for name in named] == [str(i) for i in range(13)]


def test_panels_keep_the_baseline():
    line = Line.of([(np.arange(3.0), np.arange(3.0))])
    found = panels({"WER": {name: line for name in (*"abcdefg", "plain")}})
    assert [list(named) for *_, named in found] == [["plain", *"abcd"], ["plain", *"efg"]]


def test_panels_of_one_subject_show_all_lines():
    """The later panels, whose lines are higher, too."""
    lines = {f"m{i}": Line.of([(np.arange(3.0), np.full(3, 10.0 * (i + 1)))]) for i in range(9)}
    figure = draw_lines({"WER": lines}, Styles(lines), "update", "WER (%)")
    low, high = zip(*(axes.get_ylim() for axes in figure.axes), strict=True)
    assert len(low) == 2 and set(low) == {0} and min(high) > 90


def test_a_method_looks_the_same_in_every_figure():
    """Whatever else is drawn; and what is no method never takes its place."""
    many = Styles(["plain", "ewc", "replay", *map(str, range(20))])
    looks = {name: many.marker(name) for name in many.index}
    assert Styles(["x", "replay"]).marker("replay") == looks["replay"] != looks["ewc"]
    assert len({tuple(look.values()) for look in looks.values()}) == 23


def test_labels_stand_on_no_other():
    """Twelve points close together; none of their labels covers another one or a point."""
    figure, (axes,) = canvas(1)
    points = [(i % 4, i // 4) for i in range(12)]
    axes.plot(*zip(*points, strict=True), "o")
    axes.set(xlim=(-12, 16), ylim=(-12, 14))
    lay_out(figure)
    labels.place(axes, points, [f"0.{i}" for i in range(12)], ["black"] * 12)
    boxes = [text.get_window_extent() for text in axes.texts]
    assert len(boxes) == 12
    pairs = [(a, b) for i, a in enumerate(boxes) for b in boxes[:i]]
    assert not any(labels._overlap(a, b) for a, b in pairs)


def test_numbers_on_an_axis_below_a_decade_are_plain(tmp_path):
    line = Line.of([(np.arange(1.0, 4), np.array([2.0, 3.0, 5.0]))])
    figure = draw_lines({"loss": {"plain": line}}, Styles(["plain"]), "update", "loss", log=True)
    write(figure, tmp_path / "loss")
    shown = [label.get_text() for label in figure.axes[0].get_yticklabels(which="both")]
    assert shown and all(re.fullmatch(r"\d(\.\d)?", text) for text in shown)


def test_bins_hold_all_durations():
    chance = np.random.default_rng(3)
    for n in (1, 2, 7, 400):
        durations = chance.gamma(2, 2, n)
        edges = error_figures.edges(durations)
        assert edges[0] <= durations.min() and durations.max() <= edges[-1]
        assert 2 <= len(edges) <= error_figures.BINS + 1 and (np.diff(edges) > 0).all()


def test_alignments_have_as_many_errors_as_jiwer_counts():
    chance = random.Random(1)
    for _ in range(300):
        reference = " ".join(chance.choices("een twee drie vier".split(), k=chance.randint(1, 8)))
        hypothesis = " ".join(chance.choices("een twee drie vier vijf".split(), k=chance.randint(0, 8)))
        characters = list(predictions.confusions(reference, hypothesis).elements())
        for pairs, theirs in (
            (predictions.words(reference, hypothesis), jiwer.process_words(reference, hypothesis)),
            (characters, jiwer.process_characters(reference, hypothesis)),
        ):
            errors = sum(a != b for a, b in pairs)
            assert errors == theirs.substitutions + theirs.deletions + theirs.insertions
        assert [a for a, _ in predictions.words(reference, hypothesis) if a] == reference.split()
