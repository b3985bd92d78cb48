"""Draws COCO's regions as masks: polygons, and run lengths column by column.

Source: cocodataset.org, "Data format"; run lengths as in pycocotools, a list or in letters.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from unpool.data.long_polygons import fill_long_polygon
from unpool.data.polygons import fill_polygon
from unpool.data.readers.coco_checks import MOST
from unpool.errors import DataError
from unpool.ops.run_lengths import checked_runs

SHAPE = "segmentation"  # the key of an annotation's region
_MANY = 2000  # corners, from which on Pillow is slower
_LONG = 1_000_000  # pixels of edge, for each of which COCO's own tools take 100 bytes


class Region(NamedTuple):
    """The pixels of an annotated person: either polygons or run lengths.

    Attributes:
        number: id of the annotation.
        polygons: each (corners, 2) x, y, measured from the outer corner of the first pixel.
        runs: numbers of pixels outside and inside by turns, column by column; None for polygons.
        size_hw: size of the image that the run lengths cover.
    """

    number: int
    polygons: tuple[NDArray[np.float32], ...] = ()
    runs: NDArray[np.int64] | None = None
    size_hw: tuple[int, int] = (0, 0)


def region_of(one: Mapping[str, Any]) -> Region:
    """Returns the region of an annotation.

    Raises:
        ValueError: its segmentation is malformed; names the annotation and the problem.
    """
    number, stored = one["id"], one.get(SHAPE)
    try:
        if isinstance(stored, dict):
            height, width = stored["size"]
            if isinstance(stored["counts"], str):
                runs = checked_runs(stored, int(height), int(width))
                return Region(number, runs=runs, size_hw=(int(height), int(width)))
            return Region(number, runs=np.array(stored["counts"], np.int64), size_hw=(int(height), int(width)))
        polygons = tuple(np.array(corners, np.float32).reshape(-1) for corners in stored or ())
    except DataError as error:
        raise ValueError(f"annotation {number}: {error}") from error
    except (ValueError, KeyError, TypeError, OverflowError) as error:
        problem = f"annotation {number} has a segmentation that is neither polygons nor run lengths"
        raise ValueError(f"{problem}: {type(error).__name__}: {error}") from error
    for corners in polygons:
        if len(corners) % 2 or len(corners) < 6:
            problem = f"annotation {number} has a polygon of {len(corners)} numbers"
            raise ValueError(
                f"{problem}; expected a list of polygons, each [x1, y1, x2, y2, ...] of three corners or more"
            )
        if not (np.abs(corners) < MOST).all():
            raise ValueError(
                f"annotation {number} has a polygon beyond {MOST} pixels; expected finite positions on the image"
            )
    return Region(number, polygons=tuple(corners.reshape(-1, 2) for corners in polygons))


def region_or_box(one: Mapping[str, Any]) -> Region:
    """Returns the region of an annotation, or its box if it has no segmentation: the person is there all the same.

    Raises:
        ValueError: its segmentation is malformed; names the annotation and the problem.
    """
    if one.get(SHAPE) or not (one["bbox"][2] and one["bbox"][3]):
        return region_of(one)
    left, top, width, height = one["bbox"]
    right, bottom = left + width, top + height
    corners = np.array([[left, top], [right, top], [right, bottom], [left, bottom]], np.float32)
    return Region(one["id"], polygons=(corners,))


def extent_of(one: Mapping[str, Any]) -> tuple[float, float, float, float]:
    """Returns left, top, right and bottom; NaN where there are no polygons, or malformed ones, named when drawn."""
    polygons = one.get(SHAPE)
    if isinstance(polygons, list) and polygons:
        try:
            low = [min(min(corners[axis::2]) for corners in polygons) for axis in (0, 1)]
            high = [max(max(corners[axis::2]) for corners in polygons) for axis in (0, 1)]
            return float(low[0]), float(low[1]), float(high[0]), float(high[1])
        except (ValueError, TypeError, OverflowError):
            pass
    return np.nan, np.nan, np.nan, np.nan


def draw_region(region: Region, size_hw: tuple[int, int]) -> NDArray[np.bool_]:
    """Returns (H, W), True in the region; pixels that the edge of a polygon touches may be either.

    Raises:
        ValueError: the run lengths do not fill an image of this size.
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
            covered = f"{region.size_hw[1]}x{region.size_hw[0]} with runs of {runs.sum()} pixels"
            raise ValueError(f"annotation {region.number} is a mask of {covered}; its image is {width}x{height}")
        inside = np.arange(len(runs)) % 2 == 1
        return np.repeat(inside, runs).reshape(width, height).T
    drawn = np.zeros(size_hw, bool)
    for corners in region.polygons:
        fill = fill_polygon if len(corners) > _MANY else _fill_by_pillow
        drawn |= fill(corners - np.float32(0.5), size_hw)
    return drawn


def draw_instance(region: Region, size_hw: tuple[int, int]) -> NDArray[np.bool_]:
    """Returns what `draw_region` does, the pixels of polygons as COCO itself has them: true to half a pixel.

    `draw_region` also fills the pixels to the left of and above an edge, which hides people well and makes masks large.

    Raises:
        ValueError: as `draw_region`.
    """
    if region.runs is not None:
        return draw_region(region, size_hw)
    if sum(map(_length, region.polygons)) > _LONG:
        return np.logical_or.reduce([fill_long_polygon(corners, size_hw) for corners in region.polygons])
    from faster_coco_eval.core import mask  # imports OpenCV where there is one

    encoded = mask.frPyObjects([corners.reshape(-1).tolist() for corners in region.polygons], *size_hw)
    return mask.decode(mask.merge(cast("list[dict]", encoded))).view(bool)


def _length(corners: NDArray[np.float32]) -> float:
    """Returns the length of all edges, each counted along the axis on which it is longer."""
    return float(np.abs(np.roll(corners, -1, axis=0) - corners).max(1).sum(dtype=np.float64))


def _fill_by_pillow(corners: NDArray[np.float32], size_hw: tuple[int, int]) -> NDArray[np.bool_]:
    """Returns the pixels of `fill_polygon`: faster for few corners."""
    picture = Image.new("1", (size_hw[1], size_hw[0]))
    ImageDraw.Draw(picture).polygon(corners.reshape(-1).tolist(), fill=1)
    return np.array(picture)
