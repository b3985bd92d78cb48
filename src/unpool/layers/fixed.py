"""Filters made by hand, as convolutions that are not learned.

The numbers are those of the lectures, applied as our convolutions are, without rotating the filter: Prewitt is positive
where the image grows darker to the right, Sobel where it grows darker downwards. The lectures leave the divisor N of
two filters open; here it is 16 for the blur, which keeps a constant image, and 8 for Sobel, whose output is -1 where
the image grows by 1 per row.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

PREWITT = ((1.0, 0.0, -1.0), (1.0, 0.0, -1.0), (1.0, 0.0, -1.0))
SOBEL = ((1 / 8, 2 / 8, 1 / 8), (0.0, 0.0, 0.0), (-1 / 8, -2 / 8, -1 / 8))
BLUR = ((1 / 16, 2 / 16, 1 / 16), (2 / 16, 4 / 16, 2 / 16), (1 / 16, 2 / 16, 1 / 16))  # binomial


class FixedFilter(nn.Module):
    """Filters each channel separately, with zero padding: (B, C, H, W) -> the same shape.

    Args:
        rows: of the filter, such as SOBEL; an odd number of rows and of columns. Transpose it for the other direction.
        channels: C.

    Raises:
        ValueError: the number of rows or of columns is even.
    """

    weight: Tensor

    def __init__(self, rows: Sequence[Sequence[float]], channels: int) -> None:
        super().__init__()
        kernel = torch.tensor(rows)
        height, width = kernel.shape
        if height % 2 == 0 or width % 2 == 0:
            raise ValueError(f"the filter is {height}x{width}; give one with an odd number of rows and of columns")
        self.padding = height // 2, width // 2
        self.register_buffer("weight", kernel.expand(channels, 1, height, width).clone())

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.conv2d(x, self.weight.to(x.dtype), padding=self.padding, groups=x.shape[1])
