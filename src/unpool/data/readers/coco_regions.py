"""Regions of COCO as masks: polygons, and run lengths down the columns.

Source: cocodataset.org, "Data format"; the runs as in pycocotools, uncompressed.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from unpool.data.readers.coco_checks import MOST


class Region(NamedTuple):
    """A region as polygons or as runs.

    Attributes:
        number: of the annotation.
        polygons: each (corners, 2) x, y from the outer corner of the first pixel.
        runs: pixels outside and inside in turns, column after column.
        size_hw: of the runs' image.
    """

    number: int
    polygons: tuple[NDArray[np.float32], ...] = ()
    runs: NDArray[np.int64] | None = None
    size_hw: tuple[int, int] = (0, 0)


def region_of(one: Mapping[str, Any]) -> Region:
    """The region of an annotation.

    Raises:
        ValueError: names the annotation and what its region is.
    """
    number, stored = one["id"], one.get("segmentation")
    if isinstance(stored, dict) and isinstance(stored.get("counts"), str):
        raise ValueError(f"annotation {number} has compressed run lengths; decompress them to a list of numbers")
    try:
        if isinstance(stored, dict):
            height, width = stored["size"]
            return Region(number, runs=np.array(stored["counts"], np.int64), size_hw=(int(height), int(width)))
        polygons = tuple(np.array(corners, np.float32).reshape(-1) for corners in stored or ())
    except (ValueError, KeyError, TypeError, OverflowError) as error:
        problem = f"annotation {number} has a region that is neither polygons nor runs"
        raise ValueError(f"{problem}: {type(error).__name__}: {error}") from error
    for corners in polygons:
        if len(corners) % 2 or len(corners) < 6:
            raise ValueError(f"annotation {number} has a polygon of {len(corners)} numbers; expected x, y in pairs")
        if not (np.abs(corners) < MOST).all():
            raise ValueError(f"annotation {number} has a polygon beyond any picture; expected finite pixels")
    return Region(number, polygons=tuple(corners.reshape(-1, 2) for corners in polygons))


def region_or_box(one: Mapping[str, Any]) -> Region:
    """The region of an annotation, its box where the file has no region: somebody stands there all the same.

    Raises:
        ValueError: names the annotation and what its region is.
    """
    if one.get("segmentation") or not (one["bbox"][2] and one["bbox"][3]):
        return region_of(one)
    left, top, width, height = one["bbox"]
    right, bottom = left + width, top + height
    corners = np.array([[left, top], [right, top], [right, bottom], [left, bottom]], np.float32)
    return Region(one["id"], polygons=(corners,))


def draw_region(region: Region, size_hw: tuple[int, int]) -> NDArray[np.bool_]:
    """(H, W): pixels of the region; those that the edge of a polygon touches may or may not be.

    Raises:
        ValueError: the runs are of another image.
    """
    height, width = size_hw
    if region.runs is not None:
        runs = region.runs
        if (
            region.size_hw != size_hw
            or (runs < 0).any()
            or (runs > height * width).any()
            or runs.sum() != height * width
        ):
            mask = f"{region.size_hw[1]}x{region.size_hw[0]} with runs of {runs.sum()} pixels"
            raise ValueError(f"annotation {region.number} is a mask of {mask}; its image is {width}x{height}")
        inside = np.arange(len(runs)) % 2 == 1
        return np.repeat(inside, runs).reshape(width, height).T
    picture = Image.new("1", (width, height))
    draw = ImageDraw.Draw(picture)
    for corners in region.polygons:
        draw.polygon([(float(x), float(y)) for x, y in corners - 0.5], fill=1)
    return np.array(picture)
