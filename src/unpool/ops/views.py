"""Views of an image at test time: what a network is shown beside the image, or in its stead, to average its answers.

Krizhevsky et al. 2012, section 4.1 (ten crops); He et al. 2015, arXiv:1512.03385, section 3.4 (five scales). Whether a
row fits a task, the task says; nothing here knows one.
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from typing import NamedTuple

import torch
from torch import Tensor

from unpool.errors import RecipeError, quoted
from unpool.ops.colour import color_offsets
from unpool.ops.preprocessing import Preprocessing

SCALES = (224, 256, 384, 480, 640)  # pixels of the shorter side, for a network of 224
_LONGEST = 65_536  # of the longer side of a scaled image: its aspect is kept
_AROUND = ((0.0, 0.0), (0.0, 1.0), (1.0, 0.0), (1.0, 1.0), (0.5, 0.5))  # rows, columns: the corners and the middle
_ALPHA = 0.1  # one deviation of what training draws


class View(NamedTuple):
    """One way to look at an image; the fields are applied in their order.

    Attributes:
        scale: the shorter side is this times that of the network's input, at the image's aspect; None for the input.
        window: where a window of the input's size lies in the image enlarged to 1 / `crop` of it, rows and columns,
            from 0 to 1; None for the input itself.
        turns: quarter turns counter-clockwise.
        is_mirrored: left and right are exchanged.
        alphas: PCA colour variation, see `ops.colour.color_offsets`.
    """

    scale: float | None = None
    window: tuple[float, float] | None = None
    turns: int = 0
    is_mirrored: bool = False
    alphas: tuple[float, float, float] = (0.0, 0.0, 0.0)


PLAIN = View()
_COLOURS = [tuple(sign * _ALPHA * (axis == i) for i in range(3)) for axis in range(3) for sign in (1, -1)]

VIEWS: dict[str, tuple[View, ...]] = {
    "flip": (PLAIN, View(is_mirrored=True)),
    "ten_crops": tuple(View(window=at, is_mirrored=flag) for flag in (False, True) for at in _AROUND),
    "five_scales": tuple(View(scale=side / SCALES[0]) for side in SCALES),
    "colors": (PLAIN, *(View(alphas=(r, g, b)) for r, g, b in _COLOURS)),
    "rotations": tuple(View(turns=turns) for turns in range(4)),
}
_EXCLUSIVE = (("ten_crops", "flip"), ("ten_crops", "five_scales"))


def combined(names: Sequence[str]) -> tuple[View, ...]:
    """The views of all rows together: each of one with each of the other; the plain image alone for no name.

    Raises:
        RecipeError: a name is no row or stands twice, or two rows exclude one another.

    Example:
        >>> len(combined(["flip"])), len(combined(["five_scales", "flip"])), combined([]) == (PLAIN,)
        (2, 10, True)
    """
    for name in names:
        if name not in VIEWS:
            raise RecipeError(f"there are no views {quoted(name)} for test time; choose among {', '.join(VIEWS)}")
        if names.count(name) > 1:
            raise RecipeError(f"views {name} are asked for {names.count(name)} times; name them once")
    for one, other in _EXCLUSIVE:
        if one in names and other in names:
            why = "which has its mirror images already" if other == "flip" else "which shows windows of one scale"
            raise RecipeError(f"views {other} do not go with {one}, {why}: leave one out")
    views = [PLAIN]
    for name in names:
        views = [_joined(first, second) for first, second in product(views, VIEWS[name])]
    return tuple(views)


def _joined(first: View, second: View) -> View:
    changed = {key: value for key, value in second._asdict().items() if value != getattr(PLAIN, key)}
    return first._replace(**changed)


def resizing(view: View, preprocessing: Preprocessing) -> Preprocessing:
    """How an image is brought to size before the rest of a view is made of it; normalisation is not that of the view.

    Raises:
        RecipeError: images have no size of their own to scale, windows no border to move in, the input lies down when
            it is turned, or images have other channels than red, green and blue.

    Example:
        >>> resizing(View(scale=1.5), Preprocessing(size_hw=(224, 224))).shorter
        336
    """
    size = preprocessing.size_hw
    if any(view.alphas) and preprocessing.channels != 3:
        raise RecipeError(
            f"colors varies red, green and blue, and images have data.channels {preprocessing.channels}: leave it out"
        )
    if view.turns % 2 and size is not None and size[0] != size[1]:
        raise RecipeError(
            f"rotations turns the input, and the network's data.size {list(size)} is not square: leave it out"
        )
    if view.scale is None and view.window is None:
        return preprocessing
    if size is None or preprocessing.rule == "fit":
        raise RecipeError(
            "ten_crops and five_scales need a network of one input size that shows images without bars: data.size, and "
            "data.rule stretch or cover"
        )
    if view.scale is not None:
        if preprocessing.mean_image is not None:
            raise RecipeError("five_scales shows images of several sizes, and data.mean_image is of one: leave it out")
        side = round(view.scale * min(size))
        return replace(preprocessing, size_hw=None, shorter=side, longest=_LONGEST, multiple=1)
    if preprocessing.crop == 1:
        raise RecipeError(
            "ten_crops moves its windows in an image enlarged to 1 / data.crop of the input, and data.crop is 1, or "
            "the images have the input's size already: leave ten_crops out"
        )
    rows, columns = (round(side / preprocessing.crop) for side in size)
    normalization = "channel" if preprocessing.mean_image is not None else preprocessing.normalization
    return replace(
        preprocessing, size_hw=(rows, columns), crop=1.0, multiple=1, normalization=normalization, mean_image=None
    )


def shown(view: View, image: Tensor, size_hw: tuple[int, int] | None = None) -> Tensor:
    """What a view shows of resized images (..., C, H, W) of 0..255; `size_hw` is that of a window.

    >>> shown(View(is_mirrored=True), torch.arange(3.0).view(1, 1, 3)).tolist()
    [[[2.0, 1.0, 0.0]]]
    """
    if view.window is not None and size_hw is not None:
        top, left = (
            round(share * (side - inner))
            for share, side, inner in zip(view.window, image.shape[-2:], size_hw, strict=True)
        )
        image = image[..., top : top + size_hw[0], left : left + size_hw[1]]
    image = image.rot90(view.turns, (-2, -1)) if view.turns else image
    image = image.flip(-1) if view.is_mirrored else image
    if any(view.alphas):
        offset = color_offsets(torch.tensor([view.alphas], device=image.device))[0]
        image = image + offset[:, None, None]
    return image


def undone(view: View, maps: Tensor) -> Tensor:
    """Maps (..., H, W) of what a view shows, as maps of the image.

    >>> maps = torch.arange(6.0).view(1, 2, 3)
    >>> view = View(turns=1, is_mirrored=True)
    >>> torch.equal(undone(view, shown(view, maps)), maps)
    True
    """
    maps = maps.flip(-1) if view.is_mirrored else maps
    return maps.rot90(-view.turns, (-2, -1)) if view.turns else maps


def seen_part(view: View, valid_xyxy: Tensor, size_hw: tuple[int, int]) -> Tensor:
    """Boxes (B, 4) of an input of that size (H, W) that show the images, in the view of it.

    >>> seen_part(View(turns=1), torch.tensor([[0.0, 0.0, 4.0, 2.0]]), (2, 6)).tolist()
    [[0.0, 2.0, 2.0, 6.0]]
    """
    height, width = size_hw
    for _ in range(view.turns):
        left, top, right, bottom = valid_xyxy.unbind(1)
        valid_xyxy = torch.stack([top, width - right, bottom, width - left], 1)
        height, width = width, height
    return mirrored_boxes(valid_xyxy, width) if view.is_mirrored else valid_xyxy


def mirrored_boxes(boxes_xyxy: Tensor, width: float) -> Tensor:
    """Boxes (N, 4) of an image of that width, in its mirror image.

    >>> mirrored_boxes(torch.tensor([[0.0, 1.0, 4.0, 2.0]]), 6).tolist()
    [[2.0, 1.0, 6.0, 2.0]]
    """
    left, top, right, bottom = boxes_xyxy.unbind(1)
    return torch.stack([width - right, top, width - left, bottom], 1)


def mean_probabilities(scores: Sequence[Tensor]) -> Tensor:
    """Scores (B, N, ...) whose probabilities are the mean of those of several: their logarithm.

    >>> sure, other = torch.tensor([[0.0, -100.0]]), torch.tensor([[-100.0, 0.0]])
    >>> mean_probabilities([sure, other]).softmax(1).tolist()
    [[0.5, 0.5]]
    """
    if len(scores) == 1:
        return scores[0]
    return torch.stack([one.log_softmax(1) for one in scores]).logsumexp(0) - math.log(len(scores))
