"""Replay: some of the old language's utterances go on being heard."""

import csv
import random
from pathlib import Path

from carryover.config import settings


def check(text: str, overrides: dict[str, str]) -> None:
    """Raise ValueError where a YAML's replay has nothing to repeat, before what costs time; arguments as ewc.check."""
    values = settings.load_only(text, overrides, ("replay", "old_language", "old_splits"))
    values["replay"].check(values)


class NoReplay:
    """The new language's training manifest alone."""

    def check(self, values: dict) -> None:
        """Raise ValueError where the YAML's old_language and old_splits (`values`) leave nothing to repeat."""

    def mix(self, new: Path, old: Path | None) -> Path:
        """-> path of the manifest to train on."""
        return new


class Replay:
    """A share of the old training set is kept and mixed into every epoch of the new one.

    Parameters
    ----------
    share : float
        In (0, 1]; 1 is joint training, the upper bound.
    seed : int
        Of the draw.
    """

    def __init__(self, share: float, seed: int = 42):
        if not 0 < share <= 1:
            raise ValueError(f"replay: share {share} of the old utterances; give more than 0 and at most 1")
        self.share, self.seed = share, seed

    def check(self, values):
        language, splits = values["old_language"], values.get("old_splits") or []
        if not language or "train" not in splits:
            raise ValueError(
                f"replay has nothing to repeat (old_language: {language or 'null'}, old_splits: {list(splits)}); set "
                "old_language and old_data_folder and let old_splits hold train, or take replay: "
                "!new:carryover.forgetting.NoReplay"
            )

    def mix(self, new, old):
        """Write train_with_replay.csv beside the new language's manifests; IDs get their language as prefix."""
        rows = []
        for path in (new, old):
            with open(path, newline="", encoding="utf-8") as file:
                reader = csv.DictReader(file)
                rows.append(list(reader))
                columns = reader.fieldnames
        kept = random.Random(self.seed).sample(rows[1], max(1, round(self.share * len(rows[1]))))
        path = Path(new).parent / "train_with_replay.csv"
        with open(path, "w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, columns)
            writer.writeheader()
            for row in rows[0] + sorted(kept, key=lambda row: row["ID"]):
                writer.writerow(row | {"ID": f"{row['language']}-{row['ID']}"})
        print(f"Replay: {len(kept)} of {len(rows[1])} old utterances beside {len(rows[0])} new ones")
        return path
