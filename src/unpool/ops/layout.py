"""Where images lie in a network's input, and points, boxes, maps and masks carried there and back.

The image is the one that targets lie on: as decoded, or the window of an augmentation. Points count pixels whose first
centre is (0, 0); boxes and `valid_xyxy` count from the outer edge of the first pixel.
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from unpool.types import Batch

Pair = tuple[int, int]


class Layout(NamedTuple):
    """Where the images of a batch lie in the network's input.

    Attributes:
        valid_xyxy: (B, 4) the box of the input that shows the whole image; reaches beyond the input where borders are
            cut off. All else of the input is padding.
        size_hw: (B, 2) size of the images.
        input_hw: size of the input.
    """

    valid_xyxy: Tensor
    size_hw: Tensor
    input_hw: Pair

    @classmethod
    def of(cls, batch: Batch) -> "Layout":
        """Of a batch, from `image`, `valid_xyxy` and `size_hw`; without the last two, the image is the input."""
        image = batch["image"]
        input_hw = (image.shape[-2], image.shape[-1])
        count = len(image)
        whole = torch.tensor([0.0, 0.0, input_hw[1], input_hw[0]], device=image.device)
        valid = batch.get("valid_xyxy", whole.expand(count, 4))
        sizes = batch.get("size_hw")
        if sizes is None:
            sizes = (valid[:, 2:] - valid[:, :2]).flip(1).round().long()
        return cls(valid, torch.as_tensor(sizes).expand(count, 2), input_hw)

    def points_to_image(
        self, points: Tensor, grid_hw: Sequence[int] | None = None, *, stride_hw: Sequence[float] | None = None
    ) -> Tensor:
        """Points of a network's maps in pixels of the image.

        Args:
            points: (B, ..., 2) x, y in pixels of the maps.
            grid_hw: size of the maps; None takes the input's.
            stride_hw: pixels of the input by pixel of the maps; None takes input over maps.

        Returns:
            (B, ..., 2), float32 or the floating type of `points`.
        """
        return self._move(points, grid_hw, stride_hw, inverse=False)

    def points_to_input(
        self, points: Tensor, grid_hw: Sequence[int] | None = None, *, stride_hw: Sequence[float] | None = None
    ) -> Tensor:
        """Points of the image in pixels of a network's maps; the inverse of `points_to_image`, same arguments."""
        return self._move(points, grid_hw, stride_hw, inverse=True)

    def _move(
        self, points: Tensor, grid_hw: Sequence[int] | None, stride_hw: Sequence[float] | None, *, inverse: bool
    ) -> Tensor:
        points = points if points.is_floating_point() else points.float()
        kind: dict[str, Any] = {"device": points.device, "dtype": points.dtype}
        grid = torch.tensor([*(grid_hw or self.input_hw)][::-1], **kind)
        low, extent = self.covered(grid_hw, stride_hw, dtype=points.dtype)
        shape = (-1, *[1] * (points.dim() - 2), 2)
        low, extent = (value.to(points.device).reshape(shape) for value in (low, extent))
        if inverse:
            return (points + 0.5 - low) * (grid / extent) - 0.5
        return (points + 0.5) * (extent / grid) - 0.5 + low

    def covered(
        self,
        grid_hw: Sequence[int] | None = None,
        stride_hw: Sequence[float] | None = None,
        *,
        dtype: torch.dtype = torch.float32,
    ) -> tuple[Tensor, Tensor]:
        """The part of the image's plane that maps cover: its corner and its extent, (B, 2) x, y in pixels."""
        sides = self.input_hw[::-1]
        grid = sides if grid_hw is None else tuple(grid_hw)[::-1]
        strides = [s / g for s, g in zip(sides, grid, strict=True)] if stride_hw is None else [*stride_hw][::-1]
        shares = [g * stride / side for g, stride, side in zip(grid, strides, sides, strict=True)]
        kind: dict[str, Any] = {"device": self.size_hw.device, "dtype": dtype}
        valid, sizes = self.valid_xyxy.to(**kind), self.size_hw.to(**kind).flip(1)
        shown = valid[:, 2:] - valid[:, :2]
        extent = sizes * torch.tensor(shares, **kind) * (torch.tensor(sides, **kind) / shown)
        return -valid[:, :2] * (sizes / shown), extent

    def boxes_to_image(self, boxes_xyxy: Sequence[Tensor]) -> list[Tensor]:
        """B times (N, 4) boxes of the input -> in the image, not clipped."""
        corners = [boxes.reshape(1, -1, 2) - 0.5 for boxes in boxes_xyxy]
        moved = [one.points_to_image(c) for one, c in zip(self.each(), corners, strict=True)]
        return [(points + 0.5).reshape(-1, 4) for points in moved]

    def boxes_to_input(self, boxes_xyxy: Sequence[Tensor]) -> list[Tensor]:
        """B times (N, 4) boxes of the image -> in the input, not clipped."""
        corners = [boxes.reshape(1, -1, 2) - 0.5 for boxes in boxes_xyxy]
        moved = [one.points_to_input(c) for one, c in zip(self.each(), corners, strict=True)]
        return [(points + 0.5).reshape(-1, 4) for points in moved]

    def each(self) -> list["Layout"]:
        """The layouts of the single images."""
        return [
            Layout(valid[None], size[None], self.input_hw)
            for valid, size in zip(self.valid_xyxy, self.size_hw, strict=True)
        ]

    def is_valid(self) -> Tensor:
        """(B, H, W) bool: pixels of the input whose centre shows the image, at least one row and one column."""
        left, top, right, bottom = self.valid_xyxy[:, :, None].unbind(1)  # (B, 1)
        rows, columns = _are_inside(top, bottom, self.input_hw[0]), _are_inside(left, right, self.input_hw[1])
        return rows[:, :, None] & columns[:, None, :]

    def maps_to_image(self, maps: Tensor) -> list[Tensor]:
        """Bilinear maps (B, N, H, W) of the input -> B times (N, h, w) at the size of the image."""
        parts = zip(maps, self.valid_xyxy.tolist(), self.size_hw.tolist(), strict=True)
        return [resample(one[None], valid, (size[0], size[1]))[0] for one, valid, size in parts]

    def masks_to_image(self, masks: Tensor) -> list[Tensor]:
        """Masks (B, H, W) of the input -> B times (h, w) at the size of the image, each pixel taking the nearest."""
        parts = zip(masks, self.valid_xyxy.tolist(), self.size_hw.tolist(), strict=True)
        return [_nearest(*shown_part(mask, valid), (size[0], size[1])) for mask, valid, size in parts]

    def masks_to_input(self, masks: Sequence[Tensor], *, padding: int) -> Tensor:
        """B masks (h, w) of the image -> (B, H, W) of the input, each pixel taking the nearest, `padding` elsewhere."""
        shown = []
        for mask, box, one in zip(masks, self.valid_xyxy.tolist(), self.each(), strict=True):
            (height, width), (left, top, right, bottom) = mask.shape, box
            across, down = width / (right - left), height / (bottom - top)
            beyond = (-left * across, -top * down, (self.input_hw[1] - left) * across, (self.input_hw[0] - top) * down)
            shown.append(_nearest(mask, beyond, self.input_hw).where(one.is_valid()[0], padding))
        return torch.stack(shown)


