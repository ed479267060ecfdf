"""carryover/report/compare.py on run folders made up here: numbers by hand, what is shown, what is refused."""

import json
import math
import shutil
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from carryover.commands import app
from carryover.report import compare as module
from carryover.report.compare import compare
from carryover.report.tables import forgetting
from carryover.stats import error_rates, significance
from carryover.text import Normaliser, Verbatim

YAML = """\
language: de
old_language: nl
seed: 1
lr: 1.0e-3  # peak
lambda: 0.0
normaliser: !new:carryover.text.Normaliser  # for scoring
forgetting: []
run_first: hparams/dutch_pretrain.yaml
optimizer: !name:torch.optim.AdamW
    lr: !ref <lr>
    betas: [0.9, 0.98]
"""
RUN_JSON = {"command": "python train.py", "started": "now", "commit": "abc", "dirty": False, "versions": {"torch": "2"}}
WORDS = "eins zwei drei vier fünf sechs sieben acht neun zehn".split()
REFERENCES = [" ".join(WORDS[: 4 + i % 7]) for i in range(60)]


def wrong(every, shift=0):
    """Hypotheses in which the second word of every so many utterances is wrong."""
    return [ref.replace("zwei", "zwo") if i % every == shift else ref for i, ref in enumerate(REFERENCES)]


def make_run(
    folder, hypotheses, overrides="", references=REFERENCES, normaliser=None, speakers=("anna", "ben"), info=RUN_JSON,
    weights="best",
):  # fmt: skip
    """A run folder. hypotheses: {language of a test set: texts}."""
    folder.mkdir(parents=True)
    (folder / "as_written.yaml").write_text(YAML, encoding="utf-8")
    (folder / "overrides.yaml").write_text(overrides, encoding="utf-8")
    if info:
        (folder / "run.json").write_text(json.dumps(info))
    events = [{"event": "run", "update": 0, "time": 0.0}]
    for language, texts in hypotheses.items():
        rows = [
            error_rates.score(
                {"id": f"{language}{i:03d}", "audio": f"{i}.wav", "language": language, "duration": 1.0, "text": ref}
                | {"speaker": speakers[i % len(speakers)]},
                hyp, normaliser or Normaliser(),
            )
            for i, (ref, hyp) in enumerate(zip(references, texts, strict=True))
        ]  # fmt: skip
        error_rates.write_predictions(folder / f"predictions_test_{language}_{weights}.csv", rows)
        events.append({"event": "test", "set": f"test_{language}", "language": language, "weights": weights})
        events[-1] |= error_rates.totals(rows)
    (folder / "metrics.jsonl").write_text("".join(json.dumps(e) + "\n" for e in events))
    return folder


@pytest.fixture
def two_runs(tmp_path):
    """A: 15 errors in de and 30 in nl; B, with a penalty: 10 and 30, elsewhere in de, the same ones in nl."""
    a = make_run(tmp_path / "a", {"de": wrong(4), "nl": wrong(2)})
    overrides = (
        "lambda: 1e3\nforgetting: [!new:carryover.forgetting.EWC {lambda_: !ref <lambda>, samples: 5000}]\nlr: 0.001\n"
    )
    b = make_run(tmp_path / "b", {"de": wrong(6, 1), "nl": wrong(2)}, overrides)
    return a, b


def cells(line):
    return [cell.strip() for cell in line.strip("|").split(" | ")]


def test_numbers_by_hand(two_runs):
    found = compare(*two_runs, resamples=500)
    de, nl = found.sets
    words = sum(len(ref.split()) for ref in REFERENCES)
    assert (de.language, de.utterances, de.words, nl.language) == ("de", 60, words, "nl")
    assert (de.a.value, de.b.value) == pytest.approx((100 * 15 / words, 100 * 10 / words))
    assert de.difference.value == pytest.approx(-100 * 5 / words)
    assert (de.won, de.lost, de.tied) == (15, 10, 35)  # multiples of 4, and 1 modulo 6, never meet
    assert de.randomisation.statistic == -5
    # of 60 utterances 25 segments: 10 with B's error, 15 with A's; mean -1/5, variance (25 - 25 / 25) / 24 = 1
    assert (de.mapsswe.n, de.mapsswe.statistic) == (25, pytest.approx(-0.2 * 5))
    assert de.mapsswe.warning.startswith("25 segments")
    assert 0.2 < de.randomisation.p < 0.45 and 0.2 < de.mapsswe.p < 0.45
    assert math.isnan(de.difference.p)  # of one run each
    assert de.difference.low < de.difference.value < 0 < de.difference.high and de.a_CER.low < de.a_CER.value
    assert nl.difference[:3] == (0, 0, 0) and nl.randomisation.p == nl.mapsswe.p == 1
    assert (nl.won, nl.lost, nl.tied, nl.most) == (0, 0, 60, [])


