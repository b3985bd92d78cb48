"""Normalisation: batch norm per filter or per location (Ioffe and Szegedy 2015, arXiv:1502.03167), local response norm.

Local response norm is the one of Krizhevsky et al. 2012 (AlexNet), section 3.3: `alpha` multiplies the sum of squares.
Torch's module of that name, and Caffe, divide `alpha` by the number of filters first, so that theirs need 5e-4.
Squares and power are computed in float32 at least: k = 2 plus a small sum has no digits to lose in half precision.
"""

import torch
from torch import Tensor, nn


class LocalResponseNorm(nn.Module):
    """Divides each value by a power of the squares at its place, summed over the neighbouring filters.

    y[c] = x[c] / (k + alpha * sum of x[j]^2 over |j - c| <= size // 2) ** beta, with the filters that exist:
    (B, C, H, W) -> the same shape and dtype.

    Args:
        size: filters that are summed, odd.
        alpha: factor of the sum, not of the mean.
        beta: the power.
        k: what is added to the sum.

    Raises:
        ValueError: `size` is even, so that no filter is in the middle.
    """

    def __init__(self, size: int = 5, alpha: float = 1e-4, beta: float = 0.75, k: float = 2.0) -> None:
        super().__init__()
        if size < 1 or size % 2 == 0:
            raise ValueError(
                f"size is {size}; it must be odd and positive: give twice the neighbours on one side, plus 1"
            )
        self.size = size
        self.alpha = alpha
        self.beta = beta
        self.k = k

    def forward(self, x: Tensor) -> Tensor:
        wide = x.to(torch.promote_types(x.dtype, torch.float32))
        side = self.size // 2
        squares = nn.functional.pad(wide.square(), (0, 0, 0, 0, side, side))  # (B, C + size - 1, H, W)
        channels = x.shape[1]
        total = squares[:, :channels]
        for start in range(1, self.size):
            total = total + squares[:, start : start + channels]
        return (wide * (self.k + self.alpha * total).pow(-self.beta)).to(x.dtype)

    def extra_repr(self) -> str:
        return f"size={self.size}, alpha={self.alpha}, beta={self.beta}, k={self.k}"
