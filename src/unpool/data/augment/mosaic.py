"""Joins four images in one, so that a network meets more things in more places in each picture.

Source: Bochkovskiy et al. 2020, arXiv:2004.10934, section 3.4. As in the authors' code, each image keeps its scale and
the point where the four meet lies between 0.2 and 0.8 of either side.
"""

from collections.abc import Sequence
from typing import Annotated, NamedTuple

import torch
from torch import Tensor

from unpool.data.augment.step import Joining
from unpool.data.augment.targets import warp_targets
from unpool.data.draws import Draws
from unpool.limits import SHARE, check_number
from unpool.ops import geometry
from unpool.ops.preprocessing import Preprocessing
from unpool.ops.resampling import warp
from unpool.types import Sample

_MIDDLE = (0.2, 0.8)  # of a side, in which the four images meet
_ROWS = ("boxes", "labels", "crowd", "difficult", "areas", "masks")  # one a thing


class _Part(NamedTuple):
    """A window of one image of the batch: how it is shown, and where in the joined picture."""

    member: int
    matrix: Tensor  # (3, 3) from the window to the image
    top: int
    left: int
    size_hw: tuple[int, int]


class Mosaic(Joining):
    """Joins each image, with probability `p`, with three others of its batch, all that lies on them included.

    It is in the upper left; the others, drawn without repetition, are in the other corners. Each corner shows its image
    at the scale of evaluation, in a window at a position drawn uniformly, as `crop` does, and what lies in it by the
    rule of `warp_targets`. Where a batch has less than four images, some are shown twice or more often.
    """

    joins = frozenset(("image", "mask", *_ROWS, "index", "size_hw"))

    def __init__(self, *, p: Annotated[float, SHARE] = 0.5) -> None:
        self._p = check_number("mosaic.p", p, SHARE)

    def join(self, samples: Sequence[Sample], draws: Draws, *, preprocessing: Preprocessing) -> list[Sample | None]:
        is_joined, meeting = draws.coin(self._p), torch.stack([draws.uniform(*_MIDDLE) for _ in range(2)], dim=1)
        shifts = torch.stack([torch.stack([draws.uniform(), draws.uniform()], dim=1) for _ in range(4)], dim=1)
        others = _others(draws, len(samples))  # (B, 3)
        sizes = torch.tensor([sample["image"].shape[-2:] for sample in samples], dtype=torch.float64)
        maps, extents = preprocessing.maps(sizes, whole=True)
        canvas = torch.tensor(preprocessing.size_hw).expand(sizes.shape) if preprocessing.size_hw else extents.long()
        joined: list[Sample | None] = []
        for i, sample in enumerate(samples):
            if not is_joined[i]:
                joined.append(None)
                continue
            members = [i, *others[i].tolist()]
            corners = _corners(canvas[i], meeting[i])
            parts = [
                _Part(m, maps[m] @ _shift(extents[m], hw, share), top, left, hw)
                for m, (top, left, hw), share in zip(members, corners, shifts[i], strict=True)
                if 0 not in hw
            ]
            joined.append(_joined(sample, samples, parts, canvas[i], fill=preprocessing.fill))
        return joined


def _others(draws: Draws, count: int) -> Tensor:
    """(B, 3) positions in the batch, for each sample those of three others; repeated where there are fewer."""
    order = torch.stack([draws.uniform() for _ in range(count)], dim=1)  # (B, B)
    order.fill_diagonal_(torch.inf)  # itself last
    fewer = max(count - 1, 1)
    return order.argsort(1)[:, [0, 1 % fewer, 2 % fewer]]


def _corners(canvas_hw: Tensor, meeting: Tensor) -> list[tuple[int, int, tuple[int, int]]]:
    """Top, left and size of the four rectangles that meet at a share of either side."""
    height, width = canvas_hw.tolist()
    down, across = (canvas_hw * meeting).round().int().tolist()
    rows, columns = ((0, down), (down, height)), ((0, across), (across, width))
    return [(top, left, (bottom - top, right - left)) for top, bottom in rows for left, right in columns]


def _shift(extent_hw: Tensor, size_hw: tuple[int, int], share: Tensor) -> Tensor:
    """The map (3, 3) of a window on a resized image: whole pixels, within the image or around it."""
    room = (extent_hw - torch.tensor(size_hw)).floor()
    low, high = room.clamp(max=0), room.clamp(min=0)
    corner = low + (share * (high - low + 1)).floor()
    return geometry.translation(corner[1:], corner[:1])[0]


def _joined(
    sample: Sample, samples: Sequence[Sample], parts: Sequence[_Part], canvas_hw: Tensor, *, fill: Tensor
) -> Sample:
    """The parts as one sample, which keeps the index of its first."""
    height, width = canvas_hw.tolist()
    moved = [warp_targets(samples[part.member], part.matrix, part.size_hw) for part in parts]
    result = {"index": sample["index"], "size_hw": torch.tensor([height, width])}
    result["image"] = torch.empty(len(sample["image"]), height, width, dtype=sample["image"].dtype)
    for part in parts:
        shown = warp(samples[part.member]["image"], part.matrix, part.size_hw, fill=fill)
        _rectangle(result["image"], part).copy_(shown)
    if "mask" in sample:
        result["mask"] = torch.empty(height, width, dtype=sample["mask"].dtype)
        for part, one in zip(parts, moved, strict=True):
            _rectangle(result["mask"], part).copy_(one["mask"])
    for key in _ROWS:
        if key in sample:
            rows = [_on_canvas(key, one[key], part, (height, width)) for part, one in zip(parts, moved, strict=True)]
            result[key] = torch.cat(rows)
    return {key: result[key] for key in sample}


def _rectangle(canvas: Tensor, part: _Part) -> Tensor:
    """The view (..., h, w) of a canvas that a part covers."""
    height, width = part.size_hw
    return canvas[..., part.top : part.top + height, part.left : part.left + width]


def _on_canvas(key: str, rows: Tensor, part: _Part, canvas_hw: tuple[int, int]) -> Tensor:
    """Rows of one target as they lie on the canvas."""
    if key == "boxes":
        return rows + torch.tensor([part.left, part.top] * 2, dtype=rows.dtype)
    if key == "masks":
        canvas = torch.zeros(len(rows), *canvas_hw, dtype=rows.dtype)
        _rectangle(canvas, part).copy_(rows)
        return canvas
    return rows
