"""Replay: some of the old language's utterances go on being heard."""

import random

from carryover import files
from carryover.forgetting import mixing
from carryover.forgetting.method import Method, require_old_clips

FILE = "replay.csv"


class Replay(Method):
    """A share of the old training set is kept and mixed into every epoch of the new one.

    In a sequence the utterances that the run before has kept are kept, too: a third language does not drop the first.

    Parameters
    ----------
    share : float
        In (0, 1]; 1 is joint training, the upper bound.
    seed : int
        Of the draw.
    """

    name = "replay"
    reads = ("train",)

    def __init__(self, share: float, seed: int = 42):
        if not 0 < share <= 1:
            raise ValueError(f"replay: share {share} of the old utterances; give more than 0 and at most 1")
        self.share, self.seed = share, seed

    def check(self, values):
        require_old_clips("Replay", values)

    def mix(self, new, old):
        """The new rows, then the kept old ones by ID; IDs get their language as prefix."""
        kept = random.Random(self.seed).sample(old, max(1, round(self.share * len(old))))
        self.kept = sorted(kept, key=lambda row: row["ID"])
        earlier = self.carried / FILE if self.carried else None
        before = mixing.read(earlier)[1] if earlier and earlier.is_file() else []
        now = {row["language"] for row in new + old}  # of these there is all that is to be had
        before = [row for row in before if row["language"] not in now]
        more = f", and {len(before)} of languages before" * bool(before)
        print(f"Replay: {len(kept)} of {len(old)} old utterances{more} beside {len(new)} new ones")
        self.kept = before + self.kept
        rows = new + self.kept
        return [row | {"ID": f"{row['language']}-{row['ID']}"} for row in rows]

    def carry(self, folder):
        files.write_csv(folder / FILE, list(self.kept[0]), self.kept)

    def describe(self):
        if self.share == 1:
            return "Training uses all training utterances of both languages together (joint training)."
        return (
            f"In replay @[rolnick2019experience], {100 * self.share:g} % of the old language's training utterances are "
            "mixed into those of the new language in every epoch."
        )
