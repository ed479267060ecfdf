"""Whether an exported model writes what the run writes: token for token, on clips of the run's own test list."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from speechbrain.dataio.batch import PaddedBatch
from tqdm import tqdm

from carryover.commands.export.formats import Decoders
from carryover.data import manifest
from carryover.stats import error_rates

SHOWN = 60  # characters of a text in an error


@dataclass
class Clip:
    """A clip as the run itself hears it.

    Attributes
    ----------
    row : dict
        Of the manifest.
    wav : np.ndarray
        (S,) at 16 kHz.
    ids : list of int
        Greedy, without prompt and end.
    text : str
        By the decoding of the run's test.
    """

    row: dict
    wav: np.ndarray
    ids: list[int]
    text: str


class Different(Exception):
    """An export that is not the run's model; its message is for the user."""


def chosen(rows: dict[str, dict], n: int) -> dict[str, dict]:
    """`n` rows at equal distances, or all of them: a list is often sorted by speaker or length."""
    at = np.linspace(0, len(rows) - 1, min(n, len(rows))).round().astype(int)
    listed = list(rows.items())
    return dict(listed[i] for i in at)


def heard(brain, path: Path, n: int) -> Iterator[Clip]:
    """Clips of a test list as the run hears them, one at a time.

    Raises
    ------
    OSError
        For a recording that is gone.
    """
    dataset = brain.dataset(chosen(manifest.load(path), n), [brain.recording()])
    brain.modules.eval()
    for i in range(len(dataset)):
        one = dataset[i]
        batch = PaddedBatch([one]).to(brain.device)
        with torch.no_grad(), brain.evaluation_ctx:
            (ids,), (text,) = brain.tokens(batch), brain.hear(batch)
        yield Clip(one["row"], one["wav"].numpy(), ids, text)


def check(brain, decoders: Decoders, path: Path, n: int, name: str, exact: bool = True) -> str:
    """Compare an export with the run; -> what was found, in a sentence.

    Parameters
    ----------
    brain : carryover.training.brain.RecipeBrain
        With the exported weights loaded.
    decoders : Decoders
    path : Path
        The run's test list.
    n : int
        Clips.
    name : str
        Of the format.
    exact : bool
        Whether every token has to be the same; else the difference in WER is told.

    Raises
    ------
    Different
        Where it has to be and is not.
    """
    differ, ours, theirs, tokens = [], [], [], 0
    clips = tqdm(heard(brain, path, n), desc="Parity", unit="clip", total=n, delay=2)
    for clip in clips:
        found = decoders.tokens(clip.wav)
        tokens += len(clip.ids)
        said = [brain.hparams.tokenizer.decode(ids) for ids in (clip.ids, found)]
        if found != clip.ids:
            differ.append((clip.row["id"], *said))
        elif decoders.text is not None and (text := decoders.text(clip.wav)) != clip.text:
            differ.append((clip.row["id"], clip.text, text))
        for rows, hypothesis in zip((ours, theirs), said, strict=True):
            rows.append(error_rates.score(clip.row, hypothesis, brain.evaluation.normaliser))
    if exact and differ:
        ID, own, other = differ[0]
        raise Different(
            f"{name}: {len(differ)} of {len(ours)} clips of {path} are decoded otherwise than by the run, e.g. {ID}: "
            f"'{own[:SHOWN]}' by the run, '{other[:SHOWN]}' by the export; nothing was written"
        )
    if exact:
        also = ", and the text of transformers' pipeline without further arguments" if decoders.text else ""
        return (
            f"{name}, greedy: the same tokens as the run in all {len(ours)} clips of {path.parent.name}'s test list "
            f"that were compared ({tokens} tokens){also}"
        )
    return f"{name}, greedy, {len(ours)} clips: {_rates(ours, theirs)}; other tokens in {len(differ)} of them"


def _rates(ours: Sequence[dict], theirs: Sequence[dict]) -> str:
    was, now = (error_rates.totals(list(rows)) for rows in (ours, theirs))
    points = f"{now['WER'] - was['WER']:+.2f} points over {was['words']} words"
    return f"WER {was['WER']:.2f} % -> {now['WER']:.2f} % ({points})"
