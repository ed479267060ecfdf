"""A table: its values with full precision for a CSV, and as they are read, in Markdown and in LaTeX."""

import csv
import io
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

MOST = 200  # rows that somebody reads; a longer table stands as a whole in its CSV
LONG = 40  # rows that a page of LaTeX holds
WIDE = 30  # characters of a cell that is broken into lines
NEEDS = (  # of the LaTeX, said on top of it
    "\\usepackage[T1]{fontenc} \\usepackage[utf8]{inputenc} \\usepackage{textcomp,booktabs,longtable,array,graphicx}"
)
# letters below U+0180 that utf8 does not know with T1 fonts: an error of LaTeX, not a gap in its text
NOT_IN_T1 = "ĦħĸĿŀŉŦŧſ"
NUMERIC = re.compile(r"[-+]?\d.*|[-+]?inf|-|")
SPECIAL = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "%": r"\%", "&": r"\&", "_": r"\_", "#": r"\#", "$": r"\$",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", '"': r"\textquotedbl{}", "<": r"\textless{}",
    ">": r"\textgreater{}", "|": r"\textbar{}", "`": r"\textasciigrave{}", "'": r"\textquotesingle{}",
    "†": r"\textdagger{}", "…": r"\ldots{}", "×": r"$\times$", "·": r"$\cdot$", "±": r"$\pm$", "→": r"$\rightarrow$",
    "≤": r"$\leq$", "≥": r"$\geq$", "−": r"$-$", "≈": r"$\approx$", "λ": r"$\lambda$", "°": r"\textdegree{}",
    "–": "--", "—": "---", "“": "``", "”": "''", "„": r"\quotedblbase{}", "‘": "`", "’": "'", "€": r"\texteuro{}",
    "\u00a0": "~",
}  # fmt: skip


class Bold(str):
    """A cell to be seen first."""


