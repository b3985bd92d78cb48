"""Batch norm per filter or per location (Ioffe and Szegedy 2015, arXiv:1502.03167), local response norm and L2 norm.

Local response norm is the one of Krizhevsky et al. 2012 (AlexNet), section 3.3: `alpha` multiplies the sum of squares.
Torch's module of that name and Caffe divide `alpha` by the number of filters first, so that they need 5e-4. Squares and
power are computed in float32 at least: in half precision, a small sum would be lost when added to k = 2.
"""

from math import prod
from typing import Literal

import torch
from torch import Tensor, nn

Learned = Literal["scale_and_shift", "shift", "nothing"]


def batch_norm(
    channels: int, *, learned: Learned = "scale_and_shift", momentum: float | None = 0.1, eps: float = 1e-5
) -> nn.BatchNorm2d:
    """Makes batch norm per filter: in training, each channel has mean 0 and variance 1 over batch, rows and columns.

    As in torch, the variance of a batch is divided by n, its contribution to the running variance by n - 1.

    Args:
        channels: filters, C of (B, C, H, W).
        learned: parameters after the normalisation: a scale and a shift, a shift alone, or none. A shift alone suffices
            before a ReLU and a convolution, whose weights can include the scale.
        momentum: weight of the new batch in the running statistics; None weights all batches equally.
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
        if self.bias is not None:  # torch's constructor calls this before the bias exists
            nn.init.zeros_(self.bias)


class LocationBatchNorm(nn.Module):
    """Batch norm per location: each value of (C, H, W) has a separate mean and variance over the batch.

    (B, C, H, W) -> the same shape, of one size only. This is the batch norm of a fully connected layer.

    Args:
        size_chw: channels, height and width of the input.
        learned: learned parameters after the normalisation, as in `batch_norm`, one number per location.
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
    """Divides each value by a power of the sum of squares over neighbouring filters at the same position.

    y[c] = x[c] / (k + alpha * sum of x[j]^2 over |j - c| <= size // 2) ** beta, with the filters that exist:
    (B, C, H, W) -> the same shape and dtype.

    Args:
        size: filters that are summed, odd.
        alpha: factor of the sum, not of the mean.
        beta: the power.
        k: constant added to the sum.

    Raises:
        ValueError: `size` is even.
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


class L2Norm(nn.Module):
    """Scales each position's channels to length 1, times a learned factor for each: (B, C, H, W) -> the same shape.

    Early maps of VGG have larger values than later ones, which are read beside them. Lengths are computed in float32 at
    least. Source: Liu et al. 2015 (ParseNet), arXiv:1506.04579, section 3.3.

    Args:
        channels: C.
        scale: of every channel before training.
    """

    def __init__(self, channels: int, scale: float = 20.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.full((channels,), scale))

    def forward(self, x: Tensor) -> Tensor:
        wide = x.to(torch.promote_types(x.dtype, torch.float32))
        return (nn.functional.normalize(wide) * self.weight[:, None, None]).to(x.dtype)
