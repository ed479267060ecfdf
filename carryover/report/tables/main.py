"""The main table of a comparison: one narrow row a method, for one column of a paper.

Its numbers are those of `forgetting.table`, computed once; the wide table beside it has the rest of them.
"""

import math
from collections.abc import Sequence

from carryover.report import names
from carryover.report.tables import forgetting
from carryover.report.tables.cells import Bold, BoldStacked, Stacked, number
from carryover.report.tables.table import Table
from carryover.stats import conditions
from carryover.stats.systems import NONE, Estimate


def main(compared: forgetting.Table, about: str, name: str = "main") -> Table:
    """Method, new and old WER with their intervals, forgetting, p against the baseline; the lowest are bold.

    Parameters
    ----------
    compared : forgetting.Table
    about : str
        Runs, seeds and data, for the caption.
    name : str
        Of the table.
    """
    found = {row.method: row for row in compared.rows if row.shown}
    rows = [found[method] for method in names.ordered(found, compared.baseline)]
    new, old = names.language(compared.language), names.language(compared.old_language or "")
    marked = [
        f"{said} WER{conditions.mark(compared.over.get(code, ''))}"
        for said, code in ((new, compared.language), (old, compared.old_language or ""))
    ]
    lowest = {"new": _lowest([row.new for row in rows])}
    lowest |= {key: _lowest([getattr(row, key) for row in rows if row.knew_old]) for key in ("old", "forgetting")}
    cells = [
        (
            _name(row.method, compared.baseline),
            _rate(row.new, row.new.value == lowest["new"]),
            _rate(row.old, row.old.value == lowest["old"]) if row.knew_old else "-",
            _points(row.forgetting, row.forgetting.value == lowest["forgetting"]),
            _p(row.new_to_baseline, row.old_to_baseline if row.knew_old else NONE),
        )
        for row in rows
    ]
    heads = ["method", *marked, "forgetting", "p"]
    kept = [i for i in range(len(heads)) if i < 2 or any(row[i] != "-" for row in cells)]
    shown = [heads[i] for i in kept]
    by = compared.normalised
    said = [f"WER in percent over the test set, {by}, with 95 % intervals beneath; the lowest are bold."]
    if "forgetting" in shown:
        said.append(f"Forgetting: {old} WER after minus before, in points.")
    if "p" in shown:
        said.append(
            f"p: against {names.method(compared.baseline)}, two-sided, after Holm's correction over this comparison; "
            + (f"{new} above, {old} beneath." if compared.old_language else f"of {new}.")
        )
    seeds = {row.method: len(row.seeds) for row in rows}
    caption = " ".join([*said, *conditions.said(compared.over, seeds), about])
    title = f"{new} after {old}: WER and forgetting" if compared.old_language else f"{new}: WER of each method"
    return Table(name, shown, [[row[i] for i in kept] for row in cells], caption, title=title)


def _name(method: str, baseline: str) -> str:
    """A method's proper name, in two lines where it has two parts."""
    share = method.removeprefix(f"{baseline} + averaging ")
    name = names.method(method) if share == method else f"averaging ({share})"
    return Stacked(*name.split(" ", 1)) if " " in name else name


def _lowest(found: Sequence[Estimate]) -> float | None:
    """Of several numbers the lowest, which two may have; None of one."""
    known = [e.value for e in found if not math.isnan(e.value)]
    return min(known) if len(known) > 1 else None


def _rate(e: Estimate, lowest: bool) -> str:
    if math.isnan(e.value) or math.isnan(e.low):
        return (Bold if lowest else str)(number(e.value))
    return (BoldStacked if lowest else Stacked)(number(e.value), f"[{e.low:.2f}, {e.high:.2f}]")


def _points(e: Estimate, lowest: bool) -> str:
    return (Bold if lowest else str)(number(e.value, "+.2f"))


def _p(new: Estimate, old: Estimate) -> str:
    """The corrected p-values of both languages, one above the other."""
    if math.isnan(new.p_holm) and math.isnan(old.p_holm):
        return "-"
    found = ["-" if math.isnan(e.p_holm) else "<0.001" if e.p_holm < 0.001 else f"{e.p_holm:.3f}" for e in (new, old)]
    return found[0] if math.isnan(old.value) else Stacked(*found)
