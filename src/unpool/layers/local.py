"""A convolution with separate filters at each position (LeCun 1989; DeepFace's L4 to L6, Taigman et al. 2014)."""

import math

import torch
from torch import Tensor, nn


class LocallyConnected(nn.Module):
    """Locally connected layer: (B, C_in, H, W) -> (B, C_out, H', W'), sizes as those of the convolution.

    `weight[i, j]` is the filter of output row i and column j as a convolution has it. The bias has one number per
    output too; it is stored as a vector of C_out * H' * W', so that weight decay recognises it as a bias. Initial
    weights are those of torch's convolutions.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        size_hw: height and width of the input, which set the number of filters.
        kernel: side of the filter.
        stride: step of the filter.
        padding: zeros on each side.

    Raises:
        ValueError: the filter is larger than the padded input, or the input has another size.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        size_hw: tuple[int, int],
        kernel: int,
        *,
        stride: int = 1,
        padding: int = 0,
    ) -> None:
        super().__init__()
        self.size_hw = size_hw
        self.kernel = kernel
        self.stride = stride
        self.padding = padding
        height, width = ((size + 2 * padding - kernel) // stride + 1 for size in size_hw)
        if height < 1 or width < 1:
            raise ValueError(
                f"a filter of side {kernel} does not fit an input of {size_hw} (H, W) with padding {padding}; "
                "give a smaller filter or more padding"
            )
        self.weight = nn.Parameter(torch.empty(height, width, out_channels, in_channels, kernel, kernel))
        self.bias = nn.Parameter(torch.empty(out_channels * height * width))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        bound = 1 / math.sqrt(math.prod(self.weight.shape[3:]))
        nn.init.uniform_(self.weight, -bound, bound)
        nn.init.uniform_(self.bias, -bound, bound)

    def forward(self, x: Tensor) -> Tensor:
        if tuple(x.shape[-2:]) != self.size_hw:
            raise ValueError(
                f"the input is {tuple(x.shape[-2:])} and this layer was made for {self.size_hw} (H, W): "
                "its filters belong to positions; resize the input, or build the layer for this size"
            )
        patches = nn.functional.unfold(x, self.kernel, padding=self.padding, stride=self.stride)  # (B, C_in*k*k, H'*W')
        filters = self.weight.flatten(3).flatten(0, 1)  # (H'*W', C_out, C_in*k*k)
        y = torch.einsum("bkl,lok->bol", patches, filters)  # (B, C_out, H'*W')
        return (y + self.bias.view(y.shape[1:])).unflatten(2, self.weight.shape[:2])

    def extra_repr(self) -> str:
        height, width, out_channels, in_channels, kernel, _ = self.weight.shape
        return f"{in_channels}, {out_channels}, kernel={kernel}, stride={self.stride}, locations={height}x{width}"
