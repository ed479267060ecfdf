"""What a shell offers behind `carryover` when Tab is pressed; read from files, without loading torch.

`carryover --install-completion` writes it for the shell in use, `--show-completion` prints it.
"""

import re
from pathlib import Path

import typer.core
from click.shell_completion import CompletionItem

FILE = Path(__file__).parents[1] / "config" / "presets.yaml"


def yamls(incomplete: str) -> list[str]:
    """Experiments below the working directory's hparams/."""
    return _beginning(sorted(str(path) for path in Path("hparams").rglob("*.yaml")), incomplete)


def plans(incomplete: str) -> list[str]:
    """Plans in the working directory's studies/."""
    return _beginning(sorted(str(path) for path in Path("studies").glob("*.yaml")), incomplete)


def presets(incomplete: str) -> list[str]:
    """Names of presets; behind a comma, of another one."""
    before, comma, last = incomplete.rpartition(",")
    names = re.findall(r"(?m)^(\w+):", FILE.read_text(encoding="utf-8"))
    return [before + comma + name for name in _beginning(names, last)]


def keys(path: str, incomplete: str) -> list[str]:
    """`--key` of a YAML's top level."""
    if not Path(path).is_file():
        return []
    found = re.findall(r"(?m)^([A-Za-z]\w*):", Path(path).read_text(encoding="utf-8", errors="replace"))
    return _beginning([f"--{key}" for key in (*found, "preset")], incomplete)


def _beginning(words: list[str], incomplete: str) -> list[str]:
    return [word for word in words if word.startswith(incomplete)]


class TrainArguments(typer.core.TyperCommand):
    """A command whose other arguments are train.py's: a YAML's keys and presets are offered beside its options."""

    def shell_complete(self, ctx, incomplete):
        path = str(ctx.params.get("path") or "")
        if ctx.args and ctx.args[-1] == "--preset":
            return [CompletionItem(name) for name in presets(incomplete)]
        offered = super().shell_complete(ctx, incomplete)
        return offered + [CompletionItem(key) for key in keys(path, incomplete)] if incomplete[:1] == "-" else offered