def shown_part(maps: Tensor, valid_xyxy: Sequence[float]) -> tuple[Tensor, tuple[float, ...]]:
    """The pixels of maps (..., H, W) whose centres lie in the box, at least one each way; and the box in these.

    >>> part, box = shown_part(torch.arange(4.0)[None], (1, 0, 3, 1))
    >>> part.tolist(), box
    ([[1.0, 2.0]], (0, 0, 2, 1))
    """
    left, top, right, bottom = valid_xyxy
    rows, columns = (_inside(*ends) for ends in ((top, bottom, maps.shape[-2]), (left, right, maps.shape[-1])))
    box = (left - columns.start, top - rows.start, right - columns.start, bottom - rows.start)
    return maps[..., rows, columns], box


def resample(maps: Tensor, valid_xyxy: Sequence[float], size_hw: Pair) -> Tensor:
    """Resizes what the box of maps (B, N, H, W) shows, bilinear; nothing beyond the box enters.

    >>> resample(torch.arange(4.0)[None, None, None], (1, 0, 3, 1), (1, 4)).tolist()
    [[[[1.0, 1.25, 1.75, 2.0]]]]
    """
    part, (left, top, right, bottom) = shown_part(maps, valid_xyxy)
    if (left, top, right, bottom) == (0, 0, part.shape[-1], part.shape[-2]):
        if tuple(part.shape[-2:]) == size_hw:
            return part
        return nn.functional.interpolate(part, size_hw, mode="bilinear", align_corners=False)
    return along(along(part, (top, bottom), size_hw[0], dim=-2), (left, right), size_hw[1], dim=-1)


