"""The home folder in the files of a run: written as `~`, so that a folder that is handed on names nobody."""

import re
from pathlib import Path


def as_tilde(text: str) -> str:
    """A text with `~` for the home folder; other absolute paths stay, for the run is read by them."""
    home = str(Path.home()).rstrip("/")
    return re.sub(rf"(?<![\w./-]){re.escape(home)}(?![\w.-])", "~", text) if home else text


def with_home(text: str) -> str:
    """A text with the reader's home folder for `~/`."""
    home = str(Path.home()).rstrip("/")
    return re.sub(r"(?<![\w./~-])~(?=/)", lambda _: home, text)
