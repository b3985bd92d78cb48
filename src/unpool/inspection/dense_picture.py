"""Draws the scores of `dense`: heat maps of one class over the photograph, and the likeliest class of each pixel."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from unpool.inspection.dense import DenseScores
from unpool.inspection.score_maps import covered, heat_and_classes
from unpool.ops.drawing import distinct_colours, overlay
from unpool.types import IGNORE, Activation

PANEL = 384  # pixels of a panel's longer side, at least
GAP, TITLE = 12, 42
MOST = 8  # classes that get a colour each
OTHER = (150, 150, 150)
# from nothing to certain: dark blue, violet, red, orange, pale yellow; lightness rises all the way
RAMP = ((10, 8, 60), (92, 20, 128), (182, 42, 108), (240, 104, 52), (253, 180, 62), (252, 250, 190))


class Panel(NamedTuple):
    """(3, H, W) uint8 with two lines above it."""

    title: str
    text: str
    image: Tensor


def draw(
    photo: Tensor, dense: DenseScores, *, label: int, classes: Sequence[str], activation: Activation = "softmax"
) -> Tensor:
    """Eight panels: photograph, crops, one pass, key; then upsampled and dilated, as heat and as classes.

    Args:
        photo: (C, H, W) uint8, the image that was looked at.
        dense: the scores of its windows.
        label: the class of the heat maps.
        classes: names by index.
        activation: what makes probabilities of the scores.

    Returns:
        (3, H', W') uint8.
    """
    size, window = dense.size_hw, dense.window_hw
    ways = {
        "slid": (dense.slid.nan_to_num(0.0), dense.stride, False),
        "pass": (dense.coarse, dense.stride, False),
        "coarse": (dense.coarse, dense.stride, True),
        "fine": (dense.fine, dense.fine_stride, True),
    }
    maps = {
        name: heat_and_classes(
            scores, label, size, window_hw=window, stride=stride, smooth=smooth, activation=activation
        )
        for name, (scores, stride, smooth) in ways.items()
    }
    top = max(float(heat.max()) for heat, _ in maps.values())
    cells = covered((dense.coarse.shape[1], dense.coarse.shape[2]), window_hw=window, stride=dense.stride)
    area = covered((dense.fine.shape[1], dense.fine.shape[2]), window_hw=window, stride=dense.fine_stride)
    areas = {"slid": cells, "pass": cells, "coarse": area, "fine": area}
    shown = _most_frequent([maps["coarse"][1][area], maps["fine"][1][area]])
    heats = {name: heated(photo, heat / max(top, 1e-9), areas[name]) for name, (heat, _) in maps.items()}
    masks = {name: _coloured(photo, maps[name][1], area, shown) for name in ("coarse", "fine")}
    rows, columns = dense.coarse.shape[1:]
    framed = f"{size[1]}x{size[0]}; framed: one window of {window[1]}x{window[0]}"
    fine = f"dilated to stride {dense.fine_stride[0]}"
    panels = [
        Panel("photograph", framed, _framed(photo, dense)),
        Panel("classifier slid over it", f"{rows}x{columns} crops, {seconds(dense.slid_s)}", heats["slid"]),
        Panel("convolutional, one pass", f"{rows}x{columns} scores, {seconds(dense.coarse_s)}", heats["pass"]),
        Panel("upsampled", f"from stride {dense.stride[0]}, bilinear", heats["coarse"]),
        Panel(fine, f"{dense.fine.shape[1]}x{dense.fine.shape[2]} scores, {seconds(dense.fine_s)}", heats["fine"]),
        Panel("classes, upsampled", "likeliest at each pixel", masks["coarse"]),
        Panel(f"classes, {fine}", "likeliest at each pixel", masks["fine"]),
    ]
    key = _key(classes, label, top, shown)
    return _sheet(panels, key)


def seconds(value: float) -> str:
    """A time with two or three digits."""
    return f"{value * 1000:.0f} ms" if value < 1 else f"{value:.1f} s"


def ramp(values: Tensor) -> Tensor:
    """Colours (3, H, W), 0 to 255, of values (H, W) from 0 to 1."""
    table = torch.tensor(RAMP, dtype=torch.float32)
    at = values.nan_to_num(0.0) * (len(RAMP) - 1)
    before = at.floor().long().clamp(max=len(RAMP) - 2)
    share = (at - before)[..., None]
    return (table[before] * (1 - share) + table[before + 1] * share).permute(2, 0, 1)


def heated(photo: Tensor, heat: Tensor, area: tuple[slice, slice] = (slice(None), slice(None))) -> Tensor:
    """Draws heat (H, W) from 0 to 1 over a photograph (C, H, W) uint8 in grey, bare outside of the area."""
    grey = photo.float().mean(0, keepdim=True).expand(3, -1, -1)
    result = (0.5 * grey + 110).round()  # pale where nothing is known
    inside = (..., *area)
    result[inside] = 0.35 * grey[inside] + 0.65 * ramp(heat)[inside]
    return result.round().to(torch.uint8)


def _coloured(photo: Tensor, mask: Tensor, area: tuple[slice, slice], shown: Sequence[int]) -> Tensor:
    labels = torch.full(mask.shape, IGNORE)
    table = torch.full((int(mask.max()) + 1,), len(shown))
    for i, label in enumerate(shown):
        if label < len(table):
            table[label] = i
    labels[area] = table[mask[area]]
    grey = photo.float().mean(0, keepdim=True).round().to(torch.uint8)
    pale = (0.5 * grey.float() + 110).round().to(torch.uint8).clone()
    pale[(..., *area)] = grey[(..., *area)]
    return overlay(pale, labels, _colours(shown), opacity=0.6)


def _colours(shown: Sequence[int]) -> list[tuple[int, int, int]]:
    return [*distinct_colours(len(shown)), OTHER]


def _most_frequent(masks: Sequence[Tensor]) -> list[int]:
    """Labels by the share of pixels that they have, the largest first."""
    counted = torch.bincount(torch.cat([mask.flatten() for mask in masks]))
    order = counted.argsort(descending=True, stable=True)[:MOST].tolist()
    return [i for i in order if counted[i]]


def _framed(photo: Tensor, dense: DenseScores) -> Tensor:
    """The photograph with the window that lies nearest to its centre."""
    picture = Image.fromarray(photo.expand(3, -1, -1).permute(1, 2, 0).contiguous().numpy())
    middle = [(n // 2) * step for n, step in zip(dense.coarse.shape[1:], dense.stride, strict=True)]
    top, left = middle
    box = (left, top, left + dense.window_hw[1] - 1, top + dense.window_hw[0] - 1)
    ImageDraw.Draw(picture).rectangle(box, outline=(255, 220, 0), width=max(1, min(picture.size) // 150))
    return _tensor(picture)


def _key(classes: Sequence[str], label: int, top: float, shown: Sequence[int]) -> Image.Image:
    """The scale of the heat maps and the colours of the classes."""
    picture = Image.new("RGB", (PANEL, 104 + 25 * (len(shown) + 1)), "white")
    pen, font = ImageDraw.Draw(picture), ImageFont.load_default(15)
    pen.text((0, 0), _cut(f"heat: probability of {classes[label]}", pen, font, PANEL), fill="black", font=font)
    bar = ramp(torch.linspace(0, 1, PANEL - 80).expand(18, -1)).round().to(torch.uint8)
    picture.paste(Image.fromarray(bar.permute(1, 2, 0).contiguous().numpy()), (0, 24))
    pen.text((0, 46), "0", fill="black", font=font)
    end = f"{top:.2f}" if top >= 0.01 else f"{top:.1e}"
    pen.text((PANEL - 80, 46), end, fill="black", font=font, anchor="ra")
    pen.text((0, 78), "classes", fill="black", font=font)
    names = [*(classes[i] for i in shown), "any other"]
    for i, (name, colour) in enumerate(zip(names, _colours(shown), strict=True)):
        y = 102 + 25 * i
        pen.rectangle((0, y, 26, y + 17), fill=colour)
        pen.text((36, y), _cut(name, pen, font, PANEL - 36), fill="black", font=font)
    return picture


def _cut(text: str, pen: ImageDraw.ImageDraw, font: ImageFont.ImageFont | ImageFont.FreeTypeFont, width: int) -> str:
    if pen.textlength(text, font=font) <= width:
        return text
    while text and pen.textlength(text + "...", font=font) > width:
        text = text[:-1]
    return text + "..."


def _sheet(panels: Sequence[Panel], key: Image.Image) -> Tensor:
    """Panels in two rows of four, the key at the end of the first."""
    sides = panels[0].image.shape[1:]
    factor = PANEL / max(sides)
    size = (round(sides[1] * factor), round(sides[0] * factor))
    width, first = max(size[0], 300), max(size[1], key.height - TITLE)
    tops = (GAP, 2 * GAP + TITLE + first)
    sheet = Image.new("RGB", (4 * (width + GAP) + GAP, tops[1] + TITLE + size[1] + GAP), "white")
    pen = ImageDraw.Draw(sheet)
    large, small = ImageFont.load_default(16), ImageFont.load_default(13)
    corners = [(x, y) for y in range(2) for x in range(4)]
    corners.remove((3, 0))
    for panel, (x, y) in zip(panels, corners, strict=True):
        left, top = GAP + x * (width + GAP), tops[y]
        pen.text((left, top), _cut(panel.title, pen, large, width), fill="black", font=large)
        pen.text((left, top + 20), _cut(panel.text, pen, small, width), fill=(90, 90, 90), font=small)
        array = panel.image.permute(1, 2, 0).contiguous().numpy()
        how = Image.Resampling.NEAREST if factor >= 2 else Image.Resampling.LANCZOS
        sheet.paste(Image.fromarray(array).resize(size, how), (left, top + TITLE))
    sheet.paste(key, (GAP + 3 * (width + GAP), GAP + 4))
    return _tensor(sheet)


def _tensor(picture: Image.Image) -> Tensor:
    return torch.from_numpy(np.array(picture)).permute(2, 0, 1).contiguous()
