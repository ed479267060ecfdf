"""carryover/report/tables/table.py: precision, escaping, and LaTeX that compiles (by pdflatex where it is there)."""

import csv
import io
import re
import shutil
import subprocess

import pytest

from carryover.report.tables import latex, table
from carryover.report.tables.cells import Bold, BoldStacked, Stacked
from carryover.report.tables.latex import escape
from carryover.report.tables.table import Table

NASTY = r"50 % & a_b #1 $x$ {y} ~ ^ \n ÄÖÜäöüß é ő 'q' \"w\" <z> | † … → λ 漢 --seed [1] *"
TABLE = Table(
    "some table",
    ["run", "WER", "lr", "n", "ok"],
    [["a|b", 12.3456789, 2e-5, 3, True], [Bold("best"), float("nan"), 1.0, None, False]],
    "Data, 2 runs, seed 1.",
    ["A note."],
    {"lr": ".1e"},
)


def check(text: str) -> None:
    """What LaTeX would fail on: unescaped specials, unequal columns, unbalanced braces and environments."""
    code = "\n".join(line for line in text.splitlines() if not line.startswith("%"))
    plain = re.sub(r"\\[\\{}%&_#$]", "", code)
    depth = 0
    for letter in plain:
        depth += {"{": 1, "}": -1}.get(letter, 0)
        assert depth >= 0, text
    assert depth == 0, text
    stack = []
    for what, name in re.findall(r"\\(begin|end)\{([\w*]+)\}", code):
        if what == "begin":
            stack.append(name)
        else:
            assert stack.pop() == name, text
    assert not stack
    assert not re.search(r"(?<!\\)%", code), "a comment sign would swallow a line's end"
    outside = re.sub(r"\$[^$]*\$", "", plain)
    assert not re.search(r"[#^~_$]", outside), outside
    assert all(ord(c) < 0x180 for c in code), "no such letter in T1 fonts"
    blocks = re.findall(r"^\\begin\{(?:tabular)\}\{@\{\}([^\n]*)@\{\}\}$(.*?)^\\end", code, re.M | re.S)
    assert blocks
    for columns, body in blocks:
        n = len(re.sub(r">\{[^}]*\}p\{[^}]*\}", "p", columns))
        rows = [line for line in body.splitlines() if line.endswith(r" \\")]
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
    assert found.latex().count("\\begin{table}") == 5 == found.latex().count("(continued)") + 1
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


MANY = [f"column {i} of many" for i in range(30)]


def documents():
    wide = Table("w_1", ["run", "command"], [["[a]", "python train.py " * 20], ["*b", NASTY]], f"Caption. {NASTY}")
    long = Table("l", ["run", "x", NASTY], [[f"r/{i}", i / 7, NASTY] for i in range(60)], "Caption", [NASTY])
    letters = Table("u", ["a"], [[chr(c)] for c in range(0x180)], "every letter that may stand as it is")
    parts = Table("p", MANY, [[f"row {i}", *map(float, range(29))] for i in range(8)], "wider than a page on its side")
    rates = [["plain", Stacked("12.01", "[10.04, 14.07]")], ["EWC", BoldStacked("9.01", "[8.04, 10.07]")]]
    narrow = Table("n", ["method", "WER"], rates, "two lines a cell")
    return [TABLE, wide, long, parts, narrow, Table("e", ["a"], [], "nothing"), letters]


def test_a_table_stands_where_it_fits():
    found = {made.name: made.latex() for made in documents()}
    assert r"\begin{table}[htbp]" in found["some table"] and r"\begin{table*}" in found["w_1"]
    assert r"\begin{sidewaystable*}" in found["p"] and r"Table \ref{tab:l} (continued)" in found["l"]
    blocks = re.findall(r"\\toprule\n(.*?) \\\\\n", found["p"])
    heads = [re.sub(r"\\shortstack\[.\]\{(.*)\}|\\\\", r"\1 ", head).split(" & ") for head in blocks]
    assert len(blocks) > 1 and all("column" in head[0] and "0 of" in " ".join(head[0].split()) for head in heads)
    assert sum(len(head) - 1 for head in heads) == 29, "each column once, the first in all blocks"
    assert found["l"].count("minipage") == 2, "notes once"
    assert not any(word in text for text in found.values() for word in ("resizebox", "tiny", "scriptsize"))


def test_cells_of_two_lines():
    made = documents()[4]
    assert made.rows[0][1] == "12.01 [10.04, 14.07]" and made.numeric == [False, True]
    assert "addlinespace" in made.latex() and "addlinespace" not in TABLE.latex()
    assert r"\begin{tabular}[t]{@{}r@{}}\textbf{9.01}\\{}[8.04, 10.07]\end{tabular}" in made.latex()
    assert made.markdown().splitlines()[3] == "| EWC | **9.01**<br>[8.04, 10.07] |"
    assert "[8.04, 10.07]" in made.csv()


def test_latex_is_sound():
    for made in documents()[:5]:
        check(made.latex())
    bold = TABLE.latex()
    assert r"\caption{Some table}" in bold and r"\footnotesize Data, 2 runs, seed 1. A note.\end{minipage}" in bold
    assert r"\textbf{best}" in bold and "2.0e-05" in bold and r"\label{tab:some-table}" in bold
    with pytest.raises(AssertionError):  # the check itself can fail
        check(bold.replace(r"\bottomrule", "100 % & _"))


@pytest.mark.skipif(not shutil.which("pdflatex"), reason="no pdflatex here; test_latex_is_sound checks the same")
def test_latex_compiles(tmp_path):
    packages = latex.NEEDS.split()
    body = "\n".join(made.latex() for made in documents())
    source = "\n".join([r"\documentclass{article}", *packages, r"\begin{document}", body, r"\end{document}"])
    (tmp_path / "t.tex").write_text(source, encoding="utf-8")
    done = subprocess.run(
        ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "t.tex"],
        cwd=tmp_path, capture_output=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-2000:]
    wide = re.findall(rb"Overfull .hbox .(\d+)", done.stdout)
    assert not [w for w in wide if int(w) > 20], "a table is wider than was estimated"
