"""Regions of maps, brought to one size by torchvision's operators.

A region is a box in pixels of the input, from the outer edge of the first pixel. RoI pooling takes maxima over whole
cells, from the one nearest to the first pixel to the one nearest to the last, as in its release (Girshick 2015,
arXiv:1504.08083), for which right and bottom are made one less. RoI align rounds nothing and averages what lies at the
sampled points (He et al. 2017, arXiv:1703.06870). Both are computed in float32 at least.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Literal

import torch
from torch import Tensor, nn

from unpool.ops.boxes import areas

Kind = Literal["pool", "align", "align_by_corners"]

CANONICAL = 224  # side in pixels of a region that is read from the map of stride 16
SAMPLES = 2  # points along each side of a bin
AT_ONCE = 64  # regions that a core reads before it goes on to others


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
        levels = level_of(regions[:, 1:], self.strides)
        rows = [torch.where(levels == level)[0] for level in range(len(maps))]
        with torch.autocast(regions.device.type, enabled=False):
            return self._read([x.to(kind) for x in maps], regions, rows).to(maps[0].dtype)

    def _read(self, maps: Sequence[Tensor], regions: Tensor, rows: Sequence[Tensor]) -> Tensor:
        if self.kind != "pool" and regions.device.type == "cpu" and not torch.compiler.is_compiling():
            return _AlignOnCpu.apply(regions, rows, [self._settings(stride) for stride in self.strides], *maps)
        parts = [
            self._read_one(x, regions[of_map], stride)
            for x, of_map, stride in zip(maps, rows, self.strides, strict=True)
        ]
        return torch.cat(parts).index_select(0, torch.cat(list(rows)).argsort()) if len(parts) > 1 else parts[0]

    def _read_one(self, x: Tensor, regions: Tensor, stride: int) -> Tensor:
        from torchvision.ops import roi_align, roi_pool  # not with every network: it takes a second

        if self.kind == "pool":
            return roi_pool(x, regions - regions.new_tensor([0, 0, 0, 1, 1]), (self.side, self.side), 1 / stride)
        return roi_align(x, regions, *self._settings(stride))

    def _settings(self, stride: int) -> tuple[tuple[int, int], float, int, bool]:
        return (self.side, self.side), 1 / stride, SAMPLES, self.kind == "align"

    def extra_repr(self) -> str:
        return f"strides={self.strides}, side={self.side}, kind={self.kind}"


class _AlignOnCpu(torch.autograd.Function):
    """torchvision's RoI align of all maps, which it computes on one core, on all of them.

    Each reads some regions going forward and adds up some channels going back, as on one core: no number differs.
    """

    @staticmethod
    def forward(ctx: Any, regions: Tensor, rows: Sequence[Tensor], settings: Sequence[Any], *maps: Tensor) -> Tensor:
        from torchvision.ops import roi_align  # as above

        ctx.save_for_backward(regions)
        ctx.rows, ctx.settings, ctx.shapes = rows, settings, [x.shape for x in maps]
        height, width = settings[0][0]
        pooled = maps[0].new_empty(len(regions), maps[0].shape[1], height, width)
        if sum(map(len, rows)) < len(regions):  # a region whose corners are no numbers is read from no map
            pooled.fill_(torch.nan)
        whole = [x.detach().contiguous() for x in maps]

        @torch.inference_mode()
        def read(level: int, some: Tensor) -> None:
            pooled[some] = roi_align(whole[level], regions[some], *settings[level])

        _on_all_cores(read, [(level, some) for level, of_map in enumerate(rows) for some in of_map.split(AT_ONCE)])
        return pooled

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (regions,) = ctx.saved_tensors
        threads = torch.get_num_threads()

        def of_some(level: int, gradient: Tensor) -> Tensor:
            size, scale, samples, is_aligned = ctx.settings[level]
            count, _, height, width = ctx.shapes[level]
            sizes = (*size, count, gradient.shape[1], height, width)
            some = regions[ctx.rows[level]]
            return torch.ops.torchvision._roi_align_backward(gradient, some, scale, *sizes, samples, is_aligned)

        of_maps = [
            torch.cat(_on_all_cores(of_some, [(level, part) for part in gradients[0][of_map].chunk(threads, dim=1)]), 1)
            for level, of_map in enumerate(ctx.rows)
        ]
        return None, None, None, *of_maps


def _on_all_cores(function: Callable[..., Any], calls: Sequence[tuple[Any, ...]]) -> list[Any]:
    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        return list(pool.map(lambda call: function(*call), calls))


def level_of(boxes: Tensor, strides: Sequence[int]) -> Tensor:
    """Index (R,) of the map that each region (R, 4) is read from: a square of 224 pixels from that of stride 16.

    floor(log2(sqrt(width * height) / 224)) maps further, within those there are (Lin et al. 2017, arXiv:1612.03144,
    equation 1).

    >>> level_of(torch.tensor([[0.0, 0, 224, 224], [0, 0, 112, 112], [0, 0, 448, 448]]), (4, 8, 16, 32)).tolist()
    [2, 1, 3]
    """
    side = areas(boxes).sqrt()
    steps = (torch.log2(side / CANONICAL) + 1e-6).floor()  # the summand is torchvision's, against rounding
    canonical = torch.log2(torch.tensor(16 / strides[0])).round()  # index of stride 16, within the maps or beyond
    return (canonical.to(steps) + steps).clamp(0, len(strides) - 1).to(torch.int64)
