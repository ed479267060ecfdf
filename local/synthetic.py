"""The embedded corpus: Dutch, German and English sentences of a closed domain, spoken by espeak-ng in many voices.

It lets every recipe run offline from a fresh clone. Sentences come from local/synthetic_sentences.py; test and
validation share neither sentences nor voices with training. local/espeak.py makes the sound.
"""

import hashlib
import importlib.metadata
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path

from tqdm import tqdm

from carryover import files
from carryover.data.utterance import SPLITS, Utterance
from local.espeak import WHEEL, Clip
from local.synthetic_sentences import GRAMMARS, normalise, sentences

VERSION = 1  # of the sound: raise it when the same plan would be spoken differently
TEST = 430  # sentences
SECONDS = {"nl": 2.3, "de": 2.34, "en": 2.2}  # mean length of a clip, measured; turns hours of training into sentences
# A shard is one fresh process, because espeak-ng's samples depend on its earlier calls. The number is fixed: with
# another, the same seed would give other bytes.
SHARDS = {"train": 4, "valid": 1, "test": 2}

# espeak-ng's variants of a voice (female, male). Left out are those that measure unlike speech (whisper, croak,
# Demonic, Storm, klatt, caleb: hardly voiced; zac, Marco, the robots: far from all others) and near-copies of a test
# voice, which would make unseen voices seen: by rms distance of one sentence's log spectra f5 is 1.2 from f2 and aunty
# 1.5 from linda, where two variants differ by 3.4 on average and no training voice is nearer than 2.0 to a test voice.
VOICES = {
    "train": (
        "f3 f4 Alicia Andrea Annie anika grandma shelby steph".split(),
        (
            "m1 m4 m5 m6 m7 m8 Alex Denis Gene Jacky Mario Michael Nguyen antonio benjamin boris ed edward grandpa "
            "gustave iven iven4 john klatt6 marcelo max miguel paul pedro quincy robert"
        ).split(),
    ),
    "valid": (["f1"], ["m2", "norbert"]),
    "test": (["f2", "belinda", "linda"], ["m3", "sandro", "travis"]),
}


def plan(language: str, split: str, seed: int = 1234, hours: float = 2.4, valid: int = 100) -> list[Clip]:
    """Every clip of a split, fixed by its arguments; nothing is synthesised.

    Parameters
    ----------
    language : str
        "nl", "de" or "en".
    split : str
        "train", "valid" or "test".
    seed : int
        Decides sentences, voices and sound.
    hours : float
        Approximate hours of training; the test set's size is fixed.
    valid : int
        Sentences of validation. With another number, training has other sentences.

    Returns
    -------
    list of Clip
        With sentences that occur in no other split.
    """

    def rng(name: str) -> random.Random:
        return random.Random(f"{seed} {language} {name}")

    texts, taken = [], set()
    numbers = {"test": TEST, "valid": valid, "train": max(1, round(hours * 3600 / SECONDS[language]))}
    for name, n in numbers.items():  # test first, so that it does not depend on `hours` and `valid`
        texts = sentences(language, n, rng(name), taken)
        if name == split:
            break
        taken.update(map(normalise, texts))

    chance, clips, decks = rng(f"{split} voices"), [], {}
    for i, text in enumerate(texts):
        sex = i % 2  # women and men alternate; there are fewer women's variants, each speaks more
        if not decks.get(sex):
            decks[sex] = chance.sample(VOICES[split][sex], len(VOICES[split][sex]))
        clips.append(
            Clip(
                ID=f"{language}_{split}_{i:05d}",
                text=text,
                voice=f"{language}+{decks[sex].pop()}",
                rate=chance.randint(130, 200),
                pitch=chance.randint(25, 75),
                range=chance.randint(30, 70),
                level=round(chance.uniform(-25, -6), 2),
                noise=round(chance.uniform(-80, -60), 2),
                lead=round(chance.uniform(0.1, 0.2), 3),
                trail=round(chance.uniform(0.1, 0.2), 3),
                noise_seed=chance.getrandbits(32),
            )
        )
    return clips


def utterances(
    data_folder: str | Path,
    language: str,
    splits: Sequence[str],
    *,
    seed: int = 1234,
    hours: float = 2.4,
    valid: int = 100,
    workers: int | None = None,
) -> Iterator[Utterance]:
    """The clips of the corpus, of which what is missing is synthesised first.

    Audio goes to `data_folder/<language>/<split>/<ID>.wav` (16 kHz, mono, 16 bit) beside a listing `<split>.tsv`. A
    folder gets its name and its `.done` only when complete, and is kept until seed, hours, valid or the generator
    change. The bytes depend on `seed` and not on `workers`.

    Parameters
    ----------
    data_folder : path
        Where audio is kept, for all runs.
    language : str
        "nl", "de" or "en".
    splits : sequence of str
        Any of "train", "valid", "test"; only these are synthesised.
    seed : int
        Decides sentences, voices and sound.
    hours : float
        Approximate hours of training audio.
    valid : int
        Validation clips.
    workers : int, optional
        Shards synthesised at a time; the number of CPUs, at most 4, if not given.

    Raises
    ------
    ValueError
        For a language or split that does not exist, and for hours and validation clips that are not positive.
    ModuleNotFoundError
        When audio must be made and espeakng-loader is not installed.
    """
    if language not in GRAMMARS:
        raise ValueError(f"language: found '{language}'; local.synthetic speaks {', '.join(GRAMMARS)}")
    if unknown := set(splits) - set(SPLITS):
        raise ValueError(f"splits: found '{min(unknown)}'; local.synthetic has {', '.join(SPLITS)}")
    if hours <= 0:
        raise ValueError(f"hours: found {hours}; expected hours of training audio above 0, e.g. 2.4")
    if not isinstance(valid, int) or valid < 1:
        raise ValueError(f"valid: found {valid}; expected a whole number of validation clips, e.g. 400")
    home, plans, wanted, stale = Path(data_folder) / language, {}, {}, []
    for split in splits:
        plans[split] = plan(language, split, seed, hours, valid)
        wanted[split] = {"version": VERSION, "seed": seed, "plan": _digest(plans[split])}
        if split == "train":
            wanted[split]["hours"] = hours
        done = _read_done(home / split)
        if _up_to_date(done, wanted[split]):
            continue
        stale.append(split)
        if done:
            print(f"{home / split} was made with other settings; making it again with seed {seed}, hours {hours}")
    if stale:
        workers = workers or min(4, os.cpu_count() or 1)
        _make(home, {s: plans[s] for s in stale}, {s: wanted[s] for s in stale}, workers)
    for split in splits:
        for clip in plans[split]:
            yield Utterance(
                ID=clip.ID,
                audio=Path(os.path.join(data_folder, language, split, clip.ID + ".wav")).as_posix(),
                language=language,
                speaker=clip.voice,
                text=clip.text,
                split=split,
            )


