"""Which input pixels each position along one axis of a feature map sees.

A window is a pair of arrays, not a single number: behind a transposed convolution or an interpolation the positions
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
    """The input seen along one axis.

    Attributes:
        low, high: (n,) first and last input pixel seen by each position.
        stride: input pixels from one position to the next.
        period: positions after which the windows repeat, moved by `period * stride`.
        moves: False once something that stands for the whole axis (global pooling, flattening) came in.
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
        """Input pixels that the position with the widest view sees."""
        seen = self.high >= self.low
        return int((self.high - self.low)[seen].max()) + 1 if seen.any() else 0

    @classmethod
    def of_image(cls, size: int) -> "AxisField":
        edges = np.arange(size, dtype=np.float64)
        return cls(edges, edges)

    def at(self, positions: Positions) -> tuple[Edges, Edges]:
        """Windows at these positions; those outside continue the pattern inside."""
        n = len(self)
        period = min(self.period, n)
        laps = np.where(positions < 0, positions // period, 0)
        laps = np.where(positions >= n, -((n - 1 - positions) // period), laps)
        inside = positions - laps * period
        shift = laps * (period * self.stride) if self.moves else np.zeros(len(positions))
        return self.low[inside] + shift, self.high[inside] + shift

    def take(self, positions: Positions) -> "AxisField":
        """The windows at these positions and no others."""
        low, high = self.at(positions)
        return replace(self, low=low, high=high)

    def scaled(self, step: int) -> "AxisField":
        """The same windows, where a step to the next position is `step` of the former ones."""
        return replace(self, stride=self.stride * step, period=lcm(self.period, abs(step)) // abs(step))

    def whole(self) -> "AxisField":
        """One window around all of them, for what mixes the whole axis."""
        return replace(self, low=self.low.min(keepdims=True), high=self.high.max(keepdims=True), period=1, moves=False)

    def slide(self, size: int, *, kernel: int, stride: int = 1, padding: int = 0, dilation: int = 1) -> "AxisField":
        """`size` windows of a convolution or pooling, each around `kernel` of these."""
        start = np.arange(size) * stride - padding
        taps = [self.at(start + tap * dilation) for tap in range(kernel)]
        period = lcm(self.period, stride) // stride
        return self._around(taps, stride=self.stride * stride, period=period)

    def spread(self, size: int, *, kernel: int, stride: int = 1, padding: int = 0, dilation: int = 1) -> "AxisField":
        """`size` windows of a transposed convolution; a position that no tap reaches sees nothing."""
        taps = []
        for tap in range(kernel):
            reach = np.arange(size) + padding - tap * dilation
            low, high = self.at(reach // stride)
            hit = reach % stride == 0
            taps.append((np.where(hit, low, np.inf), np.where(hit, high, -np.inf)))
        return self._around(taps, stride=self.stride / stride, period=self.period * stride)

    def resample(self, size: int, sources: list[Positions]) -> "AxisField":
        """`size` windows, each around the positions with the same place in `sources`."""
        clipped = [self.at(np.clip(source, 0, len(self) - 1)) for source in sources]
        shared = np.gcd(size, len(self))
        period = lcm(self.period, len(self) // shared) // (len(self) // shared) * (size // shared)
        return self._around(clipped, stride=self.stride * len(self) / size, period=int(period))

    def repeat(self, size: int, *, times: int) -> "AxisField":
        """`size` windows, `times` neighbours having the same one."""
        repeated = self.take(np.minimum(np.arange(size) // times, len(self) - 1))
        return replace(repeated, stride=self.stride / times, period=self.period * times)

    def union(self, other: "AxisField") -> "AxisField":
        """The windows of what is added or joined from two branches.

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
