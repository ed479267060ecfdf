"""The training manifest after the methods have mixed old utterances into it."""

import csv
from collections.abc import Sequence
from pathlib import Path

from carryover import files
from carryover.forgetting.method import Method


def mixed(methods: Sequence[Method], new: Path, old: Path | None) -> Path:
    """The training manifest after the methods' `mix`: itself, or train_mixed.csv beside it."""
    if old is None:
        return new
    columns, rows = read(new)
    _, old_rows = read(old)
    found = rows
    for method in methods:
        found = method.mix(found, old_rows)
    if found is rows:
        return new
    path = new.with_name("train_mixed.csv")
    files.write_csv(path, columns, found)
    return path


def read(path: Path) -> tuple[list[str], list[dict]]:
    """Columns and rows of a manifest, as they stand."""
    with open(path, newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        rows = list(reader)
        return reader.fieldnames, rows
