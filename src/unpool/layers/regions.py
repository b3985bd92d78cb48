"""Regions of maps, brought to one size by torchvision's operators.

A region is a box in pixels of the input, from the outer edge of the first pixel. RoI pooling takes maxima over whole
cells, from the one nearest to the first pixel to the one nearest to the last, as in its release (Girshick 2015,
arXiv:1504.08083), for which right and bottom are made one less. RoI align rounds nothing and averages what lies at the
sampled points (He et al. 2017, arXiv:1703.06870). Both are computed in float32 at least.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Literal

import torch
from torch import Tensor, nn

Kind = Literal["pool", "align", "align_by_corners"]

CANONICAL = 224  # side in pixels of a region that is read from the map of stride 16
SAMPLES = 2  # points along each side of a bin


class RegionPooling(nn.Module):
    """Reads regions: maps (B, C, h, w) and B lists of boxes (N, 4) -> (R, C, side, side), image after image.

    Of several maps, each region is read from the one that suits its size (`level_of`).

    Args:
        strides: of the maps, fine to coarse, each twice the one before.
        side: cells of the result along each side.
        kind: "pool"; "align", where the first cell's middle is half a stride from the edge; or "align_by_corners",
            where it is on the edge, as torchvision's published detectors have it: half a cell off.
    """

    def __init__(self, strides: Sequence[int], side: int, *, kind: Kind) -> None:
        super().__init__()
        self.strides = tuple(strides)
        self.side = side
        self.kind = kind

    def forward(self, maps: Sequence[Tensor], boxes: Sequence[Tensor]) -> Tensor:
        kind = torch.promote_types(maps[0].dtype, torch.float32)
        owner = torch.cat([torch.full_like(of_image[:, :1], i) for i, of_image in enumerate(boxes)])
        regions = torch.cat([owner, torch.cat(list(boxes))], dim=1).to(kind)  # (R, 5): index of the image, xyxy
        if len(maps) == 1:
            return self._read(maps[0], regions, self.strides[0])
        levels = level_of(regions[:, 1:], self.strides)
        order, parts = [], []
        for level, (x, stride) in enumerate(zip(maps, self.strides, strict=True)):
            (rows,) = torch.where(levels == level)
            if len(rows) or not (parts or len(regions)):
                order.append(rows)
                parts.append(self._read(x, regions[rows], stride).to(maps[0].dtype))
        if len(parts) == 1:
            return parts[0]
        return torch.cat(parts).index_select(0, torch.cat(order).argsort())

    def _read(self, x: Tensor, regions: Tensor, stride: int) -> Tensor:
        from torchvision.ops import roi_align, roi_pool  # not with every network: it takes a second

        size, scale = (self.side, self.side), 1 / stride
        with torch.autocast(x.device.type, enabled=False):
            x = x.to(regions.dtype)
            if self.kind == "pool":
                return roi_pool(x, regions - regions.new_tensor([0, 0, 0, 1, 1]), size, scale)
            is_aligned = self.kind == "align"
            if x.requires_grad and x.device.type == "cpu" and not torch.compiler.is_compiling():
                return _AlignTrainedOnCpu.apply(x, regions, self.side, scale, is_aligned)
            return roi_align(x, regions, size, scale, SAMPLES, aligned=is_aligned)

    def extra_repr(self) -> str:
        return f"strides={self.strides}, side={self.side}, kind={self.kind}"


class _AlignTrainedOnCpu(torch.autograd.Function):
    """torchvision's RoI align, whose gradient it computes on one core, with that on all: each takes some channels.

    No number differs from those of one core, since each channel is added up as there.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, regions: Tensor, *settings: Any) -> Tensor:
        from torchvision.ops import roi_align  # as above

        ctx.save_for_backward(regions)
        ctx.shape, ctx.settings = x.shape, settings
        side, scale, is_aligned = settings
        return roi_align(x, regions, (side, side), scale, SAMPLES, aligned=is_aligned)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (regions,) = ctx.saved_tensors
        count, _, height, width = ctx.shape
        side, scale, is_aligned = ctx.settings
        threads = torch.get_num_threads()

        def of_some(part: Tensor) -> Tensor:
            sizes = (side, side, count, part.shape[1], height, width)
            return torch.ops.torchvision._roi_align_backward(part, regions, scale, *sizes, SAMPLES, is_aligned)

        with ThreadPoolExecutor(threads) as pool:
            parts = list(pool.map(of_some, gradients[0].chunk(threads, dim=1)))
        return torch.cat(parts, dim=1), None, None, None, None


def level_of(boxes: Tensor, strides: Sequence[int]) -> Tensor:
    """Index (R,) of the map that each region (R, 4) is read from: a square of 224 pixels from that of stride 16.

    floor(log2(sqrt(width * height) / 224)) maps further, within those there are (Lin et al. 2017, arXiv:1612.03144,
    equation 1).

    >>> level_of(torch.tensor([[0.0, 0, 224, 224], [0, 0, 112, 112], [0, 0, 448, 448]]), (4, 8, 16, 32)).tolist()
    [2, 1, 3]
    """
    side = (boxes[:, 2:] - boxes[:, :2]).clamp(min=0).prod(1).sqrt()
    steps = (torch.log2(side / CANONICAL) + 1e-6).floor()  # the summand is torchvision's, against rounding
    canonical = torch.log2(torch.tensor(16 / strides[0])).round()  # index of stride 16, within the maps or beyond
    return (canonical.to(steps) + steps).clamp(0, len(strides) - 1).to(torch.int64)
