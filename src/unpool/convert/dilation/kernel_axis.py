"""Arithmetic of one axis of a window (a convolution's or a pooling's) that moves onto a finer grid."""

from dataclasses import dataclass

from unpool.convert.dilation.grid_operations import Cut


@dataclass(frozen=True, kw_only=True)
class Window:
    """One axis of a convolution or pooling, and what becomes of it.

    Attributes:
        kernel, stride, dilation: of the network before.
        before, after: its padding.
        ceil: its size is rounded up.
        same: it pads as TensorFlow does, by the size of the map; `before` and `after` say nothing.
        grid: positions between neighbours of its input in the new network.
        step: its stride in the new network.
    """

    kernel: int
    stride: int
    dilation: int
    before: int
    after: int
    ceil: bool = False
    grid: int = 1
    step: int = 1
    same: bool = False

    @property
    def reach(self) -> int:
        """Positions from the first to the last that it sees."""
        return self.dilation * (self.kernel - 1)

    @property
    def is_same(self) -> bool:
        return self.step == self.stride and self.grid == 1

    @property
    def grid_after(self) -> int:
        return self.grid * self.stride // self.step

    @property
    def dilation_after(self) -> int:
        return self.dilation * self.grid

    @property
    def pad_before(self) -> int:
        return self.before * self.grid

    @property
    def pad_after(self) -> int:
        """What keeps the size, where less would lose positions that the image has; else the old one on the grid."""
        if self._is_short:
            return self.reach * self.grid - (0 if self.ceil else self.pad_before)
        return self.after * self.grid + (self.stride - 1 if self.ceil else 0)

    @property
    def cut(self) -> Cut | None:
        """How many of the positions are to be kept, where the padding makes too many; see `on_grid.cut`."""
        slack = self.before + self.after - self.reach - 1
        if self.ceil and self.stride > 1:
            return self.grid, slack + self.stride - 1, self.stride, self.before, self.grid_after
        return (self.grid, slack, self.stride, -1, self.grid_after) if self._is_short else None

    @property
    def _is_short(self) -> bool:
        return not self.same and self.step < self.stride and (self.ceil or self.before + self.after < self.reach)
