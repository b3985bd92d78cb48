"""Crops a window that overlaps some box by a chosen share, and stretches it to the network's input size.

Source: Liu et al. 2016, arXiv:1512.02325, section 2.2, "Data augmentation". Differs: one set of 50 windows is tried
against all shares, where the authors draw 50 for each; and a window without the centre of any box is not taken, since
its picture would have lost every thing.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from unpool.data.augment.step import Geometry
from unpool.data.draws import Draws
from unpool.ops import geometry
from unpool.ops.boxes import iou

_LEAST = (0.0, 0.1, 0.3, 0.5, 0.7, 0.9)  # of the IoU with some box; 0 is any window
_AREA, _ASPECT = (0.1, 1.0), (0.5, 2.0)  # of a window: share of the image's area, width over height
_TRIES = 50


class IouCrop(Geometry):
    """Crops each image to a window of IoU 0.1, 0.3, 0.5, 0.7 or 0.9 at least with some box, to any, or not at all.

    Which of the seven is drawn uniformly among those that one of 50 windows meets; of several windows the first is
    taken. A window has 0.1 to 1 of the area of the image, drawn uniformly, and is half to twice as wide as high, drawn
    on a logarithmic scale; it holds the centre of a box with that IoU. Boxes of crowds do not count. An image without
    boxes is cropped to any window, or not at all. Recipes take it with `data.rule: stretch` alone, by which evaluation
    stretches images too.
    """

    chooses_window = True
    chooses_scale = True
    reads_boxes = True

    def map(self, draws: Draws, size_hw: Tensor, *, target_hw: Tensor) -> tuple[Tensor, Tensor]:
        return self.map_around([torch.zeros(0, 4)] * len(size_hw), draws, size_hw, target_hw=target_hw)

    def map_around(
        self, boxes: Sequence[Tensor], draws: Draws, size_hw: Tensor, *, target_hw: Tensor
    ) -> tuple[Tensor, Tensor]:
        windows, fits = _windows(draws, size_hw)
        best = torch.stack([_best(windows[:, i], of_one) for i, of_one in enumerate(boxes)], dim=1)  # (T, B)
        meets = fits & (best >= torch.tensor(_LEAST)[:, None, None])  # (6, T, B)
        left, top, right, bottom = _chosen(draws, windows, meets, size_hw=size_hw).unbind(1)
        across, down = target_hw[:, 1] / (right - left), target_hw[:, 0] / (bottom - top)
        return geometry.translation(left, top) @ geometry.zoom(across, down), target_hw


def _windows(draws: Draws, size_hw: Tensor) -> tuple[Tensor, Tensor]:
    """(T, B, 4) windows of whole pixels, and (T, B) whether each fits its image."""
    area, aspect, down, across = (torch.stack([draws.uniform() for _ in range(_TRIES)]) for _ in range(4))
    low, high = (math.log(value) for value in _ASPECT)
    aspect = (low + (high - low) * aspect).exp()
    area = (_AREA[0] + (_AREA[1] - _AREA[0]) * area) * size_hw.prod(1)
    height, width = (area / aspect).sqrt().round().clamp(min=1), (area * aspect).sqrt().round().clamp(min=1)
    room = size_hw - torch.stack((height, width), dim=2)  # (T, B, 2)
    top, left = (down * (room[..., 0] + 1)).floor(), (across * (room[..., 1] + 1)).floor()
    return torch.stack((left, top, left + width, top + height), dim=2), (room >= 0).all(2)


def _best(windows: Tensor, boxes: Tensor) -> Tensor:
    """(T,) the largest IoU of each window with a box whose centre it holds; -1 for none, 0 where there are no boxes."""
    if not len(boxes):
        return torch.zeros(len(windows), dtype=torch.float64)
    centre = (boxes[:, :2] + boxes[:, 2:]) / 2
    holds = ((centre >= windows[:, None, :2]) & (centre < windows[:, None, 2:])).all(2)  # (T, N)
    return torch.where(holds, iou(windows, boxes.double()), -1.0).amax(1)


def _chosen(draws: Draws, windows: Tensor, meets: Tensor, *, size_hw: Tensor) -> Tensor:
    """(B, 4): all of the image, or the first window of one of the shares that are met, each as likely."""
    whole = torch.cat((torch.zeros_like(size_hw), size_hw.flip(1)), dim=1)
    first = meets.int().argmax(1)  # (6, B)
    options = torch.cat((whole[None], windows[first, torch.arange(len(size_hw))]))  # (7, B, 4)
    can_be = torch.cat((torch.ones(1, len(size_hw), dtype=torch.bool), meets.any(1)))
    number = draws.integer(1, can_be.sum(0))  # counted among those that can be
    option = ((can_be.cumsum(0) == number) & can_be).int().argmax(0)
    return options[option, torch.arange(len(size_hw))]
