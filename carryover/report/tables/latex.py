r"""A table in LaTeX that one can publish: nothing is scaled, all of it stands in 9 pt.

How wide a table gets is estimated from the widths of letters, and it goes where it fits: into one column of a paper
(`table`), over both (`table*`, also a thesis page), or on its side (`sidewaystable*`). A wider one is parted into
blocks of columns, each with the first column; a longer one goes on over several floats, for a longtable is an error in
two columns. The caption is the short line of a list of tables; what one has to know to read the table stands beneath.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from carryover.report.tables.cells import Bold, lines_of

COLUMN, PAGE, SIDE = 227, 345, 550  # pt: a column of two, a page's text, a page on its side
LINES = {COLUMN: 40, PAGE: 40, SIDE: 20}  # of a page that rows may take
BROKEN = 30  # characters of a text that may be broken into lines
NARROWEST = 70  # pt of a column with broken lines
SIZE, GAP = 9, {COLUMN: 2, PAGE: 3, SIDE: 3}  # pt: of the letters, on each side of a column
NEEDS = (  # of the LaTeX, said on top of it
    "\\usepackage[T1]{fontenc} \\usepackage[utf8]{inputenc} \\usepackage{textcomp,booktabs,array} "
    "\\usepackage[figuresright]{rotating}"
)
HYPHENS = {"forgetting": ("forget-", "ting")}  # long words over short numbers
# letters below U+0180 that utf8 does not know with T1 fonts: an error of LaTeX, not a gap in its text
NOT_IN_T1 = "ĦħĸĿŀŉŦŧſ"
SPECIAL = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "%": r"\%", "&": r"\&", "_": r"\_", "#": r"\#", "$": r"\$",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", '"': r"\textquotedbl{}", "<": r"\textless{}",
    ">": r"\textgreater{}", "|": r"\textbar{}", "`": r"\textasciigrave{}", "'": r"\textquotesingle{}",
    "†": r"\textdagger{}", "…": r"\ldots{}", "×": r"$\times$", "·": r"$\cdot$", "±": r"$\pm$", "→": r"$\rightarrow$",
    "≤": r"$\leq$", "≥": r"$\geq$", "−": r"$-$", "≈": r"$\approx$", "λ": r"$\lambda$", "°": r"\textdegree{}",
    "–": "--", "—": "---", "“": "``", "”": "''", "„": r"\quotedblbase{}", "‘": "`", "’": "'", "€": r"\texteuro{}",
    "\u00a0": "~",
}  # fmt: skip
# widths of Computer Modern's letters in em; the others are as wide as the widest of the small ones or of the large ones
WIDTHS = {
    **dict.fromkeys("ijl.,;:'!|[]", 0.28), **dict.fromkeys("ft()/-rs ", 0.39), **dict.fromkeys("cez", 0.45),
    **dict.fromkeys("0123456789aovxygk", 0.52), **dict.fromkeys("bdhnpqu", 0.56), "I": 0.36, "J": 0.51, "w": 0.72,
    **dict.fromkeys("m%+=<>±→", 0.83), **dict.fromkeys("MW", 1.03),
}  # fmt: skip


@dataclass(frozen=True)
class Column:
    """A column, measured once.

    Attributes
    ----------
    head : str
    cells : tuple of str
        As they are read.
    numeric : bool
        Stands to the right.
    room : float
        Width of its widest cell, in pt.
    natural : float
        Width of that or of its head broken into lines, in pt.
    longest : int
        Characters of its longest cell.
    """

    head: str
    cells: tuple[str, ...]
    numeric: bool
    room: float
    natural: float
    longest: int

    @classmethod
    def of(cls, head: str, cells: tuple[str, ...], numeric: bool) -> "Column":
        room = max((width(line) for cell in cells for line in lines_of(cell)), default=0.0)
        natural = max([room, *map(width, _words(head))])
        return cls(head, cells, numeric, room, natural, max(map(len, cells), default=0))


def tables(
    name: str,
    title: str,
    notes: str,
    columns: Sequence[str],
    rows: Sequence[Sequence[str]],
    numeric: Sequence[bool],
) -> str:
    r"""The LaTeX of a table.

    Parameters
    ----------
    name : str
        Of its label.
    title : str
        Its caption: one line.
    notes : str
        What stands beneath it.
    columns : list of str
        Heads; they are broken into lines where they are wider than their cells.
    rows : list of list of str
        Cells as they are read; `cells.Bold` ones are bold, `cells.Stacked` ones have two lines.
    numeric : list of bool
        Which columns stand to the right.
    """
    cells = zip(*rows, strict=True) if rows else [()] * len(columns)
    measured = [Column.of(*one) for one in zip(columns, cells, numeric, strict=True)]
    place = next((w for w in (COLUMN, PAGE, SIDE) if _widths(measured, w)), SIDE)
    kind = {COLUMN: "table", PAGE: "table*", SIDE: "sidewaystable*"}[place]
    where = {COLUMN: "[htbp]", PAGE: "[tp]", SIDE: ""}[place]
    size = f"\\fontsize{{{SIZE}}}{{{1.2 * SIZE:g}}}\\selectfont\\setlength{{\\tabcolsep}}{{{GAP[place]}pt}}"
    label = f"tab:{_label(name)}"
    caption = f"\\caption{{{escape(title)}}}\\label{{{label}}}"
    again = f"Table \\ref{{{label}}} (continued)\\par\\medskip"
    floats = _floats(measured, place)
    lines = [f"% {NEEDS}"]
    for i, blocks in enumerate(floats):
        lines += [f"\\begin{{{kind}}}{where}", "\\centering", again if i else caption, f"{{{size}"]
        for j, (kinds, head, body) in enumerate(blocks):
            rules = ("\\toprule", head, "\\midrule", *body, "\\bottomrule")
            lines += ["\\par\\medskip"] * bool(j)
            lines += [f"\\begin{{tabular}}{{{kinds}}}", *rules, "\\end{tabular}"]
        lines.append("\\par}")
        if i == len(floats) - 1:
            lines += ["\\medskip", f"\\begin{{minipage}}{{\\linewidth}}\\footnotesize {escape(notes)}\\end{{minipage}}"]
        lines.append(f"\\end{{{kind}}}")
    return "\n".join(lines) + "\n"


def _floats(columns: Sequence[Column], place: float) -> list[list[tuple[str, str, list[str]]]]:
    """Blocks of columns by the float that they are in: all in one where a page holds them, else pages of rows."""
    blocks = _blocks(columns, place)
    pages, taken = [[]], 0
    rooms = _widths(columns, place) or [None] * len(columns)
    for i, row in enumerate(zip(*(column.cells for column in columns), strict=True)):
        high = max(math.ceil(width(c) / r) if r else len(lines_of(c)) for c, r in zip(row, rooms, strict=True))
        if taken + high > LINES[place]:
            pages, taken = [*pages, []], 0
        pages[-1].append(i)
        taken += high
    drawn = [[_block(block, page, place) for page in pages] for block in blocks]
    if len(pages) == 1 and len(blocks) * (taken + 2) <= LINES[place] + 2:
        return [[block for [block] in drawn]]
    return [[block] for of_block in drawn for block in of_block]


def width(text: str) -> float:
    """About how wide a text is set, in pt."""
    return 1.03 * SIZE * sum(WIDTHS.get(c, 0.56 if c.islower() else 0.75) for c in text)


def _widths(columns: Sequence[Column], place: float) -> list[float | None] | None:
    """Width of each column that is broken into lines in this place, None for one that is not; None where all do not
    fit.
    """
    room = place - 2 * GAP[place] * (len(columns) - 1)
    if sum(column.natural for column in columns) <= room:
        return [None] * len(columns)
    broken = [column.longest > BROKEN and not column.numeric for column in columns]
    left = room - sum(column.natural for column, is_broken in zip(columns, broken, strict=True) if not is_broken)
    if place == COLUMN or not any(broken) or left < NARROWEST * sum(broken):
        return None
    shares = [min(column.longest, 3 * BROKEN) * is_broken for column, is_broken in zip(columns, broken, strict=True)]
    return [left * share / sum(shares) or None for share in shares]


def _blocks(columns: Sequence[Column], place: float) -> list[list[Column]]:
    """Columns of each block, all of which have the first one; as many in a block as fit."""
    blocks, now = [], [columns[0]]
    for column in columns[1:]:
        if len(now) > 1 and _widths([*now, column], place) is None:
            blocks, now = [*blocks, now], [columns[0]]
        now = [*now, column]
    return [*blocks, now]


def _block(columns: Sequence[Column], page: Sequence[int], place: float) -> tuple[str, str, list[str]]:
    """(column types, head, rows of a page) of some columns, as wide as all rows make them."""
    widths = _widths(columns, place)
    if widths is None:  # a single cell wider than a page: it is broken
        widths = [None, *[place - width(max(columns[0].cells, key=len, default=""))] * (len(columns) - 1)]
    kinds = [
        f">{{\\raggedright\\arraybackslash}}p{{{w:.0f}pt}}" if w else "r" if column.numeric else "l"
        for w, column in zip(widths, columns, strict=True)
    ]
    head = " & ".join(_head(c.head, w or c.room, c.numeric) for c, w in zip(columns, widths, strict=True))
    body = [
        " & ".join(
            _cell(c.cells[i], j == 0, bool(w), c.numeric) for j, (c, w) in enumerate(zip(columns, widths, strict=True))
        )
        + r" \\"
        for i in page
    ]
    if any(len(lines_of(column.cells[i])) > 1 for column in columns for i in page):
        body = [line for row in body for line in ("\\addlinespace[2pt]", row)][1:]
    return f"@{{}}{''.join(kinds)}@{{}}", head + r" \\", body


def _words(head: str) -> list[str]:
    """What a head may be broken into."""
    words = re.split(r"\s+(?![^\[]*\])", head.strip())  # [95 %] stays one
    return [part for word in words if word for part in HYPHENS.get(word, (word,))]


def _head(text: str, room: float, right: bool) -> str:
    """A head, broken at its spaces into lines no wider than the cells beneath, or than its longest word."""
    if width(text) <= room:
        return escape(text)
    room, lines = max([room, *map(width, _words(text))]), [""]
    for word in _words(text):
        longer = f"{lines[-1]} {word}".strip()
        fits = width(longer) <= room and not lines[-1].endswith("-")
        lines = [*lines[:-1], longer] if fits else [*lines, word]
    stacked = r"\\".join(map(escape, lines))
    return f"\\shortstack[{'r' if right else 'l'}]{{{stacked}}}" if len(lines) > 1 else stacked


def _cell(text: str, first: bool, broken: bool, right: bool) -> str:
    r"""A cell; after `\\` a bracket would be an option, a star a command. A broken one breaks paths, too."""
    lines = []
    for line in lines_of(text):
        plain = " ".join(line.split())
        lines.append(r"\allowbreak{}".join(map(escape, re.split(r"(?<=[/,=_.:])", plain))) if broken else escape(plain))
    if isinstance(text, Bold):
        lines[0] = f"\\textbf{{{lines[0]}}}"
    if len(lines) > 1:
        side = "r" if right else "l"
        return f"\\begin{{tabular}}[t]{{@{{}}{side}@{{}}}}{lines[0]}\\\\{{}}{lines[1]}\\end{{tabular}}"
    return f"{{}}{lines[0]}" if first and lines[0][:1] in ("[", "*") else lines[0]


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
