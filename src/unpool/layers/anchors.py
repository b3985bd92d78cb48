"""Anchors: boxes of fixed shapes at every position of a map, which a detector scores and moves.

They stand map after map, row after row, position after position, and at each position in the order of their shapes:
the order in which `per_anchor` lays out what convolutions give. A box is (left, top, right, bottom) from the outer edge
of the first pixel; the paper's code counts its right and bottom column as well, so that its table of -83 to 100 is here
-84 to 100 (Ren et al. 2015, arXiv:1506.01497, section 3.1.1).
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from unpool.errors import RecipeError

Shape = tuple[float, float]  # width, height


class Anchors(nn.Module):
    """Anchors of maps: maps and the size of the input -> boxes (A, 4) xyxy in its pixels, and the map (A,) of each.

    Args:
        shapes: (width, height) of the anchors at each position, map by map; in pixels, or in shares of the input's
            width and height.
        strides: pixels between the positions of each map; None spreads them evenly over the input.
        is_share: whether shapes are in shares.
        centre: of the anchors at the first position, in strides: 0.5 is the middle of its cell.
        is_whole: whether a stride is the input's size divided by the map's and rounded down, as torchvision has it: the
            same where the stride divides the input.
    """

    def __init__(
        self,
        shapes: Sequence[Sequence[Shape]],
        strides: Sequence[float | None],
        *,
        is_share: bool = False,
        centre: float = 0.5,
        is_whole: bool = False,
    ) -> None:
        super().__init__()
        self.shapes = tuple(tuple(of_map) for of_map in shapes)
        self.strides = tuple(strides)
        self.is_share = is_share
        self.centre = centre
        self.is_whole = is_whole

    @property
    def counts(self) -> tuple[int, ...]:
        """Anchors at each position, map by map."""
        return tuple(map(len, self.shapes))

    def forward(self, maps: Sequence[Tensor], input_hw: tuple[int, int]) -> tuple[Tensor, Tensor]:
        height, width = input_hw
        boxes, levels = [], []
        for level, (x, shapes) in enumerate(zip(maps, self.shapes, strict=True)):
            device, (rows, columns) = x.device, x.shape[-2:]
            step_x, step_y = self._step(level, width, columns), self._step(level, height, rows)
            across = (torch.arange(columns, device=device) + self.centre) * step_x
            down = (torch.arange(rows, device=device) + self.centre) * step_y
            centres = torch.stack(torch.broadcast_tensors(across, down[:, None]), dim=-1)  # (rows, columns, 2)
            sizes = torch.tensor(shapes, dtype=torch.float32, device=device)  # (n, 2)
            if self.is_share:
                sizes = sizes * torch.tensor([width, height], dtype=torch.float32, device=device)
            low = centres[:, :, None] - sizes / 2  # (rows, columns, n, 2)
            of_map = torch.cat([low, low + sizes], dim=-1).flatten(0, 2)
            boxes.append(of_map)
            levels.append(torch.full_like(of_map[:, 0], level, dtype=torch.int64))
        return torch.cat(boxes), torch.cat(levels)

    def _step(self, level: int, side: int, cells: int) -> float:
        stride = self.strides[level]
        if stride is None:
            return side / cells
        return side // cells if self.is_whole else stride

    def extra_repr(self) -> str:
        return f"counts={self.counts}, strides={self.strides}"


def by_ratio(sizes: Sequence[float], ratios: Sequence[float] = (0.5, 1.0, 2.0)) -> tuple[Shape, ...]:
    """Shapes of each size squared pixels at each ratio of height to width, in torchvision's order and rounding.

    Ratio after ratio, and sizes within; half a side is rounded to a whole pixel.

    >>> by_ratio([32])
    ((46, 22), (32, 32), (22, 46))
    """
    return tuple(
        (2 * round(size / math.sqrt(ratio) / 2), 2 * round(size * math.sqrt(ratio) / 2))
        for ratio in ratios
        for size in sizes
    )


def shared_out(sides: Sequence[int], maps: int) -> tuple[tuple[Shape, ...], ...]:
    """Shapes of a list of widths and heights in turn, the smaller ones for the finer maps, as many for each.

    Args:
        sides: width, height, width, height and so on, in pixels.
        maps: how many there are.

    Raises:
        RecipeError: the shapes are not as many for each map.

    Example:
        >>> shared_out([40, 60, 8, 8, 10, 20, 90, 80], maps=2)
        (((8, 8), (10, 20)), ((40, 60), (90, 80)))
    """
    if len(sides) % (2 * maps):
        raise RecipeError(
            f"anchors has {len(sides)} numbers; it must have a width and a height for each, and as many anchors for "
            f"each of {maps} maps: give a multiple of {2 * maps} numbers"
        )
    shapes = sorted(zip(sides[::2], sides[1::2], strict=True), key=lambda shape: shape[0] * shape[1])
    each = len(shapes) // maps
    return tuple(tuple(shapes[i : i + each]) for i in range(0, len(shapes), each))


def per_anchor(x: Tensor, width: int) -> Tensor:
    """Lays out a map of `width` numbers for each anchor as a list: (B, n * width, H, W) -> (B, H * W * n, width).

    >>> per_anchor(torch.arange(4.0).view(1, 4, 1, 1), 2).tolist()
    [[[0.0, 1.0], [2.0, 3.0]]]
    """
    b, _, rows, columns = x.shape
    split = x.reshape(b, -1, width, rows, columns).permute(0, 3, 4, 1, 2)  # (B, H, W, n, width)
    return split.reshape(b, -1, width)
