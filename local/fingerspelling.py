"""Real hands for the sign recipe: words spelled by joining finger-spelled letters, in sign languages that it never saw.

Reads the finger-spelling lexicon of spoken-to-signed-translation (MIT) as MediaPipe landmarks: a folder with
manifest.tsv (path, sign_language, spoken_language, gloss, frames, fps, hand_confidence) and .npy files in
`Layout.hands_and_arms()`, about one sample of each letter and language. A word's letters are joined with short
interpolated ways between them, all of one language; each letter is a gloss, so the word error rate of a run is its
letter error rate. Sign languages of validation and test are not in training, and neither are their words: what carries
over is how letters look alike across languages and signers, with one sample of each to learn from.
"""

import hashlib
import random
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch

from carryover import files
from carryover.data import landmarks
from carryover.data.landmarks import Layout
from carryover.data.table import found_at, read_table
from carryover.data.utterance import Utterance
from local.landmarks import vocabulary
from local.made_once import make_once

VERSION = 1  # of the joining: raise it when the same plan would be joined differently
FPS = 25.0
LAYOUT = Layout.hands_and_arms()
COLUMNS = ("path", "sign_language", "gloss", "fps")
LANGUAGES = {"test": 3, "valid": 2}  # sign languages; the others are for training
# Dutch, English and German, every letter in at least eight of them; J, Q, V, X, Y and Z are why some look as they do
WORDS = (
    "ABEND AFFE ANKER APFEL AXT BAUM BERG BLUME BOOT BOX BRIEF BROT BRUG BUCH CHEF CITY CLUB CODE COMIC DACH DANK "
    "DORF DRAAK DUIF ECHO EIER EXTRA FAX FELD FENSTER FIETS FISCH FLUSS FOX FUCHS GABEL GARTEN GELB GLAS GRAS HAND "
    "HAUS HAVEN HEXE HOLZ HUND INSEL JACKE JACHT JAHR JAZZ JOGGEN JOKER JUDO JULI JUNG KAFFEE KATZE KIJK KIND "
    "KLAVIER KUCHEN KWART LAMPE LEHRER LEVEN LICHT LOEWE LUXUS MAERZ MAX MILCH MIXER MOND MUSIK NACHT NEVEL NEXT "
    "NIXE NYLON OBST OLIVE ONYX OPA OXID PARTY PFERD PILZ PIXEL PIZZA PLATZ PONY PUPPE QUADRAT QUAK QUAL QUARZ "
    "QUELLE QUER QUIZ QUOTE RABE RADIO REGEN RELAX RIVIER ROLLE ROSE SAFT SALZ SCHAF SCHIFF SCHULE SESSEL SEXTANT "
    "SOMMER SQUASH STADT STRAND TAG TAXI TEXT TISCH TRAUM TYP UHR UIL URLAUB VASE VATER VIER VIJF VOGEL VOLK WAGEN "
    "WALD WASSER WEG WELT WIND WOLKE WORT XYLOPHON YACHT YOGA YPSILON ZAHN ZEBRA ZEIT ZIMMER ZUCKER ZUG ZWEI ZYKLUS"
).split()


@dataclass(frozen=True)
class Letter:
    """One sample: where it is, and its frames a second."""

    path: str
    fps: float


@dataclass(frozen=True)
class Spelling:
    """One word to be joined."""

    ID: str
    word: str
    sign_language: str


