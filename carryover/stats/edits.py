"""Which errors a set has: words substituted, deleted and inserted; their sum is the WER's numerator."""

from collections.abc import Mapping, Sequence

import jiwer


def edits(rows: Sequence[Mapping]) -> dict[str, int]:
    """Substitutions, deletions and insertions of words over a set, of one shortest alignment of each utterance.

    Where several alignments are as short, jiwer's choice decides how a pair of errors is called; the sum is the same.

    Parameters
    ----------
    rows : list of dict
        Predictions, of which reference_normalised and hypothesis_normalised are read. An empty reference counts every
        word of its hypothesis as inserted.
    """
    pairs = [(row["reference_normalised"], row["hypothesis_normalised"]) for row in rows]
    spoken = [(ref, hyp) for ref, hyp in pairs if ref.split()]
    found = {"substitutions": 0, "deletions": 0, "insertions": 0}
    if spoken:
        measured = jiwer.process_words([ref for ref, _ in spoken], [hyp for _, hyp in spoken])
        found = {key: getattr(measured, key) for key in found}
    found["insertions"] += sum(len(hyp.split()) for ref, hyp in pairs if not ref.split())
    return found
