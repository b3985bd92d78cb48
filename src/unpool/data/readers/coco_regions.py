"""Regions of COCO as masks: polygons, and run lengths down the columns.

Source: cocodataset.org, "Data format"; the runs as in pycocotools, uncompressed.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw


class Region(NamedTuple):
    """One of the two is given.

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
    number, found = one["id"], one["segmentation"]
    if isinstance(found, dict):
        if isinstance(found["counts"], str):
            raise ValueError(f"annotation {number} has compressed run lengths; decompress them to a list of numbers")
        height, width = found["size"]
        return Region(number, runs=np.array(found["counts"], np.int64), size_hw=(int(height), int(width)))
    if any(len(corners) % 2 or len(corners) < 6 for corners in found):
        raise ValueError(f"annotation {number} has a polygon of {min(map(len, found))} numbers; expected x, y in pairs")
    return Region(number, polygons=tuple(np.array(corners, np.float32).reshape(-1, 2) for corners in found))


def draw_region(region: Region, size_hw: tuple[int, int]) -> NDArray[np.bool_]:
    """(H, W): pixels of the region; those that the edge of a polygon touches may or may not be.

    Raises:
        ValueError: the runs are of another image.
    """
    height, width = size_hw
    if region.runs is not None:
        runs = region.runs
        if region.size_hw != size_hw or runs.sum() != height * width or (runs < 0).any():
            given = f"{region.size_hw[1]}x{region.size_hw[0]} with runs of {runs.sum()} pixels"
            raise ValueError(f"annotation {region.number} is a mask of {given}; its image is {width}x{height}")
        inside = np.arange(len(runs)) % 2 == 1
        return np.repeat(inside, runs).reshape(width, height).T
    picture = Image.new("1", (width, height))
    draw = ImageDraw.Draw(picture)
    for corners in region.polygons:
        draw.polygon([(float(x), float(y)) for x, y in corners - 0.5], fill=1)
    return np.array(picture)
