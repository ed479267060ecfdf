"""From a corpus to validated manifests: utterances -> checked -> sampled -> decoded -> written.

A file in local/ knows one corpus and yields `Utterance`s; `prepare` does the rest for all of them. What was kept and
what was refused, with a reason each, are together what the corpus listed.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from tqdm import tqdm

from carryover.data import examining, listed, manifest
from carryover.data.home import as_tilde, require_utf8
from carryover.data.limits import Limits
from carryover.data.manifest import STEPS
from carryover.data.sampling import draw, wanted
from carryover.data.utterance import Utterance, listing_digest

CHECKS = ("decoded", "headers")


def prepare(
    corpus: Callable[..., Iterator[Utterance]],
    data_folder: str | Path,
    folder: str | Path,
    language: str,
    splits: Sequence[str],
    limits: Limits,
    *,
    sample: Mapping[str, int | str] | int | str | None = None,
    sample_seed: int = 42,
    workers: int = 2,
    metadata_limits: Limits | None = None,
    check_audio: str = "decoded",
    begun: bool = False,
) -> dict[str, int]:
    """Validate a corpus and write its manifests into `folder`, unless they are there and nothing has changed.

    Four steps, each counted: what the corpus lists; what its metadata allow (the transcript is not empty, and passes
    `metadata_limits` and `limits.metadata`); of that a sample, if one is asked for; of that what has a valid recording
    and passes `limits`. Recordings are opened in the last step alone.

    Parameters
    ----------
    corpus : callable
        `corpus(data_folder, language, splits)` yields all utterances of these splits; one of local/, with its options.
    data_folder : path
        Where the corpus is.
    folder : path
        Gets the manifests; see `carryover.data.manifest.write`.
    language : str
        ISO 639 code, as the corpus has it.
    splits : sequence of str
        E.g. "train", "valid", "test".
    limits : Limits
        The recipe's: what its model can take.
    sample : dict, int or str, optional
        Utterances by split to draw, or of train alone: a number of them, or hours, e.g. "10h". All are used where there
        are not as many. A split that is not among `splits` is passed over: one setting serves the new language and the
        old one, of which only the test set is made.
    sample_seed : int
        Decides which (see `sampling.draw`). It is not the run's seed, so that runs with several seeds learn from one
        sample.
    workers : int
        Threads that examine recordings.
    check_audio : str
        "decoded": each recording to its end, the only honest test; "headers": what its header says, several times as
        fast, and a recording that is silent or damaged in its middle is not found.
    metadata_limits : Limits, optional
        The experiment's, e.g. `MetadataLimits`; only its `metadata` is asked.
    begun : bool
        A run has learned from these manifests: they stay, and a corpus that has changed since is an error.

    Returns
    -------
    counts : dict
        {"train": kept, ..., "rejected": refused}, and "not_sampled" where a sample was asked for; together they are
        what the corpus listed.

    Raises
    ------
    ValueError
        When the corpus has changed and the run has begun, an ID occurs twice in a split, nothing at all is left of a
        split, or a sample cannot be meant; and what the corpus raises.
    """
    utterances, folder = list(corpus(data_folder, language, splits)), Path(folder)
    settings = {"corpus": _named(corpus), "data_folder": data_folder, "language": language, "splits": list(splits)}
    _require_listing(utterances, settings)
    n_of = wanted(sample, splits)
    if n_of:
        settings |= {"sample": n_of, "sample_seed": sample_seed}
    if check_audio not in CHECKS:
        raise ValueError(f"check_audio: '{check_audio}'; expected {' or '.join(CHECKS)}")
    look = limits.glance if check_audio == "headers" else limits.inspect
    settings |= {"check_audio": check_audio} if check_audio != "decoded" else {}
    settings |= {"limits": [asked.settings() for asked in (metadata_limits, limits) if asked is not None]}
    settings = json.loads(as_tilde(json.dumps(settings, sort_keys=True, default=str)))
    listing, journal = listing_digest(utterances), folder / examining.JOURNAL
    done = manifest.read_done(folder)
    if done and (done["settings"], done["listing"]) == (settings, listing):
        journal.unlink(missing_ok=True)
        print(f"Manifests in {folder} are up to date: {manifest.summary(done)}")
        return done["counts"]
    if begun and done and done["settings"] == settings and _still_the_same(folder, utterances, look):
        manifest.mark(folder, done | {"listing": listing})
        print(f"Manifests in {folder} stay: times of files differ, no content does; {manifest.summary(done)}")
        return done["counts"]

    contents: dict[tuple[str, str], str] = {}  # digests of recordings
    refused: dict[tuple[str, str], str] = {}  # (split, ID): reason
    for u in tqdm(utterances, desc=f"Metadata of {folder.name}", unit="clip", delay=2):
        if (reason := _metadata(u, metadata_limits, limits)) is not None:
            refused[u.split, u.ID] = reason
    passed = [u for u in utterances if (u.split, u.ID) not in refused]
    drawn = draw(passed, n_of, sample_seed, limits.length)

    kept: dict[str, list[Utterance]] = {split: [] for split in splits}
    forms, sha, remarks = Counter(), hashlib.sha256(), []
    about = {"check_audio": check_audio, "limits": limits.settings()}
    with closing(examining.examine(drawn, look, workers, journal, about, f"Checking {folder.name}")) as examined:
        for u, (found, reason) in examined:
            contents[u.split, u.ID] = listed.REFUSED
            if reason is None:
                duration, form, digest, *said = found
                contents[u.split, u.ID] = digest
                forms[form] += 1
                u = replace(u, duration=duration)
                reason = limits(u)
            if reason is not None:
                refused[u.split, u.ID] = reason
                continue
            sha.update(f"{u.split}\t{u.ID}\t{digest}\t{u.text}\n".encode())
            kept[u.split].append(u)
            remarks += [(u, remark) for remark in (*said, limits.remark(u)) if remark]

    counts = {split: len(rows) for split, rows in kept.items()} | {"rejected": len(refused)}
    if n_of:
        counts["not_sampled"] = len(passed) - len(drawn)
    assert sum(counts.values()) == len(utterances), (counts, len(utterances))
    left = [Counter(u.split for u in us) for us in (utterances, passed, drawn, sum(kept.values(), []))]
    steps = {step: {split: n[split] for split in kept} for step, n in zip(STEPS, left, strict=True)}
    _require_nothing_lost(steps, Counter(split for split, _ in refused), n_of)

    rejected = [(u, refused[u.split, u.ID]) for u in utterances if (u.split, u.ID) in refused]
    done = {"settings": settings, "listing": listing, "digest": sha.hexdigest(), "counts": counts, "forms": dict(forms)}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / ".done").unlink(missing_ok=True)  # before anything beside it is another's
    listed.write(folder, utterances, contents)
    done = manifest.write(folder, kept, rejected, steps, done, remarks)
    journal.unlink(missing_ok=True)
    print(f"Manifests in {folder}: {manifest.summary(done)}")
    return counts


def _still_the_same(folder: Path, utterances: list[Utterance], look: Callable) -> bool:
    """Whether a corpus is what the manifests were made of; False where nothing says so.

    Raises
    ------
    ValueError
        When it is not, naming what changed.
    """
    if (found := listed.changes(folder, utterances, look)) is None:
        return False
    lines, contents = found
    if lines:
        raise ValueError(
            f"the corpus of {folder} has changed since this run began: {'; '.join(lines)}. Bring back what was there "
            "to go on, or start a new run with --output_folder or --seed"
        )
    listed.write(folder, utterances, contents)
    return True


def _named(corpus: Callable) -> str | list:
    """A corpus for the settings: its function, and its options where the YAML gives some."""
    function = getattr(corpus, "func", corpus)
    name = f"{function.__module__}.{function.__qualname__}"
    options = getattr(corpus, "keywords", {})
    return [name, {key: _option(value) for key, value in options.items()}] if options else name


def _option(value) -> str | list | dict:
    """An option of a corpus for the settings; one that holds corpora names them, for repr shows where they lie."""
    if isinstance(value, (list, tuple)) and any(callable(part) or isinstance(part, dict) for part in value):
        return [_option(part) for part in value]
    if isinstance(value, dict) and any(callable(part) for part in value.values()):
        return {key: _option(part) for key, part in value.items()}
    return _named(value) if callable(value) else repr(value)


def _require_listing(utterances: list[Utterance], settings: dict) -> None:
    """Raise ValueError where a corpus lists nothing, another split, an ID twice, or a file that no list can name."""
    for u in utterances:
        require_utf8(u.audio)
    if not utterances:
        raise ValueError(f"{settings}: the corpus lists no utterance; check data_folder, language and splits")
    if strange := {u.split for u in utterances} - set(settings["splits"]):
        raise ValueError(f"{settings}: the corpus lists split '{min(strange)}', which was not asked for")
    twice = [key for key, n in Counter((u.split, u.ID) for u in utterances).items() if n > 1]
    if twice:
        split, ID = twice[0]
        files = [u.audio for u in utterances if (u.split, u.ID) == twice[0]]
        raise ValueError(
            f"ID '{ID}' occurs {len(files)} times in split '{split}' ({', '.join(files[:3])}); IDs must be unique: "
            f"remove the repeated rows or give each its own ID ({len(twice)} such IDs in all)"
        )


def _metadata(utterance: Utterance, *limits: Limits | None) -> str | None:
    if utterance.refused:
        return utterance.refused
    if utterance.wordless:
        limits = limits[-1:]  # the recipe's; the experiment's are of texts and votes
    elif not utterance.text.strip():
        return "transcript is empty"
    return next((reason for asked in limits if asked is not None and (reason := asked.metadata(utterance))), None)


def _require_nothing_lost(steps: dict[str, dict[str, int]], refused: Mapping[str, int], n_of: dict) -> None:
    for split in steps[STEPS[0]]:
        available, allowed, sampled, valid = (steps[step][split] for step in STEPS)
        assert available >= allowed >= sampled >= valid, (split, steps)
        n = n_of.get(split, allowed)
        assert isinstance(n, str) or sampled == min(allowed, n), (split, steps, n_of)  # of hours there is no number
        assert available - valid == refused[split] + (allowed - sampled), (split, steps, refused)
