"""Mixes the images of a batch with one another."""

import torch
from torch import Tensor

PAIR = 2  # neighbours of a batch, which several processes that share it out must leave together


def partners(count: int) -> Tensor:
    """Returns the position (B,) int64 of each sample's partner: two neighbours are a pair, the last may be alone.

    Example:
        >>> partners(5)
        tensor([1, 0, 3, 2, 4])
    """
    position = torch.arange(count)
    return torch.where((position ^ 1) < count, position ^ 1, position)


def blend(image: Tensor, partner: Tensor, share: Tensor) -> Tensor:
    """Returns images (B, C, H, W), uint8 or float32: `share` (B,) of each and the rest of its partner.

    Example:
        >>> image = torch.tensor([100, 200], dtype=torch.uint8)[:, None, None, None]
        >>> blend(image, torch.tensor([1, 0]), torch.tensor([0.75, 1.0])).flatten()
        tensor([125, 200], dtype=torch.uint8)
    """
    kept = share.to(image.device, torch.float32)[:, None, None, None]
    mixed = image.float().mul_(kept).addcmul_(image[partner].float(), 1 - kept)
    return mixed if image.is_floating_point() else mixed.round_().to(image.dtype)


def paste(image: Tensor, partner: Tensor, boxes: Tensor) -> Tensor:
    """Returns images (B, C, H, W) with the pixels of the partner in the box (B, 4) int64 xyxy of each.

    Example:
        >>> image = torch.tensor([[1, 2, 3], [7, 8, 9]])[:, None, None]
        >>> paste(image, torch.tensor([1, 0]), torch.tensor([[1, 0, 3, 1], [0, 0, 0, 0]]))[:, 0, 0]
        tensor([[1, 8, 9],
                [7, 8, 9]])
    """
    result = image.clone()
    for i, (left, top, right, bottom) in enumerate(boxes.tolist()):
        result[i, :, top:bottom, left:right] = image[partner[i], :, top:bottom, left:right]
    return result
