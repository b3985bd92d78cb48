"""Draws targets and predictions as images."""

import colorsys
from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from unpool.types import IGNORE

Colours = Sequence[tuple[int, int, int]]
WRONG = (255, 0, 200)  # RGB of a wrong pixel, as bright on dark grey for every kind of sight
LONGEST = 4096  # largest side in pixels to which an image is enlarged


def distinct_colours(number: int) -> tuple[tuple[int, int, int], ...]:
    """Returns `number` RGB colours: the hue advances by the golden angle, saturation and value alternate.

    Example:
        >>> distinct_colours(2)
        ((242, 82, 61), (121, 142, 242))
    """
    colours = []
    for i in range(number):
        hue, saturation, value = (i * 0.618034 + 0.02) % 1, (0.75, 0.5, 1.0)[i % 3], (0.95, 0.7)[i // 3 % 2]
        red, green, blue = colorsys.hsv_to_rgb(hue, saturation, value)
        colours.append((round(red * 255), round(green * 255), round(blue * 255)))
    return tuple(colours)


def voc_palette(number: int) -> tuple[tuple[int, int, int], ...]:
    """Returns the first `number` RGB colours of the VOC development kit.

    The bits of a class go in turn to red, green and blue, into the highest bit first.

    Example:
        >>> voc_palette(4)
        ((0, 0, 0), (128, 0, 0), (0, 128, 0), (128, 128, 0))
    """
    return tuple((_spread(i), _spread(i >> 1), _spread(i >> 2)) for i in range(number))


def _spread(bits: int) -> int:
    """Every third bit, the lowest first, as the highest of eight."""
    return sum(((bits >> 3 * i) & 1) << (7 - i) for i in range(8))


def complete_palette(palette: Colours, number: int) -> tuple[tuple[int, int, int], ...]:
    """Returns the first `number` colours of a palette, or distinct colours for all classes if it has fewer.

    Example:
        >>> complete_palette([(0, 0, 0), (255, 255, 255), (255, 0, 0)], 2)
        ((0, 0, 0), (255, 255, 255))
    """
    return tuple(palette[:number]) if len(palette) >= number else distinct_colours(number)


def drawable(image: Tensor) -> Tensor:
    """Returns an image (C, H, W) as it can be drawn: its first three channels, of two the first.

    Example:
        >>> drawable(torch.zeros(13, 4, 5)).shape, drawable(torch.zeros(2, 4, 5)).shape
        (torch.Size([3, 4, 5]), torch.Size([1, 4, 5]))
    """
    return image[:3] if len(image) >= 3 else image[:1]


def paint(mask: Tensor, palette: Colours) -> Tensor:
    """Colours a mask by its classes.

    Args:
        mask: (H, W) class of each pixel; values without a colour, such as IGNORE, become black.
        palette: RGB by class.

    Returns:
        (3, H, W) uint8.

    Example:
        >>> paint(torch.tensor([[0, 1, IGNORE]]), [(10, 20, 30), (40, 50, 60)])[0]
        tensor([[10, 40,  0]], dtype=torch.uint8)
    """
    table = torch.zeros(IGNORE + 1, 3, dtype=torch.uint8)
    colours = torch.tensor(palette[:IGNORE], dtype=torch.uint8).reshape(-1, 3)
    table[: len(colours)] = colours
    return table[mask.cpu().long()].permute(2, 0, 1).contiguous()


def overlay(image: Tensor, mask: Tensor, palette: Colours, *, opacity: float = 0.5) -> Tensor:
    """Blends an image with its mask; borders between classes have full colour, pixels of IGNORE show the image alone.

    Args:
        image: (C, H, W) uint8, C 1 or 3.
        mask: (H, W) of the same size.
        palette: RGB by class.
        opacity: share of the mask's colour away from the borders.

    Returns:
        (3, H, W) uint8.

    Raises:
        ValueError: image and mask have different sizes.

    Example:
        >>> image = torch.full((3, 1, 4), 100, dtype=torch.uint8)
        >>> overlay(image, torch.tensor([[0, 0, 1, IGNORE]]), [(0, 0, 0), (200, 200, 200)])[0]
        tensor([[ 50,  50, 200, 100]], dtype=torch.uint8)
    """
    image, mask = image.cpu(), mask.cpu()
    if image.shape[-2:] != mask.shape:
        raise ValueError(f"image is {tuple(image.shape[-2:])} and mask {tuple(mask.shape)} (H, W); resize one of them")
    share = torch.full(mask.shape, opacity)
    share[_borders(mask)] = 1.0
    share[mask == IGNORE] = 0.0
    mixed = image.float() * (1 - share) + paint(mask, palette).float() * share  # (3, H, W)
    return mixed.round().to(torch.uint8)


def show_errors(image: Tensor, is_wrong: Tensor) -> Tensor:
    """Shows an image in dim grey, and what is wrong in one bright colour.

    Args:
        image: (C, H, W) uint8, C 1 or 3.
        is_wrong: (H, W) bool.

    Returns:
        (3, H, W) uint8.

    Example:
        >>> show_errors(torch.full((3, 1, 2), 90, dtype=torch.uint8), torch.tensor([[False, True]]))[:, 0]
        tensor([[ 45, 255],
                [ 45,   0],
                [ 45, 200]], dtype=torch.uint8)
    """
    grey = (image.cpu().float().mean(0) / 2).round().to(torch.uint8)
    return torch.where(is_wrong, torch.tensor(WRONG, dtype=torch.uint8)[:, None, None], grey)


def caption(image: Tensor, text: str) -> Tensor:
    """Writes a line of text on a dark bar in the top left corner of an image.

    Args:
        image: (C, H, W) uint8, C 1 or 3; a small image is enlarged by repeating pixels until the text can be read or
            its longer side would exceed `LONGEST`.
        text: cut at the border of the image; left out if it would cover the whole image.

    Returns:
        (3, H', W') uint8.

    Example:
        >>> caption(torch.zeros(1, 48, 96, dtype=torch.uint8), "a cat").shape
        torch.Size([3, 96, 192])
    """
    factor = max(1, min(-(-96 // min(image.shape[-2:])), LONGEST // max(image.shape[-2:])))
    large = image.cpu().expand(3, -1, -1).repeat_interleave(factor, -2).repeat_interleave(factor, -1)
    picture = Image.fromarray(large.permute(1, 2, 0).contiguous().numpy())
    draw = ImageDraw.Draw(picture)
    font = ImageFont.load_default(max(10, min(picture.size) // 14))
    box = draw.textbbox((4, 2), text, font=font)  # left, top, right, bottom
    if box[3] + 3 < picture.height:
        draw.rectangle((0, 0, box[2] + 4, box[3] + 3), fill=(20, 20, 20))
        draw.text((4, 2), text, fill=(255, 255, 255), font=font)
    return torch.from_numpy(np.array(picture)).permute(2, 0, 1).contiguous()


def _borders(mask: Tensor) -> Tensor:
    edge = torch.zeros(mask.shape, dtype=torch.bool)
    edge[1:] |= mask[1:] != mask[:-1]
    edge[:, 1:] |= mask[:, 1:] != mask[:, :-1]
    return edge
