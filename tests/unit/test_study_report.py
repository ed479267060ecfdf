"""The tables of a study, on run folders made up here, against numbers by hand and scipy."""

import csv
import io
import json

import made_runs
import pytest
from scipy import stats

from carryover.report import names, study
from carryover.report.figures import curve
from carryover.report.run_folder import Run
from carryover.report.tables import forgetting
from carryover.stats import fronts

SEEDS = (1, 2, 3)
SHIFTS = {1: 0, 2: 3, 3: 3}  # words more that averages have wrong: half a point each, one in the mean
SHARES = {"average_0.25": (60, 20), "average_0.50": (40, 30), "average_0.75": (30, 50)}


def spoken(percent, shift=0):
    """50 utterances of 4 words from 5 speakers, of whose words this share is wrong, and `shift` words more."""
    wrong = 2 * percent + shift
    return [
        (
            "een twee drie vier",
            " ".join("x" if 50 * w + i < wrong else word for w, word in enumerate("een twee drie vier".split())),
            "abcde"[i % 5],
            1.0,
        )
        for i in range(50)
    ]


def log(folder, add):
    """Write more validations into a run's log, before its end."""
    path = folder / "metrics.jsonl"
    *events, end = path.read_text().splitlines()
    path.write_text("\n".join([*events, *map(json.dumps, add), end]) + "\n")


def valid(new, old, **more):
    keys = {"event": "valid", "set": "valid", "update": 100, "epoch": 2, "time": 120.0, "words": 200, "errors": 20}
    keys |= {"utterances": 400, "loss": 1.0, "CER": 5.0} | more
    return [keys | {"language": "de", "WER": float(new)}, keys | {"language": "nl", "WER": float(old)}]


def trial(folder, new, old, averages=None):
    """A trial: validated, never tested."""
    made_runs.make(folder, tests={})
    path = folder / "metrics.jsonl"
    path.write_text("".join(line for line in path.read_text().splitlines(True) if '"valid"' not in line))
    log(folder, valid(new, old) + [e for w, p in (averages or {}).items() for e in valid(*p, weights=w)])
    return folder


def chosen(folder, seed, new, old, averages=None):
    tests = {("nl", "before"): spoken(10), ("de", "best"): spoken(new, seed), ("nl", "best"): spoken(old, seed)}
    for weights, (a, b) in (averages or {}).items():
        tests |= {("de", weights): spoken(a, SHIFTS[seed]), ("nl", weights): spoken(b, SHIFTS[seed])}
    made_runs.make(folder, seed=seed, tests=tests)
    log(folder, [e for w, p in (averages or {}).items() for e in valid(*p, weights=w)])
    return folder


@pytest.fixture
def order(tmp_path):
    def method(name, points, averages=None):
        trials = {f"lr={i}": trial(tmp_path / "t" / name / str(i), *p, averages) for i, p in enumerate(points)}
        runs = [[chosen(tmp_path / "c" / name / str(i) / str(s), s, *p, averages) for s in SEEDS] for i, p in
                enumerate(points[:2])]  # fmt: skip
        return study.Method(trials, {f"lr={i}": of for i, of in enumerate(runs)})

    return study.Order("", {
        "plain": method("plain", [(20, 70), (15, 80), (30, 90)]),
        "averaging": method("averaging", [(20, 70)], SHARES),
        "ewc": method("ewc", [(33, 43), (18, 60), (80, 90)]),
    })  # fmt: skip


def read(table):
    return {row["method"]: row for row in csv.DictReader(io.StringIO(table.csv()))}


def test_of_a_method_that_averages_the_average_stands_in_the_table(order):
    """By its averages its trial was chosen: the weights that were not averaged are plain fine-tuning's."""
    main, wide = study.chosen_tables(order)
    assert [row[0] for row in main.rows] == ["plain", "averaging 0.50", "EWC"]
    assert [row[0] for row in wide.rows] == ["plain", "averaging 0.50", "ewc"]
    rows = read(wide)
    assert float(rows["averaging 0.50"]["new"]) == 41 and float(rows["averaging 0.50"]["old"]) == 31
    alone = rows["averaging (not averaged)"]
    assert float(alone["new"]) == 21 and alone["shown"] == "False" and alone["new_to_baseline_p_holm"] == ""
    assert "over the 4 comparisons of this table" in wide.caption


def test_what_is_called_averaging_and_is_none_says_so(order):
    """In a report or a sweep both stand: the new weights of a run with --preset averaging are no average."""
    runs = {"plain": runs_of(order.methods["plain"]), "averaging": runs_of(order.methods["averaging"])}
    shown = [row.method for row in forgetting.table(runs).rows if row.shown]
    assert shown == ["plain", "averaging (not averaged)", "averaging 0.50"]
    assert [names.method(name) for name in shown] == shown and names.ordered(shown[::-1])[0] == "plain"
    both = {"replay_averaging": {10.0: runs["averaging"], 20.0: runs_of(order.methods["ewc"])}}
    points = curve.curves(both, {"plain": runs["plain"]}).points
    assert [(p.method, p.value) for p in points] == [
        ("replay_averaging (not averaged)", 10.0), ("replay_averaging", 20.0), ("plain", None)
    ]  # fmt: skip


def test_fronts_by_hand(order):
    table = study.fronts_table(order)
    rows = read(table)
    areas, matched = ({name: [] for name in order.methods} for _ in range(2))
    for name, method in order.methods.items():
        for i, seed in enumerate(SEEDS):
            points = [p for runs in method.chosen.values() for p in study.tested(runs[i])]
            assert len(points) == (3 if name == "averaging" else 2) and Run(runs_of(method)[i]).seed == str(seed)
            areas[name].append(fronts.dominated_area(points))
            matched[name].append(fronts.old_at(points, 20 + seed / 2))
    for name, row in rows.items():
        assert float(row["area"]) == pytest.approx(sum(areas[name]) / 3)
    differences = [a - b for a, b in zip(areas["ewc"], areas["plain"], strict=True)]
    test = stats.ttest_1samp(differences, 0)
    assert float(rows["ewc"]["area_to_baseline_p"]) == pytest.approx(test.pvalue)
    interval = tuple(float(rows["ewc"][f"area_to_baseline_{end}"]) for end in ("low", "high"))
    assert interval == pytest.approx(tuple(test.confidence_interval()))
    assert rows["averaging"]["reached"] == "0" and rows["averaging"]["matched"] == "", "its lowest German WER is 30"
    # ewc has (18 + s/2, 60 + s/2) and (33 + s/2, 43 + s/2): at 20 + s/2 two fifteenths of the way from 60 to 43
    assert float(rows["ewc"]["matched"]) == pytest.approx(61 - 17 * 2 / 15) == pytest.approx(sum(matched["ewc"]) / 3)
    assert float(rows["plain"]["matched"]) == 71


def runs_of(method):
    return next(iter(method.chosen.values()))


def test_what_tuning_took_by_hand(order):
    rows = {row[0]: row for row in study.tuning_table(order).values}
    assert rows["plain"][1:3] == [3, 300] and rows["plain"][4:8] == [45, 45, 47.5, 60]
    assert rows["averaging"][4] == 35, "the best of its averages, 40 and 30"
    assert rows["ewc"][4:8] == [38, 38, 39, 85]
    assert rows["ewc"][3] == pytest.approx(3 * 121 / 3600)
