"""How alike two maps are around each pixel, and a map drawn where a flow says: the steps of networks for flow.

Dosovitskiy et al. 2015, arXiv:1504.06852, section 3, "correlation layer"; Sun et al. 2018, arXiv:1709.02371, "warping
layer". A flow has x to the right first and then y down, in pixels of its map.
"""

import torch
from torch import Tensor, nn


def correlation(first: Tensor, second: Tensor, *, reach: int, step: int = 1) -> Tensor:
    """The mean product of features at each displacement: channel (i, j) is first(y, x) . second(y + dy, x + dx) / C.

    Args:
        first: (B, C, H, W).
        second: the same of the second image.
        reach: displacements are -reach to reach times `step` along either axis.
        step: pixels between them.

    Returns:
        (B, (2 * reach + 1)**2, H, W), dy slowest; beside the second map products are 0.

    Example:
        >>> first, second = torch.zeros(1, 1, 1, 3), torch.zeros(1, 1, 1, 3)
        >>> first[..., 0], second[..., 1] = 2.0, 3.0  # has moved to the right by one pixel
        >>> correlation(first, second, reach=1)[0, :, 0, 0]
        tensor([0., 0., 0., 0., 0., 6., 0., 0., 0.])
    """
    height, width = first.shape[-2:]
    edge = reach * step
    padded = nn.functional.pad(second, 4 * (edge,))
    products = [
        (first * padded[..., y : y + height, x : x + width]).mean(1)
        for y in range(0, 2 * edge + 1, step)
        for x in range(0, 2 * edge + 1, step)
    ]
    return torch.stack(products, dim=1)


def warped(second: Tensor, flow: Tensor) -> Tensor:
    """What the second map shows where the flow points to: out(y, x) = second(y + v, x + u), bilinear, 0 beside it.

    Args:
        second: (B, C, H, W).
        flow: (B, 2, H, W) u, v.

    Example:
        >>> second = torch.tensor([[[[1.0, 2.0, 4.0]]]])
        >>> warped(second, torch.tensor([1.0, 0.0]).view(1, 2, 1, 1).expand(1, 2, 1, 3))
        tensor([[[[2., 4., 0.]]]])
    """
    height, width = second.shape[-2:]
    y = torch.arange(height, device=flow.device, dtype=torch.float32)[:, None]
    x = torch.arange(width, device=flow.device, dtype=torch.float32)
    across, down = flow.float().unbind(1)
    grid = torch.stack([(2 * (x + across) + 1) / width - 1, (2 * (y + down) + 1) / height - 1], dim=-1)
    return nn.functional.grid_sample(second.float(), grid, padding_mode="zeros", align_corners=False).to(second.dtype)


def enlarged(maps: Tensor, times: int, size_hw: tuple[int, int]) -> Tensor:
    """Maps (B, C, h, w) of a stride of `times`, bilinear on the pixels of `size_hw`; what they have beyond is cut off.

    A map of a side that is no multiple of its stride covers more than that side, and stretched it would lie askew.

    Example:
        >>> enlarged(torch.tensor([[[[0.5, 2.5]]]]), 2, (1, 3))
        tensor([[[[0.5000, 1.0000, 2.0000]]]])
    """
    larger = nn.functional.interpolate(maps, scale_factor=times, mode="bilinear", align_corners=False)
    return larger[..., : size_hw[0], : size_hw[1]]
