"""Normalisation: batch norm per filter or per location (Ioffe and Szegedy 2015, arXiv:1502.03167), local response norm.

Local response norm is the one of Krizhevsky et al. 2012 (AlexNet), section 3.3: `alpha` multiplies the sum of squares.
Torch's module of that name, and Caffe, divide `alpha` by the number of filters first, so that theirs need 5e-4.
Squares and power are computed in float32 at least: k = 2 plus a small sum has no digits to lose in half precision.
"""

from math import prod
from typing import Literal

import torch
from torch import Tensor, nn

Learned = Literal["scale_and_shift", "shift", "nothing"]


def batch_norm(
    channels: int, *, learned: Learned = "scale_and_shift", momentum: float | None = 0.1, eps: float = 1e-5
) -> nn.BatchNorm2d:
    """Batch norm per filter: every map has mean 0 and variance 1 over batch, rows and columns while training.

    The variance that normalises is divided by n, the one that is remembered for evaluation by n - 1, as in torch.

    Args:
        channels: filters, C of (B, C, H, W).
        learned: what is learned behind it. A shift alone does where a ReLU and a convolution follow: the convolution
            can take the scale over.
        momentum: share of the new batch in the remembered statistics; None averages all batches alike.
        eps: added to the variance.
    """
    if learned == "shift":
        return ShiftBatchNorm(channels, momentum=momentum, eps=eps)
    return nn.BatchNorm2d(channels, eps=eps, momentum=momentum, affine=learned == "scale_and_shift")


class ShiftBatchNorm(nn.BatchNorm2d):
    """Batch norm per filter with a learned shift (`bias`) and no scale: (B, C, H, W) -> the same shape."""

    def __init__(self, channels: int, *, momentum: float | None = 0.1, eps: float = 1e-5) -> None:
        super().__init__(channels, eps=eps, momentum=momentum, affine=False)
        self.bias = nn.Parameter(torch.zeros(channels))

    def reset_parameters(self) -> None:
        super().reset_parameters()
        if self.bias is not None:  # torch calls this before there is one
            nn.init.zeros_(self.bias)


class LocationBatchNorm(nn.Module):
    """Batch norm per location: each value of (C, H, W) has its own mean and variance over the batch alone.

    What a fully connected layer would have. It cannot be moved to another size, and the batch is all it averages over.

    Args:
        size_chw: channels, height and width of the input.
        learned: what is learned behind it, one number a location.
        momentum: as in `batch_norm`.
        eps: added to the variance.

    Raises:
        ValueError: the input has another size.
    """

    def __init__(
        self,
        size_chw: tuple[int, int, int],
        *,
        learned: Learned = "scale_and_shift",
        momentum: float | None = 0.1,
        eps: float = 1e-5,
    ) -> None:
        super().__init__()
        self.size_chw = size_chw
        self.norm = batch_norm(prod(size_chw), learned=learned, momentum=momentum, eps=eps)

    def forward(self, x: Tensor) -> Tensor:
        if tuple(x.shape[1:]) != self.size_chw:
            raise ValueError(
                f"the input is {tuple(x.shape[1:])} and this norm was made for {self.size_chw} (C, H, W); "
                "resize the input, or use a norm per filter"
            )
        locations = x.flatten(1)[:, :, None, None]  # (B, C*H*W, 1, 1)
        return self.norm(locations).reshape(x.shape)


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
