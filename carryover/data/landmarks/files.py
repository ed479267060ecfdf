"""Reading files of landmarks (.npy, .npz, .pose), and whether they can be used."""

import hashlib
import io
import math
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from carryover.data.landmarks.layout import POSITIONS, Layout, shoulders

ENDINGS = (".npy", ".npz", ".pose")
MOST = 2_000_000_000  # bytes of a sequence; 543 points at 60 Hz in float64 have that after 43 minutes

# Shapes: F frames, P points, C coordinates, W = P * C values a frame


@dataclass(frozen=True, eq=False)
class Sequence:
    """One signed utterance: array (F, P, C) float32, and frames a second, None where nobody said."""

    array: np.ndarray
    fps: float | None


def read(path: str | Path, layout: Layout, fps: float | None = None) -> Sequence:
    """Read one file of landmarks.

    Parameters
    ----------
    path : str or Path
        .npy: (F, W) or (F, P, C), any real type, pickles refused. .npz: the same under the key `landmarks`, and if it
        is known a number `fps`. .pose: what pose-format writes, read by it (`pip install -e '.[pose]'`): its
        components in their order without the world landmarks (these are metres, not image positions), the first
        person, and with a layout of 4 coordinates its confidence as the fourth.
    layout : Layout
        Points and coordinates that the file must hold.
    fps : float, optional
        Frames a second of a file that does not tell (.npy never does).

    Raises
    ------
    FileNotFoundError
        When there is no such file.
    ValueError
        Naming the file, when it cannot be read or has another width than the layout.
    ImportError
        For a .pose file without pose-format.
    """
    try:
        return _parse(Path(path), Path(path).read_bytes(), layout, fps)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def inspect(path: str | Path, layout: Layout, fps: float | None = None) -> tuple[float, str, str]:
    """Read a file of landmarks and say how long it is: what preparation asks of each.

    Parameters
    ----------
    path, layout, fps
        As `read`.

    Returns
    -------
    (duration, form, sha256) : tuple
        Seconds; e.g. "25 Hz x 48 points x 3"; digest of the file's bytes.

    Raises
    ------
    ValueError
        With the reason in one line: missing, unreadable, of another width than the layout, empty, with no frame rate,
        with inf or with NaN where no whole group that may be missing is NaN, without shoulders or with shoulders that
        coincide.
    ImportError
        For a .pose file without pose-format: that is no fault of the file.
    """
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise ValueError(f"landmarks cannot be opened: {error.strerror}") from error
    sequence = _parse(Path(path), data, layout, fps)
    array = sequence.array
    if len(array) == 0:
        raise ValueError("landmarks are empty (0 frames)")
    if sequence.fps is None:
        raise ValueError(
            f"landmarks tell no frame rate: a {Path(path).suffix} file without `fps`; give fps in the YAML or the list"
        )
    _require_finite(array, layout)
    shoulders(torch.from_numpy(array), layout)
    form = f"{round(sequence.fps, 3):g} Hz x {layout.points} points x {layout.coordinates}"
    return len(array) / sequence.fps, form, hashlib.sha256(data).hexdigest()


def _parse(path: Path, data: bytes, layout: Layout, fps: float | None) -> Sequence:
    """Bytes of a file -> its sequence; ValueError with a reason that does not name the file."""
    ending = path.suffix.lower()
    if ending not in ENDINGS:
        raise ValueError(f"landmarks have an unknown ending: '{path.suffix}', expected one of {', '.join(ENDINGS)}")
    array, own = (_pose if ending == ".pose" else _numpy)(data, layout)
    fps = fps if own is None else own
    if fps is not None and not (math.isfinite(fps) and fps > 0):
        raise ValueError(f"landmarks have no possible frame rate: {fps} Hz")
    if array.dtype.kind not in "fiu":
        raise ValueError(f"landmarks are no numbers: {array.dtype}, expected float32 or another real type")
    if array.ndim == 2 and array.shape[1] == layout.width:
        array = array.reshape(-1, layout.points, layout.coordinates)
    if array.shape[1:] != (layout.points, layout.coordinates):
        found = " x ".join(map(str, array.shape[1:])) or "no"
        raise ValueError(
            f"landmarks do not fit the layout: {found} values a frame, expected {layout.points} x "
            f"{layout.coordinates} = {layout.width} of layout {layout.name}"
        )
    return Sequence(np.ascontiguousarray(array, dtype=np.float32), fps)


