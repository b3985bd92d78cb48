"""Max pooling that remembers where each maximum was, and its way back (Zeiler et al. 2011; SegNet, arXiv:1511.00561).

`torch.nn.functional.max_unpool2d` goes forward; its own backward reads channels-last memory across the grain and took
3 to 5 times as long as the gather used here (4x64x352x480, two threads, float32 and bfloat16).
"""

from typing import Any

from torch import Tensor, nn
from torch.autograd import Function


class MaxPoolSwitches(nn.Module):
    """2x2 max pooling, sizes rounded up: (B, C, H, W) -> the maxima and their places, both (B, C, H/2, W/2).

    A place is row * W + column in the map that was pooled, int64; the first of equal values is taken.
    """

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return nn.functional.max_pool2d_with_indices(x, (2, 2), ceil_mode=True)


class MaxUnpool(nn.Module):
    """Puts each value back where its maximum was, zeros elsewhere; the inverse of MaxPoolSwitches."""

    def forward(self, x: Tensor, switches: Tensor, size_hw: tuple[int, int]) -> Tensor:
        return max_unpool(x, switches, size_hw)


def max_unpool(x: Tensor, switches: Tensor, size_hw: tuple[int, int]) -> Tensor:
    """Values at their switches in a map of zeros.

    Args:
        x: (B, C, h, w).
        switches: (B, C, h, w) places as MaxPoolSwitches gives them.
        size_hw: height and width of the map that was pooled.

    Returns:
        (B, C, H, W).
    """
    return _MaxUnpool.apply(x, switches, size_hw)  # pyright: ignore[reportReturnType]


class _MaxUnpool(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, switches: Tensor, size_hw: tuple[int, int]) -> Tensor:
        ctx.save_for_backward(switches)
        return nn.functional.max_unpool2d(x, switches, (2, 2), output_size=list(size_hw))

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, None, None]:
        (switches,) = ctx.saved_tensors
        return gather_at(grad_outputs[0], switches), None, None


def gather_at(x: Tensor, switches: Tensor) -> Tensor:
    """(B, C, H, W) -> (B, C, h, w): the values at the switches, in the switches' memory format."""
    batch, channels, height, width = switches.shape
    if switches.is_contiguous():
        return x.flatten(2).gather(2, switches.flatten(2)).view(batch, channels, height, width)
    rows = x.permute(0, 2, 3, 1).flatten(1, 2)  # (B, H*W, C), a view of channels-last memory
    places = switches.permute(0, 2, 3, 1).flatten(1, 2)
    return rows.gather(1, places).view(batch, height, width, channels).permute(0, 3, 1, 2)
