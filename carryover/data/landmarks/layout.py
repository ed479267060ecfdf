"""Which points a frame of landmarks holds, which of them were not found, and where the shoulders are."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch

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
