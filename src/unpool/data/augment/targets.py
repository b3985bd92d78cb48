"""What lies on an image, carried through the image's map and gathered into a batch."""

import torch
from torch import Tensor

from unpool.data.augment.pair_targets import PAIRS, move_pair_targets
from unpool.ops import geometry
from unpool.ops.bending import Map, linear
from unpool.ops.boxes import areas, around_masks
from unpool.ops.heatmaps import mirror_order
from unpool.ops.resampling import warp
from unpool.types import IGNORE, Batch, Sample

# one row a thing; what goes, goes from all
_OF_ONE = ("boxes", "labels", "crowd", "difficult", "masks", "people", "areas")
_LISTS = (*_OF_ONE, "ignored", "captions", "text", "proposals")  # their number differs from sample to sample
_LEAST_SHARE = 0.1  # of what is not counted (crowds, difficult things, ignored people): what shows less is dropped


def warp_targets(
    sample: Sample, matrix: Map, size_hw: tuple[int, int], *, flip_pairs: tuple[tuple[int, int], ...] = ()
) -> Sample:
    """Everything of a sample but its image, as the map `matrix`, (3, 3) or bending, shows it in a window of `size_hw`.

    Keypoints outside of the window turn invisible. A box is that around its moved corners, clipped to the window, and
    around its moved sides where the map bends; where
    `masks` has pixels of its thing, that around the pixels of the moved mask, which is tighter where an image turns.
    One rule says which things stay, with their `labels`, `masks` and all else: those whose box, before it is clipped,
    has its centre in the window, and of which something shows. That is the rule of SSD's crops (Liu et al. 2016,
    section 2.2): half of the height and the width of what stays shows, unless it is larger than the window. What no
    loss counts, a crowd or a difficult thing, stays where a tenth of its box shows, and so do `ignored` people: what is
    left of it would be background.

    Joints of `people` keep their places beside the window: a limb that leaves it still shows within it, and its field
    with it, so that nothing of labelled people need be masked (W(p) = 0 in Cao et al. 2017 is for people without
    labels). With `people`, who lies beside the window from the first joint to the last goes, by no other rule.
    Of `proposals` all stay of which something shows, cut off where the window ends.
    `area` and `areas` grow and shrink with the image, whatever part of a person the window shows: they say how large
    who stands there is.
    """
    moved = {key: value for key, value in sample.items() if key != "image"}
    moved |= _move_dense(sample, matrix, size_hw)
    if "keypoints" in sample:
        moved["keypoints"] = _move_keypoints(sample["keypoints"], matrix, flip_pairs)
    if "visible" in sample:
        order = _order(sample["visible"].shape[-1], matrix, flip_pairs)
        moved["visible"] = sample["visible"][..., order] & _inside(moved["keypoints"], size_hw)
    moved |= _scaled_areas(sample, matrix) | _moved_proposals(sample, matrix, size_hw)
    if "ignored" in sample:
        moved["ignored"] = _move_ignored(sample["ignored"], matrix, size_hw)
    is_left = None
    if "boxes" in sample:
        moved["boxes"], is_left = _move_boxes(sample, moved.get("masks"), matrix, size_hw)
    if "people" in sample:
        moved["people"] = _move_keypoints(sample["people"], matrix, flip_pairs)
        is_left = _meets(moved["people"], size_hw)
    return moved | {key: moved[key][is_left] for key in _OF_ONE if key in moved and is_left is not None}


def _move_dense(sample: Sample, matrix: Map, size_hw: tuple[int, int]) -> Sample:
    """What has a value for each pixel, but images."""
    moved: Sample = {}
    if "mask" in sample:
        moved["mask"] = warp(sample["mask"][None], matrix, size_hw, mode="nearest", fill=IGNORE)[0]
    if "masks" in sample:
        masks = sample["masks"].to(torch.uint8)
        moved["masks"] = warp(masks, matrix, size_hw, mode="nearest").bool() if len(masks) else _none(size_hw)
    if any(key in sample for key in PAIRS):
        moved |= move_pair_targets(sample, matrix, size_hw)
    return moved


def _scaled_areas(sample: Sample, matrix: Map) -> Sample:
    shrunk = torch.linalg.det(linear(matrix)).abs()
    return {key: (sample[key] / shrunk).to(sample[key].dtype) for key in ("area", "areas") if key in sample}


def _moved_proposals(sample: Sample, matrix: Map, size_hw: tuple[int, int]) -> Sample:
    """`proposals` of a sample that has them, in the window."""
    if "proposals" not in sample:
        return {}
    boxes, _ = geometry.map_boxes(sample["proposals"], matrix, size_hw=size_hw)
    return {"proposals": boxes[areas(boxes) > 0]}


def _move_boxes(sample: Sample, masks: Tensor | None, matrix: Map, size_hw: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """(N, 4) boxes in the window, and (N,) whether each stays; `masks` (N, H, W) have been moved."""
    boxes, share = geometry.map_boxes(sample["boxes"], matrix, size_hw=size_hw)
    centre = geometry.map_points((sample["boxes"][:, :2] + sample["boxes"][:, 2:]) / 2, matrix)
    stays = ((centre >= 0) & (centre < torch.tensor(size_hw).flip(0))).all(1)
    for key in ("crowd", "difficult"):
        if key in sample:
            stays = torch.where(sample[key], share >= _LEAST_SHARE, stays)
    if masks is not None:
        around = around_masks(masks)
        boxes = torch.where(sample["masks"].flatten(1).any(1)[:, None], around.to(boxes.dtype), boxes)
    return boxes, stays & (areas(boxes) > 0)


def _move_ignored(ignored: Tensor, matrix: Map, size_hw: tuple[int, int]) -> Tensor:
    boxes, share = geometry.map_boxes(ignored[:, :4], matrix, size_hw=size_hw)
    area = _scaled_areas({"areas": ignored[:, 4:5]}, matrix)["areas"]
    return torch.cat([boxes, area, ignored[:, 5:]], dim=1)[share >= _LEAST_SHARE]


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


def _move_keypoints(keypoints: Tensor, matrix: Map, flip_pairs: tuple[tuple[int, int], ...]) -> Tensor:
    moved = geometry.map_keypoints(keypoints, matrix)
    return moved[..., _order(moved.shape[-2], matrix, flip_pairs), :]


def _inside(keypoints: Tensor, size_hw: tuple[int, int]) -> Tensor:
    x, y = keypoints.unbind(-1)
    return (x >= -0.5) & (y >= -0.5) & (x < size_hw[1] - 0.5) & (y < size_hw[0] - 0.5)


def _meets(people: Tensor, size_hw: tuple[int, int]) -> Tensor:
    """(N,) bool: whether the box around a person's known joints has a part in the window."""
    low = people.nan_to_num(torch.inf).amin(1)  # (N, 2)
    high = people.nan_to_num(-torch.inf).amax(1)
    limit = torch.tensor([size_hw[1], size_hw[0]])
    return ((high >= -0.5) & (low < limit - 0.5)).all(1)


def _order(count: int, matrix: Map, flip_pairs: tuple[tuple[int, int], ...]) -> Tensor:
    """Which keypoint of the input each of the output is: a mirror turns a left hand into a right one."""
    is_mirrored = torch.linalg.det(linear(matrix)) < 0
    return torch.tensor(mirror_order(count, flip_pairs if is_mirrored else ()))
