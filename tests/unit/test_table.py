"""carryover/report/tables/table.py: precision, escaping, and LaTeX that compiles (by pdflatex where it is there)."""

import csv
import io
import re
import shutil
import subprocess

import pytest

from carryover.report.tables import table
from carryover.report.tables.table import Bold, Table, escape

NASTY = r"50 % & a_b #1 $x$ {y} ~ ^ \n ÄÖÜäöüß é ő 'q' \"w\" <z> | † … → λ 漢 --seed [1] *"
TABLE = Table(
    "some table",
    ["run", "WER", "lr", "n", "ok"],
    [["a|b", 12.3456789, 2e-5, 3, True], [Bold("best"), float("nan"), 1.0, None, False]],
    "Data, 2 runs, seed 1.",
    ["A note."],
    {"lr": ".1e"},
)


def check(latex: str) -> None:
    """What LaTeX would fail on: unescaped specials, unequal columns, unbalanced braces and environments."""
    code = "\n".join(line for line in latex.splitlines() if not line.startswith("%"))
    code = code.replace("{!}{%\n", "{!}{")  # the one comment sign that ends a line
    plain = re.sub(r"\\[\\{}%&_#$]", "", code)
    depth = 0
    for letter in plain:
        depth += {"{": 1, "}": -1}.get(letter, 0)
        assert depth >= 0, latex
    assert depth == 0, latex
    begun = re.findall(r"\\(begin|end)\{(\w+)\}", code)
    stack = []
    for what, name in begun:
        if what == "begin":
            stack.append(name)
        else:
            assert stack.pop() == name, latex
    assert not stack
    assert not re.search(r"(?<!\\)%", code), "a comment sign would swallow a line's end"
    outside = re.sub(r"\$[^$]*\$", "", plain)
    assert not re.search(r"[#^~_$]", outside), outside
    assert all(ord(c) < 0x180 for c in code), "no such letter in T1 fonts"
    columns = re.search(r"\\begin\{(?:tabular|longtable)\}\{(.*)\}", code)[1]
    n = len(re.findall(r"[lr]|p", re.sub(r">\{[^}]*\}|p\{[^}]*\}", lambda m: "p" if m[0][0] == "p" else "", columns)))
    rows = [line for line in code.splitlines() if line.endswith(r" \\")]
    assert rows and {len(re.findall(r"(?<!\\)&", row)) + 1 for row in rows} == {n}
    assert not any(row.startswith(("[", "*")) for row in rows)


def test_csv_has_full_precision():
    rows = list(csv.reader(io.StringIO(TABLE.csv())))
    assert rows[0] == ["run", "WER", "lr", "n", "ok"]
    assert rows[1] == ["a|b", "12.3456789", "2e-05", "3", "True"] and rows[2] == ["best", "", "1.0", "", "False"]


def test_markdown_is_rounded():
    assert TABLE.markdown() == (
        "| run | WER | lr | n | ok |\n|---|---|---|---|---|\n| a\\|b | 12.35 | 2.0e-05 | 3 | yes |\n"
        "| **best** | - | 1.0e+00 | - | no |\n\nData, 2 runs, seed 1.\n\nA note."
    )
    assert "\\<lambda>" in Table("t", ["a"], [["!ref <lambda>"]], "").markdown()
    assert "p < 0.001" in Table("t", ["a"], [["p < 0.001"]], "").markdown()


def test_a_csv_may_say_more_than_is_read():
    found = Table(
        "t", ["WER [95 %]"], [["1.00 [0.50, 2.00]"]], "", csv_columns=["w", "l", "h"], csv_values=[[1.0, 0.5, 2]]
    )
    assert found.csv() == "w,l,h\n1.0,0.5,2\n" and found.rows == [["1.00 [0.50, 2.00]"]]


def test_long_tables_show_their_first_rows():
    found = Table("t", ["a"], [[i] for i in range(1000)], "c")
    assert len(found.rows) == table.MOST and found.csv().count("\n") == 1001
    assert found.notes == ["The first 200 of 1000 rows; all are in t.csv."]
    assert "\\begin{longtable}" in found.latex() and "\\begin{table}" not in found.latex()
    check(found.latex())


def test_rows_have_as_many_cells_as_heads():
    with pytest.raises(ValueError, match="t: 1 cells under 2 heads"):
        Table("t", ["a", "b"], [["x"]], "")


def test_escape_by_hand():
    assert escape(r"50 % a_b {x} \y ~^ #&$") == (
        r"50 \% a\_b \{x\} \textbackslash{}y \textasciitilde{}\textasciicircum{} \#\&\$"
    )
    assert escape("Għawdex, ŧŉ\x85ſ ĸŀ") == "G[U+0127]awdex, [U+0167][U+0149][U+0085][U+017F] [U+0138][U+0140]"
    assert escape("ĳ ő ž ğ ł đ ŋ") == "ĳ ő ž ğ ł đ ŋ"
    assert escape("äöüß † 漢 --x\n") == r"äöüß \textdagger{} [U+6F22] -{}-x"


def documents():
    wide = Table("w_1", ["run", "command"], [["[a]", "python train.py " * 20], ["*b", NASTY]], f"Caption. {NASTY}")
    long = Table("l", ["run", "x", NASTY], [[f"r/{i}", i / 7, NASTY] for i in range(60)], "Caption", [NASTY])
    letters = Table("u", ["a"], [[chr(c)] for c in range(0x180)], "every letter that may stand as it is")
    return [TABLE, wide, long, Table("e", ["a"], [], "nothing"), letters]


def test_latex_is_sound():
    for made in documents()[:3]:
        check(made.latex())
    bold = TABLE.latex()
    assert r"\textbf{best}" in bold and "2.0e-05" in bold and r"\label{tab:some-table}" in bold
    with pytest.raises(AssertionError):  # the check itself can fail
        check(bold.replace(r"\bottomrule", "100 % & _"))


@pytest.mark.skipif(not shutil.which("pdflatex"), reason="no pdflatex here; test_latex_is_sound checks the same")
def test_latex_compiles(tmp_path):
    packages = [word for word in table.NEEDS.split() if word.startswith("\\usepackage")]
    body = "\n".join(made.latex() for made in documents())
    source = "\n".join([r"\documentclass{article}", *packages, r"\begin{document}", body, r"\end{document}"])
    (tmp_path / "t.tex").write_text(source, encoding="utf-8")
    done = subprocess.run(
        ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "t.tex"],
        cwd=tmp_path, capture_output=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-2000:]