def utterances(
    data_folder: str | Path,
    language: str,
    splits: Sequence[str],
    *,
    seed: int = 1234,
    cache: str | Path = "data/fingerspelling",
    words: Sequence[str] = tuple(WORDS),
    train: int = 600,
    valid: int = 50,
    test: int = 100,
    fewest_languages: int = 12,
) -> Iterator[Utterance]:
    """The joined words, of which what is missing is made first. `audio` is the landmark file, `speaker` the language.

    Sequences go to `cache/<split>/<ID>.npy` (float16, (F, 144), 25 frames a second; letters of other rates are
    interpolated). A folder gets its name and its `.done` only when complete, and is kept until an argument, a word or a
    letter's file changes.

    Parameters
    ----------
    data_folder : path
        The lexicon: manifest.tsv and its files. Nothing is written there.
    language : str
        What the manifests call it.
    splits : sequence of str
        Any of "train", "valid", "test".
    seed : int
        Decides which languages and words are whose, and the ways between letters.
    cache : path
        Where joined sequences are kept, for all runs.
    words : sequence of str
        Words to spell, in the lexicon's letters; one that no language can spell is an error.
    train, valid, test : int
        Joined words of each split, no word twice in the same sign language.
    fewest_languages : int
        A letter is used when so many sign languages have it. A language is used when it has two thirds of these.

    Raises
    ------
    ValueError
        For a folder that is no such lexicon, a letter's file that is broken, too few languages or words.
    """
    sizes = {"train": train, "valid": valid, "test": test}
    letters = _letters(Path(data_folder).expanduser(), fewest_languages)
    plans = {split: plan(letters, split, sizes, words, seed) for split in splits}
    for split, planned in plans.items():
        used = sorted({(s.sign_language, letter) for s in planned for letter in s.word})
        sha = hashlib.sha256(repr(planned).encode())
        for sign_language, letter in used:
            sample = letters[sign_language][letter]
            sha.update(f"{sign_language} {letter} {sample.fps}".encode() + Path(sample.path).read_bytes())
        settings = {"version": VERSION, "seed": seed, "letters": sha.hexdigest()}
        home = Path(cache) / split
        make_once(home, settings, partial(_write, planned, letters, seed))
        for s in planned:
            audio, text = (home / f"{s.ID}.npy").as_posix(), " ".join(s.word)
            yield Utterance(s.ID, audio, language, s.sign_language, text, split, fps=FPS)


def glosses(
    data_folder: str | Path,
    language: str,
    *,
    target_text: Callable[[str], str] = str,
    fewest_languages: int = 12,
) -> list[str]:
    """The letters that enough sign languages have, sorted; arguments as `utterances`."""
    letters = _letters(Path(data_folder).expanduser(), fewest_languages)
    return vocabulary(target_text(letter) for found in letters.values() for letter in found)


