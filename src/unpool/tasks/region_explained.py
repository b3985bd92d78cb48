"""The score of a class over a set of pixels, as a function of the image."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from unpool.errors import RecipeError, quoted
from unpool.ops.layout import Layout
from unpool.task import Explained
from unpool.tasks.auxiliary import main_head
from unpool.tasks.explaining import index_named
from unpool.types import Batch


def explained_region(
    model: nn.Module, inputs: Batch, answered: Tensor, target: str | None, *, classes: Sequence[str]
) -> Explained:
    """The mean score of a class over pixels; padding takes no part.

    Args:
        model: from images to scores (B, N, h, w).
        inputs: of one image.
        answered: (h, w) the class of each pixel of the scores.
        target: a class, whose pixels are those answered as it; `class@left,top,right,bottom`, those of a box in pixels
            of the image; or None, the class of most pixels.
        classes: names.

    Raises:
        RecipeError: there is no such class, no pixel is answered as it, or the box holds none.
    """
    layout, size = Layout.of(inputs), answered.shape
    answered, shown = answered.cpu(), _at_scores(layout.is_valid()[0].cpu(), size)
    if target is None:
        label = int(torch.bincount(answered[shown].flatten(), minlength=len(classes)).argmax())
        return _mean(model, answered.eq(label) & shown, label, classes[label])
    name, at, corners = target.partition("@")
    label = index_named(name, classes, what="class")
    if at:
        box = _box(layout, corners)
        return _mean(model, _at_scores(box, size) & shown, label, f"{classes[label]} in {corners}")
    return _mean(model, answered.eq(label) & shown, label, classes[label])


def _mean(model: nn.Module, pixels: Tensor, label: int, about: str) -> Explained:
    if not pixels.any():
        raise RecipeError(f"no pixel belongs to {about}: name another class, or class@left,top,right,bottom in pixels")

    def value(image: Tensor) -> Tensor:
        return main_head(model(image))[:, label, pixels].mean(1)

    return Explained(about, value)


def _box(layout: Layout, corners: str) -> Tensor:
    """(H, W) bool of the network's input: the pixels whose centres lie in a box of the image."""
    try:
        sides = [float(side) for side in corners.split(",")]
    except ValueError:
        sides = []
    if len(sides) != 4:
        raise RecipeError(f"{quoted(corners)} is no box: give left,top,right,bottom in pixels of the image")
    ((left, top, right, bottom),) = layout.boxes_to_input([torch.tensor([sides])])[0].tolist()
    rows, columns = (torch.arange(side) + 0.5 for side in layout.input_hw)
    return ((rows >= top) & (rows < bottom))[:, None] & ((columns >= left) & (columns < right))


def _at_scores(pixels: Tensor, size_hw: Sequence[int]) -> Tensor:
    """Pixels (H, W) of the input at the centres of those of the scores."""
    rows, columns = (((torch.arange(n) + 0.5) * side / n).long() for n, side in zip(size_hw, pixels.shape, strict=True))
    return pixels[rows][:, columns]
