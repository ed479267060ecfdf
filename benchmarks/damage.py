"""Damages text and bytes by chance, and says what becomes of a command that meets them."""

import contextlib
import io
import random
from collections.abc import Callable

from carryover import exits

ACCEPTED, REFUSED, SILENT, TRACEBACK, HANG, LOST = "accepted", "refused", "no message", "traceback", "hang", "lost row"
BAD = (SILENT, TRACEBACK, HANG, LOST)
ODD = [
    "", " ", "-1", "0", "1e309", "nan", "inf", "-inf", "null", "true", "[]", "{}", "[1", "'", '"', "\\", "\t", "\r",
    "\0", "\ufeff", "\u200b", "é", "漢字", "😀", "../../etc/passwd", "/dev/null", "~", "$HOME", "%s", "{x}", "!ref <x>",
    "!new:os.system", "a" * 5000, "9" * 400, "0x10", "1_000", "1,5", "2024-01-01", "--", "-", "<b>", "🇩🇪", "\x1b[31m",
]  # fmt: skip


def changed(data: bytes, chance: random.Random) -> bytes:
    """One to three damages: of bytes, of lines, of fields."""
    for _ in range(chance.randint(1, 3)):
        at = chance.randrange(len(data) + 1)
        how = chance.randrange(9)
        if how == 0 and data:
            at = chance.randrange(len(data))
            data = data[:at] + bytes([data[at] ^ 1 << chance.randrange(8)]) + data[at + 1 :]
        elif how == 1:
            data = data[:at] + chance.randbytes(chance.randint(1, 8)) + data[at:]
        elif how == 2:
            data = data[:at] + data[at + chance.randint(1, 30) :]
        elif how == 3:
            data = data[:at]
        elif how == 4:
            data = data[:at] + chance.choice(ODD).encode() + data[at:]
        else:
            lines = data.split(b"\n")
            i, j = chance.randrange(len(lines)), chance.randrange(len(lines))
            if how == 5:
                del lines[i]
            elif how == 6:
                lines.insert(j, lines[i])
            elif how == 7:
                lines[i], lines[j] = lines[j], lines[i]
            else:
                mark = chance.choice([b"\t", b",", b":", b" ", b'"'])
                fields = lines[i].split(mark)
                fields[chance.randrange(len(fields))] = chance.choice(ODD).encode()
                lines[i] = mark.join(fields)
            data = b"\n".join(lines)
    return data


def of_command(main: Callable) -> tuple[str, str]:
    """(outcome, what was said) of something that ends as a command does."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            status = exits.run(main)
        except SystemExit as end:  # click's own
            status = end.code
    said = err.getvalue()
    if not status:
        return ACCEPTED, ""
    if "Traceback (most recent call last)" in said:
        return TRACEBACK, said
    return (REFUSED, said) if said.strip() or out.getvalue().strip() else (SILENT, f"status {status}")
