"""Draws boxes with their classes and scores."""

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from unpool.ops.drawing import Colours

LEAST_SIDE = 384  # pixels; smaller images are enlarged so that what is written at a box can be read
_DARK, _LIGHT = (20, 20, 20), (255, 255, 255)
Font = ImageFont.ImageFont | ImageFont.FreeTypeFont


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


def _words(labels: Tensor, classes: Sequence[str], scores: Tensor | None) -> list[str]:
    names = [classes[label] if _is_in_font(classes[label]) else f"class {label}" for label in labels.tolist()]
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
