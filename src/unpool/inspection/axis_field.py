"""The receptive field of each position of a feature map along one axis.

The window of a position is the pixels of the image from the first to the last that it depends on. There is one window
a position, not one size for all: behind a transposed convolution or an interpolation the positions
of one map see windows of different sizes, and a formula with one size and one stride is wrong there. Positions in the
padding count as if the image went on, as in the usual formula r += (k - 1) d j, j *= s, which this gives for
convolutions and pooling; so a field may be larger than the image.
"""

from dataclasses import dataclass, replace
from math import lcm

import numpy as np

Positions = np.ndarray  # (n,) int64 positions along an axis, some perhaps outside of it
Edges = np.ndarray  # (n,) float64 input coordinates; an empty window is (inf, -inf)


@dataclass(frozen=True, eq=False)
class AxisField:
    """The windows of the n positions along one axis.

    Attributes:
        low, high: (n,) first and last input pixel of each window.
        stride: input pixels from one position to the next.
        period: positions after which the windows repeat, moved by `period * stride`.
        moves: False once an operation on the whole axis (global pooling, flattening) took part.
    """

    low: Edges
    high: Edges
    stride: float = 1.0
    period: int = 1
    moves: bool = True

    def __len__(self) -> int:
        return len(self.low)

    @property
    def size(self) -> int:
        """Pixels of the widest window."""
        seen = self.high >= self.low
        return int((self.high - self.low)[seen].max()) + 1 if seen.any() else 0

    @classmethod
    def of_image(cls, size: int) -> "AxisField":
        edges = np.arange(size, dtype=np.float64)
        return cls(edges, edges)

    def at(self, positions: Positions) -> tuple[Edges, Edges]:
        """Windows at these positions; outside of the axis they continue its pattern."""
        n = len(self)
        period = min(self.period, n)
        laps = np.where(positions < 0, positions // period, 0)
        laps = np.where(positions >= n, -((n - 1 - positions) // period), laps)
        inside = positions - laps * period
        shift = laps * (period * self.stride) if self.moves else np.zeros(len(positions))
        return self.low[inside] + shift, self.high[inside] + shift

    def take(self, positions: Positions) -> "AxisField":
        """Picks the windows at these positions."""
        low, high = self.at(positions)
        return replace(self, low=low, high=high)

    def scaled(self, step: int) -> "AxisField":
        """Keeps the windows, of positions that were `step` positions apart before."""
        return replace(self, stride=self.stride * step, period=lcm(self.period, abs(step)) // abs(step))

    def whole(self) -> "AxisField":
        """Joins all windows into one, for an operation on the whole axis."""
        return replace(self, low=self.low.min(keepdims=True), high=self.high.max(keepdims=True), period=1, moves=False)

    def slide(self, size: int, *, kernel: int, stride: int = 1, padding: int = 0, dilation: int = 1) -> "AxisField":
        """Returns the `size` windows of a convolution or pooling, each around `kernel` windows of its input."""
        start = np.arange(size) * stride - padding
        taps = [self.at(start + tap * dilation) for tap in range(kernel)]
        period = lcm(self.period, stride) // stride
        return self._around(taps, stride=self.stride * stride, period=period)

    def spread(self, size: int, *, kernel: int, stride: int = 1, padding: int = 0, dilation: int = 1) -> "AxisField":
        """Returns the `size` windows of a transposed convolution; that of a position without a tap is empty."""
        taps = []
        for tap in range(kernel):
            reach = np.arange(size) + padding - tap * dilation
            low, high = self.at(reach // stride)
            hit = reach % stride == 0
            taps.append((np.where(hit, low, np.inf), np.where(hit, high, -np.inf)))
        return self._around(taps, stride=self.stride / stride, period=self.period * stride)

    def resample(self, size: int, sources: list[Positions]) -> "AxisField":
        """Returns `size` windows; window i is around the positions `source[i]` of each of the `sources`."""
        clipped = [self.at(np.clip(source, 0, len(self) - 1)) for source in sources]
        shared = np.gcd(size, len(self))
        period = lcm(self.period, len(self) // shared) // (len(self) // shared) * (size // shared)
        return self._around(clipped, stride=self.stride * len(self) / size, period=int(period))

    def repeat(self, size: int, *, times: int) -> "AxisField":
        """Returns `size` windows, each one `times` times."""
        repeated = self.take(np.minimum(np.arange(size) // times, len(self) - 1))
        return replace(repeated, stride=self.stride / times, period=self.period * times)

    def union(self, other: "AxisField") -> "AxisField":
        """Joins the windows of two branches that are added or concatenated, position by position.

        Raises:
            ValueError: the axes have different lengths, neither of them one.
        """
        if len(self) != len(other) and 1 not in (len(self), len(other)):
            raise ValueError(f"branches of {len(self)} and {len(other)} positions cannot be joined")
        steady = min(self, other, key=lambda window: window.period)  # a map resized by an odd factor jitters
        return replace(
            steady if len(steady) > 1 else max(self, other, key=len),
            low=np.minimum(self.low, other.low),
            high=np.maximum(self.high, other.high),
            period=lcm(self.period, other.period),
            moves=self.moves and other.moves,
        )

    def _around(self, taps: list[tuple[Edges, Edges]], *, stride: float, period: int) -> "AxisField":
        low = np.minimum.reduce([tap[0] for tap in taps])
        high = np.maximum.reduce([tap[1] for tap in taps])
        return replace(self, low=low, high=high, stride=stride, period=period)
