"""A corpus of signed sentences of your own: a list of landmark files and their glosses -> validated manifests.

The list is that of local/manifest.py (CSV, TSV or JSONL, one file or one a split), with more names for its columns:

    audio     also landmarks      .npy, .npz or .pose, see `carryover.data.landmarks.read`
    text      also gloss, glosses the glosses, separated by spaces
    speaker   also signer, signer_id
    fps       fps                 (optional) frames a second of files that do not tell their own

Videos become landmark files by `extract`, or by pose-format's own command, `video_to_pose --format mediapipe -i a.mp4
-o a.pose`. `make_once` serves the corpora that make their own files (synthetic_sign.py, fingerspelling.py).
"""

import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from carryover.data import landmarks, manifest
from carryover.data.landmarks import Layout
from carryover.data.manifest import Utterance
from local import manifest as lists

ALIASES = lists.ALIASES | {
    "audio": (*lists.ALIASES["audio"], "landmarks"),
    "text": (*lists.ALIASES["text"], "gloss", "glosses"),
    "speaker": (*lists.ALIASES["speaker"], "signer", "signer_id"),
    "fps": ("fps",),
}
HOLISTIC = Layout.holistic()


def prepare(
    data_folder: str | Path,
    folder: str | Path,
    language: str,
    splits: Sequence[str],
    check: Callable[[Utterance], str | None],
    seed: int = 1234,
    workers: int = 2,
    *,
    layout: Layout = HOLISTIC,
    fps: float | None = None,
    sample: Mapping[str, int] | int | None = None,
    sample_seed: int = 42,
    metadata_check: Callable[[Utterance], str | None] | None = None,
) -> dict[str, int]:
    """Write the manifests of a corpus of landmarks.

    Parameters
    ----------
    data_folder : path
        The list itself, or the folder that holds it.
    folder : path
        Gets the manifests; see `carryover.data.manifest.build`. Column `audio` holds the landmark file's path.
    language : str
        Code as the list's column `language` has it, e.g. "gsg"; without that column, the language of all rows.
    splits : sequence of str
        Of "train", "valid" and "test", those to read.
    check : callable
        Returns the reason to refuse an Utterance, or None.
    seed : int
        Not used, for `sample_seed` decides a sample. train.py calls every `prepare` alike.
    workers : int
        Threads that read landmarks.
    layout : Layout
        Points and coordinates of all files; a file of another width is refused with a reason.
    fps : float, optional
        Frames a second where neither the file nor the list tells.
    sample, sample_seed, metadata_check
        As in `local.manifest.prepare`.

    Returns
    -------
    counts : dict
        {"train": kept, ..., "rejected": refused}, with a sample also "not_sampled".

    Raises
    ------
    ValueError
        Where the list, a column, a split or the language is not there, or a line of it is broken.
    ImportError
        For .pose files without pose-format.
    """
    rows = lists.rows(data_folder, language, splits, ALIASES)
    rates = {row["file"]: _rate(row, data_folder, fps) for row in rows}
    settings = {
        "corpus": "landmarks",
        "data_folder": Path(data_folder).expanduser(),
        "language": language,
        "splits": list(splits),
        "layout": repr(layout),
        "fps": hashlib.sha256(repr(sorted(rates.items())).encode()).hexdigest(),  # the listing's digest has none
    }

    def inspect(path: str) -> tuple[float, str, str]:
        return landmarks.inspect(path, layout, rates[path])

    drawn = {"sample": sample, "sample_seed": sample_seed, "metadata_check": metadata_check}
    utterances = lists.utterances(rows, language)
    return manifest.build(utterances, folder, check, settings, workers, inspect=inspect, **drawn)


def glosses(data_folder: str | Path, language: str, *, target_text: Callable[[str], str] = str) -> list[str]:
    """The training split's glosses, sorted: what the head of a model has units for.

    Parameters
    ----------
    data_folder, language
        As `prepare`.
    target_text : callable
        Text -> what is learned of it, as the YAML's.

    Raises
    ------
    ValueError
        As `prepare`.
    """
    rows = lists.rows(data_folder, language, ["train"], ALIASES)
    return vocabulary(target_text(row["text"]) for row in rows)


def vocabulary(texts: Iterable[str]) -> list[str]:
    """The glosses of texts, sorted by code point."""
    return sorted({gloss for text in texts for gloss in text.split()})


def _rate(row: dict[str, str], data_folder: str | Path, fps: float | None) -> float | None:
    if not row.get("fps"):
        return fps
    try:
        return float(row["fps"])
    except ValueError as error:
        raise ValueError(
            f"{data_folder}: fps of {row['audio']} is '{row['fps']}'; expected frames a second, e.g. 25; "
            "correct that line"
        ) from error


