"""Upsampling by transposed convolution, or by repetition and a convolution."""

from collections import OrderedDict

import torch
from torch import Tensor, nn

from unpool.layers.unpooling import NearestUnpool


def bilinear_filter(factor: int, *, side: int | None = None) -> Tensor:
    """Returns the (k, k) float32 filter that interpolates between pixels `factor` apart.

    k is `side` or, if that is None, 2 * factor - factor % 2.

    Source: Long et al. 2015 (arXiv:1411.4038), section 3.3, and the filler of the authors' release.
    """
    side = side or 2 * factor - factor % 2
    middle = (side - 1) / 2
    line = 1 - (torch.arange(side) - middle).abs() / factor
    return line[:, None] * line[None, :]


class BilinearDeconv(nn.ConvTranspose2d):
    """Transposed convolution whose initial weights interpolate each channel bilinearly.

    (B, C, h, w) -> (B, C, factor * (h - 1) + k, ...) with k as in `bilinear_filter`; callers crop the surplus, which is
    k - factor pixels, `k // 2 - factor // 2` of them before the first pixel.

    Args:
        channels: of input and output.
        factor: stride of the convolution: how many times finer the output is.
        learned: whether training changes the filter; the parameter exists either way.
        side: side k of the filter; None for that of `bilinear_filter`.
    """

    def __init__(self, channels: int, factor: int, *, learned: bool = True, side: int | None = None) -> None:
        side = side or 2 * factor - factor % 2
        super().__init__(channels, channels, side, stride=factor, bias=False)
        with torch.no_grad():
            self.weight.zero_()
            self.weight[range(channels), range(channels)] = bilinear_filter(factor, side=side)
        self.weight.requires_grad_(learned)


def interpolating_weight(layer: nn.ConvTranspose2d) -> Tensor | None:
    """The weight with which a transposed convolution interpolates each channel; None where its shape does not allow it.

    Example:
        >>> layer = nn.ConvTranspose2d(2, 2, 4, stride=2)
        >>> weight = interpolating_weight(layer)
        >>> weight.shape, weight[0, 0, 0].tolist(), weight[0, 1].any().item()
        (torch.Size([2, 2, 4, 4]), [0.0625, 0.1875, 0.1875, 0.0625], False)
        >>> interpolating_weight(nn.ConvTranspose2d(2, 3, 4, stride=2)) is None
        True
    """
    channels, is_square = layer.in_channels, len({*layer.kernel_size}) == len({*layer.stride}) == 1
    if channels != layer.out_channels or layer.groups not in (1, channels) or not is_square:
        return None
    weight = torch.zeros_like(layer.weight)
    of_inputs = (range(channels), range(channels)) if layer.groups == 1 else (range(channels), 0)
    weight[of_inputs] = bilinear_filter(layer.stride[0], side=layer.kernel_size[0]).to(weight)
    return weight.detach()


class ResizeConv(nn.Sequential):
    """Repeats each value over a block, then convolves: (B, C_in, H, W) -> (B, C_out, factor * H, factor * W).

    Every output is a sum of equally many products, so that no checkerboard can appear; in a transposed convolution this
    holds only if the filter's side is a multiple of the stride.

    Source: Odena et al. 2016, "Deconvolution and Checkerboard Artifacts", doi:10.23915/distill.00003.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        kernel: side of the filter, odd.
        factor: how many times higher and wider the output is.
        bias: learn a bias.
    """

    def __init__(
        self, in_channels: int, out_channels: int, kernel: int = 3, *, factor: int = 2, bias: bool = True
    ) -> None:
        conv = nn.Conv2d(in_channels, out_channels, kernel, padding=kernel // 2, bias=bias)
        super().__init__(OrderedDict(resize=NearestUnpool(factor), conv=conv))