def test_digits_are_those_of_the_table(two_runs):
    a, b = two_runs
    table = forgetting.table({"plain": [a], "ewc": [b]}, resamples=500)
    plain, ewc = table.rows
    de, nl = compare(a, b, resamples=500).sets
    assert (de.a, de.b, nl.a, nl.b) == (plain.new, ewc.new, plain.old, ewc.old)
    assert de.difference[:3] == ewc.new_to_baseline[:3] and nl.difference_CER[:3] == ewc.old_CER_to_baseline[:3]
    assert (de.a_CER, nl.b_CER) == (plain.new_CER, ewc.old_CER)


def test_a_and_b_change_places(two_runs):
    a, b = two_runs
    one, other = compare(a, b, resamples=300).sets[0], compare(b, a, resamples=300).sets[0]
    assert (one.won, one.lost) == (other.lost, other.won)
    assert one.randomisation.p == other.randomisation.p
    assert one.difference.low == pytest.approx(-other.difference.high)
    assert one.mapsswe.statistic == -other.mapsswe.statistic


def test_settings_that_differ(two_runs):
    a, b = two_runs
    ewc = "!new:carryover.forgetting.EWC {lambda_: !ref <lambda>, samples: 5000}"
    assert compare(a, b, resamples=50).settings == [  # 1.0e-3 is 0.001
        ("lambda", "0", "1000"),
        ("forgetting.EWC", "(not there)", ewc),
    ]
    overrides = 'forgetting: [!new:carryover.forgetting.EWC {lambda_: 1, samples: 10}]\nlambda: 1e3\nseed: "1"\n'
    overrides += "extra: [a, true]\n"
    optimizer = "optimizer: !name:torch.optim.AdamW {lr: !ref <lr>, betas: [0.9, 0.99]}\n"
    c = make_run(b.parent / "c", {"de": wrong(4)}, overrides + optimizer, info=RUN_JSON | {"commit": "def"})
    assert compare(b, c, resamples=50).settings == [
        ("seed", "1", '"1"'),
        ("forgetting.EWC.lambda_", "!ref <lambda>", "1"),
        ("forgetting.EWC.samples", "5000", "10"),
        ("optimizer.betas", "[0.9, 0.98]", "[0.9, 0.99]"),
        ("extra", "(not there)", "[a, True]"),
        ("commit", "abc", "def"),
    ]


def test_markdown(two_runs):
    a, b = two_runs
    text = compare(a, b, utterances=2, resamples=500).markdown()
    lines = text.splitlines()
    assert lines[0] == f"A: `…/{a.parent.name}/a`  " and str(a.parent) not in text
    assert "| `forgetting.EWC` | `(not there)` | `!new:carryover.forgetting.EWC {lambda_: !ref <lambda>," in text
    row = cells(next(line for line in lines if line.startswith("| de † | 60 |")))
    heads = cells(next(line for line in lines if line.startswith("| test set |")))
    assert len(row) == len(heads) and row[3].startswith("3.") and row[5].startswith("-1.")
    assert row[-2].endswith("(25 segments)") and row[-1] == "15 / 10 / 35"
    assert "de, MAPSSWE: 25 segments; the normal distribution needs 30." in text
    assert "60 utterances (2 speakers) of de" in text and "Noreen 1989" in text
    assert "BCa bootstrap, 500 resamples" in text and "no p-value of a method" in text
    block = lines[lines.index("    de000, speaker anna: 4 words, errors A 1, B 0") :]
    assert block[1:4] == [
        "      reference  eins zwei drei vier",
        "      A          eins zwo drei vier",
        "      B          eins zwei drei vier",
    ]
    assert text.count("      reference  ") == 2


def test_the_same_files_give_the_same_bytes(two_runs):
    """In processes of their own, whose hashes of strings differ; and whatever the order of the rows is."""
    a, b = two_runs
    code = "import sys; from carryover.report.compare import compare; print(compare(*sys.argv[1:], resamples=300)"
    command = [sys.executable, "-c", f"{code}.markdown(), 'torch' in sys.modules)", str(a), str(b)]
    texts = [subprocess.run(command, capture_output=True, check=True, timeout=120).stdout]
    predictions = b / "predictions_test_de_best.csv"
    head, *rows = predictions.read_text(encoding="utf-8").splitlines(True)
    predictions.write_text(head + "".join(reversed(rows)), encoding="utf-8")
    texts.append(subprocess.run(command, capture_output=True, check=True, timeout=120).stdout)
    assert len(set(texts)) == 1 and len(texts[0]) > 1000
    assert texts[0].rstrip().endswith(b" False")  # no training code was imported


