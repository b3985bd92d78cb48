"""Arithmetic of a convolution or pooling along one axis when its map moves onto a finer grid."""

from dataclasses import dataclass

from unpool.convert.dilation.grid_operations import Limit


@dataclass(frozen=True, kw_only=True)
class KernelAxis:
    """A convolution or pooling along rows or columns, in the network before and in the dilated one.

    Attributes:
        kernel, stride, dilation: in the network before.
        before, after: its padding there.
        ceil: the size of its output is rounded up.
        same: it pads as TensorFlow does, by the size of the map; `before` and `after` do not count.
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
        """Positions from the first to the last that the kernel reads."""
        return self.dilation * (self.kernel - 1)

    @property
    def is_unchanged(self) -> bool:
        return self.step == self.stride and self.grid == 1

    @property
    def grid_after(self) -> int:
        """Positions between neighbours of its output in the new network."""
        return self.grid * self.stride // self.step

    @property
    def new_dilation(self) -> int:
        return self.dilation * self.grid

    @property
    def pad_before(self) -> int:
        return self.before * self.grid

    @property
    def pad_after(self) -> int:
        """The old padding on the grid; what keeps the size where that would drop positions of the image."""
        if self._is_short:
            return self.reach * self.grid - (0 if self.ceil else self.pad_before)
        return self.after * self.grid + (self.stride - 1 if self.ceil else 0)

    @property
    def limit(self) -> Limit | None:
        """How many positions to keep where the padding makes too many; see `grid_operations.keep_positions`."""
        slack = self.before + self.after - self.reach - 1
        if self.ceil and self.stride > 1:
            return self.grid, slack + self.stride - 1, self.stride, self.before, self.grid_after
        return (self.grid, slack, self.stride, -1, self.grid_after) if self._is_short else None

    @property
    def _is_short(self) -> bool:
        return not self.same and self.step < self.stride and (self.ceil or self.before + self.after < self.reach)
