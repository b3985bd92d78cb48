"""What lies on pairs of images, carried through the map of both: disparities and flows change with what they count.

Both images go through one map. A disparity is a length along a row, so that only maps that keep rows move it; a flow is
a vector, which any map turns and stretches. A mirror makes the right image of a stereo pair the left one: disparities
point the other way otherwise.
"""

from collections.abc import Collection

import torch
from torch import Tensor

from unpool.data.augment.rotate import Rotate
from unpool.data.augment.shear import Shear
from unpool.data.augment.step import Bending, Finishing, Step
from unpool.data.augment.turn import Turn
from unpool.ops.bending import Map, linear
from unpool.ops.resampling import warp
from unpool.types import Sample

PAIRS = ("disparity", "flow")
_TURNING = (Rotate, Turn, Shear)  # rows do not stay rows
_SWAPPED = {"disparity": "other_disparity", "hidden": "other_hidden"}


def refusal(kind: type[Step], gives: Collection[str]) -> str:
    """Why a step cannot be used on pairs; empty where it can, or where samples are no pairs.

    Example:
        >>> refusal(Turn, ("image", "disparity")), refusal(Turn, ("image", "flow"))
        ('turns rows, along which the disparities of a pair are measured', '')
    """
    if not set(PAIRS) & set(gives):
        return ""
    if issubclass(kind, Bending):
        return "bends both images alike, so that the way from one to the other is bent too, which is not computed"
    if issubclass(kind, Finishing):
        return "changes both images of a pair at one place, as if something stood still there"
    if "disparity" not in gives:
        return ""
    if issubclass(kind, _TURNING):
        return "turns rows, along which the disparities of a pair are measured"
    lacking = [other for key, other in _SWAPPED.items() if key in gives and other not in gives]
    if kind.__name__ == "Flip" and lacking:
        return f"makes the right image of a pair the left one, and samples have no {' and '.join(lacking)}"
    return ""


def seen_in_mirror(sample: Sample, matrix: Map) -> Sample:
    """The sample that a map is applied to: of a stereo pair that it mirrors, with left and right exchanged."""
    if "disparity" not in sample or torch.linalg.det(linear(matrix)) > 0:
        return sample
    left, right = sample["image"].chunk(2)
    swapped = {"image": torch.cat([right, left])}
    for key, other in _SWAPPED.items():
        if key in sample:
            swapped |= {key: sample[other], other: sample[key]}
    return sample | swapped


def move_pair_targets(sample: Sample, matrix: Map, size_hw: tuple[int, int]) -> Sample:
    """Disparities, flow and what is hidden in a window of `size_hw`; what a window's partner lacks is hidden too.

    Args:
        sample: with left and right as the window shows them, see `seen_in_mirror`.
        matrix: (3, 3) from the window to the image, of both images.
        size_hw: of the window.
    """
    moved: Sample = {}
    there = torch.linalg.inv(linear(matrix).double()).float()  # from vectors of the image to those of the window
    for key in ("disparity", "other_disparity"):
        if key in sample:
            moved[key] = _nearest(sample[key], matrix, size_hw, torch.nan) * there[0, 0].abs()
    if "flow" in sample:
        flow = warp(sample["flow"], matrix, size_hw, mode="nearest", fill=torch.nan)
        moved["flow"] = torch.einsum("ij,jhw->ihw", there, flow)
    ways = {"hidden": _way(moved, "disparity", -1.0), "other_hidden": _way(moved, "other_disparity", 1.0)}
    for key, way in ways.items():
        if key in sample:
            hidden = _nearest(sample[key].float(), matrix, size_hw, 1.0) > 0.5
            moved[key] = hidden if way is None else hidden | _leaves(way)
    return moved


def _way(moved: Sample, key: str, sign: float) -> Tensor | None:
    """(2, H, W) from each pixel to its partner."""
    if key in moved:
        return torch.stack([sign * moved[key], torch.zeros_like(moved[key])])
    return moved.get("flow")


def _leaves(way: Tensor) -> Tensor:
    """(H, W) bool: the partner lies beside the window."""
    height, width = way.shape[-2:]
    x, y = way[0] + torch.arange(width), way[1] + torch.arange(height)[:, None]
    return (x < -0.5) | (y < -0.5) | (x >= width - 0.5) | (y >= height - 0.5)


def _nearest(values: Tensor, matrix: Map, size_hw: tuple[int, int], fill: float) -> Tensor:
    return warp(values[None], matrix, size_hw, mode="nearest", fill=fill)[0]