def plan(
    letters: dict[str, dict[str, Letter]], split: str, sizes: dict[str, int], words: Sequence[str], seed: int
) -> list[Spelling]:
    """Every joined word of a split, fixed by its arguments.

    Languages and words are dealt to the splits by the SHA-256 of seed and name: 3 languages and a quarter of the words
    to test, 2 and a fifth to validation, the others to training.
    """
    if split not in sizes:
        raise ValueError(f"splits: found '{split}'; local.fingerspelling has {', '.join(sizes)}")
    if sizes[split] < 1:
        raise ValueError(f"{split}: found {sizes[split]}; expected a number of words above 0, e.g. 100")
    words = [unicodedata.normalize("NFC", word) for word in words]
    known = {letter for found in letters.values() for letter in found}
    if strange := sorted(word for word in words if not set(word) <= known):
        raise ValueError(
            f"words: {', '.join(strange[:5])} cannot be spelled in any sign language; the letters are "
            f"{''.join(sorted(known))}"
        )

    def dealt(names: Sequence[str], test: int, valid: int) -> list[str]:
        order = sorted(set(names), key=lambda name: hashlib.sha256(f"{seed} {name}".encode()).digest())
        return {"test": order[:test], "valid": order[test : test + valid], "train": order[test + valid :]}[split]

    languages = dealt(list(letters), *LANGUAGES.values())
    mine = dealt(words, len(set(words)) // 4, len(set(words)) // 5)
    chance = random.Random(f"{seed} {split} words")
    pairs = [(one, word) for one in languages for word in mine if set(word) <= letters[one].keys()]
    if len(pairs) < sizes[split]:
        raise ValueError(
            f"{split}: {sizes[split]} words asked for, but {len(languages)} sign languages ({', '.join(languages)}) "
            f"spell {len(mine)} words in {len(pairs)} ways; ask for fewer, or give more words"
        )
    chosen = chance.sample(pairs, sizes[split])
    return [Spelling(f"{split}_{i:05d}", word, one) for i, (one, word) in enumerate(chosen)]


def _letters(data_folder: Path, fewest_languages: int) -> dict[str, dict[str, Letter]]:
    """Samples by sign language and letter, of those that are used."""
    path = data_folder / "manifest.tsv"
    if not path.is_file():
        raise ValueError(
            f"data_folder: '{data_folder}' {found_at(data_folder)}; expected the finger-spelling lexicon with "
            f"manifest.tsv ({', '.join(COLUMNS)}, ...)"
        )
    found: dict[str, dict[str, Letter]] = defaultdict(dict)
    for line, row in read_table(path):
        if lacking := [column for column in COLUMNS if column not in row]:
            raise ValueError(f"{path}: no column {lacking[0]}; found {', '.join(row)}; expected {', '.join(COLUMNS)}")
        letter = unicodedata.normalize("NFC", row["gloss"])
        if letter in found[row["sign_language"]]:
            raise ValueError(f"{path}:{line}: '{letter}' of {row['sign_language']} comes twice; drop one")
        found[row["sign_language"]][letter] = Letter(str(data_folder / row["path"]), float(row["fps"]))
    counts = Counter(letter for letters in found.values() for letter in letters if len(letter) == 1)
    kept = {letter for letter, n in counts.items() if n >= fewest_languages}
    used = {
        language: {letter: sample for letter, sample in letters.items() if letter in kept}
        for language, letters in sorted(found.items())
        if 3 * len(kept & letters.keys()) >= 2 * len(kept)
    }
    if not kept or len(used) <= sum(LANGUAGES.values()):
        raise ValueError(
            f"{path}: {len(kept)} letters in at least {fewest_languages} of {len(found)} sign languages, "
            f"{len(used)} languages with two thirds of these; expected more than {sum(LANGUAGES.values())} languages, "
            "so that training, validation and test have their own; lower fewest_languages"
        )
    return used


def _write(planned: list[Spelling], letters: dict[str, dict[str, Letter]], seed: int, folder: Path) -> None:
    read: dict[Letter, torch.Tensor] = {}
    rows = [("ID", "sign_language", "frames", "word")]
    for s in planned:
        samples = [letters[s.sign_language][letter] for letter in s.word]
        read |= {sample: _read(sample) for sample in samples if sample not in read}
        array = join([read[sample] for sample in samples], random.Random(f"{seed} joined {s.ID}"))
        array = array.numpy().astype(np.float16)
        np.save(folder / f"{s.ID}.npy", array.reshape(len(array), -1))
        rows.append((s.ID, s.sign_language, str(len(array)), s.word))
    files.write(folder / "list.tsv", "".join("\t".join(row) + "\n" for row in rows))


def _read(sample: Letter) -> torch.Tensor:
    """One letter (F, 48, 3) at 25 frames a second, checked as preparation checks a file."""
    try:
        landmarks.inspect(sample.path, LAYOUT, sample.fps)
    except ValueError as error:
        raise ValueError(f"{sample.path}: {error}; correct it, or drop its row of manifest.tsv") from error
    array = torch.from_numpy(landmarks.read(sample.path, LAYOUT).array)
    return landmarks.resample(array, max(1, round(len(array) * FPS / sample.fps)))


def join(letters: Sequence[torch.Tensor], chance: random.Random) -> torch.Tensor:
    """Sequences (F, 48, 3) -> one, with 3 to 7 interpolated frames between two.

    A hand that is missing where one ends or the next begins is not interpolated: it comes or goes halfway.
    """
    parts = [letters[0]]
    for after in letters[1:]:
        ends = torch.stack([parts[-1][-1], after[0]])
        parts += [landmarks.resample(ends, 2 + chance.randint(3, 7))[1:-1], after]
    return torch.cat(parts)
