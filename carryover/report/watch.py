"""`carryover watch RUN`: a running job in a terminal, from the files that it writes; the job knows nothing of it.

A frame is plain text: how far the run is and how long it will take, its loss and WER as curves of letters, its flags;
of a run that has not begun, is running, was killed or is finished.
"""

import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from carryover.report.log_reader import METRICS, to_float
from carryover.report.summary import Summary, summarise
from carryover.report.tables.cells import clock

WINDOW = 20  # train events that the speed is taken from
SILENT = 60.0  # seconds without an event that no run is asked to explain
WIDTH, HEIGHT = 80, 9  # characters, lines of a plot
LOG_FROM = 20  # a curve whose highest value is so many times its lowest is drawn over a logarithmic scale


def watch(folder: str | Path, once: bool = False, every: float = 5.0) -> None:
    """Show a run until it is finished or Ctrl-C is pressed.

    Parameters
    ----------
    folder : path
        Of the run; it may not be there yet.
    once : bool
        Print one frame and return; so it is where the output is no terminal.
    every : float
        Seconds between two looks.

    Raises
    ------
    ValueError
        When the folder is no run and holds several.
    """
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    folder, console = Path(folder), Console()
    if once or not console.is_terminal:
        print(frame(folder)[0])
        return
    # a screen that is redrawn; nothing in a frame is markup
    with Live(console=console, auto_refresh=False, vertical_overflow="crop") as live:
        try:
            while True:
                text, over = frame(folder, width=console.width, height=max(4, (console.height - 14) // 2))
                live.update(Text(text), refresh=True)
                if over:
                    return
                time.sleep(every)
        except KeyboardInterrupt:
            return


def frame(folder: Path, width: int = WIDTH, height: int = HEIGHT, now: float | None = None) -> tuple[str, bool]:
    """One frame.

    Parameters
    ----------
    folder : Path
    width, height : int
        Characters of a line; lines of each curve.
    now : float, optional
        The time in seconds, as `time.time` gives it.

    Returns
    -------
    (text, over)
        `over`: the run is finished and nothing more will come.
    """
    path = folder / METRICS
    if not path.is_file() or not path.stat().st_size:
        below = sorted(p.parent for p in folder.glob(f"*/**/{METRICS}"))
        if below:
            raise ValueError(f"{folder}: no run, but {len(below)} runs are in it; give one of them, e.g. {below[0]}")
        there = "nothing is logged yet" if folder.is_dir() else "there is no such folder yet"
        return f"{folder}: not begun, {there}", False
    age = (time.time() if now is None else now) - path.stat().st_mtime
    run = summarise(folder)
    over = run.status == "finished"
    lines = [f"{run.name}  {state(run, age)}", progress(run), values(run), ""]
    last = max(planned(run)[0] or 0, run.last_update)
    lines += plot("train loss", {"*": _train(run)}, last, width, height)
    lines += plot("valid WER (%)", _valid(run), last, width, height)
    lines += _tests(run)
    lines += [f"! update {update}: {message}" for update, message in run.messages]
    lines += [f"! update {flag.update}: {flag.kind}: {flag.evidence}; {flag.advice}" for flag in run.red_flags]
    lines += [] if run.red_flags or run.messages else ["no flags"]
    lines += [f"? {problem}" for problem in run.problems]
    return "\n".join(lines), over


def state(run: Summary, age: float) -> str:
    """Finished, running, or silent for longer than its events explain.

    Parameters
    ----------
    age : float
        Seconds since the last event was written.
    """
    if run.status == "finished":
        return f"finished ({run.end['reason']})" if run.end and run.end.get("reason") else "finished"
    times = run.train["time"] if "time" in run.train else []
    gaps = [b - a for a, b in zip(times, times[1:], strict=False)]
    usual = max(gaps, default=0.0)
    if age <= max(SILENT, 3 * usual):
        return "running"
    was = f"train events were {usual:.0f} s apart at most; " if gaps else ""
    return f"silent for {clock(age)}: {was}killed, or at a long test. The same command continues a run"


def progress(run: Summary) -> str:
    """Updates done and planned, time so far and time left.

    The speed is that of the last `WINDOW` train events, validations between them included; tests at the end are not
    foreseen. Where the epochs decide, the updates of those that are over tell how many there will be.
    """
    total, about = planned(run)
    done = run.last_update
    left = (total - done) / speed(run) if total else math.nan
    parts = [f"update {done}" + (f" of {about}{total} ({100 * done / total:.0f} %)" if total else "")]
    if "epoch" in run.by_epoch and len(run.by_epoch["epoch"]):
        parts.append(f"epoch {run.by_epoch['epoch'][-1]:.0f}")
    parts.append(f"{clock(run.seconds)} so far")
    if run.status != "finished":
        known = not math.isnan(left)
        parts.append(f"about {clock(max(0.0, left))} of training left" if known else "time left not known yet")
    if not math.isnan(speed(run)):
        parts.append(f"{speed(run):.3g} updates/s")
    return ", ".join(parts)


def planned(run: Summary) -> tuple[int | None, str]:
    """(updates in all, "" or "about "); (None, "") where they cannot be told yet."""
    if run.settings.get("max_updates"):
        return int(run.settings["max_updates"]), ""
    epochs = run.by_epoch.get("epoch", ())
    if not run.settings.get("epochs") or len(epochs) < 2:
        return None, ""
    # the last logged update of the epochs that are over, at most a log window short of their end
    each = run.by_epoch["update"][-2] / epochs[-2]
    return max(run.last_update, round(each * int(run.settings["epochs"]))), "about "


def speed(run: Summary) -> float:
    """Updates a second over the last train events; nan with fewer than two."""
    if not {"time", "update"} <= run.train.keys() or len(run.train["time"]) < 2:
        return math.nan
    updates, times = run.train["update"][-WINDOW:], run.train["time"][-WINDOW:]
    return (updates[-1] - updates[0]) / (times[-1] - times[0]) if times[-1] > times[0] else math.nan


def values(run: Summary) -> str:
    """What the last train event said."""
    names = {"loss": "loss", "lr": "lr", "grad_norm": "gradient norm", "penalty_ratio": "penalty / loss"}
    found = [f"{shown} {run.train[key][-1]:.4g}" for key, shown in names.items() if key in run.train]
    return ", ".join(found) or "no update is logged yet"


def plot(
    title: str, curves: Mapping[str, Sequence[tuple[float, float]]], last: int, width: int, height: int
) -> list[str]:
    """Curves of letters over updates from 0 to `last`; nothing where there is no point.

    Parameters
    ----------
    curves : dict of list of (x, y)
        By the letter that draws them; where two meet, a `+` stands.
    """
    curves = {mark: [(x, y) for x, y in points if math.isfinite(y)] for mark, points in curves.items()}
    ys = [y for points in curves.values() for _, y in points]
    if not ys:
        return []
    low, high = min(ys), max(ys)
    log = low > 0 and high >= LOG_FROM * low
    scale = math.log if log else float
    wide = max(10, width - 10)

    def place(value: float, first: float, last: float, cells: int) -> int:
        return round((value - first) / (last - first) * (cells - 1)) if last > first else 0

    cells = [[" "] * wide for _ in range(height)]
    for mark, points in curves.items():
        for x, y in points:
            column = place(x, 0, last, wide)
            row = height - 1 - place(scale(y), scale(low), scale(high), height)
            cells[row][column] = mark if cells[row][column] in (" ", mark) else "+"
    labels = {0: f"{high:.4g}", height - 1: f"{low:.4g}"}
    lines = [title + (", logarithmic" if log else "")]
    lines += [f"{labels.get(i, ''):>8} |{''.join(row).rstrip()}" for i, row in enumerate(cells)]
    return [*lines, f"{'':8} +{'-' * wide}", f"{'':10}0{last:>{wide - 1}}", ""]


def _train(run: Summary) -> list[tuple[float, float]]:
    if "loss" not in run.train or "update" not in run.train:
        return []
    if not {"update", "loss"} <= run.train.keys():
        return []
    return list(zip(run.train["update"].tolist(), run.train["loss"].tolist(), strict=True))


def _valid(run: Summary) -> dict[str, list[tuple[float, float]]]:
    """WER of each language's validations by the first letter of its name, or by a number where that is taken."""
    found, marks = {}, {}
    for e in run.valid:
        if "weights" in e or "update" not in e:
            continue
        language = str(e.get("language", "?"))
        if language not in marks:
            marks[language] = language[:1] if language[:1] not in marks.values() else str(len(marks))
        found.setdefault(marks[language], []).append((e["update"], to_float(e.get("WER"))))
    return found


def _tests(run: Summary) -> list[str]:
    """The last test of each set and weights."""
    last = {(e.get("language"), e.get("weights")): e for e in run.tests}
    return [
        f"test {language} {weights}: WER {to_float(e.get('WER')):.2f}, CER {to_float(e.get('CER')):.2f}"
        for (language, weights), e in last.items()
    ]