def along(maps: Tensor, ends: tuple[float, float], size: int, *, dim: int) -> Tensor:
    """Interpolates one axis linearly, from `ends` in pixels to `size` pixels; borders are repeated.

    >>> along(torch.tensor([[0.0, 2.0]]), (0, 2), 4, dim=-1).tolist()
    [[0.0, 0.5, 1.5, 2.0]]
    """
    before, after, share = neighbours(ends, size, maps.shape[dim], device=maps.device)
    share = share.to(maps.dtype)
    share = share[:, None] if dim == -2 else share
    return maps.index_select(dim, before).lerp(maps.index_select(dim, after), share)


def neighbours(
    ends: tuple[float, float], size: int, limit: int, *, device: torch.device
) -> tuple[Tensor, Tensor, Tensor]:
    """(size,) each: the two of `limit` pixels around the centre of each of `size`, and the share of the second.

    >>> before, after, share = neighbours((0, 2), 4, 2, device=torch.device("cpu"))
    >>> before.tolist(), after.tolist(), share.tolist()
    ([0, 0, 0, 1], [1, 1, 1, 1], [0.0, 0.25, 0.75, 0.0])
    """
    centre = _centres(ends, size, device=device).clamp(0, limit - 1)
    before = centre.floor().long()
    return before, (before + 1).clamp_max(limit - 1), centre - before


def _centres(ends: tuple[float, float], size: int, *, device: torch.device) -> Tensor:
    return (torch.arange(size, device=device) + 0.5) * ((ends[1] - ends[0]) / size) - 0.5 + ends[0]


def _inside(low: float, high: float, size: int) -> slice:
    first, stop = max(0, math.ceil(low - 0.5)), min(size, math.ceil(high - 0.5))
    if first < stop:
        return slice(first, stop)
    nearest = min(max(0, math.floor((low + high) / 2)), size - 1)
    return slice(nearest, nearest + 1)


def _are_inside(low: Tensor, high: Tensor, size: int) -> Tensor:
    """(B, size) bool: what `_inside` gives for each of the ends (B, 1)."""
    pixels = torch.arange(size, device=low.device)
    inside = (pixels + 0.5 >= low) & (pixels + 0.5 < high)
    nearest = ((low + high) / 2).floor().clamp(0, size - 1)
    return inside | (~inside.any(1, keepdim=True) & (pixels == nearest))


def _nearest(mask: Tensor, box_xyxy: Sequence[float], size_hw: Pair) -> Tensor:
    left, top, right, bottom = box_xyxy
    for dim, ends, size in ((-2, (top, bottom), size_hw[0]), (-1, (left, right), size_hw[1])):
        centre = _centres(ends, size, device=mask.device)
        mask = mask.index_select(dim, (centre + 0.5).floor().clamp(0, mask.shape[dim] - 1).long())
    return mask
