"""Draws sentences below an image, and what was looked at for each word over it."""

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor
from torch.nn import functional

from unpool.ops.drawing_sheet import draw_sheet

_LINE, _LETTERS, _COLUMNS = 16, 7, 4  # pixels of a line and of a letter, pictures in a row
_DIM = 0.25  # of its brightness that a pixel keeps where nothing was looked at
_LEAST = 160  # pixels of a picture's width, below which sentences would take many lines


def words_below(image: Tensor, sentences: Sequence[str]) -> Tensor:
    """Draws an image with sentences below it, each on lines as long as the image is wide.

    Args:
        image: (C, H, W) uint8, C 1 or 3; a small one is enlarged by repeating pixels.
        sentences: from top to bottom.

    Returns:
        (3, H', W') uint8.

    Example:
        >>> words_below(torch.zeros(3, 160, 160, dtype=torch.uint8), ["a dog"]).shape
        torch.Size([3, 180, 160])
    """
    factor = -(-_LEAST // image.shape[-1])
    large = image.cpu().expand(3, -1, -1).repeat_interleave(factor, -2).repeat_interleave(factor, -1)
    height, width = large.shape[-2:]
    lines = [line for sentence in sentences for line in _broken(sentence, width // _LETTERS)]
    sheet = Image.new("RGB", (width, height + _LINE * len(lines) + 4), (24, 24, 24))
    sheet.paste(Image.fromarray(large.permute(1, 2, 0).contiguous().numpy()), (0, 0))
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(12)
    for number, line in enumerate(lines):
        text = line.encode("latin-1", "replace").decode("latin-1")  # what the font lacks is a question mark
        draw.text((3, height + _LINE * number), text, fill=(235, 235, 235), font=font)
    return torch.from_numpy(np.array(sheet)).permute(2, 0, 1).contiguous()


def _broken(sentence: str, longest: int) -> list[str]:
    lines = [""]
    for word in sentence.split():
        longer = f"{lines[-1]} {word}".strip()
        lines = [*lines[:-1], longer] if len(longer) <= longest or not lines[-1] else [*lines, word]
    return lines


def looked_at(image: Tensor, weights: Tensor) -> Tensor:
    """Dims an image where little was looked at; the brightest pixel keeps its values.

    Args:
        image: (C, H, W) uint8, C 1 or 3.
        weights: (h, w) of the parts of the image, of any sum.

    Returns:
        (3, H, W) uint8.

    Example:
        >>> image = torch.full((3, 4, 4), 100, dtype=torch.uint8)
        >>> looked_at(image, torch.tensor([[0.0, 1.0], [0.0, 0.0]]))[0]
        tensor([[ 25,  44,  81, 100],
                [ 25,  39,  67,  81],
                [ 25,  30,  39,  44],
                [ 25,  25,  25,  25]], dtype=torch.uint8)
    """
    size_hw = (image.shape[-2], image.shape[-1])
    share = functional.interpolate(weights[None, None].float().cpu(), size_hw, mode="bilinear")[0, 0]
    share = share / share.max().clamp(min=1e-9)
    return (image.cpu().expand(3, -1, -1).float() * (_DIM + (1 - _DIM) * share)).round().to(torch.uint8)


def attention_sheet(image: Tensor, words: Sequence[str], weights: Tensor) -> Tensor:
    """Draws the image once for each word, bright where the network looked when it said it.

    Args:
        image: (C, H, W) uint8, C 1 or 3.
        words: T of them.
        weights: (T, h, w).

    Returns:
        (3, H', W') uint8: the image itself and the words, four to a row.

    Example:
        >>> image = torch.zeros(3, 100, 100, dtype=torch.uint8)
        >>> attention_sheet(image, ["a", "dog"], torch.ones(2, 7, 7)).shape
        torch.Size([3, 130, 324])
    """
    pictures = [("", image.cpu().expand(3, -1, -1))]
    pictures += [(word, looked_at(image, one)) for word, one in zip(words, weights, strict=True)]
    return draw_sheet([pictures[first : first + _COLUMNS] for first in range(0, len(pictures), _COLUMNS)])