def _numpy(data: bytes, layout: Layout) -> tuple[np.ndarray, float | None]:
    if not data.startswith((b"\x93NUMPY", b"PK")):  # np.load would say that it holds a pickle
        raise ValueError("landmarks cannot be read: no file of NumPy's, for it does not begin as .npy or .npz")
    try:
        if data.startswith(b"PK"):
            _require_small(zipfile.ZipFile(io.BytesIO(data)))
        found = np.load(io.BytesIO(data), allow_pickle=False)
        if isinstance(found, np.ndarray):
            return found, None
        if "landmarks" not in found:
            raise ValueError(f"no key 'landmarks', found {', '.join(sorted(found.files)) or 'nothing'}")
        return found["landmarks"], float(found["fps"]) if "fps" in found else None
    except (ValueError, TypeError, EOFError, OSError, MemoryError, zipfile.BadZipFile) as error:
        raise ValueError(f"landmarks cannot be read: {' '.join(str(error).split())}") from error


def _require_small(archive: zipfile.ZipFile) -> None:
    """Raise ValueError where a .npz says that it unpacks to more than `MOST` bytes: a small file can hold any number.

    Zip reads no more of a member than is said here.
    """
    if (size := sum(member.file_size for member in archive.infolist())) > MOST:
        raise ValueError(f"its arrays have {size:,} bytes unpacked, more than the {MOST:,} that a sequence may have")


def _pose(data: bytes, layout: Layout) -> tuple[np.ndarray, float | None]:
    try:
        from pose_format import Pose  # here: an extra, and few corpora come as .pose
    except ImportError as error:
        raise ImportError("a .pose file needs pose-format: pip install -e '.[pose]'", name="pose_format") from error
    try:
        pose = Pose.read(data)
    except (
        Exception
    ) as error:  # whatever its unpacking stumbles over: struct.error, UnicodeDecodeError, ValueError, ...
        raise ValueError(f"landmarks cannot be read: pose-format says {type(error).__name__}: {error}") from error
    body = pose.body
    names = [component.name for component in pose.header.components]
    sizes = [len(component.points) for component in pose.header.components]
    kept = np.repeat([name != "POSE_WORLD_LANDMARKS" for name in names], sizes)
    array = body.data.filled(0)[:, 0, kept]  # (frames, people, P, 3); masked: not found
    if layout.coordinates == array.shape[-1] + 1:
        array = np.concatenate([array, np.asarray(body.confidence)[:, 0, kept, None]], axis=-1)
    return array, float(body.fps)


def _require_finite(array: np.ndarray, layout: Layout) -> None:
    """Raise ValueError for a value that is neither a number nor part of a missing group."""
    if np.isfinite(array).all():
        return
    for group, points in layout.slices.items():
        part = array[:, points]
        bad = ~np.isfinite(part)
        if group in layout.can_miss:
            gone = np.isnan(part[..., :POSITIONS]).all(axis=(1, 2))  # (F,)
            bad[gone] = np.isinf(part[gone])
        if bad.any():
            frame = int(bad.any(axis=(1, 2)).argmax())
            kind = "NaN" if np.isnan(part[frame][bad[frame]]).any() else "inf"
            count = int(bad[frame].any(axis=-1).sum())
            raise ValueError(
                f"landmarks hold {kind}: frame {frame}, {group}, {count} of {layout.groups[group]} points"
                + (" (only a whole group may be missing)" if kind == "NaN" and group in layout.can_miss else "")
            )