# ---- for corpora that make their files ----


def make_once(target: Path, settings: dict, make: Callable[[Path], None]) -> str:
    """Fill a folder, unless it is there already and was made with the same settings; -> digest of its files.

    It is filled under another name and gets its own, with a marker `.done`, when it is complete: a killed process
    leaves no half corpus, and the old folder stays until the new one is there.

    Parameters
    ----------
    target : Path
        E.g. data/synthetic_sign/train.
    settings : dict
        All that the files depend on, JSON-serialisable.
    make : callable
        Writes the files into the folder it is given.
    """

    def done() -> dict | None:
        marker = target / ".done"
        return json.loads(marker.read_text(encoding="utf-8")) if marker.exists() else None

    settings = json.loads(json.dumps(settings))
    if (found := done()) and found["settings"] == settings:
        return found["sha256"]
    if found:
        print(f"{target} was made with other settings; making it again")
    target.parent.mkdir(parents=True, exist_ok=True)
    for litter in target.parent.glob(".making-*"):  # of a killed process; an hour leaves others that run now alone
        if time.time() - litter.stat().st_mtime > 3600:
            shutil.rmtree(litter, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=".making-", dir=target.parent) as temporary:
        made = Path(temporary) / target.name
        made.mkdir()
        make(made)
        sha = hashlib.sha256()
        for file in sorted(made.iterdir()):
            sha.update(f"{file.name} {hashlib.sha256(file.read_bytes()).hexdigest()}\n".encode())
        marker = {"settings": settings, "sha256": sha.hexdigest()}
        (made / ".done").write_text(json.dumps(marker, indent=1) + "\n", encoding="utf-8")
        if done() == marker:  # another process was faster, and may be reading its files
            return sha.hexdigest()
        if target.exists():  # removed under another name, so that no half-removed folder keeps its marker
            target.rename(Path(temporary) / "old")
        made.rename(target)
    return sha.hexdigest()


# ---- from video ----


def extract(video: str | Path, out: str | Path) -> None:
    """Landmarks of a video by MediaPipe holistic -> .npz with `landmarks` (F, 543, 4) and `fps`, as Layout.holistic().

    x, y, z in pixels (MediaPipe's are shares of width and height, in which a circle is no circle); visibility of the
    pose as MediaPipe gives it, of face and hands 1 where they were found. What was not found is zero.

    Parameters
    ----------
    video : str or Path
        Anything OpenCV reads.
    out : str or Path
        The .npz file; written beside and renamed.

    Raises
    ------
    ImportError
        Without MediaPipe's holistic solution, which went with its version 0.10.30.
    ValueError
        When the video cannot be read or has no frame.
    """
    try:
        import cv2  # comes with mediapipe
        from mediapipe.python.solutions import holistic
    except ImportError as error:
        raise ImportError(
            "local.landmarks.extract needs MediaPipe's holistic solution: pip install -e '.[mediapipe]', "
            "that is 'mediapipe<0.10.30'",
            name="mediapipe",
        ) from error
    capture = cv2.VideoCapture(str(video))
    try:
        fps, frames = capture.get(cv2.CAP_PROP_FPS), []
        with holistic.Holistic() as tracker:
            while (read := capture.read())[0]:
                found = tracker.process(cv2.cvtColor(read[1], cv2.COLOR_BGR2RGB))
                height, width = read[1].shape[:2]
                frames.append(
                    np.concatenate([_points(found, *group, width, height) for group in HOLISTIC.groups.items()])
                )
    finally:
        capture.release()
    if not frames:
        raise ValueError(
            f"{video}: {manifest.found_at(video)}; expected a video that OpenCV reads; convert it with ffmpeg"
        )
    beside = Path(f"{out}.making.npz")
    np.savez_compressed(beside, landmarks=np.stack(frames), fps=np.float32(fps))
    os.replace(beside, out)


def _points(found: object, group: str, size: int, width: int, height: int) -> np.ndarray:
    """(points, 4) float32 of one group of a frame, zeros where MediaPipe did not find it."""
    # MediaPipe's names: pose_landmarks, face_landmarks, left_hand_landmarks, right_hand_landmarks
    points = getattr(found, f"{group.replace(' ', '_')}_landmarks")
    if points is None:
        return np.zeros((size, 4), np.float32)
    seen = [p.visibility if group == "pose" else 1.0 for p in points.landmark]
    places = [(p.x * width, p.y * height, p.z * width) for p in points.landmark]
    return np.column_stack([places, seen]).astype(np.float32)
