"""What lies on an image, carried through the image's map and gathered into a batch."""

import torch
from torch import Tensor

from unpool.ops import geometry
from unpool.types import IGNORE, Batch, Sample

_LISTS = ("boxes", "labels", "masks", "people", "captions")  # their number differs from sample to sample
_LEAST_SHARE = 0.1  # a box of which less than this is left is dropped with its label


def warp_targets(
    sample: Sample, matrix: Tensor, size_hw: tuple[int, int], *, flip_pairs: tuple[tuple[int, int], ...] = ()
) -> Sample:
    """Everything of a sample but its image, as the map `matrix` (3, 3) shows it in a window of `size_hw`.

    Boxes of which less than a tenth is left go, with their `labels`, `masks` and `people`. Keypoints outside of the
    window turn invisible.
    """
    moved = {key: value for key, value in sample.items() if key != "image"}
    if "mask" in sample:
        moved["mask"] = geometry.warp(sample["mask"][None], matrix, size_hw, mode="nearest", fill=IGNORE)[0]
    if "masks" in sample:
        masks = sample["masks"].to(torch.uint8)
        moved["masks"] = geometry.warp(masks, matrix, size_hw, mode="nearest").bool() if len(masks) else _none(size_hw)
    for key in ("keypoints", "people"):
        if key in sample:
            moved[key] = _move_keypoints(sample[key], matrix, flip_pairs)
    if "visible" in sample:
        moved["visible"] = _visible(
            sample["visible"], moved["keypoints"], size_hw, matrix=matrix, flip_pairs=flip_pairs
        )
    if "boxes" in sample:
        boxes, share = geometry.map_boxes(sample["boxes"], matrix, size_hw=size_hw)
        moved["boxes"] = boxes
        moved |= {k: moved[k][share >= _LEAST_SHARE] for k in ("boxes", "labels", "masks", "people") if k in moved}
    return moved


def stack_targets(samples: list[Sample]) -> Batch:
    """One tensor a key where all samples have the same shape, a list where the number differs; masks as int64."""
    batch: Batch = {}
    for key in samples[0]:
        values = [sample[key].long() if key == "mask" else sample[key] for sample in samples]
        even = len({value.shape for value in values}) == 1
        batch[key] = torch.stack(values) if even and key not in _LISTS else values
    return batch


def _none(size_hw: tuple[int, int]) -> Tensor:
    return torch.zeros((0, *size_hw), dtype=torch.bool)


def _move_keypoints(keypoints: Tensor, matrix: Tensor, flip_pairs: tuple[tuple[int, int], ...]) -> Tensor:
    moved = geometry.map_keypoints(keypoints, matrix)
    return moved[..., _order(moved.shape[-2], matrix, flip_pairs), :]


def _visible(
    visible: Tensor,
    keypoints: Tensor,
    size_hw: tuple[int, int],
    *,
    matrix: Tensor,
    flip_pairs: tuple[tuple[int, int], ...],
) -> Tensor:
    x, y = keypoints.unbind(-1)
    inside = (x >= -0.5) & (y >= -0.5) & (x < size_hw[1] - 0.5) & (y < size_hw[0] - 0.5)
    return visible[..., _order(visible.shape[-1], matrix, flip_pairs)] & inside


def _order(count: int, matrix: Tensor, flip_pairs: tuple[tuple[int, int], ...]) -> Tensor:
    """Which keypoint of the input each of the output is: a mirror turns a left hand into a right one."""
    order = torch.arange(count)
    if torch.linalg.det(matrix[:2, :2]) < 0:
        for left, right in flip_pairs:
            order[left], order[right] = right, left
    return order
