"""Sets pictures side by side on one sheet, each with a line of text above it."""

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from unpool.ops.cutting import resize_to

SIDE = 384  # pixels of the longer side of a picture on a sheet, unless it is smaller
_LINE, _GAP = 18, 6  # pixels of a line of text, and between two pictures
_DARK, _LIGHT = (24, 24, 24), (235, 235, 235)


def draw_sheet(rows: Sequence[Sequence[tuple[str, Tensor]]]) -> Tensor:
    """Draws a sheet of pictures, a row below the other, each column as wide as its widest picture.

    Args:
        rows: (text, (3, H, W) uint8) from left to right; larger pictures are made smaller, at their aspect. Text is cut
            to the width of its picture.

    Returns:
        (3, H', W') uint8.

    Example:
        >>> square = torch.full((3, 100, 100), 255, dtype=torch.uint8)
        >>> draw_sheet([[("before", square), ("after", square)]]).shape  # a line of 18 pixels, gaps of 6
        torch.Size([3, 130, 218])
    """
    small = [[(text, _fitted(picture)) for text, picture in row] for row in rows]
    columns = range(max(map(len, small)))
    widths = [max(row[i][1].shape[-1] for row in small if i < len(row)) for i in columns]
    heights = [max(picture.shape[-2] for _, picture in row) + _LINE for row in small]
    sheet = Image.new("RGB", (sum(widths) + _GAP * (len(widths) + 1), sum(heights) + _GAP * (len(heights) + 1)), _DARK)
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(12)
    for number, row in enumerate(small):
        top = sum(heights[:number]) + _GAP * (number + 1)
        for i, (text, picture) in enumerate(row):
            left = sum(widths[:i]) + _GAP * (i + 1)
            draw.text((left, top + 1), _cut(text, draw, font, widths[i]), fill=_LIGHT, font=font)
            sheet.paste(Image.fromarray(picture.permute(1, 2, 0).contiguous().numpy()), (left, top + _LINE))
    return torch.from_numpy(np.array(sheet)).permute(2, 0, 1).contiguous()


def _fitted(picture: Tensor) -> Tensor:
    factor = SIDE / max(picture.shape[-2:])
    if factor >= 1:
        return picture
    height, width = (max(1, round(side * factor)) for side in picture.shape[-2:])
    return resize_to(picture, (height, width))


def _cut(text: str, draw: ImageDraw.ImageDraw, font: ImageFont.ImageFont | ImageFont.FreeTypeFont, width: int) -> str:
    """The end of a text as long as the width; what the font lacks is a question mark."""
    text = text.encode("latin-1", "replace").decode("latin-1")
    while len(text) > 1 and draw.textlength(text, font=font) > width:
        text = text[1:]
    return text
