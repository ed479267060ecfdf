"""Landmarks of signers: reading sequences of points, what a model is given of them, and augmentation of them.

A sequence is an array (frames F, points P, coordinates C), float32. The first three coordinates are positions: x to
the image's right, y down, z away from the camera, in any unit; the fourth, where there is one, is MediaPipe's
visibility. A `Layout` says which points are which.

A point that the detector did not find is missing: its position is 0, 0, 0 exactly (as MediaPipe's users and the
pose-format package write it) or NaN. A hand is missing in a frame when all its points are. Missing points are zero in
the features, are never interpolated into being, and get no noise.
"""

import hashlib
import io
import math
import zipfile
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torchaudio.functional import compute_deltas

ENDINGS = (".npy", ".npz", ".pose")
POSITIONS = 3  # x, y, z; what comes after them is no place in space
COINCIDE = 1e-6  # shoulders nearer than this are one point: MediaPipe's are some 0.2 image widths apart, or 200 pixels

# Shapes: F frames, P points, C coordinates, W = P * C values a frame


@dataclass(frozen=True)
class Layout:
    """Which points a frame holds, and in which order.

    Attributes
    ----------
    name : str
        For errors, and for the settings that a corpus was prepared with.
    groups : dict
        Points of each group by its name, in their order in a frame.
    shoulders : (int, int)
        Indices of the signer's left and right shoulder among all points.
    coordinates : int
        C: 3 for x, y, z; 4 with visibility.
    can_miss : tuple of str
        Groups that a detector may miss as a whole in some frames; NaN is allowed there and nowhere else.

    Example
    -------
    >>> Layout.holistic().width, Layout.hands_and_arms().width
    (2172, 144)
    """

    name: str
    groups: dict[str, int]
    shoulders: tuple[int, int]
    coordinates: int = POSITIONS
    can_miss: tuple[str, ...] = ()

    def __post_init__(self):
        if self.coordinates < POSITIONS:
            raise ValueError(f"layout {self.name}: {self.coordinates} coordinates a point; expected x, y, z or more")
        left, right = self.shoulders
        if left == right or not all(0 <= point < self.points for point in self.shoulders):
            raise ValueError(
                f"layout {self.name}: shoulders are {left} and {right}; expected two of its {self.points} points, "
                "counted from 0"
            )
        if strange := set(self.can_miss) - set(self.groups):
            raise ValueError(
                f"layout {self.name}: can_miss names {min(strange)!r}; expected of {', '.join(self.groups)}"
            )

    @classmethod
    def holistic(cls) -> "Layout":
        """MediaPipe holistic, 543 points x (x, y, z, visibility) = 2 172 values a frame.

        Pose 33, face 468, left hand 21, right hand 21: the order in which MediaPipe's results are usually joined
        (pose_landmarks, face_landmarks, left_hand_landmarks, right_hand_landmarks), and that of pose-format's files.
        Within the pose, 11 is the left shoulder and 12 the right one (mediapipe's PoseLandmark); 468 face points are
        those without `refine_face_landmarks`. Other orders exist (the isolated-sign corpus on Kaggle has face, left
        hand, pose, right hand): bring these into this one, for nothing in a file tells.

        Any group may be missing: a hand behind the body, a face behind a hand, everything where no person was found.
        """
        groups = {"pose": 33, "face": 468, "left hand": 21, "right hand": 21}
        return cls("holistic", groups, (11, 12), 4, tuple(groups))

    @classmethod
    def hands_and_arms(cls) -> "Layout":
        """Both hands and arms, 48 points x (x, y, z) = 144 values a frame: right hand 21, left hand 21, arms 6.

        The files of spoken-to-signed-translation's finger-spelling lexicon. The six arm points are, found by their
        medians over 570 files: left shoulder (350, 251), right shoulder (151, 246), right elbow (94, 404), right wrist
        (154, 327: where the right hand's first point is, 152, 318), left elbow (393, 414), left wrist (378, 534: it
        mostly hangs down). Their shoulders are some 200 units apart and every z is about 250. A missing hand is
        written as zeros: the right one in 8 % of the frames, the left one in 80 %; there is no NaN. The left wrist is
        zero by itself in 11 %, which is why missing is asked point by point.
        """
        return cls(
            "hands_and_arms", {"right hand": 21, "left hand": 21, "arms": 6}, (42, 43), 3, ("right hand", "left hand")
        )

    @cached_property
    def points(self) -> int:
        """P, points of a frame."""
        return sum(self.groups.values())

    @property
    def width(self) -> int:
        """W, values of a frame."""
        return self.points * self.coordinates

    @cached_property
    def slices(self) -> dict[str, slice]:
        """Where each group's points are."""
        ends = np.cumsum(list(self.groups.values())).tolist()
        return {name: slice(end - n, end) for (name, n), end in zip(self.groups.items(), ends, strict=True)}

    def require(self, shape: tuple[int, ...]) -> None:
        """Raise ValueError unless a shape is (F, P, C)."""
        if tuple(shape[1:]) != (self.points, self.coordinates) or len(shape) != 3:
            raise ValueError(
                f"landmarks have shape {tuple(shape)}; expected (frames, {self.points}, {self.coordinates}) of layout "
                f"{self.name}"
            )


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
    """Read a file of landmarks and say how long it is: what `carryover.data.manifest.build` asks of each.

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
        found = np.load(io.BytesIO(data), allow_pickle=False)
        if isinstance(found, np.ndarray):
            return found, None
        if "landmarks" not in found:
            raise ValueError(f"no key 'landmarks', found {', '.join(sorted(found.files)) or 'nothing'}")
        return found["landmarks"], float(found["fps"]) if "fps" in found else None
    except (ValueError, TypeError, EOFError, OSError, zipfile.BadZipFile) as error:
        raise ValueError(f"landmarks cannot be read: {' '.join(str(error).split())}") from error


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


def missing(array: torch.Tensor) -> torch.Tensor:
    """(F, P, C) -> (F, P), True where a point was not found: its position is all zero, or NaN."""
    positions = array[..., :POSITIONS]
    return (positions == 0).all(dim=-1) | positions.isnan().any(dim=-1)


def shoulders(array: torch.Tensor, layout: Layout) -> tuple[torch.Tensor, torch.Tensor]:
    """Middle of the shoulders (3,) and their distance, both medians over the frames that have both.

    The distance is that in the image, of x and y: z is the detector's guess, not its measurement. Medians of the whole
    sequence, because a wrong shoulder in one frame would otherwise move and blow up all points of that frame.

    Raises
    ------
    ValueError
        When no frame has both shoulders, and when they coincide.
    """
    both = array[:, list(layout.shoulders), :POSITIONS].float()  # (F, 2, 3)
    both = both[~missing(array[:, list(layout.shoulders)]).any(dim=1)]
    if len(both) == 0:
        raise ValueError(f"shoulders are missing in every frame: points {layout.shoulders} of layout {layout.name}")
    middle = both.mean(dim=1).quantile(0.5, dim=0)
    distance = (both[:, 0] - both[:, 1])[:, :2].norm(dim=-1).quantile(0.5)
    if not distance > COINCIDE:
        raise ValueError(
            f"shoulders coincide: {float(distance):g} apart in the median of {len(both)} frames; points "
            f"{layout.shoulders} of layout {layout.name}"
        )
    return middle, distance


@dataclass(frozen=True)
class Landmarks:
    """What a model is given: shoulder-normalised coordinates, and their first and second differences in time.

    p' = (p - m) / d, with m the middle of the shoulders and d their distance (see `shoulders`); visibility is not
    touched. A missing point is zero then, visibility included. The differences are torchaudio's compute_deltas over
    5 frames, d_t = sum_{n=1,2} n (c_{t+n} - c_{t-n}) / 10, with the first and last frame repeated; second differences
    are the differences of the first. A hand that appears or vanishes makes a step there, as it does for the eye.

    Parameters
    ----------
    layout : Layout
    differences : int
        0: coordinates alone; 1: and first differences; 2: and second ones.

    Example
    -------
    >>> Landmarks(Layout.holistic()).width, Landmarks(Layout.holistic(), differences=0).width
    (6516, 2172)
    """

    layout: Layout
    differences: int = 2

    def __post_init__(self):
        if self.differences not in (0, 1, 2):
            raise ValueError(f"differences: {self.differences}; give 0, 1 or 2")

    @property
    def width(self) -> int:
        """Values a frame: (1 + differences) * P * C."""
        return (1 + self.differences) * self.layout.width

    @torch.no_grad()
    def __call__(self, array: torch.Tensor | np.ndarray) -> torch.Tensor:
        """(F, P, C) of one utterance, without padding -> (F, width) float32.

        Raises
        ------
        ValueError
            For another shape, and for shoulders that are missing or coincide; preparation refuses these.
        """
        parts = [self.normalise(array).flatten(1)]  # (F, W)
        for _ in range(self.differences):
            parts.append(compute_deltas(parts[-1].T).T)
        return torch.cat(parts, dim=1)

    def normalise(self, array: torch.Tensor | np.ndarray) -> torch.Tensor:
        """(F, P, C) -> the same with positions in shoulder widths from mid-shoulder, missing points zero."""
        array = torch.as_tensor(array).float()
        self.layout.require(array.shape)
        middle, distance = shoulders(array, self.layout)
        positions = (array[..., :POSITIONS] - middle) / distance
        points = torch.cat([positions, array[..., POSITIONS:]], dim=-1)
        return points.masked_fill(missing(array)[..., None], 0.0)


def resample(array: torch.Tensor, frames: int) -> torch.Tensor:
    """(F, P, C) -> (frames, P, C), first and last frame kept, linear in between; a missing point is never averaged.

    Where a point is missing in one of the two frames that a new one lies between, the nearer of the two is taken.
    """
    if frames == len(array):
        return array
    at = torch.linspace(0, len(array) - 1, frames, dtype=torch.float64, device=array.device)
    before = at.floor().long()
    after = (before + 1).clamp(max=len(array) - 1)
    share = (at - before).to(array.dtype)[:, None, None]
    gone = missing(array)
    mixed = array[before] + share * (array[after] - array[before])
    return torch.where((gone[before] | gone[after])[..., None], array[at.round().long()], mixed)


@dataclass(frozen=True)
class NoAugmentation:
    """The null object of Augmentation: sequences as they are."""

    changes = False

    def __call__(self, array: torch.Tensor, fewest: int = 1, generator: torch.Generator | None = None) -> torch.Tensor:
        return array


@dataclass(frozen=True)
class Augmentation:
    """Speed, dropped frames, size of the signing and noise, of one sequence before its features.

    It is given one unpadded sequence, so nothing of it can touch padding, and differences are taken of what is then
    signed. Every draw comes from torch's global CPU generator, or the one given, wherever the sequence lies: its state
    is in the checkpoint, so a resumed run draws what the unbroken one would have drawn.

    Parameters
    ----------
    layout : Layout
    prob : float
        Share of sequences that are changed; the others stay as they are, bit for bit.
    speed : (float, float)
        Range of the factor, drawn evenly in its logarithm: 1.25 is a quarter faster and has 1 / 1.25 of the frames,
        interpolated by `resample`. Where no frame with both shoulders would be left, no frame is touched.
    drop : float
        Greatest share of frames that are left out; the share is drawn between 0 and it.
    scale : (float, float)
        Range of the factor by which all points but the shoulders move away from mid-shoulder: longer arms, wider
        signing. (The shoulders must stay, for normalisation would undo a scaling of everything.)
    noise : float
        Standard deviation of normal noise on each position, in shoulder widths.

    Attributes
    ----------
    changes : bool
        Whether it can change anything (`prob` above 0).

    Raises
    ------
    ValueError
        For a value out of its range.
    """

    layout: Layout
    prob: float = 0.8
    speed: tuple[float, float] = (0.8, 1.25)
    drop: float = 0.1
    scale: tuple[float, float] = (0.9, 1.1)
    noise: float = 0.01

    def __post_init__(self):
        for name in ("speed", "scale"):
            low, high = getattr(self, name)
            if not 0 < low <= high:
                raise ValueError(f"{name}: {low} to {high}; give two factors above 0, the smaller one first")
        if not 0 <= self.prob <= 1:
            raise ValueError(f"prob: {self.prob}; give a probability from 0 to 1")
        if not 0 <= self.drop < 1:
            raise ValueError(f"drop: {self.drop}; give a share from 0 to below 1")
        if self.noise < 0:
            raise ValueError(f"noise: {self.noise}; give 0 or more shoulder widths")

    @property
    def changes(self) -> bool:
        return self.prob > 0

    @torch.no_grad()
    def __call__(self, array: torch.Tensor, fewest: int = 1, generator: torch.Generator | None = None) -> torch.Tensor:
        """(F, P, C) of one utterance, without padding -> (F', P, C); the argument is not written to.

        Parameters
        ----------
        array : torch.Tensor
            Float32, on any device.
        fewest : int
            Frames that must be left, e.g. those that CTC needs for the target; a sequence that has no more than these
            is not shortened.
        generator : torch.Generator, optional
            On the CPU; torch's global one if not given.
        """
        self.layout.require(array.shape)
        if self._uniform(0, 1, generator) >= self.prob:
            return array
        fewest = min(fewest, len(array))
        middle, distance = shoulders(array, self.layout)

        low, high = map(math.log, self.speed)
        factor = math.exp(self._uniform(low, high, generator))
        faster = resample(array, max(fewest, round(len(array) / factor)))
        dropped = min(int(self._uniform(0, self.drop, generator) * len(faster)), len(faster) - fewest)
        kept = torch.randperm(len(faster), generator=generator)[dropped:].sort().values
        faster = faster[kept.to(array.device)]
        if not missing(faster[:, list(self.layout.shoulders)]).any(dim=1).all():  # else nothing could normalise it
            array = faster

        scales = torch.full((self.layout.points, 1), self._uniform(*self.scale, generator))
        scales[list(self.layout.shoulders)] = 1.0
        noise = self.noise * torch.randn(*array.shape[:2], POSITIONS, generator=generator)
        positions = array[..., :POSITIONS]
        moved = middle + scales.to(array.device) * (positions - middle) + distance * noise.to(array.device)
        moved = torch.where(missing(array)[..., None], positions, moved)
        return torch.cat([moved, array[..., POSITIONS:]], dim=-1)

    @staticmethod
    def _uniform(low: float, high: float, generator: torch.Generator | None) -> float:
        return low + (high - low) * torch.rand((), generator=generator, dtype=torch.float64).item()
