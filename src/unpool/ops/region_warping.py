"""Regions cut out of images and stretched to one size, with context around them, as R-CNN feeds them to a classifier.

Girshick et al. 2014, arXiv:1311.2524, section 2.1 and appendix A ("warp"): a region is enlarged so that after warping
there are exactly `context` pixels of its surroundings on each side; what lies beyond the image is its mean colour, 0 of
a normalised one. Bilinear, without a filter before shrinking, as in its release.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

CONTEXT = 16  # pixels of the warped region


def with_context(boxes: Tensor, *, side: int, context: int = CONTEXT) -> Tensor:
    """Boxes (..., 4) grown about their centres so that `context` of `side` warped pixels lie outside on each side.

    >>> with_context(torch.tensor([16.0, 16.0, 211.0, 211.0]), side=227).tolist()
    [0.0, 0.0, 227.0, 227.0]
    """
    low, high = boxes.split(2, dim=-1)
    beyond = (high - low) * (context / (side - 2 * context))
    return torch.cat([low - beyond, high + beyond], dim=-1)


def warp_regions(images: Tensor, boxes: Sequence[Tensor], *, side: int, context: int = CONTEXT) -> Tensor:
    """(R, C, side, side): regions of images (B, C, H, W), image after image, each stretched to a square.

    Args:
        images: normalised, so that 0 is the mean.
        boxes: B times (N, 4) xyxy in pixels of the images.
        side: of the result.
        context: pixels of the result on each side that show what surrounds the region.

    Example:
        >>> ramp = torch.arange(8.0).expand(1, 1, 8, 8)
        >>> warp_regions(ramp, [torch.tensor([[2.0, 2.0, 6.0, 6.0]])], side=4, context=0)[0, 0, 0].tolist()
        [2.0, 3.0, 4.0, 5.0]
    """
    height, width = images.shape[-2:]
    size = images.new_tensor([width, height])
    steps = (torch.arange(side, device=images.device, dtype=images.dtype) + 0.5) / side
    warped = []
    for image, of_image in zip(images, boxes, strict=True):
        low, high = with_context(of_image.to(images), side=side, context=context).split(2, dim=1)  # (N, 2)
        points = (low[:, None] + steps[:, None] * (high - low)[:, None]) / size * 2 - 1  # (N, side, 2)
        across, down = points.unbind(2)
        grid = torch.stack(torch.broadcast_tensors(across[:, None], down[:, :, None]), dim=-1)
        whole = image.expand(len(grid), *image.shape)
        warped.append(nn.functional.grid_sample(whole, grid, padding_mode="zeros", align_corners=False))
    return torch.cat(warped)
