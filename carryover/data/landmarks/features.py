"""What a model is given of landmarks: positions relative to the shoulders, and their differences in time."""

from dataclasses import dataclass

import numpy as np
import torch
from torchaudio.functional import compute_deltas

from carryover.data.landmarks.layout import POSITIONS, Layout, missing, shoulders

# Shapes: F frames, P points, C coordinates, W = P * C values a frame


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
