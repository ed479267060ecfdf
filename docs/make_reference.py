"""Makes docs/reference: keys.md from the comments of hparams/*.yaml, commands.md from `carryover --help`, and events.md
from the schema of metrics.jsonl.

python docs/make_reference.py
"""

import inspect
import sys
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parent.parent
HPARAMS, REFERENCE = ROOT / "hparams", ROOT / "docs" / "reference"
sys.path.insert(0, str(ROOT))  # from a checkout that is not installed

from carryover.config.keys import KEYS  # noqa: E402
from carryover.config.reference import BLOCK, ITEMS, MEANINGS, OPTIONS, USAGE, entries, grouped  # noqa: E402


def type_of(key: str, values: list[str]) -> str:
    """The type and range of a key, as they are checked (carryover/config/keys.py); of objects, from the YAMLs."""
    if key in KEYS and KEYS[key].types:
        return KEYS[key].expected
    kinds = []
    for value in values:
        if value.startswith("!ref"):
            kind = "reference to another key"
        elif value.startswith("!name"):
            kind = "class or function"
        elif value.startswith(("!new", "!apply")):
            kind = "object"
        elif value.startswith("{") or value == BLOCK:
            kind = "mapping"
        elif value.startswith("[") or value == ITEMS:
            kind = "list"
        else:
            plain = yaml.safe_load(value)
            kind = {bool: "True or False", int: "integer", float: "number", str: "text", type(None): "null"}[
                type(plain)
            ]
        kinds += [kind] if kind not in kinds else []
    if "number" in kinds and "integer" in kinds:
        kinds.remove("integer")
    return " or ".join(sorted(kinds, key=lambda kind: kind == "null"))


def cell(text: str) -> str:
    """Text as a table's cell."""
    return text.replace("|", "\\|").replace("<", "&lt;").replace("{", "&#123;")


def code(text: str) -> str:
    """Text as code in a table's cell."""
    return f"`{text}`".replace("|", "\\|") if text else ""


def keys() -> str:
    """Markdown of reference/keys.md."""
    yamls = {p.stem: entries(p.read_text(encoding="utf-8")) for p in sorted(HPARAMS.glob("*.yaml"))}
    names = list(dict.fromkeys(key for found in yamls.values() for key in found))
    lines = [
        "# Every key",
        "",
        "Made by `python docs/make_reference.py` from the YAMLs' own comments; do not edit it by hand. A key can be",
        "given on the command line: `--lr 1.0e-3`. A comment begins with the value of real size where it has one.",
    ]
    for group, members in grouped(names).items():
        lines += ["", f"## {group}"]
        for key in members:
            rows: dict[tuple[str, str], list[str]] = {}
            for name, found in yamls.items():
                if key in found:
                    rows.setdefault(found[key], []).append(name)
            lines += ["", f"### {key}", ""]
            if key in MEANINGS:
                lines += [MEANINGS[key], ""]
            lines += [
                f"Type: {type_of(key, [value for value, _ in rows])}.",
                "",
                "| default | in | comment |",
                "|---|---|---|",
            ]
            for (value, comment), where in rows.items():
                there = "all" if len(where) == len(yamls) else ", ".join(where)
                lines.append(f"| {code(value)} | {there} | {cell(comment)} |")
    return "\n".join(lines) + "\n"


def commands() -> str:
    """Markdown of reference/commands.md."""
    import typer

    from carryover.commands.app import app

    lines = [
        "# Commands",
        "",
        "Made by `python docs/make_reference.py` from the commands' own help; do not edit it by hand.",
        "",
        "## train.py",
        "",
        f"    {USAGE}",
        "",
        "| option | meaning |",
        "|---|---|",
        *(f"| `{option}` | {means} |" for option, means in OPTIONS.items()),
        "",
        "Exit status: 0 when the run is done (with `--overfit`: when the gate is passed), else 1.",
        "",
        "`carryover --install-completion` installs completion by Tab for your shell; `--show-completion` prints it.",
    ]
    for name, command in sorted(typer.main.get_command(app).commands.items()):
        arguments = [p for p in command.params if p.param_type_name == "argument"]
        options = [p for p in command.params if p.param_type_name == "option" and p.name != "help"]
        usage = " ".join(["carryover", name, *(p.metavar or p.name.upper() for p in arguments)])
        lines += ["", f"## carryover {name}", "", f"    {usage} [OPTIONS]", "", inspect.cleandoc(command.help or "")]
        lines += ["", "| | meaning | default |", "|---|---|---|"]
        for p in arguments:
            lines.append(f"| {code(p.metavar or p.name.upper())} | {cell(p.help or '')} | |")
        for p in options:
            default = "required" if p.required else "" if p.default in (None, False, [], ()) else str(p.default)
            lines.append(f"| {code(', '.join(p.opts))} | {cell(p.help or '')} | {default} |")
    return "\n".join(lines) + "\n"


def events_page() -> str:
    """The page of the events."""
    from carryover.runs import events

    head = (
        "# Events\n\n`metrics.jsonl` of a run folder has one event a line. Numbers that are not finite are strings: "
        '"nan", "inf".\nLosses are means over the updates since the event before, weighted by units (target tokens, or '
        "utterances).\n\n"
    )
    return head + events.markdown()


def main() -> None:
    for name, made in (("keys.md", keys()), ("commands.md", commands()), ("events.md", events_page())):
        (REFERENCE / name).write_text(made, encoding="utf-8")
        print(f"Wrote {REFERENCE / name}")


if __name__ == "__main__":
    main()
