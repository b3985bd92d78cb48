"""Draws boxes with their classes and scores, and the masks of single things."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor
from torch.nn.functional import max_pool2d

from unpool.ops.drawing import Colours

LEAST_SIDE = 384  # pixels; smaller images are enlarged so that what is written at a box can be read
SURE = 0.5  # score from which on a thing is drawn and counted in words; all are in the answer
_OPACITY = 0.4  # of a mask within its outline
_DARK, _LIGHT = (20, 20, 20), (255, 255, 255)
Font = ImageFont.ImageFont | ImageFont.FreeTypeFont


def draw_things(
    image: Tensor, things: Mapping[str, Any], *, classes: Sequence[str], palette: Colours, least: float = 0.0
) -> Tensor:
    """Draws the things of a sample, or of an answer those with a score of at least `least`: boxes over masks.

    Those of a sample that do not count, crowds and difficult ones, are thin and without a name.

    Args:
        image: (C, H, W) uint8, C 1 or 3.
        things: `boxes` and `labels`, where known `masks`, `score`, `crowd` and `difficult`: tensors or lists.
        classes: names.
        palette: RGB by class.
        least: score.

    Returns:
        (3, H', W') uint8.

    Example:
        >>> image, answer = torch.zeros(3, 400, 400), {"boxes": [[1.0, 2.0, 9.0, 9.0]], "labels": [0], "score": [0.4]}
        >>> drawn = draw_things(image.byte(), answer, classes=["cell"], palette=[(9, 90, 200)], least=0.5)
        >>> int(drawn.max())
        0
    """
    boxes = torch.as_tensor(things["boxes"]).reshape(-1, 4)
    labels = torch.as_tensor(things["labels"], dtype=torch.int64)
    scores = torch.as_tensor(things["score"]) if "score" in things else None
    shown = torch.ones(len(boxes), dtype=torch.bool) if scores is None else scores >= least
    flags = [torch.as_tensor(things[key]).bool() for key in ("crowd", "difficult") if key in things]
    is_thin = torch.stack(flags).any(0)[shown] if flags else None
    if "masks" in things:
        image = draw_masks(image, things["masks"][shown], labels[shown], palette=palette, is_thin=is_thin)
    scores = None if scores is None else scores[shown]
    return draw_boxes(
        image, boxes[shown], labels[shown], classes=classes, palette=palette, scores=scores, is_thin=is_thin
    )


def draw_boxes(
    image: Tensor,
    boxes: Tensor,
    labels: Tensor,
    *,
    classes: Sequence[str],
    palette: Colours,
    scores: Tensor | None = None,
    is_thin: Tensor | None = None,
) -> Tensor:
    """Draws boxes in the colours of their classes, the first on top, each with its class and score.

    Args:
        image: (C, H, W) uint8, C 1 or 3; a small image is enlarged by repeating pixels.
        boxes: (N, 4) xyxy in pixels of the image.
        labels: (N,) class of each.
        classes: names. One that is not in Latin letters, which the font lacks, is written as its number.
        palette: RGB by class.
        scores: (N,) 0..1, written in percent.
        is_thin: (N,) bool: boxes drawn thin and without words, such as those that do not count.

    Returns:
        (3, H', W') uint8.

    Example:
        >>> image, box = torch.zeros(3, 400, 400, dtype=torch.uint8), torch.tensor([[100.0, 200.0, 300.0, 350.0]])
        >>> picture = draw_boxes(image, box, torch.tensor([0]), classes=["cell"], palette=[(9, 90, 200)])
        >>> picture.shape, picture[:, 270, 100]  # on its left edge
        (torch.Size([3, 400, 400]), tensor([  9,  90, 200], dtype=torch.uint8))
    """
    factor = max(1, -(-LEAST_SIDE // max(image.shape[-2:])))
    large = image.cpu().expand(3, -1, -1).repeat_interleave(factor, -2).repeat_interleave(factor, -1)
    picture = Image.fromarray(large.permute(1, 2, 0).contiguous().numpy())
    draw = ImageDraw.Draw(picture)
    font = ImageFont.load_default(max(11, min(picture.size) // 32))
    width = max(2, max(picture.size) // 250)
    words, colours = _words(labels, classes, scores), [palette[label] for label in labels.tolist()]
    thin = [False] * len(words) if is_thin is None else is_thin.tolist()
    rows = list(zip((boxes.cpu().float() * factor).tolist(), words, colours, thin, strict=True))
    for box, text, colour, is_faint in reversed(rows):
        left, top, right, bottom = box
        sides = (left, top, max(left, right - 1), max(top, bottom - 1))
        draw.rectangle(sides, outline=colour, width=1 if is_faint else width)
        if not is_faint:
            _write(draw, text, (left, top), colour=colour, font=font)
    return torch.from_numpy(np.array(picture)).permute(2, 0, 1).contiguous()


def draw_masks(
    image: Tensor, masks: Tensor, labels: Tensor, *, palette: Colours, is_thin: Tensor | None = None
) -> Tensor:
    """Tints the pixels of each thing in the colour of its class and outlines them, the first on top.

    Args:
        image: (C, H, W) uint8, C 1 or 3.
        masks: (N, H, W) bool.
        labels: (N,) class of each.
        palette: RGB by class.
        is_thin: (N,) bool: masks of which the outline alone is drawn, such as those that do not count.

    Returns:
        (3, H, W) uint8.

    Raises:
        ValueError: image and masks have different sizes.

    Example:
        >>> image, masks = torch.full((3, 1, 6), 100, dtype=torch.uint8), torch.tensor([[[0, 1, 1, 1, 1, 1]]]).bool()
        >>> draw_masks(image, masks, torch.tensor([0]), palette=[(200, 0, 50)])[0]
        tensor([[100, 200, 140, 140, 140, 140]], dtype=torch.uint8)
    """
    if image.shape[-2:] != masks.shape[-2:]:
        raise ValueError(f"image is {tuple(image.shape[-2:])}, masks {tuple(masks.shape[-2:])} (H, W); resize one")
    picture = image.cpu().float().expand(3, -1, -1).clone()
    width = 1 + max(image.shape[-2:]) // 500
    thin = [False] * len(masks) if is_thin is None else is_thin.tolist()
    rows = list(zip(masks.cpu().bool(), labels.tolist(), thin, strict=True))
    for whole, label, is_faint in reversed(rows):
        part = _around(whole, width)
        mask, below = whole[part], picture[:, *part]
        outside = max_pool2d((~mask).float()[None], 2 * width + 1, 1, width)[0] > 0  # beyond the image is no outside
        share = torch.where(outside, 1.0, 0.0 if is_faint else _OPACITY) * mask
        below += (torch.tensor(palette[label])[:, None, None] - below) * share
    return picture.round().to(torch.uint8)


def _around(mask: Tensor, margin: int) -> tuple[slice, slice]:
    """Rows and columns of the pixels of a mask (H, W) and of `margin` more on each side."""
    if not mask.any():
        return slice(0, 1), slice(0, 1)
    rows, columns = ((mask.any(axis).nonzero()[[0, -1], 0]).tolist() for axis in (1, 0))
    return slice(max(0, rows[0] - margin), rows[1] + margin + 1), slice(
        max(0, columns[0] - margin), columns[1] + margin + 1
    )


def _words(labels: Tensor, classes: Sequence[str], scores: Tensor | None) -> list[str]:
    numbers: list[int] = labels.tolist()
    names = [classes[label] if _is_in_font(classes[label]) else f"class {label}" for label in numbers]
    if scores is None:
        return names
    return [f"{name} {score:.0%}" for name, score in zip(names, scores.tolist(), strict=True)]


def _is_in_font(name: str) -> bool:
    try:
        name.encode("latin-1")
    except UnicodeEncodeError:
        return False
    return name.isprintable()


def _write(
    draw: ImageDraw.ImageDraw, text: str, corner: tuple[float, float], *, colour: tuple[int, int, int], font: Font
) -> None:
    """Text on a bar of the box's colour, above its corner where there is room, else within it."""
    _, _, right, bottom = draw.textbbox((0, 0), text, font=font)
    height = bottom + 3
    x, y = corner[0], corner[1] - height if corner[1] >= height else corner[1]
    draw.rectangle((x, y, x + right + 5, y + height - 1), fill=colour)
    is_dark = 0.299 * colour[0] + 0.587 * colour[1] + 0.114 * colour[2] < 128
    draw.text((x + 3, y + 1), text, fill=_LIGHT if is_dark else _DARK, font=font)
