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


@pytest.mark.parametrize("path", files("local"), ids=lambda path: path.stem)
def test_a_corpus_imports_manifests_and_readers_alone(path):
    ours = {name for name in imports(path) if name.startswith("carryover.")}
    assert {name.split(".")[1] for name in ours} <= {"manifest", "landmarks"}


@pytest.mark.parametrize("path", files("carryover/report"), ids=lambda path: path.stem)
def test_the_report_imports_no_training_code(path):
    ours = {name for name in imports(path) if name.startswith("carryover.")}
    assert {name.split(".")[1] for name in ours} <= {"report", "flags", "privacy"}
