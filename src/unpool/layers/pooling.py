"""Max pooling that returns the position of each maximum, and unpooling (Zeiler et al. 2011; SegNet, arXiv:1511.00561).

The forward pass of unpooling is `torch.nn.functional.max_unpool2d`, but for a scatter where torch was asked for
deterministic operations only. Its backward pass reads channels-last memory out of
order and took 3 to 5 times as long as the gather used here (4x64x352x480, two threads, float32 and bfloat16).
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import Function


class MaxPoolSwitches(nn.Module):
    """2x2 max pooling, sizes rounded up: (B, C, H, W) -> the maxima and their switches, both (B, C, H/2, W/2).

    A switch is the position of a maximum in the pooled map, row * W + column, int64; of equal values the first counts.
    """

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return nn.functional.max_pool2d_with_indices(x, (2, 2), ceil_mode=True)


class MaxUnpool(nn.Module):
    """Moves each value back to the position of its maximum, zeros elsewhere: the inverse of MaxPoolSwitches."""

    def forward(self, x: Tensor, switches: Tensor, size_hw: tuple[int, int]) -> Tensor:
        return max_unpool(x, switches, size_hw)


def max_unpool(x: Tensor, switches: Tensor, size_hw: tuple[int, int]) -> Tensor:
    """Writes values at their switches into a map of zeros.

    Args:
        x: (B, C, h, w).
        switches: (B, C, h, w), from MaxPoolSwitches.
        size_hw: height and width of the map before the pooling.

    Returns:
        (B, C, H, W).
    """
    return _MaxUnpool.apply(x, switches, size_hw)  # pyright: ignore[reportReturnType]


class _MaxUnpool(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, switches: Tensor, size_hw: tuple[int, int]) -> Tensor:
        ctx.save_for_backward(switches)
        if torch.are_deterministic_algorithms_enabled():  # torch refuses: it cannot know that switches never meet
            return _scatter_at(x, switches, size_hw)
        return nn.functional.max_unpool2d(x, switches, (2, 2), output_size=list(size_hw))

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, None, None]:
        (switches,) = ctx.saved_tensors
        return gather_at(grad_outputs[0], switches), None, None


def _scatter_at(x: Tensor, switches: Tensor, size_hw: tuple[int, int]) -> Tensor:
    zeros = x.new_zeros(*x.shape[:2], size_hw[0] * size_hw[1])
    return zeros.scatter(2, switches.flatten(2), x.flatten(2)).unflatten(2, size_hw)


def gather_at(x: Tensor, switches: Tensor) -> Tensor:
    """Reads the values of `x` (B, C, H, W) at the switches (B, C, h, w) -> (B, C, h, w), in their memory format."""
    batch, channels, height, width = switches.shape
    if switches.is_contiguous():
        return x.flatten(2).gather(2, switches.flatten(2)).view(batch, channels, height, width)
    rows = x.permute(0, 2, 3, 1).flatten(1, 2)  # (B, H*W, C), a view of channels-last memory
    positions = switches.permute(0, 2, 3, 1).flatten(1, 2)
    return rows.gather(1, positions).view(batch, height, width, channels).permute(0, 3, 1, 2)
