"""Cuts private data out of a text: tokens and passwords, absolute paths, names of home folders.

Used where a run writes its command into run.json, and by the report for all that it shows.
"""

import re

from carryover.data.home import as_tilde, below, data_roots, with_home

__all__ = ["below", "clean", "clean_paths", "clean_value", "data_roots", "portable", "with_home"]

SECRET = re.compile(
    r"(?i)(\b[\w-]*(?:token|api_?key|password|secret)\b['\"]?(?:\s*[=:]\s*|\s+))(?:'[^']*'|\"[^\"]*\"|[^\s,}'\"]+)"
    r"|\b(?:hf|ghp|gho|glpat|sk|wandb)[_-]\w{8,}"
)
ROOT = r"(?:file://[^\s/]*/|~[\w.-]*/+|(?<!:)/+|/(?!/)|[A-Za-z]:[\\/]+)"  # or of a drive; https:// and 1/2 are none
PATHS = []
# what stands before a path, and a character of its parts: within quotes a name may hold spaces; `!new:a.b` is no path
for before, c in ((r"(?<=['\"])", r"[^'\"/\\]"), (r"(?<![\w./…>~])", r"[^\s'\",{}()/\\]")):
    start = rf"{before}{ROOT}(?:{c}+[\\/]+)*"
    PATHS += [
        (re.compile(rf"{start}(?:home|[Uu]sers)[\\/]+{c}+[\\/]*(?!{c}|[\\/])"), "…"),  # its last part names a person
        (re.compile(rf"{start}(?={c})"), "…/"),
    ]


def clean(text: str) -> str:
    """Text without private data: of an absolute path the last part stays, of a home folder and a token nothing.

    Relative paths stay, so that a command can be repeated wherever it was given in the checkout.

    Example
    -------
    >>> clean("python train.py x.yaml --data_folder /home/ann/cv/de --output_root /home/ann --hub_token hf_abcdefghij")
    'python train.py x.yaml --data_folder …/de --output_root … --hub_token …'
    """
    return clean_paths(SECRET.sub(lambda m: (m[1] or "") + "…", text))


def clean_paths(text: str) -> str:
    """Sentences without absolute paths; the word "token" in them is no secret."""
    for path, shown in PATHS:
        text = path.sub(shown, text)
    return text


def clean_value(key: str, text: str) -> str:
    """A setting's value without private data; its key can tell that it is a secret.

    Example
    -------
    >>> clean_value("hub_token", "mine"), clean_value("data_folder", "/home/ann/cv/de")
    ('…', '…/de')
    """
    return clean(f"{key}: {text}").removeprefix(f"{key}: ")


# Of a key and its value in a YAML or JSON: stricter than `SECRET`, for the rest has to stay as it is.
SECRET_VALUE = re.compile(
    r"(?im)((?:^|[\s{,\"'])(?:(?:[\w-]*_)?(?:api_?key|password|secret)|(?:(?:hub|hf|access|auth|wandb|use_auth)_)?token)"
    r"[\"']?\s*[:=]\s*)(?!null\b|true\b|false\b|!ref\b|~(?:\s|$))(?:'[^'\n]*'|\"[^\"\n]*\"|[^\s,}'\"#]+)"
    r"|\b(?:hf|ghp|gho|glpat|sk|wandb)_\w{8,}"
)


def portable(text: str) -> str:
    """A file of a run without tokens, and with `~` for the home folder; `with_home` makes it usable again.

    Other absolute paths stay: the run is read by them.

    Example
    -------
    >>> portable("hub_token: hf_abcdefghij, data_folder: /data/nl")
    'hub_token: …, data_folder: /data/nl'
    """
    text = SECRET_VALUE.sub(lambda m: (m[1] or "") + "…", text)
    return as_tilde(text)