def test_most_differing_first(tmp_path):
    """Sorted by the difference, whoever won it; equal ones by their id."""
    a, b = list(REFERENCES), list(REFERENCES)
    a[5], b[9], b[3], a[40] = "", "", "eins zwei", "eins"
    found = compare(make_run(tmp_path / "a", {"de": a}), make_run(tmp_path / "b", {"de": b}), resamples=50).sets[0]
    # utterances 3, 5, 9, 40 have 7, 9, 6, 9 words
    assert [(one.id, one.a.errors, one.b.errors) for one in found.most] == [
        ("de005", 9, 0), ("de040", 8, 0), ("de009", 0, 6), ("de003", 0, 5),
    ]  # fmt: skip
    assert compare(tmp_path / "a", tmp_path / "b", utterances=0, resamples=50).sets[0].most == []


def test_speakers(tmp_path):
    """With five speakers or more the interval and the randomisation are over them, and MAPSSWE's p is warned of."""
    unknown = "no speaker known of 60 of 60 utterances"
    for name, speakers, said in (("one", ("k",), "1 speaker"), ("no", ("",), unknown)):
        runs = [make_run(tmp_path / name / str(n), {"de": wrong(n)}, speakers=speakers) for n in (3, 4)]
        text = compare(*runs, resamples=100).markdown()
        row = cells(next(line for line in text.splitlines() if line.startswith("| de † |")))
        assert f"60 utterances ({said}) of de" in text and row[9].endswith(f"(60 utterances ({said}))")
    many = [
        make_run(tmp_path / "many" / str(n), {"de": wrong(n)}, speakers=[f"s{i}" for i in range(12)]) for n in (3, 4)
    ]
    found = compare(*many, resamples=100)
    one = found.sets[0]
    assert one.units.by_speaker and one.difference.low < one.difference.value < one.difference.high
    assert one.randomisation.n == 12 and "over speakers" in one.randomisation.method
    assert "de, MAPSSWE: it takes what one speaker says for independent." in found.markdown()


def test_p_is_never_below_what_the_method_can_tell():
    known = (0.2, 0, "0.200"), (1e-9, 0, "< 0.001"), (1e-4, 2e-4, "< 0.001"), (0.01, 0.02, "< 0.02")
    for p, resolution, shown in known:
        assert module.p_value(significance.Test("", 1.0, p, 9, resolution=resolution)) == shown


def test_sets_of_one_run_alone_are_named(tmp_path):
    a = make_run(tmp_path / "a", {"de": wrong(3), "nl": wrong(2)})
    b = make_run(tmp_path / "b", {"de": wrong(4)}, info=None)
    found = compare(a, b, resamples=50)
    assert [one.language for one in found.sets] == ["de"]
    assert "Tested in A alone, not compared: nl." in found.markdown()
    assert "B has no run.json: its commit and versions are unknown." in found.markdown()
    assert "No setting differs." in found.markdown()


def test_markdown_is_safe_from_texts(tmp_path):
    """`<seed>` is no HTML, a bar no column."""
    assert module.code("a|b `c` <d>") == "``a\\|b `c` <d>``"
    runs = [make_run(tmp_path / v, {"de": wrong(3)}, f"note: 'x|{v}'\n") for v in "ab"]
    line = next(line for line in compare(*runs, resamples=50).markdown().splitlines() if "note" in line)
    assert line == "| `note` | `x\\|a` | `x\\|b` |"


def test_nobodys_paths_and_tokens(tmp_path, monkeypatch):
    overrides = "data_folder: /home/{0}/cv/{0}\nforgetting: [!new:a.B {{path: /home/{0}}}]\nhub_token: {0}-own\n"
    for name in ("anna", "ben"):
        info = RUN_JSON | {"versions": {"torch": f"/home/{name}/torch-{name}"}}
        make_run(tmp_path / name / "1", {"de": wrong(3)}, overrides.format(name), info=info)
    monkeypatch.chdir(tmp_path)
    text = compare("anna/1", tmp_path / "ben" / "1", resamples=50).markdown()
    assert "| `data_folder` | `…/anna` | `…/ben` |" in text and "| `hub_token` | `…` | `…` |" in text
    assert "/home" not in text and "anna-own" not in text and str(tmp_path) not in text
    assert text.startswith("A: `anna/1`  \nB: `…/ben/1`  ")


# ---- what is refused ----


def test_one_folder_twice(two_runs):
    with pytest.raises(ValueError, match="are one folder; expected two runs"):
        compare(two_runs[0], two_runs[0].parent / "b" / ".." / "a")


