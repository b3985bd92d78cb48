"""The filters of a convolution as pictures: what the first layer of a network looks for.

Source: Krizhevsky et al. 2012, "ImageNet classification with deep convolutional neural networks", figure 3; Zeiler and
Fergus 2013, arXiv:1311.2901, figure 5, where filters that learned nothing show.
"""

import math
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from unpool.errors import RecipeError, quoted
from unpool.pages.axes import number
from unpool.pages.blocks import note, table
from unpool.pages.images import Card, Picture, grid
from unpool.pages.page import Section
from unpool.pages.view import View

MOST = 256  # filters of a sheet
LEAST_SIDE, GAP = 24, 3  # pixels of a drawn filter at least, and between two
OUTLIERS = 0.002  # share of the weights that may be beyond black and white
FAINT = 0.1  # of the mean size of the filters; fainter ones hardly change the output
_BACK = 255  # around the filters


class Filters(NamedTuple):
    """The filters of one convolution.

    Attributes:
        layer: its name.
        weight: (N, C, k, k).
        picture: (3, H, W) uint8, the sheet.
    """

    layer: str
    weight: Tensor
    picture: Tensor

    @property
    def sizes(self) -> Tensor:
        """(N,) root of the mean square of the weights of each filter."""
        return self.weight.flatten(1).square().mean(1).sqrt()


def filters_of(model: nn.Module, layer: str | None = None, *, order: Literal["rgb", "bgr"] = "rgb") -> Filters:
    """Draws the filters of the first two-dimensional convolution of a network, or of the named one.

    Args:
        model: any network; the first convolution is the first that it defines.
        layer: as `named_modules` calls it.
        order: of the three colours of the input.

    Raises:
        RecipeError: there is no such convolution.

    Example:
        >>> made = filters_of(nn.Sequential(nn.Conv2d(3, 8, 5)))
        >>> made.layer, made.weight.shape
        ('0', torch.Size([8, 3, 5, 5]))
    """
    convolutions = {name: module for name, module in model.named_modules() if isinstance(module, nn.Conv2d)}
    if layer is None and not convolutions:
        raise RecipeError(f"{type(model).__name__} has no two-dimensional convolution, so it has no filters to draw")
    name = next(iter(convolutions)) if layer is None else layer
    if name not in convolutions:
        known = ", ".join(list(convolutions)[:8])
        raise RecipeError(f"there is no two-dimensional convolution {quoted(name)}; the network has {known}, ...")
    weight = convolutions[name].weight.detach().float().cpu()[:MOST]
    return Filters(name, weight, draw_filters(weight, order=order))


def draw_filters(weight: Tensor, *, order: Literal["rgb", "bgr"] = "rgb") -> Tensor:
    """Draws filters side by side, all on one scale: grey is 0, black and white are as far from it on both sides.

    Filters of three channels are in colour; of any other number, each channel is grey, a row for each filter.

    Args:
        weight: (N, C, k, k).
        order: of three channels.

    Returns:
        (3, H, W) uint8.

    Example:
        >>> draw_filters(torch.zeros(4, 3, 7, 7)).unique().tolist()  # weights of 0, and what lies between the filters
        [127, 255]
    """
    count, channels, rows, columns = weight.shape
    if not bool(weight.isfinite().all()):
        weight = weight.nan_to_num(0.0, 0.0, 0.0)
    ordered = weight.abs().flatten().sort().values
    largest = float(ordered[max(0, math.ceil((1 - OUTLIERS) * len(ordered)) - 1)]) or 1.0
    shades = ((weight / largest).clamp(-1, 1) * 127.5 + 127.5).to(torch.uint8)
    if channels == 3:
        cells = shades.flip(1) if order == "bgr" else shades
        across = math.ceil(math.sqrt(2 * count)) if count > 8 else count
    else:
        across = min(channels, MOST)
        cells = shades[:, :across].reshape(-1, 1, rows, columns)[:MOST].expand(-1, 3, -1, -1)
        across = math.ceil(math.sqrt(2 * len(cells))) if across == 1 else across
    factor = max(1, -(-LEAST_SIDE // max(rows, columns)))
    return _sheet(cells.repeat_interleave(factor, 2).repeat_interleave(factor, 3), across)


def _sheet(cells: Tensor, across: int) -> Tensor:
    """(N, 3, h, w) in rows of `across`, light between them."""
    count, _, height, width = cells.shape
    down = -(-count // across)
    sheet = torch.full((3, down * (height + GAP) + GAP, across * (width + GAP) + GAP), _BACK, dtype=torch.uint8)
    for index, cell in enumerate(cells):
        top, left = GAP + index // across * (height + GAP), GAP + index % across * (width + GAP)
        sheet[:, top : top + height, left : left + width] = cell
    return sheet


def show_filters(
    model: nn.Module, layer: str | None = None, *, order: Literal["rgb", "bgr"] = "rgb", name: str = ""
) -> View:
    """Shows the filters of the first convolution of a network, or of the named one, as a sheet.

    Args:
        model: any network.
        layer: as `named_modules` calls it; None takes the first convolution that the network defines.
        order: of the three colours of the input.
        name: of the network, for the title.

    Raises:
        RecipeError: there is no such convolution.

    Example:
        >>> view = show_filters(nn.Sequential(nn.Conv2d(3, 8, 5), nn.ReLU()))
        >>> view.values["layer"], view.values["filters"], view.values["faint"]
        ('0', 8, 0)
    """
    made = filters_of(model, layer, order=order)
    sizes = made.sizes
    faint = int((sizes < FAINT * sizes.mean()).sum())
    count, channels, rows, columns = made.weight.shape
    values = {
        "layer": made.layer,
        "filters": count,
        "channels": channels,
        "kernel_hw": [rows, columns],
        "faint": faint,
        "sizes": [round(size, 6) for size in sizes.tolist()],
    }
    facts = [
        ("layer", made.layer),
        ("filters", f"{count} of {channels} channels, {rows} x {columns}"),
        ("size of a filter", f"{number(float(sizes.min()))} to {number(float(sizes.max()))} (root mean square)"),
        ("faint filters", f"{faint}: less than {FAINT:g} of the mean size"),
    ]
    about = note("One scale for all filters: grey is 0. Smooth edges and colours were learned; noise was not.")
    parts = [grid([Card(made.layer, "", [Picture("", made.picture)], is_exact=True)]), table(facts), about]
    title = f"Filters of {name or type(model).__name__}"
    return View(title, [Section("Filters", parts)], values, picture=made.picture)
