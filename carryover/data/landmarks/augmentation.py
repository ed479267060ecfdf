"""Augmentation of landmarks, before their features: speed, dropped frames, size of the signing, noise."""

import math
from dataclasses import dataclass

import torch

from carryover.data.landmarks.layout import POSITIONS, Layout, missing, shoulders

# Shapes: F frames, P points, C coordinates, W = P * C values a frame


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
