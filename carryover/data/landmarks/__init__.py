"""Landmarks of signers: reading sequences of points, what a model is given of them, and augmentation of them.

A sequence is an array (frames F, points P, coordinates C), float32. The first three coordinates are positions: x to
the image's right, y down, z away from the camera, in any unit; the fourth, where there is one, is MediaPipe's
visibility. A `Layout` says which points are which.

A point that the detector did not find is missing: its position is 0, 0, 0 exactly (as MediaPipe's users and the
pose-format package write it) or NaN. A hand is missing in a frame when all its points are. Missing points are zero in
the features, are never interpolated into being, and get no noise.
"""

from carryover.data.landmarks.augmentation import Augmentation, NoAugmentation, resample
from carryover.data.landmarks.features import Landmarks
from carryover.data.landmarks.files import ENDINGS, Sequence, inspect, read
from carryover.data.landmarks.layout import POSITIONS, Layout, missing, shoulders

__all__ = [
    "ENDINGS",
    "POSITIONS",
    "Augmentation",
    "Landmarks",
    "Layout",
    "NoAugmentation",
    "Sequence",
    "inspect",
    "missing",
    "read",
    "resample",
    "shoulders",
]
