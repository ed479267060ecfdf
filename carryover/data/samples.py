"""What the samples of a recording say: whether there is anything to hear, and whether it was recorded well."""

import math

import numpy as np

SILENT = 2**-14  # from lowest to highest sample, full scale 1: two steps of 16 bits, which is dither
QUIET = 1e-3  # highest sample of a recording that is hardly to be heard: -60 dB
CLIPPED = 0.01  # share of samples at full scale
OFFSET = 0.1  # mean of a recording whose zero is not at zero


class Samples:
    """Counts over a recording's blocks.

    Attributes
    ----------
    frames : int
        Samples of one channel.
    """

    def __init__(self):
        self.frames, self.nan, self.infinite, self.first = 0, 0, 0, None
        self.low, self.high, self.sum, self.peak, self.full = math.inf, -math.inf, 0.0, 0.0, 0
        self._low = self._high = None  # of each channel
        self.channels = 1

    def add(self, block: np.ndarray) -> int:
        """Count a block (frames, channels); -> its frames."""
        if not len(block):
            return 0
        finite = np.isfinite(block)
        if not finite.all():
            self.nan += int(np.isnan(block).sum())
            self.infinite += int(np.isinf(block).sum())
            if self.first is None:
                self.first = self.frames + int(np.argmin(finite.all(axis=1)))
        else:
            one = block.shape[1] == 1  # numpy's work along an axis of one costs as much as decoding
            mono = block[:, 0] if one else block.mean(axis=1)
            self.low, self.high = min(self.low, float(mono.min())), max(self.high, float(mono.max()))
            self.sum += float(mono.sum(dtype=np.float64))
            size = np.abs(block)
            self.peak = max(self.peak, float(size.max()))
            loud = size >= 0.999
            self.full += int(np.count_nonzero(loud if one else loud.any(axis=1)))
            low, high = block.min(axis=0), block.max(axis=0)
            self._low = low if self._low is None else np.minimum(self._low, low)
            self._high = high if self._high is None else np.maximum(self._high, high)
        self.channels = block.shape[1]
        self.frames += len(block)
        return len(block)

    def fault(self, rate: int) -> str | None:
        """Why the recording cannot be used, or None."""
        at = f"first at {(self.first or 0) / rate:.2f} s"
        if self.nan:
            return f"audio has samples that are not a number (NaN): {self.nan} of {self.frames}, {at}"
        if self.infinite:
            return f"audio has infinite samples: {self.infinite} of {self.frames}, {at}"
        if self.high - self.low <= SILENT:
            if float((self._high - self._low).max()) > SILENT:
                return f"audio is silent once mixed to one channel: its {self.channels} channels cancel each other"
            return f"audio is silent: its {self.frames} samples differ by no more than {self.high - self.low:.1g} of 1"
        return None

    def remark(self, rate: int) -> str | None:
        """What to know of a recording that can be used, or None."""
        found = []
        mean = self.sum / self.frames
        if self.peak > 1.01:
            found.append(f"audio goes beyond full scale: highest sample {self.peak:.3g} of 1")
        elif self.full > CLIPPED * self.frames:
            found.append(f"audio is clipped: {100 * self.full / self.frames:.1f} % of its samples are at full scale")
        if self.peak < QUIET:
            found.append(f"audio is hardly to be heard: highest sample {self.peak:.2g} of 1")
        if abs(mean) > OFFSET:
            found.append(f"audio has an offset: its mean is {mean:.2f}")
        if rate < 8000:
            found.append(f"audio has a low sampling rate: {rate} Hz, below a telephone's 8000")
        return "; ".join(found) or None
