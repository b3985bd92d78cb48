"""Maps of regions: what lies in a box on a grid of fixed size, and back to the pixels of the image.

Masks are grids of shares, 28x28 in Mask R-CNN: the target of a cell is the mean of the mask in it, and a mask is drawn
from shares without rounding the box, each pixel by the bilinear value at its middle, beyond the middles of the outer
cells by theirs. Joints are one cell of a grid, 56x56 in Keypoint R-CNN, and are read where the grid, brought to the
pixels of the box, is highest.

Boxes and points count from the outer edge of the first pixel.

Source: He et al. 2017, arXiv:1703.06870, sections 3 and 5; torchvision 0.28, models/detection/roi_heads.py, for the
reading of joints. Differs from torchvision, which rounds boxes to pixels and lets masks fade out at their borders.
"""

import math

import torch
from torch import Tensor
from torch.nn.functional import interpolate

NOWHERE = -100  # target of a joint that is not known or not in its region: cross-entropy's own value for no class
_SURE = 0.5  # share from which on a pixel is of a mask
_MOST = 1 << 24  # pixels of masks that are numbers at once, of 4 bytes each


def mask_targets(masks: Tensor, rows: Tensor, boxes: Tensor, side: int) -> Tensor:
    """(R, side, side) float32: the share of each cell of a box that is in its mask.

    Args:
        masks: (N, H, W) bool.
        rows: (R,) the mask of each box.
        boxes: (R, 4) xyxy in pixels of the masks.
        side: cells.

    >>> masks = torch.tensor([[[1, 1, 0, 0], [1, 1, 0, 0]]]).bool()
    >>> mask_targets(masks, torch.tensor([0]), torch.tensor([[1.0, 0.0, 3.0, 2.0]]), 2).tolist()
    [[[1.0, 0.0], [1.0, 0.0]]]
    """
    from torchvision.ops import roi_align  # not with every task: it takes a second

    used, owner = rows.unique(return_inverse=True)
    few = max(1, _MOST // masks[0].numel()) if len(masks) else 1
    targets = torch.zeros(len(boxes), side, side, device=boxes.device)
    for first in range(0, len(used), few):
        here = ((owner >= first) & (owner < first + few)).nonzero()[:, 0]
        regions = torch.cat([(owner[here] - first)[:, None].to(boxes), boxes[here]], dim=1).float()
        some = masks[used[first : first + few]][:, None].float()
        targets[here] = roi_align(some, regions, (side, side), 1.0, -1, aligned=True)[:, 0]
    return targets


def paste_masks(shares: Tensor, boxes: Tensor, size_hw: tuple[int, int]) -> Tensor:
    """(N, H, W) bool: the pixels whose middles have a share above a half; none lies outside of its box.

    Args:
        shares: (N, side, side) 0..1.
        boxes: (N, 4) xyxy in pixels of the image.
        size_hw: of the image.

    >>> paste_masks(torch.ones(1, 4, 4), torch.tensor([[1.0, 0.0, 3.0, 1.2]]), (2, 4)).int().tolist()
    [[[0, 1, 1, 0], [0, 0, 0, 0]]]
    """
    drawn = torch.zeros(len(boxes), *size_hw, dtype=torch.bool, device=boxes.device)
    for one, share, (left, top, right, bottom) in zip(drawn, shares, boxes.tolist(), strict=True):
        rows, columns = _pixels_in(top, bottom, size_hw[0]), _pixels_in(left, right, size_hw[1])
        down = _weights(rows, top, bottom, share)  # (h, side)
        across = _weights(columns, left, right, share)
        one[rows, columns] = down @ share @ across.T > _SURE
    return drawn


def _pixels_in(low: float, high: float, size: int) -> slice:
    """The pixels whose middles lie between two edges."""
    first = min(max(math.ceil(low - 0.5), 0), size)
    return slice(first, min(max(math.ceil(high - 0.5), first), size))


def _weights(pixels: slice, low: float, high: float, share: Tensor) -> Tensor:
    """(pixels, side): how much of each cell there is in the value at the middle of each pixel."""
    side = share.shape[-1]
    middle = torch.arange(pixels.start, pixels.stop, device=share.device, dtype=share.dtype) + 0.5
    position = ((middle - low) * (side / max(high - low, 1e-6)) - 0.5).clamp(0, side - 1)
    cells = torch.arange(side, device=share.device, dtype=share.dtype)
    return (1 - (position[:, None] - cells).abs()).clamp(min=0)


def joint_targets(points: Tensor, boxes: Tensor, side: int) -> Tensor:
    """(R, K) int64: the cell of each joint, counted row by row, or NOWHERE.

    Args:
        points: (R, K, 2) x, y, NaN where not known.
        boxes: (R, 4) xyxy.
        side: cells.

    >>> points = torch.tensor([[[5.0, 1.0], [9.0, 9.0], [float("nan"), 0.0]]])
    >>> joint_targets(points, torch.tensor([[4.0, 0.0, 8.0, 4.0]]), 2).tolist()
    [[0, -100, -100]]
    """
    low, high = boxes[:, None, :2], boxes[:, None, 2:]
    is_inside = ((points >= low) & (points <= high)).all(2)  # not of NaN
    cell = ((points - low) * (side / (high - low))).nan_to_num().floor().long().clamp(0, side - 1)
    return torch.where(is_inside, cell[..., 1] * side + cell[..., 0], NOWHERE)


def joints_in(maps: Tensor, boxes: Tensor, *, least: int = 1) -> Tensor:
    """(R, K, 2) x, y: where each map, brought to the pixels of its box by cubic interpolation, is highest.

    Args:
        maps: (R, K, side, side).
        boxes: (R, 4) xyxy; a side of less than a pixel counts as one.
        least: positions along each side that are compared at least; of fewer than cells, as torchvision compares in a
            small box, the highest may be missed.

    >>> maps = torch.zeros(1, 1, 2, 2)
    >>> maps[0, 0, 1, 0] = 1
    >>> joints_in(maps, torch.tensor([[10.0, 20.0, 12.0, 22.0]])).tolist()
    [[[10.5, 21.5]]]
    """
    sides = (boxes[:, 2:] - boxes[:, :2]).clamp(min=1)
    shares = []
    for one, (width, height) in zip(maps, sides.ceil().clamp(min=least).int().tolist(), strict=True):
        large = interpolate(one[None], size=(height, width), mode="bicubic", align_corners=False)[0]
        best = large.flatten(1).argmax(1)
        shares.append(torch.stack([(best % width + 0.5) / width, (best // width + 0.5) / height], dim=1))
    each = torch.stack(shares).to(boxes) if shares else boxes.new_zeros(0, maps.shape[1], 2)
    return boxes[:, None, :2] + each * sides[:, None]
