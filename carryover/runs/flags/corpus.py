"""Texts and speakers that a test set shares with the training set."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping

from carryover.runs.flags.flag import ADVICE, Flag
from carryover.text import Normaliser


def incomplete(left_out: Mapping[str, str]) -> list[Flag]:
    """Test sets that lost utterances when they were prepared, of `carryover.data.manifest.left_out`."""
    kind = "test set incomplete"
    return [Flag(kind, 0, f"test_{language}: {what}", ADVICE[kind]) for language, what in left_out.items()]


def overlap(
    train_rows: Iterable[Mapping],
    test_rows: Iterable[Mapping],
    name: str = "test",
    normaliser: Callable[[str, str | None], str] = Normaliser(),  # noqa: B008 (without state)
    tolerated: float = 0.01,
) -> list[Flag]:
    """Texts and speakers of a test set that are in training, too.

    In a closed domain texts recur by its nature: that is no fault, but a reader of the WER has to know the share.

    Parameters
    ----------
    train_rows, test_rows : iterables of dict
        Rows of manifests with `text` and `speaker` ("" where unknown, which is left out).
    name : str
        What the test set is called in the evidence.
    normaliser : callable
        Texts are compared under it.
    tolerated : float
        Share of test utterances with a training text that is not worth a line: short phrases (yes, thank you)
        recur in every corpus.
    """
    texts, speakers = set(), set()
    for row in train_rows:
        texts.add(normaliser(row["text"], row.get("language")))
        speakers.add(row["speaker"])
    tested, voices, seen = 0, Counter(), 0
    for row in test_rows:
        tested += 1
        seen += normaliser(row["text"], row.get("language")) in texts
        voices[row["speaker"]] += 1
    found = []
    if seen > tolerated * tested:
        kind = "texts in training"
        evidence = f"{seen} of {tested} utterances of {name} ({100 * seen / tested:.1f} %) have a training text"
        found.append(Flag(kind, 0, evidence, ADVICE[kind]))
    known = [v for v in voices if v and v in speakers]
    if known:
        kind = "speakers in training"
        spoken = sum(voices[v] for v in known)
        evidence = (
            f"{len(known)} of {len([v for v in voices if v])} speakers of {name}, {spoken} of {tested} utterances, "
            "are in training"
        )
        found.append(Flag(kind, 0, evidence, ADVICE[kind]))
    return found