def test_no_run_and_no_common_set(two_runs, tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere: no as_written.yaml and no metrics.jsonl"):
        compare(two_runs[0], tmp_path / "nowhere")
    other = make_run(tmp_path / "fr", {"fr": wrong(3)})
    with pytest.raises(ValueError, match=r"no test set in common with weights best: .*a has de \(best\), nl \(best\)"):
        compare(two_runs[0], other)
    with pytest.raises(ValueError, match="with weights before: .* has de .best., nl .best.; .*Give other --weights"):
        compare(*two_runs, weights="before")
    untested = make_run(tmp_path / "untested", {})
    with pytest.raises(ValueError, match="untested has no test yet"):
        compare(two_runs[0], untested)


def test_missing_predictions(two_runs):
    (two_runs[1] / "predictions_test_nl_best.csv").unlink()
    with pytest.raises(FileNotFoundError, match="b/predictions_test_nl_best.csv: not there"):
        compare(*two_runs)


def test_predictions_that_are_cut_off(two_runs):
    path = two_runs[1] / "predictions_test_de_best.csv"
    path.write_text(path.read_text(encoding="utf-8")[:-20], encoding="utf-8")
    with pytest.raises(ValueError, match="b/predictions_test_de_best.csv: row 60 cannot be read .*Delete the file"):
        compare(*two_runs)


def test_other_utterances(tmp_path):
    a = make_run(tmp_path / "a", {"de": wrong(3)})
    b = make_run(tmp_path / "b", {"de": wrong(3)[:55]}, references=REFERENCES[:55])
    with pytest.raises(ValueError, match="of 60 and 55 utterances, 5 only in A: de055, de056, de057, ...*never cut"):
        compare(a, b)
    with pytest.raises(ValueError, match="of 55 and 60 utterances, 5 only in B"):
        compare(b, a)


def test_other_references(tmp_path):
    """The same number of words in each: the counts alone would not tell."""
    a = make_run(tmp_path / "a", {"de": wrong(3)})
    edited = [ref.replace("eins", "Eins") if i in (2, 7) else ref for i, ref in enumerate(REFERENCES)]
    b = make_run(tmp_path / "b", {"de": wrong(3)}, references=edited)
    with pytest.raises(ValueError, match="2 of 60 utterances have another reference, first de002: 'eins .* 'Eins"):
        compare(a, b)


def test_other_normalisers(tmp_path):
    references = [ref.capitalize() + "." for ref in REFERENCES]
    a = make_run(tmp_path / "a", {"de": wrong(3)}, references=references)
    verbatim = {"references": references, "normaliser": Verbatim()}
    b = make_run(tmp_path / "b", {"de": wrong(3)}, **verbatim)  # an older Normaliser, say: the YAML is the same
    with pytest.raises(ValueError, match="60 of 60 .* another normalised reference; the normalisers differ, first de0"):
        compare(a, b)
    c = make_run(tmp_path / "c", {"de": wrong(3)}, "normaliser: !new:carryover.text.Verbatim\n", **verbatim)
    with pytest.raises(ValueError, match="normaliser is !new:carryover.text.Normaliser in .*a and !new:.*Verbatim in"):
        compare(a, c)


def test_normalisers_that_run_json_names(tmp_path):
    """The YAML is the same, the version is not; where one run does not say, the texts alone decide."""
    names, sets = {"a": "carryover-1", "b": "carryover-2", "c": None}, {"de": wrong(3), "nl": wrong(3)}
    a, b, c = (make_run(tmp_path / one, sets, info=RUN_JSON | {"normaliser": name}) for one, name in names.items())
    with pytest.raises(ValueError, match="normaliser is carryover-1 in .*a and carryover-2 in .*b: rates under two"):
        compare(a, b)
    with pytest.raises(ValueError, match="normaliser is carryover-1 in .*a and carryover-2 in .*b: rates under two"):
        forgetting.table({"plain": [a], "ewc": [b]}, resamples=50)
    assert compare(a, c, resamples=50).sets and len(forgetting.table({"m": [a], "n": [c]}, resamples=50).rows) == 2


def test_texts_that_do_not_belong_to_their_counts(two_runs):
    path = two_runs[1] / "predictions_test_de_best.csv"
    path.write_text(path.read_text(encoding="utf-8").replace("eins zwo", "eins zwei"), encoding="utf-8")
    with pytest.raises(ValueError, match=r"hold \[15, 0\] word errors, their counts say \[15, 10\]"):
        compare(*two_runs, resamples=50)


def test_command(two_runs, tmp_path, monkeypatch, capsys):
    a, b = map(str, two_runs)
    result = CliRunner().invoke(app.app, ["compare", a, b, "--utterances", "1"])
    assert result.exit_code == 0, result.output
    assert result.output == compare(a, b, utterances=1).markdown() + "\n"
    before = shutil.copytree(two_runs[0], tmp_path / "before")  # other weights
    (before / "predictions_test_de_best.csv").rename(before / "predictions_test_de_last.csv")
    monkeypatch.setattr(sys, "argv", ["carryover", "compare", a, str(before), "--weights", "last"])
    with pytest.raises(SystemExit) as ended:
        app.main()
    assert ended.value.code == 2 and "error: no test set in common with weights last" in capsys.readouterr().err
