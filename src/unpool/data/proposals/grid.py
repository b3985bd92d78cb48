"""Boxes of a few shapes all over an image: sliding windows, for where nothing better is known."""

from collections.abc import Sequence
from typing import Annotated, Literal

import torch
from annotated_types import Interval, Len
from torch import Tensor

from unpool.data.proposals.proposer import Proposer
from unpool.errors import RecipeError
from unpool.limits import check_number, is_within

SIDE = Interval(ge=1, le=65_536)
STEP = Interval(ge=0.02, le=1)
Sides = Annotated[Sequence[Annotated[int, SIDE]], Len(2, 64)]
PLANNED = "planned"  # of sides: by the boxes of the training set


class Grid(Proposer):
    """Proposes boxes of each shape, evenly spread from border to border, the largest shapes first.

    Args:
        sides: width, height, width, height and so on of the shapes, in pixels of the image; "planned" takes eight that
            suit the boxes of the training set.
        step: distance of neighbours at most, in sides of the shape.
    """

    is_kept = False

    def __init__(self, *, sides: Literal["planned"] | Sides, step: Annotated[float, STEP] = 0.25) -> None:
        is_list = not isinstance(sides, str)
        if is_list and (len(sides) < 2 or len(sides) % 2 or not all(is_within(side, SIDE) for side in sides)):
            raise RecipeError(
                f"grid.sides is {list(sides)}; expected a width and a height for each shape, in pixels, or planned"
            )
        if not is_list and sides != PLANNED:
            raise RecipeError(f"grid.sides is {sides!r}; expected planned, or a width and a height for each shape")
        self.sides = sides
        self.step = check_number("grid.step", step, STEP)

    def propose(self, image: Tensor, name: str) -> Tensor:
        """As `Proposer.propose`.

        Raises:
            RecipeError: sides are planned, and no training set has been read that they were planned from.
        """
        if isinstance(self.sides, str):
            raise RecipeError("grid.sides is planned, by the boxes of a training set; here set it to numbers")
        height, width = image.shape[-2:]
        shapes = sorted(zip(self.sides[::2], self.sides[1::2], strict=True), key=lambda one: -one[0] * one[1])
        boxes = []
        for w, h in shapes:
            left, top = _spread(width, min(w, width), self.step), _spread(height, min(h, height), self.step)
            low = torch.stack(torch.broadcast_tensors(left, top[:, None]), dim=-1).reshape(-1, 2)
            boxes.append(torch.cat([low, low + torch.tensor([min(w, width), min(h, height)])], dim=1))
        return torch.cat(boxes)


def _spread(length: int, side: int, step: float) -> Tensor:
    """Where boxes of a side begin on a length: the first at 0, the last ends at its end."""
    count = 1 + -(-(length - side) // max(1.0, step * side))
    return torch.linspace(0, length - side, int(count))