@dataclass
class Table:
    """Rows under their heads, and what one has to know to read them.

    Parameters
    ----------
    name : str
        Of its files, without suffix.
    columns : list of str
        Heads.
    values : list of list
        Cells: numbers, texts, truth values; None and nan where there is nothing to say.
    caption : str
        Data, runs, seeds, and the method or test.
    notes : list of str
        Sentences beneath.
    forms : dict
        Format of a column's floats, e.g. {"lr": ".2e"}; two decimals elsewhere.
    csv_columns, csv_values : list, optional
        Where the CSV has other columns or more rows than what is read.
    """

    name: str
    columns: Sequence[str]
    values: Sequence[Sequence]
    caption: str
    notes: Sequence[str] = ()
    forms: Mapping[str, str] = field(default_factory=dict)
    csv_columns: Sequence[str] | None = None
    csv_values: Sequence[Sequence] | None = None

    def __post_init__(self):
        for columns, rows in ((self.columns, self.values), (self.csv_columns, self.csv_values)):
            wrong = [row for row in rows or () if len(row) != len(columns or ())]
            if wrong:
                raise ValueError(f"{self.name}: {len(wrong[0])} cells under {len(columns or ())} heads: {wrong[0]}")
        if len(self.values) > MOST:
            said = f"The first {MOST} of {len(self.values)} rows; all are in {self.name}.csv."
            self.csv_columns = self.columns if self.csv_columns is None else self.csv_columns
            self.csv_values = self.values if self.csv_values is None else self.csv_values
            self.values, self.notes = self.values[:MOST], [*self.notes, said]

    @property
    def rows(self) -> list[list[str]]:
        """Cells as they are read."""
        return [[self._shown(c, v) for c, v in zip(self.columns, row, strict=True)] for row in self.values]

    def _shown(self, column: str, value) -> str:
        if isinstance(value, Bold):
            return value
        if value is None or (isinstance(value, float) and math.isnan(value)):
            return "-"
        if isinstance(value, bool):
            return "yes" if value else "no"
        return format(float(value), self.forms.get(column, ".2f")) if isinstance(value, float) else str(value)

    def csv(self) -> str:
        """All rows, numbers with full precision; empty where there is none."""
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(self.columns if self.csv_columns is None else self.csv_columns)
        for row in self.values if self.csv_values is None else self.csv_values:
            writer.writerow("" if v is None or (isinstance(v, float) and math.isnan(v)) else v for v in row)
        return out.getvalue()

    def markdown(self) -> str:
        """As GitHub reads it, with the caption and the notes beneath."""
        lines = [_line(self.columns), "|" + "---|" * len(self.columns), *map(_line, self.rows)]
        return "\n\n".join(["\n".join(lines), self.caption, *self.notes])

    def latex(self) -> str:
        """A floating tabular with booktabs' rules; a longtable where it does not fit on a page.

        Cells with long texts are broken into lines (p-columns that share the line among them); a tabular that is
        still wider than the line is scaled down to it.
        """
        rows, n = self.rows, len(self.columns)
        numeric = [all(NUMERIC.fullmatch(row[i]) for row in rows) for i in range(n)]
        longest = [max((len(row[i]) for row in rows), default=0) for i in range(n)]
        broken = [i for i in range(n) if longest[i] > WIDE and not numeric[i]]
        # what the other columns take of some 90 characters a line, at least a third is left to the broken ones
        taken = sum(max(longest[i], len(self.columns[i]) // 2) + 2 for i in range(n) if i not in broken) / 90
        share = max(1 / 3, 0.95 - taken) / max(1, sum(min(longest[i], 3 * WIDE) for i in broken))
        kinds = [
            f">{{\\raggedright\\arraybackslash}}p{{{share * min(longest[i], 3 * WIDE):.3f}\\linewidth}}"
            if i in broken
            else "r" if numeric[i] else "l"
            for i in range(n)
        ]  # fmt: skip
        head = " & ".join(escape(column) for column in self.columns) + r" \\"
        body = [" & ".join(_cell(cell, i == 0, i in broken) for i, cell in enumerate(row)) + r" \\" for row in rows]
        caption = f"\\caption{{{escape(' '.join([self.caption, *self.notes]))}}}\\label{{tab:{_label(self.name)}}}"
        kinds = "".join(kinds)
        if len(rows) > LONG:
            # a line holds some 120 characters of scriptsize
            size = "\\scriptsize" if broken or sum(longest) + 2 * n < 120 else "\\tiny"
            lines = [
                f"{{{size}\\setlength{{\\tabcolsep}}{{3pt}}", f"\\begin{{longtable}}{{{kinds}}}",
                f"{caption}\\\\", "\\toprule", head, "\\midrule",
                "\\endfirsthead", "\\toprule", head, "\\midrule", "\\endhead", "\\bottomrule", "\\endfoot", *body,
                "\\end{longtable}", "}",
            ]  # fmt: skip
        else:
            lines = [
                "\\begin{table}[htbp]", "\\centering", "\\small", caption,
                "\\resizebox{\\ifdim\\width>\\linewidth\\linewidth\\else\\width\\fi}{!}{%",
                f"\\begin{{tabular}}{{{kinds}}}", "\\toprule", head, "\\midrule", *body, "\\bottomrule",
                "\\end{tabular}}", "\\end{table}",
            ]  # fmt: skip
        return "\n".join([f"% {NEEDS}", *lines]) + "\n"


def _line(cells: Sequence[str]) -> str:
    """A row of Markdown."""
    escaped = (re.sub(r"(?=[|*])|(?=<[\w/!])", r"\\", cell) for cell in cells)  # !ref <key> is no HTML
    plain = (" ".join(cell.split()) for cell in escaped)
    return f"| {' | '.join(f'**{p}**' if isinstance(c, Bold) else p for p, c in zip(plain, cells, strict=True))} |"


def _cell(text: str, first: bool, broken: bool) -> str:
    r"""A cell of LaTeX; after `\\` a bracket would be an option, a star a command. A broken one breaks paths, too."""
    parts = re.split(r"(?<=[/,=_.:])", " ".join(text.split())) if broken else [" ".join(text.split())]
    found = r"\allowbreak{}".join(escape(part) for part in parts)
    found = f"\\textbf{{{found}}}" if isinstance(text, Bold) else found
    return f"{{}}{found}" if first and found[:1] in ("[", "*") else found


def _in_T1(c: str) -> bool:
    return c < "\x7f" or ("\xa0" <= c < "\u0180" and c not in NOT_IN_T1)


def escape(text: str) -> str:
    """Text as LaTeX sets it; a letter that T1 fonts do not have is named by its number.

    Example
    -------
    >>> escape("50 % of a_b")
    '50 \\\\% of a\\\\_b'
    """
    found = "".join(SPECIAL.get(c, c if _in_T1(c) else f"[U+{ord(c):04X}]") for c in text if c >= " ")
    return found.replace("--", "-{}-") if "--" in text else found


def _label(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9]+", "-", name).strip("-")
