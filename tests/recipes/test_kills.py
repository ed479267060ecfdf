"""A run that is killed in the middle of an operation on its files goes on to the end of the unbroken one.

The long form, at each operation and of all recipes, is benchmarks/kills.py.
"""

import pytest

from benchmarks import killed_at
from benchmarks.kills import Recipe

from .four_recipes import small_runs


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    try:
        killed_at.require()
    except killed_at.NotCounted as error:
        pytest.skip(str(error))
    folder = tmp_path_factory.mktemp("kills")
    return Recipe("sign_teacher", small_runs(folder)["sign_teacher"], folder / "run")


def operation(recipe: Recipe, nth: int, name: str, *parts: str) -> int:
    """Number of the n-th operation (0: the last) of this name on a path with these parts."""
    found = [o for o in recipe.operations if o.name.startswith(name) and all(part in o.path for part in parts)]
    return found[nth - 1].number


@pytest.mark.parametrize(
    "what",
    [
        (2, "write", "save/.partial+CKPT", ".tmp"),  # of safetensors
        (3, "unlink", "save/.partial+deleted"),
        (0, "rename", "save/.partial+deleted"),
        (2, "write", "save/.kept"),
        (5, "write", "metrics.jsonl"),
        (4, "write", "train_log.txt"),
    ],
    ids=[
        "half of the weights",
        "amid a removal",
        "before the last removal",
        "half of kept.json",
        "half of an event",
        "half of a line",
    ],
)
def test_it_ends_as_the_unbroken_run(recipe, what):
    assert recipe.at_operations([operation(recipe, *what)]) == (1, 1)
