"""A folder of recordings in which nobody speaks, to be learned with an empty transcript -> training utterances.

    corpus: !name:local.mixed.utterances
        corpora:
            - {name: speech, corpus: !name:local.common_voice.utterances }
            - {name: noise, corpus: !name:local.noise.utterances , data_folder: /data/musan/noise, weight: 0.1}

What a decoder says of noise is made up; clips of noise teach it to say nothing. Models with CTC refuse them: they have
their blank, and no batch without a symbol. Music with words is no noise.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

from carryover.data import audio_check, parts
from carryover.data.audio import ENDINGS
from carryover.data.table import found_at
from carryover.data.utterance import Utterance

SHORTEST = 1.0  # seconds of the last stretch of a recording


def utterances(
    data_folder: str | Path, language: str, splits: Sequence[str], *, seconds: float = 10.0
) -> Iterator[Utterance]:
    """Stretches of all recordings below a folder, in alphabetical order; of other splits than train, none.

    Parameters
    ----------
    data_folder : path
        E.g. MUSAN's noise/ (https://www.openslr.org/17).
    language : str
        Of the speech that it is mixed with.
    splits : sequence of str
    seconds : float
        Length of a stretch; a last one below 1 s is left out.

    Raises
    ------
    ValueError
        Where there is no recording.
    """
    if seconds < SHORTEST:
        raise ValueError(f"seconds: {seconds:g}; expected {SHORTEST:g} or more, below the model's window, e.g. 10")
    home = Path(data_folder).expanduser()
    files = sorted(path for path in home.rglob("*") if path.suffix.lower() in ENDINGS)
    if not files:
        raise ValueError(f"data_folder: '{home}' {found_at(home)}; expected recordings of noise: {', '.join(ENDINGS)}")
    for path in files if "train" in splits else ():
        name, length = "-".join(path.relative_to(home).with_suffix("").parts), audio_check.seconds(str(path))
        stretches = max(1, int(length // seconds) + (length % seconds >= SHORTEST))
        for n in range(stretches):
            end = min(length, (n + 1) * seconds)
            audio = parts.named(str(path), n * seconds, end) if length > seconds else str(path)
            yield Utterance(f"{name}-{n:04d}", audio, language, "", "", "train", wordless=True)
