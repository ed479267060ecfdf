"""VoxPopuli (https://github.com/facebookresearch/voxpopuli): transcribed speeches of one language -> utterances.

    transcribed_data/nl/asr_{train,dev,test}.tsv    id, raw_text, normalized_text, speaker_id, split, gender; of later
                                                    versions is_gold_transcript and accent, too
    transcribed_data/nl/<year>/<id>.ogg             as voxpopuli.get_asr_data cuts them

The hub's files data/nl/asr_train.tsv with the extracted train_part_0/*.wav have the same columns.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

from carryover.data.table import read_table
from carryover.data.utterance import Utterance
from local.layout import KINDS, official, root_of

TEXTS = ("normalized_text", "raw_text")


def utterances(
    data_folder: str | Path,
    language: str,
    splits: Sequence[str],
    *,
    text: str = "normalized_text",
    gold_only: bool = False,
) -> Iterator[Utterance]:
    """The speeches of one language; the official splits are kept.

    Parameters
    ----------
    data_folder : path
        The language's folder, or one above it: VoxPopuli's root or transcribed_data.
    language : str
        E.g. "nl".
    splits : sequence of str
        Of "train", "valid" (their dev) and "test".
    text : str
        "normalized_text", which published error rates are of, or "raw_text", which is empty in many rows: these are
        refused.
    gold_only : bool
        Refuse what nobody has corrected (is_gold_transcript False).

    Raises
    ------
    ValueError
        Where the folder is not the corpus's, or a column is lacking.
    """
    theirs = official(splits, "VoxPopuli")
    if text not in TEXTS:
        raise ValueError(f"text: '{text}'; expected {' or '.join(TEXTS)}")
    needed = [f"asr_{part}.tsv" for part in theirs.values()]
    below = [f"transcribed_data/{language}", language, f"data/{language}"]
    root = root_of(data_folder, below, needed, f"VoxPopuli's folder of '{language}'")
    at = {path.stem: path for path in sorted(root.rglob("*")) if path.suffix.lower() in KINDS}
    columns = ("id", text, "speaker_id") + (("is_gold_transcript",) if gold_only else ())
    for split, part in theirs.items():
        path = root / f"asr_{part}.tsv"
        for line, row in read_table(path):
            if lacking := [column for column in columns if column not in row]:
                raise ValueError(f"{path}:{line}: no column '{lacking[0]}'; found {', '.join(row)}")
            gold = row.get("is_gold_transcript", "").strip().lower() not in ("false", "0")
            yield Utterance(
                ID=row["id"],
                audio=str(at.get(row["id"], root / row["id"][:4] / f"{row['id']}.ogg")),
                language=language,
                speaker="" if row["speaker_id"] in ("None", "nan") else row["speaker_id"],
                text=row[text].strip(),
                split=split,
                refused=None if gold or not gold_only else "transcript is not a corrected one (is_gold_transcript)",
            )
