"""A table: its values with full precision for a CSV, and as they are read, in Markdown and in LaTeX."""

import csv
import io
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from carryover.report.tables import latex
from carryover.report.tables.cells import Bold, lines_of

MOST = 200  # rows that somebody reads; a longer table stands as a whole in its CSV
NUMERIC = re.compile(r"[-+]?\d.*|[-+]?inf|[<>] ?\d.*|-|")


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
    title : str, optional
        A line for the list of tables; else the name in words.
    """

    name: str
    columns: Sequence[str]
    values: Sequence[Sequence]
    caption: str
    notes: Sequence[str] = ()
    forms: Mapping[str, str] = field(default_factory=dict)
    csv_columns: Sequence[str] | None = None
    csv_values: Sequence[Sequence] | None = None
    title: str = ""

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
        self.title = self.title or self.name[:1].upper() + self.name[1:].replace("_", " ")

    @property
    def rows(self) -> list[list[str]]:
        """Cells as they are read."""
        return [[self._shown(c, v) for c, v in zip(self.columns, row, strict=True)] for row in self.values]

    def _shown(self, column: str, value) -> str:
        if isinstance(value, str):
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

    @property
    def numeric(self) -> list[bool]:
        """Which columns hold numbers alone: they stand to the right."""
        rows = self.rows
        return [all(NUMERIC.fullmatch(row[i]) for row in rows) for i in range(len(self.columns))]

    def latex(self) -> str:
        """A floating tabular in 9 pt with booktabs' rules, see `latex.tables`."""
        notes = " ".join([self.caption, *self.notes])
        return latex.tables(self.name, self.title, notes, self.columns, self.rows, self.numeric)


def _line(cells: Sequence[str]) -> str:
    """A row of Markdown."""
    return f"| {' | '.join(map(_markdown, cells))} |"


def _markdown(cell: str) -> str:
    """A cell of Markdown, its lines one above the other; of a bold one the upper one is."""
    escaped = (re.sub(r"(?=[|*])|(?=<[\w/!])", r"\\", line) for line in lines_of(cell))  # !ref <key> is no HTML
    first, *others = (" ".join(line.split()) for line in escaped)
    return "<br>".join([f"**{first}**" if isinstance(cell, Bold) else first, *others])
