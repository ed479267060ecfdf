"""A corpus of signed sentences of your own: a list of landmark files and their glosses -> utterances.

The list is that of local/table.py (CSV, TSV or JSONL, one file or one a split), with more names for its columns:

    audio     also landmarks      .npy, .npz or .pose, see `carryover.data.landmarks.read`
    text      also gloss, glosses the glosses, separated by spaces
    speaker   also signer, signer_id
    fps       fps                 (optional) frames a second of files that do not tell their own

Videos become landmark files by `extract`, or by pose-format's own command, `video_to_pose --format mediapipe -i a.mp4
-o a.pose`.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from carryover import files
from carryover.data.landmarks import Layout
from carryover.data.table import found_at
from carryover.data.utterance import Utterance
from local import table

ALIASES = {field: names for field, names in table.ALIASES.items() if field not in ("start", "end", "duration")} | {
    "audio": (*table.ALIASES["audio"], "landmarks"),
    "text": (*table.ALIASES["text"], "gloss", "glosses"),
    "speaker": (*table.ALIASES["speaker"], "signer", "signer_id"),
    "fps": ("fps",),
}
HOLISTIC = Layout.holistic()


def utterances(
    data_folder: str | Path, language: str, splits: Sequence[str], *, fps: float | None = None
) -> Iterator[Utterance]:
    """What a list of landmark files of one's own holds; `audio` of an utterance is the landmark file's path.

    Parameters
    ----------
    data_folder, language, splits
        As `local.table.utterances`; the language is e.g. "gsg" (ISO 639-3 for German Sign Language).
    fps : float, optional
        Frames a second where neither the file nor the list tells.

    Raises
    ------
    ValueError
        Where the list, a column, a split or the language is not there, or a line of it is broken.
    """
    rows = table.rows(data_folder, language, splits, ALIASES)
    for row, utterance in table.of_rows(rows, language):
        yield replace(utterance, fps=_rate(row, data_folder, fps))


def glosses(data_folder: str | Path, language: str, *, target_text: Callable[[str], str] = str) -> list[str]:
    """The training split's glosses, sorted: what the head of a model has units for.

    Parameters
    ----------
    data_folder, language
        As `utterances`.
    target_text : callable
        Text -> what is learned of it, as the YAML's.

    Raises
    ------
    ValueError
        As `utterances`.
    """
    rows = table.rows(data_folder, language, ["train"], ALIASES)
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
        raise ValueError(f"{video}: {found_at(video)}; expected a video that OpenCV reads; convert it with ffmpeg")
    with files.beside(out) as partial:
        np.savez_compressed(partial, landmarks=np.stack(frames), fps=np.float32(fps))


def _points(found: object, group: str, size: int, width: int, height: int) -> np.ndarray:
    """(points, 4) float32 of one group of a frame, zeros where MediaPipe did not find it."""
    # MediaPipe's names: pose_landmarks, face_landmarks, left_hand_landmarks, right_hand_landmarks
    points = getattr(found, f"{group.replace(' ', '_')}_landmarks")
    if points is None:
        return np.zeros((size, 4), np.float32)
    seen = [p.visibility if group == "pose" else 1.0 for p in points.landmark]
    places = [(p.x * width, p.y * height, p.z * width) for p in points.landmark]
    return np.column_stack([places, seen]).astype(np.float32)