def _digest(clips: list[Clip]) -> str:
    """Digest of a plan, so that an edit of the grammar or the voices makes the audio again by itself."""
    return hashlib.sha256(json.dumps([asdict(c) for c in clips], sort_keys=True).encode()).hexdigest()


def _read_done(folder: Path) -> dict | None:
    marker = folder / ".done"
    return json.loads(marker.read_text(encoding="utf-8")) if marker.exists() else None


def _up_to_date(done: dict | None, wanted: dict) -> bool:
    return done is not None and wanted.items() <= done.items()


def _make(home: Path, plans: dict[str, list[Clip]], wanted: dict[str, dict], workers: int) -> None:
    """Synthesise splits into temporary siblings, which take the splits' names when they are complete."""
    try:
        wheel = importlib.metadata.version("espeakng-loader")
    except importlib.metadata.PackageNotFoundError as error:
        raise ModuleNotFoundError(
            f"local.synthetic needs espeak-ng to make {home}: pip install {WHEEL}", name="espeakng_loader"
        ) from error
    home.mkdir(parents=True, exist_ok=True)
    for litter in home.glob(".making-*"):  # of a killed synthesis; an hour leaves others that run now alone
        if time.time() - litter.stat().st_mtime > 3600:
            shutil.rmtree(litter, ignore_errors=True)

    temporary = Path(tempfile.mkdtemp(prefix=".making-", dir=home))
    total = sum(map(len, plans.values()))
    try:
        with (
            tqdm(total=total, desc=f"Speaking {home.name}", unit="clip") as bar,
            ThreadPoolExecutor(workers) as pool,
        ):
            shards = {}
            for split, clips in plans.items():
                (temporary / split).mkdir()
                n = SHARDS[split]
                shards[split] = [
                    pool.submit(_run_shard, temporary / split, k, clips[k::n], bar) for k in range(n) if clips[k::n]
                ]
            try:
                made = {split: dict(pair for f in futures for pair in f.result()) for split, futures in shards.items()}
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise
        for split, clips in plans.items():
            _finish(home, temporary / split, clips, made[split], wanted[split] | {"espeakng_loader": wheel})
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _finish(home: Path, folder: Path, clips: list[Clip], made: dict[str, dict], settings: dict) -> None:
    """Write the listing, then the marker, then give the folder its name."""
    assert made.keys() == {c.ID for c in clips}, (folder, len(made), len(clips))
    sha = hashlib.sha256("".join(f"{c.ID} {made[c.ID]['sha256']}\n" for c in clips).encode()).hexdigest()
    seconds = sum(m["seconds"] for m in made.values())
    settings |= {"utterances": len(clips), "hours_made": round(seconds / 3600, 4), "sha256": sha}
    rows = [("ID", "speaker", "seconds", "rate", "pitch", "text")]
    rows += [(c.ID, c.voice, f"{made[c.ID]['seconds']:.4f}", c.rate, c.pitch, c.text) for c in clips]
    listing = folder.parent / f"{folder.name}.tsv"
    files.write(listing, "".join("\t".join(map(str, row)) + "\n" for row in rows))
    files.write_json(folder / ".done", settings)

    target = home / folder.name
    if _up_to_date(_read_done(target), settings):  # another process was faster, and may be reading its files
        return
    if target.exists():  # removed under another name, so that no half-removed folder keeps its marker
        target.rename(folder.parent / f"old-{folder.name}")
    os.replace(listing, home / listing.name)
    folder.rename(target)


def _run_shard(folder: Path, number: int, clips: list[Clip], bar: tqdm) -> list[tuple[str, dict]]:
    """Speak clips in a fresh process; it answers one JSON line a clip."""
    root = str(Path(__file__).resolve().parent.parent)
    path = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
    job = folder.parent.resolve() / f"{folder.name}-{number}.json"
    files.write_json(job, {"folder": str(folder.resolve()), "clips": [asdict(c) for c in clips]}, indent=None)
    made = []
    with subprocess.Popen(
        [sys.executable, "-m", "local.espeak", str(job)],  # multiprocessing's children import the caller's torch
        cwd=root,
        env=os.environ | {"PYTHONPATH": path},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        for line in process.stdout:
            ID, seconds, sha256 = line.split()
            made.append((ID, {"seconds": float(seconds), "sha256": sha256}))
            bar.update()
    if process.returncode:
        raise RuntimeError(f"espeak-ng failed with status {process.returncode} in {folder}; its message stands above")
    return made
