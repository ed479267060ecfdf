"""Paths in the files of a run: `~` for the home folder, and the data folders that they have to lie below."""

import re
from pathlib import Path

from carryover.data import parts


def as_tilde(text: str) -> str:
    """A text with `~/` for the home folder; other absolute paths stay, for the run is read by them.

    A `~` alone would be YAML's null.
    """
    home = str(Path.home()).rstrip("/")
    return re.sub(rf"(?<![\w./-]){re.escape(home)}(?![\w.-])/?", "~/", text) if home else text


def require_utf8(path: str) -> None:
    """Raise ValueError for a path whose bytes are no UTF-8: no manifest and no list of predictions can name it."""
    try:
        path.encode()
    except UnicodeEncodeError:
        name = path.encode(errors="surrogateescape").decode(errors="replace")
        raise ValueError(f"name of the file is not UTF-8: {name}; rename it") from None


def with_home(text: str) -> str:
    """A text with the reader's home folder for `~/`."""
    home = str(Path.home()).rstrip("/")
    return re.sub(r"(?<![\w./~-])~(?=/)", lambda _: home, text)


def data_roots(folders) -> list[Path]:
    """Data folders as they may be read below; neither / nor a folder that holds the home folder is one."""
    found = []
    for folder in folders:
        root = Path(with_home(str(folder or ""))).resolve()
        root = root.parent if root.is_file() else root
        if folder and not Path.home().resolve().is_relative_to(root):
            found.append(root)
    return found


def below(path: str | Path, roots: list[Path]) -> bool:
    """Whether a file, links followed, lies below one of some folders."""
    path = parts.split(str(path))[0]
    return any(Path(path).resolve().is_relative_to(root) for root in roots)
