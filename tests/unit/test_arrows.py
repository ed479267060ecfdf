"""Arrows run one way: train.py -> recipes -> carryover; the report reads files only, and training does without it."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def imports(path: Path) -> set[str]:
    """Modules that a file names in its import statements, wherever they stand."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def files(folder: str) -> list[Path]:
    return sorted((ROOT / folder).rglob("*.py"))


def test_training_loads_nothing_of_the_report():
    names = [f"{path.parent.name}.{path.stem}" for path in files("recipes") + files("local") if path.stem != "__init__"]
    code = f"import sys, train, {', '.join(names)}; print([m for m in sys.modules if m.startswith('carryover.report')])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-1000:]
    assert done.stdout.strip().splitlines()[-1] == "[]"


@pytest.mark.parametrize("path", files("carryover"), ids=lambda path: path.stem)
def test_the_library_imports_no_recipe_and_no_corpus(path):
    assert not {name for name in imports(path) if name.split(".")[0] in ("recipes", "local", "train", "tests")}


@pytest.mark.parametrize("path", files("recipes"), ids=lambda path: path.stem)
def test_a_recipe_imports_no_other_recipe_and_no_corpus(path):
    assert not {name for name in imports(path) if name.split(".")[0] in ("recipes", "local", "train", "tests")}


# What each package of the library may import; `commands` and `experiment` may import all of it.
BELOW = {
    "config": set(),
    "data": set(),
    "text": {"data"},
    "stats": {"text"},
    "losses": set(),
    "models": {"text", "data", "losses"},
    "decoding": {"text", "losses"},
    "runs": {"config", "data", "text", "stats"},
    "forgetting": {"models", "data", "losses", "runs"},
    "training": {"forgetting", "models", "data", "text", "losses", "decoding", "runs", "stats"},
    "report": {"runs", "stats", "text"},
    "checks": {"runs", "data"},
}


ALONE = {"checksums", "files", "processes", "seals"}


def packages(path: Path) -> set[str]:
    """Packages of the library that a file imports; the files beside them that import none are for all."""
    return {name.split(".")[1] for name in imports(path) if name.startswith("carryover.")} - ALONE


def test_every_package_has_its_arrows():
    folders = {path.name for path in (ROOT / "carryover").iterdir() if path.is_dir() and path.name[0] not in "._"}
    assert folders == BELOW.keys() | {"commands"}


@pytest.mark.parametrize("path", [p for name in BELOW for p in files(f"carryover/{name}")], ids=lambda p: p.stem)
def test_arrows_run_one_way(path):
    own = path.relative_to(ROOT / "carryover").parts[0]
    assert packages(path) <= BELOW[own] | {own}


@pytest.mark.parametrize("path", files("local"), ids=lambda path: path.stem)
def test_a_corpus_imports_the_data_package_alone(path):
    assert packages(path) <= {"data", "text"}


@pytest.mark.parametrize("path", [*files("recipes"), *ROOT.glob("*.py"), *(ROOT / "carryover").glob("*.py")])
def test_training_imports_neither_report_nor_commands(path):
    assert not packages(path) & ({"report", "commands"} | ({"config"} if path.parent.name == "recipes" else set()))


@pytest.mark.parametrize("folder", ["carryover", "recipes", "local"])
def test_no_file_is_longer_than_350_lines(folder):
    lengths = {path.name: len(path.read_text(encoding="utf-8").splitlines()) for path in files(folder)}
    assert not {name: n for name, n in lengths.items() if n > 350}
