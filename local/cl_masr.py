"""CL-MASR's lists of Common Voice (https://github.com/speechbrain/benchmarks), as its script writes them -> utterances.

    CL-MASR/{train,dev,test}.csv             ID, mp3, wrd, locale, duration; all languages in one list
    CL-MASR/<locale>/clips/*.mp3             `mp3` is $data_root/<locale>/clips/...
    CL-MASR/<locale>/{train,dev,test}.tsv    Common Voice's own rows, for speakers and untouched sentences

So a run here learns and is tested on the very clips that the published numbers are of. `wrd` has no commas and no
apostrophes: 's morgens is "s morgens" there.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

from carryover.data.table import read_table, votes
from carryover.data.utterance import Utterance
from local.layout import official, root_of

COLUMNS = ("ID", "mp3", "wrd", "locale")


def utterances(
    data_folder: str | Path, language: str, splits: Sequence[str], *, text: str = "wrd"
) -> Iterator[Utterance]:
    """What the lists hold of one language, in their order; rows of other languages are left out.

    Parameters
    ----------
    data_folder : path
        CL-MASR's data folder.
    language : str
        Common Voice's code, as in the column `locale`.
    splits : sequence of str
        Of "train", "valid" (their dev) and "test".
    text : str
        "wrd", or "sentence" as Common Voice has it, with case, commas and apostrophes.

    Raises
    ------
    ValueError
        Where a list is not there or lists nothing of the language.
    """
    theirs = official(splits, "CL-MASR")
    if text not in ("wrd", "sentence"):
        raise ValueError(f"text: '{text}'; expected wrd or sentence")
    needed = [f"{part}.csv" for part in theirs.values()] + [language]
    root = root_of(data_folder, ["CL-MASR"], needed, "CL-MASR's data folder")
    for split, part in theirs.items():
        path, n = root / f"{part}.csv", 0
        own = _own_rows(root / language / f"{part}.tsv")
        for line, row in read_table(path):
            if lacking := [column for column in COLUMNS if column not in row]:
                raise ValueError(f"{path}:{line}: no column '{lacking[0]}'; found {', '.join(row)}")
            if row["locale"] != language:
                continue
            n += 1
            audio = row["mp3"].replace("$data_root", str(root))
            clip = own.get(Path(audio).name, {})
            yield Utterance(
                ID=row["ID"],
                audio=audio,
                language=language,
                speaker=clip.get("client_id", ""),
                text=row["wrd"] if text == "wrd" else clip.get("sentence", "").strip(),
                split=split,
                votes=votes(clip),
                refused=None if text == "wrd" or clip else f"sentence is unknown: no such row in {language}/{part}.tsv",
            )
        if not n:
            raise ValueError(f"language: {path} lists no row of locale '{language}'; correct language or the list")


def _own_rows(path: Path) -> dict[str, dict[str, str]]:
    """Common Voice's rows by clip; none where the file is not there."""
    return {row["path"]: row for _, row in read_table(path)} if path.exists() else {}
