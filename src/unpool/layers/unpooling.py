"""Two unpoolings without switches; the third, with switches, is `layers.pooling.MaxUnpool`."""

from torch import Tensor, nn


class NearestUnpool(nn.Module):
    """Repeats each value over a block: (B, C, H, W) -> (B, C, factor * H, factor * W).

    Average pooling by the same factor is its inverse.

    Raises:
        ValueError: `factor` is below 1.
    """

    def __init__(self, factor: int = 2) -> None:
        super().__init__()
        _check(factor)
        self.factor = factor

    def forward(self, x: Tensor) -> Tensor:
        # plain "nearest" rounds the source position down and misses it at factors such as 49
        return nn.functional.interpolate(x, scale_factor=float(self.factor), mode="nearest-exact")

    def extra_repr(self) -> str:
        return f"factor={self.factor}"


class BedOfNails(nn.Module):
    """Writes each value to the top left of a block of zeros: (B, C, H, W) -> (B, C, factor * H, factor * W).

    Raises:
        ValueError: `factor` is below 1.
    """

    def __init__(self, factor: int = 2) -> None:
        super().__init__()
        _check(factor)
        self.factor = factor

    def forward(self, x: Tensor) -> Tensor:
        zeros = self.factor - 1
        x = nn.functional.pad(x[:, :, :, None, :, None], (0, zeros, 0, 0, 0, zeros))  # (B, C, H, factor, W, factor)
        return x.flatten(4, 5).flatten(2, 3)

    def extra_repr(self) -> str:
        return f"factor={self.factor}"


def _check(factor: int) -> None:
    if factor < 1:
        raise ValueError(f"factor is {factor}; give how many times higher and wider the output is, 1 or more")
