"""The maps that a layer of a network makes of one image (`unpool show features`)."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from unpool.errors import RecipeError
from unpool.inspection.feature_picture import draw_maps
from unpool.inspection.layer_maps import layer_output, unit_count
from unpool.ops.preprocessing import Preprocessing
from unpool.pages.blocks import note, table
from unpool.pages.images import EXACT, picture
from unpool.pages.page import Section
from unpool.pages.view import View
from unpool.predictor.images import ImageLike
from unpool.predictor.sources import Lookable, open_source, see

MOST = 64  # maps on a sheet, unless more are asked for
_PAGE = 1600  # pixels of a sheet on a page
_HEADINGS = ("unit", "largest", "mean", "share above 0", "position")


def show_features(  # noqa: PLR0913, a public verb
    source: Lookable,
    image: ImageLike,
    *,
    layer: str,
    units: tuple[int, ...] | list[int] = (),
    most: int = MOST,
    weights: str | Path | None = None,
    preprocessing: Preprocessing | None = None,
    size_hw: tuple[int, int] | None = None,
) -> View:
    """Draws the maps of a layer for one image, each in colours from its least to its largest value.

    Args:
        source: any module, a predictor, a run directory, or the name of a network.
        image: as `unpool.load(...)` takes it; or a tensor of floats (C, H, W), which the network gets as it is.
        layer: dotted name of a module; of one that runs several times the first call counts.
        units: the maps to draw; the `most` that are largest anywhere, the largest first, where none are named.
        most: maps on the sheet.
        weights: of a run "last" or "best"; of a network "imagenet" and the like, a file, or None for random ones.
        preprocessing: of a module's images; None takes ImageNet's mean and deviation.
        size_hw: to which the image is brought.

    Raises:
        RecipeError: there is no such network, layer or unit, or the layer gives no map.
        DataError, ModelFileError: a file is missing or damaged.

    Example:
        >>> from PIL import Image
        >>> view = show_features("lenet5", Image.new("L", (32, 32)), layer="features.conv1", units=[0, 3])
        >>> view.picture.shape, [row["unit"] for row in view.values["maps"]]
        (torch.Size([3, 126, 210]), [0, 3])
    """
    if most < 1:
        raise RecipeError(f"a sheet of {most} maps: give 1 or more")
    opened = open_source(source, weights=weights, preprocessing=preprocessing, size_hw=size_hw)
    seen = see(opened, image)
    with torch.no_grad():
        output = layer_output(opened.network, seen.inputs["image"], layer)[0].cpu()
    count = unit_count(output[None], layer, list(units))
    maps = output if output.dim() == 3 else output[:, None, None]
    order = maps.flatten(1).amax(1).argsort(descending=True, stable=True).tolist()
    chosen = list(units) or order[:most]
    rows = [_row(maps[unit], unit) for unit in chosen]
    sheet = draw_maps(maps[chosen], [f"{row['unit']}: {row['largest']:.3g}" for row in rows])
    notes = (*opened.notes, *seen.notes)
    size = f"{maps.shape[2]}x{maps.shape[1]}"
    left_out = f", the {len(chosen)} largest of {count}" if not units and len(chosen) < count else ""
    scale = "each from its least value, dark, to its largest, pale" if maps[0].numel() > 1 else "all on one scale"
    text = f"{len(chosen)} maps of {size}{left_out}; {scale}. Above each: its number and its largest value."
    pictures = [picture(seen.picture, "image"), picture(sheet, "maps", most=_PAGE, quality=EXACT)]
    values = {"layer": layer, "units": count, "size_hw": list(maps.shape[1:]), "notes": list(notes), "maps": rows}
    sections = [
        Section(f"Maps of {layer}", [*pictures, note(text), *map(note, notes)]),
        Section("Numbers", [table([list(row.values()) for row in rows], headings=_HEADINGS)]),
    ]
    return View(f"Features of {opened.name}", sections, values, sheet, subtitle=f"layer {layer}")


def _row(values: Tensor, unit: int) -> dict[str, Any]:
    at = int(values.argmax())
    return {
        "unit": unit,
        "largest": round(float(values.max()), 6),
        "mean": round(float(values.mean()), 6),
        "share_above_0": round(float((values > 0).float().mean()), 4),
        "position": f"{at // values.shape[1]}, {at % values.shape[1]}",
    }
